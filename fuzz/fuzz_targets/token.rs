//! A token that nobody signed never verifies, and nothing in it panics.
#![no_main]

use exeat_engine::context::PublicKey;
use exeat_engine::context::token::{AgentClaim, ClaimMap, ClaimPath, KeyMaterial, TokenIssuer, TokenIssuers, TokenKey};
use exeat_engine::facts::Timestamp;
use exeat_engine::request::RequestHead;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static ISSUERS: LazyLock<TokenIssuers> = LazyLock::new(|| {
    let path = |name| ClaimPath::parse(name).expect("a claim");
    let public = PublicKey::parse("JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs").expect("a key");
    let key = TokenKey {
        kid: "k1".to_owned(),
        material: KeyMaterial::Ed25519(public),
        not_before: None,
        not_after: None,
        place: String::new(),
    };
    let claims = ClaimMap {
        agent: AgentClaim::Claim(path("sub")),
        session: path("sid"),
        tenant: Some(path("/a/b")),
        user: None,
        region: None,
        roles: Some(path("roles")),
        scope: Some(path("scope")),
        session_type: None,
    };
    let issuer = TokenIssuer {
        signer: 0,
        header: "authorization".to_owned(),
        issuer: None,
        trust_domain: None,
        audiences: vec!["a".to_owned()],
        max_age: None,
        claims,
        keys: vec![key],
    };
    TokenIssuers::new(vec![issuer], 0)
});

fuzz_target!(|data: &[u8]| {
    let mut head = RequestHead {
        method: "GET".into(),
        scheme: None,
        authority: "a.example".into(),
        path: Some("/".into()),
        fields: vec![("authorization".into(), [b"Bearer ", data].concat().into())],
    };
    let error = ISSUERS.verify(&head, Timestamp(1_800_000_000_000), 5_000).expect_err("nobody signed it");
    assert!(!error.to_string().chars().any(char::is_control));
    ISSUERS.strip(&mut head);
    assert!(head.fields.is_empty());
});
