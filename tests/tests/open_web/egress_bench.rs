//! The cases of agent-egress-bench that concern addresses, hosts and paths, on the real Envoy. The policy lets everything go,
//! so that only what watches addresses, names and paths can refuse, and the ceiling that one case asks for.

use crate::agent::get;
use exeat_e2e::scenario::real::RealEnvoy;
use exeat_e2e::scenario::subject::Subject;
use serde_json::Value;
use std::net::IpAddr;

/// Cases among those on URLs that are of other controls: secrets in a query are for detectors.
const OF_QUERIES: [&str; 5] = [
    "url-dlp-aws-key-001",
    "url-dlp-base64-004",
    "url-dlp-github-token-002",
    "url-dlp-hex-005",
    "url-dlp-urlencoded-008",
];

fn cases() -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("../../vectors/agent-egress-bench/cases.json")).unwrap();
    let of_ours = |case: &&Value| {
        let id = case["id"].as_str().unwrap();
        matches!(case["category"].as_str().unwrap(), "ssrf_bypass" | "url") && !OF_QUERIES.contains(&id)
    };
    all["cases"].as_array().unwrap().iter().filter(of_ours).cloned().collect()
}

#[test]
fn addresses_hosts_and_paths_are_judged_as_the_bench_wants() {
    let cases = cases();
    let count = |verdict: &str| cases.iter().filter(|case| case["expected_verdict"] == verdict).count();
    assert_eq!((count("block"), count("allow")), (15, 4));
    let mut envoy = RealEnvoy::start("open-web", 1).unwrap();
    let port = envoy.upstream_port();
    let mut wrong = Vec::new();
    for case in &cases {
        let (id, url) = (case["id"].as_str().unwrap(), case["payload"]["url"].as_str().unwrap());
        // The agent speaks plain HTTP to the gateway. What may pass goes to the port where the upstream is.
        let plain = url.replacen("https://", "http://", 1);
        let url = if case["expected_verdict"] == "allow" {
            let (host, path) = plain.trim_start_matches("http://").split_once('/').unwrap();
            format!("http://{host}:{port}/{path}")
        } else {
            plain
        };
        let reply = envoy.send(&get(&envoy, id, &url)).unwrap();
        let (reason, arrived) = (reply.json()["reason"].clone(), envoy.arrived().unwrap().len());
        let allowed = reason.is_null();
        let expected = match id {
            _ if case["expected_verdict"] == "allow" => None,
            "url-domain-blocklist-001" => Some("rule-denied"),
            _ => Some("destination-forbidden"),
        };
        if reason.as_str() != expected || (reply.status, arrived) != if allowed { (200, 1) } else { (403, 0) } {
            wrong.push(format!("{id}: {url}: {} {reason}, {arrived} arrived", reply.status));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// What the first filter cannot see: a name of the open web whose address is closed. The policy opens loopback for the
/// upstream of these tests, and nothing else.
#[test]
fn names_that_resolve_to_closed_addresses_are_refused_past_the_filter() {
    let mut envoy = RealEnvoy::start("open-web", 1).unwrap();
    let port = envoy.upstream_port();
    for (name, address) in [
        ("metadata.evil.test", "169.254.169.254"),
        ("intranet.evil.test", "10.0.0.1"),
        ("v6.evil.test", "fd00:ec2::254"),
        ("mapped.evil.test", "::ffff:10.0.0.1"),
    ] {
        envoy.dns.set(name, [address.parse::<IpAddr>().unwrap()]);
        let reply = envoy.send(&get(&envoy, name, &format!("http://{name}:{port}/"))).unwrap();
        let reason = reply.json()["reason"].clone();
        assert_eq!((reply.status, reason.as_str()), (403, Some("destination-resolved-forbidden")), "{name}");
        assert!(envoy.arrived().unwrap().is_empty());
    }
}
