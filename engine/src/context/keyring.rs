//! Keys the policy knows, by key id.

use super::ed25519::{BaseComb, BaseTable, KeyComb, Verifier};
use super::error::Seconds;
use crate::facts::Timestamp;
use crate::policy::node::Node;
use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::collections::HashMap;
use std::fmt;

/// An Ed25519 public key that is canonical and not of small order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; 32]);

/// Why text is not a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicKeyError {
    /// Neither base64 of 32 bytes nor a JWK object (`kty` OKP, `crv` Ed25519).
    Form,
    /// A JWK that holds the private key too.
    Private,
    /// 32 bytes that are not a canonical point of large order.
    Point,
}

impl fmt::Display for PublicKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => {
                "is neither base64 of the 32 bytes of an Ed25519 public key nor a JWK with kty OKP, crv Ed25519 and x"
            }
            Self::Private => "is a private key (a JWK with d), where only the public half may stand",
            Self::Point => {
                "has 32 bytes, but they are no Ed25519 public key (not a canonical point, or of small order)"
            }
        })
    }
}

impl std::error::Error for PublicKeyError {}

impl PublicKey {
    /// Reads a public key as policies hold it: base64 of 32 bytes (either alphabet, padded or not) or a JWK (RFC 8037)
    /// as JSON text.
    pub fn parse(text: &str) -> Result<Self, PublicKeyError> {
        let text = text.trim();
        if text.starts_with('{') {
            // By way of a node: to read a `Value` itself would take a second JSON parser into the module.
            let node: Node = serde_json::from_slice(text.as_bytes()).map_err(|_| PublicKeyError::Form)?;
            return Self::from_jwk(&serde_json::to_value(node).map_err(|_| PublicKeyError::Form)?);
        }
        Self::from_base64(text)
    }

    /// Reads a JWK (RFC 8037) that is already JSON.
    pub fn from_jwk(jwk: &serde_json::Value) -> Result<Self, PublicKeyError> {
        let member = |name| jwk.get(name).and_then(serde_json::Value::as_str);
        if jwk.get("d").is_some() {
            return Err(PublicKeyError::Private);
        }
        if member("kty") != Some("OKP") || member("crv") != Some("Ed25519") {
            return Err(PublicKeyError::Form);
        }
        Self::from_base64(member("x").ok_or(PublicKeyError::Form)?)
    }

    fn from_base64(text: &str) -> Result<Self, PublicKeyError> {
        decode_base64(text)
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
            .ok_or(PublicKeyError::Form)
            .and_then(Self::from_bytes)
    }

    /// Checks 32 bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, PublicKeyError> {
        match ed25519_dalek::VerifyingKey::from_bytes(&bytes) {
            // Decompression takes encodings with y >= p (RFC 8032 section 5.1.3 does not); compressing again shows them.
            Ok(key) if !key.is_weak() && key.to_edwards().compress().to_bytes() == bytes => Ok(Self(bytes)),
            _ => Err(PublicKeyError::Point),
        }
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Padded base64 of the 32 bytes, as policies hold it.
    pub fn to_base64(&self) -> String {
        base64::engine::general_purpose::STANDARD.encode(self.0)
    }
}

/// Decodes base64 in either alphabet, padded or not. Bits beyond the last byte must be zero.
pub fn decode_base64(text: &str) -> Option<Vec<u8>> {
    const FORGIVING: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const STANDARD: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, FORGIVING);
    const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::URL_SAFE, FORGIVING);
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
}

/// One key of one signer.
#[derive(Clone, Debug)]
pub struct SignerKey {
    /// Index of the signer in the compiled policy.
    pub signer: usize,
    /// The key.
    pub public: PublicKey,
    /// Valid from.
    pub not_before: Option<Timestamp>,
    /// Valid to, inclusive.
    pub not_after: Option<Timestamp>,
}

/// What is the matter with the key a signature names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyProblem {
    /// The policy does not name it.
    Unknown,
    /// Its time has not come.
    NotYetValid(Timestamp),
    /// Its time is over.
    Expired(Timestamp),
}

impl fmt::Display for KeyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("is not in the policy"),
            Self::NotYetValid(from) => write!(f, "is valid only from {}", Seconds(*from)),
            Self::Expired(to) => write!(f, "was valid until {}", Seconds(*to)),
        }
    }
}

impl SignerKey {
    /// Whether the key may sign at this time.
    pub fn check_time(&self, now: Timestamp) -> Result<(), KeyProblem> {
        check_window(self.not_before, self.not_after, now)
    }
}

/// Whether a key counts now; both ends are inclusive.
pub(crate) fn check_window(
    not_before: Option<Timestamp>,
    not_after: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), KeyProblem> {
    match (not_before, not_after) {
        (Some(from), _) if now < from => Err(KeyProblem::NotYetValid(from)),
        (_, Some(to)) if now > to => Err(KeyProblem::Expired(to)),
        _ => Ok(()),
    }
}

/// All keys, by `keyid`.
///
/// The first keys up to a limit are prepared for fast verification as they are inserted: that takes
/// [`KeyRing::BYTES_PER_KEY`] each, and [`KeyRing::BYTES_SHARED`] once for all of them together. Keys beyond the limit verify the same, at
/// more than twice the cost. Clones share the tables.
#[derive(Clone, Debug)]
pub struct KeyRing {
    keys: HashMap<String, Entry>,
    /// Made with the first key.
    base: Option<BaseTable>,
    /// How many more keys get a table.
    tables_left: usize,
}

#[derive(Clone, Debug)]
struct Entry {
    key: SignerKey,
    verifier: Verifier,
}

impl Default for KeyRing {
    fn default() -> Self {
        Self::with_prepared_keys(Self::PREPARED_KEYS.into())
    }
}

impl KeyRing {
    /// Keys that are prepared unless another limit is set: 7.7 MB.
    pub const PREPARED_KEYS: u16 = 32;

    /// Memory of a prepared key.
    pub const BYTES_PER_KEY: usize = KeyComb::BYTES;

    /// Memory that all prepared keys share.
    pub const BYTES_SHARED: usize = BaseComb::BYTES;

    /// An empty ring that prepares at most so many keys.
    pub fn with_prepared_keys(limit: usize) -> Self {
        Self { keys: HashMap::new(), base: None, tables_left: limit }
    }

    /// Adds a key; `false` when its id is taken. A key without an id of its own goes under its signer's id.
    pub fn insert(&mut self, keyid: &str, key: SignerKey) -> bool {
        if self.keys.contains_key(keyid) {
            return false;
        }
        let verifier = match self.tables_left.checked_sub(1) {
            Some(left) => {
                self.tables_left = left;
                Verifier::combed(&key.public, self.base.get_or_insert_with(BaseTable::new))
            }
            None => Verifier::plain(&key.public),
        };
        self.keys.insert(keyid.to_owned(), Entry { key, verifier });
        true
    }

    /// The key of this exact id (case counts).
    pub fn get(&self, keyid: &str) -> Option<&SignerKey> {
        self.keys.get(keyid).map(|entry| &entry.key)
    }

    /// Whether a key signed these bytes; `false` too for a key id that is not there. Says nothing of the key's time:
    /// [`SignerKey::check_time`] does.
    pub fn verify(&self, keyid: &str, message: &[u8], signature: &[u8; 64]) -> bool {
        self.keys.get(keyid).is_some_and(|entry| entry.verifier.verify(message, signature))
    }
}
