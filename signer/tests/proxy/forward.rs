//! What an ordinary client sees: requests arrive signed, answers come back as they are.

use crate::agent::{self, body, built, dial, http1, http2, raw, read_to_end, request, send, status, tunnel};
use crate::gateway::Gateway;
use crate::keeper::{Session, Signer, within};
use bytes::Bytes;
use exeat_signer::protocol::{SessionNumber, ToProxy};
use http::{Request, StatusCode, Version};
use http_body_util::Full;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::AsyncWriteExt as _;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_request_arrives_signed() {
    let gateway = Gateway::start().await;
    let signer = Signer::start(&gateway);
    let session = signer.open().await;
    let response = send(&session, built(&session, "GET", "http://Crm.Acme.example:80/v1/a%2Fb?q=1", "")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["exeat-decision"], "00ff");
    assert_eq!(body(response).await, "ok");
    let [seen] = gateway.seen().try_into().unwrap();
    assert_eq!((seen.version, seen.authority.as_str()), (Version::HTTP_2, "crm.acme.example"));
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("GET", "/v1/a%2Fb?q=1"));
    assert_eq!(seen.header("agent-context"), Some("agent=\"support/summarizer\", session=\"s-1\""));
    assert_eq!(seen.header("proxy-authorization"), None);
    assert_eq!(seen.header("content-digest"), None);
    let [asked] = signer.signed().try_into().unwrap();
    assert_eq!((asked.scheme.as_str(), asked.content_digest), ("http", None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_arrives_under_its_digest() {
    let gateway = Gateway::start().await;
    let signer = Signer::start(&gateway);
    let session = signer.open().await;
    for size in [1, 100_000, 1_000_000] {
        let sent = Bytes::from_iter((0..size).map(|at| u8::try_from(at % 251).unwrap()));
        let mut post = built(&session, "POST", "http://crm.acme.example/v1/search", sent.clone());
        post.headers_mut().insert("content-type", "application/json".parse().unwrap());
        assert_eq!(send(&session, post).await.status(), StatusCode::OK);
        let seen = gateway.seen().pop().unwrap();
        assert_eq!(seen.body, sent, "{size}");
        assert_eq!(seen.header("content-length"), Some(size.to_string().as_str()));
        assert_eq!(seen.header("content-type"), Some("application/json"));
    }
    assert_eq!(gateway.count(), 3);
    signer.wait_for("exeat_proxy_spool_bytes{in=\"memory\"}", 0.0).await;
    signer.wait_for("exeat_proxy_spool_bytes{in=\"files\"}", 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absolute_https_target_is_signed_with_its_port() {
    let gateway = Gateway::start().await;
    let signer = Signer::start(&gateway);
    let session = signer.open().await;
    assert_eq!(status(&raw(&session, request(&session, "GET", "https://api.example/x", &[])).await), 200);
    assert_eq!(gateway.seen().pop().unwrap().authority, "api.example:443");
    assert_eq!(signer.signed().pop().unwrap().scheme, "https");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_carries_many_requests_each_under_its_own_signature() {
    let gateway = Gateway::start().await;
    let signer = Signer::start(&gateway);
    let session = signer.open().await;
    let mut sender = http1(dial(session.address).await).await;
    for _ in 0..5 {
        within(sender.ready()).await.unwrap();
        let response = within(sender.send_request(built(&session, "GET", "http://a.example/", ""))).await.unwrap();
        assert_eq!(body(response).await, "ok");
    }
    // The gateway refuses a nonce that comes twice.
    assert_eq!((gateway.count(), gateway.connections()), (5, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn https_ends_at_the_proxy_in_both_versions() {
    let gateway = Gateway::start().await;
    let signer = Signer::start(&gateway);
    let session = signer.open().await;
    let inside = |target: &str| {
        let request = Request::builder().method("POST").uri(target).header("host", "api.example");
        request.body(Full::new(Bytes::from_static(b"hello"))).unwrap()
    };
    let stream = tunnel(&session, "api.example", &["http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
    let mut sender = http1(stream).await;
    for _ in 0..2 {
        within(sender.ready()).await.unwrap();
        let response = within(sender.send_request(inside("/v1/one?x"))).await.unwrap();
        assert_eq!((response.status(), body(response).await), (StatusCode::OK, "ok".into()));
    }
    let stream = tunnel(&session, "api.example", &["h2", "http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let mut sender = http2(stream).await;
    let mut request = inside("https://api.example/v1/two");
    request.headers_mut().clear();
    let response = within(sender.send_request(request)).await.unwrap();
    assert_eq!((response.status(), body(response).await), (StatusCode::OK, "ok".into()));
    let seen = gateway.seen();
    let said: Vec<_> = seen.iter().map(|seen| (seen.authority.as_str(), seen.path.as_str())).collect();
    assert_eq!(
        said,
        [("api.example:443", "/v1/one?x"), ("api.example:443", "/v1/one?x"), ("api.example:443", "/v1/two")]
    );
    assert!(seen.iter().all(|seen| seen.body == "hello"));
    assert_eq!(signer.sample("exeat_proxy_leaf_certificates_total{cached=\"no\"}").await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_gets_a_certificate_for_the_address() {
    let gateway = Gateway::start().await;
    let signer = Signer::start(&gateway);
    let session = signer.open().await;
    for (authority, name) in [("192.0.2.7:8443", "192.0.2.7"), ("[2001:db8::7]:8443", "2001:db8::7")] {
        let stream = agent::connect(&session, authority).await;
        let mut stream = agent::tls(&session, stream, name, &["http/1.1"]).await.unwrap();
        let head = format!("GET / HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        assert_eq!(status(&read_to_end(&mut stream).await), 200);
        assert_eq!(gateway.seen().pop().unwrap().authority, authority);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_1_0_is_served() {
    let gateway = Gateway::start().await;
    let signer = Signer::start(&gateway);
    let session = signer.open().await;
    let credentials = session.credentials();
    let head = format!("GET http://a.example/ HTTP/1.0\r\nproxy-authorization: {credentials}\r\n\r\n");
    let answer = raw(&session, head).await;
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("\r\n\r\nok"), "{answer:?}");
    // As Python 3.11 opens tunnels.
    let mut stream = dial(session.address).await;
    let head = format!("CONNECT a.example:443 HTTP/1.0\r\nproxy-authorization: {credentials}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = agent::read_until(&mut stream, "\r\n\r\n").await;
    assert_eq!(answer, "HTTP/1.0 200 OK\r\n\r\n");
    let mut stream = agent::tls(&session, stream, "a.example", &["http/1.1"]).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n").await.unwrap();
    assert_eq!(status(&read_to_end(&mut stream).await), 200);
    assert_eq!(gateway.count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_keep_what_is_for_the_agent() {
    let gateway = Gateway::start().await;
    let signer = Signer::start(&gateway);
    let session = signer.open().await;
    let response = send(&session, built(&session, "GET", "http://a.example/headers", "")).await;
    let headers = response.headers();
    let cookies: Vec<_> = headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    assert_eq!(headers["x-kept"], "1");
    for name in ["alt-svc", "proxy-authenticate"] {
        assert!(!headers.contains_key(name), "{name}");
    }
    let response = send(&session, built(&session, "GET", "http://a.example/redirect", "")).await;
    assert_eq!(response.status(), StatusCode::FOUND);
    assert_eq!(response.headers()["location"], "http://elsewhere.example/");
    assert_eq!(gateway.count(), 2, "a redirect was followed");
    let response = send(&session, built(&session, "HEAD", "http://a.example/big/5000", "")).await;
    assert_eq!(response.headers()["content-length"], "5000");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_mutual_tls_it_is_the_same() {
    let gateway = Gateway::start_tls().await;
    let signer = Signer::start(&gateway);
    let session = signer.open().await;
    for (target, authority) in [
        ("http://a.example/x", "a.example"),
        ("https://a.example/x", "a.example:443"),
        ("http://a.example:443/x", "a.example:443"),
        ("https://a.example:80/x", "a.example:80"),
    ] {
        let response = send(&session, built(&session, "POST", target, "hello")).await;
        assert_eq!(response.status(), StatusCode::OK, "{target}");
        let seen = gateway.seen().pop().unwrap();
        assert_eq!((seen.version, seen.authority.as_str()), (Version::HTTP_2, authority));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket_serves_without_a_password() {
    let gateway = Gateway::start().await;
    let signer = Signer::start(&gateway);
    let path = signer.spool.path().join("agent.sock");
    let uid = rustix::process::getuid().as_raw();
    for (uids, expected) in [(vec![], 200), (vec![uid], 200), (vec![uid + 1], 403)] {
        let _ = std::fs::remove_file(&path);
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let mut opening = crate::keeper::opening(signer.number(), "");
        opening.password_sha256 = None;
        opening.uids = uids;
        signer.open_on(opening, listener.into()).await.unwrap();
        let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
        stream.write_all(b"GET http://a.example/ HTTP/1.1\r\nconnection: close\r\n\r\n").await.unwrap();
        assert_eq!(status(&read_to_end(&mut stream).await), expected);
    }
    assert_eq!(gateway.count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_cannot_be_opened_is_said() {
    let gateway = Gateway::start().await;
    let signer = Signer::start(&gateway);
    let tcp = || std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().into();
    let mut opening = crate::keeper::opening(signer.number(), "x");
    opening.password_sha256 = None;
    let why = signer.open_on(opening, tcp()).await.unwrap_err();
    assert!(why.contains("needs a password"), "{why}");
    let mut opening = crate::keeper::opening(signer.number(), "x");
    opening.password_sha256 = Some("nonsense".to_owned());
    assert!(signer.open_on(opening, tcp()).await.unwrap_err().contains("no SHA-256"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_closed_ends_at_once() {
    let gateway = Gateway::start().await;
    gateway.hold(true);
    let signer = Signer::start(&gateway);
    let (session, other) = (signer.open().await, signer.open().await);
    let mut held = dial(session.address).await;
    held.write_all(request(&session, "GET", "http://a.example/hold", &[]).as_bytes()).await.unwrap();
    let mut tunnel = tunnel(&session, "a.example", &["http/1.1"]).await;
    while gateway.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    signer.say(ToProxy::Close { session: session.number }, None);
    assert_eq!(read_to_end(&mut held).await, "");
    assert_eq!(read_to_end(&mut tunnel).await, "");
    assert!(refuses(session.address).await);
    signer.say(ToProxy::Close { session: SessionNumber(99) }, None);
    assert_eq!(status(&raw(&other, request(&other, "GET", "http://a.example/", &[])).await), 200);
}

/// Whether nobody listens there; a listener takes a moment to go.
async fn refuses(address: SocketAddr) -> bool {
    within(async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draining_lets_requests_end_and_takes_no_more() {
    let gateway = Gateway::start().await;
    gateway.hold(true);
    let mut signer = Signer::start(&gateway);
    let session: Session = signer.open().await;
    let mut held = dial(session.address).await;
    held.write_all(request(&session, "GET", "http://a.example/hold", &[]).as_bytes()).await.unwrap();
    let idle = dial(session.address).await;
    while gateway.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    let (drained, answer) = tokio::join!(signer.drain(), async {
        assert!(refuses(session.address).await);
        gateway.hold(false);
        read_to_end(&mut held).await
    });
    assert_eq!(((), status(&answer)), (drained, 200));
    drop(idle);
    let thread = signer.thread.take().unwrap();
    drop(signer);
    let ended = within(tokio::task::spawn_blocking(|| thread.join().unwrap())).await.unwrap();
    assert!(ended.is_ok(), "{ended:?}");
}
