//! Whatever order a host calls in, and whatever comes: nothing goes on but after a record, and every record is true.

use super::tests::{NOW, World, context, end, head, sign};
use super::{Exchange, Step, Verdict};
use crate::context::Provenance;
use crate::request::{MalformedHead, RequestHead};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Kind {
    /// Signed for this agent, with a body of so many bytes.
    Signed(&'static str, usize),
    Unsigned,
    Malformed,
}

#[derive(Clone, Debug)]
enum Call {
    Head(Kind, bool),
    Body(usize, bool),
    Trailers,
    Resume,
    End,
    /// The collector takes what there is.
    Collect,
}

fn calls() -> impl Strategy<Value = Vec<(usize, Call)>> {
    let sizes = prop_oneof![Just(0_usize), 1..64_usize, Just(600 * 1024), Just(1200 * 1024)];
    let agents = prop_oneof![Just("team/worker"), Just("team/watched"), Just("team/reader")];
    let kind = prop_oneof![
        6 => (agents, sizes.clone()).prop_map(|(agent, size)| Kind::Signed(agent, size)),
        1 => Just(Kind::Unsigned),
        1 => Just(Kind::Malformed),
    ];
    let call = prop_oneof![
        4 => (kind, any::<bool>()).prop_map(|(kind, end)| Call::Head(kind, end)),
        6 => (sizes, any::<bool>()).prop_map(|(size, end)| Call::Body(size, end)),
        1 => Just(Call::Trailers),
        1 => Just(Call::Resume),
        2 => Just(Call::End),
        1 => Just(Call::Collect),
    ];
    prop::collection::vec((0..3_usize, call), 1..40)
}

/// One exchange, and what it was seen to do.
struct Seen {
    exchange: Exchange,
    decided: Option<bool>,
    ended: bool,
}

impl Seen {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Decided(decision) => {
                assert_eq!(self.decided, None, "decided twice");
                assert!(!self.ended, "decided after the end");
                self.decided = Some(matches!(decision.verdict, Verdict::Forward(_)));
            }
            Step::Pass => assert_eq!(self.decided, Some(true), "passed on what was not let go"),
            Step::NeedBody { .. } => assert_eq!((self.decided, self.ended), (None, false)),
            Step::Abort => {}
            Step::Wait(_) => panic!("nothing waits"),
        }
    }
}

fn request(kind: &Kind, nonce: usize) -> Result<RequestHead, MalformedHead> {
    match kind {
        Kind::Signed(agent, size) => {
            let body = vec![b'x'; *size];
            Ok(sign(head("POST", "/v1/x"), &context(agent, &[Provenance::User]), &body, &format!("n{nonce}")))
        }
        Kind::Unsigned => Ok(head("POST", "/v1/x")),
        Kind::Malformed => Err(MalformedHead::Empty),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn nothing_goes_on_without_a_record(queue in prop_oneof![Just(6_u64), Just(64)], calls in calls()) {
        let mut world = World::with_queue(queue);
        let mut seen: Vec<Seen> = (0..3).map(|_| Seen { exchange: world.start(), decided: None, ended: false }).collect();
        let mut records = Vec::new();
        for (nonce, (which, call)) in calls.iter().enumerate() {
            let one = &mut seen[*which];
            let exchange = &mut one.exchange;
            let mut around = world.around();
            let step = match call {
                Call::Head(kind, last) => exchange.head(&mut around, request(kind, nonce), *last),
                Call::Body(size, last) => exchange.body(&mut around, &vec![b'x'; *size], *last),
                Call::Trailers => exchange.trailers(&mut around),
                Call::Resume => exchange.resume(&mut around),
                Call::End => {
                    exchange.end(&mut around, end());
                    one.ended = true;
                    continue;
                }
                Call::Collect => {
                    records.extend(world.records());
                    continue;
                }
            };
            one.step(&step);
        }
        for one in &mut seen {
            one.exchange.end(&mut world.around(), end());
        }
        records.extend(world.records());
        let of = |kind: &str, key: &str| -> BTreeMap<String, Vec<Value>> {
            let mut map: BTreeMap<String, Vec<Value>> = BTreeMap::new();
            for record in records.iter().filter(|record| record["kind"] == kind) {
                map.entry(record[key].as_str().unwrap().to_owned()).or_default().push(record.clone());
            }
            map
        };
        let (decisions, completions) = (of("decision", "id"), of("completion", "decision"));
        for one in &seen {
            let id = one.exchange.id();
            let released = decisions.get(id).map(|of| (of.len(), of[0]["released"] != "none"));
            match one.decided {
                Some(true) => prop_assert_eq!(released, Some((1, true))),
                // A denial may have been folded.
                Some(false) => prop_assert!(matches!(released, None | Some((1, false)))),
                None => prop_assert_eq!(released, None),
            }
            let completed = completions.get(id).map_or(0, Vec::len);
            prop_assert_eq!(completed, usize::from(one.decided == Some(true)));
        }
        prop_assert!(world.journal.stats(NOW).open == 0);
    }
}
