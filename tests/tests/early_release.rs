//! A body above what is held for an agent that is only watched goes on before its end. If the rest is not what was signed, the
//! upstream must never see an end of it, and the evidence must say so.

#![cfg(test)]

use exeat_cli::sign::{SignOptions, UnsignedRequest, sign_request};
use exeat_e2e::scenario::gateway::KEYID;
use exeat_e2e::scenario::plain::HOST;
use exeat_e2e::scenario::real::RealEnvoy;
use exeat_e2e::scenario::subject::Subject;
use exeat_e2e::stage::client::{Connection, Http2, Request};
use exeat_e2e::stage::upstream::{Progress, Recorded};
use exeat_engine::context::sign::ContextFields;
use exeat_engine::context::{DataClass, Provenance};
use serde_json::Value;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
const LENGTH: usize = 3 << 19;
const PIECE: usize = 64 * 1024;

fn body() -> Vec<u8> {
    (b'a'..=b'z').cycle().take(LENGTH).collect()
}

/// Field lines of a PUT that is only watched, signed for this body.
fn signed(real: &RealEnvoy, body: Vec<u8>) -> Vec<(String, String)> {
    let url = format!("http://{HOST}:{}/v1/orders/7", real.upstream_port());
    let unsigned = UnsignedRequest::new("PUT", &url).unwrap().body(body);
    let context = ContextFields {
        agent: "support/observer".to_owned(),
        session: "s-2".to_owned(),
        tenant: Some("acme".to_owned()),
        data_class: Some(DataClass::Internal),
        provenance: vec![Provenance::User],
        ..ContextFields::default()
    };
    let options = SignOptions::new(KEYID, i64::try_from(real.now()).unwrap());
    sign_request(&unsigned, &context, &real.gateway().signer, &options).unwrap().fields
}

fn request(real: &RealEnvoy, fields: &[(String, String)]) -> Request {
    let request = Request::new("PUT", "/v1/orders/7").header("host", format!("{HOST}:{}", real.upstream_port()));
    fields.iter().fold(request, |request, (name, value)| request.header(name, value))
}

/// The request at the upstream, once it has come to an end.
fn arrived(real: &RealEnvoy) -> Recorded {
    let [request] = real.upstream.wait_for(1, LIMIT).unwrap().try_into().unwrap();
    real.upstream.take();
    request
}

/// The one decision and its completion.
fn evidence(real: &RealEnvoy) -> (Value, Value) {
    let of = |records: &[Value], kind: &str| {
        records.iter().filter(|record| record["kind"] == kind).cloned().collect::<Vec<_>>()
    };
    let records = real.wait_for_records("a completion", |records| of(records, "completion").len() == 1).unwrap();
    let [decision] = of(&records, "decision").try_into().unwrap();
    let [completion] = of(&records, "completion").try_into().unwrap();
    assert_eq!(decision["id"], completion["decision"]);
    (decision, completion)
}

/// The upstream saw the head and at most so many bytes, never the end; the evidence says what went on.
fn was_cut(real: &RealEnvoy, what: &str, most: usize) {
    let request = arrived(real);
    assert_eq!(request.progress, Progress::Aborted, "{what}: {} bytes", request.body_length);
    assert!(request.trailers.is_empty(), "{what}");
    assert!((request.body_length as usize) <= most, "{what}: {} bytes", request.body_length);
    let (decision, completion) = evidence(real);
    for (member, expected) in
        [("outcome", "would-deny"), ("reason", "method-denied"), ("released", "head"), ("mode", "monitor")]
    {
        assert_eq!(decision[member], expected, "{what}: {decision}");
    }
    assert_eq!(completion["ending"], "reset", "{what}: {completion}");
    assert!(completion["forwarded_bytes"].as_u64() >= Some(request.body_length), "{what}: {completion}");
    assert_eq!(real.upstream.count(), 1, "{what}");
    assert!(real.verify_settled(LIMIT).unwrap().starts_with("ok: "), "{what}");
}

/// Sends another body than was signed, its end only when the upstream has the head.
fn another_body(what: &str, framing: Framing, change: impl Fn(&mut Vec<u8>)) {
    let real = RealEnvoy::start("bad-input", 1).unwrap();
    let fields = signed(&real, body());
    let mut sent = body();
    change(&mut sent);
    let request = request(&real, &fields);
    let framed = match framing {
        Framing::Length => request.body(&sent),
        Framing::Chunks => request.chunks(&sent.chunks(PIECE).collect::<Vec<_>>(), &[]),
    };
    let framed = framed.bytes();
    let (start, end) = framed.split_at(framed.len() - PIECE);
    let mut connection = Connection::open(real.listener).unwrap().with_limit(LIMIT);
    connection.write(start).unwrap();
    it_arrives(&real);
    // The gateway may cut while it is being sent.
    let _ = connection.write(end);
    let answer = connection.read_response("PUT");
    assert!(answer.as_ref().map_or(true, |answer| answer.status >= 400), "{what}: {answer:?}");
    // Where the length is announced the last byte is the end; without it the end is a sign of its own.
    let most = match framing {
        Framing::Length => sent.len() - 1,
        Framing::Chunks => sent.len(),
    };
    was_cut(&real, what, most);
}

#[derive(Clone, Copy)]
enum Framing {
    Length,
    Chunks,
}

/// The head is let go at some point; how much of the body with it depends on the pieces in which Envoy hands it over.
fn it_arrives(real: &RealEnvoy) {
    real.upstream.wait_until("the head", LIMIT, |requests| !requests.is_empty()).unwrap();
}

#[test]
fn another_last_byte() {
    another_body("another last byte", Framing::Chunks, |body| *body.last_mut().unwrap() ^= 1);
}

/// The upstream knows the end by the length: not one byte too many may go.
#[test]
fn another_last_byte_of_an_announced_length() {
    another_body("another last byte, announced", Framing::Length, |body| *body.last_mut().unwrap() ^= 1);
}

#[test]
fn a_byte_less() {
    another_body("a byte less", Framing::Chunks, |body| body.truncate(LENGTH - 1));
}

#[test]
fn a_byte_less_announced() {
    another_body("a byte less, announced", Framing::Length, |body| body.truncate(LENGTH - 1));
}

#[test]
fn a_byte_more() {
    another_body("a byte more", Framing::Chunks, |body| body.push(b'x'));
}

#[test]
fn another_byte_in_what_was_held() {
    another_body("another first byte", Framing::Length, |body| body[0] ^= 1);
}

#[test]
fn trailers() {
    let real = RealEnvoy::start("bad-input", 1).unwrap();
    let uri = format!("http://{HOST}:{}/v1/orders/7", real.upstream_port());
    let request = http::Request::builder().method("PUT").uri(uri);
    let fields = signed(&real, body());
    let request = fields.iter().fold(request, |request, (name, value)| request.header(name, value)).body(()).unwrap();
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-note", http::HeaderValue::from_static("data"));
    let pieces = body().chunks(PIECE).map(<[u8]>::to_vec).collect();
    // With pauses, so that a part of it arrives before the trailers come.
    let pause = Duration::from_millis(20);
    let answer =
        Http2::connect(real.listener).unwrap().with_limit(LIMIT).send_stream(request, pieces, pause, Some(trailers));
    assert!(answer.as_ref().map_or(true, |answer| answer.status >= 400), "{answer:?}");
    // The answer may be here before the upstream learns of the end. Where no part of it came in time, nothing came at all.
    let ended = |requests: &[Recorded]| requests.iter().all(|request| request.progress != Progress::Receiving);
    real.upstream.wait_until("the end", LIMIT, ended).unwrap();
    for request in real.upstream.requests() {
        assert_eq!((request.progress, request.trailers.len()), (Progress::Aborted, 0));
    }
    assert!(!real.upstream.wire_contains(b"x-note"));
    assert_eq!(evidence(&real).1["ending"], "reset");
}

#[test]
fn a_client_that_goes_away() {
    let real = RealEnvoy::start("bad-input", 1).unwrap();
    let fields = signed(&real, body());
    let mut connection = Connection::open(real.listener).unwrap();
    let head = request(&real, &fields).header("content-length", LENGTH.to_string()).head_bytes();
    connection.write(&head).unwrap();
    connection.write(&body()[..LENGTH - PIECE]).unwrap();
    it_arrives(&real);
    drop(connection);
    was_cut(&real, "a client that goes away", LENGTH);
}
