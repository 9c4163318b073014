//! The gateway away, silent, or breaking off; the keeper refusing, or gone.

use crate::agent::{built, dial, raw, read_to_end, reason, request, send, status};
use crate::gateway::Gateway;
use crate::keeper::{Signer, within};
use exeat_signer::protocol::ToProxy;
use std::net::{Ipv4Addr, TcpListener};
use tokio::io::AsyncWriteExt as _;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_away_is_said_and_found_again() {
    let gateway = Gateway::start().await;
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let signer = Signer::start_with(&gateway, |configuration| configuration.gateway.addresses = vec![closed]);
    let session = signer.open().await;
    for _ in 0..2 {
        let answer = raw(&session, request(&session, "GET", "http://a.example/", &[])).await;
        assert_eq!((status(&answer), reason(&answer).as_str()), (503, "gateway-unavailable"));
        assert!(answer.contains("content-type: application/problem+json\r\n") && answer.contains("retry-after: 5\r\n"));
        let json: serde_json::Value = serde_json::from_str(answer.rsplit("\r\n\r\n").next().unwrap()).unwrap();
        let members: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, ["detail", "reason", "retry", "status", "title", "type"]);
    }
    assert_eq!(signer.sample("exeat_proxy_gateway_up").await, 0.0);
    // The keeper resolves its name anew.
    signer.say(ToProxy::GatewayAddresses { addresses: vec![closed, gateway.address] }, None);
    assert_eq!(status(&raw(&session, request(&session, "GET", "http://a.example/", &[])).await), 200);
    assert!(signer.sample("exeat_proxy_gateway_connect_failures_total").await >= 2.0);
    assert_eq!(signer.sample("exeat_proxy_gateway_up").await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_died_is_replaced_and_what_may_be_repeated_is_signed_anew() {
    let gateway = Gateway::start().await;
    let signer = Signer::start(&gateway);
    let session = signer.open().await;
    assert_eq!(status(&raw(&session, request(&session, "GET", "http://a.example/1", &[])).await), 200);
    gateway.break_off_once();
    assert_eq!(status(&raw(&session, request(&session, "GET", "http://a.example/2", &[])).await), 200);
    // The gateway of the test refuses a nonce that it saw, so the second signature is another.
    assert_eq!((gateway.count(), signer.signed().len()), (2, 3));
    assert_eq!(signer.sample("exeat_proxy_requests_resent_total").await, 1.0);
    // Whether a POST was carried out is not known.
    gateway.break_off_once();
    let response = send(&session, built(&session, "POST", "http://a.example/3", "once")).await;
    assert_eq!(
        (response.status().as_u16(), response.headers()["exeat-reason"].to_str().unwrap()),
        (502, "gateway-failed")
    );
    assert_eq!((gateway.count(), signer.signed().len()), (2, 4));
    // A client that tries again is another request.
    assert_eq!(send(&session, built(&session, "POST", "http://a.example/3", "once")).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_does_not_answer_is_given_up() {
    let gateway = Gateway::start().await;
    gateway.hold(true);
    let signer = Signer::start_with(&gateway, |configuration| configuration.answer_seconds = 1);
    let session = signer.open().await;
    let answer = raw(&session, request(&session, "GET", "http://a.example/hold", &[])).await;
    assert_eq!((status(&answer), reason(&answer).as_str()), (504, "gateway-silent"));
    assert_eq!(gateway.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_keeper_does_not_sign_does_not_leave() {
    let gateway = Gateway::start().await;
    let signer = Signer::start(&gateway);
    let session = signer.open().await;
    for (target, code, word) in [
        ("http://denied.example/", 403, "session-destination-denied"),
        ("http://busy.example/", 429, "signatures-exhausted"),
    ] {
        let answer = raw(&session, request(&session, "GET", target, &[])).await;
        assert_eq!((status(&answer), reason(&answer).as_str()), (code, word));
    }
    // More than a message to the keeper holds, once JSON has escaped it.
    let target = format!("http://a.example/{}", "\"".repeat(60_000));
    let answer = raw(&session, request(&session, "GET", &target, &[])).await;
    assert!(matches!(status(&answer), 400 | 414 | 431), "{answer}");
    gateway.assert_untouched();
    assert_eq!(status(&raw(&session, request(&session, "GET", "http://a.example/", &[])).await), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_keeper_the_proxy_ends() {
    let gateway = Gateway::start().await;
    gateway.hold(true);
    let mut signer = Signer::start(&gateway);
    let session = signer.open().await;
    let mut held = dial(session.address).await;
    held.write_all(request(&session, "GET", "http://a.example/hold", &[]).as_bytes()).await.unwrap();
    while gateway.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    let thread = signer.thread.take().unwrap();
    drop(signer);
    within(tokio::task::spawn_blocking(|| thread.join().unwrap())).await.unwrap().unwrap();
    assert_eq!(read_to_end(&mut held).await, "");
    assert!(tokio::net::TcpStream::connect(session.address).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_without_tls_is_on_loopback() {
    let gateway = Gateway::start().await;
    for (url, address, why) in [
        ("http://gateway.test", "192.0.2.1:80", "loopback"),
        ("https://gateway.test", "127.0.0.1:443", "an authority is needed"),
        ("ftp://gateway.test", "127.0.0.1:443", "https"),
        ("http://127.0.0.1/path", "127.0.0.1:80", "without a path"),
        ("http://127.0.0.1", "", "nowhere"),
    ] {
        let mut signer = Signer::start_with(&gateway, |configuration| {
            configuration.gateway.url = url.to_owned();
            configuration.gateway.addresses = address.parse().into_iter().collect();
        });
        let thread = signer.thread.take().unwrap();
        let ended = within(tokio::task::spawn_blocking(|| thread.join().unwrap())).await.unwrap();
        let error = ended.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}
