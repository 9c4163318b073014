//! Keys the policy knows, by key id.

use crate::facts::Timestamp;
use std::collections::HashMap;

/// An Ed25519 public key that is canonical and not of small order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

/// Why text is not a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicKeyError {
    /// Neither base64 of 32 bytes nor a JWK object (`kty` OKP, `crv` Ed25519).
    Form,
    /// 32 bytes that are not a canonical point of large order.
    Point,
}

impl PublicKey {
    /// Checks 32 bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, PublicKeyError> {
        match ed25519_dalek::VerifyingKey::from_bytes(&bytes) {
            Ok(key) if !key.is_weak() => Ok(Self(bytes)),
            _ => Err(PublicKeyError::Point),
        }
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
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

/// All keys, by `keyid`.
#[derive(Clone, Debug, Default)]
pub struct KeyRing {
    keys: HashMap<String, SignerKey>,
}

impl KeyRing {
    /// Adds a key; `false` when its id is taken.
    pub fn insert(&mut self, keyid: &str, key: SignerKey) -> bool {
        if self.keys.contains_key(keyid) {
            return false;
        }
        self.keys.insert(keyid.to_owned(), key);
        true
    }

    /// The key of this exact id (case counts).
    pub fn get(&self, keyid: &str) -> Option<&SignerKey> {
        self.keys.get(keyid)
    }
}
