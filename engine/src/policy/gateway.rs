//! The gateway's own part of the configuration, checked.

use super::Mode;
use super::document::gateway::{AuditDocument, Delivery, Feedback, GatewayDocument, WhenFull};
use super::error::{Place, PolicyError, quoted};
use super::mask::ValueMask;
use crate::context::{Freshness, KeyRing};
use crate::destination::Scheme;

/// One deployment of the gateway.
#[derive(Clone, Debug)]
pub struct Gateway {
    id: String,
    environment: Option<String>,
    deployment: Option<String>,
    mode: Mode,
    key_env: String,
    hold: bool,
    collector: Collector,
    queue: u32,
    delivery: Delivery,
    when_full: WhenFull,
    mask: ValueMask,
    scheme: Scheme,
    freshness: Freshness,
    prepared_keys: u16,
    feedback: Feedback,
}

/// Where evidence goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    /// Envoy cluster.
    pub cluster: String,
    /// Path of the request.
    pub path: String,
    /// Milliseconds an answer may take.
    pub timeout: u64,
    /// Environment variable that holds the bearer token; absent: none is sent.
    pub token_env: Option<String>,
}

impl Gateway {
    /// Name of the gateway: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Environment, recorded.
    pub fn environment(&self) -> Option<&str> {
        self.environment.as_deref()
    }

    /// Deployment, recorded.
    pub fn deployment(&self) -> Option<&str> {
        self.deployment.as_deref()
    }

    /// Whether refusals are enforced where the policy says nothing nearer.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Environment variable that holds the base64 of the 32-byte seed of the evidence key.
    pub fn key_env(&self) -> &str {
        &self.key_env
    }

    /// Whether heads wait until their bodies are judged; otherwise they go before them.
    pub fn holds(&self) -> bool {
        self.hold
    }

    /// Where evidence goes.
    pub fn collector(&self) -> &Collector {
        &self.collector
    }

    /// Records that wait for delivery at most.
    pub fn queue(&self) -> u32 {
        self.queue
    }

    /// Whether a request goes on before or after the collector acknowledged its decision.
    pub fn delivery(&self) -> Delivery {
        self.delivery
    }

    /// What becomes of requests when as many records wait as may.
    pub fn when_full(&self) -> WhenFull {
        self.when_full
    }

    /// What of decision records does not stand in clear.
    pub fn mask(&self) -> &ValueMask {
        &self.mask
    }

    /// Scheme towards upstreams; also gives the port where an authority names none.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// How old a signature may be.
    pub fn freshness(&self) -> Freshness {
        self.freshness
    }

    /// Keys that get tables for fast verification.
    pub fn prepared_keys(&self) -> u16 {
        self.prepared_keys
    }

    /// What a refused agent is told.
    pub fn feedback(&self) -> Feedback {
        self.feedback
    }

    pub(super) fn compile(document: GatewayDocument, place: &Place<'_>) -> Result<Self, PolicyError> {
        name(&document.id, &place.key("id"))?;
        for (key, text) in [("environment", &document.environment), ("deployment", &document.deployment)] {
            if let Some(text) = text {
                printable(text, &place.key(key))?;
            }
        }
        environment_variable(&document.key.env, &place.key("key").key("env"), "key", "EXEAT_GATEWAY_KEY")?;
        let collector = {
            let place = place.key("collector");
            printable(&document.collector.cluster, &place.key("cluster"))?;
            let path = document.collector.path.unwrap_or_else(|| "/v1/evidence".to_owned());
            if !path.starts_with('/') || !path.bytes().all(|b| b.is_ascii_graphic()) || path.contains('#') {
                let problem = format!("{} is not a path", quoted(&path));
                return Err(place.key("path").error(problem, "write it as in /v1/evidence", ""));
            }
            let timeout = document.collector.timeout.map_or(2_000, |timeout| timeout.0);
            within(timeout, 1..=60_000, &place.key("timeout"), "1ms to 60s")?;
            let token_env = document.collector.token.map(|token| token.env);
            if let Some(name) = &token_env {
                environment_variable(name, &place.key("token").key("env"), "token", "EXEAT_COLLECTOR_TOKEN")?;
            }
            Collector { cluster: document.collector.cluster, path, timeout, token_env }
        };
        let (queue, delivery, when_full) = audit(&document.audit, &place.key("audit"))?;
        let mask = ValueMask::compile(document.audit.mask, &place.key("audit").key("mask"))?;
        let freshness = {
            let place = place.key("context");
            let max_age = document.context.max_age.map_or(60_000, |age| age.0);
            within(max_age, 1_000..=3_600_000, &place.key("max_age"), "1s to 1h")?;
            let skew = document.context.skew.map_or(5_000, |skew| skew.0);
            within(skew, 0..=300_000, &place.key("skew"), "0s to 5m")?;
            Freshness { max_age, skew }
        };
        let prepared_keys = document.context.prepared_keys.unwrap_or(KeyRing::PREPARED_KEYS);
        within(prepared_keys.into(), 0..=1_024, &place.key("context").key("prepared_keys"), "0 to 1024")?;
        Ok(Self {
            id: document.id,
            environment: document.environment,
            deployment: document.deployment,
            mode: document.mode.unwrap_or(Mode::Enforce),
            key_env: document.key.env,
            hold: document.hold.unwrap_or(true),
            collector,
            queue,
            delivery,
            when_full,
            mask,
            scheme: document.upstream.scheme.unwrap_or(Scheme::Https),
            freshness,
            prepared_keys,
            feedback: document.feedback.unwrap_or(Feedback::Minimal),
        })
    }
}

fn audit(document: &AuditDocument, place: &Place<'_>) -> Result<(u32, Delivery, WhenFull), PolicyError> {
    let queue = document.queue.unwrap_or(4_096);
    within(queue.into(), 16..=1_048_576, &place.key("queue"), "16 to 1048576")?;
    let delivery = document.delivery.unwrap_or(Delivery::Async);
    let when_full = document.when_full.unwrap_or(WhenFull::Deny);
    if (delivery, when_full) == (Delivery::WriteAhead, WhenFull::Drop) {
        return Err(place.key("when_full").error(
            "drop contradicts delivery: write-ahead",
            "write when_full: deny, or delivery: async",
            "write-ahead lets nothing go whose record is not stored",
        ));
    }
    Ok((queue, delivery, when_full))
}

/// The id stands in origins (`<id>/<boot>/<vm>`) and is the key name of signed notes, which admit neither space nor `+`.
fn name(text: &str, place: &Place<'_>) -> Result<(), PolicyError> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if (1..=64).contains(&text.len()) && text.bytes().all(fits) {
        return Ok(());
    }
    Err(place.error(
        format!("{} is not a gateway id", quoted(text)),
        "write 1 to 64 letters, digits, dots, underscores or hyphens",
        "it is part of the names of logs and keys",
    ))
}

fn printable(text: &str, place: &Place<'_>) -> Result<(), PolicyError> {
    if (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    Err(place.error(format!("{} is not a name", quoted(text)), "write 1 to 128 visible ASCII characters", ""))
}

fn environment_variable(text: &str, place: &Place<'_>, what: &str, example: &str) -> Result<(), PolicyError> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if (1..=128).contains(&text.len())
        && text.bytes().all(fits)
        && !text.as_bytes().first().is_some_and(u8::is_ascii_digit)
    {
        return Ok(());
    }
    // The value is not repeated: people put the secret itself here.
    Err(place.error(
        "this is not the name of an environment variable",
        format!("name the variable that holds the {what}, such as {example}"),
        &format!("a {what} in a configuration file would be readable to all who read it"),
    ))
}

fn within(value: u64, range: std::ops::RangeInclusive<u64>, place: &Place<'_>, words: &str) -> Result<(), PolicyError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(place.error("out of range", format!("write {words}"), ""))
}
