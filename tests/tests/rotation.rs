//! A signer changes its key under traffic, on the real Envoy: no request is lost, and afterwards the old key is worth nothing,
//! on connections that were open all the time too.

#![cfg(test)]

use exeat_cli::key::PrivateKey;
use exeat_cli::sign::{SignOptions, UnsignedRequest, sign_request};
use exeat_e2e::scenario::document::SignText;
use exeat_e2e::scenario::gateway::{Gateway, KEYID};
use exeat_e2e::scenario::real::RealEnvoy;
use exeat_e2e::scenario::subject::Subject;
use exeat_e2e::scenario::wire;
use exeat_e2e::stage::client::{Connection, Request};
use exeat_e2e::stage::upstream::Upstream;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

const NEW_KEYID: &str = "signer-eu-2";

/// Workers of Envoy: each judges by the configuration in its own VM.
const WORKERS: u32 = 2;

/// Clients, and connections that are kept open.
const CONNECTIONS: usize = 4;

/// What became of requests under one key: status and reason, how often.
type Outcomes = BTreeMap<(u16, String), usize>;

/// A key with the id it is known by.
#[derive(Clone)]
struct Key {
    id: &'static str,
    private: Arc<PrivateKey>,
}

impl Key {
    fn new(id: &'static str, private: &PrivateKey) -> Self {
        Self { id, private: Arc::new(PrivateKey::parse(&private.to_base64()).unwrap()) }
    }

    fn sign(&self, port: u16) -> Request {
        let sign = SignText {
            agent: "support/summarizer".into(),
            session: "s".into(),
            tenant: Some("acme".into()),
            tool: Some("crm.lookup".into()),
            data_class: Some("internal".into()),
            provenance: Some(vec!["user".into()]),
            ..SignText::default()
        };
        let authority = format!("eu.crm.acme.example:{port}");
        let unsigned = UnsignedRequest::new("GET", &format!("http://{authority}/v1/orders/7")).unwrap();
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let options = SignOptions::new(self.id, now.try_into().unwrap());
        let signed = sign_request(&unsigned, &wire::context(&sign).unwrap(), &self.private, &options).unwrap();
        let request = Request::new("GET", "/v1/orders/7").header("host", authority);
        signed.fields.iter().fold(request, |request, (name, value)| request.header(name, value))
    }
}

/// Clients that never pause, each on a connection that it keeps as long as the gateway does.
struct Traffic {
    key: Arc<Mutex<Key>>,
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<(Outcomes, usize)>>,
}

impl Traffic {
    fn start(listener: SocketAddr, port: u16, key: Key) -> Self {
        let (key, stop) = (Arc::new(Mutex::new(key)), Arc::new(AtomicBool::new(false)));
        let client = |_| {
            let (key, stop) = (Arc::clone(&key), Arc::clone(&stop));
            thread::spawn(move || {
                let (mut outcomes, mut opened) = (Outcomes::new(), 1);
                let mut connection = Connection::open(listener).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    let request = key.lock().unwrap().sign(port);
                    let reply = connection.send(&request).expect("a request is lost");
                    let reason = if reply.status == 200 { String::new() } else { reply.text() };
                    *outcomes.entry((reply.status, reason)).or_default() += 1;
                    if reply.header("connection") == Some("close") {
                        connection = Connection::open(listener).unwrap();
                        opened += 1;
                    }
                }
                (outcomes, opened)
            })
        };
        Self { clients: (0..CONNECTIONS).map(client).collect(), key, stop }
    }

    /// The signer goes on with another key.
    fn switch(&self, key: &Key) {
        *self.key.lock().unwrap() = key.clone();
    }

    fn stop(self) -> (Outcomes, usize) {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = (Outcomes::new(), 0);
        for client in self.clients {
            let (outcomes, opened) = client.join().unwrap();
            all.1 += opened;
            outcomes.into_iter().for_each(|(what, count)| *all.0.entry(what).or_default() += count);
        }
        all
    }
}

/// Rewrites the keys of the signer and hands the policy to Envoy, then waits until every worker judges by it.
fn update(real: &RealEnvoy, keys: &str) {
    let file = real.gateway().policy().join("platform.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let line = text.lines().find(|line| line.trim_start().starts_with("keys: [")).unwrap().to_owned();
    std::fs::write(&file, text.replace(&line, &format!("    keys: [{keys}]"))).unwrap();
    let accepted = || real.envoy.log().matches("configuration accepted").count();
    let before = accepted();
    real.update().unwrap();
    // Besides those of the workers, Envoy configures a base VM and one in its main thread.
    let reached = || (accepted() >= before + WORKERS as usize + 2).then_some(());
    real.envoy.process().wait_until("the policy in every worker", Duration::from_secs(30), reached).unwrap();
}

#[test]
fn no_request_is_lost_while_a_key_is_replaced() {
    let upstream = Upstream::start().unwrap();
    let port = upstream.address().port();
    let gateway = Gateway::prepare("main", port).unwrap();
    let (old, fresh) = (Key::new(KEYID, &gateway.signer), Key::new(NEW_KEYID, &PrivateKey::generate().unwrap()));
    let written = |key: &Key| format!("{{id: {}, public: \"{}\"}}", key.id, key.private.public().to_base64());
    let real = RealEnvoy::start_with(gateway, upstream, WORKERS).unwrap();

    // Open from before the first update to after the last, and used throughout.
    let mut kept: Vec<Connection> = (0..CONNECTIONS).map(|_| Connection::open(real.listener).unwrap()).collect();
    let on_kept = |kept: &mut Vec<Connection>, key: &Key| -> Vec<String> {
        let outcome = |connection: &mut Connection| {
            let reply = connection.send(&key.sign(port)).unwrap();
            assert_ne!(reply.header("connection"), Some("close"), "the connection must stay open for this test");
            if reply.status == 200 {
                "permitted".into()
            } else {
                reply.json().unwrap()["reason"].as_str().unwrap().into()
            }
        };
        kept.iter_mut().map(outcome).collect()
    };
    let all = |word: &str| vec![word.to_owned(); CONNECTIONS];
    assert_eq!(on_kept(&mut kept, &old), all("permitted"));
    assert_eq!(on_kept(&mut kept, &fresh), all("key-unknown"));

    let traffic = Traffic::start(real.listener, port, old.clone());
    thread::sleep(Duration::from_millis(500));
    update(&real, &format!("{}, {}", written(&old), written(&fresh)));
    assert_eq!(on_kept(&mut kept, &old), all("permitted"));
    assert_eq!(on_kept(&mut kept, &fresh), all("permitted"));
    thread::sleep(Duration::from_millis(300));
    traffic.switch(&fresh);
    // What was signed with the old key a moment ago is on its way for no longer than a request takes.
    thread::sleep(Duration::from_secs(1));
    update(&real, &written(&fresh));
    assert_eq!(on_kept(&mut kept, &old), all("key-unknown"));
    assert_eq!(on_kept(&mut kept, &fresh), all("permitted"));
    thread::sleep(Duration::from_millis(500));
    let (outcomes, opened) = traffic.stop();
    let (permitted, others): (Outcomes, Outcomes) = outcomes.into_iter().partition(|((status, _), _)| *status == 200);
    let sent: usize = permitted.values().sum();
    println!("{sent} requests on {opened} connections");
    assert!(others.is_empty(), "{others:#?}");
    assert!(sent > 50, "only {sent} requests");

    // On new connections the same.
    let mut new: Vec<Connection> = (0..CONNECTIONS).map(|_| Connection::open(real.listener).unwrap()).collect();
    assert_eq!(on_kept(&mut new, &old), all("key-unknown"));
    assert_eq!(on_kept(&mut new, &fresh), all("permitted"));
    let records = real.wait_for_records("every allowed request", |records| {
        let permitted = |record: &&serde_json::Value| record["kind"] == "decision" && record["reason"] == "permitted";
        records.iter().filter(permitted).count() == sent + 5 * CONNECTIONS
    });
    let by = |key: &str| {
        let records = records.as_ref().unwrap().iter();
        records.filter(|record| record["reason"] == "permitted" && record["key"] == key).count()
    };
    assert!(by(KEYID) > 2 * CONNECTIONS && by(NEW_KEYID) > 3 * CONNECTIONS);
    real.verify().unwrap();
}
