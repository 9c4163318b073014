//! What Envoy's statistics say of evidence.

use crate::scene::{LIMIT, Scene};
use exeat_e2e::scenario::plain;
use exeat_e2e::stage::client::{self, Request};
use exeat_e2e::stage::front::Manner;
use std::collections::BTreeMap;

/// The gateway's own metrics, as Prometheus reads them.
fn metrics(scene: &Scene) -> BTreeMap<String, u64> {
    let text = scene.real.envoy.admin("GET", "/stats/prometheus").unwrap().text();
    let own = text.lines().filter(|line| line.contains("exeat_") && !line.starts_with('#'));
    own.filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.trim_end_matches("{}").to_owned(), value.parse().ok()?))
    })
    .collect()
}

fn wait_for(scene: &Scene, what: &str, holds: impl Fn(&BTreeMap<String, u64>) -> bool) -> BTreeMap<String, u64> {
    let mut last = BTreeMap::new();
    let found = scene.real.envoy.process().wait_until(what, LIMIT, || {
        last = metrics(scene);
        holds(&last).then(|| last.clone())
    });
    found.unwrap_or_else(|error| panic!("{last:?}: {error}"))
}

#[test]
fn prometheus_reads_queue_age_retries_and_outcomes() {
    let scene = Scene::start(&[], 2);
    assert_eq!(scene.send_at_once(6).len(), 6);
    for _ in 0..4 {
        let denied = plain::get(&scene.real, "/v1/customers").unwrap();
        assert_eq!(client::send(scene.real.listener, &denied).unwrap().status, 403);
    }
    let unsigned = Request::new("GET", "/v1/orders/7").header("host", plain::HOST);
    assert_eq!(client::send(scene.real.listener, &unsigned).unwrap().status, 401);
    let value = |metrics: &BTreeMap<String, u64>, name: &str| metrics.get(name).copied().unwrap_or(0);
    // Summed over both workers.
    let seen = wait_for(&scene, "outcomes", |metrics| {
        value(metrics, "exeat_decisions_allow") == 6 && value(metrics, "exeat_decisions_deny") == 5
    });
    assert!(value(&seen, "exeat_evidence_batches") >= 3, "{seen:?}");
    wait_for(&scene, "an empty queue", |metrics| metrics.get("exeat_evidence_queue_records") == Some(&0));
    scene.front.set(Manner::Fail);
    assert_eq!(scene.send_at_once(5).len(), 5);
    let seen = wait_for(&scene, "a queue", |metrics| {
        value(metrics, "exeat_evidence_queue_records") >= 10
            && value(metrics, "exeat_evidence_oldest_milliseconds") > 1_500
            && value(metrics, "exeat_evidence_retries") >= 2
    });
    assert!(value(&seen, "exeat_evidence_queue_bytes") > 5_000, "{seen:?}");
    for name in
        ["exeat_evidence_dropped", "exeat_evidence_folded", "exeat_guard_refusals", "exeat_decisions_would_deny"]
    {
        assert_eq!(value(&seen, name), 0, "{name}");
    }
    assert_eq!(seen.get("exeat_evidence_waiting_requests"), Some(&0));
    scene.front.set(Manner::Pass);
    wait_for(&scene, "an empty queue", |metrics| {
        value(metrics, "exeat_evidence_queue_records") == 0 && value(metrics, "exeat_evidence_oldest_milliseconds") == 0
    });
}

#[test]
fn drops_show() {
    let scene = Scene::start(&[("queue: 4096, when_full: deny", "queue: 16, when_full: drop")], 1);
    scene.front.set(Manner::Fail);
    assert_eq!(scene.send_at_once(20).iter().filter(|answer| answer.status == 200).count(), 20);
    let seen =
        wait_for(&scene, "drops", |metrics| metrics.get("exeat_evidence_dropped").is_some_and(|count| *count > 0));
    let dropped = seen["exeat_evidence_dropped"];
    assert_eq!(scene.reached().len(), 20);
    scene.front.set(Manner::Pass);
    // As many as the audit says.
    let told = format!(", {dropped} requests let go unrecorded (when_full: drop)");
    let verdict = || scene.real.verify().ok().filter(|verdict| verdict.contains(&told));
    let verdict = scene.real.envoy.process().wait_until("the count", LIMIT, verdict).unwrap();
    assert!(verdict.contains(&format!(" {} decisions ({} allow", 20 - dropped, 20 - dropped)), "{verdict}");
}
