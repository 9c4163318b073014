//! Slow heads, large heads, idle connections, and as many of them as there may be.

use crate::agent::{self, dial, http2, raw, raw_inside, read_to_end, request, status, tunnel};
use crate::gateway::Gateway;
use crate::keeper::{Signer, within};
use bytes::Bytes;
use http_body_util::Full;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_trickles_ends_in_time() {
    let gateway = Gateway::start().await;
    let signer = Signer::start_with(&gateway, |configuration| configuration.head_seconds = 1);
    let session = signer.open().await;
    let outside = dial(session.address).await;
    let inside = tunnel(&session, "a.example", &["http/1.1"]).await;
    let start = Instant::now();
    let (one, other) = tokio::join!(
        trickle(outside, b"GET http://a.example/ HTTP/1.1\r\nx: "),
        trickle(inside, b"GET / HTTP/1.1\r\nx: ")
    );
    assert_eq!((one.as_str(), other.as_str()), ("", ""));
    assert!(start.elapsed() < Duration::from_secs(15));
    gateway.assert_untouched();
    signer.wait_for("exeat_proxy_connections", 0.0).await;
}

/// Sends a byte of a head now and then, and reads until the proxy closes.
async fn trickle<S>(stream: S, head: &[u8]) -> String
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut answer, mut input) = tokio::io::split(stream);
    let head = head.to_vec();
    let writing = tokio::spawn(async move {
        for byte in head.iter().chain(std::iter::repeat(&b'x')) {
            if input.write_all(&[*byte]).await.is_err() || input.flush().await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let answer = read_to_end(&mut answer).await;
    writing.abort();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_end_and_those_at_work_do_not() {
    let gateway = Gateway::start().await;
    gateway.hold(true);
    let signer = Signer::start(&gateway);
    let session = signer.open_with(|opening| opening.idle_seconds = 1).await;
    let mut held = dial(session.address).await;
    held.write_all(request(&session, "GET", "http://a.example/hold", &[]).as_bytes()).await.unwrap();
    let mut silent = dial(session.address).await;
    let mut kept = dial(session.address).await;
    let head = request(&session, "GET", "http://a.example/", &[]).replace("connection: close\r\n", "");
    kept.write_all(head.as_bytes()).await.unwrap();
    let mut inside = tunnel(&session, "a.example", &["http/1.1"]).await;
    // Pings keep nothing open.
    let mut pinging = tunnel(&session, "a.example", &["h2"]).await;
    pinging.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let pings = async {
        let (mut read, mut write) = tokio::io::split(pinging);
        let writing = tokio::spawn(async move {
            while write.write_all(b"\0\0\x08\x06\0\0\0\0\x0012345678").await.is_ok() && write.flush().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        read_to_end(&mut read).await;
        writing.abort();
    };
    let start = Instant::now();
    let (_, answer, ..) =
        tokio::join!(read_to_end(&mut silent), read_to_end(&mut kept), read_to_end(&mut inside), pings);
    assert_eq!(status(&answer), 200);
    assert!(start.elapsed() < Duration::from_secs(15));
    // The gateway takes longer than that, and is waited for.
    assert_eq!(gateway.waiting(), 1);
    gateway.hold(false);
    assert_eq!(status(&read_to_end(&mut held).await), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_floods_are_refused() {
    let gateway = Gateway::start().await;
    let signer = Signer::start_with(&gateway, |configuration| configuration.head_bytes = 16 * 1024);
    let session = signer.open().await;
    let many: Vec<String> = (0..200).map(|number| format!("x-{number}: 1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let large = format!("x-large: {}", "x".repeat(20_000));
    let long = format!("http://a.example/{}", "x".repeat(70_000));
    for head in [
        request(&session, "GET", "http://a.example/", &many),
        request(&session, "GET", "http://a.example/", &[&large]),
        request(&session, "GET", &long, &[]),
        request(&session, &"M".repeat(20_000), "http://a.example/", &[]),
        // Without an end.
        format!("GET http://a.example/ HTTP/1.1\r\n{}", "x: y\r\n".repeat(100_000)),
        "\r\n".repeat(100_000),
    ] {
        let answer = raw(&session, &head).await;
        assert!(answer.is_empty() || matches!(status(&answer), 400 | 414 | 431), "{answer}");
    }
    let inside = format!("GET / HTTP/1.1\r\nhost: a.example\r\n{}\r\n\r\n", many.join("\r\n"));
    assert!(matches!(status(&raw_inside(&session, "a.example", inside).await), 431 | 400));
    let mut sender = http2(tunnel(&session, "a.example", &["h2"]).await).await;
    let mut get = http::Request::get("https://a.example/").body(Full::<Bytes>::default()).unwrap();
    for number in 0..200 {
        get.headers_mut().insert(http::HeaderName::try_from(format!("x-{number}")).unwrap(), "1".parse().unwrap());
    }
    assert_eq!(within(sender.send_request(get)).await.unwrap().status(), 431);
    let mut get = http::Request::get("https://a.example/").body(Full::<Bytes>::default()).unwrap();
    get.headers_mut().insert("x-large", "x".repeat(20_000).parse().unwrap());
    match within(sender.send_request(get)).await {
        Ok(answer) => assert_eq!(answer.status(), 431),
        Err(error) => assert!(error.to_string().contains("http2"), "{error}"),
    }
    gateway.assert_untouched();
    assert!(signer.signed().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_has_its_connections_and_no_more() {
    let gateway = Gateway::start().await;
    let signer = Signer::start_with(&gateway, |configuration| configuration.connections = 6);
    let one = signer.open_with(|opening| opening.connections = 4).await;
    let other = signer.open().await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(dial(one.address).await);
    }
    signer.wait_for("exeat_proxy_connections", 4.0).await;
    // The fifth waits in the kernel's queue, and is served when one goes.
    let mut fifth = dial(one.address).await;
    fifth.write_all(request(&one, "GET", "http://a.example/", &[]).as_bytes()).await.unwrap();
    assert_eq!(status(&raw(&other, request(&other, "GET", "http://a.example/", &[])).await), 200);
    let early = tokio::time::timeout(Duration::from_millis(300), fifth.read_u8()).await;
    assert!(early.is_err(), "the fifth was served");
    held.pop();
    assert_eq!(status(&read_to_end(&mut fifth).await), 200);
    // Beyond what all may have together, connections are closed at once.
    signer.wait_for("exeat_proxy_connections", 3.0).await;
    let _more = [dial(other.address).await, dial(other.address).await, dial(other.address).await];
    signer.wait_for("exeat_proxy_connections", 6.0).await;
    assert_eq!(raw(&other, request(&other, "GET", "http://a.example/", &[])).await, "");
    assert_eq!(signer.sample("exeat_proxy_connections_turned_away_total").await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_has_its_requests_at_work_and_as_many_waiting() {
    let gateway = Gateway::start().await;
    gateway.hold(true);
    let signer = Signer::start(&gateway);
    // With four connections there may be 32 at work: as many as one connection has in HTTP/2.
    let session = signer.open_with(|opening| opening.connections = 4).await;
    let mut answers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let mut sender = http2(tunnel(&session, "a.example", &["h2"]).await).await;
        for _ in 0..32 {
            let get = http::Request::get("https://a.example/hold").body(Full::<Bytes>::default()).unwrap();
            sender.ready().await.unwrap();
            let answer = sender.send_request(get);
            answers.spawn(async move { answer.await.unwrap().status().as_u16() });
        }
    }
    // Two thirds find no place, at once.
    for _ in 0..64 {
        assert_eq!(within(answers.join_next()).await.unwrap().unwrap(), 503);
    }
    assert_eq!((gateway.count(), answers.len()), (32, 64));
    gateway.hold(false);
    while let Some(status) = within(answers.join_next()).await {
        assert_eq!(status.unwrap(), 200);
    }
    assert_eq!(gateway.count(), 64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_reads_nothing_holds_up_nobody() {
    let gateway = Gateway::start().await;
    let signer = Signer::start(&gateway);
    let (greedy, other) = (signer.open().await, signer.open().await);
    let mut unread = Vec::new();
    for _ in 0..40 {
        let mut stream = dial(greedy.address).await;
        stream.write_all(request(&greedy, "GET", "http://a.example/big/20000000", &[]).as_bytes()).await.unwrap();
        unread.push(stream);
    }
    while gateway.count() < 40 {
        tokio::task::yield_now().await;
    }
    let start = Instant::now();
    for _ in 0..20 {
        let answer = raw(&other, request(&other, "GET", "http://a.example/big/500000", &[])).await;
        assert_eq!(status(&answer), 200);
        assert!(answer.len() > 500_000);
    }
    assert!(start.elapsed() < Duration::from_secs(20));
    // And its own answers come when it reads after all.
    let answer = agent::read_to_end(unread.last_mut().unwrap()).await;
    assert!(answer.len() > 20_000_000);
}
