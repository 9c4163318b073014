//! Which tokens count, when, and by which key.

use super::*;
use crate::context::keyring::KeyProblem;
use crate::context::{DataClass, Provenance};

#[test]
fn a_token_makes_a_context_of_which_little_is_taken() {
    let claims = with(
        claims(),
        json!({"tool": "shell", "data_class": "public", "provenance": ["user"], "reason": "because", "gateway": "x"}),
    );
    let verified = verify(&take(vec![issuer()]), &token(&claims, Some("k1"), &Signing::ed25519(1))).unwrap();
    assert_eq!((verified.signer, verified.key.as_str()), (3, "k1"));
    assert_eq!(verified.issued, Some(1_799_999_990));
    let context = verified.context;
    assert_eq!((context.agent.as_str(), context.session.as_str()), ("support/summarizer", "s-1"));
    assert_eq!(context.tenant.as_deref(), Some("acme"));
    assert_eq!(context.provenance, [Provenance::Unknown]);
    assert_eq!(context.effective_data_class(), DataClass::Restricted);
    assert_eq!((&context.tool, &context.reason, &context.gateway), (&None, &None, &None));
    assert!(context.attributes.is_empty() && context.roles.is_empty() && context.delegated_by.is_empty());
    assert_eq!(context.scope, None);
}

#[test]
fn a_request_without_the_field_has_no_token() {
    let issuers = take(vec![issuer()]);
    for fields in [&[][..], &[("x-authorization", "Bearer x")], &[("cookie", "a=b")]] {
        assert!(issuers.verify(&head(fields), NOW, SKEW).unwrap().is_none());
    }
    let nobody = TokenIssuers::default();
    assert!(nobody.verify(&head(&[("authorization", "Bearer x")]), NOW, SKEW).unwrap().is_none());
}

#[test]
fn times_count_to_the_millisecond() {
    let issuers = take(vec![TokenIssuer { max_age: Some(60_000), ..issuer() }]);
    let claims = with(claims(), json!({"iat": SECONDS, "nbf": SECONDS + 10, "exp": SECONDS + 50}));
    let token = token(&claims, Some("k1"), &Signing::ed25519(1));
    // Fresh and remembered alike.
    for _ in 0..2 {
        for (millis, good) in [(4_999, false), (5_000, true), (55_000, true), (55_001, false)] {
            let verdict = verify_at(&issuers, &token, Timestamp(NOW.0 + millis));
            assert_eq!(verdict.is_ok(), good, "{millis}: {verdict:?}");
        }
    }
}

#[test]
fn age_counts_where_the_policy_says_so() {
    let aged = || TokenIssuer { max_age: Some(60_000), ..issuer() };
    let issued = |iat: u64| token(&with(claims(), json!({"iat": iat, "nbf": null})), Some("k1"), &Signing::ed25519(1));
    let issuers = take(vec![aged()]);
    assert!(verify(&issuers, &issued(SECONDS - 60)).is_ok());
    assert_eq!(
        verify(&issuers, &issued(SECONDS - 61)).unwrap_err(),
        TokenError::TooOld { iat: SECONDS - 61, now: NOW, max_age: 60_000 }
    );
    assert!(verify(&issuers, &issued(SECONDS + 5)).is_ok());
    assert_eq!(
        verify(&issuers, &issued(SECONDS + 6)).unwrap_err(),
        TokenError::NotYetValid { claim: "iat", at: SECONDS + 6, now: NOW }
    );
    // Without a limit an old token counts as long as it says, and needs no iat.
    let issuers = take(vec![issuer()]);
    assert!(verify(&issuers, &issued(1)).is_ok());
    let silent = token(&with(claims(), json!({"iat": null})), Some("k1"), &Signing::ed25519(1));
    assert!(verify(&issuers, &silent).unwrap().issued.is_none());
    assert_eq!(refusal(aged(), &silent), r#"context-malformed: the token's claim "iat" is missing"#);
}

#[test]
fn audiences_are_one_text_or_a_list() {
    for (aud, good) in [
        (json!("egress-eu-1"), true),
        (json!("egress"), true),
        (json!(["other", "egress"]), true),
        (json!("egress-eu-2"), false),
        (json!("EGRESS"), false),
        (json!("egress-eu-1 egress"), false),
        (json!(["other"]), false),
        (json!([]), false),
    ] {
        let token = token(&with(claims(), json!({"aud": aud})), Some("k1"), &Signing::ed25519(1));
        let verdict = verify(&take(vec![issuer()]), &token);
        assert_eq!(verdict.map(drop), if good { Ok(()) } else { Err(TokenError::Audience) }, "{aud}");
    }
}

#[test]
fn the_key_is_the_one_that_is_named_or_the_only_one() {
    let two =
        || TokenIssuer { keys: vec![key("k1", &Signing::ed25519(1)), key("k2", &Signing::ed25519(2))], ..issuer() };
    let issuers = take(vec![two()]);
    assert_eq!(verify(&issuers, &token(&claims(), Some("k2"), &Signing::ed25519(2))).unwrap().key, "k2");
    let unnamed = token(&claims(), None, &Signing::ed25519(2));
    assert_eq!(verify(&issuers, &unnamed).unwrap_err(), TokenError::KeyUnnamed);
    let only = TokenIssuer { keys: vec![key("k2", &Signing::ed25519(2)), key("p", &Signing::p256())], ..issuer() };
    assert_eq!(verify(&take(vec![only]), &unnamed).unwrap().key, "k2");
    for kid in ["k3", "K1", "", "3 k1", "0 k1"] {
        let error = verify(&issuers, &token(&claims(), Some(kid), &Signing::ed25519(1))).unwrap_err();
        assert_eq!(error, TokenError::Key { kid: kid.to_owned(), problem: KeyProblem::Unknown });
    }
}

#[test]
fn a_key_counts_in_its_time_whether_the_token_was_seen_before_or_not() {
    let bounded = TokenKey {
        not_before: Some(NOW),
        not_after: Some(Timestamp(NOW.0 + 1_000)),
        ..key("k1", &Signing::ed25519(1))
    };
    let issuers = take(vec![TokenIssuer { keys: vec![bounded], ..issuer() }]);
    let at = |millis: u64| verify_at(&issuers, &good(), Timestamp(millis)).map(drop);
    let problem = |problem| Err(TokenError::Key { kid: "k1".to_owned(), problem });
    assert_eq!(at(NOW.0 - 1), problem(KeyProblem::NotYetValid(NOW)));
    for _ in 0..2 {
        assert_eq!(at(NOW.0), Ok(()));
        assert_eq!(at(NOW.0 + 1_000), Ok(()));
        assert_eq!(at(NOW.0 + 1_001), problem(KeyProblem::Expired(Timestamp(NOW.0 + 1_000))));
        assert_eq!(at(NOW.0 - 1), problem(KeyProblem::NotYetValid(NOW)));
    }
}

/// Two issuers on one field may use the same key ids; each verifies only what it issued.
#[test]
fn the_issuer_decides_whose_keys_and_claims_count() {
    let other = TokenIssuer {
        signer: 4,
        issuer: Some("https://other.example".to_owned()),
        keys: vec![key("k1", &Signing::ed25519(9))],
        claims: ClaimMap { tenant: None, ..issuer().claims },
        ..issuer()
    };
    let issuers = take(vec![issuer(), other]);
    let from = |iss: &str, seed: u8| token(&with(claims(), json!({"iss": iss})), Some("k1"), &Signing::ed25519(seed));
    assert_eq!(verify(&issuers, &from(ISSUER, 1)).unwrap().signer, 3);
    let verified = verify(&issuers, &from("https://other.example", 9)).unwrap();
    assert_eq!((verified.signer, &verified.context.tenant), (4, &None));
    for (iss, seed) in [(ISSUER, 9), ("https://other.example", 1)] {
        let error = verify(&issuers, &from(iss, seed)).unwrap_err();
        assert_eq!(error, TokenError::SignatureInvalid { kid: "k1".to_owned() });
    }
    for iss in [json!("https://idp.acme.example/"), json!("HTTPS://idp.acme.example"), json!(""), Value::Null] {
        let got = iss.as_str().map(str::to_owned);
        let token = token(&with(claims(), json!({"iss": iss})), Some("k1"), &Signing::ed25519(1));
        assert_eq!(verify(&issuers, &token).unwrap_err(), TokenError::Issuer { got });
    }
}

#[test]
fn a_jwt_svid_is_of_its_trust_domain_and_needs_no_issuer() {
    let svid = || TokenIssuer { issuer: None, trust_domain: Some("acme.example".to_owned()), ..issuer() };
    let claims = |sub: Value| with(claims(), json!({"iss": null, "nbf": null, "iat": null, "sub": sub, "sid": "s"}));
    let header = json!({"alg": "EdDSA", "kid": "k1", "typ": "JOSE"}).to_string();
    let of = |sub: Value| raw(&header, &claims(sub).to_string(), &Signing::ed25519(1));
    let id = "spiffe://acme.example/ns/agents/sa/summarizer";
    let issuers = take(vec![svid()]);
    assert_eq!(verify(&issuers, &of(json!(id))).unwrap().context.agent, id);
    for (sub, said) in [
        (
            json!("spiffe://evil.example/ns/agents/sa/summarizer"),
            r#"the token's claim "sub" is of another trust domain"#,
        ),
        (json!("spiffe://acme.example.evil.example/x"), r#"the token's claim "sub" is of another trust domain"#),
        (json!("spiffe://acme.example"), r#"the token's claim "sub" is not a SPIFFE id"#),
        (json!("support/summarizer"), r#"the token's claim "sub" is not a SPIFFE id"#),
        (json!("spiffe://acme.example/../x"), r#"the token's claim "sub" is not a SPIFFE id"#),
        (json!(7), r#"the token's claim "sub" is not text"#),
        (Value::Null, r#"the token's claim "sub" is missing"#),
    ] {
        assert_eq!(refusal(svid(), &of(sub.clone())), format!("context-malformed: {said}"), "{sub}");
    }
    // The audience is what keeps an SVID for one service from being used at another.
    let elsewhere = with(claims(json!(id)), json!({"aud": "database"})).to_string();
    assert_eq!(
        refusal(svid(), &raw(&header, &elsewhere, &Signing::ed25519(1))),
        "audience-mismatch: the token is for another audience (aud)"
    );
}

#[test]
fn the_field_is_bearer_and_a_token_or_the_token_alone() {
    let at = |issuers: &TokenIssuers, name: &str, value: &str| issuers.verify(&head(&[(name, value)]), NOW, SKEW);
    let issuers = take(vec![issuer()]);
    for scheme in ["Bearer ", "bearer ", "BEARER "] {
        assert!(at(&issuers, "authorization", &format!("{scheme}{}", good())).unwrap().is_some());
    }
    for value in ["", "Bearer", "Basic eDp5", "Bearerx", &good(), "Token x.y.z", "bearer\tx"] {
        let error = at(&issuers, "authorization", value).unwrap_err();
        assert_eq!(error.to_string(), "authorization: is not Bearer and a token", "{value}");
    }
    for value in
        [format!("Bearer  {}", good()), format!("Bearer {} ", good()), format!("Bearer {0}, Bearer {0}", good())]
    {
        assert!(matches!(at(&issuers, "authorization", &value), Err(TokenError::Malformed { .. })), "{value}");
    }
    let plain = take(vec![TokenIssuer { header: "x-agent-token".to_owned(), ..issuer() }]);
    assert!(at(&plain, "x-agent-token", &good()).unwrap().is_some());
    assert!(at(&plain, "x-agent-token", &format!("Bearer {}", good())).is_err());
    assert!(at(&plain, "authorization", &format!("Bearer {}", good())).unwrap().is_none());
}

#[test]
fn what_carries_tokens_is_taken_out_of_the_request() {
    let issuers = take(vec![issuer(), TokenIssuer { header: "x-agent-token".to_owned(), ..issuer() }]);
    let mut request = head(&[("authorization", "a"), ("accept", "b"), ("x-agent-token", "c"), ("authorization", "d")]);
    issuers.strip(&mut request);
    assert_eq!(request.fields, [("accept".into(), "b".into())]);
}
