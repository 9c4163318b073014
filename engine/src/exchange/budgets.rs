//! Budgets of rules: a request is charged when nothing else speaks against it, a tunnel or WebSocket for each piece that goes on.
//!
//! Only what leaves is charged, and it leaves only once it is. Charged without leaving is what the journal then refuses to
//! record, what the guard refuses, and what reaches no upstream: nothing is given back.

use super::examine::Examined;
use super::names::{session_name, share};
use super::stream::{HIDDEN, Stream};
use super::{Exchange, Surroundings};
use crate::decision::Reason;
use crate::ledger::budgets::Charged;
use crate::payload::Content;
use crate::policy::{Budgets, Candidates, Mode, Payload, Refusal, Spending, Unpaid, Verdict};
use std::sync::Arc;

impl Exchange {
    /// Judges the whole request and charges it: to its session the names that the agent chose, and to the rule that allows it
    /// what it spends. Budgets come last of all that may refuse, so that what is refused is charged to none.
    pub(super) fn judge_and_charge(
        &mut self,
        around: &mut Surroundings<'_>,
        request: &Examined,
        candidates: &Candidates,
        payload: &Payload<'_>,
    ) -> Verdict {
        if candidates.scrutiny().is_none() {
            return judge(around, request, candidates, payload, false);
        }
        // What has used up its budget says no name either.
        let verdict = judge(around, request, candidates, payload, true);
        let leaves = !matches!(&verdict, Verdict::Refused(refusal) if refusal.mode == Mode::Enforce);
        match leaves.then(|| self.charge_names(around, request, candidates)).flatten() {
            Some(refusal) if refusal.mode == Mode::Enforce || matches!(verdict, Verdict::Allowed(_)) => {
                Verdict::Refused(refusal)
            }
            _ if matches!(verdict, Verdict::Allowed(_)) => judge(around, request, candidates, payload, false),
            _ => verdict,
        }
    }
}

/// What refuses a request already whose body, of so many bytes at least, is still to come. It charges nothing.
pub(super) fn foresee(
    around: &mut Surroundings<'_>,
    request: &Examined,
    candidates: &Candidates,
    body: u64,
) -> Option<Refusal> {
    let payload = request.payload(body, Content::Pending);
    match candidates.have_budgets().then(|| judge(around, request, candidates, &payload, true))? {
        Verdict::Refused(refusal) if refusal.mode == Mode::Enforce => Some(refusal),
        _ => None,
    }
}

/// Judges the whole request and asks the rules that allow it to pay, or only whether they could.
fn judge(
    around: &mut Surroundings<'_>,
    request: &Examined,
    candidates: &Candidates,
    payload: &Payload<'_>,
    ask: bool,
) -> Verdict {
    if !candidates.have_budgets() {
        return candidates.judge_payload(payload);
    }
    let host = request.destination.host.to_string();
    candidates.judge_and_charge(payload, &mut |budgets, bytes| {
        spend(around, request, budgets, &Spending { requests: 1, bytes, host: Some(&host), ask })
    })
}

/// Charges a piece that is about to follow the head of a tunnel or WebSocket. The rule that let it go pays for as long as it can;
/// then the closest that fits whole and pays for all of it so far, as though it had let it go.
pub(super) fn charge_piece(
    around: &mut Surroundings<'_>,
    stream: &mut Stream,
    received: u64,
    piece: u64,
) -> Result<(), (Reason, String)> {
    let Stream { request, candidates, budgets: current, .. } = &*stream;
    if piece == 0 || !candidates.have_budgets() {
        return Ok(());
    }
    let payload = request.payload(received, Content::Known(&HIDDEN));
    // What the current rule says; one that was not asked is too small by now.
    let mut unpaid = Unpaid::Unavailable;
    let mut verdict = candidates.judge_and_charge(&payload, &mut |budgets, _| {
        if !std::ptr::eq(budgets, &**current) {
            return Err(Unpaid::Unavailable);
        }
        let spending = Spending { requests: 0, bytes: piece, host: None, ask: false };
        spend(around, request, budgets, &spending).inspect_err(|why| unpaid = why.clone())
    });
    if matches!(verdict, Verdict::Refused(_)) {
        let host = request.destination.host.to_string();
        verdict = candidates.judge_and_charge(&payload, &mut |budgets, bytes| {
            if std::ptr::eq(budgets, &**current) {
                return Err(unpaid.clone());
            }
            spend(around, request, budgets, &Spending { requests: 1, bytes, host: Some(&host), ask: false })
        });
        if let Verdict::Allowed(grant) = &verdict {
            (stream.budgets, stream.rule) = (Arc::clone(grant.budgets()), grant.rule().to_owned());
        }
    }
    match verdict {
        Verdict::Allowed(_) => Ok(()),
        Verdict::Refused(refusal) => Err((refusal.reason, refusal.condition.unwrap_or_default())),
    }
}

/// Charges the body of a request that paid without it.
pub(super) fn charge_body(
    around: &mut Surroundings<'_>,
    request: &Examined,
    budgets: &Budgets,
    bytes: u64,
) -> Result<(), Unpaid> {
    spend(around, request, budgets, &Spending { requests: 0, bytes, host: None, ask: false })
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
