//! What outlives a VM: shared data, queues, metrics.

use crate::common::{host, lines, run};
use exeat_host_test::{Host, Metric, Process, Request, Status};

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
