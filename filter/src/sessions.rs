//! What sessions did, over shared data: names they used, quarantine, first meetings. In bounded memory, for all workers.
//!
//! | what | values | bytes each, at most | in all |
//! |---|---|---|---|
//! | names | 4096 | 16 KiB | 64 MiB |
//! | quarantine | 256 | 1.3 KiB | 0.3 MiB |
//! | first meetings | 1024 | 8 KiB | 8 MiB |
//!
//! Values come to be as they are needed. A session takes 28 bytes, 12 for each parent and 8 for each name that it used in
//! the last 24 hours; sessions that use no wildcard and no open destination take nothing. Where there is no room, a new name is
//! refused and a live session never forgotten; within a value a key and tenant may hold three times what is left free.
//!
//! **What it costs.** What a worker knows already it does not look up: a session's names that were charged, and meetings. A
//! request to a named host reads one value, which does not exist as long as nobody was ever quarantined.

use crate::shared::SharedData;
use exeat_engine::facts::Timestamp;
use exeat_engine::ledger::names::{self, Charge, Charged, Mark, SessionFingerprint};
use exeat_engine::ledger::{SessionName, Share, Unavailable, quarantine};
use std::collections::HashSet;

const NAME_SHARDS: u16 = 4096;
const NAME_ROOM: usize = 16 * 1024;

const QUARANTINE_SHARDS: u16 = 256;
/// 64 sessions of 20 bytes.
const QUARANTINE_ROOM: usize = 64 * 20;

const MEETING_SHARDS: u16 = 1024;
/// Of 12 bytes: whose share, and what met.
const MEETINGS: usize = 682;
const MEETING: usize = 12;

/// So many times the free room of a value one key and tenant may hold.
const SHARE: usize = 3;

/// Marks that one worker knows besides, of each kind.
const KNOWN: usize = 32 * 1024;

/// What a worker knows without asking the others.
pub(crate) struct Known {
    /// Number of the VM, which no other of the process has.
    pub(crate) vm: u32,
    /// Number of its latest change of several values.
    pub(crate) latest_change: u64,
    /// Names that their sessions were charged for. Losing these, or meetings, costs time, nothing else.
    names: HashSet<Mark>,
    meetings: HashSet<Mark>,
}

impl Known {
    /// What the VM of this number knows at first.
    pub(crate) fn new(vm: u32) -> Self {
        Self { vm, latest_change: 0, names: HashSet::new(), meetings: HashSet::new() }
    }

    fn add(set: &mut HashSet<Mark>, marks: impl IntoIterator<Item = Mark>) {
        if set.len() >= KNOWN {
            set.clear();
        }
        set.extend(marks);
    }
}

/// A name as its session's.
fn of_session(session: SessionFingerprint, name: Mark) -> Mark {
    // Both are parts of hashes: adding them up mixes them well enough for those who did not choose both.
    let (SessionFingerprint([a, b, c, d, e, f, g, h, ..]), Mark(name)) = (session, name);
    Mark(u64::from_le_bytes([a, b, c, d, e, f, g, h]).wrapping_add(u64::from_le_bytes(name)).to_le_bytes())
}

pub(crate) fn charge_names(shared: &SharedData, known: &mut Known, charge: &Charge<'_>, now: Timestamp) -> Charged {
    let marks = || charge.names.iter().map(|name| of_session(charge.session, name.mark));
    if marks().all(|mark| known.names.contains(&mark)) {
        return Charged::Within;
    }
    let SessionFingerprint([a, b, ..]) = charge.session;
    let name = format!("{}names/{}", shared.prefix(), u16::from_le_bytes([a, b]) % NAME_SHARDS);
    let charged = shared
        .update(&name, |content| Ok(names::charge(content.unwrap_or_default(), charge, now, NAME_ROOM)))
        .unwrap_or(Charged::Unavailable);
    if charged == Charged::Within {
        Known::add(&mut known.names, marks());
    }
    charged
}

fn quarantine_value(shared: &SharedData, session: SessionFingerprint) -> String {
    let SessionFingerprint([a, b, ..]) = session;
    format!("{}quarantine/{}", shared.prefix(), u16::from_le_bytes([a, b]) % QUARANTINE_SHARDS)
}

/// Stands once anybody was quarantined in the life of the process.
fn anybody(shared: &SharedData) -> String {
    format!("{}quarantine/any", shared.prefix())
}

pub(crate) fn quarantined(
    shared: &SharedData,
    session: &SessionName<'_>,
    now: Timestamp,
) -> Result<Option<Timestamp>, Unavailable> {
    if shared.value(&anybody(shared)).map_err(|_| Unavailable)?.is_none() {
        return Ok(None);
    }
    let session = session.fingerprint();
    let content = shared.value(&quarantine_value(shared, session)).map_err(|_| Unavailable)?;
    Ok(content.and_then(|content| quarantine::quarantined(&content, session, now)))
}

pub(crate) fn quarantine(
    shared: &SharedData,
    session: &SessionName<'_>,
    until: Timestamp,
    now: Timestamp,
) -> Result<(), Unavailable> {
    let session = session.fingerprint();
    // First, so that no worker overlooks what comes next.
    shared.update(&anybody(shared), |content| Ok((content.is_none().then(|| vec![1]), ()))).map_err(|_| Unavailable)?;
    let added = shared.update(&quarantine_value(shared, session), |content| {
        let content = quarantine::with(content.unwrap_or_default(), session, until, now, QUARANTINE_ROOM);
        let added = content.is_some();
        Ok((content, added))
    });
    if added == Ok(true) { Ok(()) } else { Err(Unavailable) }
}

pub(crate) fn meet(shared: &SharedData, known: &mut Known, share: Share<'_>, meeting: Mark) -> Option<bool> {
    if known.meetings.contains(&meeting) {
        return Some(false);
    }
    let Mark([a, b, ..]) = meeting;
    let name = format!("{}met/{}", shared.prefix(), u16::from_le_bytes([a, b]) % MEETING_SHARDS);
    let holder = names::holder(share);
    let first =
        shared.update(&name, |content| Ok(remember(content.unwrap_or_default(), holder, meeting))).ok().flatten();
    if first.is_some() {
        Known::add(&mut known.meetings, [meeting]);
    }
    first
}

/// Whether a meeting is new, and the value with it; `None` where it cannot be remembered.
fn remember(content: &[u8], holder: [u8; 4], meeting: Mark) -> (Option<Vec<u8>>, Option<bool>) {
    let (mut count, mut own) = (0_usize, 0_usize);
    for entry in content.as_chunks::<MEETING>().0 {
        let [a, b, c, d, mark @ ..] = *entry;
        if mark == meeting.0 {
            return (None, Some(false));
        }
        count = count.saturating_add(1);
        own = own.saturating_add(usize::from([a, b, c, d] == holder));
    }
    if own >= MEETINGS.saturating_sub(count).saturating_mul(SHARE) {
        return (None, None);
    }
    let mut content = content.to_vec();
    content.extend_from_slice(&holder);
    content.extend_from_slice(&meeting.0);
    (Some(content), Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meetings_are_remembered_once_and_in_shares() {
        let mut content = Vec::new();
        let mut press = |holder: u8, from: u32, count: u32| {
            (from..from + count)
                .filter(|n| {
                    let mark = Mark::new(b'm', &[&n.to_string()]);
                    let (new, first) = remember(&content, [holder; 4], mark);
                    content = new.unwrap_or(std::mem::take(&mut content));
                    let again = remember(&content, [holder; 4], mark);
                    assert_eq!(again, if first.is_some() { (None, Some(false)) } else { (None, None) });
                    first == Some(true)
                })
                .count()
        };
        // Three quarters, then three quarters of the rest.
        assert_eq!(press(1, 0, 2_000), 512);
        assert_eq!(press(2, 10_000, 2_000), 128);
        assert_eq!(content.len(), 640 * MEETING);
    }

    #[test]
    fn names_of_two_sessions_are_two() {
        let session = |name| SessionName { tenant: None, agent: "a", session: name }.fingerprint();
        let name = Mark::new(b'n', &["x"]);
        assert_ne!(of_session(session("1"), name), of_session(session("2"), name));
    }
}
