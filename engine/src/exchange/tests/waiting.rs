//! Requests that wait for their record to be stored, and requests that go without one because the operator chose so.

use super::*;
use crate::exchange::Wait;

fn world(audit: Value, queue: u64) -> World {
    let mut world = World::with_queue(queue);
    let mut document = document();
    document["gateway"]["audit"] = audit;
    document["policy"]["destinations"]["crm"]["tunnel"] = json!(true);
    document["policy"]["destinations"]["crm"]["life"] = json!("1m");
    let tunnel = json!({"id": "tunnel", "to": ["crm"], "methods": ["CONNECT"], "paths": ["/**"]});
    document["policy"]["agents"]["team/worker"]["allow"].as_array_mut().unwrap().push(tunnel);
    world.configuration = Arc::new(Configuration::accept(document.to_string().as_bytes()).unwrap());
    world
}

fn write_ahead() -> World {
    world(json!({"delivery": "write-ahead"}), 64)
}

/// Starts an exchange that waits; the size that it waits for.
fn waiting(world: &mut World, nonce: &str) -> (Exchange, u64) {
    let mut exchange = world.start();
    let step = exchange.head(&mut world.around(), Ok(user_request("GET", "/v1/orders", b"", nonce)), true);
    let Step::Wait(Wait::Acknowledged { size }) = step else { panic!("it does not wait: {step:?}") };
    (exchange, size)
}

/// Everything so far goes out and is acknowledged.
fn acknowledge(world: &mut World) -> Vec<Value> {
    world.records()
}

fn resume_at(world: &mut World, exchange: &mut Exchange, now: Timestamp) -> Step {
    let World { ledger, journal, .. } = world;
    exchange.resume(&mut Surroundings { now, ledger, journal })
}

#[test]
fn nothing_goes_before_its_record_is_acknowledged() {
    let mut world = write_ahead();
    let (mut exchange, size) = waiting(&mut world, "a");
    assert_eq!(size, world.journal.size());
    // Sealed and sent is not acknowledged.
    let batch = world.journal.next_batch(NOW, 100, 1 << 20, &[]).unwrap();
    assert!(
        matches!(exchange.resume(&mut world.around()), Step::Wait(Wait::Acknowledged { size: again }) if again == size)
    );
    world.journal.acknowledged(&batch.head().clone()).unwrap();
    let Step::Decided(decision) = exchange.resume(&mut world.around()) else { panic!("it is stored") };
    assert_eq!((decision.outcome, decision.id.as_str()), (Outcome::Allow, exchange.id()));
    assert!(matches!(decision.verdict, Verdict::Forward(_)) && decision.clearance.is_some());
    // Once.
    assert!(matches!(exchange.resume(&mut world.around()), Step::Abort));
    exchange.end(&mut world.around(), end());
    let records = world.records();
    assert_eq!(records.len(), 1);
    assert_eq!((&records[0]["kind"], &records[0]["ending"]), (&json!("completion"), &json!("complete")));
}

#[test]
fn only_an_acknowledgement_of_its_own_leaf_counts() {
    let mut world = write_ahead();
    let (mut first, _) = waiting(&mut world, "a");
    let batch = world.journal.next_batch(NOW, 100, 1 << 20, &[]).unwrap();
    let (mut second, _) = waiting(&mut world, "b");
    world.journal.acknowledged(&batch.head().clone()).unwrap();
    assert!(matches!(first.resume(&mut world.around()), Step::Decided(_)));
    assert!(matches!(second.resume(&mut world.around()), Step::Wait(_)));
    acknowledge(&mut world);
    assert!(matches!(second.resume(&mut world.around()), Step::Decided(_)));
}

#[test]
fn a_denial_waits_for_nothing() {
    let mut world = write_ahead();
    let decision = world.run(user_request("DELETE", "/v1/orders", b"", "a"), b"", 1);
    assert_eq!(decision.reason, Reason::MethodDenied);
    let decision = world.run(head("GET", "/v1/orders"), b"", 1);
    assert_eq!(decision.reason, Reason::ContextMissing);
}

#[test]
fn what_waits_too_long_is_refused_by_a_decision_that_follows() {
    let mut world = write_ahead();
    let (mut exchange, _) = waiting(&mut world, "a");
    // The time-out of the collector, and two seconds.
    assert!(matches!(resume_at(&mut world, &mut exchange, NOW.plus_millis(4_000)), Step::Wait(_)));
    let Step::Decided(decision) = resume_at(&mut world, &mut exchange, NOW.plus_millis(4_001)) else { panic!("late") };
    assert_eq!((decision.outcome, decision.reason), (Outcome::Deny, Reason::AuditUnavailable));
    assert_eq!(problem(&decision)["decision"], decision.id.as_str());
    assert!(decision.clearance.is_none());
    // Stored after all: it stays refused.
    let records = acknowledge(&mut world);
    assert!(matches!(exchange.resume(&mut world.around()), Step::Abort));
    let decisions: Vec<_> = records.iter().filter(|record| record["kind"] == "decision").collect();
    let [first, second] = decisions.as_slice() else { panic!("{records:?}") };
    assert_eq!((&first["outcome"], &first["released"]), (&json!("allow"), &json!("head+body")));
    assert_eq!((&second["outcome"], &second["released"]), (&json!("deny"), &json!("none")));
    assert_eq!((&second["follows"], &second["id"]), (&first["id"], &json!(decision.id)));
    assert_eq!((&second["reason"], &second["user"]), (&json!("audit-unavailable"), &first["user"]));
    // Whatever the host says of the way.
    exchange.end(&mut world.around(), end());
    let completion = &world.records()[0];
    assert_eq!((&completion["ending"], &completion["forwarded_bytes"]), (&json!("refused"), &json!(0)));
    assert_eq!(completion["decision"], first["id"]);
}

#[test]
fn a_clock_that_went_back_makes_nobody_wait_longer() {
    let mut world = write_ahead();
    let (mut exchange, _) = waiting(&mut world, "a");
    let hour_before = Timestamp(NOW.0 - 3_600_000);
    assert!(
        matches!(resume_at(&mut world, &mut exchange, hour_before), Step::Decided(d) if d.outcome == Outcome::Deny)
    );
}

#[test]
fn a_client_that_leaves_while_it_waits_had_nothing_forwarded() {
    let mut world = write_ahead();
    let body = b"hello";
    let mut exchange = world.start();
    let head = user_request("POST", "/v1/orders", body, "a");
    assert!(matches!(exchange.head(&mut world.around(), Ok(head), false), Step::NeedBody { .. }));
    assert!(matches!(exchange.body(&mut world.around(), body, true), Step::Wait(_)));
    exchange.end(&mut world.around(), End { ending: Ending::Reset, ..end() });
    let records = world.records();
    let completion = records.iter().find(|record| record["kind"] == "completion").unwrap();
    assert_eq!((&completion["received_bytes"], &completion["forwarded_bytes"]), (&json!(5), &json!(0)));
    assert!(completion.get("forwarded_digest").is_none(), "{completion}");
}

#[test]
fn what_comes_while_it_waits_ends_it() {
    for trailers in [false, true] {
        let mut world = write_ahead();
        let (mut exchange, _) = waiting(&mut world, "a");
        let step = match trailers {
            true => exchange.trailers(&mut world.around()),
            false => exchange.body(&mut world.around(), b"x", true),
        };
        assert!(matches!(step, Step::Abort));
        acknowledge(&mut world);
        assert!(matches!(exchange.resume(&mut world.around()), Step::Abort));
        exchange.end(&mut world.around(), end());
        let completion = &world.records()[0];
        assert_eq!((&completion["ending"], &completion["forwarded_bytes"]), (&json!("reset"), &json!(0)));
    }
}

#[test]
fn the_head_of_a_tunnel_waits_too() {
    let mut world = write_ahead();
    let mut head = RequestHead { path: None, scheme: None, ..head("CONNECT", "") };
    head.authority = "eu.crm.example:443".into();
    let head = sign(head, &context("team/worker", &[Provenance::User]), b"", "a");
    let mut exchange = world.start();
    assert!(matches!(exchange.head(&mut world.around(), Ok(head), false), Step::Wait(_)));
    assert_eq!(exchange.stream_until(), None, "there is nothing to end yet");
    acknowledge(&mut world);
    assert!(matches!(exchange.resume(&mut world.around()), Step::Decided(d) if d.outcome == Outcome::Allow));
    assert!(exchange.stream_until().is_some());
    assert!(matches!(exchange.body(&mut world.around(), b"no hello", false), Step::Abort));
}

#[test]
fn an_early_release_waits_too() {
    let mut world = write_ahead();
    let piece = vec![b'x'; 1 << 20];
    let body = piece.repeat(2);
    let mut exchange = world.start();
    let head = sign(head("POST", "/v1/orders"), &context("team/watched", &[Provenance::User]), &body, "a");
    let mut step = exchange.head(&mut world.around(), Ok(head), false);
    for chunk in [&piece[..], b"x"] {
        assert!(matches!(step, Step::NeedBody { .. }), "{step:?}");
        step = exchange.body(&mut world.around(), chunk, false);
    }
    assert!(matches!(step, Step::Wait(_)), "{step:?}");
    acknowledge(&mut world);
    assert!(matches!(exchange.resume(&mut world.around()), Step::Decided(d) if d.outcome == Outcome::WouldDeny));
    assert!(matches!(exchange.body(&mut world.around(), &piece[1..], true), Step::Pass));
}

#[test]
fn a_full_queue_drops_only_where_the_operator_chose_so_and_counts() {
    let mut deny = world(json!({"queue": 16}), 16);
    let mut drop = world(json!({"queue": 16, "when_full": "drop"}), 16);
    let mut refused = 0;
    for n in 0..20 {
        let nonce = format!("n{n}");
        for world in [&mut deny, &mut drop] {
            refused +=
                u32::from(world.run(user_request("GET", "/v1/orders", b"", &nonce), b"", 1).outcome == Outcome::Deny);
        }
    }
    // Decision and completion of each: eight fit.
    assert_eq!(refused, 12);
    assert_eq!((deny.journal.stats(NOW).dropped, drop.journal.stats(NOW).dropped), (0, 12));
    let records = drop.records();
    let of = |kind: &str| records.iter().filter(|record| record["kind"] == kind).collect::<Vec<_>>();
    assert_eq!((of("decision").len(), of("completion").len()), (8, 8));
    let [summary] = of("summary")[..] else { panic!("{records:?}") };
    assert_eq!((&summary["dropped"], &summary["verified"]), (&json!({"permitted": 12}), &json!({})));
    // With room again, records are kept again.
    let decision = drop.run(user_request("GET", "/v1/orders", b"", "later"), b"", 1);
    assert!(drop.decisions().iter().any(|record| record["id"] == decision.id.as_str()));
}

#[test]
fn an_agent_cannot_make_itself_unrecorded_with_exchanges_it_keeps_open() {
    let mut world = world(json!({"when_full": "drop"}), 64);
    let mut kept = Vec::new();
    for n in 0..33 {
        let mut exchange = world.start();
        let head = user_request("GET", "/v1/orders", b"", &format!("n{n}"));
        let Step::Decided(decision) = exchange.head(&mut world.around(), Ok(head), true) else { panic!() };
        kept.push((exchange, decision.outcome));
        world.records();
    }
    let outcomes: Vec<_> = kept.iter().map(|(_, outcome)| *outcome).collect();
    assert_eq!(outcomes[..32], [Outcome::Allow; 32]);
    assert_eq!((outcomes[32], world.journal.stats(NOW).dropped), (Outcome::Deny, 0));
}

#[test]
fn a_closed_log_drops_nothing() {
    let mut world = world(json!({"when_full": "drop"}), 64);
    world.journal.close(NOW, "shutdown").unwrap();
    let decision = world.run(user_request("GET", "/v1/orders", b"", "a"), b"", 1);
    assert_eq!(decision.reason, Reason::AuditUnavailable);
}
