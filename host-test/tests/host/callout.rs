//! HTTP callouts, from streams and from the root context.

use std::time::Duration;

use crate::common::{filter, host, lines, run};
use exeat_host_test::{Answer, Host, Request, Response, Worker};

/// Pauses each request on a callout with timeout 2 s; a 200 resumes it, a reset refuses with 503, all else with 403.
/// Logs what the callout yields.
const ASKS: &str = r#"
    (data (i32.const 1024) "sink:statusasked")
    ;; :method POST, :path /ask, :authority sink
    (data (i32.const 1100) "\03\00\00\00\07\00\00\00\04\00\00\00\05\00\00\00\04\00\00\00\0a\00\00\00\04\00\00\00")
    (data (i32.const 1128) ":method\00POST\00:path\00/ask\00:authority\00sink\00")
    (global $stream (mut i32) (i32.const 0))
    (func $ask (param $headers i32) (result i32)
        (call $http_call (i32.const 1024) (i32.const 4) (local.get $headers) (i32.const 68)
            (i32.const 1035) (i32.const 5) (i32.const 0) (i32.const 0) (i32.const 2000) (i32.const 16)))
    (func (export "proxy_on_request_headers") (param $id i32) (param i32 i32) (result i32)
        (global.set $stream (local.get $id))
        (call $ok (call $ask (i32.const 1100)))
        (i32.const 1))
    (func (export "proxy_on_http_call_response")
        (param $root i32) (param $token i32) (param $headers i32) (param $body i32) (param $trailers i32)
        (call $expect (local.get $root) (i32.const 1))
        (if (call $effective (global.get $stream)) (then (return)))
        (if (i32.eqz (local.get $headers))
            (then
                (call $ok (call $get_status (i32.const 16) (i32.const 0) (i32.const 4)))
                (call $expect (i32.load (i32.const 16)) (i32.const 11))
                (call $log_result)
                (call $refuse (i32.const 503))
                (return)))
        (call $ok (call $get_buffer (i32.const 4) (i32.const 0) (i32.const -1) (i32.const 0) (i32.const 4)))
        (call $expect (i32.load (i32.const 4)) (local.get $body))
        (call $log_result)
        (call $ok (call $get_pairs (i32.const 7) (i32.const 0) (i32.const 4)))
        (if (i32.load (i32.const 4))
            (then (call $expect (i32.load (i32.load (i32.const 0))) (local.get $trailers)))
            (else (call $expect (local.get $trailers) (i32.const 0))))
        (call $ok (call $get_header (i32.const 6) (i32.const 1028) (i32.const 7) (i32.const 0) (i32.const 4)))
        ;; "200 " read as a word, without its last byte.
        (if (i32.eq (i32.and (i32.load (i32.load (i32.const 0))) (i32.const 0xffffff)) (i32.const 0x303032))
            (then (call $ok (call $continue (i32.const 0))))
            (else (call $refuse (i32.const 403)))))
    (func $refuse (param $status i32)
        (call $ok (call $reply (local.get $status) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 0) (i32.const 0) (i32.const -1))))
"#;

fn asking() -> Worker {
    host(ASKS).cluster("sink").build().unwrap().worker().unwrap()
}

#[test]
fn a_callout_holds_the_request_until_it_is_answered() {
    let worker = asking();
    let mut exchange = worker.request(Request::post("api.example", "/", "payload"));
    exchange.send().unwrap();
    assert_eq!(exchange.forwarded(), None);
    assert!(exchange.waiting().unwrap().contains("1 callouts are open"));
    let callouts = worker.callouts();
    let [callout] = callouts.as_slice() else { panic!("{callouts:?}") };
    assert_eq!((callout.cluster.as_str(), callout.body_text().as_str()), ("sink", "asked"));
    assert_eq!(callout.text(":path").as_deref(), Some("/ask"));
    assert_eq!(callout.text("content-length").as_deref(), Some("5"), "Envoy adds it");
    assert_eq!(callout.timeout, Some(Duration::from_secs(2)));
    worker.answer(callout.token, Response::ok("fine").trailers([("t", "1")])).unwrap();
    assert_eq!(exchange.forwarded().unwrap().body(), b"payload", "what came in the meantime follows");
    assert_eq!(lines(&worker), ["fine"]);
    assert!(worker.answer(callout.token, Response::new(200)).is_err(), "answered once");
}

#[test]
fn a_refusing_answer_becomes_a_local_reply() {
    let worker = asking();
    let mut exchange = worker.request(Request::get("api.example", "/"));
    exchange.send().unwrap();
    worker.answer(worker.callouts()[0].token, Response::new(500)).unwrap();
    assert_eq!((exchange.forwarded(), exchange.response().unwrap().status()), (None, 403));
}

#[test]
fn a_reset_is_told_with_zero_headers_and_a_status() {
    let worker = asking();
    let mut exchange = worker.request(Request::get("api.example", "/"));
    exchange.send().unwrap();
    worker.answer(worker.callouts()[0].token, Answer::Reset).unwrap();
    assert_eq!(exchange.finish().unwrap().status(), 503);
    assert_eq!(lines(&worker), ["reset"]);
}

#[test]
fn a_responder_answers_as_they_come() {
    let worker = asking();
    worker.on_callout(|callout| {
        assert_eq!(callout.cluster, "sink");
        Response::ok("at once")
    });
    assert_eq!(run(&worker, Request::get("api.example", "/")).status(), 200);
    worker.no_responder();
    let outcome = run(&worker, Request::get("api.example", "/"));
    assert!(outcome.hung.unwrap().contains("1 callouts are open"));
    worker.on_callout(|_| Answer::LeaveOpen);
    assert!(run(&worker, Request::get("api.example", "/")).hung.is_some());
}

#[test]
fn a_slow_cluster_becomes_504_when_time_passes() {
    let worker = asking();
    let mut exchange = worker.request(Request::get("api.example", "/"));
    exchange.send().unwrap();
    worker.advance(Duration::from_millis(1999)).unwrap();
    assert_eq!(exchange.response(), None);
    worker.advance(Duration::from_millis(1)).unwrap();
    assert_eq!(exchange.response().unwrap().status(), 403);
    assert_eq!(lines(&worker), ["upstream request timeout"]);
}

#[test]
fn an_answer_after_the_client_left_finds_no_stream() {
    let worker = asking();
    let mut exchange = worker.request(Request::get("api.example", "/"));
    exchange.send().unwrap();
    let token = worker.callouts()[0].token;
    drop(exchange);
    worker.answer(token, Response::ok("late")).unwrap();
    assert!(lines(&worker).is_empty(), "set_effective_context refused the dead stream");
    assert_eq!(worker.contexts(), 1);
}

#[test]
fn callouts_need_a_known_cluster_and_three_pseudo_headers() {
    let body = format!(
        r#"{ASKS}
        (data (i32.const 1200) "\01\00\00\00\05\00\00\00\04\00\00\00:path\00/ask\00")
        (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
            (call $expect (call $http_call (i32.const 1024) (i32.const 4) (i32.const 1200) (i32.const 23) (i32.const 0)
                (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 16)) (i32.const 2))
            (call $expect (call $http_call (i32.const 1025) (i32.const 3) (i32.const 1100) (i32.const 68) (i32.const 0)
                (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 16)) (i32.const 2))
            (call $expect (call $http_call (i32.const 1024) (i32.const 4) (i32.const 1100) (i32.const 68) (i32.const 0)
                (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 16)) (i32.const 2))
            (i32.const 0))"#
    );
    let worker = Host::builder().module(filter(&body)).cluster("sink").build().unwrap().worker().unwrap();
    worker.on_callout(|_| Response::new(200));
    assert_eq!(run(&worker, Request::post("api.example", "/", "x")).status(), 200);
}

#[test]
fn callouts_of_a_root_that_is_gone_are_cancelled() {
    let worker = asking();
    let mut exchange = worker.request(Request::get("api.example", "/"));
    exchange.send().unwrap();
    drop(exchange);
    assert_eq!(worker.callouts().len(), 1);
    assert!(worker.shut_down().unwrap().is_empty());
    assert!(worker.callouts().is_empty());
}
