//! Sends mutated requests over connections that are kept, and what was signed after some of them.

use crate::mutate::{IDENTITY, mutate, signature_of_length};
use crate::original::{Maker, Original, Wire};
use exeat_e2e::stage::client::{Connection, Response};
use fastrand::Rng;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

/// How long a request may take whose end everybody sees alike.
const PATIENT: Duration = Duration::from_secs(60);

/// How long to look for an answer to one whose end the server may see elsewhere.
const BRIEF: Duration = Duration::from_millis(300);

/// What is done to one request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Job {
    /// A field of the identity ends after so many bytes.
    Cut(&'static str, usize),
    /// A signature of so many bytes.
    Length(usize),
    /// At random.
    Random,
}

/// Every cut of every field of the identity, every length of a signature, and so many at random.
pub(crate) fn jobs(random: usize, shape: &Original) -> Vec<Job> {
    let cuts = IDENTITY.iter().flat_map(|field| (0..shape.wire.value(field).len()).map(|at| Job::Cut(field, at)));
    let lengths = (0..=200).filter(|length| *length != 64).map(Job::Length);
    cuts.chain(lengths).chain(std::iter::repeat_n(Job::Random, random)).collect()
}

/// Requests made with this generator are alike but for path and nonce, so that every position of a cut exists.
pub(crate) fn shape() -> Rng {
    Rng::with_seed(1)
}

/// What came of it all.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) originals: HashMap<String, Original>,
    /// Mutated requests by what they were answered with: a reason, `Envoy 400`, `200`, `nothing`.
    pub(crate) answers: BTreeMap<String, usize>,
    pub(crate) sent: usize,
    /// What was signed, sent after its mutation had been refused without its nonce: it must go through.
    pub(crate) followed: usize,
    pub(crate) wrong: Vec<String>,
}

impl Outcome {
    pub(crate) fn add(&mut self, other: Self) {
        self.originals.extend(other.originals);
        other.answers.into_iter().for_each(|(answer, count)| *self.answers.entry(answer).or_default() += count);
        self.sent += other.sent;
        self.followed += other.followed;
        self.wrong.extend(other.wrong);
    }
}

/// One sender, with a connection of its own.
pub(crate) struct Sender<'a> {
    pub(crate) maker: Maker<'a>,
    pub(crate) listener: SocketAddr,
    pub(crate) rng: Rng,
    pub(crate) connection: Option<Connection>,
    /// Whether the evidence may find no room.
    pub(crate) crowded: bool,
}

impl Sender<'_> {
    pub(crate) fn run(&mut self, jobs: &[Job]) -> Outcome {
        let mut outcome = Outcome::default();
        for job in jobs {
            self.one(*job, &mut outcome);
        }
        outcome
    }

    fn one(&mut self, job: Job, outcome: &mut Outcome) {
        let original = match job {
            Job::Random => self.maker.make(&mut self.rng),
            _ => self.maker.make(&mut shape()),
        };
        let mut wire = original.wire.clone();
        let how = match job {
            Job::Cut(field, at) => {
                if let Some((_, value)) = wire.line(field) {
                    value.truncate(at);
                }
                format!("{field} cut after {at} bytes")
            }
            Job::Length(length) => {
                signature_of_length(&mut wire, length, &mut self.rng);
                format!("a signature of {length} bytes")
            }
            Job::Random => {
                let other = self.maker.make(&mut self.rng);
                let how = mutate(&mut wire, &other.wire, &mut self.rng);
                outcome.originals.insert(other.target.clone(), other);
                how
            }
        };
        outcome.originals.insert(original.target.clone(), original.clone());
        outcome.sent += 1;
        let answer = self.send(&wire);
        let told = tell(&answer);
        *outcome.answers.entry(told.clone()).or_default() += 1;
        let lost = answer.is_none() && !wire.may_lose_framing();
        // Envoy knows no transfer coding but chunked, and refuses others with 501.
        let failed = answer.as_ref().is_some_and(|answer| answer.status >= 500 && told != "Envoy 501");
        if lost || (failed && !self.tolerates(&told)) {
            outcome.wrong.push(format!("{how}: {told}: {}", shown(&wire)));
        }
        if keeps_the_nonce(&told) || self.rng.u8(..4) == 0 {
            let after = tell(&self.send(&original.wire));
            let expected = if keeps_the_nonce(&told) { after == "200" } else { after != "nothing" };
            outcome.followed += usize::from(keeps_the_nonce(&told));
            if !expected && !self.tolerates(&after) {
                outcome.wrong.push(format!("{how}: {told}, then as signed: {after}: {}", shown(&wire)));
            }
        }
    }

    fn tolerates(&self, told: &str) -> bool {
        self.crowded && told == "audit-unavailable"
    }

    fn send(&mut self, wire: &Wire) -> Option<Response> {
        if wire.may_lose_framing() {
            let mut connection = Connection::open(self.listener).unwrap().with_limit(BRIEF);
            connection.write(&wire.bytes()).ok()?;
            return connection.read_response(&wire.method).ok();
        }
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(self.listener).unwrap().with_limit(PATIENT),
        };
        // Envoy may answer before it has all, and close.
        let _ = connection.write(&wire.bytes());
        let answer = connection.read_response(&wire.method).ok()?;
        let stays = answer.header("connection") != Some("close") && !answer.truncated;
        self.connection = stays.then_some(connection);
        Some(answer)
    }
}

/// The request for people, its body cut.
fn shown(wire: &Wire) -> String {
    let bytes = wire.bytes();
    bytes.get(..1500).unwrap_or(&bytes).escape_ascii().to_string()
}

fn tell(answer: &Option<Response>) -> String {
    let Some(answer) = answer else { return "nothing".to_owned() };
    let reason = answer.json().ok().and_then(|body| body["reason"].as_str().map(str::to_owned));
    match (answer.status, answer.header("exeat-decision"), reason) {
        (200, Some(_), _) => "200".to_owned(),
        (_, Some(_), Some(reason)) => reason,
        // An answer to HEAD has no body.
        (status, Some(_), None) => format!("{status}"),
        (status, None, _) => format!("Envoy {status}"),
    }
}

/// Whether a request that was refused so cannot have spent its nonce: it was refused before its signature verified.
fn keeps_the_nonce(told: &str) -> bool {
    [
        "context-missing",
        "signature-missing",
        "signature-invalid",
        "signature-expired",
        "key-unknown",
        "Envoy 400",
        "Envoy 404",
    ]
    .contains(&told)
}
