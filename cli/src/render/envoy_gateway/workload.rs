//! The Gateway, and what its proxies have that others have not.

use super::EnvoyGatewayArgs;
use crate::render::cluster::delivery::Delivery;
use crate::render::cluster::pod;
use crate::render::common::Accepted;
use serde_json::{Value, json};

/// Its class, with the proxies of this gateway alone, and the Gateway.
pub(super) fn workload(args: &EnvoyGatewayArgs, accepted: &Accepted, delivery: &Delivery) -> Vec<Value> {
    let cluster = &args.cluster;
    let name = cluster.name.as_str();
    let (volumes, mounts) = pod::volumes(cluster, accepted, delivery);
    let proxy = json!({
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "EnvoyProxy",
        "metadata": cluster.metadata(name),
        "spec": {
            "shutdown": {"drainTimeout": "10s", "minDrainDuration": "5s"},
            "provider": {
                "type": "Kubernetes",
                "kubernetes": {
                    "envoyDeployment": {
                        "replicas": cluster.replicas,
                        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
                        "container": {
                            "env": pod::variables(cluster, &accepted.configuration),
                            "resources": {
                                "requests": {"cpu": "500m", "memory": "512Mi"},
                                "limits": {"cpu": "2", "memory": "2Gi"},
                            },
                            "volumeMounts": mounts,
                        },
                        "pod": {"volumes": volumes},
                    },
                    "envoyService": {"name": name, "type": "ClusterIP"},
                },
            },
        },
    });
    let gateway = json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": cluster.metadata(name),
        "spec": {
            "gatewayClassName": name,
            "infrastructure": {
                "parametersRef": {"group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": name},
            },
            "listeners": [{
                "name": "egress",
                "port": cluster.port,
                "protocol": "HTTP",
                // Nobody else's routes.
                "allowedRoutes": {"namespaces": {"from": "Same"}},
            }],
        },
    });
    let class = json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "GatewayClass",
        "metadata": {"name": name, "labels": cluster.labels()},
        "spec": {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"},
    });
    vec![class, proxy, gateway]
}
