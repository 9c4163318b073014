//! Retention: what is old goes, what stays is proven as before, and nobody can pass off a cut as one.

use crate::audit::sql;
use crate::support::{Answer, Collector, Vm, audit, key_option, post};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

pub(crate) fn number(dir: &Path, query: &str) -> i64 {
    let db = rusqlite::Connection::open(dir.join("evidence.db")).unwrap();
    db.busy_timeout(Duration::from_secs(10)).unwrap();
    db.query_row(query, [], |row| row.get(0)).unwrap()
}

pub(crate) fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let late = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < late, "{what} did not come to be");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn verify(dir: &Path) -> (bool, String) {
    let output = audit(dir, &["verify", "--key", &key_option()]);
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

/// A log of last year, and the batches it was delivered in; its collector is stopped.
fn old(dir: &Path) -> (Vm, Vec<Vec<u8>>) {
    let collector = Collector::start(dir);
    let mut vm = Vm::new("b1", "w0");
    let mut batches = Vec::new();
    vm.configure();
    (0..10).for_each(|_| vm.exchange());
    while let Some(batch) = vm.batch(4) {
        batches.push(batch.bytes().to_vec());
        vm.journal.acknowledged(&post(collector.address, batch.bytes()).json()).unwrap();
    }
    for _ in 0..3 {
        vm.beat(collector.address);
    }
    assert!(collector.terminate());
    (vm, batches)
}

#[test]
fn what_is_old_goes_and_the_rest_is_proven_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (mut vm, batches) = old(dir);
    assert_eq!(number(dir, "SELECT count(*) FROM leaves"), 22);
    let first: Value = serde_json::from_slice(
        audit(dir, &["list", "--json", "--limit", "0"]).stdout.split(|b| *b == b'\n').next().unwrap(),
    )
    .unwrap();

    let collector = Collector::start_with(dir, &["--keep", "30d"]);
    wait_for("forgetting", || number(dir, "SELECT count(*) FROM leaves") == 0);
    wait_for("forgetting heartbeats", || number(dir, "SELECT count(*) FROM checkpoints") == 1);
    assert_eq!(number(dir, "SELECT count(*) FROM openings"), 0);
    // The log goes on where it was, in a process that has never seen its leaves.
    vm.now = now();
    vm.exchange();
    let id = vm.allow();
    vm.complete(&id);
    vm.deliver(collector.address, 3);
    let again = |batch: &[u8]| -> Answer { post(collector.address, batch) };
    assert_eq!((again(&batches[0]).status, again(&batches[0]).problem()), (409, "pruned".to_owned()));
    assert!(collector.terminate());
    assert_eq!(number(dir, "SELECT count(*) FROM leaves"), 4);

    let (ok, said) = verify(dir);
    // A year without a checkpoint shows, as it should; nothing else is amiss.
    assert!(!ok && said.lines().count() == 1 && said.contains("no checkpoint from 2025"), "{said}");
    let output = audit(dir, &["show", first["decision"]["id"].as_str().unwrap()]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("no decision"));

    // A leaf after the cut has its proof, by what is left of those before it.
    let bundle = audit(dir, &["prove", &id]);
    assert!(bundle.status.success(), "{bundle:?}");
    let bundle: Value = serde_json::from_slice(&bundle.stdout).unwrap();
    assert_eq!(bundle["leaves"].as_array().unwrap().len(), 2);
    let bundle = exeat_cli::audit::bundle::Bundle::parse(bundle.to_string().as_bytes()).unwrap();
    let key = crate::support::key().public_base64();
    let keys = [exeat_engine::evidence::CheckpointKey::parse(crate::support::GATEWAY, &key).unwrap()];
    let checked = bundle.check(&keys).unwrap();
    assert_eq!((checked.decision.index, checked.completion.unwrap().index), (24, 25));
}

#[test]
fn a_cut_is_believed_only_where_a_signed_root_fits_it() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    old(dir);
    let collector = Collector::start_with(dir, &["--keep", "30d"]);
    wait_for("forgetting", || number(dir, "SELECT count(*) FROM leaves") == 0);
    assert!(collector.terminate());
    let (ok, said) = verify(dir);
    assert!(ok && said.contains("22 records older and no longer kept"), "{said}");
    for (tamper, expected) in [
        ("UPDATE pruned SET nodes = CAST(x'00' || substr(nodes, 2) AS BLOB)", "do not give the root"),
        ("UPDATE pruned SET nodes = substr(nodes, 33)", "leaves 0 to 21 are missing"),
        ("UPDATE pruned SET size = size - 1", "leaves 21 to 21 are missing"),
        ("DELETE FROM pruned", "leaves 0 to 21 are missing"),
        ("UPDATE pruned SET size = 2000000, nodes = zeroblob(224)", "lies before leaf 2000000"),
    ] {
        let kept = std::fs::read(dir.join("evidence.db")).unwrap();
        sql(dir, tamper);
        let (ok, said) = verify(dir);
        assert!(!ok && said.contains(expected), "{tamper}: {said}");
        std::fs::write(dir.join("evidence.db"), kept).unwrap();
        for side in ["evidence.db-wal", "evidence.db-shm"] {
            let _ = std::fs::remove_file(dir.join(side));
        }
    }
}

#[test]
fn a_log_with_a_hole_is_left_alone_and_does_not_hold_up_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    old(dir);
    let collector = Collector::start(dir);
    let mut other = Vm::new("b1", "w1");
    other.exchange();
    other.deliver(collector.address, 10);
    assert!(collector.terminate());
    sql(dir, "DELETE FROM leaves WHERE log = 1 AND position = 2");
    let collector = Collector::start_with(dir, &["--keep", "30d"]);
    wait_for("forgetting", || number(dir, "SELECT count(*) FROM leaves WHERE log = 2") == 0);
    assert_eq!(number(dir, "SELECT count(*) FROM leaves WHERE log = 1"), 21);
    assert!(collector.terminate());
    assert!(std::fs::read_to_string(dir.join("said")).unwrap().contains("log 1 has a hole"));
    assert!(verify(dir).1.contains("leaf 2: missing in the store"));
}

#[test]
fn a_store_of_version_1_is_brought_up() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    old(dir);
    let db = rusqlite::Connection::open(dir.join("evidence.db")).unwrap();
    db.execute_batch("DROP TABLE pruned; DROP TABLE forwarded; PRAGMA user_version = 1").unwrap();
    drop(db);
    let output = audit(dir, &["verify", "--key", &key_option()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("has version 1: start `exeat collect` on it once"), "{said}");
    assert!(Collector::start(dir).terminate());
    assert!(verify(dir).0);
    for keep in ["--keep=30m", "--keep=-2d", "--keep=soon", "--keep=1 month"] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_exeat"));
        let output = command.args(["collect", "--db", "x", "--key", &key_option(), keep]).output().unwrap();
        assert!(!output.status.success(), "{keep}");
        assert!(String::from_utf8(output.stderr).unwrap().contains("--keep"), "{keep}");
    }
}
