//! Configurations that a worker's VM cannot take into use, though the trial VM of the host took them. Envoy leaves the
//! filter out of the chain when a worker's VM refuses: everything would go by.

use crate::agent::{WORKER, get, post, unsigned};
use exeat_e2e::scenario::gateway::Gateway;
use exeat_e2e::scenario::harness::{Harness, UPSTREAM_PORT};
use exeat_e2e::scenario::real::RealEnvoy;
use exeat_e2e::scenario::subject::{Reply, Subject};
use exeat_e2e::stage::artefacts;
use exeat_host_test::{Host, Process};
use std::time::Duration;

fn reason(reply: &Reply) -> String {
    reply.json()["reason"].as_str().unwrap_or("none").to_owned()
}

#[test]
fn another_gateway_id_leaves_the_configuration_before_in_place() {
    let mut envoy = RealEnvoy::start("main", 2).unwrap();
    let renamed = envoy.rendered_listener().unwrap().replace("egress-demo", "egress-other");
    // Envoy's trial VM is fresh and sees nothing wrong.
    envoy.envoy.update_listeners(&renamed).unwrap();
    for _ in 0..4 {
        let request = unsigned(get(&envoy, WORKER, "/v1/orders/7"));
        assert_eq!(envoy.send(&request).unwrap().status, 401);
    }
    assert_eq!(envoy.arrived().unwrap().len(), 0);
    let request = post(&envoy, WORKER, "/v1/search", b"hello");
    assert_eq!(envoy.send(&request).unwrap().status, 200);
    let told = "configuration not in use, the configuration before stays";
    envoy.envoy.wait_for_log(told, Duration::from_secs(10)).unwrap();
}

#[test]
fn nothing_leaves_by_a_chain_without_the_filter() {
    let mut envoy = RealEnvoy::start("main", 1).unwrap();
    let mut listeners: serde_json::Value = serde_saphyr::from_str(&envoy.rendered_listener().unwrap()).unwrap();
    let chain = "/resources/0/filter_chains/0/filters/0/typed_config/http_filters";
    let filters = listeners.pointer_mut(chain).unwrap().as_array_mut().unwrap();
    assert_eq!(filters.remove(0)["name"], "envoy.filters.http.wasm");
    envoy.envoy.update_listeners(&listeners.to_string()).unwrap();
    let request = get(&envoy, WORKER, "/v1/orders/7");
    assert_eq!(envoy.send(&request).unwrap().status, 503);
    assert_eq!(envoy.arrived().unwrap().len(), 0);
}

/// A host in this process, with the configuration and key of `gateway`.
fn host(process: &Process, gateway: &Gateway) -> Host {
    Host::builder()
        .module_file(artefacts::module().unwrap())
        .process(process)
        .vm_id("exeat")
        .env("EXEAT_GATEWAY_KEY", &gateway.evidence_key)
        .configuration(gateway.configuration.clone())
        .cluster("exeat-collector")
        .hold(true)
        .build()
        .unwrap()
}

#[test]
fn a_fresh_vm_takes_no_other_identity_than_the_process_has() {
    let process = Process::new();
    let first = Gateway::prepare("main", UPSTREAM_PORT).unwrap();
    let worker = host(&process, &first).worker().unwrap();
    let mut renamed = Gateway::prepare("main", UPSTREAM_PORT).unwrap();
    renamed.evidence_key.clone_from(&first.evidence_key);
    renamed.configuration = first.configuration.replace("egress-demo", "egress-other");
    let other_key = Gateway::prepare("main", UPSTREAM_PORT).unwrap();
    for second in [renamed, other_key] {
        let reloaded = host(&process, &second).worker().unwrap();
        reloaded.tick().unwrap();
        let request = exeat_host_test::Request::get("eu.crm.acme.example", "/v1/orders/7");
        let outcome = reloaded.serve(request, |_| exeat_host_test::Response::new(200));
        assert_eq!((outcome.status(), outcome.left()), (503, false));
        let told = |entry: &&exeat_host_test::LogEntry| entry.message.contains("configuration not in use");
        assert_eq!(reloaded.log().iter().filter(told).count(), 1, "once, not on every tick");
    }
    drop(worker);
}

#[test]
fn what_another_plugin_wrote_first_closes_and_does_not_open() {
    const BOOT: &str = "exeat/2/boot";
    let gateway = Gateway::prepare("main", UPSTREAM_PORT).unwrap();
    let untouched = host(&Process::new(), &gateway);
    drop(untouched.worker().unwrap());
    assert!(untouched.shared_data(BOOT).is_some(), "it stands under another name now");
    let host = host(&Process::new(), &gateway);
    host.set_shared_data(BOOT, "nonsense");
    let worker = host.worker().unwrap();
    let request = exeat_host_test::Request::get("eu.crm.acme.example", "/v1/orders/7");
    let outcome = worker.serve(request, |_| exeat_host_test::Response::new(200));
    assert_eq!((outcome.status(), outcome.left(), outcome.failure), (503, false, None));
}

#[test]
fn a_full_log_puts_an_update_off_and_does_not_refuse_it() {
    let mut harness = Harness::start("main").unwrap();
    harness.collector_is_up(false);
    let configuration = harness.gateway().configuration.clone();
    let revised = |n: usize| configuration.replace("2026-11-20.1", &format!("revision-{n}"));
    for n in 0..80 {
        harness.worker().reconfigure(revised(n)).unwrap();
    }
    let refused = harness.send(&unsigned(get(&harness, WORKER, "/v1/orders/7"))).unwrap();
    assert_eq!((refused.status, reason(&refused).as_str()), (401, "context-missing"));
    harness.collector_is_up(true);
    harness.worker().advance(Duration::from_secs(90)).unwrap();
    let reply = harness.send(&get(&harness, WORKER, "/v1/orders/8")).unwrap();
    assert_eq!(reply.status, 200);
    let id = reply.header("exeat-decision").unwrap().to_owned();
    let records = harness.records(&id).unwrap();
    let decision = records.iter().find(|record| record["id"] == id.as_str()).unwrap();
    assert_eq!(decision["policy"]["revision"], "revision-79");
}
