//! The newest configuration in VMs that the host does not bring it to: those of the module before, with connections that stay open, and
//! those that were built anew. Time passes only where a test says so, and ticks come with it.

#![cfg(test)]

use exeat_e2e::scenario::harness::{Harness, guarded_worker, message};
use exeat_e2e::scenario::plain;
use exeat_host_test::{Host, Plugin, Response, RootId, Worker};
use serde_json::{Value, json};
use std::time::Duration;

/// Longer than it takes to be certain of anything, the silence of a VM among it.
const LONG: Duration = Duration::from_secs(30);

/// The shortest time that timers know.
const SOON: Duration = Duration::from_millis(1);

/// The VM of the module before, under the first revision.
struct Before(Harness);

impl Before {
    fn start() -> Self {
        Self(Harness::start("configuration").unwrap())
    }

    fn worker(&self) -> &Worker {
        self.0.worker()
    }

    fn plugin(&self) -> &Plugin {
        self.worker().host().plugin()
    }

    /// The configuration of another revision.
    fn revision(&self, revision: usize) -> String {
        let first = std::str::from_utf8(&self.plugin().configuration).unwrap();
        first.replace("revision-1", &format!("revision-{revision}"))
    }

    /// Another module in the same process, under the first revision.
    fn other_module(&self, env: &[(&str, &str)]) -> Worker {
        worker(&self.0.another_module(env, self.plugin().clone()).unwrap())
    }

    /// What judges the next request in that VM: a revision, or the reason of a refusal that no policy gave. On a connection of the
    /// oldest listener.
    #[track_caller]
    fn judge(&self, worker: &Worker) -> String {
        self.judge_on(worker, worker.oldest_root())
    }

    fn judge_on(&self, worker: &Worker, root: RootId) -> String {
        let wire = plain::wire(&self.0, "GET", "/v1/orders/1", b"").unwrap();
        let mut exchange = worker.request_on(root, message(&wire).unwrap());
        exchange.send().unwrap();
        let judge = match exchange.response() {
            None => exchange.forwarded().and_then(|forwarded| forwarded.text("x-judged-by")).unwrap(),
            Some(response) => {
                let problem: Value = serde_json::from_slice(&response.body()).unwrap();
                problem["reason"].as_str().unwrap().to_owned()
            }
        };
        exchange.finish().unwrap();
        judge
    }

    #[track_caller]
    fn judges(&self, worker: &Worker, revision: usize) {
        assert_eq!(self.judge(worker), format!("revision-{revision}"), "{:?}", self.0.worker().host().log());
    }
}

/// By listener update, after which the listeners before drain. The host brings nothing that one of those still has.
fn bring(worker: &Worker, configuration: String) {
    let before = worker.root();
    worker.reconfigure(configuration).unwrap();
    worker.retire(before).unwrap();
}

/// A VM that stays when others go, and whose records nobody takes.
fn worker(host: &Host) -> Worker {
    let worker = guarded_worker(host).unwrap();
    worker.on_callout(|callout| match callout.text(":method").as_deref() {
        Some("GET") => Response::ok(r#"{"boot":null,"logs":[]}"#),
        _ => Response::new(503),
    });
    worker
}

/// Time for all of them. Ticks of those that come first come first.
fn pass(time: Duration, workers: &[&Worker]) {
    let step = Duration::from_millis(100).min(time);
    for _ in 0..time.as_millis() / step.as_millis() {
        workers[0].advance(step).unwrap();
        workers[1..].iter().for_each(|worker| worker.poll().unwrap());
    }
}

/// Not a tick of the VMs before is needed, and one of the new one at its beginning.
#[test]
fn the_next_request_is_judged_by_it() {
    let before = Before::start();
    before.judges(before.worker(), 1);
    for (last, revision, by_request) in [(1, 2, false), (4, 5, true)] {
        let plugin = before.plugin().reconfigured(before.revision(revision));
        let new = worker(&before.0.another_module(&[], plugin).unwrap());
        // So far that may be a VM in which the host tries a configuration, and which nobody hears of again.
        before.judges(before.worker(), last);
        match by_request {
            true => before.judges(&new, revision),
            false => new.advance(SOON).unwrap(),
        }
        before.judges(before.worker(), revision);
        for revision in [revision + 1, revision + 2] {
            bring(&new, before.revision(revision));
            before.judges(before.worker(), revision);
            before.judges(&new, revision);
        }
    }
}

/// The same bytes again, and without a mark that tells them apart.
#[test]
fn who_goes_back_at_once_is_followed_at_once() {
    let before = Before::start();
    let new = before.other_module(&[]);
    pass(LONG, &[&new, before.worker()]);
    for revision in [2, 1, 2, 3, 1, 2] {
        bring(&new, before.revision(revision));
        before.judges(before.worker(), revision);
    }
    // And by the module before, which has not brought any of those.
    bring(before.worker(), before.revision(3));
    before.judges(before.worker(), 3);
    before.judges(&new, 3);
}

#[test]
fn a_large_one_goes_the_same_way() {
    let before = Before::start();
    let new = before.other_module(&[]);
    pass(LONG, &[before.worker(), &new]);
    for revision in [2, 3, 2] {
        let mut document: Value = serde_json::from_str(&before.revision(revision)).unwrap();
        let destinations = document.pointer_mut("/policy/destinations").unwrap().as_object_mut().unwrap();
        for n in 0..12_000 {
            let host = format!("api-{n}.region-{}.cloud-{}.service.example.com", n % 31, n % 977);
            destinations.insert(format!("destination-{n}"), json!({"hosts": [host], "accepts": "restricted"}));
        }
        let text = document.to_string();
        assert!(text.len() > 1 << 20, "{}", text.len());
        bring(&new, text);
        before.judges(before.worker(), revision);
    }
}

/// A worker that is late brings what was replaced before, and then what replaced it.
#[test]
fn what_comes_late_is_not_new() {
    let before = Before::start();
    let late = worker(before.worker().host());
    pass(LONG, &[before.worker(), &late]);
    for revision in [2, 3] {
        bring(before.worker(), before.revision(revision));
        before.judges(before.worker(), revision);
    }
    bring(&late, before.revision(2));
    before.judges(&late, 3);
    before.judges(before.worker(), 3);
    bring(&late, before.revision(3));
    pass(LONG, &[before.worker(), &late]);
    for worker in [before.worker(), &late] {
        before.judges(worker, 3);
    }
}

/// Into a VM that was built anew the host brings what an old listener has, when a request comes on one of its connections.
#[test]
fn what_an_old_listener_has_is_not_new() {
    let before = Before::start();
    let dies = worker(before.worker().host());
    pass(LONG, &[before.worker(), &dies]);
    for revision in [2, 3] {
        for worker in [before.worker(), &dies] {
            bring(worker, before.revision(revision));
            before.judges(worker, revision);
        }
    }
    drop(dies);
    pass(Duration::from_secs(1), &[before.worker()]);
    let rebuilt = worker(before.worker().host());
    before.judges(&rebuilt, 3);
    before.judges(before.worker(), 3);
    // And another one, after the newest.
    bring(&rebuilt, before.revision(3));
    bring(&rebuilt, before.revision(2));
    before.judges(&rebuilt, 3);
    pass(LONG, &[before.worker(), &rebuilt]);
    for worker in [before.worker(), &rebuilt] {
        before.judges(worker, 3);
    }
    bring(&rebuilt, before.revision(1));
    pass(LONG, &[before.worker(), &rebuilt]);
    for worker in [before.worker(), &rebuilt] {
        before.judges(worker, 3);
    }
    // What was never there before is.
    bring(&rebuilt, before.revision(4));
    before.judges(&rebuilt, 4);
    before.judges(before.worker(), 4);
}

/// VMs that are all new bring what was replaced, and nothing newer comes: the operator wants it.
#[test]
fn who_goes_back_is_followed_in_the_end() {
    let before = Before::start();
    pass(LONG, &[before.worker()]);
    bring(before.worker(), before.revision(2));
    before.judges(before.worker(), 2);
    let new = before.other_module(&[]);
    before.judges(&new, 2);
    pass(LONG, &[before.worker(), &new]);
    for worker in [before.worker(), &new] {
        before.judges(worker, 1);
    }
}

/// One that the module before cannot use is newer all the same; until the one comes that it has.
#[test]
fn what_cannot_be_used_is_not_undercut() {
    let before = Before::start();
    let new = before.other_module(&[("ANOTHER_TOKEN", "a-test-token-of-another-collector")]);
    pass(LONG, &[before.worker(), &new]);
    let mut document: Value = serde_json::from_str(&before.revision(2)).unwrap();
    document["gateway"]["collector"]["token"] = json!({"env": "ANOTHER_TOKEN"});
    bring(&new, document.to_string());
    assert_eq!(before.judge(before.worker()), "policy-unavailable");
    before.judges(&new, 2);
    bring(&new, before.revision(1));
    before.judges(before.worker(), 1);
}

/// By somebody who can write shared data.
#[test]
fn what_was_tampered_with_lets_nothing_out() {
    let before = Before::start();
    before.judges(before.worker(), 1);
    let host = before.worker().host().clone();
    let keys = || host.process().shared_keys(host.vm_id()).into_iter().map(|name| String::from_utf8(name).unwrap());
    let newest = keys().find(|name| name.contains("/newest/")).unwrap();
    let good = host.shared_data(&newest).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        host.set_shared_data(&newest, bad);
        assert_eq!(before.judge(before.worker()), "policy-unavailable", "{at}");
    }
    for bad in [&b""[..], b"x", &good[1..]] {
        host.set_shared_data(&newest, bad);
        assert_eq!(before.judge(before.worker()), "policy-unavailable");
    }
    host.set_shared_data(&newest, &good);
    before.judges(before.worker(), 1);

    // A configuration of its own, for VMs that do not have the newest. For a moment it may be that another VM is just writing.
    let new = before.other_module(&[]);
    let all = [before.worker(), &new];
    pass(LONG, &all);
    bring(&new, before.revision(2));
    let of = |revision: &str| {
        let is = |name: &String| {
            let value = host.shared_data(name).unwrap();
            value.windows(revision.len()).any(|window| window == revision.as_bytes())
        };
        keys().filter(|name| name.contains("/configuration/")).find(is).unwrap()
    };
    let slot = of("revision-2");
    let (first, second) = (host.shared_data(of("revision-1")).unwrap(), host.shared_data(&slot).unwrap());
    let forged = String::from_utf8(second.clone()).unwrap().replace("revision-2", "revision-3");
    host.set_shared_data(&slot, &forged);
    before.judges(before.worker(), 1);
    pass(Duration::from_secs(2), &all);
    for bad in [forged.as_bytes(), &second[..second.len() - 1], b"", &first] {
        host.set_shared_data(&slot, bad);
        assert_eq!(before.judge(before.worker()), "policy-unavailable");
        before.judges(&new, 2);
    }
    host.set_shared_data(&slot, &second);
    before.judges(before.worker(), 2);

    // What was good before.
    bring(&new, before.revision(3));
    all.iter().for_each(|worker| before.judges(worker, 3));
    let third = host.shared_data(&newest).unwrap();
    host.set_shared_data(&newest, &good);
    for worker in all {
        assert_eq!(before.judge(worker), "policy-unavailable");
    }
    host.set_shared_data(&newest, &third);
    bring(&new, before.revision(4));
    all.iter().for_each(|worker| before.judges(worker, 4));
}

/// As many as there are updates: the host never forgets a key.
#[test]
fn keys_are_bounded() {
    let before = Before::start();
    let host = before.worker().host().clone();
    for revision in 2..40 {
        bring(before.worker(), before.revision(revision));
        before.judges(before.worker(), revision);
    }
    let keys = host.process().shared_keys(host.vm_id());
    let of = |kind: &str| keys.iter().filter(|name| String::from_utf8_lossy(name).contains(kind)).count();
    assert_eq!((of("/newest/"), of("/configuration/")), (1, 3));
}

/// The host brings a configuration before it has read the rest of the listener. Root contexts of one that it refuses go again at once.
#[test]
fn what_a_refused_listener_brought_is_put_back() {
    let before = Before::start();
    let [second, new] = [worker(before.worker().host()), before.other_module(&[])];
    let all = [before.worker(), &second, &new];
    pass(LONG, &all);
    // Before anybody has asked, and after; until it has gone from all VMs that it came to.
    for (n, heard) in [false, true, false, true].into_iter().enumerate() {
        let refused = before.revision(10 + n);
        let came = [before.worker(), &second].map(|worker| {
            let root = worker.reconfigure(refused.clone()).unwrap();
            (worker, root)
        });
        if heard {
            all.iter().for_each(|worker| before.judges(worker, 10 + n));
        }
        for (worker, root) in came {
            worker.retire(root).unwrap();
        }
        all.iter().for_each(|worker| before.judges(worker, 1));
    }
    // The same again, without what was wrong with the listener.
    before.worker().reconfigure(before.revision(11)).unwrap();
    all.iter().for_each(|worker| before.judges(worker, 11));
    // And what comes after a refused one.
    let refused = before.worker().reconfigure(before.revision(20)).unwrap();
    before.worker().retire(refused).unwrap();
    all.iter().for_each(|worker| before.judges(worker, 11));
    bring(&second, before.revision(21));
    all.iter().for_each(|worker| before.judges(worker, 21));
}

/// With a module of its own, whose VM is gone then.
#[test]
fn a_refused_listener_takes_its_vms_along() {
    let before = Before::start();
    pass(LONG, &[before.worker()]);
    for heard in [true, false] {
        let new = before.other_module(&[]);
        let first = new.root();
        let refused = new.reconfigure(before.revision(2)).unwrap();
        new.retire(first).unwrap();
        if heard {
            new.advance(SOON).unwrap();
            before.judges(before.worker(), 2);
        }
        new.retire(refused).unwrap();
        before.judges(before.worker(), 1);
    }
}

/// A listener that serves goes as well, later or in another VM.
#[test]
fn what_serves_is_not_put_back() {
    let before = Before::start();
    let new = before.other_module(&[]);
    pass(LONG, &[before.worker(), &new]);
    // Longer than it takes to refuse a listener.
    let root = before.worker().reconfigure(before.revision(2)).unwrap();
    pass(LONG + Duration::from_secs(1), &[before.worker(), &new]);
    before.worker().retire(root).unwrap();
    before.judges(&new, 2);
    // A request has met it.
    let root = before.worker().reconfigure(before.revision(3)).unwrap();
    assert_eq!(before.judge_on(before.worker(), root), "revision-3");
    before.worker().retire(root).unwrap();
    before.judges(&new, 3);
    // The same came elsewhere: the next module, under the same policy.
    let root = before.worker().reconfigure(before.revision(4)).unwrap();
    before.judges(&new, 4);
    let first = new.root();
    new.reconfigure(before.revision(4)).unwrap();
    new.retire(first).unwrap();
    before.worker().retire(root).unwrap();
    before.judges(&new, 4);
    before.judges(before.worker(), 4);
}

/// Not where another listener brought it before: the one refused had a new module, under the policy that is in force.
#[test]
fn what_was_in_force_before_a_refused_listener_is_not_put_back() {
    let before = Before::start();
    pass(LONG, &[before.worker()]);
    bring(before.worker(), before.revision(2));
    for time in [LONG * 2, SOON] {
        if time == SOON {
            bring(before.worker(), before.revision(3));
        }
        let revision = if time == SOON { 3 } else { 2 };
        before.judges(before.worker(), revision);
        pass(time, &[before.worker()]);
        let plugin = before.plugin().reconfigured(before.revision(revision));
        let new = worker(&before.0.another_module(&[], plugin).unwrap());
        new.advance(Duration::from_millis(200)).unwrap();
        new.retire(new.root()).unwrap();
        before.judges(before.worker(), revision);
    }
}

/// One that cannot be taken into use comes after it, and its listener has drained soon.
#[test]
fn what_was_accepted_is_not_put_back_for_what_came_after_it() {
    let before = Before::start();
    let new = before.other_module(&[]);
    pass(LONG, &[before.worker(), &new]);
    let second = before.worker().reconfigure(before.revision(2)).unwrap();
    let mut document: Value = serde_json::from_str(&before.revision(3)).unwrap();
    document["gateway"]["id"] = "another-gateway".into();
    let id = before.worker().reconfigure(document.to_string());
    assert!(id.is_ok());
    pass(Duration::from_secs(2), &[before.worker(), &new]);
    before.judges(&new, 2);
    before.worker().retire(second).unwrap();
    before.judges(&new, 2);
    before.judges(before.worker(), 2);
}

/// No room in the log for the record of it, until after what came later to another module.
#[test]
fn what_could_not_be_taken_at_once_is_as_old_as_it_is() {
    let before = Before::start();
    let second = worker(before.worker().host());
    let new = before.other_module(&[]);
    let (full, all) = (before.worker(), [before.worker(), &second, &new]);
    pass(LONG, &all);
    before.0.collector_is_up(false);
    let has_no_room = || full.host().log().iter().any(|entry| entry.message.contains("configuration not in use"));
    let mut revision = 1;
    while !has_no_room() {
        revision += 1;
        assert!(revision < 2_000);
        bring(full, before.revision(revision));
    }
    bring(&second, before.revision(revision));
    before.judges(&second, revision);
    bring(&new, before.revision(revision + 1));
    before.judges(&second, revision + 1);
    before.0.collector_is_up(true);
    pass(LONG * 2, &all);
    all.iter().for_each(|worker| before.judges(worker, revision + 1));
}

/// A process that ends soon after an update does so one worker after the other.
#[test]
fn the_end_of_a_worker_puts_nothing_back() {
    let before = Before::start();
    let second = worker(before.worker().host());
    pass(LONG, &[before.worker(), &second]);
    for worker in [before.worker(), &second] {
        worker.reconfigure(before.revision(2)).unwrap();
    }
    second.shut_down().unwrap();
    before.judges(before.worker(), 2);
}
