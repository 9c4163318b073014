//! Bodies that rules read and change: what goes on, what is recorded, and that nothing is let go before it was read.

use super::*;

const BODY: &str = r#"{ "customer": {"id": 42, "email": "a@b.example"}, "mode": "read" }"#;

fn with(edit: impl FnOnce(&mut Value)) -> World {
    let mut document = document();
    edit(&mut document["policy"]);
    let configuration =
        Configuration::accept(document.to_string().as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    World { configuration: Arc::new(configuration), ..World::new() }
}

fn treating(agent: &str) -> World {
    with(|policy| {
        let rule = &mut policy["agents"][agent]["allow"][0];
        rule["methods"] = json!(["GET", "POST"]);
        rule["redact"] = json!(["/customer/email"]);
        rule["tokenize"] = json!(["/customer/id"]);
        rule["limits"] = json!({"body": "3MiB"});
        rule["headers"] = json!({"keep": ["content-digest", "content-md5", "repr-digest", "x-kept"]});
    })
}

fn json_request(agent: &str, body: &[u8], fields: &[(&str, &str)]) -> RequestHead {
    let mut head = head("POST", "/v1/x");
    head.fields = vec![("content-type".into(), "application/json".into())];
    head.fields.extend(fields.iter().map(|(name, value)| ((*name).into(), (*value).to_owned().into())));
    sign(head, &context(agent, &[Provenance::User]), body, &content_digest(body))
}

/// Token of a value of a session without a tenant, under the key of the tests' journal.
fn token(value: &str) -> String {
    use base64::Engine as _;
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let hmac = |key: &[u8], message: &[u8]| -> [u8; 32] {
        let mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.chain_update(message).finalize().into_bytes().into()
    };
    let secret = GatewayKey::from_seed([1; 32]).derive("exeat/v1 tokens");
    let hash = hmac(&hmac(&secret, b""), value.as_bytes());
    format!("tok_{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&hash[..16]))
}

fn expected() -> String {
    BODY.replace("\"a@b.example\"", "\"[redacted]\"").replace("42", &format!("\"{}\"", token("42")))
}

#[test]
fn what_goes_on_is_the_treated_body_with_its_own_length_and_digest() {
    for (piece, announced) in [(1, true), (7, false), (1_000, true)] {
        let mut world = treating("team/worker");
        let length = BODY.len().to_string();
        let mut fields = vec![("content-md5", "x"), ("repr-digest", "sha-256=:AAAA:"), ("x-kept", "1")];
        fields.extend(announced.then_some(("content-length", length.as_str())));
        let request = json_request("team/worker", BODY.as_bytes(), &fields);
        let decision = world.run(request, BODY.as_bytes(), piece);
        assert_eq!((decision.outcome, decision.reason), (Outcome::Allow, Reason::Permitted));
        let body = decision.body.clone().unwrap();
        assert_eq!(String::from_utf8(body.clone()).unwrap(), expected());
        let map = forwarded(&decision);
        assert_eq!(map.get("content-length"), announced.then(|| body.len().to_string()).as_ref());
        assert_eq!(map["content-digest"], content_digest(&body));
        assert_eq!(map["x-kept"], "1");
        assert!(!map.contains_key("content-md5") && !map.contains_key("repr-digest"));
        let records = world.records();
        let (decided, completed) = (&records[1], &records[2]);
        assert_eq!(decided["payload"]["bytes"], BODY.len());
        assert_eq!(
            decided["payload"]["findings"],
            json!([{"detector": "redact", "at": "/customer/email"}, {"detector": "tokenize", "at": "/customer/id"}])
        );
        assert_eq!(completed["received_bytes"], BODY.len());
        assert_eq!(completed["forwarded_bytes"], body.len());
        assert_eq!(completed["received_digest"], decided["payload"]["digest"]);
        assert_eq!(completed["forwarded_digest"], sha256_text(&Sha256::digest(&body).into()));
        assert!(!records.iter().any(|record| record.to_string().contains("a@b.example")));
    }
}

#[test]
fn a_body_that_has_nothing_to_treat_goes_on_as_it_is() {
    for body in [&br#"{"customer": {"name": "x"}}"#[..], b"7", br#"{"customer": {"email": null}}"#] {
        let mut world = treating("team/worker");
        let decision = world.run(json_request("team/worker", body, &[]), body, 5);
        assert_eq!((decision.outcome, decision.body.is_some()), (Outcome::Allow, false));
        let records = world.records();
        assert_eq!(records[1]["payload"]["findings"], json!([]));
        assert_eq!(records[2]["forwarded_digest"], records[2]["received_digest"]);
    }
    let mut world = treating("team/worker");
    assert_eq!(world.run(user_request("GET", "/v1/x", b"", "n"), b"", 1).outcome, Outcome::Allow);
}

#[test]
fn a_body_that_cannot_be_treated_is_refused() {
    for (body, fields, condition) in [
        (&b"customer=x"[..], &[][..], "redact/customer/email: it is not JSON from byte 0 on"),
        (br#"[{"customer": {"email": "x"}}]"#, &[], "redact/customer/email: what stands there cannot be told"),
        (br#"{"Customer": {"email": "x"}}"#, &[], "redact/customer/email: what stands there cannot be told"),
        (
            br#"{"customer": 1, "customer": {"email": "x"}}"#,
            &[],
            "redact/customer/email: a name occurs twice in one object",
        ),
        (b"{}", &[("content-encoding", "gzip")], "redact/customer/email: it has a content coding"),
    ] {
        let mut world = treating("team/worker");
        let decision = world.run(json_request("team/worker", body, fields), body, 1_000);
        assert_eq!((decision.outcome, decision.reason), (Outcome::Deny, Reason::PayloadUnreadable));
        assert_eq!(problem(&decision)["condition"], condition);
        assert_eq!(world.records().len(), 2);
    }
}

#[test]
fn treatments_are_the_union_of_all_rules_that_cover_the_request() {
    let mut world = with(|policy| {
        let allow = policy["agents"]["team/worker"]["allow"].as_array_mut().unwrap();
        allow[0]["redact"] = json!(["/customer/email"]);
        // Wider, and with a condition that is not met: what it blanks is blanked all the same.
        allow.push(json!({"id": "other", "to": ["crm"], "methods": ["POST"], "paths": ["/**"], "when": {"user": ["u-9"]}, "redact": ["/mode"]}));
        // Another path: not this request's.
        allow.push(
            json!({"id": "third", "to": ["crm"], "methods": ["POST"], "paths": ["/v2/x"], "redact": ["/customer"]}),
        );
    });
    let decision = world.run(json_request("team/worker", BODY.as_bytes(), &[]), BODY.as_bytes(), 9);
    let body = String::from_utf8(decision.body.unwrap()).unwrap();
    assert_eq!(body, BODY.replace("\"a@b.example\"", "\"[redacted]\"").replace("\"read\"", "\"[redacted]\""));
}

#[test]
fn monitor_mode_treats_what_it_can_read_and_lets_go_of_what_it_cannot() {
    let run = |body: &[u8]| {
        let mut world = treating("team/watched");
        // The class is none of the rule's, so that only a monitor lets it go.
        let decision = world.run(json_request("team/watched", body, &[("cookie", "c")]), body, 11);
        let completion = world.records()[2].clone();
        (decision, completion)
    };
    let (decision, _) = run(BODY.as_bytes());
    assert_eq!((decision.outcome, decision.body), (Outcome::Allow, Some(expected().into_bytes())));
    let (decision, completion) = run(b"not JSON");
    assert_eq!((decision.outcome, decision.reason), (Outcome::WouldDeny, Reason::PayloadUnreadable));
    assert_eq!((decision.body, &completion["forwarded_bytes"]), (None, &json!(8)));
    // One rule that enforces what it asks for is enough to refuse, whatever others only observe.
    let mut world = with(|policy| {
        let allow = policy["agents"]["team/watched"]["allow"].as_array_mut().unwrap();
        allow[0]["methods"] = json!(["POST"]);
        allow.push(json!({"id": "firm", "mode": "enforce", "to": ["crm"], "methods": ["POST"], "paths": ["/**"], "redact": ["/a"]}));
    });
    let decision = world.run(json_request("team/watched", b"not JSON", &[]), b"not JSON", 11);
    assert_eq!((decision.outcome, decision.reason), (Outcome::Deny, Reason::PayloadUnreadable));
    // Refused for another reason, let go with its own headers, and treated.
    let mut world = treating("team/watched");
    world.configuration = {
        let mut document = document();
        let rule = &mut document["policy"]["agents"]["team/watched"]["allow"][0];
        rule["methods"] = json!(["POST"]);
        rule["redact"] = json!(["/customer/email"]);
        rule["when"] = json!({"user": ["u-9"]});
        Arc::new(Configuration::accept(document.to_string().as_bytes()).unwrap())
    };
    let decision = world.run(json_request("team/watched", BODY.as_bytes(), &[("cookie", "c")]), BODY.as_bytes(), 11);
    assert_eq!((decision.outcome, decision.reason), (Outcome::WouldDeny, Reason::ConditionDenied));
    let map = forwarded(&decision);
    let body = decision.body.clone().unwrap();
    assert_eq!(String::from_utf8(body.clone()).unwrap(), BODY.replace("\"a@b.example\"", "\"[redacted]\""));
    assert_eq!((map["cookie"].as_str(), &map["content-digest"]), ("c", &content_digest(&body)));
}

/// A body larger than what monitor mode holds back is still held where something is to be treated or denied in it.
#[test]
fn nothing_is_let_go_early_that_must_be_read() {
    let large = |tail: &str| format!(r#"{{"filler": "{}", {tail}}}"#, "x".repeat(2 << 20));
    let run = |world: &mut World, body: &str| {
        let mut exchange = world.start();
        let request = json_request("team/watched", body.as_bytes(), &[]);
        let mut step = exchange.head(&mut world.around(), Ok(request), false);
        let mut pieces = body.as_bytes().chunks(200_000).peekable();
        while let (Step::NeedBody { .. }, Some(chunk)) = (&step, pieces.next()) {
            step = exchange.body(&mut world.around(), chunk, pieces.peek().is_none());
        }
        let Step::Decided(decision) = step else { panic!("{step:?}") };
        (*decision, pieces.peek().is_none())
    };
    let unmet = |rule: &mut Value| {
        rule["methods"] = json!(["POST"]);
        rule["when"] = json!({"user": ["u-9"]});
        rule["limits"] = json!({"body": "3MiB"});
    };
    // Without anything to read it goes early.
    let mut world = with(|policy| unmet(&mut policy["agents"]["team/watched"]["allow"][0]));
    let (decision, whole) = run(&mut world, &large(r#""secret": "s""#));
    assert_eq!((decision.outcome, decision.body, whole), (Outcome::WouldDeny, None, false));
    // With a place to blank it does not.
    let mut world = with(|policy| {
        let rule = &mut policy["agents"]["team/watched"]["allow"][0];
        unmet(rule);
        rule["redact"] = json!(["/secret"]);
    });
    let (decision, whole) = run(&mut world, &large(r#""secret": "s""#));
    let body = String::from_utf8(decision.body.unwrap()).unwrap();
    assert_eq!((decision.outcome, whole), (Outcome::WouldDeny, true));
    assert!(body.ends_with(r#""secret": "[redacted]"}"#));
    // Nor with a ceiling that speaks of the body, which no monitor of a team lifts.
    let mut world = with(|policy| {
        unmet(&mut policy["agents"]["team/watched"]["allow"][0]);
        policy["ceilings"] =
            json!({"deny": [{"id": "none", "to": ["crm"], "parameters": [{"at": "/secret", "equals": "s"}]}]});
    });
    let (decision, _) = run(&mut world, &large(r#""secret": "s""#));
    assert_eq!((decision.outcome, decision.reason), (Outcome::Deny, Reason::RuleDenied));
    let (decision, _) = run(&mut world, &large(r#""secret": "t""#));
    assert_eq!(decision.outcome, Outcome::WouldDeny);
    // Larger than any rule allows: it is not kept, and what cannot be told counts as denied.
    let huge = format!(r#"{{"filler": "{}", "secret": "t"}}"#, "x".repeat(4 << 20));
    let (decision, whole) = run(&mut world, &huge);
    assert_eq!((decision.outcome, decision.reason, whole), (Outcome::Deny, Reason::RuleDenied, false));
}

#[test]
fn bodies_are_kept_only_where_something_is_asked_of_them() {
    let held = |world: &mut World| {
        let mut exchange = world.start();
        let request = json_request("team/worker", BODY.as_bytes(), &[]);
        let _ = exchange.head(&mut world.around(), Ok(request), false);
        let _ = exchange.body(&mut world.around(), &BODY.as_bytes()[..20], false);
        let Stage::Body(held) = &exchange.stage else { panic!("decided") };
        held.body.len()
    };
    assert_eq!(held(&mut World::new()), 0);
    assert_eq!(held(&mut treating("team/worker")), 20);
    assert_eq!(held(&mut treating("team/watched")), 0);
}

#[test]
fn parameters_are_recorded_by_place_and_keyed_hash() {
    let mut world = with(|policy| {
        let rule = &mut policy["agents"]["team/worker"]["allow"][0];
        rule["parameters"] = json!([
            {"at": "/customer/id", "equals": 42}, {"at": "/mode", "one_of": ["read"]}, {"at": "?q", "equals": "x y"},
            {"at": "/debug", "absent": true},
        ]);
    });
    let mut request = head("POST", "/v1/x?q=x%20y");
    request.fields = vec![("content-type".into(), "application/json".into())];
    let request = sign(request, &context("team/worker", &[Provenance::User]), BODY.as_bytes(), "n");
    let decision = world.run(request, BODY.as_bytes(), 10);
    assert_eq!(decision.outcome, Outcome::Allow);
    let decided = world.decisions().remove(0);
    let key = GatewayKey::from_seed([1; 32]);
    let hashed = |at: &str, value: &str| json!({"at": at, "hash": key.keyed_hash(value.as_bytes())});
    assert_eq!(
        decided["parameters"],
        json!([hashed("/customer/id", "42"), hashed("/mode", "read"), hashed("?q", "x y")])
    );
    // A refusal records what was looked at as well.
    let body = BODY.replace("42", "43");
    let mut request = head("POST", "/v1/x?q=x");
    request.fields = vec![("content-type".into(), "application/json".into())];
    let request = sign(request, &context("team/worker", &[Provenance::User]), body.as_bytes(), "m");
    let decision = world.run(request, body.as_bytes(), 10);
    assert_eq!((decision.outcome, decision.reason), (Outcome::Deny, Reason::ParameterDenied));
    let decided = world.decisions().pop().unwrap();
    assert_eq!(decided["condition"], "parameters/?q");
}

/// No query allows a request early: an unmet one refuses it before its body is read.
#[test]
fn a_query_is_judged_before_the_body_comes() {
    let mut world = with(|policy| {
        let rule = &mut policy["agents"]["team/worker"]["allow"][0];
        rule["parameters"] = json!([{"at": "?limit", "max": 5}]);
    });
    let mut exchange = world.start();
    let mut request = head("POST", "/v1/x?limit=6");
    request.fields = vec![("content-type".into(), "application/json".into())];
    let request = sign(request, &context("team/worker", &[Provenance::User]), b"{}", "n");
    let Step::Decided(decision) = exchange.head(&mut world.around(), Ok(request), false) else { panic!() };
    assert_eq!(decision.reason, Reason::ParameterDenied);
    assert_eq!(world.decisions()[0]["parameters"][0]["at"], "?limit");
}

/// What a WebSocket or a tunnel carries is never seen: no rule with parameters or places to treat opens one.
#[test]
fn a_stream_is_not_opened_where_something_is_asked_of_it() {
    let open = |edit: &dyn Fn(&mut Value)| {
        let mut world = with(|policy| {
            policy["destinations"]["crm"]["upgrade"] = json!(["websocket"]);
            edit(policy);
        });
        let mut request = sign(head("GET", "/v1/feed?id=7"), &context("team/worker", &[Provenance::User]), b"", "n");
        for (name, value) in [
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            request.fields.push((name.into(), value.into()));
        }
        let mut exchange = world.start();
        let Step::Decided(decision) = exchange.head(&mut world.around(), Ok(request), false) else { panic!() };
        (decision.outcome, decision.reason)
    };
    let rule = |key: &'static str, value: Value| {
        move |policy: &mut Value| policy["agents"]["team/worker"]["allow"][0][key] = value.clone()
    };
    let deny = |value: Value| {
        move |policy: &mut Value| {
            policy["ceilings"] = json!({"deny": [{"id": "d", "to": ["crm"], "parameters": [value]}]})
        }
    };
    let unreadable = (Outcome::Deny, Reason::PayloadUnreadable);
    assert_eq!(open(&|_| {}), (Outcome::Allow, Reason::Permitted));
    assert_eq!(open(&rule("parameters", json!([{"at": "/id", "absent": true}]))), unreadable);
    assert_eq!(open(&rule("parameters", json!([{"at": "?id", "equals": "7"}]))), unreadable);
    assert_eq!(open(&rule("redact", json!(["/id"]))), unreadable);
    assert_eq!(open(&deny(json!({"at": "?id", "equals": "8"}))), (Outcome::Deny, Reason::RuleDenied));
    assert_eq!(open(&deny(json!({"at": "/id", "equals": "8"}))), (Outcome::Deny, Reason::RuleDenied));
}
