//! Why a context does not count: one variant a case, each under one reason of the closed vocabulary.
//!
//! `Display` says what was expected and what came, for the record and for `feedback: full`. It quotes what the sender
//! chose only through [`Quoted`], and never a signature or a nonce.

use super::keyring::KeyProblem;
use super::token::TokenError;
use crate::decision::Reason;
use crate::facts::Timestamp;
use std::fmt;

/// Why a context does not count. Each variant names one [`Reason`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContextError {
    /// No `Agent-Context` line.
    ContextMissing,
    /// In its place there is a token, and that does not count.
    Token(TokenError),
    /// A field of the signed context cannot be read.
    Malformed {
        /// The field, in lower case.
        field: &'static str,
        /// Member or parameter at fault.
        member: Option<String>,
        /// What is wrong.
        problem: String,
    },
    /// Several signatures carry `tag="exeat"`.
    SeveralSignatures {
        /// How many.
        count: usize,
    },
    /// No signature carries `tag="exeat"`.
    SignatureMissing,
    /// `Signature-Input` names a signature that `Signature` does not hold.
    SignatureValueMissing {
        /// Its label.
        label: String,
    },
    /// Something that must be covered or stated is not.
    SignatureIncomplete {
        /// What is missing, as it would stand in `Signature-Input`.
        missing: &'static str,
    },
    /// A covered component cannot be derived from this request.
    Component {
        /// The component identifier as received.
        component: String,
        /// Why not.
        problem: &'static str,
    },
    /// `alg` does not fit the key.
    Algorithm {
        /// The algorithm named.
        got: String,
    },
    /// The signature is not of 64 bytes.
    SignatureLength {
        /// Its length.
        got: usize,
    },
    /// The signature does not verify with this key over this request.
    SignatureInvalid {
        /// The key.
        keyid: String,
    },
    /// `created` is too long ago.
    TooOld {
        /// `created`, seconds.
        created: i64,
        /// Now.
        now: Timestamp,
        /// Longest age, milliseconds.
        max_age: u64,
    },
    /// `created` is in the future.
    NotYetValid {
        /// `created`, seconds.
        created: i64,
        /// Now.
        now: Timestamp,
        /// Tolerance, milliseconds.
        skew: u64,
    },
    /// `expires` has passed.
    Expired {
        /// `expires`, seconds.
        expires: i64,
        /// Now.
        now: Timestamp,
        /// Tolerance, milliseconds.
        skew: u64,
    },
    /// `expires` is before `created`.
    ExpiresBeforeCreated {
        /// `created`, seconds.
        created: i64,
        /// `expires`, seconds.
        expires: i64,
    },
    /// `created` is before the gateway process started.
    BeforeStart {
        /// `created`, seconds.
        created: i64,
        /// Start of the process.
        started: Timestamp,
    },
    /// The key is not known, or not valid now.
    Key {
        /// The key id named.
        keyid: String,
        /// What is the matter with it.
        problem: KeyProblem,
    },
    /// The context was signed for another gateway.
    Audience {
        /// This gateway.
        expected: String,
        /// The one named.
        got: String,
    },
}

impl ContextError {
    /// The reason that stands in record and answer.
    pub fn reason(&self) -> Reason {
        match self {
            Self::ContextMissing => Reason::ContextMissing,
            Self::Token(error) => error.reason(),
            Self::Malformed { .. } | Self::SeveralSignatures { .. } => Reason::ContextMalformed,
            Self::SignatureMissing | Self::SignatureValueMissing { .. } => Reason::SignatureMissing,
            Self::SignatureIncomplete { .. } => Reason::SignatureIncomplete,
            Self::Component { .. }
            | Self::Algorithm { .. }
            | Self::SignatureLength { .. }
            | Self::SignatureInvalid { .. } => Reason::SignatureInvalid,
            Self::TooOld { .. }
            | Self::NotYetValid { .. }
            | Self::Expired { .. }
            | Self::ExpiresBeforeCreated { .. }
            | Self::BeforeStart { .. } => Reason::SignatureExpired,
            Self::Key { .. } => Reason::KeyUnknown,
            Self::Audience { .. } => Reason::AudienceMismatch,
        }
    }
}

impl fmt::Display for ContextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ContextMissing => f.write_str("there is no agent-context field"),
            Self::Token(error) => error.fmt(f),
            Self::Malformed { field, member: None, problem } => write!(f, "{field}: {problem}"),
            Self::Malformed { field, member: Some(member), problem } => {
                write!(f, "{field}: {}: {problem}", Quoted(member))
            }
            Self::SeveralSignatures { count } => {
                write!(f, "{count} signatures carry tag=\"exeat\", where exactly one is expected")
            }
            Self::SignatureMissing => f.write_str("signature-input has no signature with tag=\"exeat\""),
            Self::SignatureValueMissing { label } => {
                write!(f, "signature-input names {}, but signature has no such member", Quoted(label))
            }
            Self::SignatureIncomplete { missing } => write!(f, "the signature lacks {missing}"),
            Self::Component { component, problem } => write!(f, "component {}: {problem}", Cut(component)),
            Self::Algorithm { got } => write!(f, "alg is {}, where the key is for \"ed25519\"", Quoted(got)),
            Self::SignatureLength { got } => write!(f, "the signature has {got} bytes, where ed25519 has 64"),
            Self::SignatureInvalid { keyid } => {
                write!(f, "the signature does not verify with key {} over this request", Quoted(keyid))
            }
            Self::TooOld { created, now, max_age } => {
                write!(f, "created {created} is more than {} before now, {}", Span(*max_age), Seconds(*now))
            }
            Self::NotYetValid { created, now, skew } => {
                write!(f, "created {created} is more than {} after now, {}", Span(*skew), Seconds(*now))
            }
            Self::Expired { expires, now, skew } => {
                write!(f, "expires {expires} is more than {} before now, {}", Span(*skew), Seconds(*now))
            }
            Self::ExpiresBeforeCreated { created, expires } => {
                write!(f, "expires {expires} is before created {created}")
            }
            Self::BeforeStart { created, started } => {
                write!(f, "created {created} is before the gateway started, {}", Seconds(*started))
            }
            Self::Key { keyid, problem } => write!(f, "key {} {problem}", Quoted(keyid)),
            Self::Audience { expected, got } => {
                write!(f, "the context is for gateway {}, this is {}", Quoted(got), Quoted(expected))
            }
        }
    }
}

impl std::error::Error for ContextError {}

/// How many characters of a sender's text are shown.
const SHOWN: usize = 64;

/// Text that a sender chose: escaped, and cut after 64 characters.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for character in self.0.chars().take(SHOWN) {
            write!(f, "{}", character.escape_default())?;
        }
        f.write_str(if self.0.chars().nth(SHOWN).is_some() { "...\"" } else { "\"" })
    }
}

/// Structured-field text, which is visible ASCII and needs no escapes, cut like [`Quoted`].
struct Cut<'a>(&'a str);

impl fmt::Display for Cut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(SHOWN).and_then(|(at, _)| self.0.split_at_checked(at)) {
            Some((start, _)) => write!(f, "{start}..."),
            None => f.write_str(self.0),
        }
    }
}

/// A point in time as the seconds that stand in a signature, with milliseconds.
pub(crate) struct Seconds(pub(crate) Timestamp);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0.seconds(), self.0.millis() % 1000)
    }
}

/// A span of milliseconds in seconds.
struct Span(u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 1000 {
            0 => write!(f, "{} s", self.0 / 1000),
            _ => write!(f, "{} ms", self.0),
        }
    }
}
