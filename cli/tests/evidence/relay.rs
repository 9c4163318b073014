//! A relay: acknowledged as soon as it is on its disk, forwarded exactly once, whatever dies meanwhile.

use crate::retention::{number, wait_for};
use crate::support::{Collector, Vm, audit, key_option};
use std::path::Path;
use std::process::Command;

fn leaves(dir: &Path) -> i64 {
    if dir.join("evidence.db").exists() { number(dir, "SELECT count(*) FROM leaves") } else { 0 }
}

fn origin(collector: &Collector) -> String {
    format!("http://{}", collector.address)
}

fn verified(dir: &Path) -> String {
    let output = audit(dir, &["verify", "--key", &key_option()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn nothing_waits_for_the_next_collector_and_nothing_is_lost_or_doubled() {
    let (far, near) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (far, near) = (far.path(), near.path());
    let mut next = Collector::start(far);
    let (target, address) = (origin(&next), next.address.to_string());
    next.kill();
    // The records of these tests are years old.
    let options = ["--forward", &target, "--keep", "9999d"];
    let mut relay = Collector::start_with(near, &options);
    let (mut w0, mut w1) = (Vm::new("b1", "w0"), Vm::new("b1", "w1"));
    for _ in 0..20 {
        w0.exchange();
        w1.exchange();
    }
    // The next collector is away: the gateway does not notice.
    w0.deliver(relay.address, 7);
    w1.deliver(relay.address, 7);
    assert_eq!((leaves(near), leaves(far)), (82, 0));
    w0.beat(relay.address);

    let mut next = Collector::start_at(&address, far, &[]);
    wait_for("some forwarded", || leaves(far) > 0);
    // Whoever dies, where it stood is on the disk.
    relay.kill();
    next.kill();
    let next = Collector::start_at(&address, far, &[]);
    let relay = Collector::start_with(near, &options);
    w0.close();
    w1.close();
    w0.deliver(relay.address, 100);
    w1.deliver(relay.address, 100);
    let checkpoints = "SELECT count(*) FROM checkpoints";
    wait_for("all forwarded", || leaves(far) == 84 && number(far, checkpoints) == number(near, checkpoints));
    wait_for("the metric", || {
        let metrics = crate::support::get(relay.address, "/metrics").body;
        metrics.lines().any(|line| line == "exeat_collector_forward_waiting_batches 0")
    });
    assert!(relay.terminate() && next.terminate());
    // The same bytes, openings too.
    assert_eq!(verified(far), verified(near));
    assert!(verified(far).contains("40 openings"));
}

#[test]
fn what_was_erased_before_it_was_forwarded_is_not_forwarded() {
    let (far, near) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (far, near) = (far.path(), near.path());
    let mut next = Collector::start(far);
    let (target, address) = (origin(&next), next.address.to_string());
    next.kill();
    let relay = Collector::start_with(near, &["--forward", &target, "--keep", "9999d"]);
    let mut vm = Vm::new("b1", "w0");
    vm.exchange();
    let other = vm.record(exeat_engine::evidence::record::Outcome::Allow);
    let id = vm.decide(other, Some("u-2"));
    vm.complete(&id);
    vm.deliver(relay.address, 100);
    assert!(audit(near, &["erase", "--user", "u-1042"]).status.success());
    let next = Collector::start_at(&address, far, &[]);
    wait_for("all forwarded", || leaves(far) == 5);
    assert!(relay.terminate() && next.terminate());
    assert_eq!(number(far, "SELECT count(*) FROM openings"), 1);
    verified(far);
}

#[test]
fn a_log_that_the_next_collector_refuses_does_not_hold_up_the_others() {
    let (far, near) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (far, near) = (far.path(), near.path());
    let next = Collector::start(far);
    // The same log with another history is there already.
    let (mut other, mut forked, mut fine) = (Vm::new("b1", "w0"), Vm::new("b1", "w0"), Vm::new("b1", "w1"));
    other.deny();
    other.deliver(next.address, 10);
    let relay = Collector::start_with(near, &["--forward", &origin(&next)]);
    forked.exchange();
    forked.deliver(relay.address, 10);
    fine.exchange();
    fine.deliver(relay.address, 10);
    wait_for("the other log", || number(far, "SELECT count(*) FROM logs") == 2);
    wait_for("the alarm", || {
        std::fs::read_to_string(near.join("said")).unwrap().contains("ALARM: the next collector refuses")
    });
    assert!(relay.terminate() && next.terminate());
    assert_eq!(number(far, "SELECT count(*) FROM forks"), 1);
    assert_eq!(leaves(far), 2 + 3);
}

#[test]
fn a_relay_forgets_only_what_was_forwarded() {
    let (far, near) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (far, near) = (far.path(), near.path());
    let mut next = Collector::start(far);
    let (target, address) = (origin(&next), next.address.to_string());
    next.kill();
    let relay = Collector::start_with(near, &["--forward", &target]);
    let mut vm = Vm::new("b1", "w0");
    (0..10).for_each(|_| vm.exchange());
    // Signed last year, so older than the day that a relay keeps.
    vm.deliver(relay.address, 5);
    assert!(relay.terminate());
    let relay = Collector::start_with(near, &["--forward", &target, "--keep", "2h"]);
    vm.exchange();
    vm.deliver(relay.address, 5);
    assert_eq!(leaves(near), 23);
    let next = Collector::start_at(&address, far, &[]);
    wait_for("all forwarded", || leaves(far) == 23);
    assert!(relay.terminate());
    let relay = Collector::start_with(near, &["--forward", &target]);
    wait_for("forgetting", || leaves(near) == 0);
    vm.exchange();
    vm.deliver(relay.address, 5);
    wait_for("all forwarded", || leaves(far) == 25);
    assert!(relay.terminate() && next.terminate());
    verified(far);
}

#[test]
fn where_evidence_would_go_unprotected_is_refused() {
    for (options, expected) in [
        (&["--forward", "http://collector.example"][..], "is not on loopback"),
        (&["--forward", "https://collector.example"], "--forward-ca"),
        (&["--forward", "collector.example"], "is no origin"),
        (&["--forward", "ftp://127.0.0.1"], "is no origin"),
        (&["--forward", "http://127.0.0.1/v1/evidence"], "is no origin"),
        (&["--forward-ca", "x.pem"], "--forward"),
        (&["--forward", "https://c.example", "--forward-ca", "/nowhere.pem"], "/nowhere.pem"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("none.db");
        let mut command = Command::new(env!("CARGO_BIN_EXE_exeat"));
        let output = command.args(["collect", "--key", &key_option(), "--db"]).arg(&db).args(options).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(expected), "{options:?}: {said}");
        assert!(!db.exists(), "{options:?}");
    }
}
