//! Requests that the filter of this VM let go and whose exchanges are not over: what the guard holds them against.
//!
//! Filter and guard of one worker stand in one VM, for Envoy keeps one for each `vm_id` and module on a thread, and a
//! request leaves by the thread on which it came. So a decision is handed over in memory that no other plugin can write
//! to; filter state carries its id alone, as the key to it. One that is not here was not made here, or was used.
//!
//! INVARIANT: an entry is made when a request is let go and taken away when its exchange ends, so that there are never
//! more of them than requests under way.

use exeat_engine::destination::Objection;
use exeat_engine::evidence::record::GuardVerdict;
use exeat_engine::exchange::Clearance;
use std::collections::HashMap;

/// What became of a decision that let a request go.
enum State {
    /// The request has not left yet.
    Fresh(Box<Clearance>),
    /// The guard has it in hand, and has not decided.
    Taken,
    /// The guard decided.
    Judged(GuardVerdict),
}

/// See the module.
#[derive(Default)]
pub(crate) struct Passes(HashMap<String, State>);

impl Passes {
    /// A request was let go.
    pub(crate) fn issue(&mut self, clearance: Box<Clearance>) {
        self.0.insert(clearance.decision().to_owned(), State::Fresh(clearance));
    }

    /// Takes the decision with this id: a second one finds nothing to take.
    pub(crate) fn take(&mut self, decision: &str) -> Result<Box<Clearance>, Objection> {
        match self.0.get_mut(decision) {
            None => Err(Objection::Undecided),
            Some(state @ State::Fresh(_)) => match std::mem::replace(state, State::Taken) {
                State::Fresh(clearance) => Ok(clearance),
                State::Taken | State::Judged(_) => Err(Objection::Used),
            },
            Some(State::Taken | State::Judged(_)) => Err(Objection::Used),
        }
    }

    /// The guard decided of what it took.
    pub(crate) fn judged(&mut self, decision: &str, verdict: GuardVerdict) {
        if let Some(state) = self.0.get_mut(decision) {
            *state = State::Judged(verdict);
        }
    }

    /// What the guard decided; `None` where it never saw the request.
    pub(crate) fn verdict(&self, decision: &str) -> Option<&GuardVerdict> {
        match self.0.get(decision) {
            Some(State::Judged(verdict)) => Some(verdict),
            Some(State::Fresh(_) | State::Taken) | None => None,
        }
    }

    /// The exchange is over.
    pub(crate) fn close(&mut self, decision: &str) -> Option<GuardVerdict> {
        match self.0.remove(decision) {
            Some(State::Judged(verdict)) => Some(verdict),
            Some(State::Fresh(_) | State::Taken) | None => None,
        }
    }
}
