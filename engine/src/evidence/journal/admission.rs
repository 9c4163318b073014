//! What a journal takes in: a bounded queue in which a record of a request that went on always finds its place.

use crate::decision::Reason;
use crate::evidence::lifecycle::SummaryRecord;
use crate::evidence::record::{DecisionRecord, Outcome, Released};
use crate::facts::Timestamp;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Bytes kept free for the completion of each decision that let something go.
const COMPLETION_BYTES: u64 = 1024;
/// Bytes of a decision that [`Admission::can_release`] assumes before it is written.
const DECISION_BYTES: u64 = 4096;
/// Denials of unverified requests that are recorded one by one, a second on the long run; a quarter of the queue may come at
/// once. A record is ten times a request that buys it, nobody can be held to account for it, and it is never deleted.
const UNVERIFIED_PER_SECOND: u64 = 16;
/// What records of the log itself (genesis, config, summary) may take beyond the capacity.
const CONTROL: Capacity = Capacity { records: 64, bytes: 1024 * 1024 };

/// How much may wait for the collector: records appended and not yet acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Records.
    pub records: u64,
    /// Bytes, as they are sent: lines and openings with their newlines.
    pub bytes: u64,
}

impl Capacity {
    fn add(&mut self, bytes: u64) {
        self.records = self.records.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn subtract(&mut self, other: Self) {
        self.records = self.records.saturating_sub(other.records);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }

    /// Whether one more of `bytes` fits below `limit`.
    fn takes(self, bytes: u64, limit: Self) -> bool {
        self.records < limit.records && self.bytes.saturating_add(bytes) <= limit.bytes
    }

    fn share(self, numerator: u64, denominator: u64) -> Self {
        let of = |whole: u64| whole.saturating_mul(numerator).checked_div(denominator).unwrap_or(0);
        Self { records: of(self.records), bytes: of(self.bytes) }
    }
}

/// How a record is admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// A record of the log itself.
    Control,
    /// A decision that was no denial, or let something go.
    Released,
    /// A completion: its place was kept when its decision was admitted.
    Completion,
    /// A denial of a verified request.
    Denial,
    /// A denial of a request that nobody vouched for.
    UnverifiedDenial,
}

impl Class {
    pub(super) fn of(decision: &DecisionRecord) -> Self {
        match (decision.outcome, decision.released, decision.binding) {
            (Outcome::Deny, Released::None, None) => Self::UnverifiedDenial,
            (Outcome::Deny, Released::None, Some(_)) => Self::Denial,
            _ => Self::Released,
        }
    }
}

/// What records of each class take up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// All but control records.
    pub(super) all: Capacity,
    control: Capacity,
    denials: Capacity,
    unverified: Capacity,
}

impl Usage {
    pub(super) fn add(&mut self, class: Class, bytes: u64) {
        if class == Class::Control {
            return self.control.add(bytes);
        }
        self.all.add(bytes);
        if matches!(class, Class::Denial | Class::UnverifiedDenial) {
            self.denials.add(bytes);
        }
        if class == Class::UnverifiedDenial {
            self.unverified.add(bytes);
        }
    }

    pub(super) fn subtract(&mut self, other: &Self) {
        self.all.subtract(other.all);
        self.control.subtract(other.control);
        self.denials.subtract(other.denials);
        self.unverified.subtract(other.unverified);
    }

    pub(super) fn records(&self) -> u64 {
        self.all.records.saturating_add(self.control.records)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.all.bytes.saturating_add(self.control.bytes)
    }
}

/// Admits records to the queue.
///
/// INVARIANT: records in the queue and open exchanges together never exceed the capacity, but for control records, which
/// have an allowance of their own. So the completion of an exchange that was let go always fits.
#[derive(Debug)]
pub(super) struct Admission {
    capacity: Capacity,
    pub(super) usage: Usage,
    /// Ids of decisions that let something go and have no completion yet, and who sent them.
    open: BTreeMap<u128, Holder>,
    held: BTreeMap<Holder, u64>,
    allowance: Allowance,
}

/// Agent and tenant, by a digest: names may be long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Holder([u8; 16]);

impl Holder {
    pub(super) fn of(decision: &DecisionRecord) -> Self {
        let name = |name: &Option<String>| Sha256::digest(name.as_deref().unwrap_or_default());
        let digest = Sha256::new().chain_update(name(&decision.agent)).chain_update(name(&decision.tenant)).finalize();
        let mut holder = [0; 16];
        holder.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Self(holder)
    }
}

/// Denials of unverified requests that may still be recorded one by one. A token bucket, in thousandths of a record.
#[derive(Debug)]
struct Allowance {
    left: u64,
    most: u64,
    at: Timestamp,
}

impl Allowance {
    fn new(records: u64) -> Self {
        let most = records.saturating_mul(1000);
        Self { left: most, most, at: Timestamp::default() }
    }

    fn draw(&mut self, now: Timestamp) -> bool {
        let gained = now.millis_since(self.at).saturating_mul(UNVERIFIED_PER_SECOND);
        self.left = self.left.saturating_add(gained).min(self.most);
        self.at = now;
        let after = self.left.checked_sub(1000);
        self.left = after.unwrap_or(self.left);
        after.is_some()
    }
}

impl Admission {
    pub(super) fn new(capacity: Capacity) -> Self {
        let allowance = Allowance::new(capacity.share(1, 4).records);
        Self { capacity, usage: Usage::default(), open: BTreeMap::new(), held: BTreeMap::new(), allowance }
    }

    pub(super) fn open(&self) -> u64 {
        self.open.len().try_into().unwrap_or(u64::MAX)
    }

    pub(super) fn is_open(&self, decision: u128) -> bool {
        self.open.contains_key(&decision)
    }

    /// Whether a decision of ordinary size and its completion would fit now.
    pub(super) fn can_release(&self) -> bool {
        self.fits(Class::Released, DECISION_BYTES, true)
    }

    /// Whether a record fits, and the completion that it will need.
    pub(super) fn fits(&self, class: Class, bytes: u64, completion: bool) -> bool {
        let mut wanted = self.committed();
        let more = u64::from(completion);
        wanted.records = wanted.records.saturating_add(more);
        wanted.bytes = wanted.bytes.saturating_add(more.saturating_mul(COMPLETION_BYTES));
        match class {
            Class::Control => self.usage.control.takes(bytes, CONTROL),
            Class::Completion => true,
            Class::Released => wanted.takes(bytes, self.capacity),
            // A quarter stays for requests that go on, whatever is being refused meanwhile.
            Class::Denial => {
                wanted.takes(bytes, self.capacity) && self.usage.denials.takes(bytes, self.capacity.share(3, 4))
            }
            Class::UnverifiedDenial => {
                self.fits(Class::Denial, bytes, completion)
                    && self.usage.unverified.takes(bytes, self.capacity.share(1, 4))
            }
        }
    }

    /// Whether a record of this class may be written at all now, room or not. Counts it.
    pub(super) fn draw(&mut self, class: Class, now: Timestamp) -> bool {
        class != Class::UnverifiedDenial || self.allowance.draw(now)
    }

    /// Whether this sender may have one more exchange open. Each keeps a place in the queue for as long as it lasts, so
    /// that whoever opened enough of them would lock everybody out: nobody gets more than half.
    pub(super) fn may_open(&self, holder: Holder) -> bool {
        self.held.get(&holder).is_none_or(|open| *open < self.capacity.share(1, 2).records)
    }

    /// Keeps a place for the completion of this decision.
    pub(super) fn expect_completion(&mut self, decision: u128, holder: Holder) {
        self.open.insert(decision, holder);
        let open = self.held.entry(holder).or_insert(0);
        *open = open.saturating_add(1);
    }

    /// Gives the place back.
    pub(super) fn completed(&mut self, decision: u128) {
        let Some(holder) = self.open.remove(&decision) else { return };
        if let Entry::Occupied(mut open) = self.held.entry(holder) {
            *open.get_mut() = open.get().saturating_sub(1);
            if *open.get() == 0 {
                open.remove();
            }
        }
    }

    /// What is queued and what is kept for completions.
    fn committed(&self) -> Capacity {
        let open = self.open();
        Capacity {
            records: self.usage.all.records.saturating_add(open),
            bytes: self.usage.all.bytes.saturating_add(open.saturating_mul(COMPLETION_BYTES)),
        }
    }
}

/// Decisions that are counted instead of recorded one by one.
#[derive(Debug, Default)]
pub(super) struct Folded {
    pending: Option<SummaryRecord>,
    pub(super) total: u64,
    pub(super) dropped: u64,
}

impl Folded {
    pub(super) fn count(&mut self, reason: Reason, class: Class, time: Timestamp) {
        let summary = self.at(time);
        let counts = match class {
            Class::UnverifiedDenial => &mut summary.unverified,
            _ => &mut summary.verified,
        };
        let count = counts.entry(reason).or_insert(0);
        *count = count.saturating_add(1);
        self.total = self.total.saturating_add(1);
    }

    /// A decision that let something go.
    pub(super) fn drop(&mut self, reason: Reason, time: Timestamp) {
        let count = self.at(time).dropped.entry(reason).or_insert(0);
        *count = count.saturating_add(1);
        self.dropped = self.dropped.saturating_add(1);
    }

    /// The pending summary, with its time stretched to this.
    fn at(&mut self, time: Timestamp) -> &mut SummaryRecord {
        let summary =
            self.pending.get_or_insert_with(|| SummaryRecord { from: time, to: time, ..SummaryRecord::default() });
        summary.from = summary.from.min(time);
        summary.to = summary.to.max(time);
        summary
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_none()
    }

    /// The summary to write; counting starts anew once [`written`](Self::written) is called.
    pub(super) fn summary(&self, now: Timestamp) -> Option<SummaryRecord> {
        self.pending.clone().map(|summary| SummaryRecord { time: now, ..summary })
    }

    pub(super) fn written(&mut self) {
        self.pending = None;
    }
}
