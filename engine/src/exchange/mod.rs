//! The state machine that takes one request through every stage. The filter, the native harness and the command line
//! drive this and nothing else, so that no two of them can disagree.
//!
//! Order: context, nonce, destination, form, policy, payload, names, budgets. A request whose signature did not verify is told and
//! recorded nothing of the policy; nothing is released before a record of it stands in the journal.

mod budgets;
mod content;
mod examine;
mod flight;
pub mod guard;
pub mod handover;
mod names;
#[cfg(test)]
mod properties;
mod report;
mod step;
mod stream;
#[cfg(test)]
mod tests;
mod unheld;
mod wait;
mod websocket;

pub use guard::Clearance;
pub use step::{Decision, End, Step, Surroundings, Verdict, Wait};

use crate::decision::{Reason, answer::answer};
use crate::destination::Exit;
use crate::evidence::record::{Binding, CompletionRecord, Ending, GuardVerdict, Outcome, Released};
use crate::evidence::{AppendError, Appended};
use crate::facts::{Facts, Timestamp};
use crate::hex::hex;
use crate::payload::digest::{BodyDigest, BodyHasher, ContentDigests};
use crate::payload::{Content, Reading, Unreadable};
use crate::policy::{
    Candidates, Configuration, Delivery, Destination, Dimension, Feedback, Grant, Mode, Refusal,
    Verdict as PolicyVerdict, WhenFull,
};
use crate::request::{Field, MalformedHead, RequestHead};
use content::Looked;
use examine::Examined;
use flight::{Flight, Passed, Rest};
use report::{Denial, Report, Who};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use stream::Stream;
use wait::Waiting;

/// Bytes of a body that are held back at most for a request that monitor mode lets go in any case.
const MONITOR_HOLD: u64 = 1024 * 1024;

/// One request and its response.
#[derive(Debug)]
pub struct Exchange {
    configuration: Arc<Configuration>,
    facts: Facts,
    id: String,
    stage: Stage,
    /// Until when its session is quarantined, where it is.
    quarantined_until: Option<Timestamp>,
    /// Whether its agent meets its host for the first time, once that is asked.
    first_seen: Option<bool>,
    looked: Looked,
}

#[derive(Debug)]
enum Stage {
    /// Nothing seen.
    New,
    /// The head is judged, the body is coming.
    Body(Box<Held>),
    /// It is to go on once its record is stored.
    Waiting(Box<Waiting>),
    /// It goes on, or went.
    Released(Box<Flight>),
    /// Refused, or over.
    Over,
}

/// A request whose head is held back.
#[derive(Debug)]
struct Held {
    request: Examined,
    candidates: Candidates,
    expected: Option<ContentDigests>,
    hasher: BodyHasher,
    /// Empty unless something is asked of it.
    body: Vec<u8>,
    bytes: u64,
}

impl Exchange {
    /// An exchange under the configuration that is newest when its head arrives.
    pub fn new(configuration: Arc<Configuration>, facts: Facts) -> Self {
        let id = derive_id(&facts.random, "");
        Self {
            configuration,
            facts,
            id,
            stage: Stage::New,
            quarantined_until: None,
            first_seen: None,
            looked: Looked::default(),
        }
    }

    /// The decision id, 32 hex digits; known from the start.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// While the body is awaited: the smallest size that holds for the closest rule; `None`: any, or nothing is awaited.
    pub fn limit(&self, dimension: Dimension) -> Option<u64> {
        match &self.stage {
            Stage::Body(held) => held.candidates.limit(dimension),
            Stage::Released(flight) => flight.unheld.as_ref()?.candidates()?.limit(dimension),
            _ => None,
        }
    }

    /// The head of the request. `end` says that nothing follows it.
    pub fn head(&mut self, around: &mut Surroundings<'_>, head: Result<RequestHead, MalformedHead>, end: bool) -> Step {
        if !matches!(self.stage, Stage::New) {
            return Step::Abort;
        }
        self.stage = Stage::Over;
        let head = match head {
            Ok(head) => head,
            Err(fault) => {
                return self.refuse(around, Denial::unverified(Reason::RequestMalformed, fault.to_string(), None));
            }
        };
        // Checked before any work: with no room for its record, nothing can be let go, unless the operator chose to count it.
        if !around.journal.can_release() && self.configuration.gateway().when_full() == WhenFull::Deny {
            let why = "the evidence queue is full".to_owned();
            return self.refuse(around, Denial::unverified(Reason::AuditUnavailable, why, Some(&head)));
        }
        let configuration = Arc::clone(&self.configuration);
        match examine::examine(&configuration, &self.facts, around, head, end) {
            Err(fault) => self.refuse(around, fault.denial()),
            Ok((request, candidates, expected)) => {
                let candidates = match self.heed_quarantine(around, &request, candidates) {
                    Ok(candidates) => candidates,
                    Err(refusal) => return self.refuse(around, Denial::policy(&refusal, &request, None)),
                };
                let hasher = BodyHasher::new(expected.as_ref());
                let held = Box::new(Held { request, candidates, expected, hasher, body: Vec::new(), bytes: 0 });
                // What follows the head of a tunnel or an upgrade has no end to wait for.
                if end || held.request.exit.is_stream() {
                    return self.decide(around, held);
                }
                // Url, headers and an announced length may refuse it already; nothing of the body need then be read.
                let announced = held.request.content_length().unwrap_or(0);
                if let Some(refusal) = budgets::foresee(around, &held.request, &held.candidates, announced) {
                    return self.refuse(around, Denial::policy(&refusal, &held.request, None));
                }
                if !configuration.gateway().holds() {
                    return self.decide_unheld(around, held);
                }
                self.next_piece(around, held, announced)
            }
        }
    }

    /// In the place of [`Exchange::head`], where there is a newer configuration than that of this exchange, and it cannot be had: what
    /// it would say nobody knows.
    pub fn outdated(&mut self, around: &mut Surroundings<'_>, head: &Result<RequestHead, MalformedHead>) -> Step {
        if !matches!(self.stage, Stage::New) {
            return Step::Abort;
        }
        self.stage = Stage::Over;
        let why = "there is a newer configuration, which this module cannot use".to_owned();
        self.refuse(around, Denial::unverified(Reason::PolicyUnavailable, why, head.as_ref().ok()))
    }

    /// The next piece of the body. `end` says that nothing follows it.
    pub fn body(&mut self, around: &mut Surroundings<'_>, chunk: &[u8], end: bool) -> Step {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Body(mut held) => {
                if !chunk.is_empty() && held.bytes == 0 {
                    // The first byte tells that there is a body; only now must the signature cover it.
                    match held.request.verified.require_body_coverage() {
                        Ok(digests) => {
                            held.hasher = BodyHasher::new(digests.as_ref());
                            held.expected = digests;
                        }
                        Err(error) => {
                            let (reason, why) = (error.reason(), error.to_string());
                            return self.refuse(around, Denial::identity(reason, why, &held.request, None));
                        }
                    }
                }
                held.hasher.update(chunk);
                held.keep(chunk);
                held.bytes = held.bytes.saturating_add(chunk.len() as u64);
                let seen = held.bytes;
                if end { self.decide(around, held) } else { self.next_piece(around, held, seen) }
            }
            Stage::Released(mut flight) => {
                if let Some(stream) = flight.stream.take_if(|_| !flight.aborted) {
                    return self.stream_piece(around, flight, stream, chunk, end);
                }
                if let Some(unheld) = flight.unheld.take_if(|_| !flight.aborted) {
                    return self.unheld_piece(around, flight, unheld, chunk, end);
                }
                let step = flight.pass(chunk, end);
                self.stage = Stage::Released(flight);
                step
            }
            // What comes meanwhile is the caller's to keep, for there is no taking it back.
            Stage::Waiting(mut waiting) => {
                waiting.flight.aborted = true;
                self.stage = Stage::Waiting(waiting);
                Step::Abort
            }
            stage @ (Stage::New | Stage::Over) => {
                self.stage = stage;
                Step::Abort
            }
        }
    }

    /// Trailers: refused in every mode, for servers merge them with headers that were judged.
    pub fn trailers(&mut self, around: &mut Surroundings<'_>) -> Step {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Body(held) => {
                let Held { request, hasher, bytes, .. } = *held;
                let why = "the request has trailers".to_owned();
                let digest = (bytes > 0).then(|| hasher.finish());
                self.refuse(around, Denial::floor(Reason::RequestMalformed, why, &request, digest.as_ref()))
            }
            Stage::Waiting(mut waiting) => {
                waiting.flight.aborted = true;
                self.stage = Stage::Waiting(waiting);
                Step::Abort
            }
            Stage::Released(mut flight) => {
                if let Some(unheld) = flight.unheld.take_if(|_| !flight.aborted) {
                    return self.unheld_trailers(around, flight, *unheld);
                }
                flight.aborted = true;
                self.stage = Stage::Released(flight);
                Step::Abort
            }
            Stage::New | Stage::Over => Step::Abort,
        }
    }

    /// The exchange is over, however it ended. Writes the completion of what was let go.
    pub fn end(&mut self, around: &mut Surroundings<'_>, end: End) {
        // A client that left before anything was decided had nothing released: there is nothing to record.
        let mut flight = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Released(flight) => flight,
            // The client left, or the host ended it, before the record was acknowledged.
            Stage::Waiting(mut waiting) => {
                waiting.flight.hold_back();
                waiting.flight
            }
            Stage::New | Stage::Body(_) | Stage::Over => return,
        };
        self.end_stream(around, &mut flight);
        // A body that did not come to its end went nowhere.
        let unheld = flight.unheld.take();
        let cut = flight.aborted || flight.rest.is_some() || unheld.is_some();
        let kept_back = matches!(end.guard, Some(GuardVerdict::Refused { .. }));
        let refused = flight.refused || kept_back;
        let Flight { rest, mut received, mut forwarded, held_back, .. } = *flight;
        if let Some(rest) = rest {
            received = Passed::of(&rest.hasher.finish());
            forwarded = received.clone();
        }
        if let Some(unheld) = unheld {
            received = unheld.received();
        }
        if !end.sent || kept_back || held_back {
            forwarded = Passed::default();
        }
        let record = CompletionRecord {
            decision: self.id.clone(),
            time: around.now,
            received_bytes: received.bytes,
            received_digest: received.digest,
            forwarded_bytes: forwarded.bytes,
            forwarded_digest: forwarded.digest,
            attempts: end.attempts,
            guard: end.guard,
            upstream: end.upstream,
            status: end.status,
            response_bytes: end.response_bytes,
            duration: around.now.millis_since(self.facts.now),
            ending: match (refused, cut) {
                (true, _) => Ending::Refused,
                (false, true) => Ending::Reset,
                (false, false) => end.ending,
            },
        };
        // Its place was kept when the decision was recorded. It fails only once the log is closed, and a log that was
        // closed with an exchange open says so: the audit reports a decision without completion.
        let _ = around.journal.append_completion(&record);
    }

    /// More of the body is to come, and at least `bytes` in all: refuse, let go early, or ask for it.
    fn next_piece(&mut self, around: &mut Surroundings<'_>, held: Box<Held>, bytes: u64) -> Step {
        let large = Reading::Unreadable(Unreadable::Large);
        let content = if held.is_beyond() { Content::Known(&large) } else { Content::Pending };
        let payload = held.request.payload(bytes, content);
        match held.candidates.judge_payload(&payload) {
            PolicyVerdict::Refused(refusal) if refusal.mode == Mode::Enforce => {
                self.look(around, &held.candidates, &payload, &[]);
                let Held { request, hasher, bytes: seen, .. } = *held;
                let digest = (seen > 0).then(|| hasher.finish());
                self.refuse(around, Denial::policy(&refusal, &request, digest.as_ref()))
            }
            // All of it is here, though the host has not said so yet: it is not let go unchecked.
            PolicyVerdict::Refused(_)
                if held.bytes > MONITOR_HOLD && held.request.content_length() == Some(held.bytes) =>
            {
                self.decide(around, held)
            }
            PolicyVerdict::Refused(refusal) if held.bytes > MONITOR_HOLD && !held.waits() => {
                let Held { request, expected, hasher, candidates, .. } = *held;
                if let Some(refusal) = self.charge_names(around, &request, &candidates).filter(enforced) {
                    return self.refuse(around, Denial::policy(&refusal, &request, None));
                }
                let unsigned = request.verified.binding() != Binding::Request;
                let rest = Rest { hasher, expected, unsigned, announced: request.content_length() };
                let flight = Flight { rest: Some(rest), ..Flight::default() };
                self.let_go(around, &request, refusal, Released::Head, None, flight)
            }
            verdict => {
                let up_to = match verdict {
                    PolicyVerdict::Allowed(_) => held.candidates.largest_body(),
                    PolicyVerdict::Refused(_) if held.waits() => held.candidates.largest_read().max(MONITOR_HOLD),
                    PolicyVerdict::Refused(_) => MONITOR_HOLD,
                };
                self.stage = Stage::Body(held);
                Step::NeedBody { up_to }
            }
        }
    }

    /// The whole request has been seen.
    fn decide(&mut self, around: &mut Surroundings<'_>, held: Box<Held>) -> Step {
        let Held { request, candidates, expected, hasher, body, bytes } = *held;
        let digest = hasher.finish();
        if let Some(mismatch) = expected.as_ref().and_then(|expected| digest.check(expected).err()) {
            let denial = Denial::identity(mismatch.reason(), mismatch.to_string(), &request, Some(&digest));
            return self.refuse(around, denial);
        }
        if request.head.has("content-length") && request.content_length() != Some(bytes) {
            let why = "the body is not as long as content-length says".to_owned();
            return self.refuse(around, Denial::floor(Reason::RequestMalformed, why, &request, Some(&digest)));
        }
        let reading = content::read(&request, &candidates, &body, bytes);
        let payload = request.payload(bytes, Content::Known(&reading));
        self.look(around, &candidates, &payload, &body);
        let verdict = self.judge_and_charge(around, &request, &candidates, &payload);
        if !matches!(&verdict, PolicyVerdict::Refused(refusal) if enforced(refusal)) {
            self.treat(around, &candidates, &reading, &body);
        }
        match verdict {
            PolicyVerdict::Allowed(grant) if request.exit.is_stream() => {
                self.open_stream(around, request, candidates, &grant)
            }
            PolicyVerdict::Allowed(grant) => {
                self.allow(around, &request, &grant, Some(&digest), Flight::whole(&digest))
            }
            // Tunnels and upgrades stay enforced in every mode: what they carry could not even be observed.
            PolicyVerdict::Refused(refusal) if request.exit.is_stream() => {
                let refusal = Refusal { mode: Mode::Enforce, ..refusal };
                self.refuse(around, Denial::policy(&refusal, &request, None))
            }
            PolicyVerdict::Refused(refusal) if refusal.mode == Mode::Monitor => {
                let flight = Flight::whole(&digest);
                self.let_go(around, &request, refusal, Released::HeadAndBody, Some(&digest), flight)
            }
            PolicyVerdict::Refused(refusal) => self.refuse(around, Denial::policy(&refusal, &request, Some(&digest))),
        }
    }

    /// A rule allows a tunnel or an upgrade: its head goes on, what follows is looked at as it comes.
    fn open_stream(
        &mut self,
        around: &mut Surroundings<'_>,
        request: Examined,
        candidates: Candidates,
        grant: &Grant,
    ) -> Step {
        let step = self.allow(around, &request, grant, None, Flight::default());
        if let Some(flight) = self.flight_mut() {
            let tunnel = request.exit == Exit::Tunnel;
            let life = if tunnel { request.outlet.tunnel } else { request.outlet.upgrade };
            flight.stream = Some(Box::new(Stream {
                until: around.now.plus_millis(life.unwrap_or(0)),
                rule: grant.rule().to_owned(),
                budgets: Arc::clone(grant.budgets()),
                destination: Arc::clone(grant.destination()),
                agreed: tunnel,
                hello: tunnel.then(Vec::new),
                request,
                candidates,
            }));
        }
        step
    }

    /// A rule allows it; without a digest, its head, before anything that follows is there.
    fn allow(
        &mut self,
        around: &mut Surroundings<'_>,
        request: &Examined,
        grant: &Grant,
        digest: Option<&BodyDigest>,
        flight: Flight,
    ) -> Step {
        let forward = request.forward(grant);
        let report = Report {
            outcome: Outcome::Allow,
            reason: Reason::Permitted,
            released: if digest.is_some() { Released::HeadAndBody } else { Released::Head },
            mode: grant.mode(),
            rule: Some(grant.rule().to_owned()),
            condition: None,
            destination: Some(Arc::clone(grant.destination())),
            who: Who::Request(request),
            payload: digest,
        };
        // Envoy ends the CONNECT itself: what is in its head goes nowhere.
        let credentials = grant.injects().filter(|_| request.exit != Exit::Tunnel);
        self.release(around, &report, request, forward, flight, credentials)
    }

    /// The policy refuses it, but monitor mode lets it go with its own headers, less the reserved ones.
    fn let_go(
        &mut self,
        around: &mut Surroundings<'_>,
        request: &Examined,
        refusal: Refusal,
        released: Released,
        digest: Option<&BodyDigest>,
        flight: Flight,
    ) -> Step {
        let forward = request.forward_own();
        let report = Report {
            outcome: Outcome::WouldDeny,
            reason: refusal.reason,
            released,
            mode: Mode::Monitor,
            rule: refusal.rule,
            condition: refusal.condition,
            destination: refusal.destination,
            who: Who::Request(request),
            payload: digest,
        };
        self.release(around, &report, request, forward, flight, None)
    }

    /// Records, then releases; without a record nothing goes. `credentials` names the destination whose credentials the
    /// gateway adds.
    fn release(
        &mut self,
        around: &mut Surroundings<'_>,
        report: &Report<'_>,
        request: &Examined,
        mut forward: Vec<Field>,
        mut flight: Flight,
        credentials: Option<&str>,
    ) -> Step {
        if let Who::Request(request) = report.who {
            self.meet(around, request);
        }
        let (record, openings) = report.record(self, around);
        let (delivery, when_full) = (self.configuration.gateway().delivery(), self.configuration.gateway().when_full());
        let ahead = (delivery == Delivery::WriteAhead).then(|| openings.clone());
        let recorded = match around.journal.append_decision(&record, openings, self.configuration.gateway().mask()) {
            // Only for want of room in the whole queue: an agent must not be able to make its own requests unrecorded.
            Err(AppendError::Full) if when_full == WhenFull::Drop => {
                around.journal.drop_decision(&record).map(|()| Appended::Folded)
            }
            recorded => recorded,
        };
        let leaf = match recorded {
            Ok(Appended::Leaf(leaf)) => Some(leaf),
            // Counted, as the operator chose. Never where the record has to be stored first.
            Ok(Appended::Folded) if ahead.is_none() => None,
            other => {
                let error = other.err().unwrap_or(AppendError::Full);
                let denial = Denial {
                    reason: Reason::AuditUnavailable,
                    rule: None,
                    condition: Some(error.to_string()),
                    mode: report.mode,
                    destination: report.destination.clone(),
                    who: report.who,
                    payload: report.payload,
                    told: false,
                };
                return self.refuse(around, denial);
            }
        };
        let body = self.replace(&mut forward, &mut flight);
        let decision = Box::new(Decision {
            id: self.id.clone(),
            outcome: report.outcome,
            reason: report.reason,
            first_seen: self.first_seen == Some(true),
            verdict: Verdict::Forward(forward),
            body,
            clearance: Some(Box::new(self.clearance(request, report.destination.clone(), credentials))),
        });
        if let (Some(openings), Some(leaf)) = (ahead, leaf) {
            return self.wait(around, Box::new(flight), decision, (record, openings), leaf);
        }
        self.stage = Stage::Released(Box::new(flight));
        Step::Decided(decision)
    }

    /// What was decided to go, gone or not.
    fn flight_mut(&mut self) -> Option<&mut Flight> {
        match &mut self.stage {
            Stage::Released(flight) => Some(flight),
            Stage::Waiting(waiting) => Some(&mut waiting.flight),
            Stage::New | Stage::Body(_) | Stage::Over => None,
        }
    }

    fn clearance(
        &self,
        request: &Examined,
        destination: Option<Arc<Destination>>,
        credentials: Option<&str>,
    ) -> Clearance {
        let context = request.verified.context();
        Clearance {
            pass: request.pass(),
            decision: self.id.clone(),
            host: request.exit.dialled_as(&request.destination.host),
            credentials: credentials.map(str::to_owned),
            terms: guard::Terms::Own { configuration: Arc::clone(&self.configuration), destination },
            binding: request.verified.binding(),
            agent: context.agent.clone(),
            session: context.session.clone(),
            tenant: context.tenant.clone(),
        }
    }

    /// Records and answers a refusal. A denial that finds no room in the journal is counted in a summary there.
    fn refuse(&self, around: &mut Surroundings<'_>, denial: Denial<'_>) -> Step {
        let full = denial.told && self.configuration.gateway().feedback() == Feedback::Full;
        let report = denial.into_report();
        let (record, openings) = report.record(self, around);
        // A refusal needs no room: what cannot be recorded one by one is folded, and a closed log lets nothing go.
        let _ = around.journal.append_decision(&record, openings, self.configuration.gateway().mask());
        let (rule, condition) = if full { (report.rule.as_deref(), report.condition.as_deref()) } else { (None, None) };
        Step::Decided(Box::new(Decision {
            id: self.id.clone(),
            outcome: Outcome::Deny,
            reason: report.reason,
            first_seen: false,
            verdict: Verdict::Refuse(answer(report.reason, &self.id, rule, condition)),
            body: None,
            clearance: None,
        }))
    }
}

fn enforced(refusal: &Refusal) -> bool {
    refusal.mode == Mode::Enforce
}

/// An id nobody can guess or choose; salts come from the same bytes under other labels and cannot be told from it.
fn derive_id(random: &[u8; 32], which: &str) -> String {
    let hash = Sha256::new().chain_update(b"exeat/v1 decision id").chain_update(which).chain_update(random).finalize();
    hex(hash.split_at(16).0)
}
