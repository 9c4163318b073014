//! Thousands of connections that come to nothing. A process of its own, because what it holds is measured.

#![cfg(test)]

#[allow(dead_code, reason = "shared with the other tests of the proxy")]
#[path = "../proxy/agent.rs"]
mod agent;
#[allow(dead_code, reason = "shared with the other tests of the proxy")]
#[path = "../proxy/gateway.rs"]
mod gateway;
#[allow(dead_code, reason = "shared with the other tests of the proxy")]
#[path = "../proxy/keeper.rs"]
mod keeper;

use agent::{dial, raw, request, status};
use gateway::Gateway;
use keeper::Signer;
use tokio::io::AsyncWriteExt as _;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aborted_connects_leave_nothing_behind() {
    let gateway = Gateway::start().await;
    let signer = Signer::start_with(&gateway, |configuration| configuration.handshake_seconds = 5);
    let session = signer.open().await;
    let batch = async |count: usize| {
        let mut open = Vec::new();
        for number in 0..count {
            // Different hosts, so that each wants a certificate of its own.
            let mut stream = dial(session.address).await;
            let credentials = session.credentials();
            let head = format!("CONNECT h{number}.example:443 HTTP/1.1\r\nproxy-authorization: {credentials}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            match number % 3 {
                // Gone before the answer, gone after it, gone in the middle of a ClientHello.
                0 => drop(stream),
                1 => open.push(stream),
                _ => {
                    stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await.unwrap();
                    open.push(stream);
                }
            }
            if open.len() > 100 {
                open.clear();
            }
        }
        drop(open);
        signer.wait_for("exeat_proxy_connections", 0.0).await;
        signer.wait_for("exeat_proxy_tunnels", 0.0).await;
    };
    batch(600).await;
    let (descriptors, memory) = (open_files(), resident());
    batch(6_000).await;
    let (descriptors_after, memory_after) = (open_files(), resident());
    println!("descriptors {descriptors}, then {descriptors_after}; KiB {memory}, then {memory_after}");
    assert!(descriptors_after <= descriptors + 8, "{descriptors} descriptors before, {descriptors_after} after");
    assert!(memory_after <= memory + 64 * 1024, "{memory} KiB before, {memory_after} after");
    gateway.assert_untouched();
    assert_eq!(status(&raw(&session, request(&session, "GET", "http://a.example/", &[])).await), 200);
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Resident memory, KiB.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}
