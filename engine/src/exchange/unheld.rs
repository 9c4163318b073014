//! Requests whose heads go before their bodies (`hold: false`): for hosts that cannot hold a head.
//!
//! INVARIANT: the head is judged by all that can be known with it, and goes only where that allows it: what a body must say is
//! unmet where it allows and met where it denies, and an announced length counts as the length. Of the body not a byte goes
//! before all of it came, is what was signed and what was announced, and fits the rule that let the head go. Only in monitor
//! mode may a large one go on before its end, as one does that was held.

use super::examine::Examined;
use super::flight::{Flight, Passed, Rest};
use super::report::{Denial, Report};
use super::{Exchange, Held, MONITOR_HOLD, Stage, Step, Surroundings, budgets, derive_id, enforced};
use crate::decision::Reason;
use crate::decision::answer::answer;
use crate::evidence::record::{Binding, Outcome, Released};
use crate::payload::digest::{BodyHasher, ContentDigests};
use crate::payload::{Content, Reading, Unreadable};
use crate::policy::{Budgets, Candidates, Destination, Feedback, Grant, Mode, Refusal, Verdict};
use std::sync::Arc;

/// Of no body anything can be told when its head goes.
static UNSEEN: Reading<'static> = Reading::Unreadable(Unreadable::Unheld);

/// A body that is held back while its head has gone.
#[derive(Debug)]
pub(super) struct Unheld {
    request: Examined,
    expected: Option<ContentDigests>,
    hasher: BodyHasher,
    /// `None`: monitor mode let the head go although it would be denied, and the body meets no policy.
    rule: Option<Granted>,
}

/// What let the head go.
#[derive(Debug)]
struct Granted {
    /// The one rule, as its headers have gone.
    candidates: Candidates,
    rule: String,
    budgets: Arc<Budgets>,
    destination: Arc<Destination>,
}

impl Unheld {
    pub(super) fn candidates(&self) -> Option<&Candidates> {
        self.rule.as_ref().map(|granted| &granted.candidates)
    }

    /// What came of a body that never came to its end.
    pub(super) fn received(self) -> Passed {
        Passed::of(&self.hasher.finish())
    }

    /// Bytes of which more are never needed.
    fn up_to(&self) -> u64 {
        self.candidates().map_or(MONITOR_HOLD, Candidates::largest_body)
    }
}

/// Why a body goes nowhere, though its head has gone.
enum Fault {
    /// It is not what was signed: the agent is told the reason only.
    Identity(Reason, String),
    /// It is not what was announced.
    Form(String),
    /// The policy.
    Policy(Refusal),
}

impl Exchange {
    /// Judges the head of a request whose body is still to come, and lets it go.
    pub(super) fn decide_unheld(&mut self, around: &mut Surroundings<'_>, held: Box<Held>) -> Step {
        let Held { request, candidates, expected, hasher, .. } = *held;
        let payload = request.payload(request.content_length().unwrap_or(0), Content::Known(&UNSEEN));
        self.look(around, &candidates, &payload, &[]);
        let (step, rule) = match self.judge_and_charge(around, &request, &candidates, &payload) {
            Verdict::Refused(refusal) if enforced(&refusal) => {
                return self.refuse(around, Denial::policy(&refusal, &request, None));
            }
            Verdict::Refused(refusal) => {
                (self.let_go(around, &request, refusal, Released::Head, None, Flight::default()), None)
            }
            Verdict::Allowed(grant) => {
                let step = self.allow(around, &request, &grant, None, Flight::default());
                (step, Some(Granted::new(&grant, candidates)))
            }
        };
        if let Some(flight) = self.flight_mut() {
            flight.unheld = Some(Box::new(Unheld { request, expected, hasher, rule }));
        }
        step
    }

    /// Whether the head has gone, or is to go, and the body is still held back.
    pub fn is_unheld(&self) -> bool {
        match &self.stage {
            Stage::Released(flight) => flight.unheld.is_some(),
            Stage::Waiting(waiting) => waiting.flight.unheld.is_some(),
            Stage::New | Stage::Body(_) | Stage::Over => false,
        }
    }

    /// A piece of the body.
    pub(super) fn unheld_piece(
        &mut self,
        around: &mut Surroundings<'_>,
        mut flight: Box<Flight>,
        mut unheld: Box<Unheld>,
        chunk: &[u8],
        end: bool,
    ) -> Step {
        if !chunk.is_empty() && unheld.hasher.bytes() == 0 {
            // The first byte tells that there is a body; only now must the signature cover it.
            match unheld.request.verified.require_body_coverage() {
                Ok(digests) => {
                    unheld.hasher = BodyHasher::new(digests.as_ref());
                    unheld.expected = digests;
                }
                Err(error) => {
                    let fault = Fault::Identity(error.reason(), error.to_string());
                    return self.refuse_unheld(around, flight, *unheld, &fault);
                }
            }
        }
        unheld.hasher.update(chunk);
        match self.judge_unheld(around, &mut unheld, end) {
            Err(fault) => self.refuse_unheld(around, flight, *unheld, &fault),
            Ok(()) if end => {
                flight.received = Passed::of(&unheld.hasher.finish());
                flight.forwarded = flight.received.clone();
                self.stage = Stage::Released(flight);
                Step::Pass
            }
            Ok(()) if unheld.is_observed_and_large() => {
                let Unheld { request, expected, hasher, .. } = *unheld;
                let unsigned = request.verified.binding() != Binding::Request;
                flight.rest = Some(Rest { hasher, expected, unsigned, announced: request.content_length() });
                self.stage = Stage::Released(flight);
                Step::Pass
            }
            Ok(()) => {
                let up_to = unheld.up_to();
                flight.unheld = Some(unheld);
                self.stage = Stage::Released(flight);
                Step::NeedBody { up_to }
            }
        }
    }

    /// Trailers: refused in every mode.
    pub(super) fn unheld_trailers(
        &mut self,
        around: &mut Surroundings<'_>,
        flight: Box<Flight>,
        unheld: Unheld,
    ) -> Step {
        self.refuse_unheld(around, flight, unheld, &Fault::Form("the request has trailers".to_owned()))
    }

    /// Judges the body so far, all of it at the end. What is only observed is recorded, once.
    fn judge_unheld(&self, around: &mut Surroundings<'_>, unheld: &mut Unheld, end: bool) -> Result<(), Fault> {
        let (bytes, announced) = (unheld.hasher.bytes(), unheld.request.content_length());
        if announced.is_some_and(|announced| bytes > announced || (end && bytes != announced)) {
            return Err(Fault::Form("the body is not as long as content-length says".to_owned()));
        }
        if end && let Some(expected) = &unheld.expected {
            let digest = unheld.hasher.clone().finish();
            digest.check(expected).map_err(|mismatch| Fault::Identity(mismatch.reason(), mismatch.to_string()))?;
        }
        let Some(granted) = &unheld.rule else { return Ok(()) };
        // What was announced was charged with the head.
        let unpaid = end && announced.is_none();
        let verdict = granted.judge(around, &unheld.request, bytes, unpaid);
        match verdict {
            Verdict::Allowed(_) => Ok(()),
            Verdict::Refused(refusal) if enforced(&refusal) => Err(Fault::Policy(refusal)),
            Verdict::Refused(refusal) => {
                let report = Report {
                    outcome: Outcome::WouldDeny,
                    mode: Mode::Monitor,
                    ..Denial::policy(&refusal, &unheld.request, None).into_report()
                };
                self.follow(around, &report, "observed");
                unheld.rule = None;
                Ok(())
            }
        }
    }

    /// Refuses a request whose head has gone, by a decision of its own that follows the first.
    fn refuse_unheld(
        &mut self,
        around: &mut Surroundings<'_>,
        mut flight: Box<Flight>,
        unheld: Unheld,
        fault: &Fault,
    ) -> Step {
        let Unheld { request, hasher, rule, .. } = unheld;
        let digest = hasher.finish();
        let payload = (digest.bytes() > 0).then_some(&digest);
        let denial = match fault {
            Fault::Identity(reason, why) => Denial::identity(*reason, why.clone(), &request, payload),
            Fault::Form(why) => Denial::floor(Reason::RequestMalformed, why.clone(), &request, payload),
            Fault::Policy(refusal) => Denial::policy(refusal, &request, payload),
        };
        let full = denial.told && self.configuration.gateway().feedback() == Feedback::Full;
        let mut report = denial.into_report();
        if let Some(granted) = rule {
            report.rule.get_or_insert(granted.rule);
            report.destination.get_or_insert(granted.destination);
        }
        let id = self.follow(around, &report, "body");
        (flight.aborted, flight.refused) = (true, true);
        (flight.received, flight.forwarded) = (Passed::of(&digest), Passed::default());
        self.stage = Stage::Released(flight);
        let (rule, condition) = if full { (report.rule.as_deref(), report.condition.as_deref()) } else { (None, None) };
        Step::Decided(Box::new(super::Decision {
            verdict: super::Verdict::Refuse(answer(report.reason, &id, rule, condition)),
            id,
            outcome: Outcome::Deny,
            reason: report.reason,
            first_seen: false,
            body: None,
            clearance: None,
        }))
    }

    /// Records a decision that follows the first one of this exchange, and lets nothing go of its own. Its id.
    pub(super) fn follow(&self, around: &mut Surroundings<'_>, report: &Report<'_>, label: &str) -> String {
        let (mut record, openings) = report.record(self, around);
        let id = derive_id(&self.facts.random, label);
        record.follows = Some(std::mem::replace(&mut record.id, id.clone()));
        // It needs no room: what cannot be recorded one by one is folded.
        let _ = around.journal.append_decision(&record, openings, self.configuration.gateway().mask());
        id
    }

    /// The body is on its way to the host, and the host hands nothing of it over: it holds no heads. Refuses the request, which
    /// would hang; `None` where nothing is waited for.
    pub fn starve(&mut self, around: &mut Surroundings<'_>) -> Option<Step> {
        let held = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Body(held) if held.bytes == 0 => held,
            stage => {
                self.stage = stage;
                return None;
            }
        };
        let why = "the host hands over no body while it holds the head: set allow_on_headers_stop_iteration, or write hold: false";
        Some(self.refuse(around, Denial::unready(why.to_owned(), &held.request)))
    }
}

impl Granted {
    fn new(grant: &Grant, candidates: Candidates) -> Self {
        Self {
            candidates: candidates.granted(grant),
            rule: grant.rule().to_owned(),
            budgets: Arc::clone(grant.budgets()),
            destination: Arc::clone(grant.destination()),
        }
    }

    /// Judges so many bytes of body; charges them where nobody paid for them.
    fn judge(&self, around: &mut Surroundings<'_>, request: &Examined, bytes: u64, unpaid: bool) -> Verdict {
        let payload = request.payload(bytes, Content::Known(&UNSEEN));
        if !unpaid {
            return self.candidates.judge_payload(&payload);
        }
        self.candidates
            .judge_and_charge(&payload, &mut |_, _| budgets::charge_body(around, request, &self.budgets, bytes))
    }
}

impl Unheld {
    /// Monitor mode holds no more of it.
    fn is_observed_and_large(&self) -> bool {
        self.rule.is_none()
            && self.hasher.bytes() > MONITOR_HOLD
            && self.request.content_length() != Some(self.hasher.bytes())
    }
}
