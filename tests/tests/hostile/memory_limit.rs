//! The memory that agents can make the real Envoy hold, under the limit of the rendered configuration.

use crate::agent::{WORKER, get, post};
use exeat_e2e::scenario::gateway::Gateway;
use exeat_e2e::scenario::real::{RealEnvoy, framed};
use exeat_e2e::scenario::subject::Subject;
use exeat_e2e::stage::client::Connection;
use exeat_e2e::stage::upstream::Upstream;
use std::time::Duration;

/// What each of the connections lets the gateway hold: nearly the whole of the largest body that is allowed.
const HELD: usize = 5 * 1024 * 1024;
/// Together some four times what Envoy may take.
const CONNECTIONS: usize = 100;
/// What Envoy may take.
const LIMIT: u64 = 128 << 20;

fn start() -> RealEnvoy {
    let upstream = Upstream::start().unwrap();
    let sizes = [("limits: {body: 1MiB}", "limits: {body: 10MiB}"), ("          body: 64KiB", "          body: 5MiB")];
    let gateway = Gateway::prepare_with("main", upstream.address().port(), &sizes).unwrap();
    RealEnvoy::start_rendered(gateway, upstream, 1, &["--max-heap", "128MiB"]).unwrap()
}

#[test]
fn what_agents_make_envoy_hold_is_bounded() {
    let mut envoy = start();
    // Envoy resolves a name at its first request, and has no patience for more than its buffer meanwhile.
    let small = |envoy: &RealEnvoy| {
        let request = framed(&get(envoy, WORKER, "/v1/orders/1"));
        Connection::open(envoy.listener).unwrap().send(&request).unwrap()
    };
    assert_eq!(small(&envoy).status, 200);
    let body = vec![b'x'; HELD];
    let mut held: Vec<Connection> = Vec::new();
    let mut peak = 0;
    for _ in 0..CONNECTIONS {
        let whole = framed(&post(&envoy, WORKER, "/v1/search", &body)).bytes();
        let mut connection = Connection::open(envoy.listener).unwrap().with_limit(Duration::from_secs(2));
        // All but the last byte, so that no verdict ends the wait. Once there is no more memory, Envoy answers and closes amid it.
        let _ = connection.write(&whole[..whole.len() - 1]);
        held.push(connection);
        peak = peak.max(envoy.envoy.stats().unwrap().value("server.memory_allocated"));
    }
    let stats = envoy.envoy.stats().unwrap();
    let refused = stats.value("http.egress.downstream_rq_overload_close");
    eprintln!("of {CONNECTIONS} bodies {refused} refused; at most {} MiB in use", peak >> 20);
    // It is looked at four times a second: a few more may come meanwhile.
    assert!(refused >= CONNECTIONS as u64 / 2, "{refused}");
    assert!(peak < 2 * LIMIT, "{peak}");
    let answer = small(&envoy);
    assert_eq!((answer.status, answer.text().as_str()), (503, "envoy overloaded"));

    // None of it went anywhere, and what is free again serves others.
    drop(held);
    let passes = || (small(&envoy).status == 200).then_some(());
    envoy.envoy.process().wait_until("a request that passes", Duration::from_secs(60), passes).unwrap();
    let arrived = envoy.arrived().unwrap();
    assert!(arrived.iter().all(|request| request.path == "/v1/orders/1"), "{arrived:#?}");
    envoy.verify_settled(Duration::from_secs(60)).unwrap();
}
