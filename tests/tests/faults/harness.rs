//! On the wasmtime harness, where every moment can be chosen.

use exeat_e2e::scenario::gateway::{COLLECTOR_TOKEN, Gateway};
use exeat_e2e::scenario::harness::{Harness, UPSTREAM_PORT, leave, message};
use exeat_e2e::scenario::plain;
use exeat_e2e::scenario::subject::Subject;
use exeat_host_test::{Exchange, Response};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;

const MOMENT: Duration = Duration::from_millis(1);

fn gateway(changes: &[(&str, &str)]) -> Gateway {
    Gateway::prepare_with("configuration", UPSTREAM_PORT, changes).unwrap()
}

/// With write-ahead, and a collector that answers when it is told to.
fn write_ahead(changes: &[(&str, &str)]) -> Harness {
    let changes = [&[("delivery: async", "delivery: write-ahead")], changes].concat();
    let harness = Harness::start_with(gateway(&changes)).unwrap();
    harness.collector_is_slow();
    harness
}

fn begin(harness: &Harness, method: &str, path: &str, body: &[u8]) -> Exchange {
    let request = plain::wire(harness, method, path, body).unwrap();
    harness.worker().request(message(&request).unwrap())
}

/// A GET, sent whole.
fn get(harness: &Harness, path: &str) -> Exchange {
    let mut exchange = begin(harness, "GET", path, b"");
    exchange.send().unwrap();
    exchange
}

fn reason(exchange: &Exchange) -> Value {
    let body = exchange.response().unwrap().body();
    serde_json::from_slice::<Value>(&body).unwrap()["reason"].clone()
}

fn of(records: &[Value], kind: &str) -> Vec<Value> {
    records.iter().filter(|record| record["kind"] == kind).cloned().collect()
}

/// Everything is delivered.
fn settle(harness: &Harness) -> Vec<Value> {
    for _ in 0..40 {
        harness.worker().advance(Duration::from_millis(100)).unwrap();
        harness.answer().unwrap();
    }
    harness.stored()
}

#[test]
fn a_request_goes_on_when_its_record_is_stored() {
    let harness = write_ahead(&[]);
    let mut exchange = get(&harness, "/v1/orders/1");
    assert!(exchange.forwarded().is_none() && exchange.response().is_none());
    // The batch does not wait for the ordinary tick.
    harness.worker().advance(MOMENT).unwrap();
    assert_eq!(harness.worker().callouts().len(), 1);
    assert!(exchange.forwarded().is_none() && exchange.waiting().is_some());
    assert_eq!(harness.answer().unwrap(), 1);
    assert_eq!(exchange.forwarded().unwrap().text(":path").as_deref(), Some("/v1/orders/1"));
    assert_eq!(of(&harness.stored(), "decision").len(), 1);
    assert!(leave(harness.worker(), &HashMap::new(), &exchange.forwarded().unwrap()).unwrap().is_none());
    exchange.respond(Response::ok("{}")).unwrap();
    assert!(exchange.finish().unwrap().response.unwrap().headers.contains("exeat-decision"));
    let records = settle(&harness);
    let completion = &of(&records, "completion")[0];
    assert_eq!(
        (&completion["ending"], &completion["decision"]),
        (&json!("complete"), &of(&records, "decision")[0]["id"])
    );
}

#[test]
fn what_comes_while_a_batch_is_on_its_way_goes_with_the_next() {
    let harness = write_ahead(&[]);
    let first = get(&harness, "/v1/orders/1");
    harness.worker().advance(MOMENT).unwrap();
    let later: Vec<Exchange> = (2..40).map(|n| get(&harness, &format!("/v1/orders/{n}"))).collect();
    harness.worker().advance(MOMENT).unwrap();
    assert_eq!(harness.answer().unwrap(), 1);
    assert!(first.forwarded().is_some());
    assert!(later.iter().all(|exchange| exchange.forwarded().is_none()));
    // The next left with the answer to the first, and holds all of them.
    assert_eq!(harness.answer().unwrap(), 1);
    assert!(later.iter().all(|exchange| exchange.forwarded().is_some()));
}

#[test]
fn a_body_goes_on_as_it_was_judged() {
    let harness = write_ahead(&[("methods: [GET]", "methods: [GET, POST]")]);
    let body = b"x".repeat(40_000);
    let mut exchange = begin(&harness, "POST", "/v1/orders/1", &body);
    exchange.send().unwrap();
    harness.worker().advance(MOMENT).unwrap();
    assert!(exchange.forwarded().is_none());
    harness.answer().unwrap();
    let forwarded = exchange.forwarded().unwrap();
    assert_eq!((forwarded.body(), forwarded.complete), (body, true));
}

#[test]
fn denials_do_not_wait() {
    let harness = write_ahead(&[]);
    let exchange = get(&harness, "/v1/customers");
    assert_eq!((exchange.response().unwrap().status(), reason(&exchange)), (403, json!("path-denied")));
}

#[test]
fn without_an_acknowledgement_it_is_refused_and_others_are_not_touched() {
    let harness = write_ahead(&[]);
    let exchange = get(&harness, "/v1/orders/1");
    harness.worker().advance(Duration::from_millis(4_000)).unwrap();
    assert!(exchange.response().is_none(), "two seconds for the collector, and two more");
    harness.worker().advance(Duration::from_millis(200)).unwrap();
    assert_eq!((exchange.response().unwrap().status(), reason(&exchange)), (503, json!("audit-unavailable")));
    let told = exchange.response().unwrap().headers.text("exeat-decision").unwrap().into_owned();
    let outcome = exchange.finish().unwrap();
    assert!(outcome.upstream.is_none() && outcome.hung.is_none(), "{outcome:?}");
    // A request right after an answer that a root context gave is an ordinary one.
    let denied = get(&harness, "/v1/customers");
    assert_eq!(denied.response().unwrap().status(), 403);
    let next = get(&harness, "/v1/orders/2");
    // A batch may be on its way that times out first; within a second it goes again, all before this request's time is over.
    for _ in 0..10 {
        harness.worker().advance(Duration::from_millis(300)).unwrap();
        while harness.answer().unwrap() > 0 {}
    }
    assert!(next.forwarded().is_some());
    let records = settle(&harness);
    let refusal = records.iter().find(|record| record["id"] == told.as_str()).unwrap();
    let first = records.iter().find(|record| record["id"] == refusal["follows"]).unwrap();
    assert_eq!((&refusal["outcome"], &first["outcome"]), (&json!("deny"), &json!("allow")));
    let completion = of(&records, "completion").into_iter().find(|c| c["decision"] == first["id"]).unwrap();
    assert_eq!((&completion["ending"], &completion["forwarded_bytes"]), (&json!("refused"), &json!(0)));
}

#[test]
fn a_client_that_leaves_leaves_nothing_behind() {
    let harness = write_ahead(&[]);
    let before = harness.worker().contexts();
    let exchange = get(&harness, "/v1/orders/1");
    harness.worker().advance(MOMENT).unwrap();
    drop(exchange.finish().unwrap());
    assert_eq!(harness.worker().contexts(), before);
    let records = settle(&harness);
    let completion = &of(&records, "completion")[0];
    assert_eq!((&completion["ending"], &completion["forwarded_bytes"]), (&json!("reset"), &json!(0)));
}

#[test]
fn bytes_that_come_while_a_tunnel_waits_are_judged_before_they_go() {
    let changes = [
        ("methods: [GET]", "methods: [GET, CONNECT]"),
        ("paths: [/v1/orders/*]", "paths: [/**]"),
        ("accepts: confidential", "accepts: confidential\n    tunnel: true\n    life: 1m"),
    ];
    for hello in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01"] {
        let harness = write_ahead(&changes);
        let mut exchange = begin(&harness, "CONNECT", "", b"");
        exchange.send_head().unwrap();
        exchange.body(hello, false).unwrap();
        harness.worker().advance(MOMENT).unwrap();
        harness.answer().unwrap();
        assert!(exchange.forwarded().is_none_or(|forwarded| forwarded.body().is_empty()), "{hello:?}");
    }
}

#[test]
fn the_answer_to_a_root_context_that_is_to_go_is_awaited() {
    let harness = write_ahead(&[]);
    let worker = harness.worker();
    let old = worker.root();
    let exchange = get(&harness, "/v1/orders/1");
    worker.advance(MOMENT).unwrap();
    let root = worker.callouts()[0].root;
    worker.reconfigure(harness.gateway().configuration.replace("revision-1", "revision-2")).unwrap();
    let dispatcher = worker.roots().into_iter().find(|candidate| candidate.context_id() == root).unwrap();
    worker.retire(dispatcher).unwrap();
    assert!(worker.has_root(dispatcher), "its callout is open");
    harness.answer().unwrap();
    assert!(exchange.forwarded().is_some());
    drop(exchange.finish());
    worker.retire(old).unwrap();
    settle(&harness);
    assert!(!worker.has_root(dispatcher));
}

#[test]
fn the_genesis_says_where_the_boot_before_ended() {
    let previous = json!({"boot": "b1", "logs": [
        {"origin": "egress-demo/b1/1", "size": 7, "root": "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}]});
    let answer = Response::ok(previous.to_string());
    let harness = Harness::start_first_moment(gateway(&[]), Some(answer)).unwrap();
    harness.worker().advance(Duration::from_secs(1)).unwrap();
    let records = harness.stored();
    assert_eq!((&records[0]["kind"], &records[0]["previous"]), (&json!("genesis"), &previous));
    assert!(of(&records, "previous").is_empty());
}

#[test]
fn a_log_that_had_to_begin_says_it_later() {
    for lie in [
        r#"{"boot":"b1","logs":[{"origin":"other/b1/1","size":1,"root":"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}]}"#,
        "no",
    ] {
        let harness = Harness::start_first_moment(gateway(&[]), Some(Response::ok(lie))).unwrap();
        harness.worker().advance(Duration::from_secs(1)).unwrap();
        assert!(harness.stored()[0].get("previous").is_none());
        harness.reports(Response::ok(r#"{"boot":"b1","logs":[]}"#));
        // Heartbeats are acknowledged, and it is asked again.
        harness.worker().advance(Duration::from_secs(90)).unwrap();
        let records = harness.stored();
        assert!(of(&records, "genesis")[0].get("previous").is_none());
        let [said] = &of(&records, "previous")[..] else { panic!("{records:?}") };
        assert_eq!(said["previous"], json!({"boot": "b1", "logs": []}));
    }
}

#[test]
fn no_log_waits_for_a_collector_that_does_not_answer() {
    let mut harness = Harness::start_first_moment(gateway(&[]), None).unwrap();
    harness.collector_is_slow();
    harness.worker().advance(Duration::from_millis(1_500)).unwrap();
    assert_eq!(harness.worker().callouts().len(), 1, "the question");
    // A request comes: the log begins.
    let request = plain::wire(&harness, "GET", "/v1/orders/1", b"").unwrap();
    assert_eq!(harness.send(&request).unwrap().status, 200);
    let records = settle(&harness);
    assert_eq!((of(&records, "genesis").len(), of(&records, "previous").len()), (1, 1));

    let harness = Harness::start_first_moment(gateway(&[]), None).unwrap();
    harness.collector_is_slow();
    harness.worker().advance(Duration::from_millis(2_400)).unwrap();
    assert_eq!(harness.worker().callouts().len(), 1, "the batch with the genesis; the question has timed out");
    assert!(!harness.worker().callouts()[0].body.is_empty());
}

#[test]
fn the_token_goes_with_every_request_to_the_collector() {
    let token = format!("timeout: 2s, token: {{env: {}}}", COLLECTOR_TOKEN.0);
    let harness = Harness::start_with(gateway(&[("timeout: 2s", &token)])).unwrap();
    let expected = Some(format!("Bearer {}", COLLECTOR_TOKEN.1));
    let sent = harness.authorizations();
    assert!(sent.len() >= 2 && sent.iter().all(|value| *value == expected), "{sent:?}");
    let without = Harness::start_with(gateway(&[])).unwrap().authorizations();
    assert!(without.len() >= 2 && without.iter().all(Option::is_none), "{without:?}");
    // A gateway that could not speak to its collector does not start.
    let missing = gateway(&[("timeout: 2s", "timeout: 2s, token: {env: EXEAT_NOT_SET}")]);
    let refused = format!("{:?}", Harness::start_with(missing).err().unwrap());
    assert!(
        refused.contains("/gateway/collector/token/env: the environment variable EXEAT_NOT_SET is not set"),
        "{refused}"
    );
}

#[test]
fn nothing_that_is_masked_stands_in_a_stored_record() {
    // What the requests are: the agent, a path of its own, the address they come from.
    let told = ["support/summarizer", "of-one-person", "127.0.0.1:40000"];
    let run = |audit: &str| {
        let mut harness = Harness::start_with(gateway(&[("when_full: deny", audit)])).unwrap();
        for (method, status) in [("GET", 200), ("DELETE", 403)] {
            let request = plain::wire(&harness, method, "/v1/orders/of-one-person", b"").unwrap();
            assert_eq!(harness.send(&request).unwrap().status, status, "{method}");
        }
        harness.worker().advance(Duration::from_secs(60)).unwrap();
        let records = harness.stored();
        let kinds = ["config", "decision", "completion"].map(|kind| of(&records, kind).len());
        assert!(kinds[0] >= 1 && kinds[1..] == [2, 1], "{kinds:?}");
        records
    };
    let clear = run("when_full: deny");
    let text = json!(clear).to_string();
    for told in told {
        assert!(text.contains(told), "{told} is not told without a mask either");
    }
    assert!(of(&clear, "config").iter().all(|config| config.get("mask").is_none()));
    let masked = run("when_full: deny, mask: {drop: [source], hash: [agent, session, path]}");
    let text = json!(masked).to_string();
    for told in told {
        assert!(!text.contains(told), "{told}: {text}");
    }
    for config in of(&masked, "config") {
        let hash = ["agent", "session", "delegated_by", "path"];
        assert_eq!(config["mask"], json!({"drop": ["source"], "hash": hash}));
    }
    let decisions = of(&masked, "decision");
    assert!(decisions[0]["agent"].as_str().unwrap().starts_with("hmac-sha256:"));
    assert_eq!(decisions[0]["agent"], decisions[1]["agent"], "equal values compare");
}

#[test]
fn drops_are_counted_in_the_log() {
    let mut harness =
        Harness::start_with(gateway(&[("queue: 4096, when_full: deny", "queue: 16, when_full: drop")])).unwrap();
    harness.collector_is_up(false);
    for n in 0..20 {
        let request = plain::wire(&harness, "GET", &format!("/v1/orders/{n}"), b"").unwrap();
        assert_eq!(harness.send(&request).unwrap().status, 200);
    }
    assert_eq!(harness.arrived().unwrap().len(), 20);
    harness.collector_is_up(true);
    harness.worker().advance(Duration::from_secs(60)).unwrap();
    let records = harness.stored();
    let recorded = of(&records, "decision").len() as u64;
    let dropped: u64 =
        of(&records, "summary").iter().map(|summary| summary["dropped"]["permitted"].as_u64().unwrap()).sum();
    assert_eq!((recorded, dropped), (8, 12));
    assert_eq!(of(&records, "config")[0]["when_full"], "drop");
}
