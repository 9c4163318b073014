//! Who may speak to whom: agents to the gateway alone, not even to name servers; the gateway to the open Internet and what the
//! policy names, to its collector and to name servers.

use super::KubernetesArgs;
use super::collector;
use super::gateway::METRICS;
use super::pod;
use crate::render::cluster::network::{NAMESPACE, cluster_dns, dns_at, tcp, ways_out};
use crate::render::common::Accepted;
use serde_json::{Value, json};

/// All of them.
pub(super) fn policies(args: &KubernetesArgs, accepted: &Accepted) -> Vec<Value> {
    let mut all = vec![of_gateway(args, accepted), of_collector(args)];
    all.extend(args.agents.namespaces().map(|namespace| of_agents(args, namespace)));
    all
}

fn policy(metadata: Value, labels: Value, ingress: Vec<Value>, egress: Vec<Value>) -> Value {
    // Both directions: what is not named is closed.
    let mut spec =
        json!({"podSelector": {"matchLabels": labels}, "policyTypes": ["Ingress", "Egress"], "ingress": ingress});
    // A server drops a list without members, so that with one each apply would be a change.
    if let (false, Some(fields)) = (egress.is_empty(), spec.as_object_mut()) {
        fields.insert("egress".to_owned(), egress.into());
    }
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec})
}

fn of_gateway(args: &KubernetesArgs, accepted: &Accepted) -> Value {
    let agents: Vec<Value> = args
        .agents
        .namespaces()
        .map(|namespace| json!({"namespaceSelector": {"matchLabels": {NAMESPACE: namespace}}}))
        .collect();
    let mut ingress = vec![json!({"from": agents, "ports": [tcp(args.port)]})];
    ingress.extend(monitoring(args, METRICS));
    // The relay finds the collector by the cluster's DNS in any case.
    let mut egress = vec![cluster_dns()];
    egress.extend(args.resolver.iter().map(|address| dns_at(address.ip(), address.port())));
    egress.push(json!({
        "to": [{"podSelector": {"matchLabels": args.labels(Some(collector::ENDING))}}],
        "ports": [tcp(pod::COLLECTOR)],
    }));
    egress.extend(ways_out(accepted));
    policy(args.metadata(args.name.as_str(), None), args.labels(None), ingress, egress)
}

fn of_collector(args: &KubernetesArgs) -> Value {
    let mut ingress = vec![json!({
        "from": [{"podSelector": {"matchLabels": args.labels(None)}}],
        "ports": [tcp(pod::COLLECTOR)],
    })];
    ingress.extend(monitoring(args, pod::COLLECTOR));
    let labels = args.labels(Some(collector::ENDING));
    policy(args.metadata(&args.named(collector::ENDING), Some(collector::ENDING)), labels, ingress, Vec::new())
}

/// Of every pod in the namespace.
fn of_agents(args: &KubernetesArgs, namespace: &super::Namespace) -> Value {
    let gateway = json!({
        "to": [{
            "namespaceSelector": {"matchLabels": {NAMESPACE: args.namespace}},
            "podSelector": {"matchLabels": args.labels(None)},
        }],
        "ports": [tcp(args.port)],
    });
    let metadata = json!({"name": args.name, "namespace": namespace, "labels": args.labels(None)});
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        // Who may come to them is for others to say.
        "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [gateway]},
    })
}

fn monitoring(args: &KubernetesArgs, port: u16) -> Option<Value> {
    args.monitoring.as_ref().map(|namespace| {
        json!({"from": [{"namespaceSelector": {"matchLabels": {NAMESPACE: namespace}}}], "ports": [tcp(port)]})
    })
}
