//! One gateway: its configuration, ledger and journal; and a signer that it trusts.

use ed25519_compact::{KeyPair, Seed};
use exeat_engine::context::Provenance;
use exeat_engine::context::sign::{ContextFields, SignatureInput, content_digest, required_components};
use exeat_engine::evidence::key::GatewayKey;
use exeat_engine::evidence::record::Ending;
use exeat_engine::evidence::{Capacity, GenesisRecord, Journal, ModuleReference, Origin};
use exeat_engine::exchange::{End, Exchange, Surroundings};
use exeat_engine::facts::{Facts, Timestamp};
use exeat_engine::ledger::MemoryLedger;
use exeat_engine::policy::Configuration;
use exeat_engine::request::RequestHead;
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};

/// The time at which all begins.
pub const NOW: Timestamp = Timestamp(1_800_000_000_123);

/// The key that signs its log.
pub const GATEWAY_SEED: [u8; 32] = [1; 32];

/// Bytes of a body that the rule of `team/worker` lets go.
pub const WORKER_BODY: usize = 256;

/// And where any of what it carries came from a third party: of the body, and of the target.
pub const THIRD_PARTY: (usize, usize) = (10, 64);

static SIGNER: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::from_seed(Seed::new([7; 32])));

/// What gateways do with a request before it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// They hold its head until the body came.
    Holds,
    /// They let the head go first (`hold: false`).
    LetsGo,
    /// They hold it until the collector has its record (`delivery: write-ahead`).
    Waits,
}

/// The plugin configuration of such a gateway.
pub fn document(kind: Kind) -> Value {
    use base64::Engine as _;
    let (hold, delivery) = (kind != Kind::LetsGo, if kind == Kind::Waits { "write-ahead" } else { "async" });
    let public = base64::engine::general_purpose::STANDARD.encode(*SIGNER.pk);
    let mut document = json!({
        "role": "filter",
        "gateway": {
            "id": "egress-test", "environment": "test", "mode": "enforce", "key": {"env": "KEY"}, "hold": hold,
            "collector": {"cluster": "c", "path": "/v1/evidence", "timeout": "2s"},
            "audit": {"delivery": delivery, "queue": 64, "when_full": "deny"},
            "upstream": {"scheme": "https"}, "feedback": "full"
        },
        "policy": {
            "schema": "exeat/v1", "revision": "1",
            "signers": [{"id": "s", "keys": [{"id": "s-1", "public": public}], "agents": ["team/*"],
                         "users": ["u-*"], "provenance": ["user", "third-party", "unknown"]}],
            "destinations": {
                "crm": {"hosts": ["*.crm.example"], "category": "crm", "accepts": "restricted"},
                "raw": {"hosts": ["raw.example"], "accepts": "restricted", "tunnel": true, "upgrade": ["websocket"]},
            },
            "agents": {
                "team/worker": {
                    "allow": [{"id": "read", "to": ["crm"], "methods": ["GET", "POST"], "paths": ["/v1/**"],
                        "headers": {"keep": ["x-kept", "content-type"], "set": {"x-agent": "$agent"}},
                        "limits": {"body": format!("{WORKER_BODY}B"), "provenance": {"third-party":
                            {"body": format!("{}B", THIRD_PARTY.0), "url": format!("{}B", THIRD_PARTY.1)}}}}],
                    "deny": [{"id": "no-admin", "to": ["crm"], "paths": ["/v1/admin/**"]}],
                },
                "team/watched": {"mode": "monitor", "allow": [{"id": "read", "to": ["crm"], "paths": ["/v1/**"]}]},
                "team/tunnel": {"allow": [{"id": "any", "to": ["raw"], "methods": ["GET", "CONNECT"], "paths": ["/**"],
                    "limits": {"body": "4KiB", "requests": "2/session"}}]},
            }
        }
    });
    if hold {
        // What reads or changes bodies takes a gateway that holds heads.
        document["policy"]["agents"]["team/reader"] = json!({"allow": [
            {"id": "read", "to": ["crm"], "methods": ["POST"], "paths": ["/v1/**"], "redact": ["/a", "/list/*/a"],
             "tokenize": ["/b"], "parameters": [{"at": "/mode", "one_of": ["read", "list"]}], "limits": {"body": "1KiB"}}]});
    }
    document
}

static CONFIGURATIONS: LazyLock<[Arc<Configuration>; 3]> = LazyLock::new(|| {
    [Kind::Holds, Kind::LetsGo, Kind::Waits].map(|kind| {
        match Configuration::accept(document(kind).to_string().as_bytes()) {
            Ok(configuration) => Arc::new(configuration),
            Err(error) => panic!("{error}"),
        }
    })
});

/// A gateway that has just begun.
pub struct World {
    configuration: Arc<Configuration>,
    ledger: MemoryLedger,
    /// Its log.
    pub journal: Journal,
    requests: u8,
    /// The time of the next step.
    pub now: Timestamp,
}

impl World {
    /// One of a kind, with room for so many records.
    pub fn new(kind: Kind, records: u64) -> Self {
        let [holds, lets_go, waits] = &*CONFIGURATIONS;
        let configuration = match kind {
            Kind::Holds => holds,
            Kind::LetsGo => lets_go,
            Kind::Waits => waits,
        };
        let genesis = GenesisRecord {
            origin: Origin::new("egress-test", "b", "1").expect("an origin"),
            time: NOW,
            start: NOW,
            environment: None,
            deployment: None,
            module: ModuleReference::default(),
            previous: None,
        };
        let capacity = Capacity { records, bytes: 1 << 20 };
        Self {
            configuration: Arc::clone(configuration),
            ledger: MemoryLedger::new(100),
            journal: Journal::new(&genesis, GatewayKey::from_seed(GATEWAY_SEED), capacity).expect("a journal"),
            requests: 0,
            now: NOW,
        }
    }

    /// An exchange of the next request.
    pub fn start(&mut self) -> Exchange {
        self.requests = self.requests.wrapping_add(1);
        let facts =
            Facts { now: NOW, started: Timestamp(NOW.0 - 10_000), random: [self.requests; 32], ..Facts::default() };
        Exchange::new(Arc::clone(&self.configuration), facts)
    }

    /// What a step works with.
    pub fn around(&mut self) -> Surroundings<'_> {
        Surroundings { now: self.now, ledger: &mut self.ledger, journal: &mut self.journal }
    }

    /// All records since the last time, taken by the collector.
    pub fn records(&mut self) -> Vec<Value> {
        let mut records = Vec::new();
        while let Some(batch) = self.journal.next_batch(self.now, 1000, 1 << 20, &[]) {
            let text = std::str::from_utf8(batch.bytes()).expect("a batch is text");
            let lines = text.lines().take_while(|line| !line.is_empty());
            records.extend(lines.map(|line| serde_json::from_str::<Value>(line).expect("a record is JSON")));
            let head = batch.head().clone();
            self.journal.acknowledged(&head).expect("what was sent");
            if self.journal.is_drained() {
                break;
            }
        }
        records
    }
}

/// Signs as a runtime would. `None` for what cannot be signed.
pub fn sign(mut head: RequestHead, context: &ContextFields, body: &[u8], nonce: &str) -> Option<RequestHead> {
    let put = |head: &mut RequestHead, name: &str, value: String| head.fields.push((name.into(), value.into()));
    if !body.is_empty() {
        put(&mut head, "content-digest", content_digest(body));
    }
    put(&mut head, "agent-context", context.to_field().ok()?);
    let components = required_components(&head, !body.is_empty());
    let input = SignatureInput::new(components, "s-1", NOW.seconds() as i64, nonce);
    let signature = SIGNER.sk.sign(input.base(&head).ok()?, None);
    for (name, value) in input.lines(&*signature).ok()? {
        put(&mut head, name, value);
    }
    Some(head)
}

/// How an exchange ends that had no trouble.
pub fn end() -> End {
    End {
        status: Some(200),
        response_bytes: 5,
        attempts: Some(1),
        upstream: None,
        sent: true,
        guard: None,
        ending: Ending::Complete,
    }
}

/// What a gateway sends to its collector over a few requests, acknowledged as it comes: with openings.
pub fn batches() -> Vec<Vec<u8>> {
    let mut world = World::new(Kind::Holds, 64);
    let mut batches = Vec::new();
    for (n, path) in ["/v1/x", "/v1/y?q=1", "/v2/z"].iter().enumerate() {
        let head = RequestHead {
            method: "GET".into(),
            scheme: None,
            authority: "eu.crm.example".into(),
            path: Some((*path).into()),
            fields: Vec::new(),
        };
        let context = ContextFields {
            agent: "team/worker".into(),
            session: "s-1".into(),
            user: Some("u-1".into()),
            reason: Some("because".into()),
            provenance: vec![Provenance::User],
            ..ContextFields::default()
        };
        let head = sign(head, &context, b"", &format!("n{n}")).expect("it can be signed");
        let mut exchange = world.start();
        let _ = exchange.head(&mut world.around(), Ok(head), true);
        exchange.end(&mut world.around(), end());
        while let Some(batch) = world.journal.next_batch(NOW, 3, 1 << 20, &[]) {
            batches.push(batch.bytes().to_vec());
            world.journal.acknowledged(&batch.head().clone()).expect("what was sent");
            if world.journal.is_drained() {
                break;
            }
        }
    }
    batches
}
