//! Write-ahead delivery: what was decided to go waits until the collector acknowledged the decision.
//!
//! INVARIANT: with it, no exchange comes to [`Stage::Released`](super::Stage) with anything let go before the leaf of its
//! decision was acknowledged. What waits too long is refused by a decision of its own that follows the first.

use super::flight::{Flight, Passed};
use super::{Decision, Exchange, Stage, Step, Surroundings, Verdict, Wait, derive_id};
use crate::decision::Reason;
use crate::decision::answer::answer;
use crate::evidence::FieldOpening;
use crate::evidence::record::{DecisionRecord, Outcome, Released};
use crate::facts::Timestamp;

/// Milliseconds beyond the collector's own time-out: a batch that is on its way is answered first.
const GRACE: u64 = 2_000;

/// A request that was decided to go, and has not gone.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) flight: Box<Flight>,
    decision: Box<Decision>,
    record: Box<DecisionRecord>,
    openings: Vec<FieldOpening>,
    /// Size of the log that must be acknowledged.
    size: u64,
    until: Timestamp,
    /// Longest wait: a time further away was set before the clock went back.
    patience: u64,
}

impl Exchange {
    /// Holds back what was decided to go. `leaf` is the index of its record, and `openings` are those of the record.
    pub(super) fn wait(
        &mut self,
        around: &mut Surroundings<'_>,
        flight: Box<Flight>,
        decision: Box<Decision>,
        (record, openings): (DecisionRecord, Vec<FieldOpening>),
        leaf: u64,
    ) -> Step {
        around.journal.hasten(around.now);
        let patience = self.configuration.gateway().collector().timeout.saturating_add(GRACE);
        let (size, until) = (leaf.saturating_add(1), around.now.plus_millis(patience));
        let record = Box::new(record);
        self.stage = Stage::Waiting(Box::new(Waiting { flight, decision, record, openings, size, until, patience }));
        Step::Wait(Wait::Acknowledged { size })
    }

    /// Whether the record of the decision is stored by now: then [`Step::Decided`], and it goes. [`Step::Wait`] again
    /// while there is time; a refusal when there is none.
    pub fn resume(&mut self, around: &mut Surroundings<'_>) -> Step {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Waiting(waiting) if waiting.flight.aborted => {
                self.stage = Stage::Waiting(waiting);
                Step::Abort
            }
            Stage::Waiting(waiting) if around.journal.acknowledged_size() >= waiting.size => {
                self.stage = Stage::Released(waiting.flight);
                Step::Decided(waiting.decision)
            }
            Stage::Waiting(waiting) if waiting.has_time(around.now) => {
                let size = waiting.size;
                self.stage = Stage::Waiting(waiting);
                Step::Wait(Wait::Acknowledged { size })
            }
            Stage::Waiting(waiting) => self.give_up(around, *waiting),
            stage => {
                self.stage = stage;
                Step::Abort
            }
        }
    }

    /// Refuses what waited too long. The first decision may yet be stored: the record of the refusal names it, and so does
    /// the completion, which says that nothing was forwarded.
    fn give_up(&mut self, around: &mut Surroundings<'_>, waiting: Waiting) -> Step {
        let Waiting { mut flight, record, openings, .. } = waiting;
        let (id, reason) = (derive_id(&self.facts.random, "unacknowledged"), Reason::AuditUnavailable);
        let record = DecisionRecord {
            id: id.clone(),
            time: around.now,
            outcome: Outcome::Deny,
            reason,
            condition: Some("the collector did not acknowledge the decision in time".to_owned()),
            follows: Some(record.id.clone()),
            released: Released::None,
            first_seen: None,
            ..*record
        };
        // A refusal needs no room: what cannot be recorded one by one is folded.
        let _ = around.journal.append_decision(&record, openings, self.configuration.gateway().mask());
        (flight.aborted, flight.refused) = (true, true);
        flight.hold_back();
        self.stage = Stage::Released(flight);
        Step::Decided(Box::new(Decision {
            verdict: Verdict::Refuse(answer(reason, &id, None, None)),
            id,
            outcome: Outcome::Deny,
            reason,
            first_seen: false,
            body: None,
            clearance: None,
        }))
    }
}

impl Waiting {
    fn has_time(&self, now: Timestamp) -> bool {
        now <= self.until && self.until.millis_since(now) <= self.patience
    }
}

impl Flight {
    /// Nothing of it was or will be passed on.
    pub(super) fn hold_back(&mut self) {
        self.forwarded = Passed::default();
        self.held_back = true;
    }
}
