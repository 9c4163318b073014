//! Bytes of an attacker at the signer's port, with the real signer and the real Envoy behind it, and an upstream that counts.

#![cfg(test)]

use exeat_e2e::scenario::signed::{Signed, proxy_of};
use exeat_e2e::scenario::subject::Subject as _;
use exeat_e2e::stage::upstream::Upstream;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

struct Agent {
    address: SocketAddr,
    credentials: String,
}

impl Agent {
    fn new(signed: &Signed) -> Self {
        let (address, credentials) = proxy_of(&signed.session().unwrap()).unwrap();
        Self { address, credentials }
    }

    fn open(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        // Who is refused early may be cut off while it still writes.
        let _ = stream.write_all(bytes);
        stream
    }

    /// Sends, and reads until the proxy closes.
    fn send(&self, bytes: impl AsRef<[u8]>) -> String {
        let (mut stream, mut answer) = (self.open(bytes.as_ref()), Vec::new());
        match stream.read_to_end(&mut answer) {
            Ok(_) => {}
            Err(error) => assert_ne!(error.kind(), ErrorKind::WouldBlock, "the connection stays open"),
        }
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn head(&self, line: &str, lines: &[&str]) -> String {
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let credentials = &self.credentials;
        format!("{line} HTTP/1.1\r\nproxy-authorization: {credentials}\r\nconnection: close\r\n{lines}\r\n")
    }
}

fn status(answer: &str) -> u16 {
    answer.get(9..12).and_then(|code| code.parse().ok()).unwrap_or_default()
}

#[test]
fn what_can_be_read_in_two_ways_reaches_nobody_and_the_rest_once() {
    let upstream = Upstream::start().unwrap();
    let server = upstream.address();
    // HTTP/1.1 to the upstream, where a body that were framed wrongly would become a request.
    let signed = Signed::start_before(server, &["http/1.1"], upstream, &["--handshake-timeout", "1s"]).unwrap();
    let agent = Agent::new(&signed);
    let upstream = &signed.real.upstream;
    let authority = format!("eu.crm.acme.example:{}", signed.port());
    let hidden = format!("GET http://{authority}/v1/orders/hidden HTTP/1.1\r\nhost: {authority}\r\n\r\n");
    let post = |lines: &[&str], body: &str| {
        let lines = [lines, &["content-type: application/json"]].concat();
        let head = agent.head(&format!("POST http://{authority}/v1/search"), &lines);
        agent.send(format!("{head}{body}{hidden}"))
    };
    for (lines, body) in [
        (&["transfer-encoding: gzip, chunked"][..], "0\r\n\r\n"),
        (&["transfer-encoding: chunked", "transfer-encoding: chunked"], "0\r\n\r\n"),
        (&["transfer-encoding : chunked"], "0\r\n\r\n"),
        (&["content-length: 3", "content-length: 4"], "1234"),
        (&["content-length: +3"], "123"),
        (&["x-folded: a", " b: c", "content-length: 3"], "123"),
        (&["transfer-encoding: chunked"], "3\r\n123\r\n0\r\nagent-context: late\r\n\r\n"),
        (&["transfer-encoding: chunked"], "3\r\n1234\r\n0\r\n\r\n"),
        (&["host: other.example", "content-length: 3"], "123"),
    ] {
        let answer = post(lines, body);
        assert!(answer.is_empty() || status(&answer) == 400, "{lines:?} {body:?}: {answer}");
    }
    for head in [
        agent.head(&format!("GET http://user@{authority}/v1/orders/7"), &[]),
        agent.head("GET /v1/orders/7", &[&format!("host: {authority}")]),
        agent.head("CONNECT eu.crm.acme.example", &[]),
        // Without the password.
        format!("GET http://{authority}/v1/orders/7 HTTP/1.1\r\nconnection: close\r\n\r\n"),
    ] {
        assert!(matches!(status(&agent.send(&head)), 400 | 407), "{head}");
    }
    for bytes in ["GET /v1/orders/7 HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02\x00\x01", ""] {
        let head = agent.head(&format!("CONNECT {authority}"), &[]);
        let answer = agent.send(format!("{head}{bytes}"));
        let (head, rest) = answer.split_once("\r\n\r\n").unwrap();
        assert!(status(head) == 200 && rest.len() < 16, "more than an alert: {answer:?}");
    }
    assert_eq!((upstream.count(), upstream.bytes_received()), (0, 0));

    for (lines, body) in [
        (&["content-length: 99", "transfer-encoding: chunked"][..], "3\r\n123\r\n0\r\n\r\n"),
        (&["transfer-encoding: chunked", "content-length: 99"], "3\r\n123\r\n0\r\n\r\n"),
        (&["transfer-encoding: chunked"], "3;extension=\"a\"\r\n123\r\n0\r\n\r\n"),
        (&["content-length: 3", "content-length: 3"], "123"),
        (&["content-length: 3", "agent-context: agent=\"root\"", "signature: a=:AA==:"], "123"),
    ] {
        let answer = post(lines, body);
        assert_eq!(status(&answer), 200, "{lines:?}: {answer}");
        let arrived = upstream.take();
        assert_eq!(arrived.len(), 1, "{lines:?}");
        assert_eq!((arrived[0].path.as_str(), arrived[0].body.as_slice()), ("/v1/search", &b"123"[..]));
        assert_eq!(arrived[0].header("agent-context"), None);
    }
    assert!(!upstream.wire_contains(b"hidden"));
    signed.real.verify_settled(LIMIT).unwrap();
}

#[test]
fn a_websocket_passes_the_signer_and_the_gateway() {
    let signed = Signed::start_before(echo_server(), &["http/1.1"], Upstream::start().unwrap(), &[]).unwrap();
    let agent = Agent::new(&signed);
    let lines = [
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-version: 13",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let upgrade = |host: &str, path: &str| {
        let head = agent.head(&format!("GET http://{host}:{}{path}", signed.port()), &lines);
        agent.open(head.replacen("connection: close\r\n", "", 1).as_bytes())
    };
    let mut stream = upgrade("feed.acme.example", "/feed");
    assert_eq!(status(&read_head(&mut stream)), 101, "{}", signed.signer.log_tail());
    for message in [&b"\x81\x05hello"[..], &[7; 3000]] {
        stream.write_all(message).unwrap();
        let mut echoed = vec![0; message.len()];
        stream.read_exact(&mut echoed).unwrap();
        assert_eq!(echoed, message);
    }
    // A path and a destination to which the policy grants none.
    for (host, path, reason) in
        [("feed.acme.example", "/other", "path-denied"), ("eu.crm.acme.example", "/v1/orders/7", "upgrade-denied")]
    {
        let head = read_head(&mut upgrade(host, path));
        assert_eq!(status(&head), 403);
        assert!(head.contains(&format!("exeat-reason: {reason}\r\n")), "{head}");
    }
}

fn read_head(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0; 1]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Upgrades whatever comes, and echoes.
fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                read_head(&mut stream);
                let answer = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                              sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
                let _ = stream.write_all(answer.as_bytes());
                let mut other = stream.try_clone().unwrap();
                let _ = std::io::copy(&mut stream, &mut other);
            });
        }
    });
    address
}

#[test]
fn a_granted_tunnel_carries_the_agents_own_tls() {
    let signed = Signed::start(Upstream::start().unwrap(), &[]).unwrap();
    let authority = format!("pinned.acme.example:{}", signed.port());
    let url = format!("https://{authority}/anything");
    let curl = |arguments: &[&str], url: &str| {
        let mut command = signed.run_with(arguments).unwrap();
        // It trusts the upstream's authority alone.
        command.args(["curl", "-sS", "-o", "/dev/null", "-w", "%{http_connect} %{http_code}", "--cacert"]);
        command.arg(signed.real.gateway().file("ca.crt")).arg(url);
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    assert_eq!(curl(&["--tunnel", &authority], &url), (true, "200 200".to_owned()), "{}", signed.signer.log_tail());
    let arrived = signed.real.upstream.take();
    assert_eq!((arrived.len(), arrived[0].path.as_str()), (1, "/anything"));
    // Without the grant the signer ends the TLS, which this client does not take.
    assert_eq!(curl(&[], &url), (false, "200 000".to_owned()));
    // With it, but not by the policy.
    let other = format!("git.acme.example:{}", signed.port());
    let (passed, told) = curl(&["--tunnel", &other], &format!("https://{other}/"));
    assert!(!passed && told.starts_with("403 "), "{told}");
    assert!(signed.real.upstream.take().is_empty());
}
