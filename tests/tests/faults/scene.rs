//! A gateway on the real Envoy with a front before its collector, and an upstream that looks into the store the moment a
//! request arrives.

use exeat_e2e::scenario::gateway::Gateway;
use exeat_e2e::scenario::plain;
use exeat_e2e::scenario::real::{Around, RealEnvoy};
use exeat_e2e::stage::client::{Connection, Response};
use exeat_e2e::stage::front::{Front, Manner};
use exeat_e2e::stage::ports;
use exeat_e2e::stage::upstream::{Reply, Upstream};
use rusqlite::OpenFlags;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How long anything may take on a busy machine; retries after an outage take up to half a minute.
pub(crate) const LIMIT: Duration = Duration::from_secs(180);

pub(crate) struct Scene {
    pub(crate) real: RealEnvoy,
    pub(crate) front: Front,
    /// Requests that reached the upstream before their decision was stored.
    unstored: Arc<AtomicU64>,
    next: AtomicU64,
}

impl Scene {
    pub(crate) fn start(changes: &[(&str, &str)], workers: u32) -> Self {
        Self::start_amid(changes, workers, Around::default())
    }

    pub(crate) fn start_amid(changes: &[(&str, &str)], workers: u32, around: Around) -> Self {
        let (store, unstored) = (Arc::new(OnceLock::<PathBuf>::new()), Arc::new(AtomicU64::new(0)));
        let (at, count) = (Arc::clone(&store), Arc::clone(&unstored));
        let upstream = Upstream::start_with(move |request| {
            if !at.get().is_some_and(|store| is_stored(store, &request.path)) {
                count.fetch_add(1, Ordering::SeqCst);
            }
            Reply::new(200).body("{}")
        });
        let upstream = upstream.unwrap();
        let gateway = Gateway::prepare_with("configuration", upstream.address().port(), changes).unwrap();
        store.set(gateway.file("evidence.db")).unwrap();
        let collector = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free().unwrap()));
        let front = Front::start(collector).unwrap();
        let around = Around { evidence: Some(front.address()), ..around };
        let real = RealEnvoy::start_with_collector_at(collector, gateway, upstream, workers, around, |_| ()).unwrap();
        Self { real, front, unstored, next: AtomicU64::new(0) }
    }

    /// A path that no other request has.
    pub(crate) fn path(&self) -> String {
        format!("/v1/orders/{}", self.next.fetch_add(1, Ordering::SeqCst))
    }

    /// A request with a path of its own, on a connection of its own; `None` where the gateway ended meanwhile.
    pub(crate) fn send(&self) -> Option<Response> {
        let request = plain::get(&self.real, &self.path()).unwrap();
        let answer = Connection::open(self.real.listener).ok()?.with_limit(LIMIT).send(&request).ok()?;
        (!answer.truncated).then_some(answer)
    }

    /// So many at once.
    pub(crate) fn send_at_once(&self, count: usize) -> Vec<Response> {
        std::thread::scope(|scope| {
            let senders: Vec<_> = (0..count).map(|_| scope.spawn(|| self.send())).collect();
            senders.into_iter().filter_map(|sender| sender.join().unwrap()).collect()
        })
    }

    /// Requests that reached the upstream before their decision was stored.
    pub(crate) fn unstored(&self) -> u64 {
        self.unstored.load(Ordering::SeqCst)
    }

    /// The paths that reached the upstream, with how often.
    pub(crate) fn reached(&self) -> BTreeMap<String, usize> {
        let mut reached = BTreeMap::new();
        for request in self.real.upstream.requests() {
            *reached.entry(request.path).or_default() += 1;
        }
        reached
    }

    /// Everything that was answered is recorded, with a completion for each decision that let something go.
    pub(crate) fn settled(&self, answers: &[Response]) -> Vec<Value> {
        self.front.set(Manner::Pass);
        let ids: Vec<&str> = answers.iter().filter_map(|answer| answer.header("exeat-decision")).collect();
        let complete = |records: &[Value]| {
            let recorded = of(records, "decision");
            let released = recorded.iter().filter(|record| record["released"] != "none").count();
            released == of(records, "completion").len()
                && ids.iter().all(|id| recorded.iter().any(|record| record["id"] == **id))
        };
        self.real.wait_for_records_within(LIMIT, "every decision and completion", complete).unwrap()
    }
}

/// Whether the collector has a decision about this path.
fn is_stored(store: &Path, path: &str) -> bool {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let Ok(store) = rusqlite::Connection::open_with_flags(store, flags) else { return false };
    let _ = store.busy_timeout(Duration::from_secs(10));
    let found: rusqlite::Result<i64> = store.query_row(
        "SELECT count(*) FROM leaves WHERE instr(line, CAST(?1 AS BLOB)) > 0",
        [format!("\"path\":\"{path}\"")],
        |row| row.get(0),
    );
    found.is_ok_and(|found| found > 0)
}

pub(crate) fn of<'a>(records: &'a [Value], kind: &str) -> Vec<&'a Value> {
    records.iter().filter(|record| record["kind"] == kind).collect()
}

pub(crate) fn count(answers: &[Response], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}
