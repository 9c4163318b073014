//! JSON Web Keys (RFC 7517), as far as this gateway verifies with them.
//!
//! A key says in these what it is for. What it says is held against the use it is put to: a key made for encryption, or
//! for another algorithm, verifies nothing.

use super::keyring::{PublicKey, PublicKeyError};
use super::token::{HostAlgorithm, KeyMaterial};
use serde_json::{Map, Value};
use std::fmt;

/// A public key with the name its JWK gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwk {
    /// `kid`.
    pub kid: Option<String>,
    /// The key.
    pub key: KeyMaterial,
}

/// Why a JWK is not a key to verify with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwkError {
    /// It holds a private or symmetric key.
    Private,
    /// `kty` and `crv` are not of a key that is known here.
    Kind,
    /// A member is missing or has the wrong form.
    Member(&'static str),
    /// `use` or `key_ops` says that it is not for signatures.
    Use,
    /// `alg` does not fit the key.
    Algorithm,
    /// The bytes are no key of their kind, or one that anybody could sign for.
    Point,
    /// An RSA key of other than 2048 to 8192 bits, or with another exponent than 65537.
    Modulus,
}

impl fmt::Display for JwkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Private => f.write_str("a private key"),
            Self::Kind => f.write_str("a JWK of a kind that is not known here"),
            Self::Member(name) => write!(f, "a JWK whose {name} is missing or has the wrong form"),
            Self::Use => f.write_str("a JWK that is not for signatures (use or key_ops)"),
            Self::Algorithm => f.write_str("a JWK whose alg does not fit the key"),
            Self::Point => f.write_str("a JWK of no safe public key"),
            Self::Modulus => f.write_str("an RSA key that has not 2048 to 8192 bits and the exponent AQAB"),
        }
    }
}

impl std::error::Error for JwkError {}

impl Jwk {
    /// Reads a JWK. Members without a meaning here are passed over (RFC 7517 section 4).
    ///
    /// # Errors
    /// A key that must not be verified with; see [`JwkError`].
    pub fn parse(value: &Value) -> Result<Self, JwkError> {
        /// Members of private and symmetric keys (RFC 7518 section 6, RFC 8037 section 2).
        const SECRET: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
        let members = value.as_object().ok_or(JwkError::Kind)?;
        if SECRET.iter().any(|name| members.contains_key(*name)) {
            return Err(JwkError::Private);
        }
        check_use(members)?;
        let key = match (text(members, "kty")?, text(members, "crv")?) {
            (Some("OKP"), Some("Ed25519")) => KeyMaterial::Ed25519(ed25519(value, members)?),
            (Some("EC"), Some("P-256")) => p256(members)?,
            (Some("RSA"), _) => rsa(members)?,
            _ => return Err(JwkError::Kind),
        };
        Ok(Self { kid: text(members, "kid")?.map(str::to_owned), key })
    }
}

fn ed25519(value: &Value, members: &Map<String, Value>) -> Result<PublicKey, JwkError> {
    // RFC 8037 section 3.1; the second name is that of RFC 9864.
    if !matches!(text(members, "alg")?, None | Some("EdDSA" | "Ed25519")) {
        return Err(JwkError::Algorithm);
    }
    PublicKey::from_jwk(value).map_err(|error| match error {
        PublicKeyError::Form => JwkError::Member("x"),
        PublicKeyError::Private => JwkError::Private,
        PublicKeyError::Point => JwkError::Point,
    })
}

fn p256(members: &Map<String, Value>) -> Result<KeyMaterial, JwkError> {
    if !matches!(text(members, "alg")?, None | Some("ES256")) {
        return Err(JwkError::Algorithm);
    }
    let coordinates = text(members, "x")?.zip(text(members, "y")?);
    let key = coordinates.and_then(|(x, y)| super::token::p256(x, y)).ok_or(JwkError::Member("x or y"))?;
    Ok(KeyMaterial::Host(HostAlgorithm::Es256, key))
}

fn rsa(members: &Map<String, Value>) -> Result<KeyMaterial, JwkError> {
    if !matches!(text(members, "alg")?, None | Some("RS256")) {
        return Err(JwkError::Algorithm);
    }
    let parts = text(members, "n")?.zip(text(members, "e")?);
    let key = parts.and_then(|(n, e)| super::token::rsa(n, e)).ok_or(JwkError::Modulus)?;
    Ok(KeyMaterial::Host(HostAlgorithm::Rs256, key))
}

/// RFC 7517 sections 4.2 and 4.3.
fn check_use(members: &Map<String, Value>) -> Result<(), JwkError> {
    let signs = matches!(text(members, "use")?, None | Some("sig"));
    let verifies = match members.get("key_ops") {
        None => true,
        Some(Value::Array(operations)) => operations.iter().any(|operation| operation == "verify"),
        Some(_) => return Err(JwkError::Member("key_ops")),
    };
    if signs && verifies { Ok(()) } else { Err(JwkError::Use) }
}

fn text<'a>(members: &'a Map<String, Value>, name: &'static str) -> Result<Option<&'a str>, JwkError> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(JwkError::Member(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    /// RFC 8037 appendix A.2.
    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn with(members: Value) -> Result<Jwk, JwkError> {
        let mut jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": X});
        let (Value::Object(all), Value::Object(more)) = (&mut jwk, members) else { panic!() };
        for (name, value) in more {
            all.insert(name, value);
        }
        Jwk::parse(&jwk)
    }

    #[test]
    fn a_key_says_what_it_is_for() {
        let key = PublicKey::parse(X).unwrap();
        for (members, kid) in [
            (json!({}), None),
            (json!({"kid": "2027-a", "use": "sig", "alg": "EdDSA", "key_ops": ["verify"]}), Some("2027-a")),
            (json!({"alg": "Ed25519", "x5t": "ignored"}), None),
        ] {
            let key = KeyMaterial::Ed25519(key.clone());
            assert_eq!(with(members), Ok(Jwk { kid: kid.map(str::to_owned), key }));
        }
        for (members, error) in [
            (json!({"use": "enc"}), JwkError::Use),
            (json!({"key_ops": ["encrypt"]}), JwkError::Use),
            (json!({"key_ops": []}), JwkError::Use),
            (json!({"key_ops": "verify"}), JwkError::Member("key_ops")),
            (json!({"alg": "ES256"}), JwkError::Algorithm),
            (json!({"alg": "none"}), JwkError::Algorithm),
            (json!({"alg": null}), JwkError::Member("alg")),
            (json!({"kid": 7}), JwkError::Member("kid")),
            (json!({"kty": "oct", "k": "c2VjcmV0"}), JwkError::Private),
            (json!({"d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}), JwkError::Private),
            (json!({"crv": "Ed448"}), JwkError::Kind),
            (json!({"crv": "X25519"}), JwkError::Kind),
            (json!({"kty": "okp"}), JwkError::Kind),
            (json!({"x": "c2hvcnQ"}), JwkError::Member("x")),
            (json!({"x": 7}), JwkError::Member("x")),
            (json!({"x": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}), JwkError::Point),
        ] {
            assert_eq!(with(members.clone()), Err(error), "{members}");
        }
        // RFC 7515 appendices A.2 and A.3; whether they verify is asked of the host.
        let (x, y) = ("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
        let modulus = |bytes: usize, first: u8, last: u8| {
            let mut n = vec![0xa5; bytes];
            (n[0], n[bytes - 1]) = (first, last);
            URL_SAFE_NO_PAD.encode(n)
        };
        for (jwk, expected) in [
            (json!({"kty": "EC", "crv": "P-256", "x": x, "y": y}), None),
            (json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "alg": "ES256", "kid": "a"}), None),
            (json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "alg": "EdDSA"}), Some(JwkError::Algorithm)),
            (json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "d": x}), Some(JwkError::Private)),
            (json!({"kty": "EC", "crv": "P-256", "x": x}), Some(JwkError::Member("x or y"))),
            (json!({"kty": "EC", "crv": "P-256", "x": x, "y": y.strip_prefix('x')}), Some(JwkError::Member("x or y"))),
            (json!({"kty": "EC", "crv": "P-256", "x": x, "y": format!("{y}=")}), Some(JwkError::Member("x or y"))),
            (json!({"kty": "EC", "crv": "P-384", "x": x, "y": y}), Some(JwkError::Kind)),
            (json!({"kty": "EC", "crv": "secp256k1", "x": x, "y": y}), Some(JwkError::Kind)),
            (json!({"kty": "RSA", "n": modulus(256, 0x80, 1), "e": "AQAB"}), None),
            (json!({"kty": "RSA", "n": modulus(256, 0x80, 1), "e": "AQAB", "alg": "RS256", "use": "sig"}), None),
            (json!({"kty": "RSA", "n": modulus(256, 0x80, 1), "e": "AQAB", "alg": "PS256"}), Some(JwkError::Algorithm)),
            (json!({"kty": "RSA", "n": modulus(256, 0x80, 1), "e": "Aw"}), Some(JwkError::Modulus)),
            (json!({"kty": "RSA", "n": modulus(256, 0x80, 2), "e": "AQAB"}), Some(JwkError::Modulus)),
            (json!({"kty": "RSA", "n": modulus(256, 0, 1), "e": "AQAB"}), Some(JwkError::Modulus)),
            (json!({"kty": "RSA", "n": modulus(256, 0x7f, 1), "e": "AQAB"}), Some(JwkError::Modulus)),
            (json!({"kty": "RSA", "n": modulus(1025, 1, 1), "e": "AQAB"}), Some(JwkError::Modulus)),
            (json!({"kty": "RSA", "e": "AQAB"}), Some(JwkError::Modulus)),
            (json!({"kty": "oct", "k": "c2VjcmV0"}), Some(JwkError::Private)),
        ] {
            assert_eq!(Jwk::parse(&jwk).err(), expected, "{jwk}");
        }
        for wrong in [json!([]), json!("text"), json!({}), json!({"kty": "OKP"})] {
            assert_eq!(Jwk::parse(&wrong), Err(JwkError::Kind), "{wrong}");
        }
    }
}
