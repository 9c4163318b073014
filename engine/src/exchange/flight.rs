//! A request that was let go: what of it was received, and what was passed on.

use super::Step;
use super::report::sha256_text;
use super::stream::Stream;
use super::unheld::Unheld;
use crate::payload::digest::{BodyDigest, BodyHasher, ContentDigests};

/// A request that was let go.
#[derive(Debug, Default)]
pub(super) struct Flight {
    /// Set while the body of a request released early still comes.
    pub(super) rest: Option<Rest>,
    /// Set for a tunnel or WebSocket.
    pub(super) stream: Option<Box<Stream>>,
    /// Set while the body of a request whose head went first is held back.
    pub(super) unheld: Option<Box<Unheld>>,
    pub(super) received: Passed,
    /// What was passed on: the last piece is not where the whole is not what was signed.
    pub(super) forwarded: Passed,
    pub(super) aborted: bool,
    /// Refused after it was let go, and recorded as such.
    pub(super) refused: bool,
    /// It never went on.
    pub(super) held_back: bool,
}

/// A body that is passed on while it is checked.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) hasher: BodyHasher,
    pub(super) expected: Option<ContentDigests>,
    /// Nobody signed it: a token says nothing of a body.
    pub(super) unsigned: bool,
    /// What content-length says.
    pub(super) announced: Option<u64>,
}

/// Length of a body, and its digest unless there is none.
#[derive(Clone, Debug, Default)]
pub(super) struct Passed {
    pub(super) bytes: u64,
    pub(super) digest: Option<String>,
}

impl Flight {
    /// A request whose body was seen whole before it was let go.
    pub(super) fn whole(digest: &BodyDigest) -> Self {
        let received = Passed::of(digest);
        Self { forwarded: received.clone(), received, ..Self::default() }
    }

    /// A further piece of a body that was released early: the last one goes on only when the whole is what was signed.
    pub(super) fn pass(&mut self, chunk: &[u8], end: bool) -> Step {
        if self.aborted {
            return Step::Abort;
        }
        let Some(mut rest) = self.rest.take() else {
            // The host may report the end once more after the release; a byte after the end is not what was judged.
            self.aborted = !chunk.is_empty();
            return if self.aborted { Step::Abort } else { Step::Pass };
        };
        let bytes = rest.hasher.bytes().saturating_add(chunk.len() as u64);
        // HTTP/1 shows the end in a piece of its own that is empty. An upstream that knows the length does not wait for it.
        if !end && rest.announced.is_none_or(|announced| bytes < announced) {
            rest.hasher.update(chunk);
            self.rest = Some(rest);
            return Step::Pass;
        }
        self.forwarded = Passed::of(&rest.hasher.clone().finish());
        rest.hasher.update(chunk);
        let digest = rest.hasher.finish();
        self.received = Passed::of(&digest);
        let as_signed = match rest.expected {
            Some(expected) => digest.check(&expected).is_ok(),
            None => rest.unsigned,
        };
        self.aborted = !as_signed || rest.announced.is_some_and(|announced| bytes != announced);
        if self.aborted {
            return Step::Abort;
        }
        self.forwarded = self.received.clone();
        Step::Pass
    }
}

impl Passed {
    pub(super) fn of(digest: &BodyDigest) -> Self {
        let bytes = digest.bytes();
        Self { bytes, digest: (bytes > 0).then(|| sha256_text(digest.sha256())) }
    }
}
