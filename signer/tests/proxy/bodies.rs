//! Bodies: too long, too slow, not what was announced; and where they wait.

use crate::agent::{self, built, dial, raw, read_until, reason, request, send, status, tunnel};
use crate::gateway::Gateway;
use crate::keeper::{Signer, within};
use bytes::Bytes;
use http_body_util::channel::Channel;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;

const MEMORY: &str = "exeat_proxy_spool_bytes{in=\"memory\"}";
const FILES: &str = "exeat_proxy_spool_bytes{in=\"files\"}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_ends_early_does_not_leave() {
    let gateway = Gateway::start().await;
    let signer = Signer::start(&gateway);
    let session = signer.open().await;
    for (lines, body) in [
        (["content-length: 10"], "abc"),
        (["transfer-encoding: chunked"], "3\r\nabc\r\n"),
        (["transfer-encoding: chunked"], "3\r\nab"),
    ] {
        let mut stream = dial(session.address).await;
        let head = request(&session, "POST", "http://a.example/", &lines);
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let answer = agent::read_to_end(&mut stream).await;
        assert!(answer.is_empty() || status(&answer) == 400, "{answer}");
    }
    signer.wait_for(MEMORY, 0.0).await;
    gateway.assert_untouched();
    assert!(signer.signed().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_http_2_a_length_that_is_not_kept_does_not_leave() {
    let gateway = Gateway::start().await;
    let signer = Signer::start(&gateway);
    let session = signer.open().await;
    for (announced, sent) in [(3, "ab"), (3, "abcd")] {
        let stream = tunnel(&session, "a.example", &["h2"]).await;
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        let (mut body, channel) = Channel::<Bytes>::new(1);
        let post = http::Request::post("https://a.example/").header("content-length", announced).body(channel);
        let answer = tokio::spawn(sender.send_request(post.unwrap()));
        body.send_data(Bytes::from(sent)).await.unwrap();
        drop(body);
        match within(answer).await.unwrap() {
            Ok(answer) => assert_eq!(answer.status(), 400),
            Err(error) => assert!(error.to_string().contains("http2"), "{error}"),
        }
    }
    signer.wait_for(MEMORY, 0.0).await;
    gateway.assert_untouched();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_body_ends_in_time() {
    let gateway = Gateway::start().await;
    let signer = Signer::start_with(&gateway, |configuration| configuration.body_seconds = 1);
    let session = signer.open().await;
    let mut silent = dial(session.address).await;
    silent.write_all(request(&session, "POST", "http://a.example/", &["content-length: 10"]).as_bytes()).await.unwrap();
    let mut trickling = dial(session.address).await;
    let head = request(&session, "POST", "http://a.example/", &["content-length: 100000"]);
    trickling.write_all(head.as_bytes()).await.unwrap();
    let (mut answer, mut input) = trickling.into_split();
    // Never silent for long, and never done.
    let writing = tokio::spawn(async move {
        while input.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let start = Instant::now();
    for answer in [read_until(&mut silent, "}\n").await, read_until(&mut answer, "}\n").await] {
        assert_eq!((status(&answer), reason(&answer).as_str()), (408, "body-slow"));
    }
    assert!(start.elapsed() < Duration::from_secs(15));
    writing.abort();
    signer.wait_for(MEMORY, 0.0).await;
    gateway.assert_untouched();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_beyond_the_bound_is_refused_by_its_announcement_and_by_its_bytes() {
    let gateway = Gateway::start().await;
    let signer = Signer::start_with(&gateway, |configuration| configuration.spool.body = 100_000);
    let session = signer.open().await;
    let answer = raw(&session, request(&session, "POST", "http://a.example/", &["content-length: 100001"])).await;
    assert_eq!((status(&answer), reason(&answer).as_str()), (413, "payload-too-large"));
    let mut stream = dial(session.address).await;
    let head = request(&session, "POST", "http://a.example/", &["transfer-encoding: chunked"]);
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("{:x}\r\n{}\r\n", 50_001, "x".repeat(50_001));
    stream.write_all(chunk.as_bytes()).await.unwrap();
    stream.write_all(chunk.as_bytes()).await.unwrap();
    let answer = read_until(&mut stream, "}\n").await;
    assert_eq!((status(&answer), reason(&answer).as_str()), (413, "payload-too-large"));
    let answer = send(&session, built(&session, "POST", "http://a.example/", vec![b'x'; 100_000])).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(gateway.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_wait_in_memory_then_in_files_without_names_then_not_at_all() {
    let gateway = Gateway::start().await;
    let signer = Signer::start_with(&gateway, |configuration| {
        configuration.spool.body_memory = 10_000;
        configuration.spool.total_memory = 30_000;
        configuration.spool.total_files = 100_000;
    });
    let session = signer.open().await;
    let begin = async |length: usize| {
        let mut stream = dial(session.address).await;
        let lines = [format!("content-length: {}", length + 1)];
        let head = request(&session, "POST", "http://a.example/", &[lines[0].as_str()]);
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![b'x'; length]).await.unwrap();
        stream
    };
    let _one = begin(10_000).await;
    signer.wait_for(MEMORY, 10_000.0).await;
    // The session may have half of what there is: the next goes to a file, though it would fit.
    let mut two = begin(10_000).await;
    signer.wait_for(FILES, 10_000.0).await;
    let mut three = begin(30_000).await;
    signer.wait_for(FILES, 40_000.0).await;
    let names = std::fs::read_dir(signer.spool.path()).unwrap().count();
    assert_eq!(names, 0, "files of the spool have names");
    let mut four = begin(20_000).await;
    let answer = read_until(&mut four, "}\n").await;
    assert_eq!((status(&answer), reason(&answer).as_str()), (503, "spool-full"));
    // Another session has its own half.
    let other = signer.open().await;
    assert_eq!(send(&other, built(&other, "POST", "http://a.example/", vec![b'x'; 14_000])).await.status(), 200);
    for stream in [&mut two, &mut three] {
        stream.write_all(b"y").await.unwrap();
        assert_eq!(status(&read_until(stream, "ok").await), 200);
    }
    let lengths: Vec<usize> = gateway.seen().iter().map(|seen| seen.body.len()).collect();
    assert_eq!(lengths, [14_000, 10_001, 30_001]);
    assert!(gateway.seen()[1..].iter().all(|seen| seen.body.ends_with(b"xy")));
    signer.wait_for(FILES, 0.0).await;
    signer.wait_for(MEMORY, 10_000.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expect_100_continue_is_answered_here() {
    let gateway = Gateway::start().await;
    let signer = Signer::start(&gateway);
    let session = signer.open().await;
    let mut stream = dial(session.address).await;
    let head = request(&session, "POST", "http://a.example/", &["content-length: 3", "expect: 100-continue"]);
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(read_until(&mut stream, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"abc").await.unwrap();
    assert_eq!(status(&read_until(&mut stream, "ok").await), 200);
    assert_eq!(gateway.seen().pop().unwrap().header("expect"), None);
    // Who is refused is not asked to send first.
    let head = "POST http://a.example/ HTTP/1.1\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n";
    assert_eq!(status(&raw(&session, head).await), 407);
    let lines = ["content-length: 3", "expect: something"];
    let answer = raw(&session, request(&session, "POST", "http://a.example/", &lines)).await;
    assert_eq!((status(&answer), reason(&answer).as_str()), (417, "expectation-unknown"));
    assert_eq!(gateway.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn covered_fields_arrive_as_they_are_signed() {
    let gateway = Gateway::start().await;
    let signer = Signer::start(&gateway);
    let session = signer.open().await;
    let post = |lines: &[&str]| {
        let lines = [lines, &["content-length: 3"]].concat();
        format!("{}abc", request(&session, "POST", "http://a.example/", &lines))
    };
    let lines = ["content-type:   text/plain  ", "content-encoding: gzip", "content-encoding: br"];
    assert_eq!(status(&raw(&session, post(&lines)).await), 200);
    let seen = gateway.seen().pop().unwrap();
    assert_eq!((seen.header("content-type"), seen.header("content-encoding")), (Some("text/plain"), Some("gzip, br")));
    for lines in [&["content-type: a/b", "content-type: c/d"][..], &["content-type:"], &["content-type: \u{e9}"]] {
        assert_eq!(status(&raw(&session, post(lines)).await), 400, "{lines:?}");
    }
    assert_eq!(gateway.count(), 1);
}
