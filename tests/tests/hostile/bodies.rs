//! Bodies on the real Envoy: what arrives is what was judged, in whatever frames it came.

use crate::agent::{WATCHED, WORKER, get, http2, post};
use exeat_e2e::scenario::gateway::Gateway;
use exeat_e2e::scenario::real::{RealEnvoy, framed};
use exeat_e2e::scenario::subject::Subject;
use exeat_e2e::stage::client::{Connection, Http2};
use exeat_e2e::stage::upstream::{Progress, Recorded, Upstream};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(20);

fn bytes(length: usize) -> Vec<u8> {
    (0..=250_u8).cycle().take(length).collect()
}

fn hex(body: &[u8]) -> String {
    Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn base64(body: &[u8]) -> String {
    use base64::Engine as _;
    format!("sha256:{}", base64::engine::general_purpose::STANDARD.encode(Sha256::digest(body)))
}

fn only(mut requests: Vec<Recorded>) -> Recorded {
    assert_eq!(requests.len(), 1, "{requests:#?}");
    requests.remove(0)
}

/// The largest body that is allowed, and so held whole.
const LARGEST: usize = 5 * 1024 * 1024;

/// With sizes above what is held of a monitored request.
fn start() -> RealEnvoy {
    let upstream = Upstream::start().unwrap();
    let sizes = [("limits: {body: 1MiB}", "limits: {body: 10MiB}"), ("          body: 64KiB", "          body: 5MiB")];
    let gateway = Gateway::prepare_with("main", upstream.address().port(), &sizes).unwrap();
    let mut envoy = RealEnvoy::start_with(gateway, upstream, 1).unwrap();
    // Envoy resolves a name at its first request, and has no patience for more than its buffer meanwhile.
    let first = get(&envoy, WORKER, "/v1/orders/1");
    assert_eq!(envoy.send(&first).unwrap().status, 200);
    assert_eq!(envoy.arrived().unwrap().len(), 1);
    envoy
}

/// The completion of the one request with a body.
fn completion(envoy: &RealEnvoy) -> Value {
    let is = |record: &Value| record["kind"] == "completion" && record["received_bytes"] != 0;
    let records = envoy.wait_for_records("a completion", |records| records.iter().any(is)).unwrap();
    records.into_iter().rfind(is).unwrap()
}

#[test]
fn a_body_arrives_as_it_was_judged_in_whatever_frames_it_came() {
    let mut envoy = start();
    let http = Http2::connect(envoy.listener).unwrap().with_limit(LIMIT);
    // Held whole by the rule, and released early in monitor mode.
    let cases = [
        (WORKER, "/v1/search", 64 * 1024, 1_000),
        (WORKER, "/v1/search", LARGEST, 16_384),
        (WORKER, "/v1/search", LARGEST, LARGEST),
        (WATCHED, "/v1/orders/7", 3 * 1024 * 1024 + 17, 16_384),
        (WATCHED, "/v1/orders/7", 3 * 1024 * 1024 + 17, usize::MAX),
    ];
    for (agent, path, length, frame) in cases {
        let body = bytes(length);
        let mut request = post(&envoy, agent, path, &body);
        request.chunked = Some(frame);
        assert_eq!(envoy.send(&request).unwrap().status, 200);
        let got = only(envoy.upstream.take());
        assert_eq!((got.body_length, got.body_sha256), (length as u64, hex(&body)), "HTTP/1.1 {frame}");

        let request = post(&envoy, agent, path, &body);
        let chunks = body.chunks(frame).map(<[u8]>::to_vec).collect();
        let reply = http.send_stream(http2(&request), chunks, Duration::ZERO, None).unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
        let got = only(envoy.upstream.take());
        assert_eq!((got.body_length, got.body_sha256), (length as u64, hex(&body)), "HTTP/2 {frame}");
    }
}

#[test]
fn a_body_that_is_too_large_is_answered_by_the_filter_and_not_by_the_host() {
    let mut envoy = start();
    for (length, frame) in [(LARGEST + 1, 16_384), (LARGEST + 1, LARGEST + 1), (3 * LARGEST, 3 * LARGEST)] {
        let mut request = post(&envoy, WORKER, "/v1/search", &bytes(length));
        request.chunked = Some(frame);
        let reply = envoy.send(&request).unwrap();
        assert_eq!((reply.status, &reply.json()["reason"]), (413, &"payload-too-large".into()), "{length} {frame}");
    }
    assert_eq!(envoy.arrived().unwrap().len(), 0);
}

#[test]
fn a_body_that_was_released_early_is_cut_where_it_is_not_what_was_signed() {
    let body = bytes(3 * 1024 * 1024);
    for chunked in [None, Some(64 * 1024)] {
        let envoy = start();
        let mut request = post(&envoy, WATCHED, "/v1/orders/7", &body);
        *request.body.last_mut().unwrap() ^= 1;
        request.chunked = chunked;
        let mut connection = Connection::open(envoy.listener).unwrap();
        let wire = framed(&request).bytes();
        let (first, last) = wire.split_at(wire.len() - 512 * 1024);
        connection.write(first).unwrap();
        let began = |requests: &[Recorded]| requests.iter().any(|request| request.body_length > 1024 * 1024);
        envoy.upstream.wait_until("the first part", LIMIT, began).unwrap();
        // The stream is reset: the peer may be gone before all is written.
        let _ = connection.write(last);
        let got = envoy.upstream.wait_for(1, LIMIT).unwrap();
        assert_eq!(got[0].progress, Progress::Aborted, "{chunked:?}");
        let completion = completion(&envoy);
        assert_eq!(completion["ending"], "reset");
        assert_eq!(completion["received_bytes"], body.len());
        let forwarded = usize::try_from(completion["forwarded_bytes"].as_u64().unwrap()).unwrap();
        assert!(got[0].body_length <= forwarded as u64);
        // Where the upstream was told the length, the last byte must not reach it; else the end does not.
        assert!(forwarded < body.len() || chunked.is_some());
        assert_eq!(completion["forwarded_digest"], base64(&request.body[..forwarded]));
    }
}

#[test]
fn trailers_end_nothing_well() {
    let mut envoy = start();
    let http = Http2::connect(envoy.listener).unwrap().with_limit(LIMIT);
    let trailers =
        || Some(http::HeaderMap::from_iter([(http::HeaderName::from_static("x-late"), "1".parse().unwrap())]));
    let request = post(&envoy, WORKER, "/v1/search", b"hello");
    let reply = http.send_stream(http2(&request), vec![b"hello".to_vec()], Duration::ZERO, trailers()).unwrap();
    assert_eq!(reply.status, 403);
    assert_eq!(reply.json().unwrap()["reason"], "request-malformed");
    assert_eq!(envoy.arrived().unwrap().len(), 0);
    let body = bytes(2 * 1024 * 1024);
    let request = post(&envoy, WATCHED, "/v1/orders/7", &body);
    let chunks = body.chunks(16_384).map(<[u8]>::to_vec).collect();
    let _ = http.send_stream(http2(&request), chunks, Duration::ZERO, trailers());
    let got = only(envoy.upstream.wait_for(1, LIMIT).unwrap());
    assert_eq!((got.progress, got.trailers.len()), (Progress::Aborted, 0));
}

#[test]
fn a_client_that_goes_is_recorded_as_far_as_it_came() {
    let mut envoy = start();
    let body = bytes(3 * 1024 * 1024);
    let request = post(&envoy, WATCHED, "/v1/orders/7", &body);
    let mut connection = Connection::open(envoy.listener).unwrap();
    connection.write(&framed(&request).head_bytes()).unwrap();
    connection.write(&body[..2 * 1024 * 1024]).unwrap();
    let began = |requests: &[Recorded]| requests.iter().any(|request| request.body_length == 2 * 1024 * 1024);
    envoy.upstream.wait_until("the part that was sent", LIMIT, began).unwrap();
    drop(connection);
    let completion = completion(&envoy);
    assert_eq!((&completion["ending"], &completion["forwarded_bytes"]), (&"reset".into(), &(2 * 1024 * 1024).into()));
    assert_eq!(completion["forwarded_digest"], base64(&body[..2 * 1024 * 1024]));
    // Envoy takes it, and the next one, as if nothing had been.
    let _ = envoy.arrived();
    let request = post(&envoy, WORKER, "/v1/search", b"hello");
    assert_eq!(envoy.send(&request).unwrap().status, 200);
}
