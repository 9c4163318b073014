//! Tokens as an attacker sends them: each is refused, and for its own reason.

use super::*;
use hmac::{Hmac, KeyInit as _, Mac as _};
use proptest::prelude::*;
use sha2::Sha256;

const EDDSA: &str = r#"{"alg":"EdDSA","kid":"k1","typ":"JWT"}"#;

fn of(header: &str, claims: &Value) -> String {
    raw(header, &claims.to_string(), &Signing::ed25519(1))
}

#[test]
fn a_header_that_asks_for_anything_else_is_refused() {
    for (header, said) in [
        (
            r#"{"alg":"none"}"#,
            r#"signature-invalid: the token's alg is "none", where EdDSA, ES256 and RS256 are known"#,
        ),
        (
            r#"{"alg":"None"}"#,
            r#"signature-invalid: the token's alg is "None", where EdDSA, ES256 and RS256 are known"#,
        ),
        (r#"{"alg":""}"#, r#"signature-invalid: the token's alg is "", where EdDSA, ES256 and RS256 are known"#),
        (
            r#"{"alg":"eddsa"}"#,
            r#"signature-invalid: the token's alg is "eddsa", where EdDSA, ES256 and RS256 are known"#,
        ),
        (
            r#"{"alg":"HS256","kid":"k1"}"#,
            r#"signature-invalid: the token's alg is "HS256", where EdDSA, ES256 and RS256 are known"#,
        ),
        (
            r#"{"alg":"Ed448","kid":"k1"}"#,
            r#"signature-invalid: the token's alg is "Ed448", where EdDSA, ES256 and RS256 are known"#,
        ),
        (r#"{"alg":"ES256","kid":"k1"}"#, r#"signature-invalid: the token's alg is ES256, which key "k1" is not for"#),
        (r#"{"alg":"RS256","kid":"k1"}"#, r#"signature-invalid: the token's alg is RS256, which key "k1" is not for"#),
        (r#"{"alg":"ES256"}"#, "key-unknown: the token names no key (kid), and not exactly one key would do"),
        (r#"{"kid":"k1"}"#, "context-malformed: the token names no alg"),
        (r#"{"alg":["EdDSA"]}"#, "context-malformed: the token has a header whose alg is not text"),
        (r#"{"alg":null}"#, "context-malformed: the token has a header whose alg is not text"),
        (r#"{"alg":"EdDSA","kid":1}"#, "context-malformed: the token has a header whose kid is not text"),
        (
            r#"{"alg":"EdDSA","crit":["exp"],"exp":1}"#,
            "context-malformed: the token names extensions that must be understood (crit)",
        ),
        (
            r#"{"alg":"EdDSA","crit":[]}"#,
            "context-malformed: the token names extensions that must be understood (crit)",
        ),
        (r#"{"alg":"EdDSA","b64":false}"#, "context-malformed: the token has a payload that is not encoded (b64)"),
        (r#"{"alg":"EdDSA","b64":true}"#, "context-malformed: the token has a payload that is not encoded (b64)"),
        (r#"{"alg":"dir","enc":"A256GCM"}"#, "context-malformed: the token is encrypted"),
        (r#"{"alg":"EdDSA","zip":"DEF"}"#, "context-malformed: the token is compressed"),
        (
            r#"{"alg":"EdDSA","typ":"dpop+jwt"}"#,
            "context-malformed: the token is of a type (typ) that is no bearer token",
        ),
        (
            r#"{"alg":"EdDSA","typ":"logout+jwt"}"#,
            "context-malformed: the token is of a type (typ) that is no bearer token",
        ),
        (r#"{"alg":"EdDSA","typ":7}"#, "context-malformed: the token has a header whose typ is not text"),
        (
            r#"{"alg":"none","alg":"EdDSA"}"#,
            "context-malformed: the token has a header that has a name twice (column 28)",
        ),
        (
            r#"{"alg":"EdDSA","\u0061lg":"none"}"#,
            "context-malformed: the token has a header that has a name twice (column 33)",
        ),
        (r#"["alg"]"#, "context-malformed: the token has a header that is not a JSON object"),
        ("not JSON", "context-malformed: the token has a header that is not JSON (column 2)"),
        ("", "context-malformed: the token has a header that is not JSON (column 0)"),
    ] {
        assert_eq!(refusal(issuer(), &of(header, &claims())), said, "{header}");
    }
    for header in [
        r#"{"alg":"EdDSA"}"#,
        r#"{"alg":"Ed25519","kid":"k1"}"#,
        r#"{"alg":"EdDSA","typ":"at+JWT","x5t":"ignored","foo":{"bar":1}}"#,
    ] {
        assert!(verify(&take(vec![issuer()]), &of(header, &claims())).is_ok(), "{header}");
    }
}

/// A key that the token brings along is not a key of the policy.
#[test]
fn a_token_cannot_bring_its_key() {
    let forger = Signing::ed25519(66);
    let Signing::Ed25519(pair) = &forger else { panic!() };
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(*pair.pk)});
    for header in [
        json!({"alg": "EdDSA", "jwk": jwk}),
        json!({"alg": "EdDSA", "kid": "k1", "jwk": jwk}),
        json!({"alg": "EdDSA", "jku": "https://evil.example/jwks.json"}),
        json!({"alg": "EdDSA", "x5u": "https://evil.example/cert.pem", "x5c": ["AAAA"]}),
    ] {
        let token = raw(&header.to_string(), &claims().to_string(), &forger);
        assert_eq!(refusal(issuer(), &token), r#"signature-invalid: the token does not verify with key "k1""#);
    }
}

/// The classic confusion: an HMAC under the bytes of a public key, which everybody knows.
#[test]
fn a_public_key_is_no_shared_secret() {
    let Signing::Ed25519(pair) = Signing::ed25519(1) else { panic!() };
    for alg in ["HS256", "EdDSA"] {
        let header = json!({"alg": alg, "kid": "k1"}).to_string();
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims().to_string()));
        let mut mac = Hmac::<Sha256>::new_from_slice(&*pair.pk).unwrap();
        mac.update(signed.as_bytes());
        let mut signature = mac.finalize().into_bytes().to_vec();
        for length in [32, 64] {
            signature.resize(length, 0);
            let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(&signature));
            assert!(refusal(issuer(), &token).starts_with("signature-invalid: "), "{alg} {length}");
        }
    }
}

#[test]
fn every_byte_counts() {
    let (issuers, good) = (take(vec![issuer()]), good());
    for at in 0..good.len() {
        let mut changed = good.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(verify(&issuers, &changed).is_err(), "byte {at}");
        assert!(verify(&issuers, good.get(..at).unwrap()).is_err(), "cut at {at}");
    }
    assert!(verify(&issuers, &good).is_ok());
}

#[test]
fn the_form_is_the_only_form() {
    let good = good();
    let parts: Vec<&str> = good.split('.').collect();
    let (header, payload, signature) = (parts[0], parts[1], parts[2]);
    for token in [
        format!("{header}.{payload}"),
        format!("{header}.{payload}."),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        format!("{good}."),
        format!("{good}.{signature}"),
        format!("{header}.{payload}.{signature}.x.y"),
        format!("{header}={}.{payload}.{signature}", ""),
        format!("{header}.{payload}.{signature}="),
        format!("{header}.{payload}.{signature}=="),
        format!("{header}.{payload}.\u{e9}{signature}"),
        format!("{header}.{payload} .{signature}"),
        format!("{header}\n.{payload}.{signature}"),
        format!("\"{good}\""),
        json!({"payload": payload, "protected": header, "signature": signature}).to_string(),
        "..".to_owned(),
        String::new(),
        ".".repeat(1000),
    ] {
        let said = refusal(issuer(), &token);
        assert!(said.starts_with("context-malformed: ") || said.starts_with("signature-invalid: "), "{token}: {said}");
    }
    // The last character of 64 bytes holds two bits; the other four must be zero, or one token had many spellings.
    let last = signature.chars().last().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let spellings = alphabet.chars().filter(|other| {
        let token = format!("{header}.{payload}.{}{other}", signature.strip_suffix(last).unwrap());
        verify(&take(vec![issuer()]), &token).is_ok()
    });
    assert_eq!(spellings.collect::<Vec<_>>(), [last]);
    // Standard base64 in place of base64url.
    let bytes: Vec<u8> = (0..64).map(|n| 0xfb ^ n).collect();
    let standard = base64::engine::general_purpose::STANDARD_NO_PAD.encode(bytes);
    assert!(refusal(issuer(), &format!("{header}.{payload}.{standard}")).contains("not base64url"));
}

#[test]
fn claims_of_the_wrong_form_are_refused() {
    for (members, said) in [
        (json!({"exp": null}), r#"context-malformed: the token's claim "exp" is missing"#),
        (json!({"exp": SECONDS - 6}), "signature-expired: the token ended (exp) at 1799999994, now is 1800000000.000"),
        (json!({"exp": 0}), "signature-expired: the token ended (exp) at 0, now is 1800000000.000"),
        (
            json!({"nbf": SECONDS + 6}),
            "signature-expired: the token counts only from 1800000006 on (nbf), now is 1800000000.000",
        ),
        (
            json!({"iat": SECONDS + 6}),
            "signature-expired: the token counts only from 1800000006 on (iat), now is 1800000000.000",
        ),
        (json!({"aud": null}), r#"context-malformed: the token's claim "aud" is missing"#),
        (json!({"aud": "other"}), "audience-mismatch: the token is for another audience (aud)"),
        (
            json!({"aud": [["egress"]]}),
            r#"context-malformed: the token's claim "aud" is neither text nor a list of texts"#,
        ),
        (
            json!({"aud": {"egress": 1}}),
            r#"context-malformed: the token's claim "aud" is neither text nor a list of texts"#,
        ),
        (json!({"iss": ["https://idp.acme.example"]}), r#"context-malformed: the token's claim "iss" is not text"#),
        (
            json!({"iss": "https://evil.example"}),
            r#"key-unknown: the token is issued by "https://evil.example", whom the policy does not know"#,
        ),
        (
            json!({"cnf": {"jkt": "x"}}),
            r#"context-malformed: the token's claim "cnf" binds the token to a key of its sender, which is not checked here"#,
        ),
        (json!({"sub": null}), r#"context-malformed: the token's claim "sub" is missing"#),
        (json!({"sub": ""}), r#"context-malformed: the token's claim "sub" is not text of printable ASCII"#),
        (json!({"sub": 7}), r#"context-malformed: the token's claim "sub" is not text"#),
        (json!({"sid": null}), r#"context-malformed: the token's claim "sid" is missing"#),
        // What could end up in a header of its own.
        (
            json!({"sid": "s\r\nx-admin: 1"}),
            r#"context-malformed: the token's claim "sid" is not text of printable ASCII"#,
        ),
        (json!({"tid": "acm\u{e9}"}), r#"context-malformed: the token's claim "tid" is not text of printable ASCII"#),
        (json!({"tid": null}), r#"context-malformed: the token's claim "tid" is missing"#),
        (json!({"tid": ["acme"]}), r#"context-malformed: the token's claim "tid" is not text of printable ASCII"#),
    ] {
        let token = of(EDDSA, &with(claims(), members.clone()));
        assert_eq!(refusal(issuer(), &token), said, "{members}");
    }
    for exp in [
        json!("1800000300"),
        json!(-1),
        json!(1.8e9),
        json!(1_800_000_300.5),
        json!(253_402_300_800_u64),
        json!(null),
        json!([]),
    ] {
        for name in ["exp", "nbf", "iat"] {
            let mut claims = claims();
            claims[name] = exp.clone();
            let said = refusal(issuer(), &of(EDDSA, &claims));
            assert_eq!(
                said,
                format!("context-malformed: the token's claim \"{name}\" is not a number of whole seconds"),
                "{exp}"
            );
        }
    }
}

#[test]
fn a_claim_that_occurs_twice_is_refused_however_deep() {
    let good = claims().to_string();
    let body = good.strip_suffix('}').unwrap();
    for twice in [
        format!("{body},\"exp\":9999999999}}"),
        format!("{body},\"\\u0065xp\":9999999999}}"),
        format!("{body},\"act\":{{\"sub\":\"a\",\"sub\":\"b\"}}}}"),
        format!("{body},\"x\":[[{{\"y\":{{\"z\":1,\"z\":1}}}}]]}}"),
    ] {
        let said = refusal(issuer(), &raw(EDDSA, &twice, &Signing::ed25519(1)));
        assert!(
            said.starts_with("context-malformed: the token has a payload that has a name twice"),
            "{twice}: {said}"
        );
    }
}

#[test]
fn a_huge_token_costs_nothing() {
    let filled = |bytes: usize| of(EDDSA, &with(claims(), json!({"padding": "x".repeat(bytes)})));
    let room = (0..MOST_BYTES).rev().find(|bytes| filled(*bytes).len() <= MOST_BYTES).unwrap();
    let issuers = take(vec![issuer()]);
    assert!(verify(&issuers, &filled(room)).is_ok());
    for bytes in [room + 1, 1_000_000] {
        assert_eq!(refusal(issuer(), &filled(bytes)), "context-malformed: authorization: is too long");
    }
    let nested = format!("{}{}", "[".repeat(6_000), "]".repeat(6_000));
    let payload = format!("{},\"x\":{nested}}}", claims().to_string().strip_suffix('}').unwrap());
    assert!(refusal(issuer(), &raw(EDDSA, &payload, &Signing::ed25519(1))).contains("not JSON"));
}

#[test]
fn two_tokens_are_one_too_many() {
    let both = take(vec![
        issuer(),
        TokenIssuer {
            header: "x-agent-token".to_owned(),
            issuer: Some("https://other.example".to_owned()),
            ..issuer()
        },
    ]);
    let bearer = format!("Bearer {}", good());
    for (fields, header) in [
        (vec![("authorization", bearer.as_str()), ("authorization", bearer.as_str())], "authorization"),
        (vec![("authorization", bearer.as_str()), ("authorization", "")], "authorization"),
        (vec![("x-agent-token", good().leak() as &str), ("authorization", bearer.as_str())], "x-agent-token"),
        (vec![("authorization", bearer.as_str()), ("x-agent-token", "")], "x-agent-token"),
    ] {
        let error = both.verify(&head(&fields), NOW, SKEW).unwrap_err();
        assert_eq!(error, TokenError::Several { header: header.to_owned() });
    }
}

/// The same token in the field of another issuer is not what that issuer takes.
#[test]
fn a_token_counts_only_in_its_own_field() {
    let issuers = take(vec![
        issuer(),
        TokenIssuer {
            header: "x-agent-token".to_owned(),
            issuer: None,
            trust_domain: Some("acme.example".into()),
            ..issuer()
        },
    ]);
    assert!(verify(&issuers, &good()).is_ok());
    let error = issuers.verify(&head(&[("x-agent-token", &good())]), NOW, SKEW).unwrap_err();
    assert_eq!(error.to_string(), r#"the token's claim "sub" is not a SPIFFE id"#);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_field_panics(value in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        "Bearer [A-Za-z0-9_.-]{0,80}".prop_map(String::into_bytes),
        r#"\{("(alg|kid|typ|crit|exp|aud|iss|sub|act)":("(EdDSA|ES256|k1|x)"|-?[0-9]{1,20}|\[\]|\{\}|null),?){0,5}\}"#
            .prop_map(|json| format!("Bearer {0}.{0}.AAAA", URL_SAFE_NO_PAD.encode(json)).into_bytes()),
    ]) {
        let issuers = take(vec![issuer()]);
        let mut request = head(&[]);
        request.fields.push(("authorization".into(), value.into()));
        let error = issuers.verify(&request, NOW, SKEW).unwrap_err();
        let controls = error.to_string().chars().any(char::is_control);
        prop_assert!(!controls);
    }
}
