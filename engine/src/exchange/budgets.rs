//! Budgets of rules: a request is charged when nothing else speaks against it, a tunnel or WebSocket for each piece that goes on.
//!
//! Only what leaves is charged, and it leaves only once it is. Charged without leaving is what the journal then refuses to
//! record, what the guard refuses, and what reaches no upstream: nothing is given back.

use super::Surroundings;
use super::examine::Examined;
use super::names::{session_name, share};
use crate::decision::Reason;
use crate::ledger::budgets::Charged;
use crate::policy::{Budgets, Candidates, Spending, Unpaid, Verdict};

/// Judges the whole request and charges it to the rule that allows it.
pub(super) fn charge(around: &mut Surroundings<'_>, request: &Examined, candidates: &Candidates, body: u64) -> Verdict {
    let host = request.destination.host.to_string();
    candidates.judge_and_charge(&request.payload(body), &mut |budgets, bytes| {
        let spending = Spending { requests: 1, bytes, host: Some(&host) };
        spend(around, request, budgets, &spending)
    })
}

/// Charges bytes that are about to follow the head of a tunnel or WebSocket.
pub(super) fn charge_piece(
    around: &mut Surroundings<'_>,
    request: &Examined,
    budgets: &Budgets,
    bytes: u64,
) -> Result<(), (Reason, String)> {
    if bytes == 0 || !budgets.count_bytes() {
        return Ok(());
    }
    let spending = Spending { requests: 0, bytes, host: None };
    spend(around, request, budgets, &spending).map_err(|unpaid| match unpaid {
        Unpaid::Refused { reason, condition } => (reason, condition),
        Unpaid::Unavailable => {
            let why = "limits: the state that the workers share cannot be read or is not authentic";
            (Reason::InternalError, why.to_owned())
        }
    })
}

fn spend(
    around: &mut Surroundings<'_>,
    request: &Examined,
    budgets: &Budgets,
    spending: &Spending<'_>,
) -> Result<(), Unpaid> {
    let (session, share) = (session_name(&request.verified), share(&request.verified));
    let Some(charge) = budgets.charge(&session, share, spending) else { return Ok(()) };
    match around.ledger.charge_budgets(&charge, around.now) {
        Charged::Within => Ok(()),
        Charged::Exhausted { budget } => {
            let (reason, condition) = budgets.refusal(budget);
            Err(Unpaid::Refused { reason, condition })
        }
        Charged::Full => {
            let condition = "limits: there is no room to remember more of what this key and tenant spend".to_owned();
            Err(Unpaid::Refused { reason: Reason::InternalError, condition })
        }
        Charged::Unavailable => Err(Unpaid::Unavailable),
    }
}
