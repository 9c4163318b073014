//! What the host's statistics say of evidence and decisions (docs/operations.md).
//!
//! The host keeps one value a name for all VMs. Counters are added to; what is a state is published by each VM in shared
//! data, and each writes the sum over all that are heard of: a VM that died drops out of it by itself.

use crate::vm::Vm;
use exeat_engine::evidence::record::Outcome;
use exeat_engine::facts::Timestamp;
use proxy_wasm::hostcalls;
use proxy_wasm::types::MetricType;

/// Milliseconds between two updates: none is made while a request is handled.
const EVERY: u64 = 1_000;

/// Milliseconds after which a VM that says nothing no longer counts.
const FORGOTTEN: u64 = 10_000;

/// Milliseconds of silence after which a VM is taken for dead, for it says something every second.
const DEAD: u64 = 3_000;

const COUNTERS: [&str; 8] = [
    "exeat.decisions_allow",
    "exeat.decisions_deny",
    "exeat.decisions_would_deny",
    "exeat.guard_refusals",
    "exeat.evidence_batches",
    "exeat.evidence_retries",
    "exeat.evidence_folded",
    "exeat.evidence_dropped",
];

const GAUGES: [&str; 7] = [
    "exeat.evidence_queue_records",
    "exeat.evidence_queue_bytes",
    "exeat.evidence_waiting_requests",
    "exeat.evidence_oldest_milliseconds",
    "exeat.memory_bytes",
    "exeat.largest_vm_bytes",
    "exeat.configuration_accepted_seconds",
];

/// What happened in this VM.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counts {
    allow: u64,
    deny: u64,
    would_deny: u64,
    pub(crate) guard_refusals: u64,
}

impl Counts {
    pub(crate) fn decided(&mut self, outcome: Outcome) {
        let count = match outcome {
            Outcome::Allow => &mut self.allow,
            Outcome::Deny => &mut self.deny,
            Outcome::WouldDeny => &mut self.would_deny,
        };
        *count = count.saturating_add(1);
    }
}

/// What the host was told.
#[derive(Default)]
pub(crate) struct Metrics {
    counters: Option<[u32; COUNTERS.len()]>,
    gauges: Option<[u32; GAUGES.len()]>,
    told: [u64; COUNTERS.len()],
    at: Timestamp,
}

/// How one VM stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Status {
    /// When it said so.
    at: u64,
    records: u64,
    bytes: u64,
    waiting: u64,
    /// Time of the oldest record that waits; 0 where none does.
    oldest: u64,
    /// Bytes of its memory.
    memory: u64,
    /// When it took into use what it judges by; 0 where it has nothing to judge by.
    accepted: u64,
}

impl Status {
    fn to_bytes(self) -> Vec<u8> {
        let Self { at, records, bytes, waiting, oldest, memory, accepted } = self;
        [at, records, bytes, waiting, oldest, memory, accepted].iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    /// `None` for that of a module of another version.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (values, []) = bytes.as_chunks::<8>() else { return None };
        let [at, records, bytes, waiting, oldest, memory, accepted] = *values else { return None };
        let read = u64::from_le_bytes;
        Some(Self {
            at: read(at),
            records: read(records),
            bytes: read(bytes),
            waiting: read(waiting),
            oldest: read(oldest),
            memory: read(memory),
            accepted: read(accepted),
        })
    }

    /// Both together. Of times the earlier; 0 is none.
    fn and(self, other: Self) -> Self {
        let earlier = |a: u64, b: u64| if a == 0 || (b > 0 && b < a) { b } else { a };
        Self {
            at: self.at,
            records: self.records.saturating_add(other.records),
            bytes: self.bytes.saturating_add(other.bytes),
            waiting: self.waiting.saturating_add(other.waiting),
            oldest: earlier(self.oldest, other.oldest),
            memory: self.memory.saturating_add(other.memory),
            accepted: earlier(self.accepted, other.accepted),
        }
    }
}

/// Bytes of this VM's memory, which never shrinks.
fn memory() -> u64 {
    #[cfg(target_arch = "wasm32")]
    let pages = core::arch::wasm32::memory_size(0) as u64;
    #[cfg(not(target_arch = "wasm32"))]
    let pages = 0;
    pages << 16
}

/// Tells the host what changed, once in a while. A host without metrics is none the worse.
pub(crate) fn update(vm: &mut Vm, now: Timestamp) {
    if now.millis_since(vm.metrics.at) < EVERY && now >= vm.metrics.at {
        return;
    }
    vm.metrics.at = now;
    vm.tell_guards(now);
    let (counts, sent, waiting) = (vm.counts, vm.delivery.sent, vm.waiting.len());
    let stats = vm.begun_log().map(|log| log.journal.stats(now)).unwrap_or_default();
    let values = [
        counts.allow,
        counts.deny,
        counts.would_deny,
        counts.guard_refusals,
        sent,
        stats.retries,
        stats.folded,
        stats.dropped,
    ];
    let own = Status {
        at: now.millis(),
        records: stats.queued_records,
        bytes: stats.queued_bytes,
        waiting,
        oldest: if stats.queued_records > 0 { now.millis().saturating_sub(stats.oldest) } else { 0 },
        memory: memory(),
        accepted: vm.accepted_at().map_or(0, Timestamp::millis),
    };
    let all = vm.begun_log().map(|log| exchange(log, own, now));
    count(&mut vm.metrics, values);
    if let Some((all, largest)) = all {
        let oldest = if all.oldest > 0 { now.millis().saturating_sub(all.oldest) } else { 0 };
        let accepted = all.accepted.div_euclid(1_000);
        set(&mut vm.metrics, [all.records, all.bytes, all.waiting, oldest, all.memory, largest, accepted]);
    }
}

/// Publishes how this VM stands, and adds up how all do; and the memory of the largest.
fn exchange(log: &crate::log::Log, own: Status, now: Timestamp) -> (Status, u64) {
    let _ = log.shared.publish_status(log.number, &own.to_bytes());
    let heard = |status: &Status| now.millis().abs_diff(status.at) <= FORGOTTEN;
    let together = |(all, largest): (Status, u64), other: Status| (all.and(other), largest.max(other.memory));
    others(log).filter(heard).fold((own, own.memory), together)
}

/// Whether some other VM of this process died before this one began: then this one may stand in its place.
pub(crate) fn has_dead(log: &crate::log::Log, now: Timestamp) -> bool {
    let before = |last: u64| last <= log.begun.millis() && now.millis().saturating_sub(last) > DEAD;
    others(log).any(|status| before(status.at))
}

/// How the other VMs said that they stand; one that ended says nothing.
fn others(log: &crate::log::Log) -> impl Iterator<Item = Status> {
    let said = |number| Status::from_bytes(&log.shared.status(number).ok().flatten()?);
    let count = log.shared.vms().unwrap_or(0);
    (1..=count).filter(|number| *number != log.number).filter_map(said)
}

fn count(metrics: &mut Metrics, values: [u64; COUNTERS.len()]) {
    if metrics.counters.is_none() {
        metrics.counters = define(MetricType::Counter, COUNTERS);
    }
    let Some(counters) = metrics.counters else { return };
    for ((counter, value), told) in counters.into_iter().zip(values).zip(&mut metrics.told) {
        let more = value.saturating_sub(*told);
        // A host refuses to add nothing.
        if let (1.., Ok(offset)) = (more, i64::try_from(more))
            && hostcalls::increment_metric(counter, offset).is_ok()
        {
            *told = value;
        }
    }
}

fn set(metrics: &mut Metrics, values: [u64; GAUGES.len()]) {
    if metrics.gauges.is_none() {
        metrics.gauges = define(MetricType::Gauge, GAUGES);
    }
    for (gauge, value) in metrics.gauges.into_iter().flatten().zip(values) {
        let _ = hostcalls::record_metric(gauge, value);
    }
}

fn define<const N: usize>(kind: MetricType, names: [&str; N]) -> Option<[u32; N]> {
    let mut ids = [0; N];
    for (id, name) in ids.iter_mut().zip(names) {
        *id = hostcalls::define_metric(kind, name).ok()?;
    }
    Some(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_every_metric() {
        let page = include_str!("../../docs/operations.md");
        for name in COUNTERS.iter().chain(&GAUGES) {
            assert!(page.contains(&format!("`{}`", name.replace('.', "_"))), "docs/operations.md lacks {name}");
        }
    }
}
