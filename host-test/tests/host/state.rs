//! What a filter reads and changes: properties, filter state, headers, bodies, and what WASI offers.

use crate::common::{filter, host, lines, run, worker};
use exeat_host_test::{Clock, Headers, Host, Level, MAX_PAIRS, MAX_PAIRS_BYTES, Request, Response};
use std::time::Duration;

/// Leaves `mark` = `left` in the filter state.
const PROPERTIES: &str = r#"
    (data (i32.const 1024) "markleft\00missing")
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $ok (call $set_property (i32.const 1024) (i32.const 4) (i32.const 1028) (i32.const 4)))
        (i32.const 0))
    (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (i32.const 0))
"#;

/// Logs the property whose path is the value of header `p`, with `/` for NUL; `-` where there is none.
const READS: &str = r#"
    (data (i32.const 1024) "p-")
    (func $show
        (local $at i32) (local $end i32) (local $path i32)
        (call $ok (call $get_header (i32.const 0) (i32.const 1024) (i32.const 1) (i32.const 0) (i32.const 4)))
        (local.set $path (i32.load (i32.const 0)))
        (local.set $at (local.get $path))
        (local.set $end (i32.add (local.get $at) (i32.load (i32.const 4))))
        (block $out (loop $next
            (br_if $out (i32.ge_u (local.get $at) (local.get $end)))
            (if (i32.eq (i32.load8_u (local.get $at)) (i32.const 47)) (then (i32.store8 (local.get $at) (i32.const 0))))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br $next)))
        (if (i32.eqz (call $get_property (local.get $path) (i32.load (i32.const 4)) (i32.const 0) (i32.const 4)))
            (then (call $log_result))
            (else
                (call $expect (call $get_property (local.get $path) (i32.load (i32.const 4)) (i32.const 0) (i32.const 4))
                    (i32.const 1))
                (call $ok (call $log (i32.const 2) (i32.const 1025) (i32.const 1))))))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call $show) (i32.const 0))
"#;

fn property(request: Request, path: &str) -> String {
    let host = host(READS).vm_id("vm7").property(["node", "id"], "n1");
    let worker = host.build().unwrap().worker().unwrap();
    run(&worker, request.header("p", path));
    lines(&worker).concat()
}

#[test]
fn properties_come_from_the_test_the_stream_and_the_plugin() {
    let get = || Request::get("api.example", "/a?b=c").property(["source", "address"], "10.0.0.9:999");
    for (path, value) in [
        ("source/address", "10.0.0.9:999"),
        ("destination/address", "127.0.0.1:15001"),
        ("node/id", "n1"),
        ("request/path", "/a?b=c"),
        ("request/url_path", "/a"),
        ("request/query", "b=c"),
        ("request/host", "api.example"),
        ("request/method", "GET"),
        ("request/headers/p", "request/headers/p"),
        ("plugin_name", "filter"),
        ("plugin_root_id", "filter"),
        ("plugin_vm_id", "vm7"),
        ("upstream/address", "-"),
        ("nothing", "-"),
        ("filter_state/wasm.mark", "-"),
    ] {
        assert_eq!(property(get(), path), value, "{path}");
    }
    let start = Clock::default().unix_nanos().to_le_bytes();
    assert_eq!(property(get(), "request/time"), String::from_utf8_lossy(&start), "numbers are 8 bytes, little-endian");
}

#[test]
fn filter_state_passes_from_one_filter_to_the_next_on_the_same_stream() {
    let outcome = run(&worker(PROPERTIES), Request::post("api.example", "/", "body"));
    assert_eq!(outcome.filter_state["wasm.mark"], b"left");
    let next = Request::from_forwarded(&outcome.upstream.unwrap());
    assert_eq!(property(next.clone(), "mark"), "left");
    assert_eq!(property(next.clone(), "filter_state/wasm.mark"), "left");
    assert_eq!(property(next, "mark/x"), "-", "only the first part names filter state");
}

#[test]
fn root_contexts_have_no_filter_state() {
    let body = r#"(data (i32.const 1024) "x")
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
            (call $expect (call $set_property (i32.const 1024) (i32.const 1) (i32.const 1024) (i32.const 1)) (i32.const 1))
            (i32.const 1))"#;
    worker(body);
}

/// Logs how many pairs it sees, and the first value of `k`; then changes the head.
const HEAD: &str = r#"
    (data (i32.const 1024) "kdoomedjoined12:authorityother.example:path/new")
    (func (export "proxy_on_request_headers") (param $id i32) (param $count i32) (param i32) (result i32)
        (call $ok (call $get_pairs (i32.const 0) (i32.const 0) (i32.const 4)))
        (if (i32.load (i32.const 4))
            (then (call $expect (i32.load (i32.load (i32.const 0))) (local.get $count)))
            (else (call $ok (call $log (i32.const 3) (i32.const 0) (i32.const 0)))))
        (if (i32.eqz (call $get_header (i32.const 0) (i32.const 1024) (i32.const 1) (i32.const 0) (i32.const 4)))
            (then (call $log_result)))
        (call $ok (call $remove_header (i32.const 0) (i32.const 1025) (i32.const 6)))
        (call $ok (call $add_header (i32.const 0) (i32.const 1031) (i32.const 6) (i32.const 1037) (i32.const 1)))
        (call $ok (call $add_header (i32.const 0) (i32.const 1031) (i32.const 6) (i32.const 1038) (i32.const 1)))
        (call $ok (call $replace_header (i32.const 0) (i32.const 1039) (i32.const 10) (i32.const 1049) (i32.const 13)))
        (call $ok (call $replace_header (i32.const 0) (i32.const 1062) (i32.const 5) (i32.const 1067) (i32.const 4)))
        (i32.const 0))
    (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
        ;; The head is out of reach now.
        (call $expect (call $get_header (i32.const 0) (i32.const 1024) (i32.const 1) (i32.const 0) (i32.const 4)) (i32.const 2))
        (call $expect (call $remove_header (i32.const 0) (i32.const 1025) (i32.const 6)) (i32.const 2))
        (call $ok (call $get_pairs (i32.const 0) (i32.const 0) (i32.const 4)))
        (call $expect (i32.load (i32.const 4)) (i32.const 0))
        (i32.const 0))
"#;

#[test]
fn header_changes_reach_the_upstream_and_duplicates_show_their_first() {
    let worker = worker(HEAD);
    let request =
        Request::post("api.example", "/", "x").header("k", "first").header("k", "second").header("Doomed", "1");
    let upstream = run(&worker, request).upstream.unwrap();
    assert_eq!(lines(&worker), ["first"]);
    assert_eq!(upstream.text(":authority").unwrap(), "other.example");
    assert_eq!(upstream.text(":path").unwrap(), "/new");
    assert_eq!(upstream.headers.get_all("k").count(), 2);
    assert_eq!(upstream.headers.get_all("joined").collect::<Vec<_>>(), [b"1", b"2"]);
    assert!(!upstream.headers.contains("doomed"));
}

#[test]
fn bytes_that_are_not_utf8_pass_as_they_are() {
    let upstream = run(&worker(HEAD), Request::get("api.example", "/").header("k", b"\xff\x80 \x01")).upstream.unwrap();
    assert_eq!(upstream.headers.get("k").unwrap(), b"\xff\x80 \x01");
}

/// Whether the filter met an empty map.
fn saw_nothing(capped: bool, request: Request) -> bool {
    let worker = host(HEAD).capped_maps(capped).build().unwrap().worker().unwrap();
    run(&worker, request);
    worker.log().iter().any(|entry| entry.level == Level::Warn)
}

#[test]
fn large_maps_are_handed_over_whole_unless_capped() {
    let six = Request::get("api.example", "/");
    let fill = |n: usize| (0..n).fold(six.clone(), |r, i| r.header(&format!("h{i}"), "v"));
    let big = |n: usize| six.clone().header("big", vec![b'v'; n]);
    for (request, over) in [
        (fill(MAX_PAIRS - 6), false),
        (fill(MAX_PAIRS - 5), true),
        (big(MAX_PAIRS_BYTES - 1000), false),
        (big(MAX_PAIRS_BYTES), true),
    ] {
        assert!(!saw_nothing(false, request.clone()));
        assert_eq!(saw_nothing(true, request), over);
    }
}

#[test]
fn a_map_over_a_limit_from_the_module_is_empty() {
    // 1,025 pairs of empty names and values: four bytes of count, eight of sizes each, two NULs each.
    let body = r#"
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (local $p i32)
            (local.set $p (call $malloc (i32.const 10254)))
            (i32.store (local.get $p) (i32.const 1025))
            (call $ok (call $set_pairs (i32.const 0) (local.get $p) (i32.const 10254)))
            (i32.const 0))"#;
    let outcome = run(&worker(body), Request::get("api.example", "/"));
    assert_eq!((outcome.left(), outcome.status()), (false, 404), "no path is left to route by");
}

#[test]
fn bodies_can_be_replaced_and_extended_but_not_cut_in_the_middle() {
    let body = r#"(data (i32.const 1024) "new<>")
        (func (export "proxy_on_request_body") (param $id i32) (param $size i32) (param i32) (result i32)
            (if (i32.eqz (local.get $size)) (then (return (i32.const 0))))
            (call $expect (call $set_buffer (i32.const 0) (i32.const 1) (i32.const 1) (i32.const 1024) (i32.const 3)) (i32.const 2))
            (call $ok (call $set_buffer (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 1024) (i32.const 3)))
            (call $ok (call $set_buffer (i32.const 0) (i32.const 3) (i32.const 0) (i32.const 1028) (i32.const 1)))
            (call $ok (call $set_buffer (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1027) (i32.const 1)))
            (call $expect (call $set_buffer (i32.const 7) (i32.const 0) (i32.const 0) (i32.const 1027) (i32.const 1)) (i32.const 1))
            (i32.const 0))"#;
    let outcome = run(&worker(body), Request::post("api.example", "/", "old text"));
    assert_eq!(outcome.upstream.unwrap().body(), b"<new>");
}

#[test]
fn the_log_phase_sees_both_heads() {
    let body = r#"(data (i32.const 1024) ":path:status")
        (func (export "proxy_on_log") (param i32)
            (call $ok (call $get_header (i32.const 0) (i32.const 1024) (i32.const 5) (i32.const 0) (i32.const 4)))
            (call $log_result)
            (call $ok (call $get_header (i32.const 2) (i32.const 1029) (i32.const 7) (i32.const 0) (i32.const 4)))
            (call $log_result)
            (call $expect (call $get_header (i32.const 1) (i32.const 1029) (i32.const 7) (i32.const 0) (i32.const 4)) (i32.const 1)))"#;
    let worker = worker(body);
    run(&worker, Request::get("api.example", "/p"));
    assert_eq!(lines(&worker), ["/p", "200"]);
}

#[test]
fn pointers_that_lead_astray_are_a_status_not_a_trap() {
    let body = r#"
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (call $expect (call $log (i32.const 2) (i32.const -8) (i32.const 100)) (i32.const 6))
            (call $expect (call $get_property (i32.const 0) (i32.const -1) (i32.const 0) (i32.const 4)) (i32.const 6))
            (call $expect (call $get_pairs (i32.const 0) (i32.const -2) (i32.const 4)) (i32.const 6))
            (call $expect (call $get_pairs (i32.const 8) (i32.const 0) (i32.const 4)) (i32.const 2))
            (call $expect (call $get_buffer (i32.const 9) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 4)) (i32.const 2))
            (call $expect (call $log (i32.const 6) (i32.const 0) (i32.const 0)) (i32.const 2))
            (call $expect (call $random (i32.const 0) (i32.const 65537)) (i32.const 28))
            (call $expect (call $random (i32.const -4) (i32.const 8)) (i32.const 21))
            (i32.const 0))"#;
    assert_eq!(run(&worker(body), Request::get("api.example", "/")).status(), 200);
}

#[test]
fn foreign_functions_are_the_tests() {
    let body = r#"(data (i32.const 1024) "shoutquietargsclear_route_cache")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (call $ok (call $foreign (i32.const 1024) (i32.const 5) (i32.const 1034) (i32.const 4) (i32.const 0) (i32.const 4)))
            (call $log_result)
            (call $expect (call $foreign (i32.const 1029) (i32.const 5) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 4)) (i32.const 1))
            (call $ok (call $foreign (i32.const 1038) (i32.const 17) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 4)))
            (i32.const 0))"#;
    let host = host(body).foreign("shout", |call| {
        call.filter_state.unwrap().insert("envoy.string".to_owned(), call.arguments.to_vec());
        Ok(call.arguments.to_ascii_uppercase())
    });
    let worker = host.build().unwrap().worker().unwrap();
    let outcome = run(&worker, Request::get("api.example", "/"));
    assert_eq!(lines(&worker), ["ARGS"]);
    assert_eq!(outcome.filter_state["envoy.string"], b"args");
}

#[test]
fn wasi_gives_environment_randomness_time_and_output() {
    let body = r#"(data (i32.const 1024) "out\n") (data (i32.const 1040) "\00\04\00\00\04\00\00\00")
        (func (export "proxy_on_vm_start") (param i32 i32) (result i32)
            (call $ok (call $environ_sizes (i32.const 16) (i32.const 20)))
            (call $expect (i32.load (i32.const 16)) (i32.const 2))
            (call $ok (call $environ (i32.const 2048) (i32.const 4096)))
            (call $ok (call $log (i32.const 2) (i32.load (i32.const 2052)) (i32.const 5)))
            (call $ok (call $random (i32.const 3000) (i32.const 16)))
            (call $ok (call $clock (i32.const 0) (i64.const 1) (i32.const 16)))
            (call $ok (call $time (i32.const 24)))
            (call $expect (i64.ne (i64.load (i32.const 16)) (i64.load (i32.const 24))) (i32.const 0))
            (call $ok (call $fd_write (i32.const 2) (i32.const 1040) (i32.const 1) (i32.const 16)))
            (call $expect (i32.load (i32.const 16)) (i32.const 4))
            (call $expect (call $fd_write (i32.const 5) (i32.const 1040) (i32.const 1) (i32.const 16)) (i32.const 8))
            (call $ok (call $log (i32.const 0) (i32.const 3000) (i32.const 16)))
            (i32.const 1))"#;
    let run = |seed: Option<u64>| {
        let host = host(body).env("A", "1").env("KEY", "v").canary(false);
        let host = if let Some(seed) = seed { host.seed(seed) } else { host };
        host.build().unwrap().worker().unwrap().log()
    };
    let log = run(Some(1));
    assert_eq!((log[0].message.as_str(), log[1].message.as_str(), log[1].level), ("KEY=v", "out", Level::Error));
    assert_eq!(log, run(Some(1)), "a seed repeats");
    assert_ne!(log[2], run(Some(2))[2]);
    assert_ne!(run(None)[2], run(None)[2]);
}

#[test]
fn the_clock_is_the_tests() {
    let body = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $ok (call $time (i32.const 16)))
        (call $ok (call $log (i32.const 2) (i32.const 16) (i32.const 8))) (i32.const 0))"#;
    let clock = Clock::at(1);
    let worker = host(body).clock(&clock).build().unwrap().worker().unwrap();
    run(&worker, Request::get("api.example", "/"));
    clock.advance(Duration::from_nanos(2));
    run(&worker, Request::get("api.example", "/"));
    let nanos: Vec<Vec<u8>> = lines(&worker).into_iter().map(String::into_bytes).collect();
    assert_ne!(nanos[0], nanos[1]);
    assert_eq!(clock.unix_nanos(), 1_000_000_002);
    clock.set(0);
    assert_eq!((clock.unix_nanos(), clock.monotonic()), (0, Duration::from_nanos(2)));
}

#[test]
fn set_pairs_replaces_the_whole_map() {
    let body = r#"(data (i32.const 1100) "\01\00\00\00\05\00\00\00\06\00\00\00x-why\00policy\00")
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
            (call $ok (call $set_pairs (i32.const 2) (i32.const 1100) (i32.const 25)))
            (i32.const 0))"#;
    let worker = Host::builder().module(filter(body)).build().unwrap().worker().unwrap();
    let outcome = worker.run(Request::get("api.example", "/"), |_| Response::new(200).header("a", "b")).unwrap();
    assert_eq!(outcome.response.unwrap().headers, Headers::from([("x-why", "policy")]));
}
