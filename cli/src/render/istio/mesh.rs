//! The entrance of the gateway as Istio makes it: a listener with mutual TLS that leads nowhere by itself, and who may connect.

use super::Plugin;
use crate::render::cluster::ClusterArgs;
use serde_json::{Value, json};

/// Where connections go that no patch took over. RFC 6761 section 6.4: nobody has this name.
const NOWHERE: &str = "nowhere.invalid";

/// Listener, its route and who may connect; in each namespace of agents, what their proxies know of the world.
pub(super) fn entrance(args: &ClusterArgs, mesh: bool, plugin: Plugin) -> Vec<Value> {
    let name = args.name.as_str();
    let tls = json!({"mode": "ISTIO_MUTUAL"});
    // Of a WasmPlugin Istio makes an HTTP filter, so that the manager must be its own.
    let (http, port) = (plugin == Plugin::WasmPlugin, args.port);
    let protocol = match (mesh, http) {
        (true, true) => "HTTPS",
        (true, false) => "TLS",
        (false, true) => "HTTP",
        (false, false) => "TCP",
    };
    let mut server = json!({"port": {"number": port, "name": "egress", "protocol": protocol}, "hosts": ["*"]});
    if let (true, Some(fields)) = (mesh, server.as_object_mut()) {
        fields.insert("tls".to_owned(), tls.clone());
    }
    let gateway = json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "Gateway",
        "metadata": args.metadata(name),
        "spec": {"selector": args.labels(), "servers": [server]},
    });
    let destination = json!({"destination": {"host": NOWHERE, "port": {"number": port}}});
    let mut spec = json!({"hosts": ["*"], "gateways": [name], "exportTo": ["."]});
    if let Some(fields) = spec.as_object_mut() {
        let (kind, routes) = match http {
            true => ("http", json!([{"directResponse": {"status": 503}}])),
            false => ("tcp", json!([{"match": [{"port": port}], "route": [destination]}])),
        };
        fields.insert(kind.to_owned(), routes);
    }
    let route = json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": args.metadata(name),
        "spec": spec,
    });
    let mut all = vec![gateway, route];
    if mesh {
        all.push(json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": "DestinationRule",
            "metadata": args.metadata(name),
            "spec": {
                "host": format!("{name}.{}.svc.cluster.local", args.namespace),
                "trafficPolicy": {"tls": tls},
            },
        }));
        all.push(json!({
            "apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy",
            "metadata": args.metadata(name),
            "spec": {
                "selector": {"matchLabels": args.labels()},
                "action": "ALLOW",
                "rules": [{
                    "from": [{"source": {"namespaces": args.agents}}],
                    "to": [{"operation": {"ports": [port.to_string()]}}],
                }],
            },
        }));
        // The proxies of agents know no host but the gateway; the NetworkPolicy stands behind them.
        all.extend(args.agents.iter().map(|namespace| {
            json!({
                "apiVersion": "networking.istio.io/v1",
                "kind": "Sidecar",
                "metadata": {"name": "default", "namespace": namespace, "labels": args.labels()},
                "spec": {
                    "egress": [{"hosts": [format!("{}/{name}.{}.svc.cluster.local", args.namespace, args.namespace)]}],
                    "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"},
                },
            })
        }));
    }
    all
}
