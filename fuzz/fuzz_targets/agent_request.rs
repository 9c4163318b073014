//! What an agent sends to the signer, from the first byte: what would be signed names one place in one form, and nothing that the signer
//! itself says, that frames a message or that concerns this connection alone goes on.
#![no_main]

use exeat_engine::destination::Authority;
use exeat_signer::proxy::reading::{Read, requests};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use tokio::io::AsyncWriteExt as _;
use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_current_thread().build().expect("a runtime"));

/// What must never go on from an agent.
const OURS: [&str; 18] = [
    "agent-context",
    "signature",
    "signature-input",
    "content-digest",
    "repr-digest",
    "digest",
    "connection",
    "keep-alive",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "host",
    "content-length",
    "expect",
    "trailer",
    "proxy-authorization",
    "proxy-connection",
    "exeat-decision",
];

fuzz_target!(|data: &[u8]| {
    let Some((first, bytes)) = data.split_first() else { return };
    // Outside of tunnels, and inside of one.
    let inside = (first & 1 == 1).then_some("api.example:8443");
    let seen = RUNTIME.block_on(async {
        // Room for all of it, and for as many answers: nothing waits.
        let (mut agent, signer) = tokio::io::duplex(1 << 20);
        agent.write_all(bytes).await.expect("room");
        agent.shutdown().await.expect("an end");
        requests(signer, inside).await
    });
    for read in seen.into_iter().flatten() {
        check(&read, inside);
    }
});

fn check(read: &Read, inside: Option<&str>) {
    let authority = |text: &str| Authority::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    let place = authority(&read.place);
    assert_eq!(format!("{}:{}", place.host, place.port.expect("a port")), read.place, "not in its one form");
    let signed = authority(&read.authority);
    assert_eq!(signed.host, place.host);
    assert_eq!(signed.port.unwrap_or(80), place.port.unwrap_or(0), "{read:?}");
    if let Some(inside) = inside {
        assert_eq!(read.place, inside, "a request left its tunnel");
        assert!(read.path.is_some(), "a tunnel in a tunnel");
    }
    match &read.path {
        Some(path) => assert!(path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()), "{path:?}"),
        None => assert!(read.method == "CONNECT" && read.body == 0, "{read:?}"),
    }
    for (name, value) in &read.headers {
        let name = name.as_str();
        assert!(!OURS.contains(&name) && !name.contains('_') && !name.starts_with("exeat-"), "{name} goes on");
        assert!(name != "te" || value == "trailers", "te: {value:?} goes on");
    }
    assert!(read.headers.get_all("content-type").iter().count() <= 1);
    assert!(read.headers.get_all("content-encoding").iter().count() <= 1);
    assert!(read.headers.len() <= 100);
}
