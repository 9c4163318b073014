//! Quarantine over workers, its end by policy, what operators see of it, and the count of first meetings.

use crate::agent::get;
use exeat_e2e::scenario::gateway::exeat;
use exeat_e2e::scenario::real::RealEnvoy;
use exeat_e2e::scenario::subject::Subject;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Labels of 84 bits and more: five fit into the budget under one parent.
const LABELS: [&str; 6] =
    ["d3e54v103j8qbb", "d1a3f4spazzrp4", "dnn506yrbagrg5", "d36mpcpuzc4ztk", "d2wy8f7a9ursnm", "d9x1kqv7ybzm2e"];

fn reason(envoy: &mut RealEnvoy, session: &str, host: &str) -> String {
    let url = format!("http://{host}:{}/", envoy.upstream_port());
    let reply = envoy.send(&get(envoy, session, &url)).unwrap();
    reply.json()["reason"].as_str().unwrap_or("permitted").to_owned()
}

#[test]
fn a_session_that_went_over_is_held_by_every_worker_until_the_policy_releases_it() {
    let mut envoy = RealEnvoy::start("open-web", 4).unwrap();
    // Each request on a connection of its own, so that workers take turns: one budget for all of them.
    let mut reasons: Vec<String> =
        LABELS.iter().map(|label| reason(&mut envoy, "s-1", &format!("{label}.evil.test"))).collect();
    assert_eq!(reasons.pop().as_deref(), Some("destination-forbidden"));
    assert!(reasons.iter().all(|reason| reason == "permitted"), "{reasons:?}");
    for _ in 0..24 {
        assert_eq!(reason(&mut envoy, "s-1", "crm.example"), "session-quarantined");
    }
    assert_eq!(reason(&mut envoy, "s-2", "crm.example"), "permitted");
    // Several workers wrote of it.
    let held = |records: &[serde_json::Value]| {
        records.iter().filter(|record| record["reason"] == "session-quarantined").count() >= 24
    };
    envoy.wait_for_records("24 refusals of the session", held).unwrap();
    let list = |arguments: &[&str]| {
        let database = envoy.database();
        exeat(&["audit", "list"], |command| {
            command.arg("--db").arg(&database).args(arguments);
        })
        .unwrap()
    };
    let table = list(&["--quarantined"]);
    assert!(table.contains("research/reader") && table.contains("s-1") && !table.contains("s-2"), "{table}");
    assert_eq!(table.lines().count(), 2, "{table}");
    let line: serde_json::Value = serde_json::from_str(list(&["--quarantined", "--json"]).trim()).unwrap();
    assert_eq!(line["decision"]["reason"], "destination-forbidden");
    assert!(line["decision"]["quarantined_until"].as_u64().unwrap() > envoy.now() * 1000);
    let logs: BTreeSet<String> = list(&["--json", "--limit", "0"])
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["log"].as_str().unwrap().to_owned())
        .collect();
    assert!(logs.len() > 1, "one worker took all connections: {logs:?}");
    // Every worker counts into one counter: five names and, by another session, one host that is named.
    assert_eq!(envoy.envoy.stats().unwrap().value("wasmcustom.exeat.first_seen"), 6);

    let policy = envoy.gateway().file("policy/policy.yaml");
    let text = std::fs::read_to_string(&policy).unwrap();
    let release = "quarantine: {release: [{tenant: acme, agent: research/reader, session: s-1}]}\n";
    std::fs::write(&policy, text + release).unwrap();
    envoy.update().unwrap();
    // Workers take it over in their own time; a dozen in a row on new connections meets them all.
    let (end, mut row) = (Instant::now() + Duration::from_secs(60), 0);
    while row < 24 {
        assert!(Instant::now() < end, "the release is not in force");
        row = if reason(&mut envoy, "s-1", "crm.example") == "permitted" { row + 1 } else { 0 };
    }
    assert_eq!(reason(&mut envoy, "s-1", "d3e54v103j8qbb.evil.test"), "permitted");
    assert_eq!(reason(&mut envoy, "s-1", "d9x1kqv7ybzm2e.evil.test"), "destination-forbidden");
    assert_eq!(reason(&mut envoy, "s-1", "crm.example"), "permitted");
}
