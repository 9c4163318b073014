//! Signers: their keys, and what they may speak for.

use super::{GOOD, NOW, Request, TEST_KEY, accept, document, edited, policy};
use crate::facts::Timestamp;
use crate::policy::{Configuration, Mode, Refusal, Verdict};
use serde_json::{Value, json};

const CRM: &str = "eu.crm.acme.example";
const ID: &str = "spiffe://acme.example/ns/agents/sa/signer";

/// A test key (RFC 8032 section 7.1, test 2).
const OTHER_KEY: &str = "PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=";

fn refused(policy: &Value) -> String {
    Configuration::accept(&document(policy)).unwrap_err().to_string()
}

fn bound() -> Value {
    edited(policy(), "/signers/0/spiffe", json!(ID))
}

fn request(peer: Option<&'static str>) -> Request {
    Request { peer, ..Request::get(CRM, "/v1/orders/7", GOOD) }
}

#[test]
fn a_key_counts_only_on_the_connection_of_its_signer() {
    let configuration = accept(&bound());
    assert_eq!(request(Some(ID)).outcome(&configuration), "allow support/summarizer/read-orders by crm");
    for (peer, got) in [
        (None, "no SPIFFE id"),
        (Some(""), r#""""#),
        (Some("spiffe://acme.example/ns/agents/sa/signer2"), r#""spiffe://acme.example/ns/agents/sa/signer2""#),
        (Some("spiffe://acme.example/ns/agents/sa/signe"), r#""spiffe://acme.example/ns/agents/sa/signe""#),
        (Some("spiffe://acme.example/ns/agents/sa/Signer"), r#""spiffe://acme.example/ns/agents/sa/Signer""#),
        (Some("spiffe://acme.example/ns/agents/sa/signer/"), r#""spiffe://acme.example/ns/agents/sa/signer/""#),
        (Some("spiffe://other.example/ns/agents/sa/signer"), r#""spiffe://other.example/ns/agents/sa/signer""#),
        (Some("a\nb"), r#""a\nb""#),
    ] {
        let expected = format!(
            "deny grant-denied signers/signer-eu/spiffe: expected a certificate for {ID}, the connection has {got}"
        );
        assert_eq!(request(peer).outcome(&configuration), expected);
    }
}

#[test]
fn a_signer_without_spiffe_speaks_on_any_connection() {
    let configuration = accept(&policy());
    for peer in [None, Some(ID), Some("anything")] {
        assert_eq!(request(peer).outcome(&configuration), "allow support/summarizer/read-orders by crm");
    }
}

/// What is signed with a key that does not count must not choose the mode.
#[test]
fn no_mode_lets_go_what_was_signed_on_another_connection() {
    let configuration = accept(&edited(bound(), "/mode", json!("monitor")));
    let Verdict::Refused(Refusal { mode, .. }) = request(None).judge(&configuration) else { panic!("allowed") };
    assert_eq!(mode, Mode::Enforce);
    assert_eq!(request(Some(ID)).outcome(&configuration), "allow support/summarizer/read-orders by crm");
}

#[test]
fn spiffe_ids_are_whole() {
    for (text, said) in [
        ("acme.example/signer", "it does not start with spiffe://"),
        ("spiffe://acme.example", "it names a trust domain and no workload in it"),
        (
            "spiffe://acme.example/ns/*",
            "its path is not of segments of letters, digits, dots, hyphens or underscores, or has a dot segment",
        ),
    ] {
        assert_eq!(
            refused(&edited(policy(), "/signers/0/spiffe", json!(text))),
            format!(
                "policy: /signers/0/spiffe: {text:?} is not a SPIFFE id: {said}; write it whole, as in \
                 spiffe://acme.example/ns/agents/sa/signer"
            )
        );
    }
}

/// An absent list, like an empty one, grants nothing; a member that is absent needs no grant.
#[test]
fn what_is_not_granted_is_not_granted() {
    let member = |name: &str| {
        let others = GOOD.split(", ").filter(|part| !part.starts_with(&format!("{name}=")));
        others.collect::<Vec<_>>().join(", ")
    };
    for (list, name) in [("agents", "agent"), ("tenants", "tenant"), ("users", "user"), ("tools", "tool")] {
        for value in [Value::Null, json!([])] {
            let configuration = accept(&edited(policy(), &format!("/signers/0/{list}"), value));
            let denied = format!("deny grant-denied signers/signer-eu/{name}");
            assert_eq!(request(None).outcome(&configuration), denied);
            if name != "agent" {
                let silent = Request::get(CRM, "/v1/orders/7", &member(name)).outcome(&configuration);
                assert_ne!(silent, denied, "a context without {name}");
            }
        }
    }
    for value in [Value::Null, json!([])] {
        let configuration = accept(&edited(policy(), "/signers/0/provenance", value));
        for context in [GOOD.to_owned(), member("provenance")] {
            let outcome = Request::get(CRM, "/v1/orders/7", &context).outcome(&configuration);
            assert_eq!(outcome, "deny grant-denied signers/signer-eu/provenance");
        }
    }
}

#[test]
fn a_signer_has_several_keys_each_with_its_own_time() {
    let rotating = json!([
        {"id": "old", "public": TEST_KEY, "not_after": "2026-11-20T12:00:00Z"},
        {"id": "new", "public": OTHER_KEY, "not_before": "2026-11-20", "not_after": "2026-11-20"},
        {"public": TEST_KEY, "not_before": "2026-11-20T12:00:00Z"},
    ]);
    let configuration = accept(&edited(policy(), "/signers/0/keys", rotating));
    let valid = |id: &str, at: u64| configuration.policy().keys().get(id).unwrap().check_time(Timestamp(at)).is_ok();
    let (noon, half_a_day) = (NOW.0, 12 * 3_600_000);
    for (id, at, expected) in [
        ("old", 0, true),
        ("old", noon, true),
        ("old", noon + 1, false),
        ("new", noon - half_a_day - 1, false),
        ("new", noon - half_a_day, true),
        ("new", noon + half_a_day - 1, true),
        ("new", noon + half_a_day, false),
        // A key without an id goes under that of its signer.
        ("signer-eu", noon - 1, false),
        ("signer-eu", noon, true),
        ("signer-eu", u64::MAX, true),
    ] {
        assert_eq!(valid(id, at), expected, "{id} at {at}");
    }
    let signer = |id: &str| configuration.policy().keys().get(id).unwrap().signer;
    assert!(["old", "new", "signer-eu"].iter().all(|id| signer(id) == 0));
    assert!(configuration.policy().keys().get("signer-eu-1").is_none());
}

#[test]
fn a_jwk_is_a_map_and_names_itself() {
    let jwk = |kid: Option<&str>| {
        let mut jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        if let Some(kid) = kid {
            jwk["kid"] = json!(kid);
        }
        jwk
    };
    for (key, id) in [
        (json!({"public": jwk(None)}), "signer-eu"),
        (json!({"public": jwk(Some("2027-a"))}), "2027-a"),
        (json!({"id": "named", "public": jwk(None)}), "named"),
        (json!({"id": "2027-a", "public": jwk(Some("2027-a"))}), "2027-a"),
    ] {
        let configuration = accept(&edited(policy(), "/signers/0/keys/0", key.clone()));
        let found = configuration.policy().keys().get(id).unwrap_or_else(|| panic!("{key} is not {id}"));
        assert_eq!(found.public.to_base64(), TEST_KEY);
    }
    let place = "policy: /signers/0/keys/0/public";
    let remedy = "write base64 of the 32 bytes of the public half, or its JWK";
    for (key, said) in [
        (
            json!({"id": "named", "public": jwk(Some("2027-a"))}),
            r#"policy: /signers/0/keys/0/id: the JWK calls itself "2027-a"; leave id out, or write the same (a key has one id)"#
                .to_owned(),
        ),
        (
            json!({"public": jwk(Some("\u{e9}"))}),
            format!("{place}/kid: \"\u{e9}\" is not an id; write 1 to 128 printable ASCII characters"),
        ),
        (
            json!({"public": jwk(None).to_string()}),
            format!("{place}: a JWK in quotes; write it as a map, without the quotes"),
        ),
        (
            json!({"public": {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "use": "enc"}}),
            format!("{place}: a JWK that is not for signatures (use or key_ops); {remedy}"),
        ),
        (
            json!({"public": {"kty": "OKP", "crv": "Ed25519", "x": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}}),
            format!("{place}: a JWK of no safe public key; {remedy} (anybody could sign for it)"),
        ),
    ] {
        assert_eq!(refused(&edited(policy(), "/signers/0/keys/0", key)), said);
    }
}
