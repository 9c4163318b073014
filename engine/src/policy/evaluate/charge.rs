//! Which rule pays. A rule whose budget is used up does not fit: the next that fits whole is asked, so that a rule that is
//! removed never lets more go. What is refused in monitor mode goes on and is charged to no rule, as it would be to none if it
//! were refused: so the same requests are counted in every mode.

use super::super::Mode;
use super::super::budgets::Budgets;
use super::super::limits::Dimension;
use super::payload::{Candidate, Objection};
use super::{Candidates, Grant, Payload, Verdict};
use crate::decision::Reason;
use std::sync::Arc;

/// Why the budgets of a rule did not pay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unpaid {
    /// One of them is used up, or what was spent of it cannot be remembered.
    Refused {
        /// Reason.
        reason: Reason,
        /// Condition.
        condition: String,
    },
    /// What was spent cannot be read, or is not authentic: refused in every mode.
    Unavailable,
}

/// Charges the budgets of a rule for one request of so many bytes, all of them or none.
pub(super) type Pay<'a> = dyn FnMut(&Budgets, u64) -> Result<(), Unpaid> + 'a;

impl Candidates {
    /// Whether any rule that may let it go has budgets.
    pub fn have_budgets(&self) -> bool {
        self.candidates.iter().any(|candidate| !candidate.rule.budgets.is_empty())
    }

    /// As [`Candidates::judge_payload`] of the whole request, and charged to the rule that allows it: of those that fit whole, the
    /// closest that pays. `pay` is asked for the budgets of a rule and the bytes that would leave under it; it charges all or nothing.
    pub fn judge_and_charge(
        &self,
        payload: &Payload<'_>,
        pay: &mut dyn FnMut(&Budgets, u64) -> Result<(), Unpaid>,
    ) -> Verdict {
        self.judge(payload, pay)
    }

    pub(super) fn unpaid(&self, candidate: &Candidate, payload: &Payload<'_>, pay: &mut Pay<'_>) -> Option<Objection> {
        let budgets = &candidate.rule.budgets;
        if budgets.is_empty() {
            return None;
        }
        let bytes = self.measured(Some(candidate), payload).get(Dimension::Total);
        let (reason, condition, mode) = match pay(budgets, bytes).err()? {
            Unpaid::Refused { reason, condition } => (reason, condition, self.rules_mode),
            Unpaid::Unavailable => {
                let why = "limits: the state that the workers share cannot be read or is not authentic";
                (Reason::InternalError, why.to_owned(), Mode::Enforce)
            }
        };
        Some(Objection { reason, condition, mode })
    }
}

impl Grant {
    /// The budgets of the rule.
    pub fn budgets(&self) -> &Arc<Budgets> {
        &self.candidate.rule.budgets
    }
}
