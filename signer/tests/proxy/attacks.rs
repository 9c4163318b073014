//! Whoever owns the agent's process, against the border of its session. What must not leave is counted at the gateway.

use crate::agent::{self, connect, raw, raw_inside, read_to_end, reason, request, status, tls, tunnel};
use crate::gateway::Gateway;
use crate::keeper::Signer;
use base64::Engine as _;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_sessions_port_needs_that_sessions_password() {
    let gateway = Gateway::start().await;
    let signer = Signer::start(&gateway);
    let (own, other) = (signer.open().await, signer.open().await);
    let basic = |text: &str| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text));
    let own_credentials = own.credentials();
    let tries = [
        String::new(),
        format!("proxy-authorization: {own_credentials}\r\n"),
        format!("authorization: {}\r\n", other.credentials()),
        format!("proxy-authorization: {}\r\n", basic("agent:")),
        format!("proxy-authorization: {}\r\n", basic(&format!("agent:{}x", other.password))),
        format!("proxy-authorization: Bearer {}\r\n", other.password),
        format!("proxy-authorization: {own_credentials}\r\nproxy-authorization: {}\r\n", other.credentials()),
    ];
    for lines in tries {
        for target in ["GET http://a.example/", "CONNECT a.example:443"] {
            let answer = raw(&other, format!("{target} HTTP/1.1\r\nconnection: close\r\n{lines}\r\n")).await;
            assert_eq!((status(&answer), reason(&answer).as_str()), (407, "proxy-authentication-required"), "{lines}");
            assert!(answer.contains("proxy-authenticate: Basic"), "{answer}");
        }
    }
    gateway.assert_untouched();
    assert!(signer.signed().is_empty());
    assert_eq!(status(&raw(&other, request(&other, "GET", "http://a.example/", &[])).await), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_shared_machine_the_owner_of_the_socket_counts_too() {
    let gateway = Gateway::start().await;
    let signer = Signer::start(&gateway);
    let uid = rustix::process::getuid().as_raw();
    let stranger = signer.open_with(|opening| opening.uids = vec![uid + 1]).await;
    let answer = raw(&stranger, request(&stranger, "GET", "http://a.example/", &[])).await;
    assert_eq!((status(&answer), reason(&answer).as_str()), (403, "peer-forbidden"));
    gateway.assert_untouched();
    let own = signer.open_with(|opening| opening.uids = vec![uid + 1, uid]).await;
    assert_eq!(status(&raw(&own, request(&own, "GET", "http://a.example/", &[])).await), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contexts_in_own_headers_do_not_arrive() {
    let gateway = Gateway::start().await;
    let signer = Signer::start(&gateway);
    let session = signer.open().await;
    let own = [
        "Agent-Context: agent=\"root\", session=\"s-1\"",
        "agent_context: agent=\"root\"",
        "Signature-Input: exeat=(\"@method\");created=1;nonce=\"n\";tag=\"exeat\"",
        "Signature: exeat=:AAAA:",
        "Signature: other=:AAAA:",
        "Content-Digest: sha-256=:AAAA:",
        "Exeat-Decision: 1",
        "Proxy-Whatever: 1",
        "X-Kept: 1",
        "Connection: x-dropped",
        "X-Dropped: 1",
    ];
    assert_eq!(status(&raw(&session, request(&session, "GET", "http://a.example/", &own)).await), 200);
    let inside = format!("GET / HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n{}\r\n\r\n", own.join("\r\n"));
    assert_eq!(status(&raw_inside(&session, "a.example", inside).await), 200);
    for seen in gateway.seen() {
        assert_eq!(seen.header("agent-context"), Some("agent=\"support/summarizer\", session=\"s-1\""));
        let names: Vec<&str> = seen.headers.keys().map(http::HeaderName::as_str).collect();
        let mut expected = vec!["agent-context", "signature", "signature-input", "x-kept"];
        expected.sort_unstable();
        let mut names = names;
        names.sort_unstable();
        assert_eq!(names, expected);
        for name in expected {
            assert_eq!(seen.headers.get_all(name).iter().count(), 1, "{name}");
        }
    }
    assert_eq!(gateway.count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connect_to_one_host_sni_to_another_host_to_a_third() {
    let gateway = Gateway::start().await;
    let signer = Signer::start(&gateway);
    let session = signer.open().await;
    let named = tls(&session, connect(&session, "one.example:443").await, "two.example", &["http/1.1"]).await;
    assert!(named.is_err(), "a certificate for one host was given to a client that asks for another");
    for host in ["third.example", "one.example:8443", "one.example:80", "one.example.evil.example", "user@one.example"]
    {
        let head = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let answer = raw_inside(&session, "one.example", head).await;
        assert!(matches!(status(&answer), 421 | 400), "{host}: {answer}");
    }
    let answer = raw_inside(&session, "one.example", "GET / HTTP/1.1\r\nconnection: close\r\n\r\n").await;
    assert_eq!(status(&answer), 400);
    let two = "GET / HTTP/1.1\r\nhost: one.example\r\nhost: two.example\r\nconnection: close\r\n\r\n";
    assert_eq!(status(&raw_inside(&session, "one.example", two).await), 400);
    // The same in HTTP/2, where the authority has a field of its own.
    let mut sender = agent::http2(tunnel(&session, "one.example", &["h2"]).await).await;
    let get = |uri: &str| http::Request::get(uri).body(http_body_util::Full::<bytes::Bytes>::default()).unwrap();
    assert_eq!(sender.send_request(get("https://two.example/")).await.unwrap().status(), 421);
    assert_eq!(sender.send_request(get("https://one.example:444/")).await.unwrap().status(), 421);
    assert_eq!(sender.send_request(get("http://one.example:443/")).await.unwrap().status(), 400);
    let mut both = get("https://one.example/");
    both.headers_mut().insert("host", "two.example".parse().unwrap());
    assert_eq!(sender.send_request(both).await.unwrap().status(), 421);
    gateway.assert_untouched();
    assert!(signer.signed().is_empty());
    // Other spellings of the same authority are the same.
    for host in ["one.example", "ONE.example.:443"] {
        let head = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        assert_eq!(status(&raw_inside(&session, "one.example", head).await), 200);
        assert_eq!(gateway.seen().pop().unwrap().authority, "one.example:443");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inside_a_tunnel_there_is_no_proxy() {
    let gateway = Gateway::start().await;
    let signer = Signer::start(&gateway);
    let session = signer.open().await;
    let credentials = session.credentials();
    for (head, expected) in [
        ("GET http://evil.example/ HTTP/1.1\r\nhost: a.example", 400),
        ("GET https://a.example/ HTTP/1.1\r\nhost: a.example", 400),
        ("CONNECT evil.example:443 HTTP/1.1\r\nhost: a.example", 403),
        ("CONNECT a.example:443 HTTP/1.1\r\nhost: a.example", 403),
        ("OPTIONS * HTTP/1.1\r\nhost: a.example", 400),
    ] {
        let head = format!("{head}\r\nproxy-authorization: {credentials}\r\nconnection: close\r\n\r\n");
        let answer = raw_inside(&session, "a.example", &head).await;
        assert_eq!(status(&answer), expected, "{head}{answer}");
    }
    let mut sender = agent::http2(tunnel(&session, "a.example", &["h2"]).await).await;
    let request = http::Request::connect("evil.example:443").body(http_body_util::Full::<bytes::Bytes>::default());
    assert_eq!(sender.send_request(request.unwrap()).await.unwrap().status(), 403);
    gateway.assert_untouched();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_that_are_read_in_more_than_one_way_are_refused() {
    let gateway = Gateway::start().await;
    let signer = Signer::start(&gateway);
    let session = signer.open().await;
    for target in [
        "http://user:pass@a.example/",
        "http://a.example:0/",
        "http://a.example:65536/",
        "http://a.example:/",
        "http://a.example,b.example/",
        "http://a%2eexample/",
        "http:///x",
        "ftp://a.example/",
        "a.example:80",
        "/x",
        "*",
    ] {
        let answer = raw(&session, request(&session, "GET", target, &[])).await;
        assert_eq!(status(&answer), 400, "{target}: {answer}");
    }
    for target in ["a.example", "a.example:0", "user@a.example:443", "http://a.example:443/", "/", "a.example:443/x"] {
        let answer = raw(&session, request(&session, "CONNECT", target, &[])).await;
        assert_eq!(status(&answer), 400, "{target}: {answer}");
    }
    for lines in [["content-length: 5"], ["transfer-encoding: chunked"]] {
        let answer = raw(&session, request(&session, "CONNECT", "a.example:443", &lines)).await;
        assert_eq!(status(&answer), 400, "{lines:?}");
    }
    let answer = raw(&session, request(&session, "GET", "http://a.example/", &["host: b.example"])).await;
    assert_eq!(status(&answer), 400);
    gateway.assert_untouched();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_connect_only_tls_goes_on() {
    let gateway = Gateway::start().await;
    let signer = Signer::start_with(&gateway, |configuration| configuration.handshake_seconds = 1);
    let session = signer.open().await;
    for bytes in [
        b"GET / HTTP/1.1\r\nhost: a.example\r\n\r\n".as_slice(),
        b"SSH-2.0-OpenSSH_9.9\r\n",
        &[0; 4096],
        // A TLS record of the largest length, and of one beyond it.
        b"\x16\x03\x01\x40\x00\x01",
        b"\x16\x03\x01\xff\xff\x01",
        // TLS that is no ClientHello.
        b"\x17\x03\x03\x00\x01\x00",
        b"",
        b"\x16",
    ] {
        let mut stream = connect(&session, "a.example:443").await;
        stream.write_all(bytes).await.unwrap();
        let start = Instant::now();
        let answer = read_to_end(&mut stream).await;
        assert!(answer.len() < 16, "more than an alert: {answer:?}");
        assert!(start.elapsed() < Duration::from_secs(15));
    }
    gateway.assert_untouched();
    signer.wait_for("exeat_proxy_tls_failures_total", 8.0).await;
    signer.wait_for("exeat_proxy_connections", 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_sandbox_does_not_trust_the_other() {
    let gateway = Gateway::start().await;
    let signer = Signer::start(&gateway);
    let (one, other) = (signer.open().await, signer.open().await);
    assert_ne!(one.ca_pem, other.ca_pem);
    let connector = agent::trusting(&one.ca_pem, &[]);
    let name = rustls::pki_types::ServerName::try_from("a.example").unwrap();
    let error = connector.connect(name, connect(&other, "a.example:443").await).await.unwrap_err();
    let cause = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    assert!(matches!(cause, Some(rustls::Error::InvalidCertificate(_))), "{error}");
    gateway.assert_untouched();
}
