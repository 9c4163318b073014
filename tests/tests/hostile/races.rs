//! Many at once: a nonce counts once and a log has one writer, however workers and connections interleave.

use crate::agent::{WORKER, get};
use exeat_e2e::scenario::gateway::Gateway;
use exeat_e2e::scenario::harness::UPSTREAM_PORT;
use exeat_e2e::scenario::real::{RealEnvoy, framed};
use exeat_e2e::scenario::subject::Subject;
use exeat_e2e::stage::artefacts;
use exeat_e2e::stage::client::Connection;
use exeat_host_test::{Host, Process};
use std::collections::BTreeSet;
use std::sync::Barrier;

#[test]
fn a_signed_request_that_comes_on_many_connections_at_once_passes_once() {
    const AT_ONCE: usize = 24;
    let mut envoy = RealEnvoy::start("main", 4).unwrap();
    for round in 0..5 {
        let request = framed(&get(&envoy, WORKER, &format!("/v1/orders/{round}")));
        let (address, barrier) = (envoy.listener, Barrier::new(AT_ONCE));
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let send = || {
                let mut connection = Connection::open(address).unwrap();
                barrier.wait();
                connection.send(&request).unwrap().status
            };
            let senders: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(send)).collect();
            senders.into_iter().map(|sender| sender.join().unwrap()).collect()
        });
        let count = |status| statuses.iter().filter(|got| **got == status).count();
        assert_eq!((count(200), count(401)), (1, AT_ONCE - 1), "{statuses:?}");
        assert_eq!(envoy.arrived().unwrap().len(), 1);
    }
}

#[test]
fn workers_that_start_at_once_share_a_boot_and_no_number() {
    const WORKERS: usize = 8;
    let gateway = Gateway::prepare("main", UPSTREAM_PORT).unwrap();
    let host = Host::builder()
        .module_file(artefacts::module().unwrap())
        .process(&Process::new())
        .vm_id("exeat")
        .env("EXEAT_GATEWAY_KEY", &gateway.evidence_key)
        .configuration(gateway.configuration.clone())
        .cluster("exeat-collector")
        .canary(false)
        .build()
        .unwrap();
    let barrier = Barrier::new(WORKERS);
    let origins: Vec<String> = std::thread::scope(|scope| {
        let start = || {
            barrier.wait();
            let worker = host.worker().unwrap();
            worker.tick().unwrap();
            // The log begins once it is known what came before.
            let none = exeat_host_test::Response::ok(r#"{"boot":null,"logs":[]}"#);
            worker.answer(worker.callouts().first().unwrap().token, none).unwrap();
            let callouts = worker.callouts();
            let text = String::from_utf8_lossy(&callouts.first().unwrap().body).into_owned();
            let checkpoint = text.split("\n\n").nth(1).unwrap();
            checkpoint.lines().next().unwrap().to_owned()
        };
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(start)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let boots: BTreeSet<_> = origins.iter().map(|origin| origin.rsplit_once('/').unwrap().0).collect();
    assert_eq!(boots.len(), 1, "{origins:?}");
    assert_eq!(origins.iter().collect::<BTreeSet<_>>().len(), WORKERS, "{origins:?}");
}
