//! The journal and a model collector, with anything that can happen between them in any order.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Allow,
    Deny,
    Complete(prop::sample::Index),
    Send { lines: usize, bytes: usize },
    Acknowledge,
    Lose,
    LoseAnswer,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Allow),
        2 => Just(Step::Deny),
        3 => any::<prop::sample::Index>().prop_map(Step::Complete),
        4 => (0..6_usize, 0..3_000_usize).prop_map(|(lines, bytes)| Step::Send { lines, bytes }),
        3 => Just(Step::Acknowledge),
        1 => Just(Step::Lose),
        1 => Just(Step::LoseAnswer),
        2 => (0..40_000_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn every_record_arrives_exactly_once_whatever_happens_on_the_way(
        steps in prop::collection::vec(step(), 0..150),
        records in 4..60_u64,
        left: bool,
    ) {
        let mut journal = journal(Capacity { records, bytes: 1 << 20 });
        let mut collector = Collector::default();
        let (mut now, mut n) = (Timestamp(1_000), 0);
        let mut open: Vec<u64> = Vec::new();
        let mut expected = vec!["genesis".to_owned()];
        let mut on_the_way: Option<Batch> = None;
        for step in steps {
            match step {
                Step::Allow => {
                    n += 1;
                    if journal.append_decision(&allowed(n), vec![], &CLEAR).is_ok() {
                        expected.push(format!("decision {n:032x}"));
                        open.push(n);
                    }
                }
                Step::Deny => {
                    n += 1;
                    if let Appended::Leaf(_) = journal.append_decision(&unverified(n), vec![], &CLEAR).unwrap() {
                        expected.push(format!("decision {n:032x}"));
                    }
                }
                Step::Complete(which) if !open.is_empty() => {
                    let done = open.swap_remove(which.index(open.len()));
                    // INVARIANT under test: a completion is never refused.
                    journal.append_completion(&completion(done)).unwrap();
                    expected.push(format!("completion {done:032x}"));
                }
                Step::Complete(_) => {}
                Step::Send { lines, bytes } => {
                    if let Some(batch) = journal.next_batch(now, lines, bytes, &[]) {
                        prop_assert!(on_the_way.is_none());
                        on_the_way = Some(batch);
                    }
                }
                Step::Acknowledge => {
                    if let Some(batch) = on_the_way.take() {
                        let head = collector.take(batch.bytes());
                        journal.acknowledged(&head).unwrap();
                    }
                }
                Step::Lose => {
                    if on_the_way.take().is_some() {
                        journal.failed(now, n);
                    }
                }
                Step::LoseAnswer => {
                    if let Some(batch) = on_the_way.take() {
                        collector.take(batch.bytes());
                        journal.failed(now, n);
                    }
                }
                Step::Wait(millis) => now = now.plus_millis(millis),
            }
            let stats = journal.stats(now);
            prop_assert!(stats.queued_records <= records + 64);
            prop_assert_eq!(stats.open, open.len() as u64);
            prop_assert!(stats.sealed_batches <= 256);
        }
        // Somebody else delivers all of it, and the writer all the same.
        if left {
            let rest = journal.rest(now, (3, 2_000), &[]);
            rest.iter().for_each(|batch| _ = collector.take(batch.bytes()));
            prop_assert_eq!(collector.leaves.len() as u64, journal.head().size);
        }
        if let Some(batch) = on_the_way.take() {
            let head = collector.take(batch.bytes());
            journal.acknowledged(&head).unwrap();
        }
        now = now.plus_millis(60_000);
        collector.drain(&mut journal, now);
        prop_assert!(journal.is_drained());
        prop_assert_eq!(journal.stats(now).queued_records, 0);
        prop_assert_eq!(journal.stats(now).queued_bytes, 0);
        let hashes: Vec<Hash> = collector.leaves.iter().map(|line| Hash::of_leaf(line.as_bytes())).collect();
        prop_assert_eq!(proof::root(&hashes), journal.head().root);
        let (mut arrived, mut folded) = (Vec::new(), 0);
        for line in &collector.leaves {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            match record["kind"].as_str().unwrap() {
                "decision" => arrived.push(format!("decision {}", record["id"].as_str().unwrap())),
                "completion" => arrived.push(format!("completion {}", record["decision"].as_str().unwrap())),
                "summary" => {
                    folded += record["unverified"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum::<u64>();
                }
                kind => arrived.push(kind.to_owned()),
            }
        }
        prop_assert_eq!(arrived, expected);
        prop_assert_eq!(folded, journal.stats(now).folded);
        // What two deliver comes twice.
        prop_assert!(left || collector.checkpoints.windows(2).all(|pair| pair[0].time <= pair[1].time));
    }
}
