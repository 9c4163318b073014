//! What shows when a VM dies: the tests of mutations look for it, so it must be what Envoy really does.

use exeat_e2e::stage::client::{Request, send};
use exeat_e2e::stage::envoy::{Envoy, Setup, Stats};
use exeat_e2e::stage::ports;
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

/// Words in Envoy's log that say that a module or its VM failed.
const WORDS: [&str; 6] =
    ["Wasm VM failed", "panicked at", "Uncaught RuntimeError", "unreachable", "in Wasm", "backtrace"];

/// How often VMs were built again, or could not be.
fn reloads(stats: &Stats) -> u64 {
    stats.sum(".vm_reload")
}

/// Everything that tells of a failure inside a VM of this Envoy.
pub(crate) fn failures(envoy: &Envoy) -> Vec<String> {
    let mut found: Vec<String> =
        envoy.log().lines().filter(|line| WORDS.iter().any(|word| line.contains(word))).map(str::to_owned).collect();
    let reloads = reloads(&envoy.stats().unwrap());
    if reloads > 0 {
        found.push(format!("{reloads} reloads of a VM"));
    }
    found
}

/// Lives until the first request.
const MODULE: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "_initialize"))
    (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
    (func (export "proxy_on_context_create") (param i32 i32))
    (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
    (func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 1))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) unreachable)
)"#;

fn bootstrap(module: &str, port: u16) -> String {
    let wasm = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        "config": {
            "name": "exeat",
            "failure_policy": "FAIL_RELOAD",
            "vm_config": {"vm_id": "exeat", "runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": module}}},
        },
    });
    let router = json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"});
    json!({"static_resources": {"listeners": [{
        "name": "egress",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "egress",
                "route_config": {"virtual_hosts": [{
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}],
                }]},
                "http_filters": [
                    {"name": "envoy.filters.http.wasm", "typed_config": wasm},
                    {"name": "envoy.filters.http.router", "typed_config": router},
                ],
            },
        }]}],
    }]}})
    .to_string()
}

#[test]
fn a_vm_that_dies_shows_in_log_and_counters() {
    let folder = tempfile::tempdir().unwrap();
    let module = folder.path().join("trap.wasm");
    std::fs::write(&module, wat::parse_str(MODULE).unwrap()).unwrap();
    let port = ports::free().unwrap();
    let envoy = Setup::new(bootstrap(module.to_str().unwrap(), port)).listener(port).start().unwrap();
    assert_eq!(failures(&envoy), Vec::<String>::new());
    let listener = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let request = Request::new("GET", "/").header("host", "a.example");
    assert_eq!(send(listener, &request).unwrap().status, 503);
    let dead = failures(&envoy);
    assert!(dead.len() == 1 && dead[0].contains("proxy_on_request_headers failed"), "{dead:?}");
    // A later request finds the VM dead and has it built again, or is told to wait: only then do counters move.
    let end = Instant::now() + LIMIT;
    while envoy.stats().unwrap().value("wasm.exeat.vm_reload_success") == 0 {
        assert!(Instant::now() < end, "{:?}", envoy.stats().unwrap().containing("wasm"));
        assert_eq!(send(listener, &request).unwrap().status, 503);
    }
    let counted = failures(&envoy);
    assert!(counted.iter().any(|line| line.ends_with("reloads of a VM")), "{counted:?}");
}
