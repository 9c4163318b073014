//! The promises of the queue, one by one, and the model collector they are tried with.

mod delivery;

use super::*;
use crate::decision::Reason;
use crate::evidence::batch::{BatchLimits, ParsedBatch};
use crate::evidence::commitment::Commitment;
use crate::evidence::key::CheckpointKey;
use crate::evidence::lifecycle::ModuleReference;
use crate::evidence::merkle::proof;
use crate::evidence::record::{Binding, DestinationReference, Ending, Outcome, PayloadReference, Released as Let};
use crate::policy::{Delivery, Mode, WhenFull};
use std::collections::BTreeMap;
use std::sync::LazyLock;

static CLEAR: LazyLock<ValueMask> = LazyLock::new(ValueMask::default);

fn key() -> GatewayKey {
    GatewayKey::from_seed([3; 32])
}

fn journal(capacity: Capacity) -> Journal {
    let genesis = GenesisRecord {
        origin: Origin::new("egress-eu-1", "b1", "w0").unwrap(),
        time: Timestamp(1_000),
        start: Timestamp(900),
        environment: None,
        deployment: None,
        module: ModuleReference::default(),
        previous: None,
    };
    Journal::new(&genesis, key(), capacity).unwrap()
}

const ROOMY: Capacity = Capacity { records: 4096, bytes: 16 << 20 };

fn decision(n: u64, outcome: Outcome, binding: Option<Binding>) -> DecisionRecord {
    DecisionRecord {
        id: format!("{n:032x}"),
        time: Timestamp(1_000 + n),
        created: None,
        gateway: "egress-eu-1".into(),
        environment: None,
        deployment: None,
        policy: None,
        mode: Mode::Enforce,
        outcome,
        reason: if outcome == Outcome::Allow { Reason::Permitted } else { Reason::SignatureInvalid },
        rule: None,
        exception: None,
        condition: None,
        follows: None,
        released: if outcome == Outcome::Deny { Let::None } else { Let::HeadAndBody },
        binding,
        signer: None,
        key: None,
        peer: None,
        source: None,
        agent: Some("support/summarizer".into()),
        session: Some("s-8f2c\u{1b}[2J\n\n".into()),
        tenant: None,
        user: None,
        roles: vec![],
        region: None,
        delegated_by: vec![],
        scope: None,
        tool: None,
        session_type: None,
        data_class: None,
        provenance: vec![],
        stated_reason: None,
        attributes: BTreeMap::new(),
        destination: DestinationReference::default(),
        parameters: vec![],
        payload: PayloadReference::default(),
        first_seen: None,
        quarantined_until: None,
        request_id: None,
        traceparent: None,
        signature_base: None,
    }
}

fn allowed(n: u64) -> DecisionRecord {
    decision(n, Outcome::Allow, Some(Binding::Request))
}

fn unverified(n: u64) -> DecisionRecord {
    decision(n, Outcome::Deny, None)
}

fn completion(n: u64) -> CompletionRecord {
    CompletionRecord {
        decision: format!("{n:032x}"),
        time: Timestamp(2_000 + n),
        received_bytes: 0,
        received_digest: None,
        forwarded_bytes: 0,
        forwarded_digest: None,
        attempts: Some(1),
        guard: None,
        upstream: None,
        status: Some(200),
        response_bytes: 0,
        duration: 5,
        ending: Ending::Complete,
    }
}

/// Takes batches as a collector must: signature, continuity, root; one copy of each leaf.
#[derive(Default)]
struct Collector {
    leaves: Vec<String>,
    openings: Vec<(u64, String)>,
    checkpoints: Vec<Checkpoint>,
}

impl Collector {
    fn take(&mut self, bytes: &[u8]) -> LogHead {
        let batch = ParsedBatch::parse(bytes, &BatchLimits::default()).unwrap();
        let keys = [CheckpointKey::new("egress-eu-1", key().public()).unwrap()];
        let checkpoint = batch.checkpoint.verify(&keys).unwrap().checkpoint().clone();
        let first = usize::try_from(batch.first).unwrap();
        assert!(first <= self.leaves.len(), "gap");
        let new = self.leaves.len() - first;
        for (stored, sent) in self.leaves[first..].iter().zip(&batch.records) {
            assert_eq!(stored, sent, "fork");
        }
        self.leaves.extend(batch.records.iter().skip(new).map(|line| (*line).to_owned()));
        let hashes: Vec<Hash> = self.leaves.iter().map(|line| Hash::of_leaf(line.as_bytes())).collect();
        let size = usize::try_from(checkpoint.head.size).unwrap();
        assert_eq!(proof::root(&hashes[..size]), checkpoint.head.root);
        for (opening, line) in &batch.openings {
            opening.verify(self.leaves[usize::try_from(opening.leaf).unwrap()].as_bytes()).unwrap();
            if !self.openings.contains(&(opening.leaf, (*line).to_owned())) {
                self.openings.push((opening.leaf, (*line).to_owned()));
            }
        }
        let head = checkpoint.head.clone();
        self.checkpoints.push(checkpoint);
        head
    }

    fn drain(&mut self, journal: &mut Journal, now: Timestamp) {
        while let Some(batch) = journal.next_batch(now, 100, 1 << 20, &[]) {
            let head = self.take(batch.bytes());
            journal.acknowledged(&head).unwrap();
        }
    }

    fn kinds(&self) -> Vec<String> {
        let kind = |line: &String| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["kind"].as_str().unwrap().to_owned()
        };
        self.leaves.iter().map(kind).collect()
    }
}

#[test]
fn a_log_begins_with_genesis_and_ends_with_closed() {
    let (mut journal, mut collector) = (journal(ROOMY), Collector::default());
    let user = Commitment::new("user", "u-1042", [5; 16]);
    let mut record = allowed(1);
    record.user = Some(user.text);
    assert_eq!(journal.append_decision(&record, vec![user.opening], &CLEAR), Ok(Appended::Leaf(1)));
    assert_eq!(journal.append_completion(&completion(1)), Ok(2));
    assert_eq!(journal.close(Timestamp(5_000), "shutdown"), Ok(3));
    assert_eq!(journal.append_completion(&completion(1)), Err(AppendError::Closed));
    assert_eq!(journal.append_decision(&allowed(2), vec![], &CLEAR), Err(AppendError::Closed));
    collector.drain(&mut journal, Timestamp(6_000));
    assert_eq!(collector.kinds(), ["genesis", "decision", "completion", "closed"]);
    assert_eq!(collector.openings.len(), 1);
    assert!(journal.is_drained() && !journal.heartbeat_due(Timestamp(1_000_000)));
    assert_eq!(journal.head().size, 4);
    assert_eq!(collector.checkpoints.last().unwrap().head, journal.head());
    assert_eq!(journal.acknowledged_size(), 4);
}

#[test]
fn one_checkpoint_every_thirty_seconds_also_while_the_collector_is_away() {
    let mut journal = journal(ROOMY);
    let other =
        LogHead { origin: Origin::new("egress-eu-1", "b1", "w1").unwrap(), size: 9, root: Hash::of_empty_tree() };
    let own = journal.head();
    let others = [own, other.clone(), other.clone()];
    let (mut sent, mut collector) = (0, Collector::default());
    for second in 1..=600 {
        let now = Timestamp(1_000 + second * 1_000);
        if journal.next_batch(now, 10, 10_000, &others).is_some() {
            sent += 1;
            journal.failed(now, 7);
        }
    }
    let stats = journal.stats(Timestamp(601_000));
    assert!(stats.retries == sent - 1 && sent > 20, "{stats:?}");
    assert_eq!((stats.sealed_batches, stats.queued_records, stats.oldest), (20, 1, 600_000));
    collector.drain(&mut journal, Timestamp(700_000));
    let times: Vec<u64> = collector.checkpoints.iter().map(|checkpoint| checkpoint.time.millis()).collect();
    assert!(times.windows(2).take(19).all(|pair| pair[1] - pair[0] == HEARTBEAT), "{times:?}");
    assert_eq!(collector.kinds(), ["genesis"]);
    assert_eq!(collector.checkpoints[0].others, [other]);
}

#[test]
fn backoff_doubles_to_half_a_minute_and_part_of_it_is_random() {
    let mut journal = journal(ROOMY);
    let mut now = Timestamp(1_000);
    for expected in [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
        assert!(journal.next_batch(now, 10, 1_000, &[]).is_some());
        assert!(journal.next_batch(now, 10, 1_000, &[]).is_none(), "one at a time");
        journal.failed(now, u64::MAX);
        let jitter = u64::MAX % (expected / 2);
        assert!(journal.next_batch(now.plus_millis(expected / 2 + jitter - 1), 10, 1_000, &[]).is_none());
        now = now.plus_millis(expected / 2 + jitter);
    }
}

#[test]
fn a_clock_that_goes_back_neither_silences_nor_reorders_the_log() {
    let mut journal = journal(ROOMY);
    let mut collector = Collector::default();
    collector.drain(&mut journal, Timestamp(9_000_000));
    let batch = journal.next_batch(Timestamp(9_030_000), 10, 1_000, &[]);
    assert!(batch.is_some());
    journal.failed(Timestamp(9_030_000), 0);
    for second in 0..100 {
        collector.drain(&mut journal, Timestamp(2_000 + second * 1_000));
    }
    let times: Vec<u64> = collector.checkpoints.iter().map(|checkpoint| checkpoint.time.millis()).collect();
    assert_eq!(times, [9_000_000, 9_030_000, 9_030_000, 9_030_000, 9_030_000, 9_030_000]);
}

#[test]
fn only_the_exact_acknowledgement_counts() {
    let mut journal = journal(ROOMY);
    let now = Timestamp(2_000);
    let head = journal.head();
    assert_eq!(journal.acknowledged(&head), Err(AcknowledgeError::NothingSent));
    let batch = journal.next_batch(now, 10, 1_000, &[]).unwrap();
    for wrong in [
        LogHead { size: 2, ..head.clone() },
        LogHead { root: Hash::of_empty_tree(), ..head.clone() },
        LogHead { origin: Origin::new("egress-eu-1", "b1", "w1").unwrap(), ..head.clone() },
    ] {
        assert_eq!(journal.acknowledged(&wrong), Err(AcknowledgeError::Mismatch));
    }
    journal.failed(now, 0);
    // The answer to a request that was given up still says that the batch is durable.
    assert_eq!(journal.acknowledged(batch.head()), Ok(()));
    assert!(journal.is_drained());
    assert_eq!(journal.acknowledged(batch.head()), Err(AcknowledgeError::NothingSent));
}

#[test]
fn whoever_was_let_go_has_room_for_a_completion() {
    let mut journal = journal(Capacity { records: 10, bytes: 1 << 20 });
    for n in 0..5 {
        assert_eq!(journal.append_decision(&allowed(n), vec![], &CLEAR), Ok(Appended::Leaf(1 + n)));
    }
    assert!(!journal.can_release());
    assert_eq!(journal.append_decision(&allowed(5), vec![], &CLEAR), Err(AppendError::Full));
    // Nor may a denial take the places that are kept.
    let denial = decision(6, Outcome::Deny, Some(Binding::Request));
    assert_eq!(journal.append_decision(&denial, vec![], &CLEAR), Ok(Appended::Folded));
    for n in 0..5 {
        assert_eq!(journal.append_completion(&completion(n)), Ok(6 + n));
        assert_eq!(journal.append_completion(&completion(n)), Err(AppendError::NoSuchDecision));
    }
    assert_eq!(journal.append_decision(&allowed(6), vec![], &CLEAR), Err(AppendError::Full));
    let mut collector = Collector::default();
    collector.drain(&mut journal, Timestamp(3_000));
    assert!(journal.can_release());
    assert_eq!(collector.kinds()[11..], ["summary"]);
    assert_eq!(
        collector.leaves[11],
        r#"{"kind":"summary","time":3000,"from":1006,"to":1006,"unverified":{},"verified":{"signature-invalid":1},"dropped":{}}"#
    );
}

#[test]
fn bytes_are_bounded_as_records_are() {
    let mut journal = journal(Capacity { records: 1_000, bytes: 4_000 });
    assert!(!journal.can_release(), "a decision of ordinary size would not fit");
    assert_eq!(journal.append_decision(&allowed(1), vec![], &CLEAR), Ok(Appended::Leaf(1)));
    assert_eq!(journal.append_decision(&allowed(2), vec![], &CLEAR), Ok(Appended::Leaf(2)));
    assert_eq!(journal.append_decision(&allowed(3), vec![], &CLEAR), Err(AppendError::Full));
    let mut long = allowed(4);
    long.agent = Some("a".repeat(MAX_LINE));
    assert_eq!(journal.append_decision(&long, vec![], &CLEAR), Err(AppendError::TooLong));
    long.outcome = Outcome::Deny;
    long.released = Let::None;
    assert_eq!(journal.append_decision(&long, vec![], &CLEAR), Ok(Appended::Folded));
}

#[test]
fn unverified_denials_take_a_quarter_and_all_denials_three() {
    let mut journal = journal(Capacity { records: 40, bytes: 1 << 20 });
    let (mut leaves, mut folded) = (0, 0);
    for n in 0..1_000 {
        match journal.append_decision(&unverified(n), vec![], &CLEAR).unwrap() {
            Appended::Leaf(_) => leaves += 1,
            Appended::Folded => folded += 1,
        }
    }
    assert_eq!((leaves, folded), (10, 990));
    let verified = |n| decision(n, Outcome::Deny, Some(Binding::Request));
    let kept =
        (1_000..2_000).filter(|n| journal.append_decision(&verified(*n), vec![], &CLEAR).unwrap() != Appended::Folded);
    assert_eq!(kept.count(), 20);
    assert!(journal.can_release());
    let mut collector = Collector::default();
    collector.drain(&mut journal, Timestamp(9_000));
    assert_eq!(collector.leaves.len(), 32);
    assert_eq!(
        collector.leaves[31],
        concat!(
            r#"{"kind":"summary","time":9000,"from":1010,"to":2999,"unverified":{"signature-invalid":990},"#,
            r#""verified":{"signature-invalid":980},"dropped":{}}"#
        )
    );
    assert_eq!(journal.stats(Timestamp(9_000)).folded, 1_970);
    assert_eq!(journal.append_decision(&unverified(5_000), vec![], &CLEAR), Ok(Appended::Leaf(32)), "room again");
}

#[test]
fn a_flood_of_unverified_requests_buys_few_records_however_fast_the_collector_is() {
    let mut journal = journal(Capacity { records: 400, bytes: 1 << 20 });
    let mut collector = Collector::default();
    let (mut leaves, mut time) = (0, 0);
    let mut flood = |from: u64, seconds: u64| {
        for n in 0..seconds * 1_000 {
            time = from + n;
            leaves += usize::from(journal.append_decision(&unverified(time), vec![], &CLEAR) != Ok(Appended::Folded));
            if n % 100 == 99 {
                collector.drain(&mut journal, Timestamp(time));
            }
        }
        std::mem::take(&mut leaves)
    };
    assert_eq!(flood(10_000, 60), 100 + 16 * 60 - 1);
    assert_eq!(flood(100_000, 1), 100 + 15, "a quiet half minute later");
    assert_eq!(flood(20_000, 1), 16, "and after the clock went back");
    assert!(journal.can_release());
}

#[test]
fn nobody_locks_others_out_by_keeping_exchanges_open() {
    let mut journal = journal(Capacity { records: 40, bytes: 1 << 20 });
    let of = |n, agent: &str, tenant: Option<&str>| DecisionRecord {
        agent: Some(agent.into()),
        tenant: tenant.map(Into::into),
        ..allowed(n)
    };
    let mut collector = Collector::default();
    let mut opened = 0;
    for n in 0..100 {
        opened += usize::from(journal.append_decision(&of(n, "greedy", None), vec![], &CLEAR).is_ok());
        collector.drain(&mut journal, Timestamp(9_000));
    }
    assert_eq!(opened, 20);
    assert_eq!(journal.append_decision(&of(200, "other", None), vec![], &CLEAR).map(|_| ()), Ok(()));
    assert_eq!(journal.append_decision(&of(201, "greedy", Some("acme")), vec![], &CLEAR).map(|_| ()), Ok(()));
    assert_eq!(journal.append_decision(&of(202, "greedy", None), vec![], &CLEAR), Err(AppendError::TooManyOpen));
    journal.append_completion(&completion(0)).unwrap();
    assert_eq!(journal.append_decision(&of(203, "greedy", None), vec![], &CLEAR).map(|_| ()), Ok(()));
}

#[test]
fn control_records_are_bounded_too() {
    let mut journal = journal(ROOMY);
    let config = ConfigRecord {
        time: Timestamp(1),
        plugin: "exeat".into(),
        role: "filter".into(),
        mode: Mode::Enforce,
        delivery: Delivery::Async,
        when_full: WhenFull::Deny,
        mask: ValueMask::default(),
        revision: None,
        policy: None,
    };
    let taken = (0..1_000).filter(|_| journal.append_config(&config).is_ok()).count();
    assert_eq!(taken, 63);
    assert!(journal.close(Timestamp(2), "shutdown").is_ok());
}

#[test]
fn ids_are_checked() {
    let mut journal = journal(ROOMY);
    for id in ["", "0", "+0000000000000000000000000000001", "0000000000000000000000000000000A", &"0".repeat(33)] {
        let record = DecisionRecord { id: id.to_owned(), ..allowed(0) };
        assert_eq!(journal.append_decision(&record, vec![], &CLEAR), Err(AppendError::DecisionId), "{id:?}");
    }
    journal.append_decision(&allowed(1), vec![], &CLEAR).unwrap();
    assert_eq!(journal.append_decision(&allowed(1), vec![], &CLEAR), Err(AppendError::DecisionId));
    assert_eq!(journal.append_completion(&completion(2)), Err(AppendError::NoSuchDecision));
}
