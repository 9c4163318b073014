//! Small filters in WAT for the host's own tests: a prelude with every import under a short name, and helpers.

use exeat_host_test::{Host, HostBuilder, Outcome, Request, Response, Worker};

const IMPORTS: &str = r#"
    (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
    (import "env" "proxy_get_property" (func $get_property (param i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_set_property" (func $set_property (param i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_get_buffer_bytes" (func $get_buffer (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_set_buffer_bytes" (func $set_buffer (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_get_header_map_pairs" (func $get_pairs (param i32 i32 i32) (result i32)))
    (import "env" "proxy_set_header_map_pairs" (func $set_pairs (param i32 i32 i32) (result i32)))
    (import "env" "proxy_get_header_map_value" (func $get_header (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_replace_header_map_value" (func $replace_header (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_add_header_map_value" (func $add_header (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_remove_header_map_value" (func $remove_header (param i32 i32 i32) (result i32)))
    (import "env" "proxy_send_local_response" (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
    (import "env" "proxy_close_stream" (func $close (param i32) (result i32)))
    (import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))
    (import "env" "proxy_http_call" (func $http_call
        (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_get_status" (func $get_status (param i32 i32 i32) (result i32)))
    (import "env" "proxy_get_shared_data" (func $get_shared (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_set_shared_data" (func $set_shared (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_register_shared_queue" (func $register_queue (param i32 i32 i32) (result i32)))
    (import "env" "proxy_resolve_shared_queue" (func $resolve_queue (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_enqueue_shared_queue" (func $enqueue (param i32 i32 i32) (result i32)))
    (import "env" "proxy_dequeue_shared_queue" (func $dequeue (param i32 i32 i32) (result i32)))
    (import "env" "proxy_define_metric" (func $define_metric (param i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_increment_metric" (func $increment (param i32 i64) (result i32)))
    (import "env" "proxy_record_metric" (func $record (param i32 i64) (result i32)))
    (import "env" "proxy_get_metric" (func $get_metric (param i32 i32) (result i32)))
    (import "env" "proxy_set_tick_period_milliseconds" (func $tick_period (param i32) (result i32)))
    (import "env" "proxy_get_current_time_nanoseconds" (func $time (param i32) (result i32)))
    (import "env" "proxy_done" (func $done (result i32)))
    (import "env" "proxy_call_foreign_function" (func $foreign (param i32 i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
"#;

/// Addresses 0 to 63 are scratch words (results of host calls), texts of a filter begin at 1024, the heap at 65536.
const PRELUDE: &str = r#"
    (memory (export "memory") 2)
    (global $heap (mut i32) (i32.const 65536))
    (func (export "proxy_abi_version_0_2_1"))
    (func $malloc (export "proxy_on_memory_allocate") (param $n i32) (result i32)
        (local $p i32)
        (local.set $p (global.get $heap))
        (global.set $heap (i32.and (i32.add (i32.add (global.get $heap) (local.get $n)) (i32.const 7)) (i32.const -8)))
        (block $enough
            (loop $grow
                (br_if $enough (i32.le_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))))
                (br_if $grow (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
            (unreachable))
        (local.get $p))
    ;; Traps unless a host call returned what was expected.
    (func $expect (param $got i32) (param $want i32)
        (if (i32.ne (local.get $got) (local.get $want)) (then (unreachable))))
    (func $ok (param $got i32) (call $expect (local.get $got) (i32.const 0)))
    ;; Logs the bytes whose pointer and size the last host call left at 0 and 4.
    (func $log_result (call $ok (call $log (i32.const 2) (i32.load (i32.const 0)) (i32.load (i32.const 4)))))
"#;

/// A filter around this code.
pub(crate) fn filter(body: &str) -> String {
    format!("(module {IMPORTS} {PRELUDE} {body})")
}

/// A host for a filter around this code.
pub(crate) fn host(body: &str) -> HostBuilder {
    Host::builder().module(filter(body))
}

/// A worker for a filter around this code.
pub(crate) fn worker(body: &str) -> Worker {
    host(body).build().unwrap().worker().unwrap()
}

/// What the worker's VM logged, text only.
pub(crate) fn lines(worker: &Worker) -> Vec<String> {
    worker.log().into_iter().map(|entry| entry.message).collect()
}

/// Runs a request whose upstream says 200 `up`.
pub(crate) fn run(worker: &Worker, request: Request) -> Outcome {
    worker.run(request, |_| Response::ok("up")).unwrap()
}

/// A filter whose verdicts are the digits of its configuration, in this order: request headers, request body, last
/// request body, request trailers, response headers, response body, last response body, response trailers. The size and
/// content of each body callback go to the log.
pub(crate) const VERDICTS: &str = r#"
    (data (i32.const 1024) "request \00response ")
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (call $ok (call $get_buffer (i32.const 7) (i32.const 0) (i32.const -1) (i32.const 0) (i32.const 4)))
        (i32.store (i32.const 32) (i32.load (i32.const 0)))
        (i32.const 1))
    (func $verdict (param $at i32) (result i32)
        (i32.sub (i32.load8_u (i32.add (i32.load (i32.const 32)) (local.get $at))) (i32.const 48)))
    (func $body (param $buffer i32) (param $size i32)
        (call $ok (call $get_buffer (local.get $buffer) (i32.const 0) (local.get $size) (i32.const 0) (i32.const 4)))
        (call $expect (i32.load (i32.const 4)) (local.get $size))
        (call $log_result))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call $verdict (i32.const 0)))
    (func (export "proxy_on_request_body") (param $id i32) (param $size i32) (param $end i32) (result i32)
        (call $body (i32.const 0) (local.get $size))
        (call $verdict (i32.add (i32.const 1) (local.get $end))))
    (func (export "proxy_on_request_trailers") (param i32 i32) (result i32) (call $verdict (i32.const 3)))
    (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (call $verdict (i32.const 4)))
    (func (export "proxy_on_response_body") (param $id i32) (param $size i32) (param $end i32) (result i32)
        (call $body (i32.const 1) (local.get $size))
        (call $verdict (i32.add (i32.const 5) (local.get $end))))
    (func (export "proxy_on_response_trailers") (param i32 i32) (result i32) (call $verdict (i32.const 7)))
"#;
