//! Thousands of requests that were good before they were changed, against the real Envoy.
//!
//! The policy allows nearly everything, so that nothing but the signature decides. Whatever is sent: what arrives is what
//! was signed, once; no VM dies; every decision is in the evidence. `EXEAT_SEED` repeats a run, `EXEAT_MUTATIONS` sets how
//! many are changed at random.

#![cfg(test)]

mod mutate;
mod oracle;
mod original;
mod traffic;
mod trap;

use exeat_e2e::scenario::real::RealEnvoy;
use exeat_e2e::scenario::subject::Subject;
use exeat_e2e::stage::client::Connection;
use exeat_e2e::stage::process::Signal;
use fastrand::Rng;
use oracle::{AccessLog, Evidence};
use original::{Maker, Original};
use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};
use traffic::{Job, Outcome, Sender, jobs, shape};

const WORKERS: u32 = 2;
const SENDERS: usize = 4;
const RANDOM: usize = 4600;

/// Deliveries that failed are tried again later and later.
const LIMIT: Duration = Duration::from_secs(180);

#[test]
fn nothing_but_what_was_signed_gets_through() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("EXEAT_SEED").unwrap_or(20_261_120);
    let random = number("EXEAT_MUTATIONS").map_or(RANDOM, |count| usize::try_from(count).unwrap());
    let real = RealEnvoy::start("mutations", WORKERS).unwrap();
    let mut senders = senders(&real, seed);

    let mut all = jobs(random, &senders[0].maker.make(&mut shape()));
    Rng::with_seed(seed).shuffle(&mut all);
    let third = all.len().div_ceil(3);
    let mut outcome = Outcome::default();
    for (part, jobs) in all.chunks(third).enumerate() {
        // In the second part the collector hangs: denials must be counted, and nothing may get lost.
        let hangs = part == 1;
        if hangs {
            real.collector().signal(Signal::STOP).unwrap();
        }
        send(&mut senders, jobs, hangs, &mut outcome);
        if hangs {
            real.collector().signal(Signal::CONT).unwrap();
        }
    }
    println!("seed {seed}: {} mutated requests, {} followed: {:#?}", outcome.sent, outcome.followed, outcome.answers);
    assert!(outcome.wrong.is_empty(), "seed {seed}:\n{}", outcome.wrong.join("\n"));

    let (log, evidence) = account_for(&real, seed);
    every_worker_still_serves(&real, &mut senders[0], &mut outcome);
    assert_eq!(trap::failures(&real.envoy), Vec::<String>::new(), "seed {seed}");
    assert_eq!(log.failures, Vec::<String>::new(), "seed {seed}");

    let arrived = real.upstream.requests();
    let mut wrong = oracle::check_arrived(&arrived, &outcome.originals);
    wrong.extend(oracle::check_wire(&real.upstream));
    assert!(wrong.is_empty(), "seed {seed}:\n{}", wrong.join("\n"));
    println!("{} arrived; {}", arrived.len(), real.verify().unwrap());
    if random >= RANDOM {
        is_no_empty_test(&outcome, &evidence);
    }
}

fn senders(real: &RealEnvoy, seed: u64) -> Vec<Sender<'_>> {
    let make = |number: usize| Sender {
        maker: Maker { gateway: real.gateway(), port: real.upstream_port(), number, made: 0 },
        listener: real.listener,
        rng: Rng::with_seed(seed.wrapping_add(1 + number as u64)),
        connection: None,
        crowded: false,
    };
    (0..SENDERS).map(make).collect()
}

fn send(senders: &mut [Sender<'_>], jobs: &[Job], crowded: bool, outcome: &mut Outcome) {
    let share = jobs.len().div_ceil(senders.len());
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let running = senders.iter_mut().zip(jobs.chunks(share)).map(|(sender, jobs)| {
            // What did not fit is refused for a while after the collector is back.
            sender.crowded |= crowded;
            scope.spawn(move || sender.run(jobs))
        });
        let running: Vec<_> = running.collect();
        running.into_iter().map(|sender| sender.join().unwrap()).collect()
    });
    outcomes.into_iter().for_each(|one| outcome.add(one));
}

/// Waits until the evidence accounts for every decision that Envoy's access log names.
fn account_for(real: &RealEnvoy, seed: u64) -> (AccessLog, Evidence) {
    let start = Instant::now();
    loop {
        let log = AccessLog::read(&real.gateway().file("access.log"));
        let evidence = Evidence::of(&real.all_records().unwrap());
        if !log.decisions.is_empty() && evidence.accounts_for(&log) {
            let wrong = evidence.check(&log);
            assert!(wrong.is_empty(), "seed {seed}:\n{}", wrong.join("\n"));
            println!("{} recorded, {} counted", evidence.recorded.len(), evidence.counted);
            return (log, evidence);
        }
        let stands = format!(
            "{} recorded and {} counted of {} decided; {} completed of {} released",
            evidence.recorded.len(),
            evidence.counted,
            log.decisions.len(),
            evidence.completed.len(),
            evidence.released.len()
        );
        assert!(start.elapsed() < LIMIT, "seed {seed}: {stands}; the collector said: {}", real.collector().log_tail());
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// Good requests on new connections until each worker has decided one.
fn every_worker_still_serves(real: &RealEnvoy, sender: &mut Sender<'_>, outcome: &mut Outcome) {
    let mut rng = Rng::with_seed(0);
    let mut served = HashSet::new();
    for _ in 0..200 {
        let good: Vec<Original> = (0..8).map(|_| sender.maker.make(&mut rng)).collect();
        for original in &good {
            let mut connection = Connection::open(real.listener).unwrap();
            connection.write(&original.wire.bytes()).unwrap();
            let answer = connection.read_response(&original.wire.method).unwrap();
            assert_eq!(answer.status, 200, "{}: {}", original.target, answer.text());
            let decision = answer.header("exeat-decision").unwrap().to_owned();
            outcome.originals.insert(original.target.clone(), original.clone());
            let decided =
                |record: &serde_json::Value| record["kind"] == "decision" && record["id"] == decision.as_str();
            real.wait_for_records("a good request", |records| records.iter().any(decided)).unwrap();
            served.insert(log_of(real, &decision));
        }
        if served.len() >= WORKERS as usize {
            return;
        }
    }
    panic!("only {served:?} decided anything");
}

/// The log, and so the worker, that decided this.
fn log_of(real: &RealEnvoy, decision: &str) -> i64 {
    let store = rusqlite::Connection::open(real.database()).unwrap();
    let pattern = format!("%\"id\":\"{decision}\"%");
    let query = "SELECT log FROM leaves WHERE CAST(line AS TEXT) LIKE ?1";
    store.query_row(query, [pattern], |row| row.get(0)).unwrap()
}

/// The run met what it is about.
fn is_no_empty_test(outcome: &Outcome, evidence: &Evidence) {
    let count = |told: &str| outcome.answers.get(told).copied().unwrap_or(0);
    let sum = |prefix: &str| -> usize {
        let matching: BTreeMap<_, _> = outcome.answers.iter().filter(|(told, _)| told.starts_with(prefix)).collect();
        matching.values().copied().sum()
    };
    assert!(outcome.sent >= 5000, "{}", outcome.sent);
    assert!(evidence.counted > 0, "no denial was counted although the collector hung");
    for (what, met) in [
        ("refused by Envoy", sum("Envoy 4")),
        ("harmless changes", count("200")),
        ("malformed contexts", count("context-malformed")),
        ("changed signatures", count("signature-invalid")),
        ("cut signatures", count("signature-missing")),
        ("cut covers", count("signature-incomplete")),
        ("changed bodies", count("digest-mismatch")),
        ("bytes that are not UTF-8", count("request-malformed")),
        ("followed by what was signed", outcome.followed),
    ] {
        assert!(met > 10, "{what}: {met}");
    }
}
