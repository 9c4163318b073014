use super::*;
use exeat_engine::context::keyring::SignerKey;
use exeat_engine::context::{Expectations, Freshness, KeyRing, verify};
use exeat_engine::facts::Timestamp;
use proptest::prelude::*;
use zeroize::Zeroizing;

const NOW: i64 = 1_763_600_000;
const CONTEXT: &str = "agent=\"support/summarizer\", session=\"s-1\", provenance=(user)";
const STAMP: Stamp = Stamp { created: NOW, life: 60, nonce: [7; 16] };

fn key() -> SigningKey {
    SigningKey::new("signer-1", &Zeroizing::new([1; 32])).unwrap()
}

fn get(authority: &str, path: &str) -> RequestToSign {
    RequestToSign {
        method: "GET".to_owned(),
        scheme: "https".to_owned(),
        authority: authority.to_owned(),
        path: Some(path.to_owned()),
        content_digest: None,
        content_type: None,
        content_encoding: None,
    }
}

fn post() -> RequestToSign {
    RequestToSign {
        method: "POST".to_owned(),
        content_digest: Some(exeat_engine::context::sign::content_digest(b"{}")),
        content_type: Some("application/json; charset=utf-8".to_owned()),
        content_encoding: Some("gzip".to_owned()),
        ..get("api.acme.example:443", "/v1/x")
    }
}

fn connect() -> RequestToSign {
    RequestToSign { method: "CONNECT".to_owned(), path: None, ..get("api.acme.example:443", "/") }
}

/// What a gateway sees, with other lines in place of those that were signed.
fn verified(request: &RequestToSign, wire_scheme: &str, signed: &SignedFields) -> Result<String, String> {
    let mut keys = KeyRing::default();
    keys.insert("signer-1", SignerKey { signer: 0, public: key().public().clone(), not_before: None, not_after: None });
    let mut fields = vec![
        ("agent-context".into(), signed.agent_context.clone().into()),
        ("signature-input".into(), signed.signature_input.clone().into()),
        ("signature".into(), signed.signature.clone().into()),
    ];
    for (name, value) in [
        ("content-digest", &request.content_digest),
        ("content-type", &request.content_type),
        ("content-encoding", &request.content_encoding),
    ] {
        fields.extend(value.iter().map(|value| (name.into(), value.clone().into())));
    }
    let head = RequestHead {
        method: request.method.clone().into(),
        scheme: Some(wire_scheme.to_owned().into()),
        authority: request.authority.clone().into(),
        path: request.path.clone().map(Into::into),
        fields,
    };
    let now = Timestamp(u64::try_from(NOW).unwrap() * 1000);
    let expect =
        Expectations { keys: &keys, gateway: "gw", freshness: Freshness::default(), now, started: Timestamp(0) };
    verify(&head, &expect).map(|verified| format!("{verified:?}")).map_err(|error| error.to_string())
}

fn sign(request: &RequestToSign, wire_scheme: &str) -> Result<SignedFields, SignRefusal> {
    CheckedRequest::new(request)?.sign(CONTEXT, wire_scheme, &key(), STAMP)
}

#[test]
fn a_gateway_verifies_what_is_signed() {
    for request in [
        get("api.acme.example:443", "/v1/orders?id=7"),
        get("api.acme.example:443", "/"),
        get("api.acme.example:443", "/?"),
        get("[2001:db8::1]:8443", "/a//b;c=%2e?q=\"<>"),
        RequestToSign { scheme: "http".to_owned(), ..get("api.acme.example", "/") },
        RequestToSign { scheme: "http".to_owned(), ..get("api.acme.example:8080", "/") },
        post(),
        connect(),
    ] {
        for wire_scheme in ["http", "https"] {
            let signed = sign(&request, wire_scheme).unwrap();
            verified(&request, wire_scheme, &signed).unwrap_or_else(|error| panic!("{request:?}: {error}"));
            assert_eq!(signed.agent_context, CONTEXT);
        }
    }
    let signed = sign(&post(), "http").unwrap();
    let covered = "(\"@method\" \"@authority\" \"@path\" \"agent-context\" \"content-digest\" \"content-type\" \
                   \"content-encoding\");created=1763600000;expires=1763600060;nonce=\"BwcHBwcHBwcHBwcHBwcHBw\";\
                   keyid=\"signer-1\";alg=\"ed25519\";tag=\"exeat\"";
    assert_eq!(signed.signature_input, format!("exeat={covered}"));
    let signed = sign(&connect(), "http").unwrap();
    assert!(signed.signature_input.starts_with("exeat=(\"@method\" \"@authority\" \"agent-context\");"));
}

#[test]
fn nothing_else_verifies_with_it() {
    let request = post();
    let signed = sign(&request, "http").unwrap();
    for other in [
        RequestToSign { method: "PUT".to_owned(), ..request.clone() },
        RequestToSign { authority: "evil.example:443".to_owned(), ..request.clone() },
        RequestToSign { path: Some("/v1/y".to_owned()), ..request.clone() },
        RequestToSign { path: Some("/v1/x?".to_owned()), ..request.clone() },
        RequestToSign { content_type: None, ..request.clone() },
        RequestToSign { content_encoding: Some("br".to_owned()), ..request.clone() },
        RequestToSign { content_digest: Some(exeat_engine::context::sign::content_digest(b"[]")), ..request.clone() },
    ] {
        assert!(verified(&other, "http", &signed).is_err(), "{other:?}");
    }
    let forged = SignedFields { agent_context: CONTEXT.replace("support/", "finance/"), ..signed };
    assert!(verified(&request, "http", &forged).is_err());
}

/// Each of these is what a proxy in the hands of an attacker might ask for.
#[test]
fn what_could_be_read_in_two_ways_is_not_signed() {
    let get = || get("api.acme.example:443", "/");
    let path = |path: &str| RequestToSign { path: Some(path.to_owned()), ..get() };
    let authority = |authority: &str| RequestToSign { authority: authority.to_owned(), ..get() };
    let method = |method: &str| RequestToSign { method: method.to_owned(), ..get() };
    let scheme = |scheme: &str, authority: &str| RequestToSign {
        scheme: scheme.to_owned(),
        authority: authority.to_owned(),
        ..get()
    };
    let digest = |digest: &str| RequestToSign { content_digest: Some(digest.to_owned()), ..post() };
    let content_type = |value: &str| RequestToSign { content_type: Some(value.to_owned()), ..post() };
    let good = exeat_engine::context::sign::content_digest(b"{}");
    let long_path = format!("/{}", "a".repeat(MAX_PATH));
    for request in [
        method(""),
        method("GET\r\nX: y"),
        method("GET "),
        method("Connect"),
        method("connect"),
        method("CONNECT"),
        method(&"A".repeat(33)),
        method("GÉT"),
        RequestToSign { path: None, ..get() },
        path(""),
        path("x"),
        path("*"),
        path("http://evil.example/"),
        path("/a b"),
        path("/a\r\nHost: evil.example"),
        path("/a\nb"),
        path("/a\0"),
        path("/a#b"),
        path("/é"),
        path("/a\tb"),
        path(&long_path),
        authority(""),
        authority("api.acme.example"),
        authority("api.acme.example:"),
        authority("api.acme.example:0"),
        authority("api.acme.example:0443"),
        authority("api.acme.example:443:443"),
        authority("API.acme.example:443"),
        authority("api.acme.example.:443"),
        authority("user@api.acme.example:443"),
        authority("api.acme.example:443,evil.example"),
        authority("api.acme.example:443\r\nx: y"),
        authority("api.acme.example:443 "),
        authority(" api.acme.example:443"),
        authority("api.acme.example/x:443"),
        authority("0x7f.1:443"),
        authority("[2001:db8:0::1]:443"),
        authority("bücher.example:443"),
        scheme("http", "api.acme.example:80"),
        scheme("https", "api.acme.example"),
        scheme("HTTPS", "api.acme.example:443"),
        scheme("ftp", "api.acme.example:443"),
        scheme("", "api.acme.example:443"),
        RequestToSign { content_type: Some("text/plain".to_owned()), ..get() },
        RequestToSign { content_encoding: Some("gzip".to_owned()), ..get() },
        RequestToSign { content_digest: Some(good.clone()), ..connect() },
        RequestToSign { authority: "api.acme.example".to_owned(), ..connect() },
        digest(""),
        digest("sha-256=::"),
        digest("sha-256=:AAAA:"),
        digest(&format!("{good}, sha-512=:AAAA:")),
        digest(&format!("{good}\r\nx: y")),
        digest(&good.replace("sha-256", "sha-512")),
        digest(&good.replace("sha-256", "SHA-256")),
        content_type(""),
        content_type(" text/plain"),
        content_type("text/plain\t"),
        content_type("text/plain\r\nAgent-Context: agent=\"x\""),
        content_type("text/plain\0"),
        content_type("text/plän"),
        content_type(&"x".repeat(MAX_VALUE + 1)),
    ] {
        match CheckedRequest::new(&request) {
            Err(SignRefusal::Malformed { why }) => assert!(why.bytes().all(|b| matches!(b, b' '..=b'~')), "{why:?}"),
            other => panic!("{request:?} gave {other:?}"),
        }
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[ -~]{0,40}", "[a-z0-9.:\\[\\]@,-]{0,24}", "/[a-z%?#/ ]{0,24}"]
}

proptest! {
    /// Whatever is asked: a refusal, or lines that a gateway verifies for exactly that request and this context.
    #[test]
    fn whatever_is_asked_verifies_or_is_refused(
        method in prop_oneof![Just("GET".to_owned()), Just("CONNECT".to_owned()), text()],
        scheme in prop_oneof![Just("http".to_owned()), Just("https".to_owned()), text()],
        authority in prop_oneof![Just("api.acme.example:8443".to_owned()), text()],
        path in proptest::option::of(prop_oneof![Just("/x?y".to_owned()), text()]),
        digest in proptest::option::of(prop_oneof![Just(exeat_engine::context::sign::content_digest(b"x")), text()]),
        kind in proptest::option::of(text()),
        wire in prop_oneof![Just("http"), Just("https")],
    ) {
        let request = RequestToSign {
            method, scheme, authority, path, content_digest: digest, content_type: kind, content_encoding: None,
        };
        if let Ok(signed) = sign(&request, wire) {
            prop_assert!(verified(&request, wire, &signed).is_ok(), "{:?}", request);
            for line in [&signed.agent_context, &signed.signature_input, &signed.signature] {
                prop_assert!(line.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            }
        }
    }
}
