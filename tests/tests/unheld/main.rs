//! From a policy to an enforced request on platforms that hand the filter its configuration and nothing else: heads cannot be
//! held there. And the two ways to get `hold` wrong.

#![cfg(test)]

mod platform;
mod requests;
mod room;

use exeat_e2e::scenario::gateway::Gateway;
use exeat_e2e::scenario::real::RealEnvoy;
use exeat_e2e::stage::client::{Connection, Http2};
use exeat_e2e::stage::upstream::{Progress, Recorded, Upstream};
use platform::{ALL, Platform};
use requests::{Sent, get, post, reason, send};
use serde_json::Value;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
const UNHELD: (&str, &str) = ("hold: true", "hold: false");
const HELD: (&str, &str) = ("hold: false", "hold: true");

/// Sends each request there is a rule about, and looks at what arrived and what was recorded.
fn enforced(real: &RealEnvoy) {
    for _ in 0..3 {
        assert_eq!(send(real, get(real, "/v1/orders/7")), Sent::whole(200, 0));
        assert_eq!(send(real, post(real, "/v1/search", 20_000)), Sent::whole(200, 20_000));
        assert_eq!(send(real, post(real, "/v1/search", 60_000).in_pieces(7_000)), Sent::whole(200, 60_000));
    }
    assert_eq!(send(real, get(real, "/v1/orders/7").unsigned()), Sent::refused(401, "context-missing"));
    assert_eq!(send(real, get(real, "/v1/customers")), Sent::refused(403, "path-denied"));
    assert_eq!(send(real, post(real, "/v1/search", 70_000)), Sent::refused(413, "payload-too-large"));
    assert_eq!(send(real, post(real, "/v1/checked", 10)), Sent::refused(403, "payload-unreadable"));
    // Nobody knows before the end that these must not go, and not a byte of their bodies does.
    assert_eq!(send(real, post(real, "/v1/search", 70_000).in_pieces(7_000)), Sent::cut(413, "payload-too-large"));
    assert_eq!(send(real, post(real, "/v1/search", 30_000).changed()), Sent::cut(401, "digest-mismatch"));
    let records = settled(real);
    let of = |kind: &str, member: &str, value: &str| {
        records.iter().filter(|record| record["kind"] == kind && record[member] == value).count()
    };
    assert_eq!(of("decision", "outcome", "allow"), 11, "{records:#?}");
    assert_eq!((of("decision", "released", "head+body"), of("decision", "released", "head")), (3, 8));
    assert_eq!((of("completion", "ending", "complete"), of("completion", "ending", "refused")), (9, 2));
    let follow = records.iter().filter(|record| record.get("follows").is_some()).count();
    assert_eq!(follow, 2);
}

/// Every decision that let something go is complete, and the store verifies.
fn settled(real: &RealEnvoy) -> Vec<Value> {
    let records = real.wait_for_records("every completion", |records| {
        let of = |kind: &'static str| records.iter().filter(move |record| record["kind"] == kind);
        of("completion").count() == of("decision").filter(|record| record["released"] != "none").count()
    });
    assert!(real.verify_settled(LIMIT).unwrap().starts_with("ok: "));
    records.unwrap()
}

#[test]
fn istio() {
    enforced(&Platform::Istio.start("unheld", &[], 2).real);
}

#[test]
fn envoy_gateway() {
    enforced(&Platform::EnvoyGateway.start("unheld", &[], 2).real);
}

/// Envoy counts a module that it fetches as another than the same bytes in a file, so that the filter has a VM without guards: what
/// it lets go is handed over to those of another.
#[test]
fn a_filter_that_envoy_fetches() {
    let configured = Platform::EnvoyGatewayFetching.start("unheld", &[], 2);
    assert!(configured.server.count() > 0, "the module came from somewhere else");
    enforced(&configured.real);
}

/// A head waits for its record all the same: for that the host need hand over nothing.
#[test]
fn write_ahead() {
    for platform in ALL {
        let real = platform.start("unheld", &[("delivery: async", "delivery: write-ahead")], 1).real;
        assert_eq!(send(&real, get(&real, "/v1/orders/7")), Sent::whole(200, 0));
        assert_eq!(send(&real, post(&real, "/v1/search", 20_000)), Sent::whole(200, 20_000));
        assert_eq!(send(&real, post(&real, "/v1/search", 60_000).in_pieces(7_000)), Sent::whole(200, 60_000));
        assert_eq!(
            send(&real, post(&real, "/v1/search", 70_000).in_pieces(7_000)),
            Sent::cut(413, "payload-too-large")
        );
        settled(&real);
    }
}

/// An Envoy that could hold heads, and a gateway that lets them go.
#[test]
fn a_host_that_could_hold_heads() {
    let upstream = Upstream::start().unwrap();
    let gateway = Gateway::prepare("unheld", upstream.address().port()).unwrap();
    let real = RealEnvoy::start_with(gateway, upstream, 1).unwrap();
    able(&real);
    enforced(&real);
}

/// From now on it could hold heads.
fn able(real: &RealEnvoy) {
    let mut listener: Value = serde_saphyr::from_str(&real.rendered_listener().unwrap()).unwrap();
    let config = "/resources/0/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config";
    let config = listener.pointer_mut(config).unwrap();
    assert!(config.get("allow_on_headers_stop_iteration").is_none(), "rendered where nothing is held");
    config["allow_on_headers_stop_iteration"] = true.into();
    real.envoy.update_listeners(&listener.to_string()).unwrap();
}

/// A gateway that would hold heads, on hosts that cannot: refused with a reason, in the answer, the record and the log.
#[test]
fn a_host_that_cannot_hold_heads() {
    for platform in ALL {
        let real = platform.start("unheld", &[HELD], 1).real;
        assert_eq!(send(&real, get(&real, "/v1/orders/7")), Sent::whole(200, 0));
        for request in [post(&real, "/v1/search", 20_000), post(&real, "/v1/search", 60_000).in_pieces(7_000)] {
            assert_eq!(send(&real, request), Sent::refused(503, "internal-error"));
        }
        real.envoy.wait_for_log("hands over no bodies", LIMIT).unwrap();
        let records = settled(&real);
        let why = "the host hands over no body while it holds the head";
        let starved = records.iter().filter(|record| record["condition"].as_str().is_some_and(|c| c.starts_with(why)));
        assert_eq!(starved.count(), 2);
    }
}

/// An agent that takes its time is not taken for a host that keeps bodies.
#[test]
fn a_slow_agent_is_waited_for() {
    let changes: [&[(&str, &str)]; 2] = [&[], &[HELD]];
    for changes in changes {
        let upstream = Upstream::start().unwrap();
        let gateway = Gateway::prepare_with("unheld", upstream.address().port(), changes).unwrap();
        let real = RealEnvoy::start_with(gateway, upstream, 1).unwrap();
        let framed = post(&real, "/v1/search", 20_000).framed();
        let (head, body) = framed.split_at(framed.len() - 20_000);
        let mut connection = Connection::open(real.listener).unwrap().with_limit(LIMIT);
        connection.write(head).unwrap();
        // Longer than bytes that are there may be kept.
        std::thread::sleep(Duration::from_secs(3));
        connection.write(body).unwrap();
        assert_eq!(connection.read_response("POST").unwrap().status, 200);
    }
}

/// What came of the head of a request whose body is refused: the upstream has it, no byte more, and never an end.
#[test]
fn a_cut_request_has_no_end() {
    let real = Platform::Istio.start("unheld", &[], 1).real;
    for _ in 0..5 {
        let request = post(&real, "/v1/search", 70_000).in_pieces(1_000).http2();
        let answer = Http2::connect(real.listener).unwrap().with_limit(LIMIT);
        let answer = answer.send_stream(request.head(), request.pieces(), Duration::from_millis(1), None).unwrap();
        assert_eq!((answer.status, reason(&answer.body)), (413, "payload-too-large".to_owned()));
    }
    let ended = |requests: &[Recorded]| requests.iter().all(|request| request.progress != Progress::Receiving);
    for request in real.upstream.wait_until("their ends", LIMIT, ended).unwrap() {
        assert_eq!((request.progress, request.body_length), (Progress::Aborted, 0));
    }
    settled(&real);
}

/// While the name of the host is looked up the host keeps what comes, and with the name lets go of all that it kept.
#[test]
fn not_a_byte_goes_with_a_head_that_waited_for_its_name() {
    let upstream = Upstream::start().unwrap();
    let gateway = Gateway::prepare("unheld", upstream.address().port()).unwrap();
    let real = RealEnvoy::start_with(gateway, upstream, 1).unwrap();
    // Time for the first bytes to come; with too little of it this test would show nothing.
    real.dns.set_delay(Duration::from_secs(2));
    let framed = post(&real, "/v1/search", 30_000).changed().in_pieces(1_000).framed();
    let (first, rest) = framed.split_at(framed.len() / 2);
    let mut connection = Connection::open(real.listener).unwrap().with_limit(LIMIT);
    connection.write(first).unwrap();
    real.upstream.wait_until("the head", LIMIT, |requests| !requests.is_empty()).unwrap();
    connection.write(rest).unwrap();
    let answer = connection.read_response("POST").unwrap();
    assert_eq!((answer.status, reason(&answer.body).as_str()), (401, "digest-mismatch"));
    let ended = |requests: &[Recorded]| requests.iter().all(|request| request.progress != Progress::Receiving);
    let [request] = real.upstream.wait_until("its end", LIMIT, ended).unwrap().try_into().unwrap();
    assert_eq!((request.progress, request.body_length), (Progress::Aborted, 0));
    settled(&real);
}

/// What comes while a head waits for its record, on a host that could hold it.
#[test]
fn write_ahead_on_a_host_that_could_hold_heads() {
    let upstream = Upstream::start().unwrap();
    let changes = [("delivery: async", "delivery: write-ahead")];
    let gateway = Gateway::prepare_with("unheld", upstream.address().port(), &changes).unwrap();
    let real = RealEnvoy::start_with(gateway, upstream, 1).unwrap();
    able(&real);
    for pieces in [1_000, 7_000] {
        assert_eq!(send(&real, post(&real, "/v1/search", 60_000).in_pieces(pieces)), Sent::whole(200, 60_000));
        let large = post(&real, "/v1/search", 70_000).in_pieces(pieces);
        assert_eq!(send(&real, large), Sent::cut(413, "payload-too-large"));
    }
    settled(&real);
}

/// `unheld` says it; the other documents of the tests hold.
#[test]
fn the_documents_are_as_this_file_assumes() {
    let text = |name: &str| {
        std::fs::read_to_string(exeat_e2e::workspace().join(format!("tests/policies/{name}/gateway.yaml"))).unwrap()
    };
    assert!(text("unheld").contains(HELD.0) && text("main").contains(UNHELD.0));
}
