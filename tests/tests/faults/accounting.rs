//! Under `async` and `deny`: what reached the upstream is held against what is stored, after every fault and every end.

use crate::scene::{LIMIT, Scene, count, of};
use exeat_e2e::scenario::gateway::GATEWAY;
use exeat_e2e::stage::client::Response;
use exeat_e2e::stage::front::Manner;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Short waits, so that a fault meets several attempts.
const SHORT: (&str, &str) = ("timeout: 2s", "timeout: 200ms");

/// Waits until the front has seen so many requests more.
fn wait_for_attempts(scene: &Scene, more: u64) {
    let before = scene.front.requests();
    let grown = || (scene.front.requests() >= before + more).then_some(());
    scene.real.envoy.process().wait_until("attempts at delivery", LIMIT, grown).unwrap();
}

/// Sends on some connections until told, while `meanwhile` goes on; all answers.
fn under_traffic(scene: &Scene, meanwhile: impl FnOnce()) -> Vec<Response> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sender = || {
            let mut answers = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                answers.extend(scene.send());
                std::thread::sleep(Duration::from_millis(10));
            }
            answers
        };
        let senders: Vec<_> = (0..3).map(|_| scope.spawn(sender)).collect();
        meanwhile();
        stop.store(true, Ordering::SeqCst);
        senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect()
    })
}

fn ids(records: &[Value], kind: &str, member: &str) -> Vec<String> {
    of(records, kind).into_iter().map(|record| record[member].as_str().unwrap().to_owned()).collect()
}

fn each_once(list: &[String]) -> BTreeSet<&String> {
    let set: BTreeSet<&String> = list.iter().collect();
    assert_eq!(set.len(), list.len(), "something is stored twice");
    set
}

fn faults_lose_nothing(workers: u32) {
    let mut scene = Scene::start(&[SHORT], workers);
    let listener = scene.real.rendered_listener().unwrap();
    let mut answers = under_traffic(&scene, || {
        let faults = [
            Manner::Fail,
            Manner::LoseAnswer,
            Manner::Close,
            Manner::BreakOff,
            Manner::Lie,
            Manner::Slow(Duration::from_millis(400)),
        ];
        for (round, manner) in faults.into_iter().enumerate() {
            scene.front.set(manner);
            wait_for_attempts(&scene, 2);
            if round == 4 {
                scene.real.envoy.update_listeners(&listener.replace("revision-1", "revision-2")).unwrap();
            }
            scene.front.set(Manner::Pass);
            wait_for_attempts(&scene, 1);
        }
    });
    let _ = scene.real.collector().kill().unwrap();
    answers.extend(under_traffic(&scene, || wait_for_attempts(&scene, 2)));
    scene.real.restart_collector().unwrap();
    answers.extend(under_traffic(&scene, || wait_for_attempts(&scene, 2)));
    // A dead collector stops nobody while there is room in the queue.
    assert_eq!(count(&answers, 200), answers.len());
    let records = scene.settled(&answers);
    let (decisions, completions) = (ids(&records, "decision", "id"), ids(&records, "completion", "decision"));
    assert_eq!(each_once(&decisions), each_once(&completions));
    let answered: BTreeSet<String> =
        answers.iter().map(|answer| answer.header("exeat-decision").unwrap().to_owned()).collect();
    assert!(decisions.iter().all(|id| answered.contains(id)), "a decision that nobody asked for");
    // Path by path, for the gateway's word is not enough.
    let mut recorded: BTreeMap<String, usize> = BTreeMap::new();
    for decision in of(&records, "decision") {
        *recorded.entry(decision["destination"]["path"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!(recorded, scene.reached());
    assert!(scene.real.verify_settled(LIMIT).unwrap().starts_with("ok: "));
}

#[test]
fn two_workers_lose_nothing_whatever_the_collector_does() {
    faults_lose_nothing(2);
}

#[test]
fn four_workers_lose_nothing_whatever_the_collector_does() {
    faults_lose_nothing(4);
}

#[test]
fn a_kill_loses_what_was_not_sent_and_the_next_boot_knows() {
    let mut scene = Scene::start(&[], 2);
    let delivered = scene.send_at_once(8);
    let before = ids(&scene.settled(&delivered), "decision", "id");
    // The logs of all workers, with their genesis.
    scene.real.verify_settled(LIMIT).unwrap();
    scene.front.set(Manner::Hang);
    assert_eq!(count(&scene.send_at_once(8), 200), 8);
    assert_eq!(scene.reached().len(), 16);
    assert!(!scene.real.envoy.process().kill().unwrap().success());
    scene.front.set(Manner::Close);
    // A batch that was held is not passed on any more.
    scene.real.restart_envoy().unwrap();
    scene.front.set(Manner::Pass);
    let after = scene.send_at_once(4);
    let records = scene.settled(&after);
    let kept: BTreeSet<String> = ids(&records, "decision", "id").into_iter().collect();
    assert!(before.iter().all(|id| kept.contains(id)), "what was acknowledged is gone");
    let lost = 20 - kept.len();
    assert!((1..=8).contains(&lost), "{lost} decisions are lost");
    // Findings or not: another worker may have known more of a log than was stored.
    let said = scene.real.verify().unwrap_or_else(|error| error.to_string());
    assert!(said.contains("ended uncleanly"), "{said}");
}

fn boots(records: &[Value]) -> BTreeSet<String> {
    let origins = ids(records, "genesis", "origin");
    origins.iter().map(|origin| origin.split('/').nth(1).unwrap().to_owned()).collect()
}

/// What the logs of a boot say of the one before.
fn previous<'a>(records: &'a [Value], boot: &str) -> Vec<&'a Value> {
    let own = format!("{GATEWAY}/{boot}/");
    let of_boot =
        of(records, "genesis").into_iter().filter(|record| record["origin"].as_str().unwrap().starts_with(&own));
    of_boot.filter_map(|record| record.get("previous")).collect()
}

#[test]
fn a_boot_that_is_taken_out_of_the_store_is_missed() {
    let mut scene = Scene::start(&[], 2);
    let first = scene.settled(&scene.send_at_once(4));
    let first_boot = boots(&first).into_iter().next().unwrap();
    assert!(scene.real.envoy.process().stop(LIMIT).unwrap().success());
    scene.real.restart_envoy().unwrap();
    let records = scene.settled(&scene.send_at_once(4));
    let second_boot = boots(&records).into_iter().find(|boot| *boot != first_boot).unwrap();
    // The main thread's VM at least has no requests that would make it begin sooner.
    let said = previous(&records, &second_boot);
    assert!(said.iter().any(|previous| previous["boot"] == first_boot.as_str()), "{said:?}");
    scene.real.verify_settled(LIMIT).unwrap();
    let copy = scene.real.gateway_file("taken-out.db");
    let store = rusqlite::Connection::open(scene.real.database()).unwrap();
    store.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    let store = rusqlite::Connection::open(&copy).unwrap();
    for table in ["openings", "leaves", "checkpoints"] {
        let sql = format!("DELETE FROM {table} WHERE log IN (SELECT id FROM logs WHERE boot = ?1)");
        store.execute(&sql, [&first_boot]).unwrap();
    }
    store.execute("DELETE FROM logs WHERE boot = ?1", [&first_boot]).unwrap();
    drop(store);
    let found = scene.real.verify_store(&copy).unwrap_err().to_string();
    assert!(found.contains(&format!("{GATEWAY}/{first_boot}/")) && found.contains("the next boot's log"), "{found}");
    assert!(found.contains("but 0 are stored"), "{found}");
}

#[test]
fn a_boot_that_began_without_a_collector_still_says_what_came_before() {
    let mut scene = Scene::start(&[], 1);
    let first = scene.settled(&scene.send_at_once(2));
    let first_boot = boots(&first).into_iter().next().unwrap();
    assert!(scene.real.envoy.process().stop(LIMIT).unwrap().success());
    scene.front.set(Manner::Fail);
    scene.real.restart_envoy().unwrap();
    let answers = scene.send_at_once(2);
    scene.settled(&answers);
    let said = |records: &[Value]| {
        of(records, "previous").iter().any(|record| record["previous"]["boot"] == first_boot.as_str())
    };
    let records = scene.real.wait_for_records_within(LIMIT, "what came before", said).unwrap();
    let second_boot = boots(&records).into_iter().find(|boot| *boot != first_boot).unwrap();
    assert!(previous(&records, &second_boot).is_empty());
    assert!(scene.real.verify_settled(LIMIT).unwrap().starts_with("ok: "));
}
