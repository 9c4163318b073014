//! Verification of a request's signature (RFC 9421) against the keys of the policy.

use super::agent_context::AgentContext;
use super::keyring::KeyRing;
use crate::decision::Reason;
use crate::facts::Timestamp;
use crate::ledger::NonceFingerprint;
use crate::request::RequestHead;

/// How old a signature may be. Milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// Longest age of `created`; 60,000 unless set.
    pub max_age: u64,
    /// Tolerance for `created` in the future and for `expires`; 5,000 unless set.
    pub skew: u64,
}

/// What a request is verified against.
#[derive(Clone, Copy, Debug)]
pub struct Expectations<'a> {
    /// Keys of the policy.
    pub keys: &'a KeyRing,
    /// This gateway's id, for the audience.
    pub gateway: &'a str,
    /// Freshness.
    pub freshness: Freshness,
    /// Now.
    pub now: Timestamp,
    /// Start of the gateway process.
    pub started: Timestamp,
}

/// Why a context does not count. Each variant names one [`Reason`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContextError {
    /// `Agent-Context` or a signature field cannot be read.
    Malformed {
        /// Member at fault.
        member: Option<String>,
        /// What is wrong.
        problem: &'static str,
    },
}

impl ContextError {
    /// The reason that stands in record and answer.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Malformed { .. } => Reason::ContextMalformed,
        }
    }
}

/// A context whose signature verified for exactly this request.
#[derive(Clone, Debug)]
pub struct VerifiedContext {
    /// What the signer states.
    pub context: AgentContext,
    /// Index of the signer in the compiled policy.
    pub signer: usize,
    /// `keyid` of the key.
    pub key: String,
    /// `created`, seconds.
    pub created: i64,
    /// The nonce under its key, to be spent at once.
    pub nonce: NonceFingerprint,
    /// Until when the nonce must be remembered.
    pub nonce_until: Timestamp,
    /// SHA-256 of the signature base.
    pub base_digest: [u8; 32],
}

/// Verifies. Spends nothing.
pub fn verify(_head: &RequestHead, _expect: &Expectations<'_>) -> Result<VerifiedContext, ContextError> {
    Err(ContextError::Malformed { member: None, problem: "not built yet" })
}
