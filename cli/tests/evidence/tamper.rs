//! Every way to change a store, one at a time: each member of each record, each byte of each checkpoint, each column of each
//! row, rows taken out or put elsewhere, logs, boots and the newest hour cut off. The auditor finds it, or it is on the short list
//! that `docs/evidence.md` has of what only a second sink shows.

use crate::splice;
use crate::stores::{Base, Case, caught, deliver, ring, two_boots};
use crate::support::{START, Vm};
use exeat_cli::audit::coverage::{LONGEST, Window};
use exeat_cli::audit::store::EvidenceStore;
use exeat_cli::audit::verify::verify;
use exeat_cli::collect::batch::Submission;
use exeat_cli::collect::store::Store;
use exeat_engine::evidence::UnverifiedCheckpoint;
use rusqlite::{Connection, params};
use std::collections::BTreeSet;

/// What the auditor does not see, in the words of `docs/evidence.md`.
const ALL_AT_ONCE: &str = "The newest records of all logs of a gateway, cut off at one moment";
const TAIL: &str = "The end of one log, beyond what others know of it and within 90 s of its end";
const BETWEEN: &str = "A checkpoint between two others that are at most 90 s apart";
const REFUSED: &str = "A checkpoint that the collector refused";
const RETENTION: &str = "The oldest records, taken as retention takes them";
const OPENING: &str = "An opening";
const RECEIVED: &str = "When a checkpoint came in, and what was forwarded";

#[test]
fn the_page_names_what_is_not_seen() {
    let page = include_str!("../../../docs/evidence.md");
    for words in [ALL_AT_ONCE, TAIL, BETWEEN, REFUSED, RETENTION, OPENING, RECEIVED] {
        assert!(page.contains(&format!("\n| {words} |")), "docs/evidence.md does not have: {words}");
    }
}

/// Leaves: log, position, line.
fn leaves(base: &Base) -> Vec<(i64, i64, String)> {
    base.query("SELECT log, position, CAST(line AS TEXT) FROM leaves", |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
}

/// Checkpoints: row, log, size, time.
fn checkpoints(base: &Base) -> Vec<(i64, i64, i64, i64)> {
    let sql = "SELECT id, log, size, time FROM checkpoints ORDER BY log, size, time";
    base.query(sql, |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?)))
}

#[test]
fn every_member_of_every_record() {
    let base = two_boots();
    let mut kinds = BTreeSet::new();
    let mut cases = Vec::new();
    for (log, position, line) in leaves(&base) {
        kinds.insert(line.split('"').nth(3).unwrap().to_owned());
        for (what, changed) in splice::changes(&line) {
            serde_json::from_str::<serde_json::Value>(&changed).unwrap();
            assert_ne!(changed, line);
            cases.push(Case::new(format!("log {log} leaf {position}: {what}"), move |db| {
                let update = "UPDATE leaves SET line = ?3 WHERE log = ?1 AND position = ?2";
                assert_eq!(db.execute(update, params![log, position, changed.as_bytes()]).unwrap(), 1);
            }));
        }
    }
    let expected = ["closed", "completion", "config", "decision", "genesis", "previous", "summary"];
    assert_eq!(kinds.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    base.all_seen(&cases, 1_000);
}

#[test]
fn every_byte_of_every_checkpoint() {
    let base = two_boots();
    let notes = base.query("SELECT id, note FROM checkpoints", |r| Ok((r.get::<_, i64>(0)?, r.get::<_, Vec<u8>>(1)?)));
    let mut cases = Vec::new();
    for (id, note) in notes {
        for at in 0..note.len() {
            let mut changed = note.clone();
            changed[at] ^= 1;
            cases.push(Case::new(format!("checkpoint {id} byte {at}"), move |db| {
                let update = "UPDATE checkpoints SET note = ?2 WHERE id = ?1";
                assert_eq!(db.execute(update, params![id, changed]).unwrap(), 1);
            }));
        }
    }
    base.all_seen(&cases, 3_000);
}

/// Every column of every row, but for what nobody signed.
#[test]
fn every_column_of_every_row() {
    let base = two_boots();
    let mut cases = Vec::new();
    let mut unsigned = BTreeSet::new();
    for (table, columns) in [
        ("logs", &["id", "origin", "gateway", "boot"][..]),
        ("leaves", &["log", "position", "line"]),
        ("checkpoints", &["log", "size", "root", "time", "note", "received"]),
        ("openings", &["log", "position", "field", "line"]),
    ] {
        for row in base.query(&format!("SELECT rowid FROM {table}"), |r| r.get::<_, i64>(0)) {
            for column in columns {
                let other = format!(
                    "CASE typeof({column}) WHEN 'integer' THEN {column} + 1000 WHEN 'text' THEN {column} || 'x' \
                     ELSE CAST(substr({column}, 1, length({column}) - 1) || x'7f' AS BLOB) END"
                );
                let name = format!("{table} row {row}: {column}");
                if *column == "received" {
                    unsigned.insert(name.clone());
                }
                cases.push(Case::sql(name, [format!("UPDATE {table} SET {column} = {other} WHERE rowid = {row}")]));
            }
        }
    }
    assert!(cases.len() > 200, "{}", cases.len());
    assert_eq!(base.unseen(&cases, None), unsigned, "{RECEIVED}");
}

#[test]
fn rows_that_are_taken_out() {
    let base = two_boots();
    let mut cases = Vec::new();
    for (table, key) in [("logs", "id"), ("leaves", "rowid")] {
        for row in base.query(&format!("SELECT {key} FROM {table}"), |r| r.get::<_, i64>(0)) {
            let delete = format!("DELETE FROM {table} WHERE {key} = {row}");
            cases.push(Case::sql(format!("{table} {row}"), [delete]));
        }
    }
    base.all_seen(&cases, 30);

    // A checkpoint: unless others seal the same leaves, and no time is left uncovered.
    let all = checkpoints(&base);
    let mut between = BTreeSet::new();
    let cases: Vec<Case> = (0..all.len())
        .map(|n| {
            let (id, log, _, _) = all[n];
            let name = format!("checkpoint {id}");
            let genesis = Some(begun(&base, log) as i64);
            let before = n.checked_sub(1).map(|b| all[b]).filter(|b| b.1 == log).map(|b| b.3).or(genesis).unwrap();
            if let Some(after) = all.get(n + 1).filter(|after| after.1 == log)
                && after.3 - before <= LONGEST as i64
            {
                between.insert(name.clone());
            }
            Case::sql(name, [format!("DELETE FROM checkpoints WHERE id = {id}")])
        })
        .collect();
    assert!(!between.is_empty() && between.len() < cases.len());
    assert_eq!(base.unseen(&cases, None), between, "{BETWEEN}");

    // Erasing a person is what openings stand apart for.
    let openings = base.query("SELECT rowid FROM openings", |r| r.get::<_, i64>(0));
    let erase = |row: &i64| Case::sql(format!("opening {row}"), [format!("DELETE FROM openings WHERE rowid = {row}")]);
    let cases: Vec<Case> = openings.iter().map(erase).collect();
    assert_eq!(base.unseen(&cases, None).len(), openings.len(), "{OPENING}");
    assert_eq!(openings.len(), 8);
}

/// When a log began.
fn begun(base: &Base, log: i64) -> u64 {
    let (_, _, genesis) = leaves(base).into_iter().find(|leaf| leaf.0 == log && leaf.1 == 0).unwrap();
    serde_json::from_str::<serde_json::Value>(&genesis).unwrap()["time"].as_u64().unwrap()
}

#[test]
fn rows_that_are_put_elsewhere() {
    let base = two_boots();
    let mut cases = Vec::new();
    let mut copy = |name: String, sql: String| cases.push(Case::sql(name, [sql]));
    for log in 1..=4 {
        let logs = "INSERT INTO logs SELECT id + 100, replace(origin, '/w', '/x'), gateway, boot FROM logs WHERE id =";
        copy(format!("log {log}"), format!("{logs} {log}"));
    }
    for (log, position, _) in leaves(&base) {
        for to in 1..=5 {
            let at = format!("(SELECT coalesce(max(position), -1) + 1 FROM leaves WHERE log = {to})");
            let from = format!("FROM leaves WHERE log = {log} AND position = {position}");
            copy(
                format!("leaf {log}/{position} at the end of log {to}"),
                format!("INSERT INTO leaves SELECT {to}, {at}, line {from}"),
            );
        }
    }
    for (id, log, _, _) in checkpoints(&base) {
        let new = "INSERT INTO checkpoints (log, size, root, time, note, received) SELECT";
        let from = format!("FROM checkpoints WHERE id = {id}");
        copy(format!("checkpoint {id} twice"), format!("{new} log, size, root, time, note, received {from}"));
        copy(format!("checkpoint {id} later"), format!("{new} log, size, root, time + 1, note, received {from}"));
        copy(format!("checkpoint {id} larger"), format!("{new} log, size + 1, root, time, note, received {from}"));
        for to in (1..=5).filter(|to| *to != log) {
            copy(format!("checkpoint {id} in {to}"), format!("{new} {to}, size, root, time, note, received {from}"));
        }
    }
    for row in base.query("SELECT rowid FROM openings", |r| r.get::<_, i64>(0)) {
        for other in ["log + 1, position, field", "log, position + 1, field", "log, position, 'stated_reason'"] {
            let sql = format!("INSERT OR REPLACE INTO openings SELECT {other}, line FROM openings WHERE rowid = {row}");
            copy(format!("opening {row} as {other}"), sql);
        }
    }
    base.all_seen(&cases, 250);
}

/// Takes out everything of some logs.
fn without(logs: &str) -> Vec<String> {
    let of = |table: &str| format!("DELETE FROM {table} WHERE log IN (SELECT id FROM logs WHERE {logs})");
    let mut statements: Vec<String> = ["leaves", "checkpoints", "openings"].into_iter().map(of).collect();
    statements.push(format!("DELETE FROM logs WHERE {logs}"));
    statements
}

/// Cuts logs off: what was signed after a time, and what no checkpoint seals then.
fn cut(logs: &str, after: i64) -> Vec<String> {
    let sealed = |table: &str| {
        format!(
            "DELETE FROM {table} WHERE log IN (SELECT id FROM logs WHERE {logs}) AND position >= \
             (SELECT coalesce(max(size), 0) FROM checkpoints WHERE checkpoints.log = {table}.log)"
        )
    };
    vec![
        format!("DELETE FROM checkpoints WHERE time > {after} AND log IN (SELECT id FROM logs WHERE {logs})"),
        sealed("leaves"),
        sealed("openings"),
        "DELETE FROM logs WHERE id NOT IN (SELECT log FROM checkpoints)".to_owned(),
    ]
}

#[test]
fn logs_and_boots_that_are_taken_out() {
    let base = two_boots();
    let case = |logs: &str| Case::sql(logs.to_owned(), without(logs));
    let mut cases: Vec<Case> = (1..=4).map(|log| case(&format!("id = {log}"))).collect();
    cases.push(case("boot = 'b1'"));
    cases.push(case("TRUE"));
    base.all_seen(&cases, 6);
    // Nothing comes after the newest boot that could know of it. Whoever says up to when there must be something, sees it.
    let newest = [case("boot = 'b2'")];
    assert_eq!(base.unseen(&newest, None).len(), 1, "{ALL_AT_ONCE}");
    assert_eq!(base.unseen(&newest, Some(base.end)).len(), 0);
}

#[test]
fn logs_that_are_cut_off() {
    let base = two_boots();
    // One log, at each of its checkpoints: the next boot knows where those of the first ended, and VMs of one another.
    let all = checkpoints(&base);
    let known = |log: i64| {
        let origin = &base.query(&format!("SELECT origin FROM logs WHERE id = {log}"), |r| r.get::<_, String>(0))[0];
        let notes = base.query("SELECT note FROM checkpoints", |r| r.get::<_, Vec<u8>>(0));
        let others = notes.iter().flat_map(|note| UnverifiedCheckpoint::parse(note).unwrap().claimed().others.clone());
        others.filter(|head| head.origin.as_str() == origin).map(|head| head.size as i64).max().unwrap()
    };
    let end = all.iter().map(|checkpoint| checkpoint.3).max().unwrap();
    let mut tails = BTreeSet::new();
    let mut cases = Vec::new();
    for (n, (_, log, size, time)) in all.iter().enumerate() {
        if all.get(n + 1).is_none_or(|next| next.1 != *log) {
            continue;
        }
        let name = format!("log {log} after {size} leaves, {time}");
        if *log > 2 && *size >= known(*log) && end - time <= LONGEST as i64 {
            tails.insert(name.clone());
        }
        cases.push(Case::sql(name, cut(&format!("id = {log}"), *time)));
    }
    assert_eq!(base.unseen(&cases, None), tails, "{TAIL}");
    assert_eq!(tails.len(), 1, "{tails:?}");

    // All logs at the same time: seen by those who ask up to when, but for the last 90 s.
    let times: BTreeSet<i64> = all.iter().map(|checkpoint| checkpoint.3).collect();
    let last = *times.last().unwrap();
    let cases: Vec<Case> =
        times.iter().filter(|time| **time < last).map(|time| Case::sql(time.to_string(), cut("TRUE", *time))).collect();
    let unseen = base.unseen(&cases, Some(base.end));
    let end = base.end as i64;
    let late: BTreeSet<String> =
        times.iter().filter(|t| **t < last && end - **t <= LONGEST as i64).map(ToString::to_string).collect();
    assert!(!late.is_empty() && late.len() < cases.len());
    assert_eq!(unseen, late, "{ALL_AT_ONCE}");
}

#[test]
fn the_newest_hour() {
    let base = Base::new(|store| {
        let mut w0 = Vm::new("b1", "w0");
        let mut w1 = Vm::new("b1", "w1");
        for _ in 0..120 {
            w0.exchange();
            deliver(store, &mut w0, &[&w1]);
            deliver(store, &mut w1, &[&w0]);
            w0.now += 60_000;
            w1.now = w0.now;
        }
        w0.now
    });
    let hour = base.end as i64 - 3_600_000;
    let all = [Case::sql("all".into(), cut("TRUE", hour))];
    assert_eq!(base.unseen(&all, Some(base.end)).len(), 0);
    assert_eq!(base.unseen(&all, None).len(), 1, "{ALL_AT_ONCE}");
    // Of one log it shows by itself.
    let one = [Case::sql("w0".into(), cut("id = 1", hour)), Case::sql("w1".into(), cut("id = 2", hour))];
    assert_eq!(base.unseen(&one, None).len(), 0);
}

#[test]
fn what_the_collector_alone_says() {
    // A fork that the collector saw, and hid.
    let base = two_boots();
    let file = base.dir.path().join("fork.db");
    std::fs::copy(base.dir.path().join("evidence.db"), &file).unwrap();
    let mut other = Vm::after("b1", "w0", START, None);
    other.deny();
    let fork = Submission::check(other.batch(10).unwrap().bytes(), &ring()).unwrap();
    assert!(Store::open(&file).unwrap().write(&[fork])[0].is_err());
    assert!(caught(&file, None));
    let db = Connection::open(&file).unwrap();
    assert_eq!(db.execute("DELETE FROM forks", []).unwrap(), 1);
    assert!(!caught(&file, None), "{REFUSED}");

    // Retention that nobody asked for: the collector's own, of a store long ago.
    let file = base.dir.path().join("kept.db");
    std::fs::copy(base.dir.path().join("evidence.db"), &file).unwrap();
    let mut store = Store::open(&file).unwrap();
    while store.prune(std::time::Duration::from_secs(3_600), false).unwrap() {}
    drop(store);
    assert!(!caught(&file, None), "{RETENTION}");
    let store = EvidenceStore::open(&file).unwrap();
    let report = verify(&store, &ring(), &Window::default(), &[]).unwrap();
    assert!(report.totals.pruned > 0 && report.totals.to_string().contains("older and no longer kept"));
    drop(store);
    // Which leaves those were is bound by the root that is signed where it was cut.
    for change in [
        "UPDATE pruned SET size = size - 1 WHERE log = 1",
        "UPDATE pruned SET size = size + 1 WHERE log = 1",
        "UPDATE pruned SET nodes = zeroblob(length(nodes)) WHERE log = 1",
        "UPDATE pruned SET nodes = x'' WHERE log = 1",
        "UPDATE pruned SET nodes = (SELECT nodes FROM pruned WHERE log = 2) WHERE log = 1",
        "DELETE FROM pruned WHERE log = 1",
    ] {
        let changed = base.dir.path().join("changed.db");
        std::fs::copy(&file, &changed).unwrap();
        assert_eq!(Connection::open(&changed).unwrap().execute(change, []).unwrap(), 1, "{change}");
        assert!(caught(&changed, None), "{change}");
        std::fs::remove_file(&changed).unwrap();
    }
}
