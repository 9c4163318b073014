//! Local replies: how they travel, and how the filter meets its own.

use crate::common::{lines, run, worker};
use exeat_host_test::{Event, Headers, ReplyOrigin, Request};

/// Refuses in the phase that the first digit of the path says; logs what it meets on the way back.
const REFUSES: &str = r#"
    (data (i32.const 1024) ":path\00no\00met head\00met body")
    ;; One pair: x-why: policy
    (data (i32.const 1100) "\01\00\00\00\05\00\00\00\06\00\00\00x-why\00policy\00")
    (global $phase (mut i32) (i32.const 0))
    (func $refuse (param $status i32)
        (call $ok (call $reply (local.get $status) (i32.const 0) (i32.const 0) (i32.const 1030) (i32.const 2)
            (i32.const 1100) (i32.const 25) (i32.const -1))))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $ok (call $get_header (i32.const 0) (i32.const 1024) (i32.const 5) (i32.const 0) (i32.const 4)))
        (global.set $phase (i32.load8_u offset=1 (i32.load (i32.const 0))))
        (if (i32.eq (global.get $phase) (i32.const 49)) (then (call $refuse (i32.const 403))))
        (i32.const 0))
    (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
        (if (i32.eq (global.get $phase) (i32.const 50)) (then (call $refuse (i32.const 413))))
        (i32.const 0))
    (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
        (call $ok (call $log (i32.const 2) (i32.const 1033) (i32.const 8)))
        (if (i32.eq (global.get $phase) (i32.const 51)) (then (call $refuse (i32.const 502))))
        (i32.const 0))
    (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32)
        (call $ok (call $log (i32.const 2) (i32.const 1042) (i32.const 8)))
        (if (i32.eq (global.get $phase) (i32.const 52)) (then (call $refuse (i32.const 500))))
        (i32.const 0))
"#;

#[test]
fn a_refusal_in_headers_keeps_everything_back_whatever_the_callback_returns() {
    let worker = worker(REFUSES);
    let outcome = run(&worker, Request::post("api.example", "/1", "secret"));
    assert!(!outcome.left());
    let reply = outcome.local_reply.unwrap();
    assert_eq!((reply.status, reply.body.as_slice(), reply.origin), (403, b"no".as_slice(), ReplyOrigin::Filter));
    assert_eq!(reply.headers, Headers::from([("x-why", "policy")]));
    let response = outcome.response.unwrap();
    let expected = [(":status", "403"), ("x-why", "policy"), ("content-length", "2"), ("content-type", "text/plain")];
    assert_eq!(response.headers, Headers::from(expected));
    assert!(response.complete);
    assert!(!outcome.events.iter().any(|e| matches!(e, Event::Callback { name: "proxy_on_request_body", .. })));
}

#[test]
fn ones_own_reply_comes_back_through_the_response_callbacks() {
    let worker = worker(REFUSES);
    run(&worker, Request::get("api.example", "/1"));
    assert_eq!(lines(&worker), ["met head", "met body"]);
}

#[test]
fn a_refusal_in_the_body_cuts_a_request_off_whose_head_is_gone() {
    let worker = worker(REFUSES);
    let outcome = run(&worker, Request::post("api.example", "/2", "secret"));
    let upstream = outcome.upstream.unwrap();
    assert!(!upstream.complete && upstream.body().is_empty());
    assert_eq!(outcome.response.unwrap().status(), 413);
}

#[test]
fn a_refusal_in_response_headers_replaces_the_response_and_is_not_seen_again() {
    let worker = worker(REFUSES);
    let outcome = run(&worker, Request::get("api.example", "/3"));
    let response = outcome.response.unwrap();
    assert_eq!((response.status(), response.text().as_str()), (502, "no"));
    assert_eq!(lines(&worker), ["met head"]);
}

#[test]
fn a_refusal_in_the_response_body_truncates() {
    let worker = worker(REFUSES);
    let outcome = run(&worker, Request::get("api.example", "/4"));
    let response = outcome.response.unwrap();
    assert_eq!((response.status(), response.text().as_str(), response.complete), (200, "", false));
    assert!(outcome.reset);
}

#[test]
fn a_head_request_gets_the_length_but_not_the_body() {
    let worker = worker(REFUSES);
    let outcome = run(&worker, Request::new("HEAD", "api.example", "/1"));
    let response = outcome.response.unwrap();
    assert_eq!(response.headers.text("content-length").unwrap(), "2");
    assert!(response.complete && response.body().is_empty());
}

#[test]
fn a_grpc_client_gets_a_trailers_only_response() {
    let worker = worker(REFUSES);
    let outcome = run(&worker, Request::get("api.example", "/1").header("content-type", "application/grpc"));
    let response = outcome.response.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers.text("grpc-status").unwrap(), "7");
    assert_eq!(response.headers.text("grpc-message").unwrap(), "no");
    assert_eq!(response.headers.text("content-type").unwrap(), "application/grpc");
}

#[test]
fn a_filter_that_refuses_again_while_meeting_its_reply_ends_all_the_same() {
    let body = r#"
        (func $refuse (call $ok (call $reply (i32.const 403) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 0) (i32.const 0) (i32.const -1))))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call $refuse) (i32.const 1))
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (call $refuse) (i32.const 1))"#;
    let outcome = run(&worker(body), Request::get("api.example", "/"));
    assert_eq!(outcome.response.unwrap().status(), 403);
    assert_eq!(outcome.hung, None);
}

#[test]
fn of_two_replies_the_first_counts_and_a_continue_after_it_is_void() {
    let body = r#"(data (i32.const 1024) "onetwo")
        (func $refuse (param $status i32) (param $body i32)
            (call $ok (call $reply (local.get $status) (i32.const 0) (i32.const 0) (local.get $body) (i32.const 3)
                (i32.const 0) (i32.const 0) (i32.const -1))))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (call $refuse (i32.const 403) (i32.const 1024))
            (call $refuse (i32.const 404) (i32.const 1027))
            (call $ok (call $continue (i32.const 0)))
            (i32.const 0))"#;
    let outcome = run(&worker(body), Request::get("api.example", "/"));
    assert!(!outcome.left());
    let response = outcome.response.unwrap();
    assert_eq!((response.status(), response.text().as_str()), (403, "one"));
}

#[test]
fn closing_a_stream_resets_it() {
    let body = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $ok (call $close (i32.const 0))) (i32.const 0))"#;
    let outcome = run(&worker(body), Request::get("api.example", "/"));
    assert!(outcome.reset && !outcome.left() && outcome.response.is_none());
}

#[test]
fn a_head_that_the_router_cannot_use_is_answered_by_the_gateway() {
    let removes = |name: &str| {
        format!(
            r#"(data (i32.const 1024) "{name}")
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (call $ok (call $remove_header (i32.const 0) (i32.const 1024) (i32.const {}))) (i32.const 0))"#,
            name.len()
        )
    };
    for (name, status) in [(":path", 404), (":method", 503), ("x-forwarded-proto", 404), ("host", 200), ("cookie", 200)]
    {
        let outcome = run(&worker(&removes(name)), Request::get("api.example", "/").header("cookie", "a=b"));
        assert_eq!(outcome.status(), status, "without {name}");
        assert_eq!(outcome.left(), status == 200, "without {name}");
    }
}
