//! The gateway's pods and their address.

use crate::render::cluster::delivery::Delivery;
use crate::render::cluster::{APP, ClusterArgs, pod};
use crate::render::common::Accepted;
use serde_json::{Value, json};

/// Settings of the proxy that only its start reads: connections at most, and how long it takes leave.
const PROXY: &str =
    r#"{"terminationDrainDuration":"10s","proxyMetadata":{"ISTIO_META_GLOBAL_DOWNSTREAM_MAX_CONNECTIONS":"10000"}}"#;

/// Account, pods and address.
pub(super) fn workload(args: &ClusterArgs, accepted: &Accepted, delivery: &Delivery) -> Vec<Value> {
    let metadata = args.metadata(args.name.as_str());
    let (volumes, mounts) = pod::volumes(args, accepted, delivery);
    let account = json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata,
        "automountServiceAccountToken": false,
    });
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": args.replicas,
            "selector": {"matchLabels": args.labels()},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {
                    "labels": {APP: args.name, "sidecar.istio.io/inject": "true"},
                    "annotations": {"inject.istio.io/templates": "gateway", "proxy.istio.io/config": PROXY},
                },
                "spec": {
                    "serviceAccountName": args.name,
                    "automountServiceAccountToken": false,
                    "terminationGracePeriodSeconds": 30,
                    "containers": [{
                        "name": "istio-proxy",
                        // Istio puts its own image here.
                        "image": "auto",
                        "env": pod::variables(args, &accepted.configuration),
                        "ports": [{"name": "egress", "containerPort": args.port, "protocol": "TCP"}],
                        "resources": {
                            "requests": {"cpu": "500m", "memory": "512Mi"},
                            "limits": {"cpu": "2", "memory": "2Gi"},
                        },
                        "securityContext": {
                            "allowPrivilegeEscalation": false,
                            "capabilities": {"drop": ["ALL"]},
                            "privileged": false,
                            "readOnlyRootFilesystem": true,
                            "runAsNonRoot": true,
                            // Istio's template has none, and namespaces that are `restricted` ask for it.
                            "seccompProfile": {"type": "RuntimeDefault"},
                        },
                        "volumeMounts": mounts,
                    }],
                    "volumes": volumes,
                },
            },
        },
    });
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "type": "ClusterIP",
            "selector": args.labels(),
            // Bytes to the agents' proxies: as HTTP they would choose a way by the host that is asked for.
            "ports": [{"name": "tcp-egress", "port": args.port, "targetPort": args.port, "protocol": "TCP", "appProtocol": "tcp"}],
        },
    });
    vec![account, deployment, service]
}
