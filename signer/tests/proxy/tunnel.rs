//! Blind tunnels: only where the session grants them, and only by the gateway's leave.

use crate::agent::{dial, raw, read_until, reason, request, status};
use crate::gateway::Gateway;
use crate::keeper::{Signer, within};
use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_granted_tunnel_is_signed_and_carries_any_bytes() {
    for gateway in [Gateway::start().await, Gateway::start_tls().await] {
        let signer = Signer::start(&gateway);
        let session = signer.open_with(|opening| opening.tunnels = vec!["git.example:22".to_owned()]).await;
        let mut stream = dial(session.address).await;
        let head = request(&session, "CONNECT", "GIT.example:22", &["agent-context: agent=\"root\""]);
        stream.write_all(head.as_bytes()).await.unwrap();
        let head = read_until(&mut stream, "\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        stream.write_all(b"SSH-2.0-x\r\n\0\xff").await.unwrap();
        let mut echoed = [0; 13];
        within(stream.read_exact(&mut echoed)).await.unwrap();
        assert_eq!(&echoed, b"SSH-2.0-x\r\n\0\xff");
        let [seen] = gateway.seen().try_into().unwrap();
        assert_eq!((seen.method, seen.authority.as_str()), (Method::CONNECT, "git.example:22"));
        let [asked] = signer.signed().try_into().unwrap();
        assert_eq!((asked.path, asked.authority.as_str()), (None, "git.example:22"));
        drop(stream);
        signer.wait_for("exeat_proxy_tunnels", 0.0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_that_the_gateway_refuses_is_refused() {
    let gateway = Gateway::start().await;
    let signer = Signer::start(&gateway);
    let session = signer.open_with(|opening| opening.tunnels = vec!["closed.example:22".to_owned()]).await;
    let answer = raw(&session, request(&session, "CONNECT", "closed.example:22", &[])).await;
    assert_eq!((status(&answer), reason(&answer).as_str()), (403, "tunnel-denied"));
    assert!(answer.ends_with("no tunnel"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_authorities_get_no_tunnel() {
    let gateway = Gateway::start().await;
    let signer = Signer::start_with(&gateway, |configuration| configuration.handshake_seconds = 1);
    let session = signer.open_with(|opening| opening.tunnels = vec!["git.example:22".to_owned()]).await;
    for authority in ["git.example:443", "git.example.evil.example:22", "sub.git.example:22"] {
        // Its TLS ends here, so what is no TLS ends too.
        let mut stream = crate::agent::connect(&session, authority).await;
        stream.write_all(b"SSH-2.0-x\r\n").await.unwrap();
        assert!(crate::agent::read_to_end(&mut stream).await.len() < 16);
    }
    gateway.assert_untouched();
}
