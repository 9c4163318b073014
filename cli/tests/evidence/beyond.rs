//! The collector beyond loopback: TLS, client certificates, a token; and what it counts.

use crate::support::{Answer, Collector, Vm, get, key_option, post};
use exeat_engine::evidence::record::Outcome;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, purpose: ExtendedKeyUsagePurpose) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new(vec!["collector.test".to_owned()]).unwrap();
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }

    /// Files of a server's certificate and key, and of the authority.
    fn files(&self, dir: &Path) -> [String; 3] {
        let (certificate, key) = self.issue(ExtendedKeyUsagePurpose::ServerAuth);
        let file = |name: &str, text: String| {
            std::fs::write(dir.join(name), text).unwrap();
            dir.join(name).to_str().unwrap().to_owned()
        };
        [
            file("server.pem", certificate.pem()),
            file("server.key", key.serialize_pem()),
            file("authority.pem", self.0.pem()),
        ]
    }

    fn client(&self, identity: Option<&Authority>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        Arc::new(match identity {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let (certificate, key) = authority.issue(ExtendedKeyUsagePurpose::ClientAuth);
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
                builder.with_client_auth_cert(vec![certificate.der().clone()], key).unwrap()
            }
        })
    }
}

/// A request over TLS; `None` where the handshake or the connection is refused.
fn over_tls(to: SocketAddr, config: Arc<ClientConfig>, body: &[u8]) -> Option<Answer> {
    let name = ServerName::try_from("collector.test").unwrap();
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut tls = StreamOwned::new(ClientConnection::new(config, name).unwrap(), stream);
    let head =
        format!("POST /v1/evidence HTTP/1.1\r\nhost: c\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    tls.write_all(&[head.as_bytes(), body].concat()).ok()?;
    let mut answer = String::new();
    let _ = tls.read_to_string(&mut answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

#[test]
fn over_tls_only_those_who_have_a_certificate_are_let_in() {
    let dir = tempfile::tempdir().unwrap();
    let (own, other) = (Authority::new(), Authority::new());
    let [cert, key, ca] = own.files(dir.path());
    let options = ["--tls-cert", &cert, "--tls-key", &key, "--client-ca", &ca];
    let collector = Collector::start_with(dir.path(), &options);
    let mut vm = Vm::new("b1", "w0");
    vm.exchange();
    let batch = vm.batch(10).unwrap();
    for identity in [None, Some(&other)] {
        assert!(over_tls(collector.address, own.client(identity), batch.bytes()).is_none());
    }
    assert_eq!(over_tls(collector.address, own.client(Some(&own)), batch.bytes()).unwrap().status, 200);
    // Plain HTTP gets no answer.
    assert!(crate::support::try_post(collector.address, batch.bytes()).is_none());
    // Nor does a client that never shakes hands hold up the others.
    let silent: Vec<_> = (0..20).map(|_| TcpStream::connect(collector.address).unwrap()).collect();
    assert_eq!(over_tls(collector.address, own.client(Some(&own)), batch.bytes()).unwrap().status, 200);
    drop(silent);
    assert!(collector.terminate());
}

#[test]
fn a_token_is_asked_for_everywhere_but_for_the_probe() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "0123456789abcdef\n").unwrap();
    let collector = Collector::start_with(dir.path(), &["--token", file.to_str().unwrap()]);
    let mut vm = Vm::new("b1", "w0");
    let batch = vm.batch(10).unwrap();
    let tell = |target: &str, field: &str| {
        let mut stream = TcpStream::connect(collector.address).unwrap();
        let (method, body) = if target == "/v1/evidence" { ("POST", batch.bytes()) } else { ("GET", &b""[..]) };
        let length = body.len();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nhost: c\r\nconnection: close\r\ncontent-length: {length}\r\n{field}\r\n"
        );
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    let ask = |target: &str, field: &str| tell(target, field).split(' ').nth(1).unwrap().parse::<u16>().unwrap();
    for target in ["/v1/evidence", "/v1/last?gateway=egress-eu-1", "/metrics", "/nothing"] {
        for field in [
            "",
            "authorization: Bearer 0123456789abcdeg\r\n",
            "authorization: Bearer 0123456789abcdef0\r\n",
            "authorization: Bearer \r\n",
            "authorization: 0123456789abcdef\r\n",
            "authorization: Basic 0123456789abcdef\r\n",
        ] {
            assert_eq!(ask(target, field), 401, "{target} {field}");
        }
    }
    assert_eq!(ask("/healthz", ""), 200);
    for target in ["/v1/evidence", "/v1/last?gateway=egress-eu-1", "/metrics"] {
        assert_eq!(ask(target, "authorization: bearer 0123456789abcdef\r\n"), 200, "{target}");
    }
    // Batches alone are counted: whoever asks for something else is no gateway.
    let metrics = tell("/metrics", "authorization: bearer 0123456789abcdef\r\n");
    assert!(metrics.contains("exeat_collector_batches_total{verdict=\"token\"} 6\n"), "{metrics}");
    assert!(metrics.contains("exeat_collector_write_seconds_count 1\n"), "{metrics}");
    assert!(collector.terminate());
}

#[test]
fn metrics_tell_what_was_stored_refused_and_seen_twice() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let (mut vm, mut other) = (Vm::new("b1", "w0"), Vm::new("b2", "w0"));
    for log in [&mut vm, &mut other] {
        let mut record = log.record(Outcome::Allow);
        record.signature_base = Some("sha256:once".into());
        let id = log.decide(record, None);
        log.complete(&id);
    }
    vm.deliver(collector.address, 10);
    other.deliver(collector.address, 10);
    assert_eq!(post(collector.address, b"nonsense").status, 400);
    let metrics = get(collector.address, "/metrics").body;
    for line in [
        "exeat_collector_batches_total{verdict=\"stored\"} 2",
        "exeat_collector_batches_total{verdict=\"unreadable\"} 1",
        "exeat_collector_records_total{gateway=\"egress-eu-1\"} 6",
        "exeat_collector_newest_checkpoint_timestamp_seconds{gateway=\"egress-eu-1\"} 1763600000",
        "exeat_collector_repeated_signatures_total 1",
        "exeat_collector_write_seconds_count 3",
        "# EOF",
    ] {
        assert!(metrics.lines().any(|is| is == line), "{line} is not in\n{metrics}");
    }
    let said = std::fs::read_to_string(dir.path().join("said")).unwrap();
    assert!(said.contains("ALARM: egress-eu-1/b2/w0 let a signed request go that another log let go before"), "{said}");
    assert!(collector.terminate());
}

#[test]
fn options_that_would_leave_the_door_open_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let [cert, key, ca] = authority.files(dir.path());
    let short = dir.path().join("short");
    std::fs::write(&short, "secret").unwrap();
    let short = short.to_str().unwrap();
    for (options, expected) in [
        (&["--listen", "0.0.0.0:0"][..], "is not a loopback address"),
        (&["--listen", "0.0.0.0:0", "--tls-cert", &cert, "--tls-key", &key], "give --client-ca, or --token"),
        (&["--tls-cert", &cert], "--tls-key"),
        (&["--client-ca", &ca], "--tls-cert"),
        (&["--tls-cert", &key, "--tls-key", &key], "no certificates in PEM"),
        (&["--tls-cert", &cert, "--tls-key", &cert], "no private key in PEM"),
        (&["--tls-cert", &ca, "--tls-key", &key], "does not fit --tls-cert"),
        (&["--tls-cert", &cert, "--tls-key", &key, "--client-ca", "/nowhere.pem"], "/nowhere.pem"),
        (&["--token", short], "16 or more visible ASCII characters"),
        (&["--token", "env:EXEAT_NO_SUCH_TOKEN"], "EXEAT_NO_SUCH_TOKEN"),
    ] {
        let db = dir.path().join("none.db");
        let mut command = Command::new(env!("CARGO_BIN_EXE_exeat"));
        let output = command.args(["collect", "--key", &key_option(), "--db"]).arg(&db).args(options).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(expected), "{options:?}: {said}");
        assert!(!db.exists(), "{options:?}");
    }
}
