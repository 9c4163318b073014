//! Sealed batches on their way to the collector: one at a time, in order, each until it is acknowledged.

use super::admission::Usage;
use crate::evidence::checkpoint::LogHead;
use crate::facts::Timestamp;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

/// First wait after a failure, in milliseconds; it doubles with each further one.
const BACKOFF_FIRST: u64 = 500;
/// Longest wait after a failure, in milliseconds.
const BACKOFF_LONGEST: u64 = 30_000;
/// Longest wait while somebody waits for an acknowledgement, in milliseconds.
const BACKOFF_HASTENED: u64 = 1_000;

/// A sealed batch. Cheap to clone; the bytes are shared.
#[derive(Clone, Debug)]
pub struct Batch {
    bytes: Arc<[u8]>,
    head: LogHead,
    first: u64,
}

impl Batch {
    pub(super) fn new(bytes: Vec<u8>, head: LogHead, first: u64) -> Self {
        Self { bytes: bytes.into(), head, first }
    }

    /// The body of the request.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Origin, size and root of its checkpoint: what the acknowledgement must repeat.
    pub fn head(&self) -> &LogHead {
        &self.head
    }

    /// Index of its first leaf; the size, when it has none.
    pub fn first_index(&self) -> u64 {
        self.first
    }
}

/// Why an acknowledgement does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcknowledgeError {
    /// Nothing is on its way.
    NothingSent,
    /// It names another origin, size or root than the batch on its way.
    Mismatch,
}

impl fmt::Display for AcknowledgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NothingSent => "an acknowledgement came though nothing was sent",
            Self::Mismatch => "the acknowledgement is not of the batch that was sent",
        })
    }
}

impl std::error::Error for AcknowledgeError {}

#[derive(Debug)]
struct Sealed {
    batch: Batch,
    usage: Usage,
    oldest: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The first batch was not sent yet.
    Ready,
    /// It is on its way.
    Sent,
    /// It failed and goes again at this time.
    Waiting(Timestamp),
}

/// Sealed batches, oldest first.
#[derive(Debug)]
pub(super) struct Outbox {
    sealed: VecDeque<Sealed>,
    state: State,
    failures: u32,
    pub(super) retries: u64,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self { sealed: VecDeque::new(), state: State::Ready, failures: 0, retries: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.sealed.len()
    }

    pub(super) fn push(&mut self, batch: Batch, usage: Usage, oldest: Option<Timestamp>) {
        self.sealed.push_back(Sealed { batch, usage, oldest });
    }

    /// All of them, in order.
    pub(super) fn all(&self) -> Vec<Batch> {
        self.sealed.iter().map(|sealed| sealed.batch.clone()).collect()
    }

    /// When the oldest record in it was made.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.sealed.iter().find_map(|sealed| sealed.oldest)
    }

    /// The batch to send now, if there is one; it then is on its way.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<Batch> {
        let first = self.sealed.front()?;
        match self.state {
            State::Sent => return None,
            // A time further away than any wait was set before the clock went back.
            State::Waiting(until) if now < until && until.millis_since(now) <= BACKOFF_LONGEST => return None,
            State::Waiting(_) => self.retries = self.retries.saturating_add(1),
            State::Ready => {}
        }
        self.state = State::Sent;
        Some(first.batch.clone())
    }

    /// Lets go of the first batch; what its records took up is free again. An answer that comes after a failure was
    /// reported (a time-out, say) still counts: the batch is durable.
    pub(super) fn acknowledged(&mut self, head: &LogHead) -> Result<Usage, AcknowledgeError> {
        let first = self.sealed.front().filter(|_| self.state != State::Ready).ok_or(AcknowledgeError::NothingSent)?;
        if first.batch.head != *head {
            return Err(AcknowledgeError::Mismatch);
        }
        let usage = first.usage;
        self.sealed.pop_front();
        self.state = State::Ready;
        self.failures = 0;
        Ok(usage)
    }

    /// Shortens the wait after a failure.
    pub(super) fn hasten(&mut self, now: Timestamp) {
        if let State::Waiting(until) = &mut self.state {
            *until = (*until).min(now.plus_millis(BACKOFF_HASTENED));
        }
    }

    /// Puts off the batch that is on its way: exponential backoff, of which half is random.
    pub(super) fn failed(&mut self, now: Timestamp, random: u64) {
        if self.state != State::Sent {
            return;
        }
        let longest = BACKOFF_FIRST.saturating_mul(1 << self.failures.min(16)).min(BACKOFF_LONGEST);
        let half = longest / 2;
        self.state = State::Waiting(now.plus_millis(half.saturating_add(random.checked_rem(half).unwrap_or(0))));
        self.failures = self.failures.saturating_add(1);
    }
}
