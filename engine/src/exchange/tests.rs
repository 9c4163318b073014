//! Whole exchanges through the engine alone: signed request in, decision and records out.

mod budgets;
mod content;
mod exceptions;
mod leaks;
mod mask;
mod names;
mod session;
mod streams;
mod unheld;
mod waiting;

use super::report::sha256_text;
use super::*;
use crate::context::sign::{ContextFields, SignatureInput, content_digest, required_components};
use crate::context::{DataClass, Provenance};
use crate::evidence::key::GatewayKey;
use crate::evidence::{Capacity, GenesisRecord, Journal, ModuleReference, Origin};
use crate::facts::Timestamp;
use crate::ledger::MemoryLedger;
use ed25519_compact::{KeyPair, Seed};
use serde_json::{Value, json};

pub(super) const NOW: Timestamp = Timestamp(1_800_000_000_123);

fn signer() -> KeyPair {
    KeyPair::from_seed(Seed::new([7; 32]))
}

fn configuration() -> Arc<Configuration> {
    Arc::new(Configuration::accept(document().to_string().as_bytes()).unwrap())
}

fn document() -> Value {
    use base64::Engine as _;
    let public = base64::engine::general_purpose::STANDARD.encode(*signer().pk);
    json!({
        "role": "filter",
        "gateway": {
            "id": "egress-test", "environment": "test", "mode": "enforce", "key": {"env": "KEY"}, "hold": true,
            "collector": {"cluster": "c", "path": "/v1/evidence", "timeout": "2s"},
            "audit": {"delivery": "async", "queue": 64, "when_full": "deny"},
            "upstream": {"scheme": "https"}, "feedback": "full"
        },
        "policy": {
            "schema": "exeat/v1", "revision": "1",
            "signers": [{"id": "s", "keys": [{"id": "s-1", "public": public}], "agents": ["team/*"],
                         "users": ["u-*"], "provenance": ["user", "third-party", "unknown"]}],
            "destinations": {"crm": {"hosts": ["*.crm.example"], "kind": "internal", "category": "crm",
                                     "accepts": "restricted"}},
            "agents": {
                "team/worker": {"allow": [{"id": "read", "to": ["crm"], "methods": ["GET", "POST"],
                    "paths": ["/v1/**"], "headers": {"keep": ["x-kept"], "set": {"x-agent": "$agent"}},
                    "limits": {"body": "1KiB", "provenance": {"third-party": {"body": "10B", "url": "64B"}}}}]},
                "team/watched": {"mode": "monitor", "allow": [{"id": "read", "to": ["crm"], "paths": ["/v1/**"]}]},
                "team/reader": {"mode": "monitor", "allow": [{"id": "read", "to": ["crm"], "methods": ["POST"],
                    "paths": ["/v1/**"], "redact": ["/a"], "limits": {"body": "1100KiB"}}]}
            }
        }
    })
}

pub(super) struct World {
    configuration: Arc<Configuration>,
    ledger: MemoryLedger,
    pub(super) journal: Journal,
    requests: u8,
}

impl World {
    fn new() -> Self {
        Self::with_queue(64)
    }

    pub(super) fn with_queue(records: u64) -> Self {
        let genesis = GenesisRecord {
            origin: Origin::new("egress-test", "b", "1").unwrap(),
            time: NOW,
            start: NOW,
            environment: None,
            deployment: None,
            module: ModuleReference::default(),
            previous: None,
        };
        let capacity = Capacity { records, bytes: 1 << 20 };
        let journal = Journal::new(&genesis, GatewayKey::from_seed([1; 32]), capacity).unwrap();
        Self { configuration: configuration(), ledger: MemoryLedger::new(100), journal, requests: 0 }
    }

    pub(super) fn start(&mut self) -> Exchange {
        self.requests += 1;
        let facts =
            Facts { now: NOW, started: Timestamp(NOW.0 - 10_000), random: [self.requests; 32], ..Facts::default() };
        Exchange::new(Arc::clone(&self.configuration), facts)
    }

    /// As [`World::start`], for more requests than a byte counts.
    fn start_numbered(&self, number: u64) -> Exchange {
        let mut random = [0; 32];
        random[..8].copy_from_slice(&number.to_le_bytes());
        let facts = Facts { now: NOW, started: Timestamp(NOW.0 - 10_000), random, ..Facts::default() };
        Exchange::new(Arc::clone(&self.configuration), facts)
    }

    pub(super) fn around(&mut self) -> Surroundings<'_> {
        Surroundings { now: NOW, ledger: &mut self.ledger, journal: &mut self.journal }
    }

    /// One request from head to end, its body in pieces of so many bytes.
    fn run(&mut self, head: RequestHead, body: &[u8], piece: usize) -> Decision {
        let mut exchange = self.start();
        let mut step = exchange.head(&mut self.around(), Ok(head), body.is_empty());
        let mut pieces = body.chunks(piece.max(1)).peekable();
        while let (Step::NeedBody { .. }, Some(chunk)) = (&step, pieces.next()) {
            step = exchange.body(&mut self.around(), chunk, pieces.peek().is_none());
        }
        let Step::Decided(decision) = step else { panic!("undecided: {step:?}") };
        exchange.end(&mut self.around(), end());
        *decision
    }

    /// All records so far.
    pub(super) fn records(&mut self) -> Vec<Value> {
        let mut records = Vec::new();
        while let Some(batch) = self.journal.next_batch(NOW, 1000, 1 << 20, &[]) {
            let text = String::from_utf8(batch.bytes().to_vec()).unwrap();
            let lines = text.lines().take_while(|line| !line.is_empty());
            records.extend(lines.map(|line| serde_json::from_str::<Value>(line).unwrap()));
            let head = batch.head().clone();
            self.journal.acknowledged(&head).unwrap();
            if self.journal.is_drained() {
                break;
            }
        }
        records
    }

    fn decisions(&mut self) -> Vec<Value> {
        self.records().into_iter().filter(|record| record["kind"] == "decision").collect()
    }
}

pub(super) fn end() -> End {
    End {
        status: Some(200),
        response_bytes: 5,
        attempts: Some(1),
        upstream: None,
        sent: true,
        guard: None,
        ending: Ending::Complete,
    }
}

pub(super) fn head(method: &str, path: &str) -> RequestHead {
    RequestHead {
        method: method.to_owned().into(),
        scheme: Some("http".into()),
        authority: "eu.crm.example".into(),
        path: Some(path.to_owned().into()),
        fields: Vec::new(),
    }
}

pub(super) fn context(agent: &str, provenance: &[Provenance]) -> ContextFields {
    ContextFields {
        agent: agent.into(),
        session: "s-1".into(),
        user: Some("u-1".into()),
        reason: Some("because".into()),
        data_class: Some(DataClass::Internal),
        provenance: provenance.to_vec(),
        ..ContextFields::default()
    }
}

/// Signs as a runtime would; the nonce is what tells requests apart.
pub(super) fn sign(mut head: RequestHead, context: &ContextFields, body: &[u8], nonce: &str) -> RequestHead {
    let put = |head: &mut RequestHead, name: &str, value: String| head.fields.push((name.into(), value.into()));
    if !body.is_empty() {
        put(&mut head, "content-digest", content_digest(body));
    }
    put(&mut head, "agent-context", context.to_field().unwrap());
    let components = required_components(&head, !body.is_empty());
    let input = SignatureInput::new(components, "s-1", NOW.seconds() as i64, nonce);
    let signature = signer().sk.sign(input.base(&head).unwrap(), None);
    for (name, value) in input.lines(&*signature).unwrap() {
        put(&mut head, name, value);
    }
    head
}

fn user_request(method: &str, path: &str, body: &[u8], nonce: &str) -> RequestHead {
    sign(head(method, path), &context("team/worker", &[Provenance::User]), body, nonce)
}

fn forwarded(decision: &Decision) -> std::collections::BTreeMap<String, String> {
    let Verdict::Forward(map) = &decision.verdict else { panic!("not forwarded: {decision:?}") };
    map.iter().map(|(n, v)| (n.to_string(), String::from_utf8(v.to_vec()).unwrap())).collect()
}

fn problem(decision: &Decision) -> Value {
    let Verdict::Refuse(answer) = &decision.verdict else { panic!("not refused: {decision:?}") };
    serde_json::from_slice(&answer.body).unwrap()
}

#[test]
fn an_allowed_request_goes_on_with_listed_headers_only_and_is_recorded_twice() {
    let mut world = World::new();
    let mut request = user_request("GET", "/v1/orders?id=7", b"", "n1");
    for (name, value) in [("x-kept", "1"), ("cookie", "c"), ("x-agent", "forged"), ("x-forwarded-proto", "gopher")] {
        request.fields.push((name.into(), value.into()));
    }
    let decision = world.run(request, b"", 1);
    assert_eq!((decision.outcome, decision.reason), (Outcome::Allow, Reason::Permitted));
    let map = forwarded(&decision);
    let expected = [
        (":authority", "eu.crm.example"),
        (":method", "GET"),
        (":path", "/v1/orders?id=7"),
        (":scheme", "https"),
        ("user-agent", crate::decision::headers::USER_AGENT),
        ("x-agent", "team/worker"),
        ("x-forwarded-proto", "https"),
        ("x-kept", "1"),
    ];
    assert_eq!(map.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect::<Vec<_>>(), expected);
    let records = world.records();
    let kinds: Vec<_> = records.iter().map(|r| r["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["genesis", "decision", "completion"]);
    let record = &records[1];
    assert_eq!(record["id"], decision.id.as_str());
    assert_eq!(record["destination"]["port"], 443);
    assert_eq!(record["destination"]["id"], "crm");
    assert_eq!(record["rule"], "team/worker/read");
    assert_eq!(record["agent"], "team/worker");
    for personal in ["user", "stated_reason"] {
        assert!(record[personal].as_str().unwrap().starts_with("sha256:"), "{personal}");
    }
    assert!(!record.to_string().contains("id=7"), "the query is hashed");
    assert_eq!(records[2]["decision"], decision.id.as_str());
}

#[test]
fn a_body_is_judged_by_what_was_received_whatever_the_pieces() {
    for piece in [1, 3, 1000] {
        let mut world = World::new();
        let body = b"0123456789abcdef";
        let decision = world.run(user_request("POST", "/v1/x", body, "n"), body, piece);
        assert_eq!(decision.outcome, Outcome::Allow, "pieces of {piece}");
        let records = world.records();
        assert_eq!(records[1]["payload"]["bytes"], 16);
        assert_eq!(records[2]["forwarded_bytes"], 16);
        assert_eq!(records[1]["payload"]["digest"], records[2]["received_digest"]);
    }
}

#[test]
fn refusals_give_their_reason_and_release_nothing() {
    let third =
        |body: &[u8]| sign(head("POST", "/v1/x"), &context("team/worker", &[Provenance::ThirdParty]), body, "n");
    let big = vec![b'x'; 1025];
    let mut unknown_method = user_request("GET", "/v1/x", b"", "n");
    unknown_method.method = "SECRETDATA_1".into();
    let mut later = user_request("POST", "/v1/x", b"body", "n");
    later.fields.push(("content-length".into(), "5".into()));
    let cases: Vec<(&str, RequestHead, Vec<u8>, Reason)> = vec![
        ("unsigned", head("GET", "/v1/x"), vec![], Reason::ContextMissing),
        ("other path", user_request("GET", "/v2/x", b"", "n"), vec![], Reason::PathDenied),
        ("other method", user_request("PUT", "/v1/x", b"", "n"), vec![], Reason::MethodDenied),
        (
            "unknown agent",
            sign(head("GET", "/v1/x"), &context("team/nobody", &[Provenance::User]), b"", "n"),
            vec![],
            Reason::AgentUnknown,
        ),
        (
            "not granted",
            sign(head("GET", "/v1/x"), &context("other/worker", &[Provenance::User]), b"", "n"),
            vec![],
            Reason::GrantDenied,
        ),
        ("too large", user_request("POST", "/v1/x", &big, "n"), big.clone(), Reason::PayloadTooLarge),
        ("too large for its source", third(b"0123456789a"), b"0123456789a".to_vec(), Reason::PayloadProvenance),
        ("another body", user_request("POST", "/v1/x", b"signed", "n"), b"sent!!".to_vec(), Reason::DigestMismatch),
        (
            "a body that was not signed",
            user_request("POST", "/v1/x", b"", "n"),
            b"sent".to_vec(),
            Reason::SignatureIncomplete,
        ),
        ("a body cut off", user_request("POST", "/v1/x", b"signed", "n"), vec![], Reason::DigestMismatch),
        ("a length that lies", later, b"body".to_vec(), Reason::RequestMalformed),
        ("a path read two ways", user_request("GET", "/v1/%2e%2e/x", b"", "n"), vec![], Reason::DestinationMalformed),
    ];
    for (name, request, body, reason) in cases {
        let mut world = World::new();
        let decision = world.run(request, &body, 7);
        assert_eq!((decision.outcome, decision.reason), (Outcome::Deny, reason), "{name}");
        assert_eq!(problem(&decision)["reason"], reason.code(), "{name}");
        let records = world.records();
        assert_eq!(records.len(), 2, "{name}: genesis and decision, no completion");
        assert_eq!((&records[1]["reason"], &records[1]["released"]), (&json!(reason.code()), &json!("none")), "{name}");
    }
    let mut world = World::new();
    // The signature covers the method, so the odd one is refused before it is read; signed, it is malformed.
    assert_eq!(world.run(unknown_method, b"", 1).reason, Reason::SignatureInvalid);
    let odd = user_request("SECRETDATA_1", "/v1/x", b"", "m");
    assert_eq!(world.run(odd, b"", 1).reason, Reason::RequestMalformed);
}

#[test]
fn a_nonce_is_burnt_whatever_the_policy_says() {
    let mut world = World::new();
    let request = user_request("GET", "/v2/denied", b"", "n");
    assert_eq!(world.run(request.clone(), b"", 1).reason, Reason::PathDenied);
    assert_eq!(world.run(request, b"", 1).reason, Reason::SignatureReplayed);
}

#[test]
fn an_unverified_request_is_told_and_recorded_no_more_than_the_reason() {
    let mut world = World::new();
    let mut request = user_request("GET", "/v1/x", b"", "n");
    request.path = Some("/v1/changed?token=hunter2".into());
    let decision = world.run(request, b"", 1);
    assert_eq!(decision.reason, Reason::SignatureIncomplete, "the query is not covered");
    let told = problem(&decision);
    assert!(told.get("rule").is_none() && told.get("condition").is_none());
    let record = world.decisions().remove(0);
    for claimed in ["agent", "session", "user", "signer", "binding"] {
        assert!(record.get(claimed).is_none_or(Value::is_null), "{claimed}");
    }
    assert!(!record.to_string().contains("hunter2"));
}

#[test]
fn verified_refusals_name_rule_and_condition_under_full_feedback() {
    let mut world = World::new();
    let told = problem(&world.run(user_request("PUT", "/v1/x", b"", "n"), b"", 1));
    assert_eq!(told["rule"], "team/worker/read");
    assert!(told["condition"].is_string());
}

#[test]
fn trailers_are_refused() {
    let mut world = World::new();
    let mut exchange = world.start();
    let request = user_request("POST", "/v1/x", b"body", "n");
    assert!(matches!(exchange.head(&mut world.around(), Ok(request), false), Step::NeedBody { up_to: 1024 }));
    assert!(matches!(exchange.body(&mut world.around(), b"body", false), Step::NeedBody { .. }));
    let Step::Decided(decision) = exchange.trailers(&mut world.around()) else { panic!() };
    assert_eq!(decision.reason, Reason::RequestMalformed);
}

#[test]
fn a_body_is_refused_before_it_is_read_when_its_length_is_announced() {
    let mut world = World::new();
    let mut request = user_request("POST", "/v1/x", b"body", "n");
    request.fields.push(("content-length".into(), "2000".into()));
    let mut exchange = world.start();
    let Step::Decided(decision) = exchange.head(&mut world.around(), Ok(request), false) else { panic!() };
    assert_eq!(decision.reason, Reason::PayloadTooLarge);
}

#[test]
fn monitor_mode_lets_go_what_it_would_refuse_with_its_own_headers_less_the_reserved() {
    let mut world = World::new();
    let mut request = head("POST", "/v9/x");
    request.fields = vec![("cookie".into(), "c".into()), ("x-envoy-retry-on".into(), "5xx".into())];
    let request = sign(request, &context("team/watched", &[Provenance::User]), b"body", "n");
    let decision = world.run(request, b"body", 2);
    assert_eq!(decision.outcome, Outcome::WouldDeny);
    let map = forwarded(&decision);
    assert_eq!(map.get("cookie").map(String::as_str), Some("c"));
    for reserved in ["x-envoy-retry-on", "agent-context", "signature", "signature-input"] {
        assert!(!map.contains_key(reserved), "{reserved}");
    }
    let records = world.records();
    assert_eq!((&records[1]["outcome"], &records[1]["mode"]), (&json!("would-deny"), &json!("monitor")));
    assert_eq!(records[2]["kind"], "completion");
}

#[test]
fn monitor_mode_still_refuses_what_is_not_what_was_signed() {
    let mut world = World::new();
    let watched = context("team/watched", &[Provenance::User]);
    let decision = world.run(sign(head("POST", "/v9/x"), &watched, b"signed", "n"), b"other!", 2);
    assert_eq!((decision.outcome, decision.reason), (Outcome::Deny, Reason::DigestMismatch));
    let local = RequestHead { authority: "127.0.0.1".into(), ..head("GET", "/v1/x") };
    let decision = world.run(sign(local, &watched, b"", "m"), b"", 1);
    assert_eq!((decision.outcome, decision.reason), (Outcome::Deny, Reason::DestinationForbidden));
}

#[test]
fn monitor_mode_streams_what_is_too_large_to_hold_and_cuts_it_when_it_is_not_what_was_signed() {
    for honest in [true, false] {
        let mut world = World::new();
        let body = vec![b'x'; 3 * 1024 * 1024];
        let request = sign(head("POST", "/v1/x"), &context("team/watched", &[Provenance::User]), &body, "n");
        let mut exchange = world.start();
        let mut step = exchange.head(&mut world.around(), Ok(request), false);
        let pieces: Vec<_> = body.chunks(512 * 1024).collect();
        let (mut decided, mut passed) = (false, 0);
        for (at, piece) in pieces.iter().enumerate() {
            let last = at + 1 == pieces.len();
            let mut piece = piece.to_vec();
            if last && !honest {
                piece[0] = b'y';
            }
            step = exchange.body(&mut world.around(), &piece, last);
            match &step {
                Step::Decided(decision) => {
                    assert_eq!((decision.outcome, decided), (Outcome::WouldDeny, false));
                    decided = true;
                }
                Step::Pass => passed += 1,
                _ => {}
            }
        }
        assert!(decided && passed > 0);
        assert!(matches!((&step, honest), (Step::Pass, true) | (Step::Abort, false)), "{step:?}");
        exchange.end(&mut world.around(), end());
        let records = world.records();
        assert_eq!(records[1]["released"], "head");
        assert_eq!(records[2]["ending"], if honest { "complete" } else { "reset" });
        // The piece that gave it away was not passed on.
        let left = body.len() - if honest { 0 } else { pieces[pieces.len() - 1].len() };
        assert_eq!(records[2]["received_bytes"], body.len());
        assert_eq!(records[2]["forwarded_bytes"], left);
        let digest = sha256_text(BodyDigest::of(&body[..left], None).sha256());
        assert_eq!(records[2]["forwarded_digest"], digest.as_str());
    }
}

#[test]
fn a_body_whose_length_is_known_is_checked_before_its_last_byte_goes_on() {
    // HTTP/1 shows the end of a body in an empty piece after it. By then an upstream that was told the length has a whole
    // request in hand.
    for (honest, piece) in [(true, 64 * 1024), (false, 64 * 1024), (false, 2 * 1024 * 1024)] {
        let mut world = World::new();
        let body = vec![b'x'; 2 * 1024 * 1024];
        let mut request = head("POST", "/v1/x");
        request.fields.push(("content-length".into(), body.len().to_string().into()));
        let request = sign(request, &context("team/watched", &[Provenance::User]), &body, "n");
        let mut sent = body.clone();
        *sent.last_mut().unwrap() ^= u8::from(!honest);
        let mut exchange = world.start();
        let mut step = exchange.head(&mut world.around(), Ok(request), false);
        for chunk in sent.chunks(piece) {
            assert!(!matches!(step, Step::Abort), "before the last piece");
            step = exchange.body(&mut world.around(), chunk, false);
        }
        if piece == body.len() {
            let Step::Decided(decision) = step else { panic!("undecided: {step:?}") };
            assert_eq!((decision.outcome, decision.reason), (Outcome::Deny, Reason::DigestMismatch));
            continue;
        }
        assert!(matches!((&step, honest), (Step::Pass, true) | (Step::Abort, false)), "{step:?}");
        let step = exchange.body(&mut world.around(), b"", true);
        assert!(matches!((&step, honest), (Step::Pass, true) | (Step::Abort, false)), "{step:?}");
        exchange.end(&mut world.around(), end());
        let completion = &world.records()[2];
        assert_eq!(completion["received_bytes"], body.len());
        assert_eq!(completion["forwarded_bytes"], body.len() - if honest { 0 } else { 64 * 1024 });
        assert_eq!(completion["ending"], if honest { "complete" } else { "reset" });
    }
}

#[test]
fn what_found_no_connection_was_not_forwarded() {
    let mut world = World::new();
    let body = b"0123456789";
    let mut exchange = world.start();
    let request = user_request("POST", "/v1/x", body, "n");
    let Step::NeedBody { .. } = exchange.head(&mut world.around(), Ok(request), false) else { panic!() };
    let Step::Decided(_) = exchange.body(&mut world.around(), body, true) else { panic!() };
    exchange.end(&mut world.around(), End { status: Some(503), sent: false, ending: Ending::Gateway, ..end() });
    let completion = &world.records()[2];
    assert_eq!((&completion["received_bytes"], &completion["forwarded_bytes"]), (&json!(10), &json!(0)));
    assert!(completion.get("forwarded_digest").is_none());
}

#[test]
fn a_port_that_authority_does_not_show_is_not_covered_by_it() {
    // RFC 9421 section 2.2.3 leaves out the port that is the default of the scheme on the wire, and the client chooses
    // that: the signature for `eu.crm.example` is one for port 80 and, sent as https, for 443.
    let signed = user_request("GET", "/v1/x", b"", "n");
    for (scheme, port) in [("http", "80"), ("https", "443"), ("HTTP", "80")] {
        let mut world = World::new();
        let mut request = signed.clone();
        request.scheme = Some(scheme.into());
        request.authority = format!("eu.crm.example:{port}").into();
        let decision = world.run(request, b"", 1);
        match port {
            // What the configuration says for an authority without a port: the same place.
            "443" => assert_eq!(decision.outcome, Outcome::Allow),
            _ => assert_eq!(decision.reason, Reason::RequestMalformed, "{scheme} {port}"),
        }
    }
}

#[test]
fn with_no_room_for_a_record_nothing_is_let_go() {
    let mut world = World::with_queue(6);
    let mut reasons = Vec::new();
    for n in 0..12 {
        let mut exchange = world.start();
        let request = user_request("GET", "/v1/x", b"", &format!("n{n}"));
        let Step::Decided(decision) = exchange.head(&mut world.around(), Ok(request), true) else { panic!() };
        reasons.push((decision.outcome, decision.reason));
        std::mem::forget(exchange);
    }
    assert_eq!(reasons.first(), Some(&(Outcome::Allow, Reason::Permitted)));
    assert_eq!(reasons.last(), Some(&(Outcome::Deny, Reason::AuditUnavailable)));
    let allowed = reasons.iter().filter(|(outcome, _)| *outcome == Outcome::Allow).count();
    let recorded = world.decisions().iter().filter(|record| record["outcome"] == "allow").count();
    assert_eq!(allowed, recorded);
}

#[test]
fn steps_out_of_order_let_nothing_go() {
    let mut world = World::new();
    let mut exchange = world.start();
    assert!(matches!(exchange.body(&mut world.around(), b"x", true), Step::Abort));
    let mut exchange = world.start();
    let _ = exchange.head(&mut world.around(), Ok(head("GET", "/v1/x")), true);
    assert!(matches!(
        exchange.head(&mut world.around(), Ok(user_request("GET", "/v1/x", b"", "n")), true),
        Step::Abort
    ));
    assert!(matches!(exchange.body(&mut world.around(), b"x", true), Step::Abort));
    let mut exchange = world.start();
    let Step::Decided(_) = exchange.head(&mut world.around(), Ok(user_request("GET", "/v1/x", b"", "n")), true) else {
        panic!()
    };
    assert!(matches!(exchange.body(&mut world.around(), b"smuggled", true), Step::Abort));
}
