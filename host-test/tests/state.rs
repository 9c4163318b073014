//! What filters read and leave behind: properties, filter state, headers, shared data, queues, metrics, WASI.

#[cfg(test)] // Clippy lets helpers unwrap only under this attribute.
mod common;

use common::{filter, host, lines, run, worker};
use exeat_host_test::{
    Clock, Headers, Host, Level, MAX_PAIRS, MAX_PAIRS_BYTES, Metric, Process, Request, Response, Status,
};
use std::time::Duration;

/// Sets `mark` to `left` and answers with properties: each path of the configuration (parts by `/`, paths by space).
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

#[cfg(test)]
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
#[cfg(test)]
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

/// Counts requests in shared data with compare-and-swap, trying until it succeeds.
const COUNTER: &str = r#"
    (data (i32.const 1024) "counter")
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (local $status i32)
        (loop $again
            (local.set $status (call $get_shared (i32.const 1024) (i32.const 7) (i32.const 0) (i32.const 4) (i32.const 8)))
            (if (local.get $status)
                (then (i32.store (i32.const 8) (i32.const 0)) (i32.store (i32.const 16) (i32.const 1)))
                (else (i32.store (i32.const 16) (i32.add (i32.load (i32.load (i32.const 0))) (i32.const 1)))))
            (local.set $status (call $set_shared (i32.const 1024) (i32.const 7) (i32.const 16) (i32.const 4) (i32.load (i32.const 8))))
            (br_if $again (i32.eq (local.get $status) (i32.const 8)))
            (call $ok (local.get $status)))
        (i32.const 0))
"#;

#[cfg(test)]
fn counter(host: &Host) -> u32 {
    u32::from_le_bytes(host.shared_data("counter").unwrap().try_into().unwrap())
}

#[test]
fn workers_in_threads_share_data_and_lose_no_update() {
    const WORKERS: usize = 4;
    const REQUESTS: usize = 200;
    let host = host(COUNTER).vm_id("shared").build().unwrap();
    // The first write finds no key, and so nothing to compare with: it must be there before the race.
    host.set_shared_data("counter", 0u32.to_le_bytes());
    let threads: Vec<_> = (0..WORKERS)
        .map(|_| {
            let worker = host.worker().unwrap();
            std::thread::spawn(move || {
                for _ in 0..REQUESTS {
                    assert_eq!(run(&worker, Request::get("api.example", "/")).status(), 200);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(counter(&host), u32::try_from(WORKERS * REQUESTS).unwrap());
}

#[test]
fn shared_data_is_one_map_a_vm_id_in_one_process() {
    let process = Process::new();
    let make = |vm_id: &str, process: &Process| host(COUNTER).vm_id(vm_id).process(process).build().unwrap();
    let (a, also_a, b) = (make("a", &process), make("a", &process), make("b", &process));
    let elsewhere = make("a", &Process::new());
    for host in [&a, &also_a, &b, &elsewhere] {
        run(&host.worker().unwrap(), Request::get("api.example", "/"));
    }
    assert_eq!([counter(&a), counter(&b), counter(&elsewhere)], [2, 1, 1]);
    assert_eq!(process.shared_keys("a"), [b"counter".to_vec()]);
}

#[test]
fn cas_numbers_guard_a_key_that_exists() {
    let process = Process::new();
    process.set_shared_data("v", "k", "1", 77).unwrap();
    let (_, first) = process.shared_data("v", "k").unwrap();
    process.set_shared_data("v", "k", "2", first).unwrap();
    assert_eq!(process.set_shared_data("v", "k", "3", first), Err(Status::CasMismatch));
    process.set_shared_data("v", "k", "4", 0).unwrap();
    assert_eq!(process.shared_data("v", "k").unwrap().0, b"4");
}

#[test]
fn queues_pass_items_to_the_root_that_registered_last() {
    let consumer = r#"(data (i32.const 1024) "q")
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
            (call $ok (call $register_queue (i32.const 1024) (i32.const 1) (i32.const 16))) (i32.const 1))
        (func (export "proxy_on_queue_ready") (param $root i32) (param $token i32)
            (call $ok (call $dequeue (local.get $token) (i32.const 0) (i32.const 4)))
            (call $log_result)
            (call $expect (call $dequeue (local.get $token) (i32.const 0) (i32.const 4)) (i32.const 7)))"#;
    let producer = r#"(data (i32.const 1024) "q\00consumeritem")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (call $expect (call $resolve_queue (i32.const 0) (i32.const 0) (i32.const 1024) (i32.const 1) (i32.const 16)) (i32.const 1))
            (call $ok (call $resolve_queue (i32.const 1026) (i32.const 8) (i32.const 1024) (i32.const 1) (i32.const 16)))
            (call $ok (call $enqueue (i32.load (i32.const 16)) (i32.const 1034) (i32.const 4)))
            (call $expect (call $enqueue (i32.const 999) (i32.const 1034) (i32.const 4)) (i32.const 1))
            (i32.const 0))"#;
    let process = Process::new();
    let consumer = host(consumer).vm_id("consumer").process(&process).build().unwrap().worker().unwrap();
    let producer = host(producer).vm_id("producer").process(&process).build().unwrap().worker().unwrap();
    run(&producer, Request::get("api.example", "/"));
    assert_eq!(process.queue_len("consumer", "q"), Some(1));
    consumer.poll().unwrap();
    assert_eq!(lines(&consumer), ["item"]);
}

#[test]
fn metrics_count_for_the_whole_process() {
    let body = r#"(data (i32.const 1024) "requestssizelevel")
        (global $requests (mut i32) (i32.const 0)) (global $size (mut i32) (i32.const 0)) (global $level (mut i32) (i32.const 0))
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
            (call $ok (call $define_metric (i32.const 0) (i32.const 1024) (i32.const 8) (i32.const 16)))
            (global.set $requests (i32.load (i32.const 16)))
            (call $ok (call $define_metric (i32.const 2) (i32.const 1032) (i32.const 4) (i32.const 16)))
            (global.set $size (i32.load (i32.const 16)))
            (call $ok (call $define_metric (i32.const 1) (i32.const 1036) (i32.const 5) (i32.const 16)))
            (global.set $level (i32.load (i32.const 16)))
            (call $expect (call $define_metric (i32.const 3) (i32.const 1036) (i32.const 5) (i32.const 16)) (i32.const 2))
            (i32.const 1))
        (func (export "proxy_on_request_headers") (param $id i32) (param $n i32) (param i32) (result i32)
            (call $ok (call $increment (global.get $requests) (i64.const 2)))
            ;; A counter refuses to stand still and to fall, a histogram to be incremented or read.
            (call $expect (call $increment (global.get $requests) (i64.const 0)) (i32.const 2))
            (call $expect (call $increment (global.get $requests) (i64.const -1)) (i32.const 2))
            (call $expect (call $increment (global.get $size) (i64.const 1)) (i32.const 2))
            (call $expect (call $get_metric (global.get $size) (i32.const 16)) (i32.const 2))
            (call $expect (call $increment (i32.const 4000) (i64.const 1)) (i32.const 1))
            (call $ok (call $record (global.get $size) (i64.extend_i32_u (local.get $n))))
            (call $ok (call $record (global.get $level) (i64.const 9)))
            (call $ok (call $increment (global.get $level) (i64.const -4)))
            (call $ok (call $get_metric (global.get $level) (i32.const 16)))
            (call $expect (i32.load (i32.const 16)) (i32.const 5))
            (i32.const 0))"#;
    let host = host(body).build().unwrap();
    for _ in 0..2 {
        run(&host.worker().unwrap(), Request::get("api.example", "/"));
    }
    assert_eq!(host.metric("requests"), Some(Metric::Counter(4)));
    assert_eq!(host.metric("size"), Some(Metric::Histogram(vec![6, 6])));
    assert_eq!(host.metric("level"), Some(Metric::Gauge(5)));
    assert_eq!(host.metric("other"), None);
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
