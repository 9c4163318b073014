//! What a log says of others before it, after it had begun; and what went unrecorded because the operator chose so.

use crate::support::{Collector, START, Vm, audit, key_option};
use exeat_engine::evidence::record::Outcome;
use exeat_engine::evidence::{LastHeads, LogHead, PreviousRecord};
use exeat_engine::facts::Timestamp;
use std::path::Path;

fn verify(dir: &Path) -> (bool, String) {
    let output = audit(dir, &["verify", "--key", &key_option()]);
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

fn say(vm: &mut Vm, previous: LastHeads) {
    vm.journal.append_previous(&PreviousRecord { time: Timestamp(vm.now), previous }).unwrap();
}

#[test]
fn what_is_said_later_counts_like_the_genesis() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let mut before = Vm::new("b1", "w0");
    before.exchange();
    before.deliver(collector.address, 10);
    let mut after = Vm::after("b2", "w0", START + 1_000, None);
    after.exchange();
    let heads = |size| LastHeads { boot: Some("b1".into()), logs: vec![LogHead { size, ..before.journal.head() }] };
    say(&mut after, heads(3));
    after.exchange();
    after.deliver(collector.address, 10);
    let (ok, said) = verify(dir.path());
    assert!(ok && said.contains("note: egress-eu-1/b1/w0: ended uncleanly"), "{said}");
    // The boot before is taken out.
    crate::audit::sql(dir.path(), "DELETE FROM logs WHERE boot = 'b1'");
    for table in ["leaves", "checkpoints", "openings"] {
        crate::audit::sql(dir.path(), &format!("DELETE FROM {table} WHERE log = 1"));
    }
    let (ok, said) = verify(dir.path());
    let expected = "egress-eu-1/b1/w0: the next boot's log egress-eu-1/b2/w0 of";
    assert!(!ok && said.contains(expected) && said.contains("knows 3 leaves, but 0 are stored"), "{said}");
}

#[test]
fn a_log_says_it_once() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let mut vm = Vm::after("b2", "w0", START, Some(LastHeads::default()));
    say(&mut vm, LastHeads::default());
    vm.deliver(collector.address, 10);
    let (ok, said) = verify(dir.path());
    assert!(!ok && said.contains("egress-eu-1/b2/w0 leaf 1: says a second time where the boot before ended"), "{said}");
}

#[test]
fn drops_are_noted_log_by_log_and_in_all() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    for (vm, count) in [("w0", 3), ("w1", 2)] {
        let mut vm = Vm::new("b1", vm);
        for _ in 0..count {
            vm.journal.drop_decision(&vm.record(Outcome::Allow)).unwrap();
        }
        vm.exchange();
        vm.close();
        vm.deliver(collector.address, 10);
    }
    let (ok, said) = verify(dir.path());
    assert!(ok && said.contains(", 5 requests let go unrecorded (when_full: drop)"), "{said}");
    assert!(said.contains("note: egress-eu-1/b1/w0: 3 requests were let go without a record"), "{said}");
    assert!(said.contains("note: egress-eu-1/b1/w1: 2 requests were let go without a record"), "{said}");
}
