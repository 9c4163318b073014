//! Envoy sends requests past a filter whose worker could not take a configuration (envoy #43751, whatever `failure_policy` says).
//! The rendered routes let nothing out that was not judged. One module shows both: it takes its first configuration in a VM and
//! refuses the second, so that the VM in which Envoy tries it says yes and those that serve say no.

use crate::requests::{Judged, judged};
use exeat_e2e::scenario::real::RealEnvoy;
use exeat_e2e::stage::client::Connection;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const MODULE: &str = r#"(module
    (memory (export "memory") 1)
    (global $configured (mut i32) (i32.const 0))
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "_initialize"))
    (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
    (func (export "proxy_on_context_create") (param i32 i32))
    (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (global.set $configured (i32.add (global.get $configured) (i32.const 1)))
        (i32.eq (global.get $configured) (i32.const 1)))
)"#;

const MANAGER: &str = "/resources/0/filter_chains/0/filters/0/typed_config";
const LIMIT: Duration = Duration::from_secs(60);

/// What becomes of requests on new connections once workers refused a configuration.
fn after_workers_refused(routes: impl Fn(&mut Value)) -> Judged {
    let real = RealEnvoy::start("configuration", 2).unwrap();
    let module = real.database().with_file_name("fickle.wasm");
    std::fs::write(&module, wat::parse_str(MODULE).unwrap()).unwrap();
    let mut listener: Value = serde_saphyr::from_str(&real.rendered_listener().unwrap()).unwrap();
    let config = format!("{MANAGER}/http_filters/0/typed_config/config");
    *listener.pointer_mut(&format!("{config}/vm_config/code/local/filename")).unwrap() = json!(module);
    routes(listener.pointer_mut(&format!("{MANAGER}/route_config/virtual_hosts/0/routes")).unwrap());
    for configuration in ["first", "second"] {
        *listener.pointer_mut(&format!("{config}/configuration/value")).unwrap() = json!(configuration);
        real.envoy.update_listeners(&listener.to_string()).unwrap();
    }
    // Listeners are replaced in their own time: until then the real filter judges.
    let end = Instant::now() + LIMIT;
    loop {
        let now = judged(&real, &mut Connection::open(real.listener).unwrap());
        let failed = real.envoy.log().matches("Failed to configure thread-local Wasm plugin").count();
        if failed >= 2 && now != Judged::By("revision-1".to_owned()) {
            return now;
        }
        assert!(Instant::now() < end, "{failed} workers refused, {now:?}");
    }
}

#[test]
fn nothing_that_was_not_judged_leaves() {
    let refused = after_workers_refused(|_| ());
    let Judged::Refused(503, said) = refused else { panic!("{refused:?}") };
    assert_eq!(said, "no healthy upstream", "the only other way leads to a cluster without hosts");
}

/// Without the routes they get as far as the guard, which knows of no decision that let them go.
#[test]
fn what_envoy_sends_past_a_filter_that_a_worker_refused_meets_the_guard() {
    let plain = |routes: &mut Value| {
        *routes = json!([{"match": {"prefix": "/"}, "route": {"cluster": "egress-http"}}]);
    };
    let refused = after_workers_refused(plain);
    let Judged::Refused(403, said) = refused else { panic!("{refused:?}") };
    assert!(said.contains("destination-resolved-forbidden"), "{said}");
}
