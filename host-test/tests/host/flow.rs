//! What a pause holds back and what a continue lets go, in both directions.

use crate::common::{VERDICTS, host, lines, run};
use exeat_host_test::{Error, Event, Framing, Headers, HostBuilder, Outcome, ReplyOrigin, Request, Response, Worker};

fn verdicts(digits: &str) -> HostBuilder {
    host(VERDICTS).configuration(digits)
}

fn worker(builder: HostBuilder) -> Worker {
    builder.build().unwrap().worker().unwrap()
}

fn chunked() -> Request {
    Request::new("POST", "api.example", "/").chunks(["one", "two", "three"])
}

fn callbacks(outcome: &Outcome) -> Vec<(&'static str, u32)> {
    outcome
        .events
        .iter()
        .filter_map(|e| match e {
            Event::Callback { name, returned } => Some((*name, *returned)),
            _ => None,
        })
        .collect()
}

fn position(outcome: &Outcome, event: &Event) -> usize {
    outcome.events.iter().position(|e| e == event).unwrap_or_else(|| panic!("no {event:?} in {:?}", outcome.events))
}

#[test]
fn continue_everywhere_streams_the_body_frame_by_frame() {
    let worker = worker(verdicts("00000000"));
    let outcome = run(&worker, chunked());
    let upstream = outcome.upstream.unwrap();
    assert_eq!(upstream.chunks, [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
    assert!(upstream.complete);
    assert_eq!(lines(&worker), ["one", "two", "three", "", "up"], "HTTP/1 ends a body with an empty frame");
}

#[test]
fn http2_ends_the_body_with_its_last_frame() {
    let worker = worker(verdicts("00000000"));
    assert!(run(&worker, chunked().framing(Framing::Http2)).upstream.unwrap().complete);
    assert_eq!(lines(&worker), ["one", "two", "three", "up"]);
}

#[test]
fn a_request_without_a_body_ends_with_its_head() {
    let worker = worker(verdicts("09999999"));
    let exchange = {
        let mut exchange = worker.request(Request::get("api.example", "/"));
        exchange.send().unwrap();
        exchange
    };
    assert!(exchange.forwarded().unwrap().complete);
    assert_eq!(callbacks(&exchange.outcome()), [("proxy_on_request_headers", 0)]);
}

#[test]
fn headers_continue_then_body_pause_lets_the_head_go_before_the_verdict() {
    let worker = worker(verdicts("01000000"));
    let mut exchange = worker.request(chunked());
    exchange.send_head().unwrap();
    exchange.body("one", false).unwrap();
    let early = exchange.forwarded().unwrap();
    assert!(early.chunks.is_empty() && !early.complete, "only the head is out");
    exchange.body("two", false).unwrap();
    exchange.body("", true).unwrap();
    assert_eq!(exchange.forwarded().unwrap().chunks, [b"onetwo".to_vec()], "continue flushes what waited as one frame");
    assert_eq!(lines(&worker), ["one", "onetwo", "onetwo"], "body_size is all that waits");
}

#[test]
fn with_the_flag_a_pause_in_headers_holds_the_head_until_the_body_is_judged() {
    let worker = worker(verdicts("11000000").hold(true));
    let mut exchange = worker.request(chunked());
    exchange.send_head().unwrap();
    assert_eq!(exchange.forwarded(), None);
    exchange.body("one", false).unwrap();
    exchange.body("two", false).unwrap();
    assert_eq!(exchange.forwarded(), None);
    exchange.body("", true).unwrap();
    let forwarded = exchange.forwarded().unwrap();
    assert_eq!((forwarded.body(), forwarded.complete), (b"onetwo".to_vec(), true));
    let outcome = exchange.finish().unwrap();
    assert!(position(&outcome, &Event::HeadForwarded) < position(&outcome, &Event::BodyForwarded(6)));
    assert_eq!(lines(&worker), ["one", "onetwo", "onetwo"]);
}

#[test]
fn with_the_flag_and_no_body_a_pause_in_headers_hangs_and_says_so() {
    let worker = worker(verdicts("10000000").hold(true));
    let outcome = run(&worker, Request::get("api.example", "/"));
    assert!(!outcome.left() && outcome.response.is_none());
    assert!(outcome.hung.unwrap().contains("no callback will come"));
}

#[test]
fn without_the_flag_a_pause_in_headers_gets_no_body_callbacks() {
    let worker = worker(verdicts("10000000"));
    let outcome = run(&worker, chunked().trailers([("t", "1")]));
    assert!(!outcome.left());
    assert_eq!(callbacks(&outcome), [("proxy_on_request_headers", 1)]);
    assert!(outcome.hung.unwrap().contains("allow_on_headers_stop_iteration"));
    assert!(lines(&worker).is_empty());
}

#[test]
fn trailers_end_a_stream_that_no_body_callback_ends() {
    // The last body callback never says end_of_stream: digit 2 (a 9) would not be a verdict.
    let worker = worker(verdicts("11900000").hold(true));
    let outcome = run(&worker, chunked().trailers([("checksum", "abc")]));
    let upstream = outcome.upstream.clone().unwrap();
    assert_eq!(upstream.body(), b"onetwothree");
    assert_eq!(upstream.trailers, Some(Headers::from([("checksum", "abc")])));
    assert!(upstream.complete);
    let order = [Event::HeadForwarded, Event::BodyForwarded(11), Event::TrailersForwarded];
    assert!(order.map(|e| position(&outcome, &e)).is_sorted());
    assert_eq!(callbacks(&outcome)[4], ("proxy_on_request_trailers", 0));
}

#[test]
fn a_pause_in_trailers_holds_what_waits() {
    let worker = worker(verdicts("11010000").hold(true));
    let outcome = run(&worker, chunked().trailers([("t", "1")]));
    assert!(!outcome.left() && outcome.hung.is_some());
}

#[test]
fn a_frame_refused_without_buffering_is_gone() {
    let worker = worker(verdicts("03000000"));
    let outcome = run(&worker, chunked());
    assert_eq!(outcome.upstream.unwrap().body(), b"", "three frames dropped, the last empty one let go");
}

#[test]
fn a_body_over_the_buffer_limit_is_answered_with_413() {
    let worker = worker(verdicts("11000000").hold(true).buffer_limit(8));
    let outcome = run(&worker, Request::new("POST", "api.example", "/").chunks(["12345678"]));
    assert_eq!(outcome.status(), 200, "the limit itself fits");
    let outcome = run(&worker, Request::new("POST", "api.example", "/").chunks(["1234", "56789"]));
    assert!(!outcome.left());
    let reply = outcome.local_reply.unwrap();
    assert_eq!((reply.status, reply.origin), (413, ReplyOrigin::Gateway));
    assert_eq!(outcome.response.unwrap().status(), 413);
    assert_eq!(lines(&worker)[3..], ["1234", "123456789", "Payload Too Large"], "the filter still sees the overflow");
}

#[test]
fn a_streamed_body_may_be_longer_than_the_buffer_limit() {
    let worker = worker(verdicts("00000000").buffer_limit(8));
    assert_eq!(run(&worker, chunked()).upstream.unwrap().body(), b"onetwothree");
}

#[test]
fn a_tunnel_stays_open_and_its_bytes_are_body_frames() {
    let worker = worker(verdicts("00000000"));
    let mut exchange = worker.request(Request::connect("db.example:5432"));
    exchange.send_head().unwrap();
    assert!(!exchange.forwarded().unwrap().complete);
    exchange.response_headers([(":status", "200")], false).unwrap();
    exchange.body("hello", false).unwrap();
    exchange.response_body("world", false).unwrap();
    assert_eq!(exchange.forwarded().unwrap().body(), b"hello");
    assert_eq!(exchange.response().unwrap().text(), "world");
    assert_eq!(lines(&worker), ["hello", "world"]);
}

#[test]
fn responses_pause_and_flush_like_requests() {
    let worker = worker(verdicts("00000100"));
    let response = || Response::new(200).chunks(["a", "b", "c"]);
    let outcome = worker.run(Request::get("api.example", "/"), |_| response()).unwrap();
    assert_eq!(outcome.response.unwrap().chunks, [b"abc".to_vec()]);
    assert_eq!(lines(&worker), ["a", "ab", "abc"]);

    let held = self::worker(verdicts("00001100").hold(true));
    let mut exchange = held.request(Request::get("api.example", "/"));
    exchange.send().unwrap();
    exchange.response_headers([(":status", "200")], false).unwrap();
    exchange.response_body("a", false).unwrap();
    assert_eq!(exchange.response(), None);
    exchange.response_body("b", true).unwrap();
    assert_eq!(exchange.response().unwrap().text(), "ab");
}

#[test]
fn response_trailers_follow_the_body() {
    let worker = worker(verdicts("00000190"));
    let response = Response::ok("x").trailers([("grpc-status", "0")]);
    let outcome = worker.run(Request::get("api.example", "/"), |_| response).unwrap();
    let response = outcome.response.unwrap();
    assert_eq!((response.text().as_str(), response.complete), ("x", true));
    assert_eq!(response.trailers, Some(Headers::from([("grpc-status", "0")])));
}

#[test]
fn a_response_over_the_buffer_limit_becomes_500() {
    let worker = worker(verdicts("00001100").hold(true).buffer_limit(4));
    let outcome = worker.run(Request::get("api.example", "/"), |_| Response::new(200).chunks(["123", "45"])).unwrap();
    assert_eq!(outcome.status(), 500);
    let streaming = self::worker(verdicts("00000100").buffer_limit(4));
    let outcome =
        streaming.run(Request::get("api.example", "/"), |_| Response::new(200).chunks(["12345", ""])).unwrap();
    assert!(outcome.reset, "the client has the head already: all that is left is to cut the response off");
    assert_eq!(outcome.status(), 200);
}

#[test]
fn interleaved_streams_do_not_mix() {
    let worker = worker(verdicts("11000000").hold(true));
    let mut a = worker.request(Request::new("POST", "a.example", "/"));
    let mut b = worker.request(Request::new("POST", "b.example", "/"));
    for (exchange, host) in [(&mut a, "a.example"), (&mut b, "b.example")] {
        exchange.headers([(":method", "POST"), (":authority", host), (":path", "/")], false).unwrap();
    }
    a.body("a1", false).unwrap();
    b.body("b1", false).unwrap();
    a.body("a2", true).unwrap();
    assert_eq!(b.forwarded(), None);
    b.body("b2", true).unwrap();
    assert_eq!(a.forwarded().unwrap().body(), b"a1a2");
    assert_eq!(b.forwarded().unwrap().body(), b"b1b2");
    assert_eq!(b.forwarded().unwrap().text(":authority").as_deref(), Some("b.example"));
}

#[test]
fn impossible_orders_are_the_tests_fault() {
    let worker = worker(verdicts("00000000"));
    let mut exchange = worker.request(Request::get("api.example", "/"));
    assert!(exchange.body("x", false).is_err());
    assert!(exchange.response_headers([(":status", "200")], true).is_err());
    exchange.send().unwrap();
    assert!(exchange.headers([(":method", "GET")], true).is_err());
    assert!(exchange.trailers([("t", "1")]).is_err());
    exchange.respond(Response::new(204)).unwrap();
    assert!(exchange.respond(Response::new(204)).is_err());
    assert_eq!(exchange.finish().unwrap().status(), 204);
}

#[test]
fn upstreams_that_break_or_stay_silent_show() {
    use exeat_host_test::Upstream;
    let worker = worker(verdicts("00000000"));
    let outcome = worker.run(Request::get("api.example", "/"), |_| Upstream::Reset).unwrap();
    assert_eq!(outcome.status(), 503);
    let outcome = worker.run(Request::get("api.example", "/"), |_| Upstream::Silent).unwrap();
    assert_eq!((outcome.status(), outcome.hung.as_deref()), (0, Some("the upstream did not answer")));
}

/// Continues the stream of the first digit of its configuration in the callback of the second (h or b), and returns the
/// third from headers.
const CONTINUES: &str = r#"
    (global $config (mut i32) (i32.const 0))
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (call $ok (call $get_buffer (i32.const 7) (i32.const 0) (i32.const -1) (i32.const 0) (i32.const 4)))
        (global.set $config (i32.load (i32.const 0)))
        (i32.const 1))
    (func $continue_in (param $letter i32)
        (if (i32.eq (i32.load8_u offset=1 (global.get $config)) (local.get $letter)) (then
            (call $ok (call $continue (i32.sub (i32.load8_u (global.get $config)) (i32.const 48)))))))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $continue_in (i32.const 104))
        (i32.sub (i32.load8_u offset=2 (global.get $config)) (i32.const 48)))
    (func (export "proxy_on_request_body") (param i32 i32) (param $end i32) (result i32)
        (call $continue_in (i32.const 98))
        (i32.eqz (local.get $end)))
"#;

#[test]
fn continuing_inside_a_callback_works_where_it_works_in_envoy() {
    for config in ["0b1", "0h1"] {
        let worker = worker(host(CONTINUES).configuration(config).hold(true));
        let upstream = run(&worker, chunked()).upstream.unwrap();
        assert_eq!((upstream.body(), upstream.complete), (b"onetwothree".to_vec(), true), "{config}");
    }
}

#[test]
fn continuing_where_envoy_sends_twice_or_crashes_is_a_violation() {
    for (config, what) in [("0h0", "the head goes twice"), ("1h0", "Envoy crashes")] {
        let worker = worker(host(CONTINUES).configuration(config).hold(true));
        let error = worker.run(chunked(), |_| Response::new(200)).unwrap_err();
        assert!(matches!(&error, Error::Abi(message) if message.contains(what)), "{config}: {error}");
    }
}
