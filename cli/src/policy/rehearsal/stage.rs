//! Takes a request through the engine's whole state machine, with a real signature, a ledger and a journal: what a gateway
//! does, without one.

use super::case::{By, Case, Sending};
use super::expect::{Observed, Upstream, outcome_word};
use super::keys::{StandIn, entry, stand_in};
use super::token;
use crate::policy::load::Loaded;
use crate::sign::{SignOptions, sign_request};
use anyhow::{Context as _, bail};
use exeat_engine::evidence::record::Ending;
use exeat_engine::evidence::{Capacity, GatewayKey, GenesisRecord, Journal, ModuleReference, Origin};
use exeat_engine::exchange::{Decision, End, Exchange, Step, Surroundings, Verdict};
use exeat_engine::facts::{Facts, Timestamp};
use exeat_engine::ledger::MemoryLedger;
use exeat_engine::policy::node::Node;
use exeat_engine::policy::{Configuration, Dimension};
use exeat_engine::request::{Field, RequestHead};
use serde_json::Value;
use std::sync::Arc;

/// Milliseconds for which the gateway is taken to have run before a case.
const RUNNING: u64 = 3_600_000;

/// Bytes of a body that a host hands over at once.
const PIECE: usize = 16 * 1024;

/// A policy whose signers' keys are at hand.
pub struct Rehearsal {
    document: Node,
    configuration: Arc<Configuration>,
    keys: Arc<Vec<StandIn>>,
}

impl Rehearsal {
    /// Of a policy that was accepted.
    ///
    /// # Errors
    /// The operating system gives no randomness.
    pub fn new(loaded: &Loaded) -> anyhow::Result<Self> {
        let (mut document, keys) = stand_in(&loaded.whole())?;
        without_tables(&mut document);
        without_waiting(&mut document);
        Self::of(document, Arc::new(keys)).context("with other keys the policy is refused")
    }

    fn of(document: Node, keys: Arc<Vec<StandIn>>) -> anyhow::Result<Self> {
        let configuration = Configuration::accept(&serde_json::to_vec(&document)?)?;
        Ok(Self { document, configuration: Arc::new(configuration), keys })
    }

    /// The same keys before another policy.
    ///
    /// # Errors
    /// It is refused.
    pub fn with(&self, document: Node) -> anyhow::Result<Self> {
        Self::of(document, Arc::clone(&self.keys))
    }

    /// The plugin configuration.
    pub fn document(&self) -> &Node {
        &self.document
    }

    /// What the gateway holds.
    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// The keys that stand in for those of the policy.
    pub fn keys(&self) -> &[StandIn] {
        &self.keys
    }

    /// Plays a case in a gateway of its own.
    ///
    /// # Errors
    /// The request cannot be made: no such key, or a context that no header can hold.
    pub fn play(&self, case: &Case, now: Timestamp) -> anyhow::Result<Observed> {
        let now = case.now.unwrap_or(now);
        let mut gateway = Gateway::new(now)?;
        for (sending, times) in &case.before {
            for _ in 0..*times {
                self.send(&mut gateway, sending, now)?;
            }
        }
        self.send(&mut gateway, &case.sending, now)
    }

    /// Plays one request in a gateway of its own.
    ///
    /// # Errors
    /// As [`Rehearsal::play`].
    pub fn play_one(&self, sending: &Sending, now: Timestamp) -> anyhow::Result<Observed> {
        self.send(&mut Gateway::new(now)?, sending, now)
    }

    /// The sizes that hold for the closest rule that fits but for what the request carries.
    ///
    /// # Errors
    /// As [`Rehearsal::play`].
    pub fn limits(&self, sending: &Sending, now: Timestamp) -> anyhow::Result<Vec<(Dimension, u64)>> {
        let (mut exchange, head) = self.begin(sending, now)?;
        let mut gateway = Gateway::new(now)?;
        let mut around = Surroundings { now, ledger: &mut gateway.ledger, journal: &mut gateway.journal };
        // The end is left open, so that there is something to wait for.
        let _awaited = exchange.head(&mut around, Ok(head), false);
        Ok(Dimension::ALL.into_iter().filter_map(|each| Some((each, exchange.limit(each)?))).collect())
    }

    fn send(&self, gateway: &mut Gateway, sending: &Sending, now: Timestamp) -> anyhow::Result<Observed> {
        let (exchange, head) = self.begin(sending, now)?;
        gateway.exchange(exchange, head, sending.request.body.as_deref().unwrap_or_default())
    }

    fn begin(&self, sending: &Sending, now: Timestamp) -> anyhow::Result<(Exchange, RequestHead)> {
        let Proof { fields, by } = sign(sending, &self.keys, now)?;
        let head = sending.request.head_with(&fields)?;
        let peer = sending.peer.clone().or_else(|| by?.spiffe.clone());
        let mut random = [0; 32];
        getrandom::fill(&mut random).context("the operating system gives no randomness")?;
        let started = Timestamp(now.millis().saturating_sub(RUNNING));
        let facts = Facts { now, started, random, peer, ..Facts::default() };
        Ok((Exchange::new(Arc::clone(&self.configuration), facts), head))
    }
}

/// What proves who sends a request.
#[derive(Debug, Default)]
pub struct Proof<'k> {
    /// Fields to add.
    pub fields: Vec<(String, String)>,
    /// The key they were made with; none for a request without context.
    pub by: Option<&'k StandIn>,
}

/// The proof of who sends a request.
///
/// # Errors
/// No such key, or a context that no header can hold.
pub fn sign<'k>(sending: &Sending, keys: &'k [StandIn], now: Timestamp) -> anyhow::Result<Proof<'k>> {
    let Some(context) = &sending.context else { return Ok(Proof::default()) };
    let key = choose(keys, &sending.by)?;
    if let Some(token) = &key.jwt {
        return Ok(Proof { fields: vec![token::field(key, token, context, now)?], by: Some(key) });
    }
    let options = SignOptions::new(&key.keyid, i64::try_from(now.seconds())?);
    let signed = sign_request(&sending.request, context, &key.key, &options)?;
    Ok(Proof { fields: signed.fields, by: Some(key) })
}

/// Tables for fast verification pay for themselves only after many requests.
fn without_tables(document: &mut Node) {
    let Some(Node::Map(gateway)) = entry(document, "gateway") else { return };
    if gateway.iter().all(|(key, _)| key != "context") {
        gateway.push(("context".to_owned(), Node::Map(Vec::new())));
    }
    let context = gateway.iter_mut().find(|(key, _)| key == "context").map(|(_, context)| context);
    if let Some(Node::Map(context)) = context {
        context.retain(|(key, _)| key != "prepared_keys");
        context.push(("prepared_keys".to_owned(), Node::Number(0.into())));
    }
}

/// No collector is asked here, and no decision depends on how its record is delivered.
fn without_waiting(document: &mut Node) {
    let gateway = entry(document, "gateway");
    if let Some(Node::Map(audit)) = gateway.and_then(|gateway| entry(gateway, "audit")) {
        audit.retain(|(key, _)| key != "delivery");
    }
}

/// The key that a case names, or the first that signs requests.
fn choose<'k>(keys: &'k [StandIn], by: &By) -> anyhow::Result<&'k StandIn> {
    let fits = |key: &&StandIn| {
        by.signer.as_ref().is_none_or(|signer| *signer == key.signer)
            && by.key.as_ref().is_none_or(|keyid| *keyid == key.keyid)
    };
    let fitting = || keys.iter().filter(fits);
    let found = fitting().find(|key| key.jwt.is_none()).or_else(|| fitting().next());
    found.with_context(|| match (&by.signer, &by.key) {
        (None, None) => "the policy has no signer with a key".to_owned(),
        (signer, key) => {
            let name = |name: &Option<String>| name.as_ref().map_or_else(String::new, |name| format!(" {name:?}"));
            let known: Vec<_> = keys.iter().map(|key| format!("{} of {}", key.keyid, key.signer)).collect();
            format!("no key{} of a signer{}; there are {}", name(key), name(signer), known.join(", "))
        }
    })
}

/// State and log of a gateway.
struct Gateway {
    now: Timestamp,
    ledger: MemoryLedger,
    journal: Journal,
}

impl Gateway {
    fn new(now: Timestamp) -> anyhow::Result<Self> {
        let genesis = GenesisRecord {
            origin: Origin::new("rehearsal", "b", "1")?,
            time: now,
            start: now,
            environment: None,
            deployment: None,
            module: ModuleReference::default(),
            previous: None,
        };
        let capacity = Capacity { records: 1 << 16, bytes: 1 << 26 };
        let journal = Journal::new(&genesis, GatewayKey::from_seed([0; 32]), capacity)?;
        Ok(Self { now, ledger: MemoryLedger::new(1 << 16), journal })
    }

    fn exchange(&mut self, mut exchange: Exchange, head: RequestHead, body: &[u8]) -> anyhow::Result<Observed> {
        let mut pieces = body.chunks(PIECE).peekable();
        let mut around = Surroundings { now: self.now, ledger: &mut self.ledger, journal: &mut self.journal };
        let mut step = exchange.head(&mut around, Ok(head), body.is_empty());
        let decision = loop {
            step = match step {
                // The head has gone; whether the body may follow is decided once it is whole.
                Step::Decided(decision) if exchange.is_unheld() => {
                    match let_body_follow(&mut exchange, &mut around, body)? {
                        Some(refused) => break refused,
                        None => break decision,
                    }
                }
                Step::Decided(decision) => break decision,
                Step::NeedBody { .. } => {
                    let Some(piece) = pieces.next() else { bail!("the engine asks for more than the whole body") };
                    exchange.body(&mut around, piece, pieces.peek().is_none())
                }
                other => bail!("the engine decides nothing: {other:?}"),
            };
        };
        let end = End {
            status: Some(200),
            response_bytes: 0,
            attempts: Some(1),
            upstream: None,
            sent: true,
            guard: None,
            ending: Ending::Complete,
        };
        exchange.end(&mut around, end);
        self.observed(&decision, body)
    }

    /// The decision, with what only its record says.
    fn observed(&mut self, decision: &Decision, body: &[u8]) -> anyhow::Result<Observed> {
        let mut record = Value::Null;
        while let Some(batch) = self.journal.next_batch(self.now, 1 << 16, 1 << 26, &[]) {
            let text = std::str::from_utf8(batch.bytes()).context("a batch that is not text")?;
            for line in text.lines().take_while(|line| !line.is_empty()) {
                let line: Value = serde_json::from_str(line)?;
                if line.get("kind").is_some_and(|kind| kind == "decision")
                    && line.get("id") == Some(&decision.id.as_str().into())
                {
                    record = line;
                }
            }
            let head = batch.head().clone();
            self.journal.acknowledged(&head)?;
        }
        let (status, upstream) = match &decision.verdict {
            Verdict::Forward(fields) => (None, Some(Upstream::of(fields, decision.body.as_deref().unwrap_or(body)))),
            Verdict::Refuse(answer) => (Some(answer.status), None),
        };
        Ok(Observed {
            outcome: outcome_word(decision.outcome).to_owned(),
            reason: decision.reason.code().to_owned(),
            status,
            upstream,
            ..Observed::of_record(&record)
        })
    }
}

/// Hands over a body whose head has gone. The decision that refuses it, where one does.
fn let_body_follow(
    exchange: &mut Exchange,
    around: &mut Surroundings<'_>,
    body: &[u8],
) -> anyhow::Result<Option<Box<Decision>>> {
    let mut pieces = body.chunks(PIECE).peekable();
    while let Some(piece) = pieces.next() {
        match exchange.body(around, piece, pieces.peek().is_none()) {
            Step::NeedBody { .. } | Step::Pass => {}
            Step::Decided(refused) => return Ok(Some(refused)),
            other => bail!("the engine decides nothing of the body: {other:?}"),
        }
    }
    Ok(None)
}

impl Upstream {
    fn of(fields: &[Field], body: &[u8]) -> Self {
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let pseudo =
            |name: &str| fields.iter().find(|(n, _)| n == name).map(|(_, value)| text(value)).unwrap_or_default();
        Self {
            authority: pseudo(":authority"),
            path: pseudo(":path"),
            body_bytes: body.len() as u64,
            json: serde_json::from_slice(body).ok(),
            fields: fields
                .iter()
                .filter(|(name, _)| !name.starts_with(':'))
                .map(|(name, value)| (name.to_string(), text(value)))
                .collect(),
        }
    }
}

impl Observed {
    /// What a decision record says; status and upstream are not in it.
    pub fn of_record(record: &Value) -> Self {
        let text = |pointer: &str| record.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        Self {
            outcome: text("/outcome").unwrap_or_default(),
            reason: text("/reason").unwrap_or_default(),
            rule: text("/rule"),
            condition: text("/condition"),
            destination: text("/destination/id"),
            host: text("/destination/host"),
            port: record.pointer("/destination/port").and_then(Value::as_u64).and_then(|port| port.try_into().ok()),
            status: None,
            upstream: None,
        }
    }
}
