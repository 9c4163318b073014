//! The requests of RFC 9421 (appendices B.2.6 and B.4) at the whole filter, whose policy knows the RFC's own key.
//!
//! The RFC's signatures say nothing of an agent, so they pass nowhere. Signed for Exeat besides, by the same key, each
//! request passes with the RFC's signature beside it, and then meets the RFC's transformations on its way.

use exeat_cli::key::PrivateKey;
use exeat_cli::sign::{SignOptions, UnsignedRequest, sign_request};
use exeat_e2e::scenario::harness::Harness;
use exeat_e2e::scenario::plain;
use exeat_e2e::scenario::real::RealEnvoy;
use exeat_e2e::scenario::subject::Subject;
use exeat_e2e::scenario::wire::{FieldLine, WireRequest};
use exeat_engine::context::sign::{ContextFields, content_digest};
use exeat_engine::context::signature::Component;
use serde_json::Value;

const VECTORS: &str = include_str!("../../vectors/rfc9421_ed25519.json");
const KEYID: &str = "test-key-ed25519";

/// A request of the RFC, with the signature that it gives.
fn unsigned(case: &Value) -> UnsignedRequest {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let fields = case["headers"].as_array().unwrap().iter();
    let fields = fields.map(|pair| (text(&pair[0]).to_lowercase(), text(&pair[1]))).collect::<Vec<_>>();
    let authority = fields.iter().find(|(name, _)| name == "host").map(|(_, value)| value.clone()).unwrap();
    let framing = |name: &str| name == "host" || name == "content-length";
    let url = format!("http://{authority}{}", text(&case["target"]));
    let mut request = UnsignedRequest::new(&text(&case["method"]), &url).unwrap();
    for (name, value) in fields.iter().filter(|(name, _)| !framing(name)) {
        request = request.field(name, value);
    }
    request.body(case["body"].as_str().unwrap_or_default())
}

/// The same as it goes over the wire.
fn request(case: &Value) -> WireRequest {
    WireRequest::new(&unsigned(case), &[])
}

fn case<'a>(vectors: &'a Value, name: &str) -> &'a Value {
    vectors["cases"].as_array().unwrap().iter().find(|case| case["name"] == name).unwrap()
}

/// What the RFC covered in this example.
fn covered(case: &Value) -> Vec<&str> {
    let input = case["headers"].as_array().unwrap().iter().find(|pair| pair[0] == "Signature-Input").unwrap();
    let list = input[1].as_str().unwrap().split_once('(').unwrap().1.split_once(')').unwrap().0;
    list.split(' ').map(|name| name.trim_matches('"')).collect()
}

fn is_signature(name: &[u8]) -> bool {
    name == b"signature" || name == b"signature-input"
}

/// Lines that sign a request of the RFC for Exeat with the RFC's key: what the RFC covered, and what Exeat demands.
fn sign(subject: &dyn Subject, vectors: &Value, case: &Value) -> Vec<FieldLine> {
    let mut unsigned = unsigned(case);
    unsigned.fields.retain(|(name, _)| !is_signature(name.as_bytes()));
    if let Some(length) = unsigned.body.as_ref().map(Vec::len).filter(|length| *length > 0) {
        unsigned = unsigned.field("content-length", &length.to_string());
    }
    let context = ContextFields { tenant: Some("acme".to_owned()), ..plain::context() };
    let mut options = SignOptions::new(KEYID, i64::try_from(subject.now()).unwrap());
    options.cover = covered(case).iter().map(|name| Component::parse(name).unwrap()).collect();
    let seed = vectors["private_key"]["d"].as_str().unwrap();
    let key = PrivateKey::parse(seed).unwrap();
    let signed = sign_request(&unsigned, &context, &key, &options).unwrap();
    signed.fields.into_iter().map(|(name, value)| (name.into_bytes(), value.into_bytes())).collect()
}

/// Sends it; outcome and reason as the record has them. Whether it reached an upstream is known only on the harness: the
/// RFC's hosts have no port to which the test could bring an upstream.
fn verdict(subject: &mut dyn Subject, request: &WireRequest) -> (String, String) {
    let reply = subject.send(request).unwrap();
    let decision = reply.header("exeat-decision").unwrap_or_else(|| panic!("no decision in {reply:?}")).to_owned();
    let records = subject.records(&decision).unwrap();
    let record = records.iter().find(|record| record["id"] == decision.as_str()).unwrap();
    let arrived = subject.arrived().unwrap();
    let text = |name: &str| record[name].as_str().unwrap().to_owned();
    let verdict = (text("outcome"), text("reason"));
    if verdict.0 == "deny" {
        assert_eq!(reply.json()["reason"], verdict.1.as_str());
        assert!(arrived.is_empty(), "{arrived:?}");
    } else if !subject.is_whole() {
        let upstream = arrived.first().unwrap();
        assert_eq!((&upstream.method, &upstream.path), (&request.method, &request.target));
        // Neither of the signatures goes on.
        assert!(!upstream.headers.iter().any(|(name, _)| is_signature(name.as_bytes()) || name == "agent-context"));
    }
    verdict
}

fn denied(reason: &str) -> (String, String) {
    ("deny".to_owned(), reason.to_owned())
}

fn passes() -> (String, String) {
    ("allow".to_owned(), "permitted".to_owned())
}

fn play(subject: &mut dyn Subject) {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 7);

    for case in cases {
        let name = case["name"].as_str().unwrap();
        // A valid signature of a known key, but nobody's request.
        let mut bare = request(case);
        assert_eq!(verdict(subject, &bare), denied("context-missing"), "{name}");
        // A context that it does not cover, under a tag that it does not have.
        let context =
            b"agent=\"support/summarizer\", session=\"s-1\", tenant=\"acme\", data_class=internal, provenance=(user)";
        bare.fields.push((b"agent-context".to_vec(), context.to_vec()));
        assert_eq!(verdict(subject, &bare), denied("signature-missing"), "{name}");
    }

    // Both signatures at once, the RFC's before ours and after it.
    for (name, first) in [("B.2.6 ed25519 request", true), ("B.2.6 ed25519 request", false), ("B.4 original", true)] {
        let case = case(&vectors, name);
        let lines = sign(subject, &vectors, case);
        let mut both = request(case);
        if first {
            both.fields.extend(lines);
        } else {
            both.fields = lines.into_iter().chain(both.fields).collect();
        }
        assert_eq!(verdict(subject, &both), passes(), "{name}");
        // The signature is of one request, once.
        assert_eq!(verdict(subject, &both), denied("signature-replayed"), "{name}");
    }

    // Each transformation of B.4, over a signature of the original for Exeat: what the RFC says survives does, but for an
    // added query parameter, since the query of the RFC's example is covered by nobody and Exeat demands it.
    for (name, expected) in [
        ("B.4 header and query added", denied("signature-invalid")),
        ("B.4 date removed, accept collapsed", passes()),
        ("B.4 fields reordered", passes()),
        ("B.4 method and authority changed", denied("signature-invalid")),
        ("B.4 accept order changed", denied("signature-invalid")),
    ] {
        let mut transformed = request(case(&vectors, name));
        transformed.fields.extend(sign(subject, &vectors, case(&vectors, "B.4 original")));
        assert_eq!(verdict(subject, &transformed), expected, "{name}");
    }

    // The body of B.2.6 is signed by its digest.
    let case = case(&vectors, "B.2.6 ed25519 request");
    let mut other = request(case);
    other.fields.extend(sign(subject, &vectors, case));
    other.body = br#"{"hello": "World"}"#.to_vec();
    assert_eq!(verdict(subject, &other), denied("digest-mismatch"));
    let digest = other.fields.iter_mut().find(|(name, _)| name == b"content-digest").unwrap();
    digest.1 = content_digest(&other.body).into_bytes();
    assert_eq!(verdict(subject, &other), denied("signature-invalid"));
}

#[test]
fn requests_of_the_rfc_on_the_wasmtime_harness() {
    play(&mut Harness::start("rfc9421").unwrap());
}

#[test]
fn requests_of_the_rfc_on_the_real_envoy() {
    let mut envoy = RealEnvoy::start("rfc9421", 2).unwrap();
    play(&mut envoy);
    envoy.verify().unwrap();
}
