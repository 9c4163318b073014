//! A second evaluator of policies, naive on purpose, and the engine beside it.
//!
//! It reads the merged document as docs/policy.md says it: strings, lists and loops over everything, nothing compiled, and no
//! code of the engine. Where the two differ, one of them does not do what the page says.

#![cfg(test)]

mod ask;
mod dense;
mod engine;
mod evaluate;
mod fit;
mod sizes;

use evaluate::decide;
use exeat_cli::policy::generate::{Shape, generate};
use exeat_cli::policy::load::load;
use exeat_engine::policy::Configuration;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A policy in both forms.
struct Both {
    document: Value,
    configuration: Configuration,
}

impl Both {
    fn generated(shape: Shape) -> Self {
        let folder = tempfile::tempdir().unwrap();
        generate(shape).write(folder.path()).unwrap();
        let loaded = load(&folder.path().join("policy"), Some(&folder.path().join("gateway.yaml")));
        let loaded = loaded.unwrap_or_else(|errors| panic!("{errors:?}"));
        Self::of(serde_json::to_value(loaded.whole()).unwrap())
    }

    fn of(document: Value) -> Self {
        let text = serde_json::to_vec(&document).unwrap();
        let configuration = Configuration::accept(&text).unwrap_or_else(|error| panic!("{error}\n{document:#}"));
        Self { document, configuration }
    }

    /// Sends so many requests to both. How often each reason came, or the first request on which the two differ.
    fn compare(&self, seed: u64, requests: usize) -> Result<BTreeMap<String, usize>, String> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut reasons = BTreeMap::new();
        let asker = ask::Asker::new(&self.document);
        for number in 0..requests {
            let ask = asker.ask(&mut random);
            let naive = decide(&self.document, &ask);
            let engine = engine::decide(&self.configuration, &ask);
            if naive != engine {
                return Err(format!(
                    "request {number} of seed {seed}:\n{}\nnaive  {naive:?}\nengine {engine:?}",
                    ask.describe()
                ));
            }
            *reasons.entry(format!("{} {}", naive.outcome, naive.reason)).or_insert(0) += 1;
        }
        Ok(reasons)
    }
}

/// So many requests in two halves at once.
fn compare_all(both: &Both, requests: usize) -> BTreeMap<String, usize> {
    let halves = std::thread::scope(|scope| {
        let half = |seed| scope.spawn(move || both.compare(seed, requests.div_ceil(2)));
        let (first, second) = (half(1), half(2));
        [first.join().unwrap(), second.join().unwrap()]
    });
    let mut all = BTreeMap::new();
    for half in halves {
        for (reason, count) in half.unwrap_or_else(|difference| panic!("{difference}")) {
            *all.entry(reason).or_insert(0) += count;
        }
    }
    all
}

#[test]
fn agree_on_three_hundred_agents_with_two_thousand_rules() {
    let both = Both::generated(Shape::FORTY_TEAMS);
    let text = serde_json::to_vec(&both.document).unwrap();
    // The best of three: other work on the machine is not what is measured.
    let compile = || {
        let start = Instant::now();
        Configuration::accept(&text).unwrap();
        start.elapsed()
    };
    let compiled = (0..3).map(|_| compile()).min().unwrap();
    assert!(compiled < Duration::from_secs(1), "compiled in {compiled:?}");
    let start = Instant::now();
    let reasons = compare_all(&both, 100_000);
    eprintln!("compiled in {compiled:?}; 100,000 requests in {:?}: {reasons:#?}", start.elapsed());
    for reason in [
        "allow permitted",
        "deny destination-unlisted",
        "deny rule-denied",
        "deny tenant-denied",
        "deny scope-denied",
        "deny delegation-denied",
        "deny binding-denied",
        "deny method-denied",
        "deny path-denied",
        "deny condition-denied",
        "deny class-denied",
        "deny payload-too-large",
        "deny payload-provenance",
        "deny grant-denied",
        "deny agent-unknown",
        "would-deny path-denied",
        "would-deny condition-denied",
    ] {
        // Agreement on what never happens would show nothing.
        assert!(reasons.get(reason).is_some_and(|count| *count >= 20), "{reason}: {reasons:#?}");
    }
}

/// Small policies in which everything has to do with everything else, monitor modes and all.
#[test]
fn agree_on_dense_policies() {
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for seed in 0..400 {
        let both = Both::of(dense::policy(&mut fastrand::Rng::with_seed(seed)));
        match both.compare(seed, 50) {
            Ok(more) => more.into_iter().for_each(|(reason, count)| *reasons.entry(reason).or_default() += count),
            Err(difference) => panic!("policy of seed {seed}: {difference}\n{:#}", both.document["policy"]),
        }
    }
    eprintln!("{reasons:#?}");
    for reason in
        ["allow permitted", "would-deny rule-denied", "would-deny payload-provenance", "deny credential-denied"]
    {
        assert!(reasons.get(reason).is_some_and(|count| *count >= 5), "{reason}: {reasons:#?}");
    }
}

/// An evaluator that agrees with everything would show nothing either.
#[test]
fn differences_are_found() {
    let mut both = Both::generated(Shape { teams: 4, agents: 12, rules: 60, seed: 5 });
    both.compare(3, 2_000).unwrap();
    let agents = both.document["policy"]["agents"].as_object_mut().unwrap();
    for agent in agents.values_mut() {
        agent["allow"].as_array_mut().unwrap().truncate(1);
    }
    assert!(both.compare(3, 2_000).is_err());
}
