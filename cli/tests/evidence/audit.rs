//! The auditor: silent on what is whole, and precise about each way to change the story.

use crate::support::{Collector, GATEWAY, START, Vm, audit, key, key_option, post};
use exeat_engine::evidence::record::Outcome;
use exeat_engine::evidence::{Checkpoint, GatewayKey, LastHeads, LogHead, UnverifiedCheckpoint};
use std::path::Path;

/// What `audit verify` says: whether all is well, and its lines.
fn verify(dir: &Path, more: &[&str]) -> (bool, Vec<String>) {
    let key = key_option();
    let output = audit(dir, &[&["verify", "--all", "--key", &key], more].concat());
    let said = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    // These stores are of the past, which is noted by the clock of today.
    let errors: String =
        errors.lines().filter(|line| !line.starts_with("note: the newest checkpoint is of ")).collect();
    let lines: Vec<String> = said.lines().filter(|line| !line.starts_with("note: ")).map(str::to_owned).collect();
    let ok = output.status.success();
    assert_eq!(ok, errors.is_empty(), "{errors}");
    if !ok {
        let expected = format!("exeat: {} finding{} in ", lines.len(), if lines.len() == 1 { "" } else { "s" });
        assert!(errors.starts_with(&expected), "{errors}");
    }
    (ok, lines)
}

fn assert_found(dir: &Path, expected: &[&str]) {
    let (ok, lines) = verify(dir, &[]);
    assert!(!ok, "{lines:?}");
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, part) in lines.iter().zip(expected) {
        assert!(line.contains(part), "{part:?} is not in {line:?}");
    }
}

pub(crate) fn sql(dir: &Path, statement: &str) {
    let db = rusqlite::Connection::open(dir.join("evidence.db")).unwrap();
    db.pragma_update(None, "foreign_keys", false).unwrap();
    assert!(db.execute(statement, []).unwrap() > 0, "{statement} changed nothing");
}

/// A log of 13 leaves: genesis, four exchanges, a configuration, an exchange, closed. In batches of 3.
fn stored() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let mut vm = Vm::new("b1", "w0");
    for _ in 0..4 {
        vm.exchange();
    }
    vm.configure();
    vm.exchange();
    vm.close();
    vm.deliver(collector.address, 3);
    assert!(collector.terminate());
    assert!(verify(dir.path(), &[]).0);
    dir
}

#[test]
fn one_line_says_that_all_is_well() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let (mut w0, mut w1) = (Vm::new("b1", "w0"), Vm::new("b1", "w1"));
    w0.exchange();
    let open = w0.allow();
    w0.deny();
    w0.decide(w0.record(Outcome::WouldDeny), None);
    w0.deliver(collector.address, 3);
    w1.others = vec![w0.journal.head()];
    w1.exchange();
    w1.close();
    w1.deliver(collector.address, 100);
    let (ok, lines) = verify(dir.path(), &[]);
    assert!(ok);
    assert_eq!(
        lines,
        [
            "ok: 1 gateway, 2 logs, 10 records, 3 checkpoints, 5 decisions (3 allow, 1 deny, 1 would-deny), 0 more denials in \
          summaries, 3 openings, 2 exchanges open, 1 log not closed, no gaps, 2025-11-20T00:53:20.000Z to \
          2025-11-20T00:53:20.050Z"
        ]
    );
    // While the collector runs, and the exchange ends.
    w0.complete(&open);
    w0.now += 1_000;
    w0.deliver(collector.address, 3);
    assert!(verify(dir.path(), &[]).1[0].contains("1 exchange open"));
}

#[test]
fn a_changed_leaf_is_named_by_the_checkpoint_that_it_breaks() {
    let dir = stored();
    let all = "SELECT position, line FROM leaves";
    let db = rusqlite::Connection::open(dir.path().join("evidence.db")).unwrap();
    let rows: Vec<(i64, Vec<u8>)> = db
        .prepare(all)
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(rows.len(), 13);
    let update = |position: i64, line: &[u8]| {
        db.execute("UPDATE leaves SET line = ?2 WHERE position = ?1", rusqlite::params![position, line]).unwrap();
    };
    for (position, line) in rows {
        // The last byte within the braces: it stays JSON or does not, the root tells either way.
        for (at, flip) in [(line.len() - 2, 1), (line.len() / 2, 1), (3, 0x80)] {
            let mut changed = line.clone();
            changed[at] ^= flip;
            update(position, &changed);
            let first = position / 3 * 3;
            let last = (first + 2).min(12);
            let (ok, lines) = verify(dir.path(), &[]);
            let named =
                format!("egress-eu-1/b1/w0: leaves {first} to {last} do not give the root that the checkpoint of");
            assert!(!ok && lines.iter().any(|line| line.starts_with(&named)), "{lines:#?}");
        }
        update(position, &line);
    }
    assert!(verify(dir.path(), &[]).0);
}

#[test]
fn a_deleted_leaf_is_missing() {
    let dir = stored();
    sql(dir.path(), "DELETE FROM leaves WHERE position = 5");
    let (_, lines) = verify(dir.path(), &[]);
    assert_eq!(lines[0], "egress-eu-1/b1/w0 leaf 5: missing in the store; the next one there is leaf 6");

    let dir = stored();
    sql(dir.path(), "DELETE FROM leaves WHERE position = 12");
    assert_found(dir.path(), &["signs size 13, but 12 leaves are stored: leaves 12 to 12 are missing"]);

    let dir = stored();
    sql(dir.path(), "DELETE FROM leaves WHERE position = 0");
    let (_, lines) = verify(dir.path(), &[]);
    assert_eq!(lines[0], "egress-eu-1/b1/w0 leaf 0: missing in the store; the next one there is leaf 1");

    // Closing the hole by moving the rest up does not help.
    let dir = stored();
    sql(dir.path(), "DELETE FROM leaves WHERE position = 5");
    for position in 6..13 {
        sql(dir.path(), &format!("UPDATE leaves SET position = {position} - 1 WHERE position = {position}"));
    }
    let (_, lines) = verify(dir.path(), &[]);
    assert!(lines.iter().any(|line| line.contains("leaves 3 to 5 do not give the root")), "{lines:#?}");
}

#[test]
fn swapped_leaves_and_added_leaves_break_the_root() {
    let dir = stored();
    sql(dir.path(), "UPDATE leaves SET position = CASE position WHEN 2 THEN -4 WHEN 4 THEN 2 ELSE position END");
    sql(dir.path(), "UPDATE leaves SET position = 4 WHERE position = -4");
    let (_, lines) = verify(dir.path(), &[]);
    assert!(lines.iter().any(|line| line.contains("leaves 0 to 2 do not give the root")), "{lines:#?}");

    let dir = stored();
    let line = "{\"kind\":\"config\"}";
    sql(dir.path(), &format!("INSERT INTO leaves (log, position, line) VALUES (1, 13, CAST('{line}' AS BLOB))"));
    assert_found(
        dir.path(),
        &["leaf 13: comes after the log was closed at leaf 12", "leaves 13 to 13 are under no checkpoint"],
    );
}

#[test]
fn checkpoints_cannot_be_dropped_changed_or_made_up() {
    let dir = stored();
    sql(dir.path(), "DELETE FROM checkpoints WHERE size = 13");
    assert_found(dir.path(), &["egress-eu-1/b1/w0: leaves 12 to 12 are under no checkpoint: one is missing"]);

    // A tail cut off together with its checkpoint: the log is no longer closed.
    let dir = stored();
    sql(dir.path(), "DELETE FROM checkpoints WHERE size > 9");
    sql(dir.path(), "DELETE FROM leaves WHERE position >= 9");
    sql(dir.path(), "DELETE FROM openings WHERE position >= 9");
    let (ok, lines) = verify(dir.path(), &["--to", "2025-11-20T00:55:00Z"]);
    assert!(!ok);
    assert!(lines[0].contains("not closed, and no checkpoint from 2025-11-20T00:53:20"), "{lines:#?}");

    let dir = stored();
    sql(dir.path(), "UPDATE checkpoints SET note = CAST(replace(note, 'time 17', 'time 18') AS BLOB) WHERE size = 6");
    assert_found(dir.path(), &["egress-eu-1/b1/w0: the checkpoint stored for size 6: the signature does not verify"]);

    let dir = stored();
    sql(dir.path(), "UPDATE checkpoints SET size = 7 WHERE size = 6");
    assert_found(dir.path(), &["a row states size 7 and time"]);

    let dir = stored();
    sql(dir.path(), "UPDATE checkpoints SET note = (SELECT note FROM checkpoints WHERE size = 9) WHERE size = 6");
    assert_found(
        dir.path(),
        &["a row states size 6 and time", "the checkpoint of size 9, 2025-11-20T00:53:20.100Z is stored twice"],
    );
}

#[test]
fn a_story_signed_by_another_key_does_not_count() {
    let dir = stored();
    let db = rusqlite::Connection::open(dir.path().join("evidence.db")).unwrap();
    let note: Vec<u8> = db.query_row("SELECT note FROM checkpoints WHERE size = 13", [], |row| row.get(0)).unwrap();
    let checkpoint = UnverifiedCheckpoint::parse(&note).unwrap().claimed().clone();
    let forged = checkpoint.sign(&GatewayKey::from_seed([1; 32]));
    db.execute("UPDATE checkpoints SET note = ?1 WHERE size = 13", [forged.as_bytes()]).unwrap();
    assert_found(
        dir.path(),
        &[
            "the checkpoint stored for size 13: no signature is by a known key",
            "leaves 12 to 12 are under no checkpoint",
        ],
    );
}

#[test]
fn with_the_wrong_key_what_is_alike_is_one_line_and_nothing_else_is_hidden() {
    let dir = stored();
    // Among those that only have the wrong key: one that is no checkpoint, and one of another log.
    sql(dir.path(), "UPDATE checkpoints SET note = CAST('x' AS BLOB) WHERE size = 6");
    let wrong = format!("{GATEWAY}={}", GatewayKey::from_seed([1; 32]).public_base64());
    let told = |more: &[&str]| {
        let output = audit(dir.path(), &[&["verify", "--key", &wrong], more].concat());
        assert_eq!(output.status.code(), Some(1));
        let errors = String::from_utf8(output.stderr).unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        (said.lines().map(str::to_owned).collect::<Vec<_>>(), errors.lines().last().unwrap().to_owned())
    };
    let log = format!("{GATEWAY}/b1/w0");
    let note = format!(
        "note: {GATEWAY}: not one of its checkpoints is signed with the key that was given: is that key this gateway's?"
    );
    let (lines, errors) = told(&[]);
    let [alike, other, .., last] = lines.as_slice() else { panic!("{lines:#?}") };
    let unknown = "no signature is by a known key";
    assert_eq!(
        *alike,
        format!(
            "{log}: the checkpoint stored for size 3: {unknown} (and so 3 more, the last of them that for size 13)"
        )
    );
    assert!(other.starts_with(&format!("{log}: the checkpoint stored for size 6: ")), "{other}");
    assert_eq!(*last, note);
    let (each, same_errors) = told(&["--all"]);
    // As many as it counts in both.
    let findings: Vec<&String> = each.iter().filter(|line| !line.starts_with("note: ")).collect();
    assert!(errors.contains(&format!("exeat: {} findings in ", findings.len())) && errors == same_errors, "{errors}");
    assert_eq!(each.len(), lines.len() + 3);
    for size in [3, 9, 12, 13] {
        assert!(each.contains(&format!("{log}: the checkpoint stored for size {size}: {unknown}")), "{each:#?}");
    }
    assert!(lines.iter().skip(1).all(|line| each.contains(line)), "{lines:#?}");
    // With the right key it is one finding, and nobody doubts the key.
    let (ok, lines) = verify(dir.path(), &[]);
    assert!(!ok && lines.len() == 1 && lines[0].starts_with(other.as_str()), "{lines:#?}");
}

#[test]
fn openings_must_open_and_may_be_erased() {
    let dir = stored();
    sql(dir.path(), "UPDATE openings SET line = CAST(replace(line, 'u-1042', 'u-1043') AS BLOB) WHERE position = 3");
    assert_found(
        dir.path(),
        &["egress-eu-1/b1/w0 leaf 3: the opening stored for \"user\": salt and value do not give the commitment"],
    );
    let dir = stored();
    sql(dir.path(), "UPDATE openings SET position = 4 WHERE position = 3");
    sql(dir.path(), "UPDATE openings SET field = 'agent' WHERE position = 1");
    sql(dir.path(), "UPDATE openings SET line = CAST('{}' AS BLOB) WHERE position = 7");
    sql(
        dir.path(),
        "INSERT INTO openings (log, position, field, line) VALUES (1, 99, 'user', CAST(replace((SELECT line FROM openings WHERE position = 10), ':10,', ':99,') AS BLOB))",
    );
    let (ok, lines) = verify(dir.path(), &[]);
    assert!(!ok);
    assert_eq!(lines.len(), 4, "{lines:#?}");
    assert!(lines[0].contains("leaf 1: the opening stored for \"agent\": is of \"user\" of leaf 1"), "{lines:#?}");
    assert!(lines[1].contains("leaf 4: the opening stored for \"user\": is of \"user\" of leaf 3"), "{lines:#?}");
    assert!(lines[2].contains("leaf 7: the opening stored for \"user\": is not an opening"), "{lines:#?}");
    assert!(
        lines[3].contains("leaf 99: the opening stored for \"user\": is of a leaf that is not stored"),
        "{lines:#?}"
    );

    let dir = stored();
    sql(dir.path(), "DELETE FROM openings");
    assert!(verify(dir.path(), &[]).0, "erasing a person breaks nothing");
}

#[test]
fn other_vms_and_the_next_boot_miss_what_was_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let (mut w0, mut w1) = (Vm::new("b1", "w0"), Vm::new("b1", "w1"));
    w0.exchange();
    w0.exchange();
    w0.deliver(collector.address, 3);
    w1.others = vec![w0.journal.head()];
    w1.deliver(collector.address, 3);
    assert!(verify(dir.path(), &[]).0);
    // What was cut off everywhere at one moment is not found without --to, and whoever asks so is told.
    let said = |more: &[&str]| audit(dir.path(), &[&["verify", "--key", &key_option()], more].concat()).stderr;
    let note = String::from_utf8(said(&[])).unwrap();
    assert!(
        note.starts_with("note: the newest checkpoint is of 2025-11-20T") && note.contains("without --to"),
        "{note}"
    );
    assert_eq!(said(&["--to", "2025-11-20T00:54:00Z"]), b"");
    drop(collector);
    sql(dir.path(), "DELETE FROM checkpoints WHERE log = 1 AND size = 5");
    sql(dir.path(), "DELETE FROM leaves WHERE log = 1 AND position > 2");
    sql(dir.path(), "DELETE FROM openings WHERE log = 1 AND position > 2");
    let expected = "egress-eu-1/b1/w0: a checkpoint of egress-eu-1/b1/w1 of 2025-11-20T00:53:20.000Z knows 5 leaves, but 3 are stored";
    assert_found(dir.path(), &[expected]);
    let (ok, _) = verify(dir.path(), &["--to", "2025-11-20T00:53:19Z"]);
    assert!(ok, "what was signed after --to obliges to nothing");
    sql(dir.path(), "DELETE FROM logs WHERE id = 1");
    let (_, lines) = verify(dir.path(), &[]);
    assert!(lines.iter().any(|line| line.contains("rows of a log that has no valid origin")), "{lines:#?}");
    for table in ["leaves", "checkpoints", "openings"] {
        sql(dir.path(), &format!("DELETE FROM {table} WHERE log = 1"));
    }
    assert_found(
        dir.path(),
        &[
            "egress-eu-1/b1/w0: a checkpoint of egress-eu-1/b1/w1 of 2025-11-20T00:53:20.000Z knows 5 leaves, but 0 are stored",
        ],
    );

    // The next boot states where this one ended.
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let mut before = Vm::new("b1", "w0");
    before.exchange();
    before.deliver(collector.address, 10);
    let previous = LastHeads { boot: Some("b1".into()), logs: vec![LogHead { size: 9, ..before.journal.head() }] };
    let mut after = Vm::after("b2", "w0", START + 1_000, Some(previous));
    after.deliver(collector.address, 10);
    assert_found(dir.path(), &["egress-eu-1/b1/w0: the next boot's log egress-eu-1/b2/w0 of"]);
}

#[test]
fn forks_are_found_whoever_shows_them() {
    // One that the collector saw.
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let (mut one, mut two) = (Vm::new("b1", "w0"), Vm::new("b1", "w0"));
    one.exchange();
    one.deliver(collector.address, 10);
    two.deny();
    assert_eq!(post(collector.address, two.batch(10).unwrap().bytes()).status, 409);
    assert_found(
        dir.path(),
        &["w0: a signed checkpoint that the collector refused states another root for size 2: the log was forked"],
    );

    // One that another VM shows.
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let (mut one, mut two, mut other) = (Vm::new("b1", "w0"), Vm::new("b1", "w0"), Vm::new("b1", "w1"));
    one.exchange();
    two.deny();
    two.deny();
    one.deliver(collector.address, 10);
    other.others = vec![two.journal.head()];
    other.deliver(collector.address, 10);
    assert_found(
        dir.path(),
        &["w0: a checkpoint of egress-eu-1/b1/w1 states another root for size 3: the log was forked"],
    );

    // One of which the collector saw no more than that its end does not fit.
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let (mut one, mut two) = (Vm::new("b1", "w0"), Vm::new("b1", "w0"));
    one.exchange();
    one.deliver(collector.address, 10);
    two.deny();
    two.deny();
    let first = two.batch(10).unwrap();
    two.journal.acknowledged(first.head()).unwrap();
    two.deny();
    assert_eq!(post(collector.address, two.batch(10).unwrap().bytes()).problem(), "root-mismatch");
    assert_found(
        dir.path(),
        &["w0: a signed checkpoint that the collector refused is of 2025-11-20T00:53:20.030Z and size 4"],
    );

    // One that somebody hides in a second log of the same name, which takes more than SQL: it is in the table and not in the index, and so
    // seen by some questions and not by others.
    let dir = stored();
    let schema = |statements: &str| {
        let db = rusqlite::Connection::open(dir.path().join("evidence.db")).unwrap();
        db.execute_batch(&format!("PRAGMA writable_schema = on; {statements}")).unwrap();
    };
    schema(
        "CREATE TABLE kept AS SELECT rootpage, (SELECT sql FROM sqlite_schema WHERE name = 'logs') AS sql FROM sqlite_schema
           WHERE name = 'sqlite_autoindex_logs_1';
         UPDATE sqlite_schema SET sql = replace(sql, 'UNIQUE', '') WHERE name = 'logs';
         DELETE FROM sqlite_schema WHERE name = 'sqlite_autoindex_logs_1'",
    );
    sql(dir.path(), "INSERT INTO logs SELECT 2, origin, gateway, boot FROM logs");
    schema(
        "UPDATE sqlite_schema SET sql = (SELECT sql FROM kept) WHERE name = 'logs';
         INSERT INTO sqlite_schema SELECT 'index', 'sqlite_autoindex_logs_1', 'logs', rootpage, NULL FROM kept;
         DROP TABLE kept",
    );
    sql(dir.path(), "INSERT INTO leaves SELECT 2, position, line FROM leaves");
    sql(dir.path(), "INSERT INTO checkpoints SELECT id + 100, 2, size, root, time, note, received FROM checkpoints");
    let (ok, lines) = verify(dir.path(), &[]);
    let contradicts = "the store: the database contradicts itself: row 2 missing from index sqlite_autoindex_logs_1";
    assert!(!ok && lines.iter().any(|line| line == contradicts), "{lines:#?}");
    // Nor can it be made anew: the name is there twice.
    let db = rusqlite::Connection::open(dir.path().join("evidence.db")).unwrap();
    let error = db.execute_batch("REINDEX logs").unwrap_err();
    assert!(error.to_string().contains("UNIQUE"), "{error}");

    // What was only damaged on the way is none.
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let mut vm = Vm::new("b1", "w0");
    vm.deny();
    let text = String::from_utf8(vm.batch(10).unwrap().bytes().to_vec()).unwrap();
    assert_eq!(post(collector.address, text.replace("path-denied", "rule-denied").as_bytes()).status, 409);
    assert_eq!(post(collector.address, text.as_bytes()).status, 200);
    assert!(verify(dir.path(), &[]).0);
}

#[test]
fn records_must_fit_each_other() {
    // Signed by the gateway, and still not right: only a faulty gateway writes such logs.
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let lines = [
        r#"{"kind":"genesis","origin":"egress-eu-1/b1/w0","time":1763600000000}"#,
        r#"{"kind":"decision","id":"a","time":1,"outcome":"allow","reason":"permitted","released":"head"}"#,
        r#"{"kind":"decision","id":"a","time":1,"outcome":"deny","reason":"rule-denied","released":"none"}"#,
        r#"{"kind":"completion","decision":"b","forwarded_bytes":0}"#,
        r#"{"kind":"decision","id":"c","time":1,"outcome":"deny","reason":"rule-denied","released":"none"}"#,
        r#"{"kind":"completion","decision":"c","forwarded_bytes":0}"#,
        r#"{"kind":"genesis","origin":"egress-eu-1/b1/w0","time":1763600000000}"#,
        r#"{"kind":"poem"}"#,
        r#"{"kind":"decision","id":"d","time":1,"outcome":"maybe","reason":"rule-denied","released":"none"}"#,
        r#"{"kind":"decision","id":"e","time":1,"outcome":"allow","reason":"permitted","released":"head+body"}"#,
        r#"{"kind":"closed","time":1763600000000,"reason":"x","open":0}"#,
    ];
    let mut tree = exeat_engine::evidence::CompactRange::new();
    lines.iter().for_each(|line| tree.append(exeat_engine::evidence::Hash::of_leaf(line.as_bytes())));
    let origin = exeat_engine::evidence::Origin::new(GATEWAY, "b1", "w0").unwrap();
    let head = LogHead { origin, size: tree.size(), root: tree.root() };
    let note = Checkpoint { head, time: exeat_engine::facts::Timestamp(START), others: vec![] }.sign(&key());
    let answer = post(collector.address, format!("{}\n\n{note}", lines.join("\n")).as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_found(
        dir.path(),
        &[
            "leaf 2: a second decision with the id a",
            "leaf 3: a completion of decision b, which is not in the log",
            "leaf 5: a completion of decision c, which let nothing go",
            "leaf 6: a genesis record that is not the first leaf",
            "leaf 7: not a record of a known kind",
            "leaf 8: a decision with the unknown outcome \"maybe\"",
            "leaf 10: the log was closed with 0 exchanges open, but 1 decisions have no completion, the first of them leaf 9",
        ],
    );
}

#[test]
fn time_without_checkpoints_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let mut vm = Vm::new("b1", "w0");
    vm.deliver(collector.address, 10);
    for pause in [30_000, 30_000, 200_000, 30_000] {
        vm.now += pause;
        vm.deliver(collector.address, 10);
    }
    let hole = "egress-eu-1/b1/w0: no checkpoint from 2025-11-20T00:54:20.000Z to 2025-11-20T00:57:40.000Z (200 s)";
    assert_found(dir.path(), &[hole]);
    let after = ["--from", "2025-11-20T00:57:40Z", "--to", "2025-11-20T00:58:30Z"];
    assert!(verify(dir.path(), &after).0);
    let before_and_after = ["--from", "2025-11-20T00:50:00Z", "--to", "2025-11-20T00:58:30Z"];
    let (_, lines) = verify(dir.path(), &before_and_after);
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[1].starts_with("egress-eu-1: no log covers the time from 2025-11-20T00:50:00.000Z"), "{lines:#?}");
}

#[test]
fn nothing_can_be_verified_without_keys_or_without_a_store() {
    let dir = stored();
    let said = |dir: &Path, arguments: &[&str]| {
        let output = audit(dir, arguments);
        assert!(!output.status.success());
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    };
    assert!(said(dir.path(), &["verify"]).contains("no key is given"));
    let other = format!("other={}", key().public_base64());
    let output = said(dir.path(), &["verify", "--key", &other]);
    assert!(output.contains("no key of gateway egress-eu-1 was given"), "{output}");
    assert!(output.contains("other: nothing is stored of this gateway"), "{output}");
    let empty = tempfile::tempdir().unwrap();
    assert!(said(empty.path(), &["verify", "--key", &other]).contains("there is no store"));
    assert!(said(empty.path(), &["list"]).contains("there is no store"));
    assert!(!empty.path().join("evidence.db").exists());
    std::fs::write(empty.path().join("evidence.db"), "no database".repeat(500)).unwrap();
    assert!(said(empty.path(), &["list"]).contains("cannot be read as a SQLite database"));
}

/// Notes do not fail an audit.
fn notes(dir: &Path, more: &[&str]) -> Vec<String> {
    let key = key_option();
    let output = audit(dir, &[&["verify", "--key", &key], more].concat());
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with("ok: "), "{said}");
    said.lines().skip(1).map(str::to_owned).collect()
}

#[test]
fn an_unclean_end_and_a_request_that_passed_two_gateways_are_noted() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let signed = |vm: &mut Vm, outcome: Outcome| {
        let mut record = vm.record(outcome);
        record.signature_base = Some("sha256:once".into());
        let id = vm.decide(record, None);
        if outcome == Outcome::Allow {
            vm.complete(&id);
        }
    };
    let mut first = Vm::new("b1", "w0");
    signed(&mut first, Outcome::Allow);
    first.deliver(collector.address, 10);
    assert!(notes(dir.path(), &[]).is_empty());
    // The next boot begins before the first has said that it ends.
    let mut second = Vm::after("b2", "w0", START + 5_000, None);
    signed(&mut second, Outcome::Deny);
    signed(&mut second, Outcome::Allow);
    second.deliver(collector.address, 10);
    let said = notes(dir.path(), &["--expect", GATEWAY]);
    assert_eq!(said.len(), 2, "{said:#?}");
    assert!(said[0].contains("b2/w0 leaf 2: lets the same signed request go as egress-eu-1/b1/w0 leaf 1"), "{said:#?}");
    assert!(
        said[1].contains("b1/w0: ended uncleanly: its last checkpoint is of 2025-11-20T00:53:20.020Z"),
        "{said:#?}"
    );
    assert!(said[1].contains("began at 2025-11-20T00:53:25.000Z"), "{said:#?}");
    // Whose silence is expected is not asked about; whose key is missing cannot be expected.
    let key = key_option();
    let other = format!("egress-us-1={}", key_option().split_once('=').unwrap().1);
    let ask = |more: &[&str]| audit(dir.path(), &[&["verify", "--key", &key, "--key", &other], more].concat());
    assert!(!ask(&[]).status.success());
    assert!(ask(&["--expect", GATEWAY]).status.success());
    let refused = ask(&["--expect", "egress-ap-1"]);
    assert!(String::from_utf8(refused.stderr).unwrap().contains("--expect egress-ap-1: no key"));
}
