//! Forgetting a person: nothing of the name is left in the files, nobody else is touched, and every proof still holds.

use crate::audit::sql;
use crate::support::{Collector, Vm, audit, key_option, post};
use exeat_engine::evidence::record::Outcome;
use std::path::Path;
use std::process::Output;

const NAME: &str = "u-erase-me-7731";

fn erase(dir: &Path, arguments: &[&str]) -> (bool, String) {
    let Output { status, stdout, stderr } = audit(dir, &[&["erase"], arguments].concat());
    (status.success(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

/// Whether the name stands anywhere in the files of the store.
fn is_written(dir: &Path) -> bool {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut of_store = files.filter(|file| file.file_name().unwrap().to_str().unwrap().starts_with("evidence.db"));
    of_store.any(|file| {
        let bytes = std::fs::read(file).unwrap();
        bytes.windows(NAME.len()).any(|window| window == NAME.as_bytes())
    })
}

fn decide(vm: &mut Vm, tenant: &str, user: &str) -> String {
    let mut record = vm.record(Outcome::Allow);
    record.tenant = Some(tenant.into());
    let id = vm.decide(record, Some(user));
    vm.complete(&id);
    id
}

#[test]
fn a_person_is_forgotten_and_all_proofs_hold() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let collector = Collector::start(dir);
    let mut vm = Vm::new("b1", "w0");
    let first = decide(&mut vm, "acme", NAME);
    let other = decide(&mut vm, "acme", "u-1042");
    let elsewhere = decide(&mut vm, "globex", NAME);
    let mut batches = Vec::new();
    while let Some(batch) = vm.batch(2) {
        batches.push(batch.bytes().to_vec());
        let answer = post(collector.address, batch.bytes());
        vm.journal.acknowledged(&answer.json()).unwrap();
    }
    assert!(is_written(dir));

    // While the collector runs.
    let (ok, said) = erase(dir, &["--user", NAME, "--tenant", "acme", "--dry-run"]);
    assert!(ok && said.starts_with(&format!("would erase {NAME} from 1 records of ")), "{said}");
    assert!(audit(dir, &["list"]).stdout.windows(NAME.len()).filter(|w| *w == NAME.as_bytes()).count() == 2);
    let (ok, said) = erase(dir, &["--user", NAME, "--tenant", "acme"]);
    assert!(ok && said.contains("(1 openings)") && said.contains("backups"), "{said}");
    assert!(said.contains("1 more records name"), "the other tenant, or a masked one: {said}");
    assert!(is_written(dir), "the other tenant's person of that name is another");
    let (ok, said) = erase(dir, &["--user", NAME]);
    assert!(ok && said.contains("from 1 records") && !said.contains("more records"), "{said}");
    assert!(!is_written(dir));

    // A batch that comes once more does not bring anybody back.
    for batch in &batches {
        assert_eq!(post(collector.address, batch).status, 200);
    }
    assert!(!is_written(dir));
    assert!(collector.terminate());
    let key = key_option();
    let verified = audit(dir, &["verify", "--key", &key]);
    assert!(verified.status.success(), "{verified:?}");
    for (id, person) in [(first, None), (other, Some("u-1042")), (elsewhere, None)] {
        let bundle = audit(dir, &["prove", &id]);
        assert!(bundle.status.success(), "{bundle:?}");
        let bundle: serde_json::Value = serde_json::from_slice(&bundle.stdout).unwrap();
        assert_eq!(bundle["openings"][0]["value"].as_str(), person);
    }
    let (ok, said) = erase(dir, &["--user", NAME]);
    assert!(ok && said.contains("nothing was erased"), "{said}");
}

#[test]
fn a_name_is_a_whole_name_and_only_a_store_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    assert!(erase(dir, &["--user", "u"]).1.contains("there is no store"));
    let collector = Collector::start(dir);
    let mut vm = Vm::new("b1", "w0");
    decide(&mut vm, "acme", "u-10");
    decide(&mut vm, "acme", "u-1%");
    vm.deliver(collector.address, 10);
    assert!(collector.terminate());
    for (user, expected) in [
        ("u-1", "no record of"),
        ("u-1%", "erased u-1% from 1 records"),
        ("U-10", "no record of"),
        ("%", "no record of"),
    ] {
        let (ok, said) = erase(dir, &["--user", user]);
        assert!(ok && said.contains(expected), "{user:?}: {said}");
    }
    assert!(!erase(dir, &["--user", ""]).0, "everybody is no person");
    // A damaged leaf keeps nobody in the store.
    sql(dir, "UPDATE leaves SET line = x'00'");
    assert!(erase(dir, &["--user", "u-10", "--tenant", "other"]).1.contains("from 1 records"));
    let foreign = tempfile::tempdir().unwrap();
    let db = rusqlite::Connection::open(foreign.path().join("evidence.db")).unwrap();
    db.execute_batch("CREATE TABLE openings (field TEXT); INSERT INTO openings VALUES ('user')").unwrap();
    let (ok, said) = erase(foreign.path(), &["--user", "u"]);
    assert!(!ok && said.contains("is no evidence store"), "{said}");
}
