//! Names that resolve to what is closed.

use crate::agent::{
    Guards, WATCHED, WORKER, gateway, get, let_leak, records_of, refused, signed, silent_gateway, start, told,
};
use exeat_e2e::scenario::real::RealEnvoy;
use exeat_e2e::scenario::subject::Subject;
use exeat_e2e::stage::client::Connection;
use exeat_e2e::stage::dns::Answer;
use exeat_e2e::stage::silent::Silent;
use exeat_e2e::stage::upstream::{Reply, Upstream};
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

fn loopback(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

#[test]
fn no_byte_of_a_request_reaches_a_name_that_resolves_to_loopback() {
    Guards::BOTH.into_iter().for_each(no_byte_reaches_loopback);
}

fn no_byte_reaches_loopback(guards: Guards) {
    let silent = Silent::start().unwrap();
    let port = silent.address().port();
    let mut real = start(guards, port, Upstream::start().unwrap(), |_| ());
    real.dns.set("a.world.example", [loopback(1)]);
    real.dns.set("b.house.example", [loopback(1)]);
    real.dns.set("c.world.example", [IpAddr::from(Ipv6Addr::LOCALHOST)]);
    for name in ["a.world.example", "b.house.example", "c.world.example"] {
        for (method, body) in [("GET", &b""[..]), ("POST", b"the secret of the house"), ("CONNECT", b"")] {
            if method == "CONNECT" && name.contains("house") {
                continue;
            }
            let request = signed(&real, WORKER, method, &format!("{name}:{port}"), "/v1/secret?of=the-house", body);
            let reply = real.send(&request).unwrap();
            assert_eq!(told(&reply), refused(), "{method} {name}: {}", String::from_utf8_lossy(&reply.body));
            let (refusal, completion) = records_of(&real, &reply);
            assert_eq!(refusal["outcome"], "deny");
            assert_eq!(refusal["condition"], "guard: the name resolved to an address of class loopback");
            assert_eq!((&refusal["agent"], &refusal["destination"]["port"]), (&WORKER.into(), &port.into()));
            let before = decision(&real, &refusal["follows"]);
            for member in ["agent", "session", "tenant", "policy", "binding", "gateway", "environment"] {
                assert_eq!(refusal[member], before[member], "{member}");
                assert!(!refusal[member].is_null(), "{member}: {refusal}");
            }
            for member in ["id", "kind", "category", "host", "port", "method"] {
                let known = if member == "host" {
                    format!("{name}:{port}").into()
                } else {
                    before["destination"][member].clone()
                };
                assert_eq!(refusal["destination"][member], known, "{member}");
            }
            assert_eq!((&completion["ending"], &completion["forwarded_bytes"]), (&"refused".into(), &0.into()));
            assert!(completion.get("forwarded_digest").is_none());
            assert_eq!(completion["guard"], serde_json::json!({"verdict": "refused", "decision": refusal["id"]}));
        }
    }
    // In every mode: what monitor mode lets go of is judged here all the same.
    assert_eq!(get(&mut real, WATCHED, &format!("a.world.example:{port}")), refused());
    let_leak();
    assert_eq!(silent.bytes(), 0, "{:?}", silent.received());
    let verdict = real.verify_settled(std::time::Duration::from_secs(30)).unwrap();
    assert!(verdict.starts_with("ok: "), "{verdict}");
}

fn decision(real: &RealEnvoy, id: &Value) -> Value {
    let of =
        |records: &[Value]| records.iter().find(|record| record["kind"] == "decision" && record["id"] == *id).cloned();
    of(&real.wait_for_records("the decision before", |records| of(records).is_some()).unwrap()).unwrap()
}

/// The first address is open and nobody listens there; a client that then tries the next would be at the second.
#[test]
fn a_closed_address_behind_an_open_one_is_not_reached() {
    let (mut real, silent) = silent_gateway(|_| ());
    let port = silent.address().port();
    for (name, addresses) in [("a", [2, 1]), ("b", [1, 2])] {
        let name = format!("{name}.house.example");
        real.dns.set(&name, addresses.map(loopback));
        let mut statuses: Vec<u16> = (0..12).map(|_| get(&mut real, WORKER, &format!("{name}:{port}")).0).collect();
        statuses.sort_unstable();
        statuses.dedup();
        // Each address has its turn: no connection to one, the guard before the other.
        assert_eq!(statuses, [403, 503], "{name}");
    }
    let_leak();
    assert_eq!(silent.bytes(), 0, "{:?}", silent.received());
}

/// Rebinding: the name is judged anew wherever it points by then.
#[test]
fn a_name_that_moves_is_followed() {
    let mut real = gateway(|_| ());
    let port = real.upstream_port();
    let house = Upstream::bind(SocketAddr::new(loopback(2), port), Reply::echo).unwrap();
    let authority = format!("a.house.example:{port}");
    real.dns.set("a.house.example", [loopback(2)]);
    assert_eq!(get(&mut real, WORKER, &authority), (200, String::new()));
    assert_eq!(house.take().len(), 1);
    real.dns.set("a.house.example", [loopback(1)]);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while get(&mut real, WORKER, &authority) != refused() {
        assert!(std::time::Instant::now() < end, "the name still leads to where it did");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert_eq!(real.upstream.take().len(), 0);
    real.dns.set("a.house.example", Answer::NoSuchName);
    real.dns.set("b.house.example", [loopback(2)]);
    house.take();
    assert_eq!(get(&mut real, WORKER, &format!("b.house.example:{port}")), (200, String::new()));
    assert_eq!(house.take().len(), 1, "an allowed private range of an internal destination passes");
    let passed = serde_json::json!({"verdict": "passed", "address": format!("127.0.0.2:{port}"), "class": "loopback"});
    real.wait_for_records("both passes", |records| {
        records.iter().filter(|record| record["kind"] == "completion" && record["guard"] == passed).count() >= 2
    })
    .unwrap();
}

#[test]
fn a_literal_that_the_policy_names_is_dialled_as_it_is_written() {
    let mut real = gateway(|_| ());
    let port = real.upstream_port();
    assert_eq!(get(&mut real, WORKER, &format!("127.0.0.1:{port}")), (200, String::new()));
    assert_eq!(real.upstream.take().len(), 1);
    assert_eq!(get(&mut real, WORKER, &format!("127.0.0.2:{port}")).1, "destination-forbidden");
}

#[test]
fn a_connection_is_kept_and_each_request_on_it_is_judged() {
    let mut real = gateway(|_| ());
    let port = real.upstream_port();
    let authority = format!("127.0.0.1:{port}");
    let mut connection = Connection::open(real.listener).unwrap();
    for _ in 0..5 {
        let request = exeat_e2e::scenario::real::framed(&signed(&real, WORKER, "GET", &authority, "/a", b""));
        assert_eq!(connection.send(&request).unwrap().status, 200);
    }
    assert_eq!((real.arrived().unwrap().len(), real.upstream.connections()), (5, 1));
}
