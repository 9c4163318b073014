//! The journal of one worker VM: its log, the queue in front of the collector, and the sealing of batches.
//!
//! # Bounds
//! Records wait until the collector acknowledged them. At most [`Capacity`] of them, completions of exchanges that were let
//! go included; beyond that 64 records and 1 MiB of the log's own kinds (genesis, config, summary), and one `closed`. A
//! completion longer than 1 KiB exceeds the bytes by the difference. Memory is that, some 150 bytes a queued record, 48 an
//! open exchange, and at most 256 sealed checkpoints. When the queue is full, nothing more is let go.
//!
//! # Order
//! `append_*` makes a leaf at once: [`Journal::head`] speaks of all leaves. [`Journal::next_batch`] seals a part of the
//! queue, which ends at a size of its own; a second tree follows what is sealed. Sealed batches go out one at a time. While
//! the collector is away one is sealed every 30 s all the same, so that the time line of checkpoints has no hole afterwards.

mod admission;
mod outbox;
#[cfg(test)]
mod tests;

pub use admission::Capacity;
pub use outbox::{AcknowledgeError, Batch};

use super::batch::{self, MAX_LINE, MAX_OPENINGS_OF_LEAF};
use super::checkpoint::{Checkpoint, LogHead, MAX_OTHERS};
use super::commitment::FieldOpening;
use super::key::GatewayKey;
use super::lifecycle::{ClosedRecord, ConfigRecord, GenesisRecord, PreviousRecord, Record};
use super::merkle::{CompactRange, Hash};
use super::origin::Origin;
use super::record::{CompletionRecord, DecisionRecord, Released};
use crate::facts::Timestamp;
use crate::policy::ValueMask;
use admission::{Admission, Class, Folded, Holder, Usage};
use outbox::Outbox;
use std::collections::VecDeque;
use std::fmt;

/// Longest time between two checkpoints, in milliseconds, idle or not.
pub const HEARTBEAT: u64 = 30_000;
/// Most records of a batch; readers take this many.
const MAX_RECORDS: usize = 65_536;
/// Most batches sealed and not acknowledged. At one every 30 s this is an outage of two hours.
const MAX_SEALED: usize = 256;

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is the leaf of this index.
    Leaf(u64),
    /// It was a denial for which there is no room; it counts in the next summary.
    Folded,
}

/// Why a record was not taken. Whoever wanted to let a request go must then refuse it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AppendError {
    /// The queue is full.
    Full,
    /// Half of the queue is kept for exchanges of this agent and tenant that are open.
    TooManyOpen,
    /// The log was closed.
    Closed,
    /// The record is longer than 256 KiB, or has more than 16 openings.
    TooLong,
    /// A decision's id is not 32 lower-case hex digits, or one of an exchange that is still open.
    DecisionId,
    /// A completion of no open exchange.
    NoSuchDecision,
    /// JSON cannot express the record.
    Json,
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the evidence queue is full",
            Self::TooManyOpen => "this agent has as many exchanges open as one may have",
            Self::Closed => "the evidence log is closed",
            Self::TooLong => "a record is longer than 256 KiB, or has more than 16 openings",
            Self::DecisionId => "a decision id is not 32 lower-case hex digits, or in use",
            Self::NoSuchDecision => "a completion is of no open decision",
            Self::Json => "a record cannot be written as JSON",
        })
    }
}

impl std::error::Error for AppendError {}

/// How a journal stands. Counters count since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalStats {
    /// Records that are not acknowledged.
    pub queued_records: u64,
    /// Their bytes.
    pub queued_bytes: u64,
    /// Age of the oldest of them, in milliseconds.
    pub oldest: u64,
    /// Exchanges that were let go and have not ended.
    pub open: u64,
    /// Batches sealed and not acknowledged.
    pub sealed_batches: u64,
    /// Times a batch was sent again.
    pub retries: u64,
    /// Denials counted in summaries.
    pub folded: u64,
    /// Decisions that let something go and were counted instead of recorded. The operator chose so.
    pub dropped: u64,
    /// Leaves appended.
    pub size: u64,
    /// Leaves acknowledged.
    pub acknowledged: u64,
}

/// The log of one worker VM.
#[derive(Debug)]
pub struct Journal {
    origin: Origin,
    key: GatewayKey,
    admission: Admission,
    folded: Folded,
    queue: VecDeque<Entry>,
    outbox: Outbox,
    /// Over everything appended.
    tree: CompactRange,
    /// Over what is sealed.
    sealed: CompactRange,
    acknowledged: u64,
    last_checkpoint: String,
    /// Time of the last checkpoint, and what the clock showed when it was signed. They differ once the clock went back.
    last_signed: Timestamp,
    last_sealed: Timestamp,
    closed: bool,
}

#[derive(Debug)]
struct Entry {
    line: String,
    leaf: Hash,
    openings: Vec<String>,
    class: Class,
    bytes: u64,
    time: Timestamp,
}

impl Journal {
    /// A log with its first leaf, the genesis record.
    pub fn new(genesis: &GenesisRecord, key: GatewayKey, capacity: Capacity) -> Result<Self, AppendError> {
        let mut journal = Self {
            origin: genesis.origin.clone(),
            key,
            admission: Admission::new(capacity),
            folded: Folded::default(),
            queue: VecDeque::new(),
            outbox: Outbox::new(),
            tree: CompactRange::new(),
            sealed: CompactRange::new(),
            acknowledged: 0,
            last_checkpoint: String::new(),
            last_signed: genesis.time,
            last_sealed: genesis.time,
            closed: false,
        };
        let line = line(Record::Genesis(genesis))?;
        journal.push(line, Vec::new(), Class::Control, genesis.time);
        Ok(journal)
    }

    /// The log's name.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// `hmac-sha256:<base64>` of a small value, under a key of this gateway: equal values can be seen to be equal, and
    /// nobody without the key can try values out.
    pub fn keyed_hash(&self, value: &[u8]) -> String {
        self.key.keyed_hash(value)
    }

    /// A secret of its own for a purpose, from this gateway's key.
    pub fn derive(&self, label: &str) -> [u8; 32] {
        self.key.derive(label)
    }

    /// Number of leaves, sealed or not.
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// All leaves, sealed or not: what the other VMs are told.
    pub fn tree(&self) -> &CompactRange {
        &self.tree
    }

    /// Size and root over all leaves, sealed or not. Cost: up to 63 node hashes, on average half
    /// as many as the size has binary digits.
    pub fn head(&self) -> LogHead {
        LogHead { origin: self.origin.clone(), size: self.tree.size(), root: self.tree.root() }
    }

    /// Number of leaves that the collector acknowledged: the leaf of an index below it is durable.
    pub fn acknowledged_size(&self) -> u64 {
        self.acknowledged
    }

    /// The last checkpoint that was signed, for the second place it goes to. Empty before the first.
    pub fn last_checkpoint(&self) -> &str {
        &self.last_checkpoint
    }

    /// Whether a decision of ordinary size that lets something go would find room, its completion included. Keeps nothing:
    /// [`append_decision`](Self::append_decision) decides.
    pub fn can_release(&self) -> bool {
        !self.closed && self.admission.can_release()
    }

    /// Records a decision, before anything is let go. When it lets something go, room for its completion is kept until
    /// that comes. A denial that finds no room, or of which there are too many that nobody vouches for, is folded into a
    /// summary. What stands in its leaf is the record with the mask put on.
    pub fn append_decision(
        &mut self,
        record: &DecisionRecord,
        openings: Vec<FieldOpening>,
        mask: &ValueMask,
    ) -> Result<Appended, AppendError> {
        if self.closed {
            return Err(AppendError::Closed);
        }
        let id = decision_id(&record.id).filter(|id| !self.admission.is_open(*id)).ok_or(AppendError::DecisionId)?;
        let class = Class::of(record);
        let completion = record.released != Released::None;
        let holder = completion.then(|| Holder::of(record));
        let masked = mask.put_on(record, &|value| self.key.keyed_hash(value));
        let lines = decision_lines(&masked, openings, self.tree.size()).and_then(|(line, openings)| {
            if !self.admission.fits(class, cost(&line, &openings), completion) {
                return Err(AppendError::Full);
            }
            match holder.is_none_or(|holder| self.admission.may_open(holder)) {
                false => Err(AppendError::TooManyOpen),
                true if self.admission.draw(class, record.time) => Ok((line, openings)),
                true => Err(AppendError::Full),
            }
        });
        match (lines, class) {
            (Ok((line, openings)), _) => {
                let index = self.push(line, openings, class, record.time);
                if let Some(holder) = holder {
                    self.admission.expect_completion(id, holder);
                }
                Ok(Appended::Leaf(index))
            }
            // Too long, or no room: whatever keeps a denial from a record of its own, it counts.
            (Err(_), Class::Denial | Class::UnverifiedDenial) => {
                self.folded.count(record.reason, class, record.time);
                Ok(Appended::Folded)
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Counts, in the next summary, a decision that lets something go and for which there was no room: what an operator may
    /// choose over refusing it. Nothing is kept for its completion.
    pub fn drop_decision(&mut self, record: &DecisionRecord) -> Result<(), AppendError> {
        if self.closed {
            return Err(AppendError::Closed);
        }
        self.folded.drop(record.reason, record.time);
        Ok(())
    }

    /// Records how an exchange ended. Its place was kept, so it is never refused for want of room.
    pub fn append_completion(&mut self, record: &CompletionRecord) -> Result<u64, AppendError> {
        if self.closed {
            return Err(AppendError::Closed);
        }
        let id = decision_id(&record.decision)
            .filter(|id| self.admission.is_open(*id))
            .ok_or(AppendError::NoSuchDecision)?;
        let line = line(Record::Completion(record))?;
        let index = self.push(line, Vec::new(), Class::Completion, record.time);
        self.admission.completed(id);
        Ok(index)
    }

    /// Records that a configuration was accepted. Refused when too many of the log's own records wait; then the
    /// configuration must be refused as well.
    pub fn append_config(&mut self, record: &ConfigRecord) -> Result<u64, AppendError> {
        if self.closed {
            return Err(AppendError::Closed);
        }
        let line = line(Record::Config(record))?;
        if !self.admission.fits(Class::Control, cost(&line, &[]), false) {
            return Err(AppendError::Full);
        }
        Ok(self.push(line, Vec::new(), Class::Control, record.time))
    }

    /// Records where the boot before ended, as the collector reported it after this log had begun.
    pub fn append_previous(&mut self, record: &PreviousRecord) -> Result<u64, AppendError> {
        if self.closed {
            return Err(AppendError::Closed);
        }
        let line = line(Record::Previous(record))?;
        if !self.admission.fits(Class::Control, cost(&line, &[]), false) {
            return Err(AppendError::Full);
        }
        Ok(self.push(line, Vec::new(), Class::Control, record.time))
    }

    /// Appends the last leaf. What is queued still goes out; nothing more is taken.
    pub fn close(&mut self, now: Timestamp, reason: &str) -> Result<u64, AppendError> {
        if self.closed {
            return Err(AppendError::Closed);
        }
        if let Some(summary) = self.folded.summary(now) {
            let line = line(Record::Summary(&summary))?;
            self.push(line, Vec::new(), Class::Control, now);
            self.folded.written();
        }
        let closed = ClosedRecord { time: now, reason: reason.to_owned(), open: self.admission.open() };
        let line = line(Record::Closed(&closed))?;
        let index = self.push(line, Vec::new(), Class::Control, now);
        self.closed = true;
        Ok(index)
    }

    /// Whether a checkpoint is due, though there be nothing to send.
    pub fn heartbeat_due(&self, now: Timestamp) -> bool {
        let over = self.closed && self.sealed.size() == self.tree.size();
        // A clock that went back by hours must not silence the log for as long.
        !over && (now < self.last_sealed || now.millis_since(self.last_sealed) >= HEARTBEAT)
    }

    /// Whether everything there was is acknowledged.
    pub fn is_drained(&self) -> bool {
        self.queue.is_empty() && self.outbox.len() == 0
    }

    /// The batch to send now, if any: one that waits, or else one sealed of what is queued, with at most `max_lines`
    /// records and `max_bytes` of them (a longer one goes alone). It is on its way until [`acknowledged`](Self::acknowledged)
    /// or [`failed`](Self::failed) is called; until then there is no other. `others`: the heads of the other VMs' logs.
    pub fn next_batch(
        &mut self,
        now: Timestamp,
        max_lines: usize,
        max_bytes: usize,
        others: &[LogHead],
    ) -> Option<Batch> {
        let waiting = self.outbox.len() == 0 && !(self.queue.is_empty() && self.folded.is_empty());
        if (waiting || self.heartbeat_due(now)) && self.outbox.len() < MAX_SEALED {
            self.seal(now, max_lines, max_bytes, others);
        }
        self.outbox.next(now)
    }

    /// Everything that is not acknowledged, sealed, in the order in which it is to be delivered. For the end of a log whose writer goes
    /// before it could deliver; what is on its way stays so.
    pub fn rest(&mut self, now: Timestamp, (max_lines, max_bytes): (usize, usize), others: &[LogHead]) -> Vec<Batch> {
        while !self.queue.is_empty() {
            self.seal(now, max_lines, max_bytes, others);
        }
        self.outbox.all()
    }

    /// The collector acknowledged the batch that is on its way. When this fails, call [`failed`](Self::failed).
    pub fn acknowledged(&mut self, head: &LogHead) -> Result<(), AcknowledgeError> {
        let usage = self.outbox.acknowledged(head)?;
        self.admission.usage.subtract(&usage);
        self.acknowledged = head.size;
        Ok(())
    }

    /// The batch on its way did not arrive, or was not acknowledged. It goes again, the same bytes, after a time that
    /// doubles from half a second to half a minute. `random` spreads the retries of many gateways.
    pub fn failed(&mut self, now: Timestamp, random: u64) {
        self.outbox.failed(now, random);
    }

    /// Somebody waits for an acknowledgement: a batch that failed goes again within a second.
    pub fn hasten(&mut self, now: Timestamp) {
        self.outbox.hasten(now);
    }

    /// How it stands.
    pub fn stats(&self, now: Timestamp) -> JournalStats {
        let oldest = self.outbox.oldest().or_else(|| self.queue.front().map(|entry| entry.time));
        JournalStats {
            queued_records: self.admission.usage.records(),
            queued_bytes: self.admission.usage.bytes(),
            oldest: oldest.map_or(0, |time| now.millis_since(time)),
            open: self.admission.open(),
            sealed_batches: self.outbox.len().try_into().unwrap_or(u64::MAX),
            retries: self.outbox.retries,
            folded: self.folded.total,
            dropped: self.folded.dropped,
            size: self.tree.size(),
            acknowledged: self.acknowledged,
        }
    }

    fn push(&mut self, line: String, openings: Vec<String>, class: Class, time: Timestamp) -> u64 {
        let (index, bytes) = (self.tree.size(), cost(&line, &openings));
        let leaf = Hash::of_leaf(line.as_bytes());
        self.tree.append(leaf);
        self.admission.usage.add(class, bytes);
        self.queue.push_back(Entry { line, leaf, openings, class, bytes, time });
        index
    }

    /// Seals what is queued, up to the limits, under one checkpoint.
    fn seal(&mut self, now: Timestamp, max_lines: usize, max_bytes: usize, others: &[LogHead]) {
        if let Some(summary) = self.folded.summary(now)
            && let Ok(line) = line(Record::Summary(&summary))
            && self.admission.fits(Class::Control, cost(&line, &[]), false)
        {
            self.push(line, Vec::new(), Class::Control, now);
            self.folded.written();
        }
        let (first, max_bytes) = (self.sealed.size(), u64::try_from(max_bytes).unwrap_or(u64::MAX));
        let max_lines = max_lines.min(MAX_RECORDS);
        let (mut entries, mut usage, mut bytes) = (Vec::new(), Usage::default(), 0_u64);
        while let Some(entry) = self.queue.pop_front_if(|next| {
            entries.is_empty() || (entries.len() < max_lines && bytes.saturating_add(next.bytes) <= max_bytes)
        }) {
            bytes = bytes.saturating_add(entry.bytes);
            usage.add(entry.class, entry.bytes);
            self.sealed.append(entry.leaf);
            entries.push(entry);
        }
        // Clocks go back at times; the checkpoints of a log do not.
        self.last_signed = self.last_signed.max(now);
        self.last_sealed = now;
        let head = LogHead { origin: self.origin.clone(), size: self.sealed.size(), root: self.sealed.root() };
        let mut named = std::collections::BTreeSet::from([&self.origin]);
        let others = others.iter().filter(|other| named.insert(&other.origin)).take(MAX_OTHERS).cloned().collect();
        let checkpoint = Checkpoint { head: head.clone(), time: self.last_signed, others };
        self.last_checkpoint = checkpoint.sign(&self.key);
        let records = entries.iter().map(|entry| entry.line.as_str());
        let openings = entries.iter().flat_map(|entry| &entry.openings).map(String::as_str);
        let capacity = usize::try_from(bytes).unwrap_or(0).saturating_add(self.last_checkpoint.len()).saturating_add(2);
        let body = batch::write(records, &self.last_checkpoint, openings, capacity);
        self.outbox.push(Batch::new(body, head, first), usage, entries.first().map(|entry| entry.time));
    }
}

fn line(record: Record<'_>) -> Result<String, AppendError> {
    bounded(record.to_line())
}

/// A decision and its openings as lines.
fn decision_lines(
    record: &DecisionRecord,
    openings: Vec<FieldOpening>,
    index: u64,
) -> Result<(String, Vec<String>), AppendError> {
    if openings.len() > MAX_OPENINGS_OF_LEAF {
        return Err(AppendError::TooLong);
    }
    let openings = openings.into_iter().map(|opening| bounded(opening.at(index).to_line()));
    Ok((line(Record::Decision(record))?, openings.collect::<Result<_, _>>()?))
}

fn bounded(line: Result<String, serde_json::Error>) -> Result<String, AppendError> {
    let line = line.map_err(|_| AppendError::Json)?;
    if line.len() > MAX_LINE { Err(AppendError::TooLong) } else { Ok(line) }
}

/// Bytes of a record in a batch.
fn cost(line: &str, openings: &[String]) -> u64 {
    let bytes = openings.iter().map(String::len).fold(line.len(), |sum, len| sum.saturating_add(len).saturating_add(1));
    bytes.saturating_add(1).try_into().unwrap_or(u64::MAX)
}

/// 32 lower-case hex digits.
fn decision_id(text: &str) -> Option<u128> {
    let digits = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if digits { u128::from_str_radix(text, 16).ok() } else { None }
}
