//! Write-ahead delivery on the real Envoy: whatever the collector does, no request reaches the upstream before its decision
//! is stored.

use crate::scene::{LIMIT, Scene, count, of};
use exeat_e2e::scenario::plain;
use exeat_e2e::stage::client::{Connection, Http2};
use exeat_e2e::stage::front::Manner;
use serde_json::json;
use std::time::Duration;

const WRITE_AHEAD: (&str, &str) = ("delivery: async", "delivery: write-ahead");

/// A wait of some two seconds.
const SHORT: (&str, &str) = ("timeout: 2s", "timeout: 300ms");

#[test]
fn nothing_reaches_the_upstream_without_a_stored_decision() {
    let scene = Scene::start(&[WRITE_AHEAD, SHORT], 2);
    let mut answers = scene.send_at_once(6);
    assert_eq!(count(&answers, 200), 6);
    let mut passed = 6;
    for manner in [
        Manner::Fail,
        Manner::Close,
        Manner::BreakOff,
        Manner::Lie,
        Manner::LoseAnswer,
        Manner::Hang,
        Manner::Slow(Duration::from_millis(100)),
    ] {
        scene.front.set(manner);
        let round = scene.send_at_once(4);
        // What was held is let through by the next manner, and too late.
        let (goes, refused) = (count(&round, 200), count(&round, 503));
        assert_eq!(goes + refused, 4, "{manner:?}");
        if !matches!(manner, Manner::Slow(_)) {
            assert_eq!(goes, 0, "{manner:?}");
            let reason = |answer: &exeat_e2e::stage::client::Response| answer.json().unwrap()["reason"].clone();
            assert!(round.iter().all(|answer| reason(answer) == "audit-unavailable"), "{manner:?}");
        }
        passed += goes;
        answers.extend(round);
    }
    scene.front.set(Manner::Pass);
    // As soon as the collector is well again, within the wait of a request.
    let after = scene.send_at_once(6);
    passed += count(&after, 200);
    answers.extend(after);
    let records = scene.settled(&answers);
    assert_eq!((scene.unstored(), scene.reached().len()), (0, passed));
    assert!(scene.reached().values().all(|times| *times == 1), "{:?}", scene.reached());
    assert!(passed > 6, "nothing passed after the outage");
    // Each refusal follows a decision of which nothing was forwarded.
    for answer in answers.iter().filter(|answer| answer.status == 503) {
        let id = answer.header("exeat-decision").unwrap();
        let refusal = records.iter().find(|record| record["id"] == id).unwrap();
        assert_eq!((&refusal["outcome"], &refusal["reason"]), (&json!("deny"), &json!("audit-unavailable")));
        let first =
            of(&records, "completion").into_iter().find(|record| record["decision"] == refusal["follows"]).unwrap();
        assert_eq!((&first["ending"], &first["forwarded_bytes"]), (&json!("refused"), &json!(0)));
    }
    let verdict = scene.real.verify_settled(LIMIT).unwrap();
    assert!(verdict.starts_with("ok: "), "{verdict}");
}

#[test]
fn a_collector_that_is_killed_stops_requests_and_loses_none() {
    let mut scene = Scene::start(&[WRITE_AHEAD, SHORT], 2);
    let mut answers = scene.send_at_once(4);
    let _ = scene.real.collector().kill().unwrap();
    let refused = scene.send_at_once(4);
    assert_eq!(count(&refused, 503), 4);
    answers.extend(refused);
    scene.real.restart_collector().unwrap();
    let again = scene.send_at_once(4);
    answers.extend(again);
    scene.settled(&answers);
    assert_eq!((scene.unstored(), scene.reached().len()), (0, count(&answers, 200)));
    assert!(scene.real.verify_settled(LIMIT).unwrap().starts_with("ok: "));
}

#[test]
fn streams_of_one_connection_wait_and_go_on_together() {
    let scene = Scene::start(&[WRITE_AHEAD], 1);
    let connection = Http2::connect(scene.real.listener).unwrap().with_limit(LIMIT);
    let send = || {
        let request = plain::wire(&scene.real, "GET", &scene.path(), b"").unwrap();
        let uri = format!("http://{}{}", request.authority, request.target);
        let head = http::Request::builder().method("GET").uri(uri);
        let fields = request.fields.iter();
        let head = fields.fold(head, |head, (name, value)| head.header(name.as_slice(), value.as_slice()));
        connection.send(head.body(Vec::new()).unwrap()).unwrap().status
    };
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..40).map(|_| scope.spawn(send)).collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).collect()
    });
    assert_eq!(statuses, [200; 40]);
    assert_eq!((scene.unstored(), scene.reached().len()), (0, 40));
}

#[test]
fn a_body_that_waits_arrives_whole() {
    let scene = Scene::start(&[WRITE_AHEAD, ("methods: [GET]", "methods: [GET, POST]")], 1);
    scene.front.set(Manner::Slow(Duration::from_millis(200)));
    let body = b"0123456789".repeat(5_000);
    for chunked in [None, Some(4_096)] {
        let mut request = plain::wire(&scene.real, "POST", &scene.path(), &body).unwrap();
        request.chunked = chunked;
        let framed = exeat_e2e::scenario::real::framed(&request);
        let answer = Connection::open(scene.real.listener).unwrap().send(&framed).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let [arrived] = scene.real.upstream.take().try_into().unwrap();
        assert_eq!(arrived.body, body);
    }
    assert_eq!(scene.unstored(), 0);
}

#[test]
fn a_client_that_leaves_while_it_waits_had_nothing_forwarded() {
    let scene = Scene::start(&[WRITE_AHEAD], 1);
    scene.front.set(Manner::Hang);
    let before = scene.front.requests();
    let mut connection = Connection::open(scene.real.listener).unwrap();
    connection.write(&plain::get(&scene.real, &scene.path()).unwrap().bytes()).unwrap();
    let sent = || (scene.front.requests() > before).then_some(());
    scene.real.envoy.process().wait_until("the batch", LIMIT, sent).unwrap();
    drop(connection);
    let left = || {
        (scene.real.envoy.stats().unwrap().value("http.egress.downstream_rq_rx_reset") > 0
            || scene.real.envoy.stats().unwrap().value("http.egress.downstream_cx_active") == 0)
            .then_some(())
    };
    scene.real.envoy.process().wait_until("the end of the connection", LIMIT, left).unwrap();
    scene.front.set(Manner::Pass);
    let done = |records: &[serde_json::Value]| of(records, "completion").len() == 1;
    let records = scene.real.wait_for_records_within(LIMIT, "the completion", done).unwrap();
    let completion = of(&records, "completion")[0];
    assert_eq!((&completion["ending"], &completion["forwarded_bytes"]), (&json!("reset"), &json!(0)));
    assert_eq!(scene.reached().len(), 0);
    assert_eq!(count(&scene.send_at_once(1), 200), 1);
}

#[test]
fn a_listener_update_leaves_nobody_waiting() {
    let scene = Scene::start(&[WRITE_AHEAD], 2);
    let listener = scene.real.rendered_listener().unwrap();
    let mut answers = Vec::new();
    for round in 0..4 {
        scene.front.set(Manner::Slow(Duration::from_millis(300)));
        answers.extend(std::thread::scope(|scope| {
            let senders: Vec<_> = (0..6).map(|_| scope.spawn(|| scene.send().unwrap())).collect();
            let revised = listener.replace("revision: revision-1", &format!("revision: revision-{round}"));
            let revised = revised.replace("\"revision\":\"revision-1\"", &format!("\"revision\":\"revision-{round}\""));
            scene.real.envoy.update_listeners(&revised.replace("revision-1", &format!("revision-1-{round}"))).unwrap();
            senders.into_iter().map(|sender| sender.join().unwrap()).collect::<Vec<_>>()
        }));
    }
    // Whoever waited was answered: let go, or refused in time.
    assert_eq!(count(&answers, 200) + count(&answers, 503), 24);
    assert!(count(&answers, 200) > 12, "{:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>());
    scene.settled(&answers);
    assert_eq!((scene.unstored(), scene.reached().len()), (0, count(&answers, 200)));
}
