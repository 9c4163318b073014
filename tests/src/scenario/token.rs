//! Bearer tokens of scenarios: an issuer with its keys, the tokens it makes, and the host function that verifies some of
//! them where there is no Envoy.

use super::wire::FieldLine;
use anyhow::{Context, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use exeat_cli::key::PrivateKey;
use exeat_host_test::Status;
use ring::rand::SystemRandom;
use ring::rsa::{KeyPairComponents, PublicKeyComponents};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::fmt;

/// A token of a step.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenText {
    /// Fields it comes in; `authorization` unless set.
    #[serde(default)]
    pub headers: Vec<String>,
    /// Key that signs it.
    #[serde(default)]
    pub key: TokenKey,
    /// Members of its header besides `alg`, `typ` and `kid`, or in place of them; null leaves one out.
    #[serde(default)]
    pub head: Map<String, Value>,
    /// Claims besides the usual, or in place of them; null leaves one out. `exp`, `nbf` and `iat` are seconds from now.
    #[serde(default)]
    pub claims: Map<String, Value>,
    /// A claim of so many letters more.
    #[serde(default)]
    pub padding: usize,
    /// A claim of lists in lists, so many.
    #[serde(default)]
    pub nesting: usize,
    /// Text in place of the signature.
    pub signature: Option<String>,
}

/// Keys that sign tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenKey {
    /// Ed25519, known as `ed`.
    #[default]
    Ed,
    /// P-256, known as `ec`.
    Ec,
    /// RSA, known as `rsa`.
    Rsa,
    /// Ed25519, not known.
    Forger,
}

/// An issuer of tokens. The RSA key is the published one of RFC 7515; the others are new.
pub struct Issuer {
    ed25519: PrivateKey,
    forger: PrivateKey,
    p256: EcdsaKeyPair,
    rsa: RsaKeyPair,
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").finish_non_exhaustive()
    }
}

impl Issuer {
    /// With new keys.
    pub fn new() -> Result<Self> {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(failed)?;
        let p256 = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random);
        Ok(Self {
            ed25519: PrivateKey::generate()?,
            forger: PrivateKey::generate()?,
            p256: p256.map_err(failed)?,
            rsa: published_rsa()?,
        })
    }

    /// What policies name of it, for `@NAME@`.
    pub fn fill(&self) -> Vec<(&'static str, String)> {
        let point = self.p256.public_key().as_ref();
        let coordinate = |range| URL_SAFE_NO_PAD.encode(point.get(range).unwrap_or_default());
        let ed25519 = self.ed25519.public().to_base64();
        vec![
            ("ISSUER_ED25519", ed25519.trim_end_matches('=').replace('+', "-").replace('/', "_")),
            ("ISSUER_P256_X", coordinate(1..33)),
            ("ISSUER_P256_Y", coordinate(33..65)),
        ]
    }

    /// The field lines that carry a token.
    pub fn lines(&self, text: &TokenText, now: u64) -> Result<Vec<FieldLine>> {
        let token = self.token(text, now)?;
        let usual = vec!["authorization".to_owned()];
        let headers = if text.headers.is_empty() { &usual } else { &text.headers };
        let line = |name: &String| {
            let scheme = if name.ends_with("authorization") { "Bearer " } else { "" };
            (name.clone().into_bytes(), format!("{scheme}{token}").into_bytes())
        };
        Ok(headers.iter().map(line).collect())
    }

    fn token(&self, text: &TokenText, now: u64) -> Result<String> {
        let (alg, kid) = match text.key {
            TokenKey::Ed | TokenKey::Forger => ("EdDSA", "ed"),
            TokenKey::Ec => ("ES256", "ec"),
            TokenKey::Rsa => ("RS256", "rsa"),
        };
        let head = merged(json!({"alg": alg, "typ": "JWT", "kid": kid}), &text.head);
        let usual = json!({
            "iss": "https://idp.acme.example", "aud": "egress-demo", "sub": "support/summarizer", "sid": "s-1",
            "tid": "acme", "uid": "u-1042", "iat": -5, "exp": 300,
        });
        let mut claims = merged(usual, &text.claims);
        for name in ["exp", "nbf", "iat"] {
            if let Some(Value::Number(seconds)) = claims.get(name) {
                let seconds = seconds.as_i64().with_context(|| format!("{name} is no whole number"))?;
                claims.insert(name.to_owned(), json!(now.saturating_add_signed(seconds)));
            }
        }
        if text.padding > 0 {
            claims.insert("padding".to_owned(), json!("a".repeat(text.padding)));
        }
        if text.nesting > 0 {
            let nested = (1..text.nesting).fold(json!([]), |inner, _| json!([inner]));
            claims.insert("nested".to_owned(), nested);
        }
        let encode = |members: Map<String, Value>| URL_SAFE_NO_PAD.encode(Value::Object(members).to_string());
        let signed = format!("{}.{}", encode(head), encode(claims));
        let signature = match &text.signature {
            Some(text) => text.clone(),
            None => URL_SAFE_NO_PAD.encode(self.sign(text.key, signed.as_bytes())?),
        };
        Ok(format!("{signed}.{signature}"))
    }

    fn sign(&self, key: TokenKey, message: &[u8]) -> Result<Vec<u8>> {
        Ok(match key {
            TokenKey::Ed => self.ed25519.sign(message).to_vec(),
            TokenKey::Forger => self.forger.sign(message).to_vec(),
            TokenKey::Ec => self.p256.sign(&SystemRandom::new(), message).map_err(failed)?.as_ref().to_vec(),
            TokenKey::Rsa => {
                let mut signature = vec![0; self.rsa.public().modulus_len()];
                self.rsa.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).map_err(failed)?;
                signature
            }
        })
    }
}

fn merged(usual: Value, members: &Map<String, Value>) -> Map<String, Value> {
    let mut all = usual.as_object().cloned().unwrap_or_default();
    for (name, value) in members {
        match value {
            Value::Null => drop(all.remove(name)),
            value => drop(all.insert(name.clone(), value.clone())),
        }
    }
    all
}

fn published_rsa() -> Result<RsaKeyPair> {
    let path = crate::workspace().join("tests/vectors/tokens/rfc7515_rsa.json");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let jwk: Value = serde_json::from_str(&text)?;
    let member = |name: &str| {
        let text = jwk.get(name).and_then(Value::as_str).with_context(|| format!("the key has no {name}"))?;
        URL_SAFE_NO_PAD.decode(text).with_context(|| format!("{name} is not base64url"))
    };
    let components = KeyPairComponents {
        public_key: PublicKeyComponents { n: member("n")?, e: member("e")? },
        d: member("d")?,
        p: member("p")?,
        q: member("q")?,
        dP: member("dp")?,
        dQ: member("dq")?,
        qInv: member("qi")?,
    };
    RsaKeyPair::from_components(&components).map_err(failed)
}

fn failed(error: impl fmt::Display) -> anyhow::Error {
    anyhow!("making a token: {error}")
}

/// Envoy's foreign function `verify_signature`, as far as the module asks it, with `ring` in place of BoringSSL.
pub fn verify_signature(arguments: &[u8]) -> Result<Vec<u8>, Status> {
    let fields = fields(arguments).ok_or(Status::BadArgument)?;
    let field = |number: u8| fields.iter().find(|(found, _)| *found == number).map_or(&[][..], |(_, value)| value);
    let (hash, key, signature, text) = (field(1), field(2), field(3), field(4));
    if hash != b"sha256" {
        return Ok(b"\x12\x0bunsupported".to_vec());
    }
    // The point of P-256 ends its SubjectPublicKeyInfo of 91 bytes; RSAPublicKey stands behind 24 bytes of RSA's.
    let verified = match (key.len(), key.get(..4)) {
        (91, _) => {
            let point = key.get(26..).ok_or(Status::BadArgument)?;
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(text, signature)
        }
        (_, Some([0x30, 0x82, ..])) => {
            let public = key.get(24..).ok_or(Status::BadArgument)?;
            UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public).verify(text, signature)
        }
        _ => return Err(Status::BadArgument),
    };
    Ok(match verified {
        Ok(()) => vec![0x08, 1],
        Err(_) => b"\x12\x06failed".to_vec(),
    })
}

/// Fields of bytes of a protobuf message.
fn fields(mut message: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let mut fields = Vec::new();
    while let Some((tag, mut rest)) = message.split_first() {
        if tag & 7 != 2 {
            return None;
        }
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let (byte, after) = rest.split_first()?;
            length |= usize::from(byte & 0x7f).checked_shl(shift)?;
            (rest, shift) = (after, shift + 7);
            if byte & 0x80 == 0 {
                break;
            }
        }
        let (value, after) = rest.split_at_checked(length)?;
        fields.push((tag >> 3, value));
        message = after;
    }
    Some(fields)
}
