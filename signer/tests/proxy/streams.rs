//! Answers come back piece by piece, upgrades become streams of bytes.

use crate::agent::{body, built, dial, http1, http2, raw, read_to_end, read_until, request, send, status, tunnel};
use crate::gateway::Gateway;
use crate::keeper::{Signer, within};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_arrives_before_the_next_is_sent() {
    let gateway = Gateway::start().await;
    let signer = Signer::start(&gateway);
    let session = signer.open().await;
    let plain = send(&session, built(&session, "GET", "http://a.example/stream", "")).await;
    check_stream(&gateway, plain).await;
    let get = |uri: &str| http::Request::get(uri).header("host", "a.example").body(Full::<Bytes>::default()).unwrap();
    let mut inside = http1(tunnel(&session, "a.example", &["http/1.1"]).await).await;
    check_stream(&gateway, within(inside.send_request(get("/stream"))).await.unwrap()).await;
    let mut inside = http2(tunnel(&session, "a.example", &["h2"]).await).await;
    check_stream(&gateway, within(inside.send_request(get("https://a.example/stream"))).await.unwrap()).await;
}

async fn check_stream(gateway: &Gateway, response: http::Response<hyper::body::Incoming>) {
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let (mut writer, mut body) = (gateway.stream(), response.into_body());
    for number in 0..3 {
        let event = format!("data: {number}\n\n");
        writer.send_data(Bytes::from(event.clone())).await.unwrap();
        let mut got = Vec::new();
        while got.len() < event.len() {
            let frame = within(body.frame()).await.unwrap().unwrap();
            got.extend_from_slice(frame.data_ref().unwrap());
        }
        assert_eq!(got, event.as_bytes());
    }
    drop(writer);
    let rest = within(body.collect()).await.unwrap().to_bytes();
    assert!(rest.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_breaks_off_breaks_off() {
    let gateway = Gateway::start().await;
    let signer = Signer::start(&gateway);
    let session = signer.open().await;
    let response = send(&session, built(&session, "GET", "http://a.example/stream", "")).await;
    let (mut writer, mut body) = (gateway.stream(), response.into_body());
    writer.send_data(Bytes::from_static(b"half")).await.unwrap();
    assert_eq!(within(body.frame()).await.unwrap().unwrap().into_data().unwrap(), "half");
    writer.abort(std::io::Error::other("over"));
    assert!(within(body.frame()).await.unwrap().is_err(), "a part of an answer passed for the whole");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_goes_away_ends_its_request_at_the_gateway() {
    let gateway = Gateway::start().await;
    let signer = Signer::start(&gateway);
    let session = signer.open().await;
    let response = send(&session, built(&session, "GET", "http://a.example/stream", "")).await;
    let mut writer = gateway.stream();
    drop(response);
    within(async { while writer.send_data(Bytes::from_static(b"anybody?")).await.is_ok() {} }).await;
    signer.wait_for("exeat_proxy_requests_at_work", 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_of_answers_arrive() {
    let gateway = Gateway::start().await;
    let signer = Signer::start(&gateway);
    let session = signer.open().await;
    let mut inside = http2(tunnel(&session, "a.example", &["h2"]).await).await;
    let get = http::Request::get("https://a.example/trailers").header("te", "trailers");
    let response = within(inside.send_request(get.body(Full::default()).unwrap())).await.unwrap();
    let collected = within(response.into_body().collect()).await.unwrap();
    assert_eq!(collected.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(gateway.seen().pop().unwrap().header("te"), Some("trailers"));
}

const WEBSOCKET: [&str; 4] =
    ["connection: Upgrade", "upgrade: WebSocket", "sec-websocket-key: AAAA", "sec-websocket-version: 13"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_becomes_a_stream_of_bytes() {
    let gateway = Gateway::start().await;
    let signer = Signer::start(&gateway);
    let session = signer.open().await;
    let upgrade =
        |target: &str| format!("GET {target} HTTP/1.1\r\nhost: a.example\r\n{}\r\n\r\n", WEBSOCKET.join("\r\n"));
    let mut inside = tunnel(&session, "a.example", &["http/1.1"]).await;
    inside.write_all(upgrade("/ws").as_bytes()).await.unwrap();
    check_websocket(&mut inside).await;
    let mut outside = dial(session.address).await;
    let credentials = format!("\r\nproxy-authorization: {}\r\n\r\n", session.credentials());
    let head = upgrade("http://a.example/ws").replace("\r\n\r\n", &credentials);
    outside.write_all(head.as_bytes()).await.unwrap();
    check_websocket(&mut outside).await;
    let authorities: Vec<_> = gateway.seen().into_iter().map(|seen| (seen.authority, seen.version)).collect();
    let version = http::Version::HTTP_11;
    assert_eq!(authorities, [("a.example:443".to_owned(), version), ("a.example".to_owned(), version)]);
    assert_eq!(gateway.seen()[0].header("sec-websocket-key"), Some("AAAA"));
    drop((inside, outside));
    signer.wait_for("exeat_proxy_tunnels", 0.0).await;
    signer.wait_for("exeat_proxy_gateway_connections", 0.0).await;
}

async fn check_websocket<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(stream: &mut S) {
    let head = read_until(stream, "\r\n\r\n").await.to_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    for line in ["connection: upgrade\r\n", "upgrade: websocket\r\n", "sec-websocket-accept: accepted\r\n"] {
        assert!(head.contains(line), "{head}");
    }
    for message in [b"hello".as_slice(), &[0, 255, 10, 13]] {
        stream.write_all(message).await.unwrap();
        stream.flush().await.unwrap();
        let mut echoed = vec![0; message.len()];
        within(stream.read_exact(&mut echoed)).await.unwrap();
        assert_eq!(echoed, message);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_upgrade_is_an_answer() {
    let gateway = Gateway::start().await;
    let signer = Signer::start(&gateway);
    let session = signer.open().await;
    let head = request(&session, "GET", "http://a.example/no-ws", &WEBSOCKET);
    let answer = raw(&session, head).await;
    assert_eq!(status(&answer), 403);
    assert!(answer.contains("exeat-reason: upgrade-denied\r\n") && answer.contains("\"upgrade-denied\""), "{answer}");
    // With a body it is no upgrade that anybody knows.
    let lines = [&WEBSOCKET[..], &["content-length: 3"]].concat();
    let answer = raw(&session, format!("{}abc", request(&session, "GET", "http://a.example/ws", &lines))).await;
    assert_eq!(status(&answer), 400);
    assert_eq!(gateway.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_upgrade_nothing_is_read_as_a_request() {
    let gateway = Gateway::start().await;
    let signer = Signer::start(&gateway);
    let session = signer.open().await;
    let mut stream = dial(session.address).await;
    let hidden = request(&session, "GET", "http://hidden.example/", &[]);
    let head = request(&session, "GET", "http://a.example/ws", &WEBSOCKET);
    stream.write_all(format!("{head}{hidden}").as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.ends_with(&hidden), "{answer}");
    assert_eq!(gateway.count(), 1);
    let response = send(&session, built(&session, "GET", "http://a.example/", "")).await;
    assert_eq!(body(response).await, "ok");
}
