//! The collector, as the real binary over real HTTP.

use crate::support::{Collector, GATEWAY, START, Vm, audit, get, key, key_option, post, try_post};
use exeat_engine::evidence::{GatewayKey, LastHeads, LogHead};

fn count(dir: &std::path::Path, what: &str) -> i64 {
    let db = rusqlite::Connection::open(dir.join("evidence.db")).unwrap();
    db.query_row(&format!("SELECT count(*) FROM {what}"), [], |row| row.get(0)).unwrap()
}

#[test]
fn stores_each_record_once_and_repeats_the_acknowledgement() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let mut vm = Vm::new("b1", "w0");
    vm.exchange();
    vm.exchange();
    let batch = vm.batch(100).unwrap();
    for _ in 0..3 {
        let answer = post(collector.address, batch.bytes());
        assert_eq!((answer.status, &answer.json::<LogHead>()), (200, batch.head()));
    }
    vm.journal.acknowledged(batch.head()).unwrap();
    let heartbeat = vm.heartbeat();
    assert_eq!(post(collector.address, heartbeat.bytes()).status, 200);
    vm.journal.acknowledged(heartbeat.head()).unwrap();
    // The first batch once more, now that the log has gone on.
    assert_eq!(post(collector.address, batch.bytes()).status, 200);
    assert_eq!(count(dir.path(), "leaves"), 5);
    assert_eq!(count(dir.path(), "checkpoints"), 2);
    assert_eq!(count(dir.path(), "openings"), 2);
    assert_eq!(count(dir.path(), "forks"), 0);
    assert_eq!(get(collector.address, "/healthz").status, 200);
    assert!(collector.terminate());

    let db = rusqlite::Connection::open(dir.path().join("evidence.db")).unwrap();
    let first: Vec<u8> = db.query_row("SELECT line FROM leaves WHERE position = 0", [], |row| row.get(0)).unwrap();
    assert_eq!(batch.bytes().split(|b| *b == b'\n').next().unwrap(), first, "the exact bytes");
}

#[test]
fn goes_on_after_a_restart_where_it_stood() {
    let dir = tempfile::tempdir().unwrap();
    let mut vm = Vm::new("b1", "w0");
    for round in 0..3 {
        let collector = Collector::start(dir.path());
        vm.exchange();
        vm.deliver(collector.address, 2);
        assert_eq!(count(dir.path(), "leaves"), 1 + 2 * (round + 1));
        assert!(collector.terminate());
    }
}

#[test]
fn an_erased_opening_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let mut vm = Vm::new("b1", "w0");
    vm.exchange();
    let batch = vm.batch(100).unwrap();
    assert_eq!(post(collector.address, batch.bytes()).status, 200);
    let db = rusqlite::Connection::open(dir.path().join("evidence.db")).unwrap();
    assert_eq!(db.execute("DELETE FROM openings", []).unwrap(), 1);
    assert_eq!(post(collector.address, batch.bytes()).status, 200);
    assert_eq!(count(dir.path(), "openings"), 0);
}

#[test]
fn a_gap_is_refused_and_says_what_is_expected() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let mut vm = Vm::new("b1", "w0");
    for _ in 0..5 {
        vm.exchange();
    }
    let first = vm.batch(4).unwrap();
    assert_eq!(post(collector.address, first.bytes()).status, 200);
    vm.journal.acknowledged(first.head()).unwrap();
    let lost = vm.batch(2).unwrap();
    vm.journal.acknowledged(lost.head()).unwrap();
    let third = vm.batch(2).unwrap();
    let answer = post(collector.address, third.bytes());
    assert_eq!((answer.status, answer.problem().as_str()), (409, "gap"));
    assert_eq!(answer.json::<serde_json::Value>()["expected"], 4);
    // Once what was lost comes after all, it goes on.
    assert_eq!(post(collector.address, lost.bytes()).status, 200);
    assert_eq!(post(collector.address, third.bytes()).status, 200);
    // A heartbeat of a log that is not there is a gap as well.
    let mut other = Vm::new("b1", "w1");
    let genesis = other.batch(10).unwrap();
    other.journal.acknowledged(genesis.head()).unwrap();
    assert_eq!(post(collector.address, other.heartbeat().bytes()).problem(), "gap");
}

#[test]
fn two_histories_are_a_fork_and_both_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let (mut one, mut two) = (Vm::new("b1", "w0"), Vm::new("b1", "w0"));
    one.exchange();
    one.deliver(collector.address, 10);
    two.deny();
    let fork = two.batch(10).unwrap();
    for _ in 0..3 {
        let answer = post(collector.address, fork.bytes());
        assert_eq!((answer.status, answer.problem().as_str()), (409, "fork"), "{}", answer.body);
        assert!(answer.body.contains("at leaf 1"), "{}", answer.body);
    }
    two.journal.acknowledged(fork.head()).unwrap();
    // A checkpoint alone shows a fork too: another root at a size that is stored.
    assert_eq!(post(collector.address, two.heartbeat().bytes()).problem(), "fork");
    assert_eq!(count(dir.path(), "forks"), 2);
    assert_eq!(count(dir.path(), "leaves"), 3, "what was stored first stays");
    let db = rusqlite::Connection::open(dir.path().join("evidence.db")).unwrap();
    let records: Vec<u8> = db.query_row("SELECT records FROM forks ORDER BY id", [], |row| row.get(0)).unwrap();
    assert!(fork.bytes().starts_with(&records) && !records.is_empty());
}

#[test]
fn records_changed_on_the_way_are_refused_and_the_true_ones_taken_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let mut vm = Vm::new("b1", "w0");
    vm.deny();
    vm.exchange();
    let batch = vm.batch(10).unwrap();
    let text = String::from_utf8(batch.bytes().to_vec()).unwrap();
    let changed = text.replace("path-denied", "rule-denied");
    assert_ne!(text, changed);
    let answer = post(collector.address, changed.as_bytes());
    assert_eq!((answer.status, answer.problem().as_str()), (409, "root-mismatch"));
    assert_eq!(count(dir.path(), "leaves"), 0);
    assert_eq!(post(collector.address, text.as_bytes()).status, 200);
    // Changed when it is stored already, it is not taken for a fork either.
    assert_eq!(post(collector.address, changed.as_bytes()).problem(), "root-mismatch");
}

#[test]
fn refuses_whatever_is_not_signed_by_a_known_key() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let mut vm = Vm::new("b1", "w0");
    let batch = vm.batch(10).unwrap();
    let text = String::from_utf8(batch.bytes().to_vec()).unwrap();
    let of_other = text.replace(GATEWAY, "egress-us-1");
    let answer = post(collector.address, of_other.as_bytes());
    assert_eq!((answer.status, answer.problem().as_str()), (403, "key-unknown"));
    assert!(answer.body.contains("--key egress-us-1="), "{}", answer.body);

    // The right name, another key.
    let genesis = text.lines().next().unwrap();
    let checkpoint = exeat_engine::evidence::Checkpoint {
        head: batch.head().clone(),
        time: exeat_engine::facts::Timestamp(1),
        others: vec![],
    };
    let note = checkpoint.sign(&GatewayKey::from_seed([1; 32]));
    let answer = post(collector.address, format!("{genesis}\n\n{note}").as_bytes());
    assert_eq!((answer.status, answer.problem().as_str()), (403, "key-unknown"));

    let answer = post(collector.address, text.replace("\ntime 17", "\ntime 18").as_bytes());
    assert_eq!((answer.status, answer.problem().as_str()), (401, "signature-invalid"));
    assert_eq!(count(dir.path(), "logs"), 0);
}

#[test]
fn refuses_what_it_cannot_read() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let mut vm = Vm::new("b1", "w0");
    vm.exchange();
    let batch = vm.batch(10).unwrap();
    let text = String::from_utf8(batch.bytes().to_vec()).unwrap();
    for (body, status, problem) in [
        ("", 400, "unreadable"),
        ("\n\n\n", 400, "unreadable"),
        (text.trim_end(), 400, "unreadable"),
        (&text.replace("u-1042", "u-1043"), 400, "unreadable"),
        (&text.replace("{\"kind\":\"genesis\"", "[{\"kind\":\"genesis\""), 400, "unreadable"),
    ] {
        let answer = post(collector.address, body.as_bytes());
        assert_eq!((answer.status, answer.problem().as_str()), (status, problem), "{body:?}");
    }
    let answer = post(collector.address, &vec![b'x'; 9 << 20]);
    assert_eq!((answer.status, answer.problem().as_str()), (413, "body"));
    assert_eq!(get(collector.address, "/v1/evidence").status, 405);
    assert_eq!(get(collector.address, "/v1/last").problem(), "query");
    assert_eq!(get(collector.address, "/v1/last?gateway=nobody").problem(), "key-unknown");

    // A log that does not begin with its genesis: the record is signed, the kind is not right.
    let line = "{\"kind\":\"genesis\",\"origin\":\"egress-eu-1/b1/w7\"}";
    let root = exeat_engine::evidence::Hash::of_leaf(line.as_bytes());
    let head = LogHead { root, size: 1, ..batch.head().clone() };
    let note = exeat_engine::evidence::Checkpoint { head, time: exeat_engine::facts::Timestamp(1), others: vec![] };
    let answer = post(collector.address, format!("{line}\n\n{}", note.sign(&key())).as_bytes());
    assert_eq!((answer.status, answer.problem().as_str()), (400, "not-genesis"));
    assert_eq!(count(dir.path(), "logs"), 0);
}

#[test]
fn tells_where_the_logs_of_the_boot_before_ended() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let last =
        |boot: &str| get(collector.address, &format!("/v1/last?gateway={GATEWAY}&boot={boot}")).json::<LastHeads>();
    assert_eq!(last("b1"), LastHeads::default());
    let mut heads = Vec::new();
    for (boot, vm, at) in [("b1", "w0", 0), ("b2", "w0", 60_000), ("b2", "w1", 61_000), ("b3", "w0", 120_000)] {
        let mut vm = Vm::after(boot, vm, START + at, None);
        vm.exchange();
        vm.deliver(collector.address, 2);
        heads.push(vm.journal.head());
    }
    assert_eq!(last("b3"), LastHeads { boot: Some("b2".into()), logs: heads[1..3].to_vec() });
    assert_eq!(last("b4"), LastHeads { boot: Some("b3".into()), logs: heads[3..].to_vec() });
}

#[test]
fn what_was_acknowledged_survives_a_kill_at_any_moment() {
    let dir = tempfile::tempdir().unwrap();
    let mut vms: Vec<Vm> = (0..4).map(|n| Vm::new("b1", &format!("w{n}"))).collect();
    for round in 0..4_u64 {
        let mut collector = Collector::start(dir.path());
        let address = collector.address;
        let workers: Vec<_> = vms
            .into_iter()
            .map(|mut vm| {
                std::thread::spawn(move || {
                    loop {
                        vm.exchange();
                        vm.now += 60_000;
                        let Some(batch) = vm.batch(3) else { continue };
                        match try_post(address, batch.bytes()).filter(|answer| answer.status == 200) {
                            Some(answer) => vm.journal.acknowledged(&answer.json()).unwrap(),
                            None => {
                                vm.journal.failed(exeat_engine::facts::Timestamp(vm.now), 1);
                                return vm;
                            }
                        }
                    }
                })
            })
            .collect();
        std::thread::sleep(std::time::Duration::from_millis(150 + 70 * round));
        collector.kill();
        vms = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
        let db = rusqlite::Connection::open(dir.path().join("evidence.db")).unwrap();
        for vm in &vms {
            let acknowledged = vm.journal.acknowledged_size();
            assert!(acknowledged > 0);
            let sql = "SELECT count(*) FROM leaves JOIN logs ON log = logs.id WHERE origin = ?1";
            let stored: i64 = db.query_row(sql, [vm.journal.origin().as_str()], |row| row.get(0)).unwrap();
            assert!(u64::try_from(stored).unwrap() >= acknowledged, "{stored} of {acknowledged}");
        }
    }
    // And it can all be delivered, each record once, and verified.
    let collector = Collector::start(dir.path());
    let mut leaves = 0;
    for vm in &mut vms {
        vm.now += 60_000;
        vm.close();
        vm.deliver(collector.address, 1_000);
        leaves += i64::try_from(vm.journal.head().size).unwrap();
    }
    assert_eq!(count(dir.path(), "leaves"), leaves);
    assert_eq!(count(dir.path(), "forks"), 0);
    let output = audit(dir.path(), &["verify", "--key", &key_option()]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.starts_with(&format!("ok: 1 gateway, 4 logs, {leaves} records")), "{said}");
}

#[test]
fn refuses_to_start_where_it_should_not() {
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("other.db");
    rusqlite::Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    let text = dir.path().join("text.db");
    std::fs::write(&text, "this is not a database, and long enough to be seen as one by nobody".repeat(20)).unwrap();
    let key = key_option();
    for (arguments, expected) in [
        (vec!["--db", other.to_str().unwrap(), "--key", &key], "is a database of something else"),
        (vec!["--db", text.to_str().unwrap(), "--key", &key], "is no SQLite database"),
        (vec!["--db", "/nowhere/evidence.db", "--key", &key], "does its folder exist?"),
        (vec!["--db", "/nowhere/evidence.db"], "no key is given"),
        (vec!["--db", "x.db", "--key", &key, "--listen", "0.0.0.0:0"], "is not a loopback address"),
    ] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_exeat"))
            .arg("collect")
            .args(arguments)
            .current_dir(dir.path())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(expected), "{said}");
    }
}
