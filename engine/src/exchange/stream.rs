//! What follows the head of a tunnel or a WebSocket: bytes without a known end. They are counted against the sizes that
//! hold for bodies, are charged to the budgets of the rule, have a longest life, and in a tunnel begin with a ClientHello for the host that was judged.

use super::examine::Examined;
use super::report::{Report, Who};
use super::{Exchange, Flight, Step, Surroundings};
use crate::decision::Reason;
use crate::destination::Exit;
use crate::destination::client_hello::check_hello;
use crate::evidence::record::{Outcome, Released};
use crate::facts::Timestamp;
use crate::payload::{Content, Reading, Unreadable};
use crate::policy::{Budgets, Candidates, Destination, Mode, Verdict};
use std::sync::Arc;

/// Nothing can be told of what is in it.
pub(super) static HIDDEN: Reading<'static> = Reading::Unreadable(Unreadable::Stream);

/// A tunnel or an upgraded connection that was let go.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) request: Examined,
    pub(super) candidates: Candidates,
    pub(super) rule: String,
    /// Those of that rule: its bytes are charged to them.
    pub(super) budgets: Arc<Budgets>,
    pub(super) destination: Arc<Destination>,
    /// The last moment at which a byte may pass.
    pub(super) until: Timestamp,
    /// Whether the other side has agreed to be spoken to like this. A server that does not upgrade would take what comes
    /// for further requests, which nobody judged.
    pub(super) agreed: bool,
    /// The first bytes of a tunnel, until they are a whole ClientHello.
    pub(super) hello: Option<Vec<u8>>,
}

impl Stream {
    /// The reason for ending it where no other is.
    fn reason(&self) -> Reason {
        if self.request.exit == Exit::Tunnel { Reason::TunnelDenied } else { Reason::UpgradeDenied }
    }

    fn check_life(&self, now: Timestamp) -> Result<(), (Reason, String)> {
        let over = || (self.reason(), format!("destinations/{}/life: it is over", self.destination.id()));
        if now > self.until { Err(over()) } else { Ok(()) }
    }

    /// Judges the bytes so far, these included. `Ok(false)`: they are held.
    fn judge(&mut self, chunk: &[u8], received: u64, now: Timestamp) -> Result<bool, (Reason, String)> {
        self.check_life(now)?;
        // The host announces a body that has no bytes yet.
        if !self.agreed && !chunk.is_empty() {
            // RFC 6455 section 4.1: a client waits for the answer.
            return Err((self.reason(), "bytes before the upstream has upgraded".to_owned()));
        }
        match self.candidates.judge_payload(&self.request.payload(received, Content::Known(&HIDDEN))) {
            Verdict::Allowed(_) => {}
            Verdict::Refused(refusal) => return Err((refusal.reason, refusal.condition.unwrap_or_default())),
        }
        let Some(held) = &mut self.hello else { return Ok(true) };
        held.extend_from_slice(chunk);
        let host = self.request.destination.host.to_string();
        let whole = check_hello(held, &host).map_err(|fault| (Reason::TunnelDenied, fault.to_string()))?;
        if whole {
            self.hello = None;
        }
        Ok(whole)
    }
}

impl Exchange {
    /// A piece of a tunnel or WebSocket from the agent.
    pub(super) fn stream_piece(
        &mut self,
        around: &mut Surroundings<'_>,
        mut flight: Box<Flight>,
        mut stream: Box<Stream>,
        chunk: &[u8],
        end: bool,
    ) -> Step {
        flight.received.bytes = flight.received.bytes.saturating_add(chunk.len() as u64);
        let judged = match stream.judge(chunk, flight.received.bytes, around.now) {
            // Charged before they go on, with those that were held before them.
            Ok(true) => {
                let piece = flight.received.bytes.saturating_sub(flight.forwarded.bytes);
                super::budgets::charge_piece(around, &mut stream, flight.received.bytes, piece).map(|()| true)
            }
            other => other,
        };
        let step = match judged {
            Ok(true) => {
                flight.forwarded.bytes = flight.received.bytes;
                Step::Pass
            }
            // An end before a whole ClientHello is the end of an empty tunnel: what is held goes nowhere.
            Ok(false) if end => {
                flight.aborted = true;
                Step::Abort
            }
            Ok(false) => Step::NeedBody { up_to: crate::destination::client_hello::MAX_HELLO as u64 },
            Err((reason, why)) => {
                self.cut(around, &mut flight, &stream, reason, why);
                Step::Abort
            }
        };
        flight.stream = Some(stream);
        self.stage = super::Stage::Released(flight);
        step
    }

    /// The upstream's answer to the head: only 101 makes a WebSocket of it.
    pub fn response_head(&mut self, status: u16) {
        if let super::Stage::Released(flight) = &mut self.stage
            && let Some(stream) = &mut flight.stream
        {
            stream.agreed |= status == 101;
        }
    }

    /// A piece of the response goes by: nothing may pass once a tunnel or WebSocket has outlived its time.
    pub fn response_piece(&mut self, around: &mut Surroundings<'_>) -> Step {
        let super::Stage::Released(flight) = &mut self.stage else { return Step::Pass };
        let Some(stream) = &flight.stream else { return Step::Pass };
        if flight.aborted {
            return Step::Abort;
        }
        let Err((reason, why)) = stream.check_life(around.now) else { return Step::Pass };
        let super::Stage::Released(mut flight) = std::mem::replace(&mut self.stage, super::Stage::Over) else {
            return Step::Abort;
        };
        if let Some(stream) = flight.stream.take() {
            self.cut(around, &mut flight, &stream, reason, why);
            flight.stream = Some(stream);
        }
        self.stage = super::Stage::Released(flight);
        Step::Abort
    }

    /// The last moment at which a byte may pass, where this was let go as a tunnel or WebSocket. Whoever drives the
    /// exchange ends it then, for it may be silent.
    pub fn stream_until(&self) -> Option<Timestamp> {
        match &self.stage {
            super::Stage::Released(flight) => flight.stream.as_ref().map(|stream| stream.until),
            _ => None,
        }
    }

    /// Records that it was ended for its age, where nothing else said so before.
    pub(super) fn end_stream(&self, around: &mut Surroundings<'_>, flight: &mut Flight) {
        let Some(stream) = flight.stream.take() else { return };
        if let (false, Err((reason, why))) = (flight.refused, stream.check_life(around.now)) {
            self.cut(around, flight, &stream, reason, why);
        }
    }

    /// Records that what was let go is refused after all.
    fn cut(
        &self,
        around: &mut Surroundings<'_>,
        flight: &mut Flight,
        stream: &Stream,
        reason: Reason,
        condition: String,
    ) {
        (flight.aborted, flight.refused) = (true, true);
        let report = Report {
            outcome: Outcome::Deny,
            reason,
            released: Released::None,
            mode: Mode::Enforce,
            rule: Some(stream.rule.clone()),
            condition: Some(condition),
            destination: Some(Arc::clone(&stream.destination)),
            who: Who::Request(&stream.request),
            payload: None,
        };
        self.follow(around, &report, "cut");
    }
}
