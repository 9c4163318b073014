//! Requests that two servers could read as different ones. Each is refused, or reaches the gateway as one request under one
//! reading; nothing that an agent hides in a body becomes a request.

use crate::agent::{raw, raw_inside, request, status};
use crate::gateway::Gateway;
use crate::keeper::Signer;

const HIDDEN: &str = "GET http://hidden.example/ HTTP/1.1\r\nhost: hidden.example\r\n\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_frames_a_body_twice_or_oddly_is_refused() {
    let gateway = Gateway::start().await;
    let signer = Signer::start(&gateway);
    let session = signer.open().await;
    for (lines, body) in [
        (vec!["transfer-encoding: gzip, chunked"], "0\r\n\r\n"),
        (vec!["transfer-encoding: chunked", "transfer-encoding: chunked"], "0\r\n\r\n"),
        (vec!["transfer-encoding: chunked, identity"], "0\r\n\r\n"),
        (vec!["transfer-encoding: xchunked"], "0\r\n\r\n"),
        (vec!["transfer-encoding: \x0bchunked"], "0\r\n\r\n"),
        (vec!["transfer-encoding : chunked"], "0\r\n\r\n"),
        (vec!["content-length: 3", "content-length: 4"], "abcd"),
        (vec!["content-length: 3, 3"], "abc"),
        (vec!["content-length: +3"], "abc"),
        (vec!["content-length: 0x3"], "abc"),
        (vec!["content-length: -1"], "abc"),
        (vec!["content-length: 99999999999999999999"], "abc"),
        (vec!["content-length : 3"], "abc"),
        (vec!["x-folded: a", " b: c"], ""),
        (vec!["x-folded: a", "\tb"], ""),
        (vec!["x-nul: a\0b"], ""),
        (vec!["x-return: a\rb"], ""),
        (vec!["x name: a"], ""),
        (vec![": a"], ""),
        (vec!["no colon"], ""),
        (vec!["trailer: x-late", "transfer-encoding: chunked"], "3\r\nabc\r\n0\r\nx-late: 1\r\n\r\n"),
        (vec!["transfer-encoding: chunked"], "3\r\nabc\r\n0\r\nagent-context: late\r\n\r\n"),
        (vec!["transfer-encoding: chunked"], "3 \n\nabc\r\n0\r\n\r\n"),
        (vec!["transfer-encoding: chunked"], "3\r\nabcd\r\n0\r\n\r\n"),
        (vec!["transfer-encoding: chunked"], "-3\r\nabc\r\n0\r\n\r\n"),
        (vec!["transfer-encoding: chunked"], "0x3\r\nabc\r\n0\r\n\r\n"),
        (vec!["transfer-encoding: chunked"], "ffffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
        (vec!["transfer-encoding: chunked"], "\r\nabc\r\n0\r\n\r\n"),
        (vec!["transfer-encoding: chunked"], "3;a=\nb\r\nabc\r\n0\r\n\r\n"),
    ] {
        // Bytes that would be a request to whoever took the body to be over.
        let bytes = format!("{}{body}{HIDDEN}", request(&session, "POST", "http://a.example/", &lines));
        let answer = raw(&session, &bytes).await;
        assert!(answer.is_empty() || status(&answer) >= 400, "{lines:?} {body:?}: {answer}");
        let inside = format!(
            "POST / HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n{}\r\n\r\n{body}{HIDDEN}",
            lines.join("\r\n")
        );
        let answer = raw_inside(&session, "a.example", inside).await;
        assert!(answer.is_empty() || status(&answer) >= 400, "inside: {lines:?} {body:?}: {answer}");
        assert_eq!(gateway.count(), 0, "{lines:?} {body:?}");
    }
    assert!(signer.signed().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_one_reading_arrives_in_one_form() {
    let gateway = Gateway::start().await;
    let signer = Signer::start(&gateway);
    let session = signer.open().await;
    let both = ["content-length: 100", "transfer-encoding: chunked"];
    for (lines, body, arrives) in [
        // RFC 9112 section 6.3: chunked counts, and the connection is not used again.
        (both.to_vec(), "3\r\nabc\r\n0\r\n\r\n", "abc"),
        (both.iter().rev().copied().collect(), "3\r\nabc\r\n0\r\n\r\n", "abc"),
        (vec!["transfer-encoding: chunked"], "3;ext=\"a;b\"\r\nabc\r\n0;x\r\n\r\n", "abc"),
        (vec!["transfer-encoding: CHUNKED"], "003\r\nabc\r\n0\r\n\r\n", "abc"),
        (vec!["content-length: 3", "content-length: 3"], "abc", "abc"),
        (vec!["content-length: 003"], "abc", "abc"),
    ] {
        let before = gateway.count();
        let bytes = format!("{}{body}{HIDDEN}", request(&session, "POST", "http://a.example/", &lines));
        let answer = raw(&session, &bytes).await;
        assert_eq!(status(&answer), 200, "{lines:?} {body:?}: {answer}");
        let seen = gateway.seen().split_off(before);
        assert_eq!(seen.len(), 1, "{lines:?}: what was hidden in the body arrived");
        assert_eq!((seen[0].body.as_ref(), seen[0].header("content-length")), (arrives.as_bytes(), Some("3")));
        assert_eq!(seen[0].header("transfer-encoding"), None);
    }
    // Lines that end without a return are lines all the same, and go on as fields.
    let bare = request(&session, "GET", "http://a.example/", &["x-a: 1", "x-b: 2"]).replace("\r\n", "\n");
    let before = gateway.count();
    let answer = raw(&session, bare).await;
    assert_eq!(status(&answer), 200, "{answer}");
    let seen = gateway.seen().split_off(before);
    assert_eq!((seen[0].header("x-a"), seen[0].header("x-b"), seen.len()), (Some("1"), Some("2"), 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_request_on_a_connection_is_a_request_of_its_own() {
    let gateway = Gateway::start().await;
    let signer = Signer::start(&gateway);
    let session = signer.open().await;
    let first = request(&session, "POST", "http://a.example/1", &["content-length: 3"]);
    let first = first.replace("connection: close\r\n", "");
    // Without the password the second is refused, whoever the first was.
    let answer = raw(&session, format!("{first}abcGET http://a.example/2 HTTP/1.1\r\nconnection: close\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\n\r\nokHTTP/1.1 407 Proxy Authentication Required\r\n"), "{answer}");
    let answer = raw(&session, format!("{first}abc{}", request(&session, "GET", "http://a.example/2", &[]))).await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{answer}");
    let paths: Vec<String> = gateway.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths, ["/1", "/1", "/2"]);
    assert_eq!(gateway.count(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_2_to_the_proxy_itself_is_not_spoken() {
    let gateway = Gateway::start().await;
    let signer = Signer::start(&gateway);
    let session = signer.open().await;
    let answer = raw(&session, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00").await;
    assert!(answer.is_empty() || status(&answer) >= 400, "{answer:?}");
    // An upgrade to it neither: the request is answered as if nothing had been said.
    let lines = ["upgrade: h2c", "connection: upgrade, http2-settings", "http2-settings: AAMAAABkAAQAAP__"];
    let answer = raw(&session, request(&session, "GET", "http://a.example/", &lines)).await;
    assert_eq!(status(&answer), 200);
    assert_eq!(gateway.seen().pop().unwrap().header("http2-settings"), None);
}
