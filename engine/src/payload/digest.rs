//! `Content-Digest` (RFC 9530) and the digest of a body as it passes.

use crate::context::ContextError;
use crate::context::structured::{self, Bounds, DictionaryError, Item, Member};
use crate::decision::Reason;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sfv::BareItem;
use sha2::{Digest, Sha256, Sha512};
use std::fmt;

/// The field, as RFC 9421 names components.
pub const FIELD: &str = "content-digest";

/// What is read of the field, all lines together.
pub(crate) const BOUNDS: Bounds = Bounds { bytes: 4 * 1024, members: 16, items: 0, parameters: 4 };

/// The digests that a `Content-Digest` states, of the algorithms that count. At least one; all must match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentDigests {
    sha256: Option<[u8; 32]>,
    sha512: Option<[u8; 64]>,
}

impl ContentDigests {
    /// Parses the value of the field, its lines joined. Algorithms other than sha-256 and sha-512 are passed over, as
    /// RFC 9530 section 5 allows, but do not suffice.
    pub fn parse(field: &[u8]) -> Result<Self, ContextError> {
        let members = structured::parse_dictionary(field, BOUNDS)
            .map_err(|DictionaryError { member, problem }| ContextError::Malformed { field: FIELD, member, problem })?;
        let mut digests = Self { sha256: None, sha512: None };
        for (key, member) in members {
            match key.as_str() {
                name @ "sha-256" => digests.sha256 = Some(digest_of(name, member)?),
                name @ "sha-512" => digests.sha512 = Some(digest_of(name, member)?),
                _ => {}
            }
        }
        if digests.sha256.is_none() && digests.sha512.is_none() {
            return Err(ContextError::SignatureIncomplete { missing: "a content-digest of sha-256 or sha-512" });
        }
        Ok(digests)
    }

    /// The value of the field with the same algorithms, of another body. One that was not computed is left out.
    pub fn restate(&self, body: &BodyDigest) -> String {
        let member = |name: &str, digest: &[u8]| format!("{name}=:{}:", STANDARD.encode(digest));
        let sha256 = self.sha256.map(|_| member("sha-256", &body.sha256));
        let sha512 = body.sha512.filter(|_| self.sha512.is_some()).map(|digest| member("sha-512", &digest));
        sha256.into_iter().chain(sha512).collect::<Vec<_>>().join(", ")
    }
}

fn digest_of<const N: usize>(name: &str, member: Member) -> Result<[u8; N], ContextError> {
    let malformed = |problem| ContextError::Malformed {
        field: FIELD,
        member: Some(name.to_owned()),
        problem: String::from(problem),
    };
    match member {
        Member::Item(Item { value: BareItem::ByteSequence(bytes), .. }) => {
            bytes.try_into().map_err(|_| malformed("has not the length of this digest"))
        }
        _ => Err(malformed("is not a byte sequence")),
    }
}

/// Hashes a body as it passes: SHA-256 always, for the record; SHA-512 only where the field states one.
#[derive(Clone, Debug)]
pub struct BodyHasher {
    bytes: u64,
    sha256: Sha256,
    sha512: Option<Sha512>,
}

impl BodyHasher {
    /// A hasher that can check these digests later.
    pub fn new(expected: Option<&ContentDigests>) -> Self {
        let sha512 = expected.and_then(|digests| digests.sha512.as_ref()).map(|_| Sha512::new());
        Self { bytes: 0, sha256: Sha256::new(), sha512 }
    }

    /// Takes the next bytes of the body.
    pub fn update(&mut self, chunk: &[u8]) {
        // A slice is never longer than `isize::MAX`, so nothing is lost.
        self.bytes = self.bytes.saturating_add(chunk.len() as u64);
        self.sha256.update(chunk);
        if let Some(sha512) = &mut self.sha512 {
            sha512.update(chunk);
        }
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Ends the body.
    pub fn finish(self) -> BodyDigest {
        BodyDigest {
            bytes: self.bytes,
            sha256: self.sha256.finalize().into(),
            sha512: self.sha512.map(|sha512| sha512.finalize().into()),
        }
    }
}

/// Length and digest of a whole body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyDigest {
    bytes: u64,
    sha256: [u8; 32],
    sha512: Option<[u8; 64]>,
}

impl BodyDigest {
    /// Of a body at hand.
    pub fn of(body: &[u8], expected: Option<&ContentDigests>) -> Self {
        let mut hasher = BodyHasher::new(expected);
        hasher.update(body);
        hasher.finish()
    }

    /// Length of the body.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// SHA-256 of the body.
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// Compares with every digest the field states. One that was not computed does not match.
    pub fn check(&self, expected: &ContentDigests) -> Result<(), DigestMismatch> {
        if expected.sha256.is_some_and(|digest| digest != self.sha256) {
            return Err(DigestMismatch { algorithm: "sha-256", bytes: self.bytes });
        }
        if expected.sha512.is_some() && expected.sha512 != self.sha512 {
            return Err(DigestMismatch { algorithm: "sha-512", bytes: self.bytes });
        }
        Ok(())
    }
}

/// The body is not the one that was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DigestMismatch {
    /// The algorithm whose digest differs, as `Content-Digest` names it.
    pub algorithm: &'static str,
    /// Bytes received.
    pub bytes: u64,
}

impl DigestMismatch {
    /// The reason that stands in record and answer.
    pub fn reason(&self) -> Reason {
        Reason::DigestMismatch
    }
}

impl fmt::Display for DigestMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { algorithm, bytes } = self;
        write!(f, "the {bytes} bytes of body received do not have the {algorithm} digest of content-digest")
    }
}

impl std::error::Error for DigestMismatch {}
