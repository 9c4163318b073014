//! Worker VMs in threads, a clock that moves when it is told to, and shared data that others write to.

use crate::agent::{get, prepare};
use exeat_e2e::scenario::harness::{Harness, UPSTREAM_PORT, answer_of, guarded_worker};
use exeat_e2e::scenario::wire::WireRequest;
use exeat_host_test::Worker;
use std::collections::BTreeMap;
use std::sync::Barrier;
use std::time::Duration;

fn send(worker: &Worker, request: &WireRequest) -> (u16, String) {
    answer_of(worker, request).unwrap()
}

/// Each request by one of the workers, all of them at full speed. How many got which answer.
fn race(harness: &Harness, workers: usize, requests: &[WireRequest]) -> BTreeMap<(u16, String), usize> {
    let workers: Vec<Worker> = (0..workers).map(|_| guarded_worker(harness.worker().host()).unwrap()).collect();
    let (start, count) = (Barrier::new(workers.len()), workers.len());
    let answers: Vec<(u16, String)> = std::thread::scope(|scope| {
        let send_all = |(own, worker): (usize, _)| {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                let own = requests.iter().skip(own).step_by(count);
                own.map(|request| send(worker, request)).collect::<Vec<_>>()
            })
        };
        let threads: Vec<_> = workers.iter().enumerate().map(send_all).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let mut tally = BTreeMap::new();
    answers.into_iter().for_each(|answer| *tally.entry(answer).or_default() += 1);
    tally
}

fn told(passed: usize, refused: usize) -> BTreeMap<(u16, String), usize> {
    BTreeMap::from([((200, String::new()), passed), ((429, "budget-requests".to_owned()), refused)])
}

#[test]
fn four_workers_on_one_account_are_exact_and_none_is_starved() {
    let harness = Harness::start_with(prepare(UPSTREAM_PORT)).unwrap();
    let requests: Vec<_> = (0..400).map(|n| get(&harness, "crm.example", &format!("/requests/{n}"), "s-1")).collect();
    assert_eq!(race(&harness, 4, &requests), told(100, 300));
    // Four accounts in up to three values, all of which change with each request.
    let requests: Vec<_> =
        (0..400).map(|n| get(&harness, "crm.example", &format!("/all/{n}"), &format!("s-{}", n % 3))).collect();
    assert_eq!(race(&harness, 4, &requests), told(150, 250));
}

#[test]
fn a_window_ends_and_a_session_without_one_does_not() {
    let harness = Harness::start_with(prepare(UPSTREAM_PORT)).unwrap();
    let worker = harness.worker();
    let press = |path: &str, times: usize| {
        let mut passed = 0;
        for n in 0..times {
            let answer = send(worker, &get(&harness, "crm.example", &format!("{path}/{n}"), "s-1"));
            assert!(answer.0 == 200 || answer == (429, "budget-requests".to_owned()), "{answer:?}");
            passed += usize::from(answer.0 == 200);
        }
        passed
    };
    // Thirty of the first rule, and forty in an hour, sixty in all, of the second.
    assert_eq!(press("/line", 80), 70);
    worker.advance(Duration::from_secs(3_599)).unwrap();
    assert_eq!(press("/line", 10), 0);
    worker.advance(Duration::from_secs(2)).unwrap();
    assert_eq!(press("/line", 30), 20);
    worker.advance(Duration::from_secs(3_600)).unwrap();
    assert_eq!(press("/line", 10), 0);
}

#[test]
fn what_another_plugin_wrote_is_refused() {
    let harness = Harness::start_with(prepare(UPSTREAM_PORT)).unwrap();
    let (worker, host) = (harness.worker(), harness.worker().host());
    let both = || send(worker, &get(&harness, "crm.example", "/both/1", "s-1"));
    assert_eq!(both().0, 200);
    let shared = || {
        let keys = host.process().shared_keys(host.vm_id()).into_iter();
        let of_budgets = keys
            .map(|key| String::from_utf8(key).unwrap())
            .filter(|key| key.contains("/budgets/") || key.contains("/change/"));
        of_budgets.map(|key| (key.clone(), host.shared_data(key.as_bytes()).unwrap())).collect::<BTreeMap<_, _>>()
    };
    let before = shared();
    // Session, tenant, and the change of this worker.
    assert_eq!(before.len(), 3, "{:?}", before.keys());
    let refused = (503, "internal-error".to_owned());
    for (name, good) in before.iter().filter(|(name, _)| name.contains("/budgets/")) {
        let mut turned = good.clone();
        *turned.last_mut().unwrap() ^= 1;
        for forged in [turned, Vec::new(), vec![0; 40], good[..good.len() - 1].to_vec()] {
            host.set_shared_data(name, &forged);
            assert_eq!(both(), refused, "{name}");
        }
        host.set_shared_data(name, good);
    }
    assert_eq!(shared(), before, "a refusal changes nothing");
    assert_eq!(both().0, 200);
}
