//! Contexts over time: creation and deletion, ticks, several root contexts in one VM, shutting down.

use std::time::Duration;

use crate::common::{host, lines, run, worker};
use exeat_host_test::{Event, Plugin, Request, Response};

/// Logs every step of every context as `<letter><context id>`: c(reate) s(tart) g (configure) h(eaders) l(og) d(one)
/// x (delete) t(ick). A root context's done returns false while its configuration begins with `w`; the second tick of
/// such a context calls `proxy_done`.
const DIARY: &str = r#"
    (global $waits (mut i32) (i32.const 0))
    (global $over (mut i32) (i32.const 0))
    (func $note (param $letter i32) (param $id i32)
        (i32.store8 (i32.const 40) (local.get $letter))
        (i32.store8 (i32.const 41) (i32.add (local.get $id) (i32.const 48)))
        (call $ok (call $log (i32.const 2) (i32.const 40) (i32.const 2))))
    (func (export "proxy_on_context_create") (param $id i32) (param $root i32) (call $note (i32.const 99) (local.get $id)))
    (func (export "proxy_on_vm_start") (param $id i32) (param i32) (result i32)
        (call $note (i32.const 115) (local.get $id)) (i32.const 1))
    (func (export "proxy_on_configure") (param $id i32) (param $size i32) (result i32)
        (call $note (i32.const 103) (local.get $id))
        (call $ok (call $get_buffer (i32.const 7) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 4)))
        (if (i32.load (i32.const 4)) (then
            (if (i32.eq (i32.load8_u (i32.load (i32.const 0))) (i32.const 119)) (then
                (global.set $waits (local.get $id))
                (call $ok (call $tick_period (i32.const 5000)))))))
        (i32.const 1))
    (func (export "proxy_on_request_headers") (param $id i32) (param i32 i32) (result i32)
        (call $note (i32.const 104) (local.get $id)) (i32.const 0))
    (func (export "proxy_on_log") (param $id i32) (call $note (i32.const 108) (local.get $id)))
    (func (export "proxy_on_done") (param $id i32) (result i32)
        (call $note (i32.const 100) (local.get $id))
        (if (i32.eq (global.get $waits) (local.get $id)) (then (global.set $over (i32.const 1)) (return (i32.const 0))))
        (i32.const 1))
    (func (export "proxy_on_delete") (param $id i32) (call $note (i32.const 120) (local.get $id)))
    (func (export "proxy_on_tick") (param $id i32)
        (call $note (i32.const 116) (local.get $id))
        (if (global.get $over)
            (then (call $ok (call $done)))
            (else (call $expect (call $done) (i32.const 1)))))
"#;

#[test]
fn a_stream_lives_from_create_to_delete() {
    let worker = worker(DIARY);
    let outcome = run(&worker, Request::get("api.example", "/"));
    assert_eq!(lines(&worker), ["c1", "s1", "g1", "c2", "h2", "l2", "d2", "x2"]);
    let last: Vec<_> = outcome.events.iter().rev().take(3).rev().cloned().collect();
    let callback = |name, returned| Event::Callback { name, returned };
    assert_eq!(last, [callback("proxy_on_log", 0), callback("proxy_on_done", 1), callback("proxy_on_delete", 0)]);
    assert_eq!(worker.contexts(), 1);
}

#[test]
fn a_client_that_goes_away_ends_the_stream() {
    let worker = worker(DIARY);
    let mut exchange = worker.request(Request::get("api.example", "/"));
    exchange.send().unwrap();
    drop(exchange);
    assert_eq!(lines(&worker)[3..], ["c2", "h2", "l2", "d2", "x2"]);
    drop(worker.request(Request::get("api.example", "/")));
    assert_eq!(lines(&worker).len(), 8, "a request that never came is not told");
}

#[test]
fn a_canary_comes_before_the_first_worker_and_is_thrown_away() {
    let host = host(DIARY).build().unwrap();
    let (a, b) = (host.worker().unwrap(), host.worker().unwrap());
    let vms: Vec<u32> = host.log().iter().map(|entry| entry.vm).collect();
    assert_eq!(vms, [0, 0, 0, 1, 1, 1, 2, 2, 2], "once for all workers, and never done or deleted");
    assert_eq!((a.vm(), b.vm()), (1, 2));
}

#[test]
fn ticks_come_when_their_time_has_come() {
    let worker = host(DIARY).configuration("w").build().unwrap().worker().unwrap();
    assert_eq!(worker.tick_period(worker.root()), Some(Duration::from_secs(5)));
    worker.advance(Duration::from_millis(4999)).unwrap();
    assert_eq!(lines(&worker)[3..], [""; 0]);
    worker.advance(Duration::from_millis(10_001)).unwrap();
    assert_eq!(lines(&worker)[3..], ["t1", "t1", "t1"]);
    worker.tick().unwrap();
    assert_eq!(lines(&worker)[3..], ["t1", "t1", "t1", "t1"]);
}

#[test]
fn other_workers_catch_up_with_poll() {
    let host = host(DIARY).configuration("w").build().unwrap();
    let (a, b) = (host.worker().unwrap(), host.worker().unwrap());
    a.advance(Duration::from_secs(5)).unwrap();
    assert_eq!(lines(&b).len(), 3);
    b.poll().unwrap();
    assert_eq!(lines(&b)[3..], ["t1"]);
}

#[test]
fn an_update_adds_a_root_context_and_old_streams_keep_theirs() {
    let worker = worker(DIARY);
    let old = worker.root();
    let mut exchange = worker.request(Request::get("api.example", "/"));
    exchange.send().unwrap();
    let new = worker.reconfigure("second").unwrap();
    assert_eq!((old.context_id(), new.context_id()), (1, 3));
    run(&worker, Request::get("api.example", "/"));
    run_on_old(&worker, old);
    worker.retire(old).unwrap();
    assert!(worker.has_root(old), "its stream is not over");
    exchange.respond(Response::new(200)).unwrap();
    exchange.finish().unwrap();
    assert!(!worker.has_root(old));
    assert_eq!(worker.roots(), [new]);
    let expected = [
        "c1", "s1", "g1", "c2", "h2", "c3", "s3", "g3", "c4", "h4", "l4", "d4", "x4", "c5", "h5", "l5", "d5", "x5",
        "l2", "d2", "x2", "d1", "x1",
    ];
    assert_eq!(lines(&worker), expected);
}

fn run_on_old(worker: &exeat_host_test::Worker, root: exeat_host_test::RootId) {
    let mut exchange = worker.request_on(root, Request::get("api.example", "/"));
    exchange.send().unwrap();
    exchange.respond(Response::new(200)).unwrap();
    assert_eq!(exchange.finish().unwrap().status(), 200);
}

#[test]
fn a_root_that_is_not_done_waits_for_proxy_done() {
    let worker = host(DIARY).configuration("w").build().unwrap().worker().unwrap();
    let root = worker.root();
    assert_eq!(worker.shut_down().unwrap(), [root]);
    assert!(worker.has_root(root));
    worker.advance(Duration::from_secs(5)).unwrap();
    assert!(!worker.has_root(root));
    assert_eq!(lines(&worker)[3..], ["d1", "t1", "x1"]);
    assert!(worker.shut_down().unwrap().is_empty());
    worker.advance(Duration::from_secs(60)).unwrap();
    assert_eq!(lines(&worker).len(), 6, "its timer went with it");
}

#[test]
fn a_second_plugin_lives_in_the_same_vm() {
    let worker = worker(DIARY);
    let guard = worker.install(Plugin::new("guard", "role: guard")).unwrap();
    assert_ne!(guard, worker.root(), "requests go to the host's own plugin unless told otherwise");
    run_on_old(&worker, guard);
    assert_eq!(lines(&worker)[3..], ["c2", "s2", "g2", "c3", "h3", "l3", "d3", "x3"]);
    assert_eq!(worker.roots(), [worker.root(), guard]);
}

#[test]
fn a_root_that_does_not_exist_is_the_tests_fault() {
    let worker = worker(DIARY);
    let old = worker.root();
    worker.reconfigure("second").unwrap();
    worker.retire(old).unwrap();
    let mut exchange = worker.request_on(old, Request::get("api.example", "/"));
    assert!(exchange.send().is_err());
    assert!(exchange.finish().is_err());
}
