//! Requests damaged at random, by a seed that is printed. Whatever of them reaches the gateway verifies there, is for the authority of its
//! tunnel when it was in one, and leaves the proxy as it was.

use crate::agent::{dial, raw, request, status, tunnel};
use crate::gateway::Gateway;
use crate::keeper::{LIMIT, Session, Signer};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// What parsers disagree about.
const PIECES: [&[u8]; 24] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b"\r\n\r\n",
    b"transfer-encoding: chunked\r\n",
    b"content-length: 4\r\n",
    b"content-length: 0\r\n",
    b"host: evil.example\r\n",
    b"agent-context: agent=\"root\"\r\n",
    b"connection: agent-context, signature\r\n",
    b"0\r\n\r\n",
    b"ffff\r\n",
    b"GET http://evil.example/ HTTP/1.1\r\n",
    b"CONNECT evil.example:443 HTTP/1.1\r\n",
    b"HTTP/1.0",
    b"HTTP/2.0",
    b"upgrade: websocket\r\n",
    b"expect: 100-continue\r\n",
    b"\xff\xfe",
    b"@evil.example",
];

const ROUNDS: usize = 400;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_requests_to_the_proxy_are_refused_or_arrive_signed() {
    damage(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_requests_in_a_tunnel_are_refused_or_arrive_signed() {
    damage(true).await;
}

async fn damage(inside: bool) {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).unwrap();
    let seed = u64::from_ne_bytes(seed);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let gateway = Gateway::start().await;
    let signer = Signer::start_with(&gateway, |configuration| {
        configuration.head_seconds = 1;
        configuration.body_seconds = 1;
    });
    let session = signer.open_with(|opening| opening.idle_seconds = 1).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..ROUNDS {
        let session = session.clone();
        let bytes = damaged(&session, inside, &mut random);
        tasks.spawn(async move {
            if inside {
                exchange(tunnel(&session, "a.example", &["http/1.1"]).await, &bytes).await;
            } else {
                exchange(dial(session.address).await, &bytes).await;
            }
        });
        if tasks.len() > 40 {
            tasks.join_next().await.unwrap().unwrap();
        }
    }
    tasks.join_all().await;
    // Also checks that nothing came that did not verify; and some damage harms nothing.
    assert!(gateway.count() > ROUNDS / 20, "{} of {ROUNDS} arrived", gateway.count());
    for seen in gateway.seen() {
        assert!(!inside || seen.authority == "a.example:443", "{seen:?}");
        assert_eq!(seen.headers.get_all("agent-context").iter().count(), 1);
        assert_eq!(seen.header("agent-context"), Some("agent=\"support/summarizer\", session=\"s-1\""));
        assert_eq!(seen.header("proxy-authorization"), None, "a password left");
    }
    assert_eq!(status(&raw(&session, request(&session, "GET", "http://a.example/", &[])).await), 200);
    signer.wait_for("exeat_proxy_connections", 0.0).await;
    signer.wait_for("exeat_proxy_requests_at_work", 0.0).await;
    signer.wait_for("exeat_proxy_spool_bytes{in=\"memory\"}", 0.0).await;
}

fn damaged(session: &Session, inside: bool, random: &mut fastrand::Rng) -> Vec<u8> {
    let target = if inside { "/path?query" } else { "http://a.example/path?query" };
    let lines = ["host: a.example", "content-type: text/plain", "transfer-encoding: chunked"];
    let lines = [&lines[..2], if random.bool() { &["content-length: 4"] } else { &lines[2..] }].concat();
    let body = if lines.contains(&"content-length: 4") { "abcd" } else { "4\r\nabcd\r\n0\r\n\r\n" };
    let mut bytes = format!("{}{body}", request(session, "POST", target, &lines)).into_bytes();
    for _ in 0..random.usize(1..4) {
        let at = random.usize(..bytes.len());
        match random.u8(..4) {
            0 => {
                let piece = PIECES[random.usize(..PIECES.len())];
                bytes.splice(at..at, piece.iter().copied());
            }
            1 => bytes[at] = random.u8(..),
            2 => {
                bytes.remove(at);
            }
            _ => {
                let end = (at + random.usize(..40)).min(bytes.len());
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
        }
    }
    bytes
}

/// Sends, and reads until the proxy closes; the agent itself stops sending after a while.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, bytes: &[u8]) {
    let _ = stream.write_all(bytes).await;
    let _ = stream.flush().await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(LIMIT + Duration::from_secs(30), stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "a connection stays open: {}", String::from_utf8_lossy(bytes));
}
