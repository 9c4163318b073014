//! Signatures that the host verifies: P-256 and RSA cost too much in the module, and Envoy brings BoringSSL along.
//!
//! A host is believed only after it gave the right answers to questions whose answers are known ([`prove`]).

use std::fmt;

/// An algorithm that is left to the host. Both with SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostAlgorithm {
    /// ECDSA over P-256.
    Es256,
    /// RSA PKCS #1 v1.5.
    Rs256,
}

impl HostAlgorithm {
    /// The name of RFC 7518.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }
}

impl fmt::Display for HostAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why a host gives no answer: it has no such function, or cannot read the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRefusal(pub String);

/// A host that verifies signatures.
pub trait HostVerifier: fmt::Debug + Send + Sync {
    /// Whether `signature` is over `message` by the key.
    ///
    /// `key` is a SubjectPublicKeyInfo in DER (RFC 5280). `signature` is what the algorithm makes: of ECDSA an
    /// ECDSA-Sig-Value in DER (RFC 3279 section 2.2.3).
    ///
    /// # Errors
    /// The host gives no answer.
    fn verify(
        &self,
        algorithm: HostAlgorithm,
        key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<bool, HostRefusal>;
}

/// Asks a host what is known: one signature is good, and neither another message nor another signature is.
pub(super) fn prove(host: &dyn HostVerifier, algorithm: HostAlgorithm) -> Result<(), HostRefusal> {
    let question = super::key::known_answer(algorithm).ok_or_else(|| HostRefusal("no known answer".to_owned()))?;
    let ask = |message: &[u8], signature: &[u8]| host.verify(algorithm, &question.key, message, signature);
    let altered = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        if let Some(last) = bytes.last_mut() {
            *last ^= 1;
        }
        bytes
    };
    let right = ask(&question.message, &question.signature)?
        && !ask(&altered(&question.message), &question.signature)?
        && !ask(&question.message, &altered(&question.signature))?;
    if right { Ok(()) } else { Err(HostRefusal("it gives wrong answers".to_owned())) }
}
