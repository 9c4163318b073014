//! A new module. Envoy makes VMs of their own for other code, and the guards in the clusters stay in those they are in: so a
//! listener with a new module lets nothing out, and a new module takes a restart.

use exeat_e2e::scenario::gateway::Gateway;
use exeat_e2e::scenario::plain;
use exeat_e2e::scenario::real::{Around, RealEnvoy};
use exeat_e2e::stage::artefacts;
use exeat_e2e::stage::client::Connection;
use exeat_e2e::stage::upstream::Upstream;
use serde_json::Value;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// The module with another custom section: other bytes that do the same.
fn another() -> Vec<u8> {
    let mut module = std::fs::read(artefacts::module().unwrap()).unwrap();
    module.extend([0, 6, 5, b'o', b't', b'h', b'e', b'r']);
    module
}

fn status(real: &RealEnvoy, connection: &mut Connection, path: &str) -> u16 {
    connection.send(&plain::get(real, path).unwrap()).unwrap().status
}

#[test]
fn a_new_module_by_listener_update_lets_nothing_out() {
    let upstream = Upstream::start().unwrap();
    let gateway = Gateway::prepare("configuration", upstream.address().port()).unwrap();
    let real = RealEnvoy::start_with(gateway, upstream, 1).unwrap();
    let mut old = Connection::open(real.listener).unwrap();
    assert_eq!(status(&real, &mut old, "/v1/orders/1"), 200);
    let rendered: Value = serde_saphyr::from_str(&real.rendered_listener().unwrap()).unwrap();
    let file = real.gateway_file("another.wasm");
    std::fs::write(&file, another()).unwrap();
    let mut listener = rendered.clone();
    let code = "/resources/0/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config/vm_config/code";
    listener.pointer_mut(code).unwrap()["local"]["filename"] = file.to_str().unwrap().into();
    real.envoy.update_listeners(&listener.to_string()).unwrap();
    // Its workers begin in their own time; until then the one before serves.
    let refuses = || (status(&real, &mut Connection::open(real.listener).ok()?, "/v1/orders/2") == 503).then_some(());
    real.envoy.process().wait_until("a listener with the new module", LIMIT, refuses).unwrap();
    real.envoy.wait_for_log("no guard of this vm_id stands in the way out", LIMIT).unwrap();
    let arrived = real.upstream.count();
    assert_eq!(status(&real, &mut Connection::open(real.listener).unwrap(), "/v1/orders/3"), 503);
    assert_eq!(real.upstream.count(), arrived);
    // A connection from before is served by the module from before, and the way back is the file from before.
    assert_eq!(status(&real, &mut old, "/v1/orders/4"), 200);
    real.envoy.update_listeners(&rendered.to_string()).unwrap();
    let serves = || (status(&real, &mut Connection::open(real.listener).ok()?, "/v1/orders/5") == 200).then_some(());
    real.envoy.process().wait_until("the listener from before", LIMIT, serves).unwrap();
    assert!(real.verify_settled(LIMIT).unwrap().starts_with("ok: "));
}

#[test]
fn a_new_module_is_taken_by_a_restart_and_the_logs_go_on() {
    let upstream = Upstream::start().unwrap();
    let gateway = Gateway::prepare("configuration", upstream.address().port()).unwrap();
    let module = gateway.file("module.wasm");
    std::fs::copy(artefacts::module().unwrap(), &module).unwrap();
    let around = Around { module: Some(module.clone()), ..Around::default() };
    let mut real = RealEnvoy::start_amid(gateway, upstream, 1, around, |_| ()).unwrap();
    assert_eq!(status(&real, &mut Connection::open(real.listener).unwrap(), "/v1/orders/1"), 200);
    let completions = |count: usize| {
        move |records: &[Value]| records.iter().filter(|record| record["kind"] == "completion").count() == count
    };
    real.wait_for_records("the first", completions(1)).unwrap();
    std::fs::write(&module, another()).unwrap();
    real.restart_envoy().unwrap();
    assert_eq!(status(&real, &mut Connection::open(real.listener).unwrap(), "/v1/orders/2"), 200);
    let records = real.wait_for_records("the second", completions(2)).unwrap();
    let boots = records.iter().filter(|record| record["kind"] == "genesis").count();
    assert!(boots >= 2, "{boots}");
    assert!(real.verify_settled(LIMIT).unwrap().starts_with("ok: "));
}
