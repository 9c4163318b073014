//! Destinations of the policy as Istio's registry knows them: for its tools and its statistics. Nothing is routed by them; the
//! gateway resolves names itself, and they are seen in its own namespace alone.

use crate::render::cluster::ClusterArgs;
use crate::render::cluster::network::hosts_of;
use crate::render::common::Accepted;
use exeat_engine::destination::{HostPattern, Scheme};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Hosts that one entry may have (`maxItems` of the resource).
const HOSTS: usize = 256;

/// Entries, of hosts that have scheme and ports in common.
pub(super) fn entries(args: &ClusterArgs, accepted: &Accepted) -> Vec<Value> {
    let mut kinds: BTreeMap<(bool, Vec<u16>), BTreeSet<&str>> = BTreeMap::new();
    for destination in accepted.configuration.policy().all_destinations() {
        let (tls, ports) = (destination.scheme() == Scheme::Https, destination.ports().to_vec());
        for host in hosts_of(&accepted.plugin_document, destination.id()) {
            // Istio takes neither `*` nor addresses as hosts.
            if let Ok(HostPattern::Exact(_) | HostPattern::Under(_)) = HostPattern::parse(host) {
                kinds.entry((tls, ports.clone())).or_default().insert(host);
            }
        }
    }
    let mut all = Vec::new();
    for ((tls, ports), hosts) in kinds {
        let hosts: Vec<_> = hosts.into_iter().collect();
        for hosts in hosts.chunks(HOSTS) {
            let number = all.len();
            all.push(entry(args, number, hosts, tls, &ports));
        }
    }
    all
}

fn entry(args: &ClusterArgs, number: usize, hosts: &[&str], tls: bool, ports: &[u16]) -> Value {
    let protocol = if tls { "TLS" } else { "HTTP" };
    let port = |port: &u16| json!({"number": port, "name": format!("{}-{port}", protocol.to_lowercase()), "protocol": protocol});
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": args.metadata(&format!("{}-{number}", args.name)),
        "spec": {
            "hosts": hosts,
            "exportTo": ["."],
            "location": "MESH_EXTERNAL",
            // Istio would look each name up again and again, and have an address at hand that nobody judged.
            "resolution": "NONE",
            "ports": ports.iter().map(port).collect::<Vec<_>>(),
        },
    })
}
