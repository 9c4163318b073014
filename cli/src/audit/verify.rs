//! `exeat audit verify`: everything that is stored, from bytes, against the keys of the gateways.

use super::citations::{Citations, Kind, furthest};
use super::coverage::{self, Timeline, Window};
use super::log::{self, Claims, Signatures, SignedHead};
use super::report::{At, Report};
use super::store::{EvidenceStore, StoredLog};
use super::time;
use super::view::RecordView;
use crate::collect::keyring::Keyring;
use anyhow::Context as _;
use exeat_engine::evidence::{Checkpoint, Origin, UnverifiedCheckpoint};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeSet, HashSet};

/// Checks a store. An error means that it could not be read; what is wrong with its content are findings.
///
/// Of the gateways in `expected` something must be stored; of all whose key is given when it is empty.
pub fn verify(store: &EvidenceStore, keys: &Keyring, window: &Window, expected: &[String]) -> anyhow::Result<Report> {
    for gateway in expected {
        anyhow::ensure!(
            keys.knows(gateway),
            "--expect {gateway}: no key of that gateway was given (--key {gateway}=<public key>)"
        );
    }
    let mut report = Report::default();
    let mut citations = Citations::default();
    let unreadable = "the store cannot be read; is it damaged?";
    for what in store.contradictions().context(unreadable)? {
        report.add("the store", None, format!("the database contradicts itself: {what}"));
    }
    let mut logs = Vec::new();
    let mut names = BTreeSet::new();
    for stored in store.logs().context(unreadable)? {
        if let Some(origin) = known(&stored, keys, &mut report) {
            if !names.insert(origin.clone()) {
                report.add(origin.as_str(), None, "stored twice: one of the two is another story of the same log");
            }
            let signed = checkpoints(store, &stored, &origin, keys, &mut citations, &mut report).context(unreadable)?;
            previous(store, &stored, &origin, &mut citations).context(unreadable)?;
            logs.push((stored, origin, signed));
        }
    }
    forks(store, keys, &mut citations, &mut report).context(unreadable)?;
    other_keys(&logs, &mut report);
    let mut timelines: Vec<Timeline> = Vec::with_capacity(logs.len());
    let mut signatures = Signatures::default();
    for (stored, origin, signed) in &logs {
        let own = citations.of(origin.as_str());
        let claims = Claims { origin, id: stored.id, checkpoints: signed, citations: own, window };
        timelines.push(log::check(store, &claims, &mut signatures, &mut report).context(unreadable)?);
    }
    not_stored(&timelines, &citations, window, &mut report);
    silent(&timelines, keys, expected, &mut report);
    coverage::check(&timelines, window, &mut report);
    count(&timelines, &mut report);
    Ok(report)
}

/// The origin of a stored log, when its gateway's key is there.
fn known(stored: &StoredLog, keys: &Keyring, report: &mut Report) -> Option<Origin> {
    let Ok(origin) = Origin::parse(&stored.origin) else {
        let place = format!("log {} {:?}", stored.id, stored.origin);
        report.add(&place, None, "rows of a log that has no valid origin");
        return None;
    };
    if !keys.knows(origin.gateway()) {
        let gateway = origin.gateway();
        let what =
            format!("no key of gateway {gateway} was given, so nothing can be verified: --key {gateway}=<public key>");
        report.add(origin.as_str(), None, what);
        return None;
    }
    // By these the collector finds the boot before, for the next genesis.
    if let Some((gateway, boot)) = &stored.named
        && (gateway != origin.gateway() || boot != origin.boot())
    {
        let what = format!("a row states gateway {gateway:?} and boot {boot:?} of this log");
        report.add(origin.as_str(), None, what);
    }
    Some(origin)
}

/// The checkpoints of a log whose signatures hold, by size and time; and what they say of other logs.
fn checkpoints(
    store: &EvidenceStore,
    stored: &StoredLog,
    origin: &Origin,
    keys: &Keyring,
    citations: &mut Citations,
    report: &mut Report,
) -> rusqlite::Result<Vec<SignedHead>> {
    let mut signed = Vec::new();
    let mut notes = HashSet::new();
    for row in store.checkpoints(stored.id)? {
        report.totals.checkpoints = report.totals.checkpoints.saturating_add(1);
        let place = origin.as_str();
        let checkpoint = match checkpoint(&row.note, keys) {
            Ok(checkpoint) => checkpoint,
            Err(error) => {
                report.add_checkpoint(place, row.size, error.to_string());
                continue;
            }
        };
        let (head, time) = (&checkpoint.head, checkpoint.time.millis());
        if head.origin != *origin {
            report.add_checkpoint(place, row.size, format!("it is of {}", head.origin));
            continue;
        }
        if u64::try_from(row.size) != Ok(head.size) || u64::try_from(row.time) != Ok(time) {
            let what = format!(
                "a row states size {} and time {} of a checkpoint of size {}, {}",
                row.size,
                row.time,
                head.size,
                time::show(time)
            );
            report.add(place, None, what);
        } else if row.root != head.root.0 {
            // The next genesis would state it.
            let what =
                format!("a row states another root than the checkpoint of size {}, {}", head.size, time::show(time));
            report.add(place, None, what);
        }
        if !notes.insert(Sha256::digest(&row.note)) {
            let what = format!("the checkpoint of size {}, {} is stored twice", head.size, time::show(time));
            report.add(place, None, what);
        }
        for other in &checkpoint.others {
            citations.add(other, Kind::Vm, place, time);
        }
        signed.push(SignedHead { size: head.size, root: head.root, time });
    }
    signed.sort_by_key(|checkpoint| (checkpoint.size, checkpoint.time));
    Ok(signed)
}

fn checkpoint(note: &[u8], keys: &Keyring) -> Result<Checkpoint, exeat_engine::evidence::CheckpointError> {
    Ok(UnverifiedCheckpoint::parse(note)?.verify(keys.keys())?.checkpoint().clone())
}

/// Gateways of which not one checkpoint holds: far more often the key is that of another than all of it was forged.
fn other_keys(logs: &[(StoredLog, Origin, Vec<SignedHead>)], report: &mut Report) {
    let gateways: BTreeSet<&str> = logs.iter().map(|(_, origin, _)| origin.gateway()).collect();
    for gateway in gateways {
        let own = || logs.iter().filter(|(_, origin, _)| origin.gateway() == gateway);
        let none_holds = own().all(|(_, _, signed)| signed.is_empty());
        let refused = |origin: &Origin| {
            let mut findings = report.findings.iter();
            findings.any(|finding| matches!(finding.at, At::Checkpoint(_)) && finding.place == origin.as_str())
        };
        if none_holds && own().any(|(_, origin, _)| refused(origin)) {
            let what = "not one of its checkpoints is signed with the key that was given: is that key this gateway's?";
            report.note(gateway, None, what);
        }
    }
}

/// What a log says of the boot before: its genesis, or a leaf of its own where the collector answered later.
fn previous(
    store: &EvidenceStore,
    stored: &StoredLog,
    origin: &Origin,
    citations: &mut Citations,
) -> rusqlite::Result<()> {
    for line in store.previous(stored.id)? {
        let (time, previous) = match RecordView::parse(&line) {
            Some(RecordView::Genesis(genesis)) => (genesis.time, genesis.previous),
            Some(RecordView::Previous(record)) => (record.time, Some(record.previous)),
            _ => continue,
        };
        for head in previous.iter().flat_map(|previous| &previous.logs) {
            citations.add(head, Kind::Previous, origin.as_str(), time);
        }
    }
    Ok(())
}

/// Checkpoints that the collector refused. Each is a statement of the gateway; whether it is a fork shows when the log
/// reaches its size: one that was only damaged on the way fits then.
fn forks(
    store: &EvidenceStore,
    keys: &Keyring,
    citations: &mut Citations,
    report: &mut Report,
) -> rusqlite::Result<()> {
    for row in store.forks()? {
        match checkpoint(&row.note, keys) {
            Ok(checkpoint) => {
                let (origin, time) = (checkpoint.head.origin.as_str(), checkpoint.time.millis());
                citations.add(&checkpoint.head, Kind::Refused, origin, time);
            }
            Err(error) => report.add(&row.origin, None, format!("a refused checkpoint that is stored: {error}")),
        }
    }
    Ok(())
}

/// Logs that others speak of, of which nothing is there.
fn not_stored(logs: &[Timeline], citations: &Citations, window: &Window, report: &mut Report) {
    let stored: BTreeSet<&str> = logs.iter().map(|log| log.origin().as_str()).collect();
    for (origin, sizes) in citations.origins().filter(|(origin, _)| !stored.contains(origin)) {
        if let Some((size, citation)) = furthest(sizes, 0, window) {
            report.add(origin, None, citation.beyond(size, 0));
        }
    }
}

/// Gateways of which something is expected, and nothing is there.
fn silent(logs: &[Timeline], keys: &Keyring, expected: &[String], report: &mut Report) {
    let known = keys.keys().iter().map(|key| key.name());
    let gateways: BTreeSet<&str> =
        if expected.is_empty() { known.collect() } else { expected.iter().map(String::as_str).collect() };
    for gateway in gateways {
        if !logs.iter().any(|log| log.origin().gateway() == gateway) {
            let what = "nothing is stored of this gateway, though its key was given; leave the key out if it never wrote here, or name with --expect those that must have";
            report.add(gateway, None, what);
        }
    }
}

fn count(logs: &[Timeline], report: &mut Report) {
    let number = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let gateways: BTreeSet<&str> = logs.iter().map(|log| log.origin().gateway()).collect();
    report.totals.gateways = number(gateways.len());
    report.totals.logs = number(logs.len());
    report.totals.not_closed = number(logs.iter().filter(|log| log.is_open()).count());
    let spans = || logs.iter().filter_map(Timeline::span);
    report.totals.span = spans().map(|(first, _)| first).min().zip(spans().map(|(_, last)| last).max());
}
