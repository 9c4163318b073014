//! Why a token does not count: one variant a case, each under one reason of the closed vocabulary.
//!
//! `Display` quotes what the sender chose only through [`Quoted`], and never the token or a value of its claims.

use super::host::HostAlgorithm;
use crate::context::error::{Quoted, Seconds};
use crate::context::keyring::KeyProblem;
use crate::decision::Reason;
use crate::facts::Timestamp;
use std::fmt;

/// Why a token does not count. Each variant names one [`Reason`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenError {
    /// More than one field that may hold a token.
    Several {
        /// The second of them.
        header: String,
    },
    /// The field does not hold what it should.
    Field {
        /// The field.
        header: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// The token is not a signed JWT in compact form, or one that says more than is understood here.
    Malformed {
        /// What is wrong.
        problem: String,
    },
    /// `alg` is none of those that a key here can have.
    Algorithm {
        /// The algorithm named.
        got: String,
    },
    /// No signer of the policy issues such tokens.
    Issuer {
        /// `iss`, where there is one.
        got: Option<String>,
    },
    /// The token names no key, and not exactly one would do.
    KeyUnnamed,
    /// The key is not known, or not valid now.
    Key {
        /// The key id named.
        kid: String,
        /// What is the matter with it.
        problem: KeyProblem,
    },
    /// `alg` does not fit the key.
    KeyAlgorithm {
        /// The key.
        kid: String,
        /// The algorithm named.
        got: &'static str,
    },
    /// The signature does not verify.
    SignatureInvalid {
        /// The key.
        kid: String,
    },
    /// The host was to verify the signature and cannot.
    Host {
        /// The algorithm.
        algorithm: HostAlgorithm,
        /// What the host says.
        problem: String,
    },
    /// `aud` names none of the audiences that count.
    Audience,
    /// `exp` has passed.
    Expired {
        /// `exp`, seconds.
        exp: u64,
        /// Now.
        now: Timestamp,
    },
    /// `nbf` or `iat` is in the future.
    NotYetValid {
        /// The claim.
        claim: &'static str,
        /// Its value, seconds.
        at: u64,
        /// Now.
        now: Timestamp,
    },
    /// `iat` is too long ago.
    TooOld {
        /// `iat`, seconds.
        iat: u64,
        /// Now.
        now: Timestamp,
        /// Longest age, milliseconds.
        max_age: u64,
    },
    /// A claim is missing or has the wrong form.
    Claim {
        /// Its name.
        name: String,
        /// What is wrong.
        problem: &'static str,
    },
}

impl TokenError {
    pub(super) fn malformed(problem: impl Into<String>) -> Self {
        Self::Malformed { problem: problem.into() }
    }

    pub(super) fn claim(name: &str, problem: &'static str) -> Self {
        Self::Claim { name: name.to_owned(), problem }
    }

    /// The reason it falls under.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Several { .. } | Self::Field { .. } | Self::Malformed { .. } | Self::Claim { .. } => {
                Reason::ContextMalformed
            }
            Self::Issuer { .. } | Self::KeyUnnamed | Self::Key { .. } => Reason::KeyUnknown,
            Self::Algorithm { .. } | Self::KeyAlgorithm { .. } | Self::SignatureInvalid { .. } => {
                Reason::SignatureInvalid
            }
            Self::Host { .. } => Reason::InternalError,
            Self::Audience => Reason::AudienceMismatch,
            Self::Expired { .. } | Self::NotYetValid { .. } | Self::TooOld { .. } => Reason::SignatureExpired,
        }
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Several { header } => write!(f, "{header}: a second token, where one is expected"),
            Self::Field { header, problem } => write!(f, "{header}: {problem}"),
            Self::Malformed { problem } => write!(f, "the token {problem}"),
            Self::Algorithm { got } => {
                write!(f, "the token's alg is {}, where EdDSA, ES256 and RS256 are known", Quoted(got))
            }
            Self::Issuer { got: None } => f.write_str("the token names no issuer that the policy knows"),
            Self::Issuer { got: Some(got) } => {
                write!(f, "the token is issued by {}, whom the policy does not know", Quoted(got))
            }
            Self::KeyUnnamed => f.write_str("the token names no key (kid), and not exactly one key would do"),
            Self::Key { kid, problem } => write!(f, "key {} {problem}", Quoted(kid)),
            Self::KeyAlgorithm { kid, got } => {
                write!(f, "the token's alg is {got}, which key {} is not for", Quoted(kid))
            }
            Self::SignatureInvalid { kid } => write!(f, "the token does not verify with key {}", Quoted(kid)),
            Self::Host { algorithm, problem } => write!(f, "the host cannot verify {algorithm}: {problem}"),
            Self::Audience => f.write_str("the token is for another audience (aud)"),
            Self::Expired { exp, now } => write!(f, "the token ended (exp) at {exp}, now is {}", Seconds(*now)),
            Self::NotYetValid { claim, at, now } => {
                write!(f, "the token counts only from {at} on ({claim}), now is {}", Seconds(*now))
            }
            Self::TooOld { iat, now, max_age } => {
                write!(
                    f,
                    "the token was issued (iat) at {iat}, more than {} s before now, {}",
                    max_age / 1000,
                    Seconds(*now)
                )
            }
            Self::Claim { name, problem } => write!(f, "the token's claim {} {problem}", Quoted(name)),
        }
    }
}

impl std::error::Error for TokenError {}
