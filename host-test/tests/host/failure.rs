//! Traps, refused modules and configurations, and what becomes of requests afterwards.

use std::time::Duration;

use crate::common::{filter, host, lines, run};
use exeat_host_test::{Error, FailPolicy, Host, HostBuilder, Module, ReplyOrigin, Request, Response, Worker};

/// Traps where the path says: /head, /body, /answer, /log. `panic` is logged at level critical first.
const TRAPS: &str = r#"
    (data (i32.const 1024) ":pathtold to")
    (global $at (mut i32) (i32.const 0))
    (func $bang (param $letter i32)
        (if (i32.eq (global.get $at) (local.get $letter)) (then
            (call $ok (call $log (i32.const 5) (i32.const 1029) (i32.const 7)))
            (unreachable))))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $ok (call $get_header (i32.const 0) (i32.const 1024) (i32.const 5) (i32.const 0) (i32.const 4)))
        (global.set $at (i32.load8_u offset=1 (i32.load (i32.const 0))))
        (call $bang (i32.const 104))
        (i32.const 0))
    (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (call $bang (i32.const 98)) (i32.const 1))
    (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (call $bang (i32.const 97)) (i32.const 0))
    (func (export "proxy_on_log") (param i32) (call $bang (i32.const 108)))
"#;

fn worker(builder: HostBuilder) -> Worker {
    builder.build().unwrap().worker().unwrap()
}

fn answer(worker: &Worker, path: &str) -> Result<u16, Error> {
    worker.run(Request::get("api.example", path), |_| Response::new(200)).map(|o| o.status())
}

#[test]
fn a_trap_is_an_error_with_message_panic_and_backtrace() {
    let worker = worker(host(TRAPS));
    let Err(Error::Trap(trap)) = answer(&worker, "/head") else { panic!("no trap") };
    assert_eq!(trap.callback, "proxy_on_request_headers");
    assert!(trap.message.contains("unreachable"), "{}", trap.message);
    assert_eq!(trap.panic.as_deref(), Some("told to"));
    assert_eq!(trap.backtrace[0], "bang");
}

#[test]
fn a_trap_kills_the_vm_and_every_later_request_fails_closed() {
    for path in ["/head", "/answer", "/log"] {
        let worker = worker(host(TRAPS));
        assert_eq!(answer(&worker, "/fine"), Ok(200));
        let outcome = worker.serve(Request::get("api.example", path), |_| Response::new(200));
        assert!(matches!(outcome.failure, Some(Error::Trap(_))), "{path}");
        let expected = if path == "/log" { 200 } else { 503 };
        assert_eq!((outcome.status(), outcome.left()), (expected, path != "/head"), "{path}");
        assert!(worker.dead().is_some());

        let later = worker.serve(Request::get("api.example", "/fine"), |_| Response::new(200));
        assert_eq!((later.status(), later.left()), (503, false), "after {path}");
        let reply = later.local_reply.unwrap();
        assert_eq!((reply.details.as_str(), reply.origin), ("wasm_fail_stream", ReplyOrigin::Gateway));
        assert!(matches!(later.failure, Some(Error::VmDead(_))));
        assert!(matches!(answer(&worker, "/fine"), Err(Error::VmDead(_))));
    }
}

#[test]
fn streams_that_are_open_fail_closed_at_their_next_frame() {
    let worker = worker(host(TRAPS));
    let mut open = worker.request(Request::post("api.example", "/fine", "x"));
    open.send_head().unwrap();
    assert!(answer(&worker, "/head").is_err());
    assert_eq!(open.response(), None, "nobody tells it");
    assert!(matches!(open.body("x", true), Err(Error::VmDead(_))));
    assert_eq!(open.response().unwrap().status(), 503);
    let forwarded = open.forwarded().unwrap();
    assert!(forwarded.body().is_empty() && !forwarded.complete);
}

#[test]
fn a_trap_in_one_worker_leaves_the_others_alone() {
    let host = host(TRAPS).build().unwrap();
    let (a, b) = (host.worker().unwrap(), host.worker().unwrap());
    assert!(answer(&a, "/head").is_err());
    assert_eq!(answer(&b, "/fine"), Ok(200));
}

#[test]
fn fail_open_lets_requests_by() {
    let worker = worker(host(TRAPS).fail_policy(FailPolicy::Open));
    let outcome = worker.serve(Request::get("api.example", "/head"), |_| Response::new(200));
    assert_eq!((outcome.status(), outcome.left()), (200, true));
    assert!(outcome.failure.is_some());
    let later = worker.serve(Request::post("api.example", "/fine", "x"), |_| Response::new(200));
    assert_eq!(later.upstream.unwrap().body(), b"x");
}

#[test]
fn fail_reload_builds_a_new_vm_after_a_second() {
    let worker = worker(host(TRAPS).fail_policy(FailPolicy::Reload));
    let first = worker.vm();
    assert!(answer(&worker, "/head").is_err());
    assert!(matches!(answer(&worker, "/fine"), Err(Error::VmDead(_))), "too early");
    worker.host().clock().advance(Duration::from_secs(1));
    assert_eq!(answer(&worker, "/fine"), Ok(200));
    assert_ne!(worker.vm(), first);
    assert_eq!(worker.dead(), None);
}

#[test]
fn imports_that_no_host_has_are_named() {
    let wat = r#"(module
        (import "env" "proxy_log" (func (param i32 i32 i32) (result i32)))
        (import "__wbindgen_placeholder__" "describe" (func (param i32)))
        (import "env" "proxy_teleport" (func))
        (memory (export "memory") 1)
        (func (export "proxy_abi_version_0_2_1")) (func (export "malloc") (param i32) (result i32) i32.const 8))"#;
    let expected = Error::MissingImports(vec!["__wbindgen_placeholder__.describe".into(), "env.proxy_teleport".into()]);
    assert_eq!(Module::new(wat).unwrap_err(), expected);
}

#[test]
fn modules_that_break_the_abi_are_refused() {
    let module = |inside: &str| format!("(module (memory (export \"memory\") 1) {inside})");
    let version = r#"(func (export "proxy_abi_version_0_2_0"))"#;
    let malloc = r#"(func (export "malloc") (param i32) (result i32) i32.const 8)"#;
    let load = |wat: String| Host::builder().module(wat).build().and_then(|h| h.worker()).map(drop);
    assert_eq!(load(module(&format!("{version} {malloc}"))), Ok(()));
    assert_eq!(load(module(malloc)), Err(Error::AbiVersion));
    assert!(matches!(load(module(version)), Err(Error::MissingExport(_))));
    assert!(matches!(load(format!("(module {version} {malloc})")), Err(Error::MissingExport("memory"))));
    assert!(matches!(load("(module".to_owned()), Err(Error::Compile(_))));
    let wrong = r#"(func (export "proxy_on_tick") (param i64))"#;
    assert!(
        matches!(load(module(&format!("{version} {malloc} {wrong}"))), Err(Error::Signature { name, .. }) if name == "proxy_on_tick")
    );
    let wrong = r#"(import "env" "proxy_log" (func (param i64)))"#;
    assert!(matches!(load(format!("(module {wrong} {version} {malloc})")), Err(Error::Signature { .. })));
    assert_eq!(Host::builder().build().map(drop).unwrap_err(), Error::Misuse("a host needs a module".into()));
}

#[test]
fn only_the_log_may_be_used_before_the_vm_is_started() {
    let early = |call: &str| {
        let body = format!("(func (export \"_initialize\") {call})");
        Host::builder().module(filter(&body)).build().and_then(|h| h.worker()).map(drop)
    };
    assert_eq!(early("(call $ok (call $log (i32.const 2) (i32.const 0) (i32.const 0)))"), Ok(()));
    assert_eq!(early("(call $ok (call $random (i32.const 0) (i32.const 8)))"), Ok(()));
    let Err(Error::Trap(trap)) = early("(drop (call $time (i32.const 0)))") else { panic!("allowed") };
    assert!(trap.message.contains("proxy_get_current_time_nanoseconds"), "{}", trap.message);
    let Err(Error::Trap(trap)) = early("(call $exit (i32.const 3))") else { panic!("allowed") };
    assert_eq!((trap.callback.as_str(), trap.message.as_str()), ("_initialize", "proc_exit(3)"));
}

/// Accepts every configuration whose first byte is not `!`, refuses to start with VM configuration `no`.
const CONFIGURED: &str = r#"
    (func (export "proxy_on_vm_start") (param i32) (param $size i32) (result i32)
        (call $ok (call $get_buffer (i32.const 6) (i32.const 0) (i32.const -1) (i32.const 0) (i32.const 4)))
        (call $expect (i32.load (i32.const 4)) (local.get $size))
        ;; The plugin's configuration is not there yet.
        (call $expect (call $get_buffer (i32.const 7) (i32.const 0) (i32.const -1) (i32.const 0) (i32.const 4)) (i32.const 1))
        (i32.ne (local.get $size) (i32.const 2)))
    (func (export "proxy_on_configure") (param i32) (param $size i32) (result i32)
        (call $ok (call $get_buffer (i32.const 7) (i32.const 0) (local.get $size) (i32.const 0) (i32.const 4)))
        (call $log_result)
        (i32.ne (i32.load8_u (i32.load (i32.const 0))) (i32.const 33)))
"#;

#[test]
fn a_refused_start_or_configuration_is_an_error() {
    let start = host(CONFIGURED).vm_configuration("no").build().unwrap().worker().unwrap_err();
    assert_eq!(start, Error::StartRefused);
    let refused = host(CONFIGURED).configuration("!bad").build().unwrap().worker().unwrap_err();
    assert_eq!(refused, Error::ConfigureRefused { plugin: "filter".into() });
}

#[test]
fn a_bad_update_leaves_the_old_policy_in_force() {
    let worker = worker(host(CONFIGURED).configuration("good"));
    let root = worker.root();
    assert_eq!(worker.reconfigure("!bad").unwrap_err(), Error::ConfigureRefused { plugin: "filter".into() });
    assert_eq!((worker.root(), worker.dead()), (root, None));
    assert_eq!(run(&worker, Request::get("api.example", "/")).status(), 200);
    assert_eq!(lines(&worker), ["good"], "only the canary saw the bad one");
    let newer = worker.reconfigure("better").unwrap();
    assert_ne!(newer, root);
    assert_eq!((worker.root(), worker.roots()), (newer, vec![root, newer]));
    assert_eq!(worker.reconfigure("better").unwrap(), newer, "the same configuration keeps its root context");
}

#[test]
fn without_a_canary_a_refused_update_kills_the_workers_vm() {
    let worker = worker(host(CONFIGURED).configuration("good").canary(false));
    assert!(worker.reconfigure("!bad").is_err());
    assert!(worker.dead().is_some());
    assert!(matches!(answer(&worker, "/"), Err(Error::VmDead(_))));
}

#[test]
fn an_endless_loop_ends_as_a_trap() {
    let body = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (loop $ever (br $ever)) (i32.const 0))"#;
    let worker = worker(host(body).call_timeout(Duration::from_millis(200)));
    let Err(Error::Trap(trap)) = answer(&worker, "/") else { panic!("it ended") };
    assert!(trap.message.contains("call timeout"), "{}", trap.message);
}

#[test]
fn memory_is_capped_and_shows() {
    let body = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (drop (memory.grow (i32.const 10))) (i32.const 0))"#;
    let worker = worker(host(body).memory_limit(20 << 16));
    assert_eq!(worker.memory_size(), 2 << 16);
    answer(&worker, "/").unwrap();
    assert_eq!(worker.memory_size(), 12 << 16);
    answer(&worker, "/").unwrap();
    assert_eq!(worker.memory_size(), 12 << 16, "the cap refuses the growth, not the request");
}

#[test]
fn modules_are_compiled_once() {
    let (a, b) = (Module::new(filter("")).unwrap(), Module::new(filter("")).unwrap());
    assert_eq!((a.digest(), a.size()), (b.digest(), filter("").len()));
    assert_ne!(a.digest(), Module::new(filter("(func)")).unwrap().digest());
}
