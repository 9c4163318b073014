//! JWS compact serialization (RFC 7515 section 7.1), read strictly: what could be read in two ways, or asks for more than
//! is understood here, is refused.

use super::error::TokenError;
use super::{MOST_BYTES, json};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// Signature algorithms. What a token names must be that of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// Ed25519 (RFC 8037 section 3.1).
    EdDsa,
    /// ECDSA over P-256 with SHA-256 (RFC 7518 section 3.4).
    Es256,
    /// RSA PKCS #1 v1.5 with SHA-256 (RFC 7518 section 3.3).
    Rs256,
}

impl Algorithm {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }

    /// Nothing else is known: `none` least of all, nor any algorithm with a shared key.
    fn named(text: &str) -> Option<Self> {
        match text {
            // The second name is that of RFC 9864.
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            "ES256" => Some(Self::Es256),
            "RS256" => Some(Self::Rs256),
            _ => None,
        }
    }
}

/// A token whose form is right. Nothing about it is proven.
#[derive(Debug)]
pub(super) struct Jws<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    pub(super) claims: Map<String, Value>,
    /// The bytes that were signed.
    pub(super) signed: &'a [u8],
    pub(super) signature: Vec<u8>,
}

/// Kinds of token that may come as a bearer token (`typ`, RFC 8725 section 3.11): a plain JWT, an access token (RFC 9068),
/// a JWT-SVID. Any other was made for something else.
const TYPES: [&str; 5] = ["jwt", "application/jwt", "at+jwt", "application/at+jwt", "jose"];

impl<'a> Jws<'a> {
    /// Reads a token of at most [`MOST_BYTES`].
    pub(super) fn parse(token: &'a [u8]) -> Result<Self, TokenError> {
        if token.len() > MOST_BYTES {
            return Err(TokenError::malformed(format!("has more than {MOST_BYTES} bytes")));
        }
        let text = std::str::from_utf8(token).map_err(|_| TokenError::malformed("is not text"))?;
        let parts: Vec<&str> = text.splitn(4, '.').collect();
        let [header, payload, signature] = parts.as_slice() else {
            return Err(TokenError::malformed("is not of three parts"));
        };
        let decode = |part: &str, name: &str| {
            URL_SAFE_NO_PAD
                .decode(part)
                .map_err(|_| TokenError::malformed(format!("has a {name} that is not base64url")))
        };
        let object = |part: &str, name: &str| {
            json::parse_object(&decode(part, name)?)
                .map_err(|problem| TokenError::malformed(format!("has a {name} that {problem}")))
        };
        let members = object(header, "header")?;
        let (algorithm, kid) = read_header(&members)?;
        let signed = header.len().saturating_add(1).saturating_add(payload.len());
        Ok(Self {
            algorithm,
            kid,
            claims: object(payload, "payload")?,
            signed: token.get(..signed).unwrap_or_default(),
            signature: decode(signature, "signature")?,
        })
    }
}

/// Keys that a header brings along (`jwk`, `x5c`) or points at (`jku`, `x5u`) count for nothing: keys come from the policy.
fn read_header(members: &Map<String, Value>) -> Result<(Algorithm, Option<String>), TokenError> {
    for (name, why) in [
        ("crit", "names extensions that must be understood (crit)"),
        ("b64", "has a payload that is not encoded (b64)"),
        ("enc", "is encrypted"),
        ("zip", "is compressed"),
    ] {
        if members.contains_key(name) {
            return Err(TokenError::malformed(why));
        }
    }
    let text = |name: &str| match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(TokenError::malformed(format!("has a header whose {name} is not text"))),
    };
    if let Some(kind) = text("typ")?
        && !TYPES.iter().any(|known| kind.eq_ignore_ascii_case(known))
    {
        return Err(TokenError::malformed("is of a type (typ) that is no bearer token"));
    }
    let named = text("alg")?.ok_or_else(|| TokenError::malformed("names no alg"))?;
    let algorithm = Algorithm::named(named).ok_or_else(|| TokenError::Algorithm { got: named.to_owned() })?;
    Ok((algorithm, text("kid")?.map(str::to_owned)))
}
