//! Tests of bearer tokens, with the issuer and the keys that they share.

mod attacks;
mod claims;
mod host;
mod verify;

use super::*;
use crate::context::PublicKey;
use crate::facts::Timestamp;
use crate::request::RequestHead;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_compact::{KeyPair, Seed};
use ring::rand::SystemRandom;
use ring::rsa::{KeyPairComponents, PublicKeyComponents};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};

/// 2027-01-15, 08:00:00.
pub(super) const NOW: Timestamp = Timestamp(1_800_000_000_000);
pub(super) const SECONDS: u64 = 1_800_000_000;
pub(super) const SKEW: u64 = 5_000;
pub(super) const ISSUER: &str = "https://idp.acme.example";

/// A key to sign tokens with.
pub(super) enum Signing {
    Ed25519(KeyPair),
    P256(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl Signing {
    pub(super) fn ed25519(seed: u8) -> Self {
        Self::Ed25519(KeyPair::from_seed(Seed::new([seed; 32])))
    }

    pub(super) fn p256() -> Self {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &SystemRandom::new())
            .unwrap();
        Self::P256(pair)
    }

    /// The key of RFC 7515 appendix A.2: published, for tests only.
    pub(super) fn rsa() -> Self {
        let jwk = rsa_jwk();
        let member = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
        let components = KeyPairComponents {
            public_key: PublicKeyComponents { n: member("n"), e: member("e") },
            d: member("d"),
            p: member("p"),
            q: member("q"),
            dP: member("dp"),
            dQ: member("dq"),
            qInv: member("qi"),
        };
        Self::Rsa(RsaKeyPair::from_components(&components).unwrap())
    }

    pub(super) fn material(&self) -> KeyMaterial {
        match self {
            Self::Ed25519(pair) => KeyMaterial::Ed25519(PublicKey::from_bytes(*pair.pk).unwrap()),
            Self::P256(pair) => {
                let point = ring::signature::KeyPair::public_key(pair).as_ref();
                let coordinate = |range| URL_SAFE_NO_PAD.encode(&point[range]);
                KeyMaterial::Host(HostAlgorithm::Es256, key::p256(&coordinate(1..33), &coordinate(33..65)).unwrap())
            }
            Self::Rsa(_) => {
                let n = rsa_jwk()["n"].as_str().unwrap().to_owned();
                KeyMaterial::Host(HostAlgorithm::Rs256, key::rsa(&n, "AQAB").unwrap())
            }
        }
    }

    pub(super) fn alg(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "EdDSA",
            Self::P256(_) => "ES256",
            Self::Rsa(_) => "RS256",
        }
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Ed25519(pair) => pair.sk.sign(message, None).to_vec(),
            Self::P256(pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            }
        }
    }
}

pub(super) fn rsa_jwk() -> Value {
    serde_json::from_str(include_str!("../../../../../tests/vectors/tokens/rfc7515_rsa.json")).unwrap()
}

/// A host in whose place `ring` verifies. Counts how often it is asked.
#[derive(Debug, Default)]
pub(super) struct RingHost {
    pub(super) asked: AtomicUsize,
}

impl HostVerifier for RingHost {
    fn verify(
        &self,
        algorithm: HostAlgorithm,
        key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<bool, HostRefusal> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(match algorithm {
            // The point ends the SubjectPublicKeyInfo.
            HostAlgorithm::Es256 => UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &key[key.len() - 65..])
                .verify(message, signature)
                .is_ok(),
            // RSAPublicKey stands behind 24 bytes of algorithm and lengths.
            HostAlgorithm::Rs256 => {
                UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &key[24..]).verify(message, signature).is_ok()
            }
        })
    }
}

pub(super) fn key(kid: &str, signing: &Signing) -> TokenKey {
    let place = "/signers/0/keys/0/public".to_owned();
    TokenKey { kid: kid.to_owned(), material: signing.material(), not_before: None, not_after: None, place }
}

pub(super) fn path(text: &str) -> ClaimPath {
    ClaimPath::parse(text).unwrap()
}

/// Takes tokens from `authorization`; its key `k1` is [`Signing::ed25519`] of 1.
pub(super) fn issuer() -> TokenIssuer {
    TokenIssuer {
        signer: 3,
        header: "authorization".to_owned(),
        issuer: Some(ISSUER.to_owned()),
        trust_domain: None,
        audiences: vec!["egress-eu-1".to_owned(), "egress".to_owned()],
        max_age: None,
        claims: ClaimMap {
            agent: AgentClaim::Claim(path("sub")),
            session: path("sid"),
            tenant: Some(path("tid")),
            user: None,
            region: None,
            roles: None,
            scope: None,
            session_type: None,
        },
        keys: vec![key("k1", &Signing::ed25519(1))],
    }
}

/// One key of them is prepared, the others are not; both verify alike.
pub(super) fn take(issuers: Vec<TokenIssuer>) -> TokenIssuers {
    TokenIssuers::new(issuers, 1)
}

/// Claims that [`issuer`] takes.
pub(super) fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "support/summarizer", "aud": "egress-eu-1", "sid": "s-1", "tid": "acme",
        "iat": SECONDS - 10, "nbf": SECONDS - 10, "exp": SECONDS + 300,
    })
}

/// `claims` with members replaced; null removes one.
pub(super) fn with(mut claims: Value, members: Value) -> Value {
    let all = claims.as_object_mut().unwrap();
    for (name, value) in members.as_object().unwrap() {
        match value {
            Value::Null => _ = all.remove(name),
            value => _ = all.insert(name.clone(), value.clone()),
        }
    }
    claims
}

/// Header and payload as given, signed.
pub(super) fn raw(header: &str, payload: &str, signing: &Signing) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature = URL_SAFE_NO_PAD.encode(signing.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

pub(super) fn token(claims: &Value, kid: Option<&str>, signing: &Signing) -> String {
    let mut header = json!({"alg": signing.alg(), "typ": "JWT"});
    if let Some(kid) = kid {
        header["kid"] = json!(kid);
    }
    raw(&header.to_string(), &claims.to_string(), signing)
}

/// A token as it should be.
pub(super) fn good() -> String {
    token(&claims(), Some("k1"), &Signing::ed25519(1))
}

pub(super) fn head(fields: &[(&str, &str)]) -> RequestHead {
    RequestHead {
        method: "GET".into(),
        scheme: None,
        authority: "a.example".into(),
        path: Some("/".into()),
        fields: fields.iter().map(|(name, value)| ((*name).into(), (*value).to_owned().into())).collect(),
    }
}

pub(super) fn verify_at(issuers: &TokenIssuers, token: &str, now: Timestamp) -> Result<VerifiedToken, TokenError> {
    let head = head(&[("authorization", &format!("Bearer {token}"))]);
    issuers.verify(&head, now, SKEW).map(|found| found.expect("there is a token"))
}

pub(super) fn verify(issuers: &TokenIssuers, token: &str) -> Result<VerifiedToken, TokenError> {
    verify_at(issuers, token, NOW)
}

/// What one issuer says of a token, in a line.
pub(super) fn refusal(issuer: TokenIssuer, token: &str) -> String {
    let error = verify(&take(vec![issuer]), token).unwrap_err();
    format!("{}: {error}", error.reason())
}
