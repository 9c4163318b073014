//! What an exchange asks of its caller, and what it gives back.

use super::guard::Clearance;
use crate::decision::{Answer, Reason};
use crate::evidence::Journal;
use crate::evidence::record::{Ending, GuardVerdict, Outcome};
use crate::facts::Timestamp;
use crate::ledger::Ledger;
use crate::request::Field;

/// What an exchange works with besides its own request; lent to it for one step.
pub struct Surroundings<'a> {
    /// The time of this step.
    pub now: Timestamp,
    /// State that outlives requests.
    pub ledger: &'a mut dyn Ledger,
    /// The log that the records go to.
    pub journal: &'a mut Journal,
}

/// What comes next.
#[derive(Debug)]
#[must_use = "a step that is not carried out leaves the request hanging or lets it go unjudged"]
pub enum Step {
    /// Hold the head back and hand over the body as it comes. More than `up_to` bytes will never be needed for an
    /// enforced decision; in monitor mode the exchange may still let go before the end.
    NeedBody {
        /// Bytes.
        up_to: u64,
    },
    /// Hold everything back until this has happened, then call [`super::Exchange::resume`].
    Wait(Wait),
    /// The outcome. Carry it out; then hand over what still comes, and the end.
    Decided(Box<Decision>),
    /// The rest of the body, after an early release, is in order: pass this piece on.
    Pass,
    /// The rest of the body is not what was signed: end the stream now, this piece must not go on.
    Abort,
}

/// What an exchange waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wait {
    /// The collector's acknowledgement of this VM's log up to this size (write-ahead delivery).
    Acknowledged {
        /// Size of the log.
        size: u64,
    },
}

/// The outcome of an exchange.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Random id, 32 hex digits.
    pub id: String,
    /// Outcome.
    pub outcome: Outcome,
    /// Why.
    pub reason: Reason,
    /// Whether the agent meets the host for the first time in the life of the process.
    pub first_seen: bool,
    /// What to do with the request.
    pub verdict: Verdict,
    /// The body that goes on in the place of all that was received, where rules blank or replace something in it. The headers
    /// of the verdict are those of this one.
    pub body: Option<Vec<u8>>,
    /// What the guard must know, where the request goes on.
    pub clearance: Option<Box<Clearance>>,
}

/// What to do with the request.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Send it on with exactly these headers, pseudo-headers included.
    Forward(Vec<Field>),
    /// Refuse it.
    Refuse(Answer),
}

/// How an exchange ended, as the host saw it.
#[derive(Clone, Debug)]
pub struct End {
    /// Status of the response that went back.
    pub status: Option<u16>,
    /// Bytes of the response body.
    pub response_bytes: u64,
    /// Times the request was sent upstream.
    pub attempts: Option<u64>,
    /// Address it was sent to.
    pub upstream: Option<String>,
    /// Whether it got as far as a connection to the upstream. Without one not a byte left, whatever was decided.
    pub sent: bool,
    /// What the guard decided where it was to leave.
    pub guard: Option<GuardVerdict>,
    /// How it ended.
    pub ending: Ending,
}
