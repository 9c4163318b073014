//! The runtimes under examples/, each against the real Envoy: what they sign is allowed and arrives; what is changed on the way,
//! or sent twice, is refused.

#![cfg(test)]

use exeat_e2e::scenario::gateway::KEYID;
use exeat_e2e::scenario::real::RealEnvoy;
use exeat_e2e::scenario::subject::Subject;
use exeat_e2e::stage::artefacts;
use exeat_e2e::stage::client::Connection;
use exeat_e2e::workspace;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn example(path: &str) -> PathBuf {
    workspace().join("examples").join(path)
}

#[test]
fn python_with_http_message_signatures() {
    let mut command = Command::new(artefacts::python().unwrap());
    // Nothing is to be left beside the sources.
    command.arg("-B").arg(example("python/example.py"));
    check("python", command);
}

#[test]
fn node_with_http_message_signatures() {
    // Modules are looked for from where the importing file lies.
    let folder = tempfile::tempdir().unwrap();
    for file in ["package.json", "exeat-client.js", "example.js"] {
        std::fs::copy(example("node").join(file), folder.path().join(file)).unwrap();
    }
    std::os::unix::fs::symlink(artefacts::node_modules().unwrap(), folder.path().join("node_modules")).unwrap();
    let mut command = Command::new("node");
    command.arg(folder.path().join("example.js"));
    check("node", command);
}

#[test]
fn rust_with_a_structured_fields_crate() {
    check("rust", Command::new(artefacts::rust_example().unwrap()));
}

#[test]
fn curl_with_exeat_sign() {
    let mut command = Command::new("sh");
    command.arg(example("curl/example.sh")).env("EXEAT_CLI", artefacts::cli().unwrap());
    check("curl", command);
}

/// A checker of bundles that shares no code with this one says of each sample what the sample says.
#[test]
fn python_checks_bundles_as_the_command_line_does() {
    let samples = example("bundles");
    let mut command = Command::new(artefacts::python().unwrap());
    let output = run(command.arg("-B").arg(samples.join("check.py")).arg("--samples").arg(&samples));
    let (status, said) = told(&output);
    assert_eq!(status, Some(0), "{output:?}");
    let expected: String = {
        let files = std::fs::read_dir(&samples).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = files.filter(|file| file.extension().is_some_and(|e| e == "json")).collect();
        files.sort();
        let line = |file: &PathBuf| {
            let sample: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
            format!("{} {}\n", file.file_stem().unwrap().to_str().unwrap(), sample["verdict"].as_str().unwrap())
        };
        files.iter().map(line).collect()
    };
    assert!(expected.lines().count() >= 28, "{expected}");
    assert_eq!(said, expected);
}

/// Runs the example as it stands, then with an order and a customer changed on the way.
fn check(runtime: &str, mut command: Command) {
    let real = RealEnvoy::start("main", 1).unwrap();
    let key = real.gateway().file("signer.key");
    std::fs::write(&key, real.gateway().signer.to_base64()).unwrap();
    let authority = format!("eu.crm.acme.example:{}", real.upstream_port());
    // A proxy of the environment would lead past the gateway: no client may use it.
    command.env("http_proxy", "http://127.0.0.1:9").env("HTTP_PROXY", "http://127.0.0.1:9");
    command.env("EXEAT_KEY", &key).env("EXEAT_KEYID", KEYID).arg(format!("http://{authority}"));

    let wire = Wire::start(real.listener, &[]);
    let output = run(command.env("EXEAT_GATEWAY", wire.origin()));
    assert_eq!(told(&output), (Some(0), "GET 200 allowed\nPOST 200 allowed\n".to_owned()), "{output:?}");
    let arrived = real.upstream.take();
    let lines: Vec<_> = arrived.iter().map(|request| format!("{} {}", request.method, request.path)).collect();
    assert_eq!(lines, ["GET /v1/orders/7?customer=u-1042", "POST /v1/search"]);
    for request in &arrived {
        assert_eq!(request.authority.as_deref(), Some(authority.as_str()));
        for name in ["agent-context", "signature", "signature-input"] {
            assert_eq!(request.header(name), None, "{name} arrived");
        }
        assert_eq!(request.header("x-agent"), Some(b"support/summarizer".as_slice()));
    }
    assert_eq!(arrived[1].header("content-type"), Some(b"application/json".as_slice()));
    assert_eq!(serde_json::from_slice::<Value>(&arrived[1].body).unwrap(), json!({"customer_id": "u-1042"}));

    // What it sent, once more and byte for byte.
    let sent = wire.taken();
    assert!(!sent.is_empty());
    for bytes in sent {
        let mut connection = Connection::open(real.listener).unwrap();
        connection.write(&bytes).unwrap();
        let answer = connection.read_response("GET").unwrap();
        assert_eq!((answer.status, &answer.json().unwrap()["reason"]), (401, &json!("signature-replayed")));
    }

    let changes = [("/v1/orders/7?", "/v1/orders/8?"), ("\"u-1042\"}", "\"u-1043\"}")];
    let wire = Wire::start(real.listener, &changes);
    let output = run(command.env("EXEAT_GATEWAY", wire.origin()));
    let refused = "GET 401 signature-invalid\nPOST 401 digest-mismatch\n".to_owned();
    assert_eq!(told(&output), (Some(1), refused), "{output:?}");
    assert_eq!(real.upstream.take().len(), 0, "something that was changed arrived");

    let records = real
        .wait_for_records("the two decisions that were allowed", |records| decisions(records, "allow").len() == 2)
        .unwrap();
    let allowed = decisions(&records, "allow");
    let members = ["agent", "session", "tenant", "tool", "data_class", "provenance", "rule"];
    let stated: Vec<Value> = allowed.iter().map(|record| members.map(|name| record[name].clone()).into()).collect();
    let expected = |tool: &str| {
        json!([
            "support/summarizer",
            format!("{runtime}-1"),
            "acme",
            tool,
            "internal",
            ["user"],
            "support/summarizer/read-orders"
        ])
    };
    assert_eq!(stated, [expected("crm.lookup"), expected("crm.search")]);
    real.verify().unwrap();
}

fn decisions<'a>(records: &'a [Value], outcome: &str) -> Vec<&'a Value> {
    records.iter().filter(|record| record["kind"] == "decision" && record["outcome"] == outcome).collect()
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"))
}

fn told(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What came on one connection so far.
type Bytes = Arc<Mutex<Vec<u8>>>;

/// Stands between a runtime and the gateway, keeps what the runtime sends, and changes it.
struct Wire {
    address: SocketAddr,
    sent: Arc<Mutex<Vec<Bytes>>>,
}

impl Wire {
    /// `changes` are texts and others of the same length in their place.
    fn start(gateway: SocketAddr, changes: &[(&'static str, &'static str)]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let sent = Arc::<Mutex<Vec<Bytes>>>::default();
        let (kept, changes) = (Arc::clone(&sent), changes.to_vec());
        // Lives as long as the test: it waits for connections that do not come.
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, gateway) = (client.unwrap(), TcpStream::connect(gateway).unwrap());
                let bytes = Bytes::default();
                kept.lock().unwrap().push(Arc::clone(&bytes));
                let (from, to) = (client.try_clone().unwrap(), gateway.try_clone().unwrap());
                let changes = changes.clone();
                std::thread::spawn(move || {
                    pass(from, to, |piece| {
                        bytes.lock().unwrap().extend_from_slice(piece);
                        changes.iter().for_each(|(text, other)| replace(piece, text.as_bytes(), other.as_bytes()));
                    });
                });
                std::thread::spawn(move || pass(gateway, client, |_| {}));
            }
        });
        Self { address, sent }
    }

    fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was sent, a request each: those of one connection are told apart by where the next begins.
    fn taken(&self) -> Vec<Vec<u8>> {
        let connections = self.sent.lock().unwrap();
        let mut requests = Vec::new();
        for bytes in connections.iter() {
            let bytes = bytes.lock().unwrap().clone();
            let next = bytes.windows(5).skip(1).position(|window| window == b"POST ").map_or(bytes.len(), |at| at + 1);
            let (first, rest) = bytes.split_at(next);
            requests.extend([first.to_vec(), rest.to_vec()].into_iter().filter(|bytes| !bytes.is_empty()));
        }
        requests
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, mut look: impl FnMut(&mut [u8])) {
    let mut buffer = [0; 64 * 1024];
    from.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        look(&mut buffer[..count]);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

fn replace(bytes: &mut [u8], text: &[u8], other: &[u8]) {
    assert_eq!(text.len(), other.len());
    for at in 0..(bytes.len() + 1).saturating_sub(text.len()) {
        if bytes[at..].starts_with(text) {
            bytes[at..at + text.len()].copy_from_slice(other);
        }
    }
}
