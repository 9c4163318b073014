//! Network policies that leave the gateway as the only way out, and keep the gateway itself to the open Internet and the
//! networks that the policy names.
//!
//! Ranges are those of the engine's own table, so that what the guard refuses by name the network refuses by address.

use super::{APP, AgentDns, ClusterArgs};
use crate::render::common::Accepted;
use exeat_engine::destination::ranges::RANGES;
use exeat_engine::destination::{AddressClass, Cidr, HostPattern};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Label that the cluster itself gives to every namespace.
pub(crate) const NAMESPACE: &str = "kubernetes.io/metadata.name";

/// A peer in another namespace, which the gateway or its agents need.
pub struct Peer<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// A label of its pods.
    pub label: (&'a str, &'a str),
    /// Its ports.
    pub ports: &'a [u16],
}

/// The gateway's pods.
pub struct Pods<'a> {
    /// Where they are.
    pub namespace: &'a super::Namespace,
    /// Labels that no others have.
    pub labels: Value,
    /// Port of their metrics.
    pub metrics: u16,
}

/// The cluster's DNS, by the labels that it has everywhere.
const DNS: (&str, (&str, &str)) = ("kube-system", ("k8s-app", "kube-dns"));

/// Policies of the gateway and of each namespace of agents. `controller` is whom proxies get their configuration from; agents
/// reach it only where they have proxies of their own.
pub fn policies(
    args: &ClusterArgs,
    accepted: &Accepted,
    pods: &Pods<'_>,
    agent_dns: AgentDns,
    controller: &Peer<'_>,
    agents_have_proxies: bool,
) -> anyhow::Result<Vec<Value>> {
    let mut all = vec![of_gateway(args, accepted, pods, controller)?];
    let more = agents_have_proxies.then_some(controller);
    all.extend(args.agents.iter().map(|namespace| of_agents(args, pods, namespace, agent_dns, more)));
    Ok(all)
}

fn of_gateway(
    args: &ClusterArgs,
    accepted: &Accepted,
    pods: &Pods<'_>,
    controller: &Peer<'_>,
) -> anyhow::Result<Value> {
    let of = |namespace: &super::Namespace| json!({"namespaceSelector": {"matchLabels": {NAMESPACE: namespace}}});
    let from = |namespaces: &[super::Namespace], port| {
        let peers: Vec<Value> = namespaces.iter().map(of).collect();
        // No peers would mean all there are.
        (!peers.is_empty()).then(|| json!({"from": peers, "ports": [tcp(port)]}))
    };
    let ingress = [from(&args.agents, args.port), from(&args.metrics_from, pods.metrics)];
    let mut egress = match args.resolver.is_empty() {
        true => vec![cluster_dns()],
        false => args.resolver.iter().map(|address| dns_at(address.ip(), address.port())).collect(),
    };
    egress.push(to(controller));
    if let Some(port) = args.collector_port()? {
        egress.push(json!({
            "to": [{"podSelector": {"matchLabels": {APP: args.collector_label}}}],
            "ports": [tcp(port)],
        }));
    }
    egress.extend(ways_out(accepted));
    Ok(json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": args.name, "namespace": pods.namespace, "labels": args.labels()},
        "spec": {
            "podSelector": {"matchLabels": pods.labels},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress.into_iter().flatten().collect::<Vec<_>>(),
            "egress": egress,
        },
    }))
}

fn of_agents(
    args: &ClusterArgs,
    pods: &Pods<'_>,
    namespace: &super::Namespace,
    dns: AgentDns,
    controller: Option<&Peer<'_>>,
) -> Value {
    let gateway = json!({
        "to": [{
            "namespaceSelector": {"matchLabels": {NAMESPACE: pods.namespace}},
            "podSelector": {"matchLabels": pods.labels},
        }],
        "ports": [tcp(args.port)],
    });
    let dns = (dns == AgentDns::Cluster).then(cluster_dns);
    let egress: Vec<Value> = [Some(gateway), dns, controller.map(to)].into_iter().flatten().collect();
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": args.name, "namespace": namespace, "labels": args.labels()},
        // Every pod there is; what is not named cannot be reached.
        "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": egress},
    })
}

pub(crate) fn cluster_dns() -> Value {
    let (namespace, (key, value)) = DNS;
    json!({
        "to": [{
            "namespaceSelector": {"matchLabels": {NAMESPACE: namespace}},
            "podSelector": {"matchLabels": {key: value}},
        }],
        "ports": [{"protocol": "UDP", "port": 53}, tcp(53)],
    })
}

pub(crate) fn dns_at(address: IpAddr, port: u16) -> Value {
    json!({
        "to": [{"ipBlock": {"cidr": Cidr::single(address)}}],
        "ports": [{"protocol": "UDP", "port": port}, tcp(port)],
    })
}

fn to(peer: &Peer<'_>) -> Value {
    let (key, value) = peer.label;
    json!({
        "to": [{
            "namespaceSelector": {"matchLabels": {NAMESPACE: peer.namespace}},
            "podSelector": {"matchLabels": {key: value}},
        }],
        "ports": peer.ports.iter().map(|port| tcp(*port)).collect::<Vec<_>>(),
    })
}

pub(crate) fn tcp(port: u16) -> Value {
    json!({"protocol": "TCP", "port": port})
}

/// The open Internet at the ports of the policy, and closed networks that it names at the ports of who names them.
pub(crate) fn ways_out(accepted: &Accepted) -> Vec<Value> {
    let (mut all, mut named) = (BTreeSet::new(), BTreeMap::<Cidr, BTreeSet<u16>>::new());
    for destination in accepted.configuration.policy().all_destinations() {
        all.extend(destination.ports().iter().copied());
        let written =
            hosts_of(&accepted.plugin_document, destination.id()).filter_map(|host| {
                match HostPattern::parse(host).ok()? {
                    HostPattern::Address(address) => Some(Cidr::single(address)),
                    HostPattern::Range(range) => Some(range),
                    _ => None,
                }
            });
        for range in destination.addresses().iter().copied().chain(written) {
            named.entry(plain(range)).or_default().extend(destination.ports());
        }
    }
    let ports = |ports: &BTreeSet<u16>| ports.iter().map(|port| tcp(*port)).collect::<Value>();
    let mut rules = Vec::new();
    if !all.is_empty() {
        let open: Vec<Value> = open_blocks().iter().map(OpenBlock::render).collect();
        rules.push(json!({"to": open, "ports": ports(&all)}));
    }
    rules.extend(named.iter().map(|(range, at)| json!({"to": [{"ipBlock": {"cidr": range}}], "ports": ports(at)})));
    rules
}

/// As a cluster takes it: IPv4 within IPv6 (RFC 4291 section 2.5.5.2) as IPv4, which it is on the way.
fn plain(range: Cidr) -> Cidr {
    let network = range.network().to_canonical();
    let prefix = range.prefix().checked_sub(96).filter(|_| network != range.network());
    prefix.and_then(|prefix| Cidr::new(network, prefix).ok()).unwrap_or(range)
}

/// Hosts of a destination, as the policy writes them.
pub fn hosts_of<'a>(document: &'a Value, id: &str) -> impl Iterator<Item = &'a str> {
    let hosts = document.pointer("/policy/destinations").and_then(|all| all.get(id)).and_then(|one| one.get("hosts"));
    let one = hosts.and_then(Value::as_str);
    one.into_iter().chain(hosts.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str))
}

/// A range of public addresses, less what is closed in it.
#[derive(Debug)]
struct OpenBlock {
    cidr: Cidr,
    except: Vec<Cidr>,
}

impl OpenBlock {
    fn render(&self) -> Value {
        json!({"ipBlock": {"cidr": self.cidr, "except": self.except}})
    }
}

/// Every address that is closed to none.
fn open_blocks() -> Vec<OpenBlock> {
    let public = RANGES.iter().filter(|range| range.class == AddressClass::Public);
    let block = |open: Cidr| {
        let inside = |range: &Cidr| *range != open && open.covers(range);
        let closed: Vec<Cidr> =
            RANGES.iter().filter(|range| range.class.refused()).map(|range| range.cidr).filter(inside).collect();
        // One within another would say nothing more.
        let outermost = |range: &&Cidr| !closed.iter().any(|other| other != *range && other.covers(range));
        OpenBlock { cidr: open, except: closed.iter().filter(outermost).copied().collect() }
    };
    // What is open within what is closed has a block of its own, as any other.
    public.map(|range| block(range.cidr)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use exeat_engine::destination::classify;

    fn leaves(address: IpAddr) -> bool {
        open_blocks()
            .iter()
            .any(|block| block.cidr.contains(address) && !block.except.iter().any(|closed| closed.contains(address)))
    }

    #[test]
    fn ipv4_is_written_as_such() {
        for (policy, network) in [
            ("::ffff:a00:1", "10.0.0.1/32"),
            ("::ffff:a00:0/104", "10.0.0.0/8"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::/80", "::/80"),
            ("fd00::/8", "fd00::/8"),
            ("10.20.0.0/16", "10.20.0.0/16"),
        ] {
            assert_eq!(plain(Cidr::parse(policy).unwrap()).to_string(), network);
        }
    }

    /// At the first, the last and the neighbouring addresses of every range that has a meaning.
    #[test]
    fn the_network_closes_what_the_guard_closes() {
        let mut seen = 0;
        for range in RANGES {
            for address in edges(range.cidr) {
                seen += 1;
                // An address that stands for another inside a public range is for the guard alone: no prefix tells it.
                if !leaves(address) {
                    assert!(classify(address).refused(), "{address} is public and cannot be reached");
                }
                let narrowest = RANGES.iter().filter(|r| r.cidr.contains(address)).max_by_key(|r| r.cidr.prefix());
                assert_eq!(leaves(address), !narrowest.unwrap().class.refused(), "{address}");
            }
        }
        assert!(seen > 150, "{seen}");
        for metadata in ["169.254.169.254", "10.0.0.1", "127.0.0.1", "100.64.0.1", "::1", "fd00::1", "fe80::1"] {
            assert!(!leaves(metadata.parse().unwrap()), "{metadata}");
        }
        assert!(leaves("8.8.8.8".parse().unwrap()) && leaves("2606:4700::1111".parse().unwrap()));
    }

    fn edges(range: Cidr) -> Vec<IpAddr> {
        match range.network() {
            IpAddr::V4(first) => {
                let (first, size) = (first.to_bits(), u32::MAX.checked_shr(range.prefix().into()).unwrap_or(0));
                let last = first | size;
                let all = [Some(first), Some(last), first.checked_sub(1), last.checked_add(1)];
                all.into_iter().flatten().map(|bits| std::net::Ipv4Addr::from_bits(bits).into()).collect()
            }
            IpAddr::V6(first) => {
                let (first, size) = (first.to_bits(), u128::MAX.checked_shr(range.prefix().into()).unwrap_or(0));
                let last = first | size;
                let all = [Some(first), Some(last), first.checked_sub(1), last.checked_add(1)];
                all.into_iter().flatten().map(|bits| std::net::Ipv6Addr::from_bits(bits).into()).collect()
            }
        }
    }
}
