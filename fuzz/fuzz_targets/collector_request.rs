//! What comes to a collector from the network, from the first byte, HTTP/1 or HTTP/2: whoever does not know the token learns nothing and
//! stores nothing, and what is acknowledged is what the gateway signed.
#![no_main]

use exeat_cli::collect::batch::Submission;
use exeat_cli::collect::metrics::Metrics;
use exeat_cli::collect::server::router;
use exeat_cli::collect::store::Store;
use exeat_cli::collect::token::ExpectedToken;
use exeat_cli::collect::writer;
use exeat_fuzz::store::{Folder, TOKEN, keyring};
use exeat_fuzz::world::batches;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::{Builder as RuntimeBuilder, Runtime};

struct Collector {
    runtime: Runtime,
    router: axum::Router,
    _folder: Folder,
}

static COLLECTOR: LazyLock<Collector> = LazyLock::new(|| {
    let folder = Folder::new();
    let store = Store::open(&folder.file()).expect("a store");
    let metrics = Metrics::default();
    let (writer, _) = writer::start(store, metrics.clone(), None).expect("a thread");
    let router = router(keyring(), writer, metrics, Some(ExpectedToken::new(TOKEN)));
    let runtime = RuntimeBuilder::new_current_thread().enable_time().build().expect("a runtime");
    let collector = Collector { runtime, router, _folder: folder };
    // It works: what it is sent as it should be it acknowledges.
    let batch = batches().remove(0);
    let head = format!(
        "POST /v1/evidence HTTP/1.1\r\nHost: c\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {}\r\n\r\n",
        batch.len()
    );
    let answer = collector.answer(&[head.as_bytes(), &batch].concat());
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("\"origin\""), "{answer}");
    collector
});

impl Collector {
    fn answer(&self, bytes: &[u8]) -> String {
        let answer = self.runtime.block_on(async {
            let (mut peer, collector) = tokio::io::duplex(1 << 22);
            peer.write_all(bytes).await.expect("room");
            peer.shutdown().await.expect("an end");
            // As the collector serves, but for its time limits; and whoever has said all is answered all the same.
            let mut server = Builder::new(TokioExecutor::new());
            server.http1().half_close(true);
            let service = TowerToHyperService::new(self.router.clone());
            let served =
                tokio::spawn(async move { server.serve_connection(TokioIo::new(collector), service).await.is_ok() });
            let mut answer = Vec::new();
            peer.read_to_end(&mut answer).await.expect("an end");
            served.await.expect("a collector that does not panic");
            answer
        });
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// `{"origin":...}` of all that the gateway sealed.
static HEADS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let check = |batch: &Vec<u8>| Submission::check(batch, &keyring()).expect("a batch");
    let head = |batch: Submission| serde_json::to_string(batch.head()).expect("a head");
    batches().iter().map(check).map(head).collect()
});

fuzz_target!(|data: &[u8]| {
    let text = COLLECTOR.answer(data);
    let knows = data.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes());
    // HTTP/2 has answers in frames; what they must not say is the same.
    let tells = ["\"origin\"", "exeat_collector_", "\"logs\""].iter().any(|word| text.contains(word));
    assert!(knows || !tells, "told to somebody without the token: {text}");
    for (_, acknowledged) in text.match_indices("{\"origin\"").map(|(at, _)| text.split_at(at)) {
        assert!(
            HEADS.iter().any(|head| acknowledged.starts_with(head.as_str())),
            "acknowledged, and never signed: {acknowledged}"
        );
    }
});
