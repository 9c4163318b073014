//! Streams that are opened and given up at once (CVE-2023-44487), by an agent that hopes that others pay for them.

use crate::agent::{http2, raw, request, status, tunnel};
use crate::gateway::Gateway;
use crate::keeper::Signer;
use bytes::Bytes;
use http_body_util::Full;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_given_up_end_everywhere_and_hold_up_nobody() {
    let gateway = Gateway::start().await;
    gateway.hold(true);
    let signer = Signer::start(&gateway);
    let (hostile, other) = (signer.open().await, signer.open().await);
    let mut given_up = 0;
    for _ in 0..5 {
        let mut sender = http2(tunnel(&hostile, "a.example", &["h2"]).await).await;
        for _ in 0..400 {
            if sender.ready().await.is_err() {
                break;
            }
            let get = http::Request::get("https://a.example/hold").body(Full::<Bytes>::default()).unwrap();
            let answer = sender.send_request(get);
            tokio::task::yield_now().await;
            drop(answer);
            given_up += 1;
        }
    }
    assert!(given_up > 100, "{given_up}");
    assert_eq!(status(&raw(&other, request(&other, "GET", "http://a.example/", &[])).await), 200);
    signer.wait_for("exeat_proxy_requests_at_work", 0.0).await;
    signer.wait_for("exeat_proxy_connections", 0.0).await;
    gateway.hold(false);
    gateway.count();
}
