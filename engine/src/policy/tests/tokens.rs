//! Signers that issue tokens, and rules that accept them.

use super::{GOOD, Request, TEST_KEY, accept, document, edited, policy};
use crate::context::token::{HostAlgorithm, HostRefusal, HostVerifier};
use crate::evidence::record::Binding;
use crate::policy::{Configuration, Mode, Refusal, Verdict};
use serde_json::{Value, json};
use std::sync::Arc;

const RULE: &str = "/agents/support~1summarizer/allow/0";
const CRM: &str = "eu.crm.acme.example";

/// A signer that issues tokens.
pub(super) fn signer() -> Value {
    json!({
        "id": "idp", "keys": [{"id": "2027-a", "public": TEST_KEY}], "agents": ["support/*"], "tenants": ["acme"],
        "provenance": ["unknown"],
        "jwt": {"issuer": "https://idp.acme.example", "audiences": ["egress-test"], "claims": {"session": "sid", "tenant": "tid"}},
    })
}

/// The policy without the destination's credentials, which would come in the same field.
fn with_signer() -> Value {
    edited(edited(policy(), "/signers/-", signer()), "/destinations/openai/credentials", Value::Null)
}

fn refused(policy: &Value) -> String {
    Configuration::accept(&document(policy)).unwrap_err().to_string()
}

fn es256() -> Value {
    json!({"kty": "EC", "crv": "P-256", "kid": "ec", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})
}

#[test]
fn a_signer_of_tokens_signs_no_requests() {
    let configuration = accept(&with_signer());
    let policy = configuration.policy();
    assert_eq!(policy.tokens().headers(), ["authorization"]);
    assert!(policy.keys().get("2027-a").is_none());
    // So both may use the same key and the same id.
    let same = edited(with_signer(), "/signers/1/keys/0/id", json!("signer-eu-1"));
    assert_eq!(accept(&same).policy().keys().get("signer-eu-1").unwrap().signer, 0);
}

#[test]
fn only_rules_that_name_it_accept_a_token() {
    let of = |binding: Value| accept(&edited(policy(), &format!("{RULE}/binding"), binding));
    let allowed = "allow support/summarizer/read-orders by crm";
    let denied = "deny binding-denied support/summarizer/read-orders binding";
    for (names, request, session) in [
        (json!("request"), allowed, denied),
        (json!(["session"]), denied, allowed),
        (json!(["request", "session"]), allowed, allowed),
    ] {
        let configuration = of(names);
        for (binding, expected) in [(Binding::Request, request), (Binding::Session, session), (Binding::Tunnel, denied)]
        {
            let request = Request { binding, ..Request::get(CRM, "/v1/orders/7", GOOD) };
            assert_eq!(request.outcome(&configuration), expected, "{binding:?}");
        }
    }
}

/// Who observes could have allowed, but not what anybody who saw the token could send.
#[test]
fn monitor_does_not_let_a_token_go_that_no_rule_accepts() {
    let observed = edited(policy(), "/mode", json!("monitor"));
    let mode = |configuration: &Configuration, binding: Binding, authority: &'static str| {
        let request = Request { binding, ..Request::get(authority, "/v1/orders/7", GOOD) };
        match request.judge(configuration) {
            Verdict::Refused(Refusal { mode, reason, .. }) => (mode, reason.code()),
            Verdict::Allowed(_) => panic!("allowed"),
        }
    };
    let configuration = accept(&observed);
    assert_eq!(mode(&configuration, Binding::Session, CRM), (Mode::Enforce, "binding-denied"));
    // Where there is no rule at all, neither.
    assert_eq!(mode(&configuration, Binding::Session, "attacker.example"), (Mode::Enforce, "binding-denied"));
    assert_eq!(mode(&configuration, Binding::Request, "attacker.example"), (Mode::Monitor, "destination-unlisted"));
    let sessions = accept(&edited(observed, &format!("{RULE}/binding"), json!("session")));
    assert_eq!(mode(&sessions, Binding::Request, CRM), (Mode::Monitor, "binding-denied"));
}

/// What is removed does not depend on how the context is bound.
#[test]
fn a_rule_removes_headers_of_what_it_covers_whether_it_accepts_the_binding_or_not() {
    let other = json!({
        "id": "by-token", "to": ["crm"], "paths": ["/v1/orders/*"], "binding": "session", "headers": {"keep": ["x-api-version"]},
    });
    let with_other = edited(policy(), "/agents/support~1summarizer/allow/-", other);
    let removing = edited(with_other, &format!("{RULE}/headers/remove"), json!(["accept", "x-api-version"]));
    let configuration = accept(&removing);
    let keeps = |binding: Binding, target: &str, name: &str| {
        let request = Request { binding, ..Request::get(CRM, target, GOOD) };
        match request.judge(&configuration) {
            Verdict::Allowed(grant) => grant.keeps(name),
            Verdict::Refused(refusal) => panic!("{refusal:?}"),
        }
    };
    for name in ["accept", "x-api-version"] {
        assert!(!keeps(Binding::Session, "/v1/orders/7", name), "{name}");
    }
    assert!(keeps(Binding::Session, "/v1/orders/7", "range"));
}

#[test]
fn wrong_signers_of_tokens_are_refused_with_place_and_remedy() {
    let jwt = "/signers/1/jwt";
    for (place, value, said) in [
        (
            "/issuer",
            Value::Null,
            "policy: /signers/1/jwt: nobody is named as issuer; add issuer, or trust_domain for JWT-SVIDs (a key may be used for tokens that were made for others)",
        ),
        (
            "/issuer",
            json!(""),
            r#"policy: /signers/1/jwt/issuer: "" is not an issuer; write 1 to 512 characters without controls"#,
        ),
        (
            "/trust_domain",
            json!("spiffe://acme.example"),
            r#"policy: /signers/1/jwt/trust_domain: "spiffe://acme.example" is not a trust domain; write it without spiffe:// and path, as in acme.example"#,
        ),
        ("/audiences", Value::Null, r#"policy: /signers/1/jwt: the key "audiences" is missing; add "audiences""#),
        (
            "/audiences",
            json!([]),
            "policy: /signers/1/jwt/audiences: an empty list fits nothing; name at least one, or leave the key out",
        ),
        (
            "/audiences",
            json!(["a", "b\n"]),
            r#"policy: /signers/1/jwt/audiences/1: "b\n" is not an audience; write 1 to 512 characters without controls"#,
        ),
        (
            "/header",
            json!("Authorization"),
            r#"policy: /signers/1/jwt/header: "Authorization" is not a header name; write it in lower case, such as x-api-version"#,
        ),
        (
            "/header",
            json!("content-type"),
            "policy: /signers/1/jwt/header: content-type has a meaning of its own; write authorization, proxy-authorization or a name of your own",
        ),
        (
            "/header",
            json!("agent-context"),
            "policy: /signers/1/jwt/header: agent-context has a meaning of its own; write authorization, proxy-authorization or a name of your own",
        ),
        (
            "/header",
            json!("x-forwarded-access-token"),
            "policy: /signers/1/jwt/header: x-forwarded-access-token has a meaning of its own; write authorization, proxy-authorization or a name of your own",
        ),
        (
            "/header",
            json!("cookie"),
            "policy: /signers/1/jwt/header: cookie has a meaning of its own; write authorization, proxy-authorization or a name of your own",
        ),
        ("/max_age", json!("0s"), "policy: /signers/1/jwt/max_age: out of range; write 1s to 365d"),
        ("/claims", json!({}), r#"policy: /signers/1/jwt/claims: the key "session" is missing; add "session""#),
        (
            "/claims/tool",
            json!("tool"),
            r#"policy: /signers/1/jwt/claims/tool: unknown key "tool"; Known here: agent, session, tenant, user, region, roles, scope, session_type (a key that nobody reads would be taken for one that holds)"#,
        ),
        (
            "/claims/user",
            json!("/a~2"),
            r#"policy: /signers/1/jwt/claims/user: "/a~2" is not a claim; write a name such as tid, or a JSON pointer such as /realm_access/roles"#,
        ),
    ] {
        assert_eq!(refused(&edited(with_signer(), &format!("{jwt}{place}"), value)), said);
    }
    for (place, value, said) in [
        (
            "/provenance",
            json!(["user", "unknown"]),
            "policy: /signers/1/provenance: a token vouches for no source; write provenance: [unknown] (where the content of a request came from is not taken from a token)",
        ),
        (
            "/provenance",
            Value::Null,
            "policy: /signers/1/provenance: a token vouches for no source; write provenance: [unknown] (where the content of a request came from is not taken from a token)",
        ),
        (
            "/tools",
            json!(["crm.*"]),
            "policy: /signers/1/tools: a token names no tool; remove tools (which tool is used is not taken from a token)",
        ),
        (
            "/keys/-",
            json!({"id": "2027-a", "public": TEST_KEY}),
            r#"policy: /signers/1/keys/1/id: another key has the id "2027-a"; give each key an id of its own; a key without one has the id of its signer (a token names its key by this id)"#,
        ),
        (
            "/keys/0",
            json!({"public": {"kty": "EC", "crv": "P-384", "x": "", "y": ""}}),
            "policy: /signers/1/keys/0/public: a JWK of a kind that is not known here; write base64 of the 32 bytes of the public half, or its JWK",
        ),
    ] {
        assert_eq!(refused(&edited(with_signer(), &format!("/signers/1{place}"), value)), said);
    }
    // Signatures of requests are Ed25519.
    assert_eq!(
        refused(&edited(policy(), "/signers/0/keys/0", json!({"public": es256()}))),
        "policy: /signers/0/keys/0/public: a key for ES256; give an Ed25519 key, or jwt if the signer issues tokens (signatures of requests are Ed25519)"
    );
}

#[test]
fn a_token_is_of_one_signer() {
    let second = |header: Value, issuer: Value| {
        let mut other = edited(signer(), "/id", json!("other"));
        for (name, value) in [("header", header), ("issuer", issuer), ("trust_domain", json!("acme.example"))] {
            if !value.is_null() || name == "issuer" {
                other = edited(other, &format!("/jwt/{name}"), value);
            }
        }
        edited(with_signer(), "/signers/-", other)
    };
    let clash = "policy: /signers/2/jwt: another signer takes such tokens from authorization; give each an issuer of its own, or a header of its own (a token must be of one signer only)";
    assert_eq!(refused(&second(Value::Null, json!("https://idp.acme.example"))), clash);
    assert_eq!(refused(&second(json!("authorization"), Value::Null)), clash);
    let both = accept(&second(json!("x-svid"), Value::Null));
    assert_eq!(both.policy().tokens().headers(), ["authorization", "x-svid"]);
    let both = accept(&second(Value::Null, json!("https://other.example")));
    assert_eq!(both.policy().tokens().headers(), ["authorization"]);
}

#[test]
fn what_carries_tokens_is_kept_nowhere() {
    // The destination of models keeps `authorization`.
    let with_header = |name: &str| edited(with_signer(), "/signers/1/jwt/header", json!(name));
    let keeps = json!({"keep": ["x-api-key", "authorization"]});
    let refusal = refused(&edited(with_signer(), "/destinations/openai/credentials", keeps));
    assert_eq!(
        refusal,
        "policy: /destinations/openai/credentials/keep/1: authorization carries the tokens of a signer; let the signer take them from another header, or remove it here (whoever gets a token can use it, so it never goes on)"
    );
    let kept = edited(
        with_header("x-agent-token"),
        &format!("{RULE}/headers/keep"),
        json!(["x-api-version", "x-agent-token"]),
    );
    assert!(
        refused(&kept).starts_with("policy: /agents/support~1summarizer/allow/0/headers/keep/1: x-agent-token carries")
    );
    let profile =
        edited(with_header("x-agent-token"), "/profiles/chat/allow/0/headers", json!({"keep": "x-agent-token"}));
    assert!(refused(&profile).starts_with("policy: /profiles/chat/allow/0/headers/keep/0: x-agent-token carries"));
}

#[test]
fn a_host_that_cannot_verify_a_key_is_told_where_it_stands() {
    #[derive(Debug)]
    struct Without;
    impl HostVerifier for Without {
        fn verify(&self, _: HostAlgorithm, _: &[u8], _: &[u8], _: &[u8]) -> Result<bool, HostRefusal> {
            Err(HostRefusal("it has no verify_signature".to_owned()))
        }
    }
    assert!(accept(&with_signer()).with_host(Arc::new(Without)).is_ok());
    let needs = edited(with_signer(), "/signers/1/keys/-", json!({"public": es256()}));
    assert_eq!(
        accept(&needs).with_host(Arc::new(Without)).unwrap_err().to_string(),
        "policy: /signers/1/keys/1/public: this gateway cannot verify ES256 with it: it has no verify_signature; use an Ed25519 key, or a gateway that can (Envoy 1.40 does) (its host has to do this, by the foreign function verify_signature)"
    );
}
