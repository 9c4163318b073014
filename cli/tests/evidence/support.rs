//! What the tests of collector and audit share: a gateway that writes evidence, the real binary, and a small HTTP client.

use exeat_engine::decision::Reason;
use exeat_engine::destination::AddressClass;
use exeat_engine::evidence::lifecycle::{ConfigRecord, ModuleReference};
use exeat_engine::evidence::record::{
    Binding, CompletionRecord, DecisionRecord, DestinationReference, Ending, GuardVerdict, Outcome, PayloadReference,
    Released,
};
use exeat_engine::evidence::{
    Appended, Batch, Capacity, Commitment, FieldOpening, GatewayKey, GenesisRecord, Journal, LastHeads, LogHead, Origin,
};
use exeat_engine::facts::Timestamp;
use exeat_engine::policy::{Delivery, Mode, ValueMask, WhenFull};
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

pub(crate) const GATEWAY: &str = "egress-eu-1";
/// 2025-11-20T00:53:20Z.
pub(crate) const START: u64 = 1_763_600_000_000;

/// The seed of a test key, and of no other.
pub(crate) fn seed() -> [u8; 32] {
    [42; 32]
}

pub(crate) fn key() -> GatewayKey {
    GatewayKey::from_seed(seed())
}

pub(crate) fn key_option() -> String {
    format!("{GATEWAY}={}", key().public_base64())
}

/// A worker VM of a gateway, with a clock of its own.
pub(crate) struct Vm {
    pub(crate) journal: Journal,
    pub(crate) now: u64,
    pub(crate) others: Vec<LogHead>,
    next: u64,
    number: u64,
}

impl Vm {
    pub(crate) fn new(boot: &str, vm: &str) -> Self {
        Self::after(boot, vm, START, None)
    }

    pub(crate) fn after(boot: &str, vm: &str, now: u64, previous: Option<LastHeads>) -> Self {
        let genesis = GenesisRecord {
            origin: Origin::new(GATEWAY, boot, vm).unwrap(),
            time: Timestamp(now),
            start: Timestamp(now),
            environment: Some("prod".into()),
            deployment: None,
            module: ModuleReference { version: "0.1.0".into(), git: None, digest: None },
            previous,
        };
        let capacity = Capacity { records: 100_000, bytes: 256 << 20 };
        let number = boot.bytes().chain(vm.bytes()).fold(0, |sum, b| sum * 31 + u64::from(b));
        Self { journal: Journal::new(&genesis, key(), capacity).unwrap(), now, others: vec![], next: 0, number }
    }

    fn id(&self) -> String {
        format!("{:016x}{:016x}", self.number, self.next)
    }

    pub(crate) fn record(&self, outcome: Outcome) -> DecisionRecord {
        DecisionRecord {
            id: self.id(),
            time: Timestamp(self.now),
            created: Some(1_763_600_000),
            gateway: GATEWAY.into(),
            environment: Some("prod".into()),
            deployment: None,
            policy: None,
            mode: Mode::Enforce,
            outcome,
            reason: if outcome == Outcome::Allow { Reason::Permitted } else { Reason::PathDenied },
            rule: Some("support/summarizer/read-orders".into()),
            exception: None,
            condition: None,
            follows: None,
            released: if outcome == Outcome::Deny { Released::None } else { Released::HeadAndBody },
            binding: Some(Binding::Request),
            signer: Some("signer-eu".into()),
            key: Some("signer-eu-1".into()),
            peer: None,
            source: None,
            agent: Some("support/summarizer".into()),
            session: Some("s-8f2c".into()),
            tenant: Some("acme".into()),
            user: None,
            roles: vec!["support".into()],
            region: None,
            delegated_by: vec![],
            scope: None,
            tool: None,
            session_type: None,
            data_class: Some("internal".into()),
            provenance: vec!["user".into()],
            stated_reason: None,
            attributes: BTreeMap::new(),
            destination: DestinationReference {
                id: Some("crm".into()),
                host: Some("api.crm.acme.example".into()),
                port: Some(443),
                method: Some("POST".into()),
                path: Some("/v1/orders/7".into()),
                ..DestinationReference::default()
            },
            parameters: vec![],
            payload: PayloadReference::default(),
            first_seen: None,
            quarantined_until: None,
            request_id: None,
            traceparent: None,
            signature_base: None,
        }
    }

    /// Appends a decision; gives its id.
    pub(crate) fn decide(&mut self, mut record: DecisionRecord, user: Option<&str>) -> String {
        self.next += 1;
        self.now += 10;
        record.id = self.id();
        record.time = Timestamp(self.now);
        let openings: Vec<FieldOpening> = user
            .map(|user| {
                let Commitment { text, opening } = Commitment::new("user", user, [self.next as u8; 16]);
                record.user = Some(text);
                opening
            })
            .into_iter()
            .collect();
        assert!(matches!(
            self.journal.append_decision(&record, openings, &ValueMask::default()),
            Ok(Appended::Leaf(_))
        ));
        record.id
    }

    pub(crate) fn allow(&mut self) -> String {
        self.decide(self.record(Outcome::Allow), Some("u-1042"))
    }

    pub(crate) fn deny(&mut self) -> String {
        self.decide(self.record(Outcome::Deny), None)
    }

    pub(crate) fn complete(&mut self, decision: &str) {
        self.now += 10;
        let record = CompletionRecord {
            decision: decision.to_owned(),
            time: Timestamp(self.now),
            received_bytes: 120,
            received_digest: None,
            forwarded_bytes: 100,
            forwarded_digest: None,
            attempts: Some(1),
            guard: Some(GuardVerdict::Passed { address: "10.20.0.7:443".into(), class: AddressClass::Private }),
            upstream: Some("10.20.0.7:443".into()),
            status: Some(200),
            response_bytes: 2048,
            duration: 10,
            ending: Ending::Complete,
        };
        self.journal.append_completion(&record).unwrap();
    }

    pub(crate) fn configure(&mut self) {
        self.configure_with("sha256:00");
    }

    /// A configuration with a policy of this digest.
    pub(crate) fn configure_with(&mut self, policy: &str) {
        let record = ConfigRecord {
            time: Timestamp(self.now),
            plugin: "exeat".into(),
            role: "filter".into(),
            mode: Mode::Enforce,
            delivery: Delivery::Async,
            when_full: WhenFull::Deny,
            mask: ValueMask::default(),
            revision: Some("r1".into()),
            policy: Some(policy.into()),
        };
        self.journal.append_config(&record).unwrap();
    }

    /// One request that goes through.
    pub(crate) fn exchange(&mut self) {
        let id = self.allow();
        self.complete(&id);
    }

    pub(crate) fn close(&mut self) {
        self.journal.close(Timestamp(self.now), "shutdown").unwrap();
    }

    pub(crate) fn batch(&mut self, lines: usize) -> Option<Batch> {
        self.journal.next_batch(Timestamp(self.now), lines, 1 << 20, &self.others)
    }

    /// A checkpoint without records.
    pub(crate) fn heartbeat(&mut self) -> Batch {
        self.now += 30_000;
        self.batch(100).unwrap()
    }

    /// Delivers a checkpoint without records.
    pub(crate) fn beat(&mut self, to: SocketAddr) {
        let batch = self.heartbeat();
        let answer = post(to, batch.bytes());
        assert_eq!(answer.status, 200, "{}", answer.body);
        self.journal.acknowledged(&answer.json()).unwrap();
    }

    /// Delivers everything, in batches of so many records.
    pub(crate) fn deliver(&mut self, to: SocketAddr, lines: usize) {
        while let Some(batch) = self.batch(lines) {
            let answer = post(to, batch.bytes());
            assert_eq!(answer.status, 200, "{}", answer.body);
            self.journal.acknowledged(&answer.json()).unwrap();
        }
        assert!(self.journal.is_drained());
    }
}

/// What a server answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The last part of a problem's type.
    pub(crate) fn problem(&self) -> String {
        assert!(self.head.to_lowercase().contains("content-type: application/problem+json"), "{}", self.head);
        let problem: serde_json::Value = self.json();
        assert_eq!(problem["status"], self.status);
        problem["type"].as_str().unwrap().strip_prefix("urn:exeat:collector:").unwrap().to_owned()
    }
}

pub(crate) fn post(to: SocketAddr, body: &[u8]) -> Answer {
    try_post(to, body).unwrap()
}

/// `None` when the connection broke: nothing is known of what became of the body.
pub(crate) fn try_post(to: SocketAddr, body: &[u8]) -> Option<Answer> {
    let head =
        format!("POST /v1/evidence HTTP/1.1\r\nhost: c\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    request(to, head.as_bytes(), body)
}

pub(crate) fn get(to: SocketAddr, target: &str) -> Answer {
    request(to, format!("GET {target} HTTP/1.1\r\nhost: c\r\nconnection: close\r\n\r\n").as_bytes(), b"").unwrap()
}

fn request(to: SocketAddr, head: &[u8], body: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(to).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    stream.write_all(head).ok()?;
    // A server that refuses early may close before it has read everything; its answer counts.
    let _ = stream.write_all(body);
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

/// The real collector.
pub(crate) struct Collector {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Collector {
    pub(crate) fn start(dir: &Path) -> Self {
        Self::start_with(dir, &[])
    }

    /// With further options. What it says goes to the file `said`.
    pub(crate) fn start_with(dir: &Path, options: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", dir, options)
    }

    /// Once more where it was.
    pub(crate) fn start_at(address: &str, dir: &Path, options: &[&str]) -> Self {
        let said = std::fs::File::options().create(true).append(true).open(dir.join("said")).unwrap();
        let ready = dir.join("ready");
        let _ = std::fs::remove_file(&ready);
        let child = Command::new(env!("CARGO_BIN_EXE_exeat"))
            .args(["collect", "--listen", address, "--key", &key_option(), "--db"])
            .arg(dir.join("evidence.db"))
            .arg("--ready-file")
            .arg(&ready)
            .args(options)
            .stderr(Stdio::from(said))
            .spawn()
            .unwrap();
        let mut collector = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let late = Instant::now() + Duration::from_secs(30);
        loop {
            if let Ok(text) = std::fs::read_to_string(&ready) {
                collector.address = text.trim().parse().unwrap();
                return collector;
            }
            assert!(collector.child.try_wait().unwrap().is_none(), "the collector ended");
            assert!(Instant::now() < late, "the collector is not ready");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; whether it ended well.
    pub(crate) fn terminate(mut self) -> bool {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap().success()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `exeat audit ... --db`.
pub(crate) fn audit(dir: &Path, arguments: &[&str]) -> Output {
    let db = dir.join("evidence.db");
    Command::new(env!("CARGO_BIN_EXE_exeat"))
        .arg("audit")
        .args(arguments)
        .args(["--db", db.to_str().unwrap()])
        .output()
        .unwrap()
}
