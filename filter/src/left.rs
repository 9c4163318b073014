//! Evidence that a VM leaves behind: Envoy ends a VM with its last root context, and with it what is on its way to the collector. What is
//! not acknowledged by then is put into shared data, and another VM of the process delivers it, as it was sealed. One that has
//! been delivered twice is stored once.
//!
//! | value | |
//! |---|---|
//! | `left` | how often something was left (4) |
//! | `left/<n>` | until when somebody has it in hand (8), and for each batch length of its head (4), head, length (4), bytes; or nothing |

use crate::delivery::{self, GRACE, Outgoing};
use crate::shared::{SharedData, SharedError};
use crate::vm::Vm;
use exeat_engine::evidence::{Batch, LogHead};
use exeat_engine::facts::Timestamp;

/// Places for VMs that ended at about the same time.
const PLACES: u32 = 64;

/// Milliseconds between two looks while something is left.
const AGAIN: u64 = 1_000;

/// What this VM does for those that ended.
#[derive(Default)]
pub(crate) struct Left {
    /// How often something was left when everything was delivered.
    seen: u32,
    looked: Timestamp,
    errand: Option<Errand>,
}

struct Errand {
    /// That of the callout.
    token: u32,
    place: String,
    until: Timestamp,
    head: LogHead,
}

impl Left {
    /// Whether this callout is of something that was left.
    pub(crate) fn is(&self, token: u32) -> bool {
        self.errand.as_ref().is_some_and(|errand| errand.token == token)
    }
}

fn place(shared: &SharedData, number: u32) -> String {
    format!("{}left/{number}", shared.prefix())
}

fn count(content: Option<&[u8]>) -> u32 {
    content.and_then(|content| content.try_into().ok()).map_or(0, u32::from_le_bytes)
}

/// What is in a place.
#[derive(Debug, PartialEq, Eq)]
struct Parcel<'a> {
    until: Timestamp,
    batches: &'a [u8],
}

impl<'a> Parcel<'a> {
    /// `None`: the place is free.
    fn read(content: &'a [u8]) -> Option<Self> {
        let (until, batches) = content.split_first_chunk::<8>()?;
        (!batches.is_empty()).then_some(Self { until: Timestamp(u64::from_le_bytes(*until)), batches })
    }

    fn write(&self) -> Vec<u8> {
        [&self.until.millis().to_le_bytes()[..], self.batches].concat()
    }

    /// Head and bytes of the first batch, and the rest.
    fn first(&self) -> Option<(&'a [u8], &'a [u8], &'a [u8])> {
        let (head, rest) = part(self.batches)?;
        let (bytes, rest) = part(rest)?;
        Some((head, bytes, rest))
    }
}

fn part(from: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = from.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

fn written(batches: &[Batch]) -> Vec<u8> {
    let mut all = Vec::new();
    for batch in batches {
        let head = serde_json::to_vec(batch.head()).unwrap_or_default();
        for bytes in [head.as_slice(), batch.bytes()] {
            // INVARIANT: a queue has a room far below 4 GiB.
            all.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
            all.extend_from_slice(bytes);
        }
    }
    all
}

/// Leaves what is not acknowledged, with the end of the log, to whoever stays.
pub(crate) fn leave(vm: &mut Vm, now: Timestamp) {
    let Some(log) = vm.begun_log() else { return };
    let others = log.others();
    let batches = log.journal.rest(now, delivery::BATCH, &others);
    let parcel = Parcel { until: Timestamp::default(), batches: &written(&batches) };
    if parcel.batches.is_empty() {
        return;
    }
    let shared = log.shared.clone();
    let put = |number: &u32| {
        let free = |content: Option<&[u8]>| {
            let taken = content.is_some_and(|content| Parcel::read(content).is_some());
            Ok((if taken { None } else { Some(parcel.write()) }, !taken))
        };
        shared.update(&place(&shared, *number), free) == Ok(true)
    };
    if (0..PLACES).find(put).is_some() {
        let more = |content: Option<&[u8]>| Ok((Some(count(content).wrapping_add(1).to_le_bytes().to_vec()), ()));
        let _ = shared.update(&format!("{}left", shared.prefix()), more);
    }
}

/// Delivers what was left, as the root context that runs.
pub(crate) fn deliver(vm: &mut Vm, now: Timestamp) {
    if now.millis().abs_diff(vm.left.looked.millis()) < AGAIN {
        return;
    }
    vm.left.looked = now;
    if vm.left.errand.as_ref().is_some_and(|errand| now <= errand.until) {
        return;
    }
    vm.left.errand = None;
    let Some(shared) = vm.shared() else { return };
    let left = shared.value(&format!("{}left", shared.prefix())).ok().flatten();
    let left = count(left.as_deref());
    if left != vm.left.seen && look(vm, &shared, now) == Ok(true) {
        vm.left.seen = left;
    }
}

/// Whether nothing is left.
fn look(vm: &mut Vm, shared: &SharedData, now: Timestamp) -> Result<bool, SharedError> {
    let Some(gateway) = vm.gateway() else { return Ok(false) };
    let collector = gateway.collector();
    let until = now.plus_millis(collector.timeout.saturating_add(GRACE));
    let mut nothing = true;
    for number in 0..PLACES {
        let place = place(shared, number);
        // The places are taken in order: behind one that was never taken there is none.
        if shared.value(&place)?.is_none() {
            break;
        }
        let taken = shared.update(&place, |content| {
            let Some(parcel) = content.and_then(Parcel::read) else { return Ok((None, None)) };
            // A time further away than any claim was set before the clock went back.
            let in_hand = now <= parcel.until && parcel.until.millis_since(now) <= until.millis_since(now);
            let first = parcel.first().filter(|_| !in_hand).map(|(head, bytes, _)| (head.to_vec(), bytes.to_vec()));
            let claimed = first.is_some().then(|| Parcel { until, ..parcel }.write());
            Ok((claimed, Some(first)))
        })?;
        let Some(parcel) = taken else { continue };
        nothing = false;
        let Some((head, bytes)) = parcel else { continue };
        let Ok(head) = serde_json::from_slice(&head) else { continue };
        let token = vm.token.clone();
        let request = Outgoing { method: "POST", path: &collector.path, token: token.as_deref(), body: Some(&bytes) };
        if let Ok(token) = delivery::dispatch(collector, &request) {
            vm.left.errand = Some(Errand { token, place, until, head });
        }
        break;
    }
    Ok(nothing)
}

/// The collector answered, or the host in its place. What failed goes again when the claim to it is over.
pub(crate) fn answered(vm: &mut Vm, num_headers: usize, body_size: usize) {
    let (Some(errand), Some(shared)) = (vm.left.errand.take(), vm.shared()) else { return };
    let head = delivery::answer(num_headers, body_size, delivery::ACKNOWLEDGEMENT)
        .and_then(|body| serde_json::from_slice::<LogHead>(&body).map_err(|error| error.to_string()));
    if head.as_ref() != Ok(&errand.head) {
        return;
    }
    let _ = shared.update(&errand.place, |content| {
        let parcel = content.and_then(Parcel::read).filter(|parcel| parcel.until == errand.until);
        let rest = parcel.as_ref().and_then(Parcel::first).map(|(_, _, rest)| rest);
        Ok((rest.map(|batches| Parcel { until: Timestamp::default(), batches }.write()), ()))
    });
    // What is behind it goes at once.
    vm.left.looked = Timestamp::default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parcel_is_read_as_it_was_written() {
        let batches = [&4_u32.to_le_bytes()[..], b"head", &3_u32.to_le_bytes(), b"one", &[1, 0, 0, 0, b'x']].concat();
        let parcel = Parcel { until: Timestamp(7), batches: &batches };
        let content = parcel.write();
        assert_eq!(Parcel::read(&content), Some(Parcel { until: Timestamp(7), batches: &batches }));
        let (head, bytes, rest) = parcel.first().unwrap();
        assert_eq!((head, bytes), (&b"head"[..], &b"one"[..]));
        assert_eq!(Parcel { until: Timestamp(0), batches: rest }.first(), None);
        // Nothing, or nothing but a time, is a free place.
        assert_eq!(Parcel::read(&[]), None);
        assert_eq!(Parcel::read(&content[..8]), None);
        assert_eq!(Parcel { until: Timestamp(0), batches: &u32::MAX.to_le_bytes() }.first(), None);
    }
}
