//! Strict Ed25519: S below the group order, canonical R and A, neither of small order, no cofactor.

use super::keyring::PublicKey;
use ed25519_dalek::{Signature, VerifyingKey};

/// A public key, ready to verify with.
#[derive(Clone, Debug)]
pub(crate) struct Verifier {
    key: Option<VerifyingKey>,
}

impl Verifier {
    pub(crate) fn new(public: &PublicKey) -> Self {
        Self { key: VerifyingKey::from_bytes(public.as_bytes()).ok() }
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let signature = Signature::from_bytes(signature);
        self.key.as_ref().is_some_and(|key| key.verify_strict(message, &signature).is_ok())
    }
}
