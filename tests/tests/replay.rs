//! A nonce counts once, in all workers, in bounded memory; and nobody without a key can make the gateway remember anything.

#![cfg(test)]

use exeat_cli::key::PrivateKey;
use exeat_cli::sign::{SignOptions, UnsignedRequest, sign_request};
use exeat_e2e::scenario::gateway::{Gateway, KEYID};
use exeat_e2e::scenario::harness::{Harness, UPSTREAM_PORT, answer_of, guarded_worker};
use exeat_e2e::scenario::real::{RealEnvoy, framed};
use exeat_e2e::scenario::subject::Subject;
use exeat_e2e::scenario::wire::WireRequest;
use exeat_e2e::stage::client::Connection;
use exeat_e2e::stage::upstream::Upstream;
use exeat_engine::context::sign::ContextFields;
use exeat_engine::context::{DataClass, Provenance};
use exeat_host_test::{Host, Worker};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// Nothing expires on a slow machine, and no record waits for room.
const PATIENT: [(&str, &str); 2] =
    [("queue: 4096", "queue: 262144"), ("  hold: true", "  hold: true\n  context: {max_age: 30m}")];

const SIGNATURES: usize = 5_000;
const COPIES: usize = 4;
const CONNECTIONS: usize = 16;
const CLIENTS: usize = 2;

/// Who signs, for whom, when and under which nonce.
struct Signing<'a> {
    key: &'a PrivateKey,
    keyid: &'a str,
    tenant: Option<&'a str>,
    created: u64,
    nonce: Option<String>,
}

impl<'a> Signing<'a> {
    fn by(gateway: &'a Gateway, created: u64) -> Self {
        Self { key: &gateway.signer, keyid: KEYID, tenant: Some("acme"), created, nonce: None }
    }

    /// A request that the policy allows, signed.
    fn request(&self, port: u16, order: usize) -> WireRequest {
        let unsigned =
            UnsignedRequest::new("GET", &format!("http://eu.crm.acme.example:{port}/v1/orders/{order}")).unwrap();
        let context = ContextFields {
            agent: "support/summarizer".into(),
            session: "s-1".into(),
            tenant: self.tenant.map(str::to_owned),
            tool: Some("crm.lookup".into()),
            data_class: Some(DataClass::Internal),
            provenance: vec![Provenance::User],
            ..ContextFields::default()
        };
        let mut options = SignOptions::new(self.keyid, self.created.try_into().unwrap());
        options.nonce.clone_from(&self.nonce);
        let signed = sign_request(&unsigned, &context, self.key, &options).unwrap();
        WireRequest::new(&unsigned, &signed.fields)
    }
}

// ---- On the real Envoy -------------------------------------------------------------------------------------------------

/// An answer: number of the signature, status, reason told, decision.
type Told = (usize, u16, String, String);

#[test]
fn of_20000_requests_with_5000_signatures_exactly_5000_pass_two_workers() {
    let upstream = Upstream::start().unwrap();
    let gateway = Gateway::prepare_with("main", upstream.address().port(), &PATIENT).unwrap();
    let real = RealEnvoy::start_with(gateway, upstream, 2).unwrap();
    let signing = Signing::by(real.gateway(), real.now());
    let requests: Vec<Vec<u8>> =
        (0..SIGNATURES).map(|order| framed(&signing.request(real.upstream_port(), order)).bytes()).collect();

    let begun = Instant::now();
    let told = send_all(&real, &requests);
    eprintln!("20,000 requests over {CONNECTIONS} connections: {:.1} s", begun.elapsed().as_secs_f32());
    assert_eq!(told.len(), SIGNATURES * COPIES);

    // Each signature once, at the client and at the upstream.
    let mut outcomes: BTreeMap<(u16, &str), usize> = BTreeMap::new();
    let mut passed = vec![0; SIGNATURES];
    for (order, status, reason, _) in &told {
        *outcomes.entry((*status, reason.as_str())).or_default() += 1;
        passed[*order] += usize::from(*status == 200);
    }
    let expected = [((200, ""), SIGNATURES), ((401, "signature-replayed"), SIGNATURES * (COPIES - 1))];
    assert_eq!(outcomes, BTreeMap::from(expected));
    assert!(passed.iter().all(|times| *times == 1));
    let arrived: BTreeSet<String> = real.upstream.take().into_iter().map(|request| request.path).collect();
    assert_eq!((real.upstream.count(), arrived.len()), (SIGNATURES, SIGNATURES));

    // The evidence accounts for each of the 20,000, and shows that copies of one signature met in different workers.
    let origins = origins(&real);
    let mut decided: HashMap<usize, BTreeSet<&str>> = HashMap::new();
    for (order, _, _, decision) in &told {
        decided.entry(*order).or_default().extend(origins.get(decision).map(String::as_str));
    }
    let raced = decided.values().filter(|workers| workers.len() == 2).count();
    eprintln!("copies of {raced} of {SIGNATURES} signatures were judged by both workers");
    assert!(raced > SIGNATURES / 10, "copies of only {raced} signatures met in both workers");
    println!("{}", real.verify().unwrap());
}

/// Sends each request [`COPIES`] times in the same moment, each copy on another connection: a client writes all of them
/// before it reads an answer. So the race is real: with the compare-and-swap taken out of the filter, 17 to 45 of the 5,000
/// passed twice.
fn send_all(real: &RealEnvoy, requests: &[Vec<u8>]) -> Vec<Told> {
    let start = Barrier::new(CLIENTS);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|own| {
                let start = &start;
                scope.spawn(move || {
                    let open = |_| Connection::open(real.listener).unwrap();
                    let mut connections: Vec<_> = (0..CONNECTIONS / CLIENTS).map(open).collect();
                    let mut told = Vec::new();
                    start.wait();
                    for (order, request) in requests.iter().enumerate().filter(|(order, _)| order % CLIENTS == own) {
                        let first = order / CLIENTS % connections.len();
                        connections.rotate_left(first);
                        let copies = &mut connections[..COPIES];
                        copies.iter_mut().for_each(|connection| connection.write(request).unwrap());
                        for connection in copies {
                            let answer = connection.read_response("GET").unwrap();
                            let problem: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
                            let reason = problem["reason"].as_str().unwrap_or_default().to_owned();
                            let decision = answer.header("exeat-decision").unwrap().to_owned();
                            told.push((order, answer.status, reason, decision));
                        }
                    }
                    told
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    })
}

/// The log in which each decision stands, once all are stored; and that they are as many as were sent.
fn origins(real: &RealEnvoy) -> HashMap<String, String> {
    let store = rusqlite::Connection::open(real.database()).unwrap();
    let count = || store.query_row("SELECT count(*) FROM leaves", [], |row| row.get::<_, i64>(0)).unwrap();
    let all = |query: &str| -> Vec<(String, Value)> {
        let mut statement = store.prepare(query).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?))).unwrap();
        rows.map(|row| row.map(|(origin, line)| (origin, serde_json::from_slice(&line).unwrap())).unwrap()).collect()
    };
    const LEAVES: &str = "SELECT origin, line FROM leaves JOIN logs ON logs.id = leaves.log";
    let end = Instant::now() + Duration::from_secs(60);
    let mut seen = 0;
    loop {
        // Counting is cheap, reading is not: read when nothing came for a while.
        std::thread::sleep(Duration::from_millis(500));
        if std::mem::replace(&mut seen, count()) != count() && Instant::now() < end {
            continue;
        }
        let records = all(LEAVES);
        let (mut tally, mut folded): (BTreeMap<(String, String), usize>, u64) = (BTreeMap::new(), 0);
        for (_, record) in &records {
            let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
            match record["kind"].as_str() {
                Some("decision") => *tally.entry((text("outcome"), text("reason"))).or_default() += 1,
                Some("completion") => *tally.entry(("completion".into(), String::new())).or_default() += 1,
                Some("summary") => {
                    assert_eq!(record["verified"], serde_json::json!({}));
                    folded += record["unverified"]["signature-replayed"].as_u64().unwrap_or_default();
                }
                _ => {}
            }
        }
        let of = |outcome: &str, reason: &str| tally.get(&(outcome.into(), reason.into())).copied().unwrap_or_default();
        let replayed = of("deny", "signature-replayed") + usize::try_from(folded).unwrap();
        let got = (of("allow", "permitted"), of("completion", ""), replayed);
        if got == (SIGNATURES, SIGNATURES, SIGNATURES * (COPIES - 1)) {
            eprintln!("evidence: {tally:?}, and {folded} counted in summaries");
            assert_eq!(tally.len(), 3, "{tally:?}");
            let decisions = records.into_iter().filter(|(_, record)| record["kind"] == "decision");
            return decisions.map(|(origin, record)| (record["id"].as_str().unwrap().to_owned(), origin)).collect();
        }
        assert!(Instant::now() < end, "the evidence does not account for what was sent: {tally:?}, {folded} folded");
    }
}

// ---- On the harness ------------------------------------------------------------------------------------------------------

fn send(worker: &Worker, request: &WireRequest) -> (u16, String) {
    answer_of(worker, request).unwrap()
}

fn told(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

fn passed() -> (u16, String) {
    told(200, "")
}

fn replayed() -> (u16, String) {
    told(401, "signature-replayed")
}

fn no_room() -> (u16, String) {
    told(503, "internal-error")
}

/// All shared data of the gateway's process.
fn shared(host: &Host) -> BTreeMap<String, Vec<u8>> {
    let keys = host.process().shared_keys(host.vm_id()).into_iter();
    keys.map(|key| (String::from_utf8(key.clone()).unwrap(), host.shared_data(key).unwrap())).collect()
}

#[test]
fn worker_vms_in_threads_share_nonces_exactly() {
    const SIGNATURES: usize = 300;
    const WORKERS: usize = 4;
    let harness = Harness::start_with(Gateway::prepare_with("main", UPSTREAM_PORT, &PATIENT).unwrap()).unwrap();
    let signing = Signing::by(harness.gateway(), harness.now());
    let requests: Vec<_> = (0..SIGNATURES).map(|order| signing.request(UPSTREAM_PORT, order)).collect();
    let workers: Vec<Worker> = (0..WORKERS).map(|_| guarded_worker(harness.worker().host()).unwrap()).collect();
    let start = Barrier::new(WORKERS);
    let answers: Vec<Vec<(u16, String)>> = std::thread::scope(|scope| {
        let send_all = |worker| {
            let (start, requests) = (&start, &requests);
            scope.spawn(move || {
                start.wait();
                requests.iter().map(|request| send(worker, request)).collect()
            })
        };
        let threads: Vec<_> = workers.iter().map(send_all).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for order in 0..SIGNATURES {
        let of_this: Vec<_> = answers.iter().map(|answers| &answers[order]).collect();
        assert_eq!(of_this.iter().filter(|answer| ***answer == passed()).count(), 1, "{of_this:?}");
        assert_eq!(of_this.iter().filter(|answer| ***answer == replayed()).count(), WORKERS - 1, "{of_this:?}");
    }
    let first = answers.iter().map(|answers| answers.iter().filter(|a| **a == passed()).count());
    eprintln!("who came first: {:?}", first.collect::<Vec<_>>());
}

/// Nonces that lie in one shard: its number is that of the first two bytes of SHA-256 over key id (with its length) and
/// nonce, modulo 8192.
fn nonces_of_one_shard(keyid: &'static str, shard: u16) -> impl Iterator<Item = String> {
    (0_u64..).map(|number| format!("n{number}")).filter(move |nonce| {
        let length = (keyid.len() as u64).to_be_bytes();
        let digest = Sha256::new().chain_update(length).chain_update(keyid).chain_update(nonce).finalize();
        u16::from_le_bytes([digest[0], digest[1]]) % 8192 == shard
    })
}

#[test]
fn a_full_shard_refuses_and_never_forgets_a_live_nonce() {
    const OTHER: &str = "signer-eu-2";
    let other = PrivateKey::generate().unwrap();
    let second_key = format!("keys: [{{id: {OTHER}, public: \"{}\"}}, {{id: {KEYID},", other.public().to_base64());
    let replace = [PATIENT[0], ("keys: [{id: signer-eu-1,", second_key.as_str())];
    let harness = Harness::start_with(Gateway::prepare_with("main", UPSTREAM_PORT, &replace).unwrap()).unwrap();
    let (worker, now) = (harness.worker(), harness.now());
    let request = |tenant, nonce, created| {
        Signing { tenant: Some(tenant), nonce: Some(nonce), ..Signing::by(harness.gateway(), created) }
            .request(UPSTREAM_PORT, 1)
    };
    let mut nonces = nonces_of_one_shard(KEYID, 77);

    let loud: Vec<_> = nonces.by_ref().take(96).map(|nonce| request("acme", nonce, now)).collect();
    assert!(loud.iter().all(|request| send(worker, request) == passed()));
    let refused = request("acme", nonces.next().unwrap(), now);
    assert_eq!(send(worker, &refused), no_room());

    // Another tenant still gets in: it comes as far as its grant, which it has not.
    let quiet: Vec<_> = nonces.by_ref().take(24).map(|nonce| request("globex", nonce, now)).collect();
    assert!(quiet.iter().all(|request| send(worker, request) == told(403, "grant-denied")));
    assert_eq!(send(worker, &request("globex", nonces.next().unwrap(), now)), no_room());

    // So does another key, whose share is its own.
    let mut others = nonces_of_one_shard(OTHER, 77);
    let by_other = Signing { key: &other, keyid: OTHER, nonce: others.next(), ..Signing::by(harness.gateway(), now) };
    assert_eq!(send(worker, &by_other.request(UPSTREAM_PORT, 1)), passed());

    // All that was taken still counts, what was refused was not remembered, and room comes back only with time.
    assert!(loud.iter().chain(&quiet).all(|request| send(worker, request) == replayed()));
    assert_eq!(send(worker, &refused), no_room());
    worker.advance(Duration::from_secs(60)).unwrap();
    assert!(loud.iter().all(|request| send(worker, request) == replayed()));
    worker.advance(Duration::from_secs(2)).unwrap();
    assert_eq!(send(worker, &loud[0]), told(401, "signature-expired"));
    assert_eq!(send(worker, &request("acme", nonces.next().unwrap(), harness.now())), passed());
    let host = worker.host();
    let shard = shared(host).into_iter().find(|(name, _)| name.contains("/nonce/") && name.ends_with("/77"));
    assert!(shard.is_some());
}

#[test]
fn what_another_plugin_wrote_is_refused() {
    let harness = Harness::start_with(Gateway::prepare_with("main", UPSTREAM_PORT, &PATIENT).unwrap()).unwrap();
    let (worker, host) = (harness.worker(), harness.worker().host());
    let request = |nonce| {
        Signing { nonce: Some(nonce), ..Signing::by(harness.gateway(), harness.now()) }.request(UPSTREAM_PORT, 1)
    };
    let mut here = nonces_of_one_shard(KEYID, 5);
    let burnt = request(here.next().unwrap());
    assert_eq!(send(worker, &burnt), passed());
    assert_eq!(send(worker, &request(nonces_of_one_shard(KEYID, 6).next().unwrap())), passed());
    let all = shared(host);
    let value = |shard: &str| {
        let (name, value) = all.iter().find(|(name, _)| name.contains("/nonce/") && name.ends_with(shard)).unwrap();
        (name.clone(), value.clone())
    };
    let (name, good) = value("/5");

    let mut turned: Vec<Vec<u8>> = (0..good.len()).step_by(7).map(|at| changed(&good, at)).collect();
    turned.extend([Vec::new(), vec![0; 16], vec![0; 40], good[..good.len() - 24].to_vec(), value("/6").1]);
    turned.push([good.as_slice(), &[0; 24]].concat());
    for forged in turned {
        host.set_shared_data(&name, &forged);
        assert_eq!(send(worker, &burnt), no_room(), "{forged:?}");
        assert_eq!(send(worker, &request(here.next().unwrap())), no_room(), "{forged:?}");
    }
    host.set_shared_data(&name, &good);
    assert_eq!(send(worker, &burnt), replayed());
    assert_eq!(send(worker, &request(here.next().unwrap())), passed());
}

fn changed(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 0x40;
    bytes
}

#[test]
fn unsigned_requests_leave_nothing_in_shared_data() {
    const REQUESTS: usize = 100_000;
    let harness = Harness::start("main").unwrap();
    let (worker, now) = (harness.worker(), harness.now());
    // So that there is something to change.
    assert_eq!(send(worker, &Signing::by(harness.gateway(), now).request(UPSTREAM_PORT, 0)), passed());
    let before = shared(worker.host());
    assert_eq!(before.keys().filter(|name| name.contains("/nonce/")).count(), 1);

    // Nothing signed; signed by a key that nobody knows; by the wrong key; and a session of one's own each time.
    let forger = Signing { key: &harness.gateway().forger, ..Signing::by(harness.gateway(), now) };
    let unknown = Signing { keyid: "signer-eu-9", ..Signing::by(harness.gateway(), now) };
    let kinds = [
        (
            WireRequest::new(&UnsignedRequest::new("GET", "http://eu.crm.acme.example/v1/orders/1").unwrap(), &[]),
            "context-missing",
        ),
        (forger.request(UPSTREAM_PORT, 1), "signature-invalid"),
        (unknown.request(UPSTREAM_PORT, 1), "key-unknown"),
    ];
    let begun = Instant::now();
    for number in 0..REQUESTS {
        // One in ten has a signature: checking those is what costs.
        let (request, reason) = &kinds[if number % 10 == 0 { 1 + number / 10 % 2 } else { 0 }];
        let mut request = request.clone();
        request.target = format!("/v1/orders/{number}");
        assert_eq!(send(worker, &request), told(401, reason));
    }
    eprintln!("{REQUESTS} unsigned requests: {:.1} s", begun.elapsed().as_secs_f32());
    let after = shared(worker.host());
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    let differing: Vec<_> =
        before.iter().filter(|(name, value)| after[*name] != **value).map(|(name, _)| name).collect();
    // Only the published edge of the worker's own log, which the denials stand in, is another one.
    assert!(differing.iter().all(|name| name.contains("/log/")) && differing.len() <= 1, "{differing:?}");
}
