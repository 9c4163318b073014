//! Requests with a bearer token in place of a signature.

use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

const AGENT: &str = "team/worker";

fn issuer_key() -> KeyPair {
    KeyPair::from_seed(Seed::new([9; 32]))
}

/// Two agents by token; the signer of the other tests beside their issuer.
fn configuration(signer: Value) -> Arc<Configuration> {
    let binding = json!(["request", "session"]);
    let mut idp = json!({
        "id": "idp", "keys": [{"id": "k1", "public": STANDARD.encode(*issuer_key().pk)}], "agents": ["team/*"],
        "users": ["u-*"], "provenance": ["unknown"],
        "jwt": {"issuer": "https://idp.example", "audiences": ["egress-test"], "claims": {"session": "sid", "user": "uid"}},
    });
    for (name, value) in signer.as_object().unwrap() {
        idp[name] = value.clone();
    }
    let limits = json!({"body": "4MiB", "provenance": {"unknown": {"body": "16B", "url": "64B"}}});
    let rule = json!({"id": "read", "to": ["crm"], "methods": ["GET", "POST"], "paths": ["/v1/**"], "binding": binding,
                      "limits": limits, "headers": {"set": {"x-agent": "$agent"}}});
    let document = json!({
        "role": "filter",
        "gateway": {"id": "egress-test", "key": {"env": "KEY"}, "collector": {"cluster": "c"}, "feedback": "full"},
        "policy": {
            "schema": "exeat/v1", "revision": "1",
            "signers": [{"id": "s", "keys": [{"id": "s-1", "public": STANDARD.encode(*signer_key().pk)}],
                         "agents": ["team/*"], "users": ["u-*"], "provenance": ["user", "unknown"]}, idp],
            "destinations": {"crm": {"hosts": ["*.crm.example"], "accepts": "restricted"}},
            "agents": {
                "team/worker": {"allow": [rule]},
                "team/watched": {"mode": "monitor", "allow": [rule]},
                "team/signed": {"allow": [{"id": "read", "to": ["crm"], "paths": ["/v1/**"]}]},
            }
        }
    });
    Arc::new(Configuration::accept(document.to_string().as_bytes()).unwrap())
}

fn signer_key() -> KeyPair {
    super::signer()
}

fn world() -> World {
    World { configuration: configuration(json!({})), ..World::new() }
}

fn token(agent: &str) -> String {
    let seconds = NOW.seconds();
    let claims = json!({"iss": "https://idp.example", "aud": "egress-test", "sub": agent, "sid": "s-7", "uid": "u-1",
                        "tool": "shell", "data_class": "public", "iat": seconds - 5, "exp": seconds + 60});
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","kid":"k1"}"#);
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let signature = issuer_key().sk.sign(&signed, None);
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(*signature))
}

fn with_token(mut head: RequestHead, token: &str) -> RequestHead {
    head.fields.push(("authorization".into(), format!("Bearer {token}").into()));
    head
}

#[test]
fn a_request_with_a_token_goes_on_without_it_and_the_record_says_how_little_is_known() {
    let (mut world, token) = (world(), token(AGENT));
    // Nobody signs the body, and the same token serves for every request.
    for (method, body) in [("GET", &b""[..]), ("POST", b"0123456789"), ("POST", b"0123456789")] {
        let decision = world.run(with_token(head(method, "/v1/orders"), &token), body, 4);
        assert_eq!((decision.outcome, decision.reason), (Outcome::Allow, Reason::Permitted), "{decision:?}");
        let map = forwarded(&decision);
        assert!(!map.contains_key("authorization"));
        assert_eq!(map.get("x-agent").map(String::as_str), Some(AGENT));
        let record = world.decisions().pop().unwrap();
        for (name, value) in [
            ("binding", json!("session")),
            ("signer", json!("idp")),
            ("key", json!("k1")),
            ("created", json!(NOW.seconds() - 5)),
            ("agent", json!(AGENT)),
            ("session", json!("s-7")),
            ("provenance", json!(["unknown"])),
            ("data_class", json!("restricted")),
            ("signature_base", json!(sha256_text(&Sha256::digest(&token).into()))),
        ] {
            assert_eq!(record[name], value, "{name}");
        }
        assert!(record["user"].as_str().unwrap().starts_with("sha256:"));
        assert!(record.get("tool").is_none_or(Value::is_null));
        assert!(!record.to_string().contains(token.rsplit('.').next().unwrap()), "the token is in no record");
    }
}

#[test]
fn unknown_sources_are_held_to_their_limits() {
    let mut world = world();
    let decision = world.run(with_token(head("POST", "/v1/x"), &token(AGENT)), b"0123456789abcdefg", 4);
    assert_eq!(decision.reason, Reason::PayloadProvenance);
    let decision = world.run(with_token(head("GET", "/v1/x"), &token("team/signed")), b"", 1);
    assert_eq!(decision.reason, Reason::BindingDenied);
    assert_eq!(problem(&decision)["condition"], "binding");
}

#[test]
fn a_signed_context_is_judged_whatever_token_comes_along() {
    for token in [token(AGENT), "junk".to_owned(), String::new()] {
        let mut world = world();
        let signed = sign(head("GET", "/v1/x"), &context(AGENT, &[Provenance::User]), b"", "n");
        let decision = world.run(with_token(signed, &token), b"", 1);
        assert_eq!(decision.outcome, Outcome::Allow, "{token}");
        assert!(!forwarded(&decision).contains_key("authorization"));
        let record = world.decisions().pop().unwrap();
        assert_eq!((&record["binding"], &record["signer"]), (&json!("request"), &json!("s")));
    }
    // One that does not verify is not made good by a token.
    let mut world = world();
    let mut forged = sign(head("GET", "/v1/x"), &context(AGENT, &[Provenance::User]), b"", "n");
    forged.path = Some("/v1/y".into());
    assert_eq!(world.run(with_token(forged, &token(AGENT)), b"", 1).reason, Reason::SignatureInvalid);
    let mut bare = head("GET", "/v1/x");
    bare.fields.push(("agent-context".into(), "".into()));
    assert_eq!(world.run(with_token(bare, &token(AGENT)), b"", 1).reason, Reason::ContextMalformed);
}

#[test]
fn with_neither_the_context_is_missing() {
    let mut world = world();
    assert_eq!(world.run(head("GET", "/v1/x"), b"", 1).reason, Reason::ContextMissing);
    // Where no signer takes tokens, a token is nothing.
    let mut world = World::new();
    assert_eq!(world.run(with_token(head("GET", "/v1/x"), &token(AGENT)), b"", 1).reason, Reason::ContextMissing);
}

#[test]
fn a_token_that_does_not_count_is_told_and_recorded_no_more_than_the_reason() {
    let good = token(AGENT);
    let (signed, _) = good.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode([7; 64]));
    let mut world = world();
    let decision = world.run(with_token(head("GET", "/v1/x"), &forged), b"", 1);
    assert_eq!(decision.reason, Reason::SignatureInvalid);
    let told = problem(&decision);
    assert!(told.get("condition").is_none() && told.get("rule").is_none());
    let record = world.decisions().pop().unwrap();
    for claimed in ["agent", "session", "user", "signer", "binding", "key"] {
        assert!(record.get(claimed).is_none_or(Value::is_null), "{claimed}");
    }
    assert!(!record.to_string().contains(signed));
}

#[test]
fn monitor_mode_lets_go_without_the_token_and_of_any_size() {
    let mut world = world();
    let body = vec![b'x'; 3 * 1024 * 1024];
    let mut request = with_token(head("POST", "/v9/x"), &token("team/watched"));
    request.fields.push(("cookie".into(), "c".into()));
    let mut exchange = world.start();
    let mut step = exchange.head(&mut world.around(), Ok(request), false);
    let pieces: Vec<_> = body.chunks(512 * 1024).collect();
    let mut released = None;
    for (at, piece) in pieces.iter().enumerate() {
        step = exchange.body(&mut world.around(), piece, at + 1 == pieces.len());
        if let Step::Decided(decision) = &step {
            assert!(released.replace((**decision).clone()).is_none());
        }
    }
    assert!(matches!(step, Step::Pass), "{step:?}");
    exchange.end(&mut world.around(), end());
    let decision = released.unwrap();
    assert_eq!(decision.outcome, Outcome::WouldDeny);
    let map = forwarded(&decision);
    assert_eq!(map.get("cookie").map(String::as_str), Some("c"));
    assert!(!map.contains_key("authorization"));
    let records = world.records();
    assert_eq!(records.last().unwrap()["ending"], "complete");
    assert_eq!(records.last().unwrap()["received_bytes"], body.len());
}

#[test]
fn a_token_can_be_bound_to_the_connection_it_comes_on() {
    let id = "spiffe://acme.example/agent";
    let mut world = World { configuration: configuration(json!({"spiffe": id})), ..World::new() };
    let run = |world: &mut World, peer: Option<&str>| {
        let mut exchange = world.start();
        exchange.facts.peer = peer.map(str::to_owned);
        let step = exchange.head(&mut world.around(), Ok(with_token(head("GET", "/v1/x"), &token(AGENT))), true);
        let Step::Decided(decision) = step else { panic!("{step:?}") };
        exchange.end(&mut world.around(), end());
        decision.reason
    };
    assert_eq!(run(&mut world, Some(id)), Reason::Permitted);
    assert_eq!(run(&mut world, None), Reason::GrantDenied);
    assert_eq!(run(&mut world, Some("spiffe://acme.example/agent2")), Reason::GrantDenied);
}
