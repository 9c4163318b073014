//! Who asks, by either proof: a signature over the request, or a bearer token of the session.

use super::agent_context::AgentContext;
use super::error::ContextError;
use super::token::VerifiedToken;
use super::verify::VerifiedContext;
use crate::evidence::record::Binding;
use crate::payload::digest::ContentDigests;

/// A context that was proven.
#[derive(Clone, Debug)]
pub enum Identity {
    /// Signed with exactly this request.
    Request(Box<VerifiedContext>),
    /// From a bearer token. It says nothing of the request.
    Session(VerifiedToken),
}

impl Identity {
    /// What is stated.
    pub fn context(&self) -> &AgentContext {
        match self {
            Self::Request(verified) => &verified.context,
            Self::Session(token) => &token.context,
        }
    }

    /// Index of the signer in the compiled policy.
    pub fn signer(&self) -> usize {
        match self {
            Self::Request(verified) => verified.signer,
            Self::Session(token) => token.signer,
        }
    }

    /// Id of the key.
    pub fn key(&self) -> &str {
        match self {
            Self::Request(verified) => &verified.key,
            Self::Session(token) => &token.key,
        }
    }

    /// When it was signed, seconds; of a token `iat`.
    pub fn created(&self) -> Option<i64> {
        match self {
            Self::Request(verified) => Some(verified.created),
            Self::Session(token) => token.issued,
        }
    }

    /// How the context is bound to the request.
    pub fn binding(&self) -> Binding {
        match self {
            Self::Request(_) => Binding::Request,
            Self::Session(_) => Binding::Session,
        }
    }

    /// SHA-256 of the signature base, or of the token: of all of it, for from a digest of its claims alone these could be
    /// guessed.
    pub fn digest(&self) -> &[u8; 32] {
        match self {
            Self::Request(verified) => &verified.base_digest,
            Self::Session(token) => &token.digest,
        }
    }

    /// What a body must hash to; `None`: nobody says, as with a token.
    ///
    /// # Errors
    /// A signature that does not cover what it must of a body.
    pub fn require_body_coverage(&self) -> Result<Option<ContentDigests>, ContextError> {
        match self {
            Self::Request(verified) => verified.require_body_coverage().map(Some),
            Self::Session(_) => Ok(None),
        }
    }
}
