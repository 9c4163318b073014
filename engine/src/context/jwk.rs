//! JSON Web Keys (RFC 7517), as far as this gateway verifies with them.
//!
//! A key says in these what it is for. What it says is held against the use it is put to: a key made for encryption, or
//! for another algorithm, verifies nothing.

use super::keyring::{PublicKey, PublicKeyError};
use serde_json::{Map, Value};
use std::fmt;

/// A public key with the name its JWK gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwk {
    /// `kid`.
    pub kid: Option<String>,
    /// The key.
    pub key: PublicKey,
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
            (Some("OKP"), Some("Ed25519")) => ed25519(value, members)?,
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
            assert_eq!(with(members), Ok(Jwk { kid: kid.map(str::to_owned), key: key.clone() }));
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
        for wrong in [json!([]), json!("text"), json!({}), json!({"kty": "OKP"})] {
            assert_eq!(Jwk::parse(&wrong), Err(JwkError::Kind), "{wrong}");
        }
    }
}
