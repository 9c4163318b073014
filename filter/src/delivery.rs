//! The log's way to the collector: one batch at a time, sent by a root context.

use crate::vm::{self, Vm};
use crate::{host, waiting, wasi};
use exeat_engine::evidence::LogHead;
use exeat_engine::facts::Timestamp;
use exeat_engine::policy::Collector;
use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, LogLevel, MapType};
use std::time::Duration;

/// Records in a batch, and bytes.
pub(crate) const BATCH: (usize, usize) = (1024, 1024 * 1024);

/// Bytes of an acknowledgement that are read; one has some 150. Memory that an answer once took is never given back.
pub(crate) const ACKNOWLEDGEMENT: usize = 4096;

/// Milliseconds beyond the callout's own timeout after which its answer is given up: it was lost with the root context
/// that had dispatched it.
pub(crate) const GRACE: u64 = 2_000;

/// What is known of the batch that is on its way.
#[derive(Default)]
pub(crate) struct Delivery {
    way: Option<Way>,
    failing: bool,
    /// Batches sent, those sent again included.
    pub(crate) sent: u64,
}

struct Way {
    /// The root context that is told of the answer.
    root: u32,
    lost_at: Timestamp,
}

impl Delivery {
    /// Whether a batch is on its way.
    pub(crate) fn is_under_way(&self) -> bool {
        self.way.is_some()
    }

    /// Whether its answer would be lost with this root context.
    pub(crate) fn is_of(&self, root: u32) -> bool {
        self.way.as_ref().is_some_and(|way| way.root == root)
    }
}

/// Sends the next batch, as this root context, where one is due and none is on its way. Says whether one is on its way now.
pub(crate) fn deliver(vm: &mut Vm, root: u32, now: Timestamp) -> bool {
    if vm.delivery.is_under_way() {
        return true;
    }
    let (Some(gateway), token) = (vm.gateway(), vm.token.clone()) else { return false };
    let collector = gateway.collector();
    let Some(log) = vm.begun_log() else { return false };
    if log.journal.is_drained() && !log.journal.heartbeat_due(now) {
        return false;
    }
    let others = log.others();
    let (records, bytes) = BATCH;
    let Some(batch) = log.journal.next_batch(now, records, bytes, &others) else { return false };
    log.sealed();
    let request =
        Outgoing { method: "POST", path: &collector.path, token: token.as_deref(), body: Some(batch.bytes()) };
    vm.delivery.sent = vm.delivery.sent.saturating_add(1);
    match dispatch(collector, &request) {
        Ok(_) => {
            let lost_at = now.plus_millis(collector.timeout.saturating_add(GRACE));
            vm.delivery.way = Some(Way { root, lost_at });
            true
        }
        Err(why) => {
            failed(vm, now);
            report(vm, Err(why));
            false
        }
    }
}

/// The collector answered, or the host in its place. The size that is stored, where more of the log is.
pub(crate) fn answered(vm: &mut Vm, now: Timestamp, num_headers: usize, body_size: usize) -> Option<u64> {
    vm.delivery.way = None;
    let head = answer(num_headers, body_size, ACKNOWLEDGEMENT).and_then(|body| {
        serde_json::from_slice::<LogHead>(&body).map_err(|error| format!("the acknowledgement cannot be read: {error}"))
    });
    let log = vm.begun_log()?;
    let outcome = head.and_then(|head| log.journal.acknowledged(&head).map_err(|error| error.to_string()));
    let stored = outcome.is_ok().then(|| log.journal.acknowledged_size());
    if stored.is_none() {
        failed(vm, now);
    }
    report(vm, outcome);
    stored
}

/// Gives up a batch whose answer will not come.
pub(crate) fn give_up_lost(vm: &mut Vm, now: Timestamp) {
    // A time further away than any wait was set before the clock went back.
    const LONGEST: u64 = 62_000;
    if let Some(way) = &vm.delivery.way
        && (now > way.lost_at || way.lost_at.millis_since(now) > LONGEST)
    {
        vm.delivery.way = None;
        failed(vm, now);
    }
}

fn failed(vm: &mut Vm, now: Timestamp) {
    let random = random_u64();
    if let Some(log) = vm.begun_log() {
        log.journal.failed(now, random);
    }
    waiting::hasten(vm, now);
}

/// One line when delivery stops, one when it works again: an outage must not flood the log.
fn report(vm: &mut Vm, outcome: Result<(), String>) {
    let was_failing = std::mem::replace(&mut vm.delivery.failing, outcome.is_err());
    match outcome {
        Err(why) if !was_failing => {
            let rest = "records wait in the queue; when it is full, it is as gateway.audit.when_full says";
            host::log(LogLevel::Warn, &format!("exeat: evidence is not delivered: {why}; {rest}"));
        }
        Ok(()) if was_failing => host::log(LogLevel::Info, "exeat: evidence is delivered again"),
        _ => {}
    }
}

/// A request to the collector.
pub(crate) struct Outgoing<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) token: Option<&'a str>,
    pub(crate) body: Option<&'a [u8]>,
}

/// Sends it from the root context that runs; the token of the callout.
pub(crate) fn dispatch(collector: &Collector, request: &Outgoing<'_>) -> Result<u32, String> {
    let authorization = request.token.map(|token| format!("Bearer {token}"));
    let mut headers =
        vec![(":method", request.method), (":path", request.path), (":authority", collector.cluster.as_str())];
    headers.extend(request.body.map(|_| ("content-type", "application/vnd.exeat.evidence")));
    headers.extend(authorization.as_deref().map(|value| ("authorization", value)));
    let timeout = Duration::from_millis(collector.timeout);
    hostcalls::dispatch_http_call(&collector.cluster, headers, request.body, Vec::new(), timeout)
        .map_err(|status| format!("the host cannot send to cluster {:?}: {status:?}", collector.cluster))
}

/// The body of an answer of status 200, of at most so many bytes; a longer one is cut, and then cannot be read.
pub(crate) fn answer(num_headers: usize, body_size: usize, most: usize) -> Result<Vec<u8>, String> {
    if num_headers == 0 {
        return Err("the connection broke".to_owned());
    }
    let status = hostcalls::get_map_value_bytes(MapType::HttpCallResponseHeaders, ":status").ok().flatten();
    let body = hostcalls::get_buffer(BufferType::HttpCallResponseBody, 0, body_size.min(most)).ok().flatten();
    let body = body.unwrap_or_default();
    if status.as_deref() != Some(b"200") {
        let status = status.unwrap_or_default();
        let body = body.get(..body.len().min(300)).unwrap_or_default();
        return Err(format!("the collector answered {}: {}", status.escape_ascii(), body.escape_ascii()));
    }
    Ok(body)
}

/// Whether everything is delivered, or must be left.
pub(crate) fn is_drained() -> bool {
    vm::with(|vm| vm.delivery.failing || vm.begun_log().is_none_or(|log| log.journal.is_drained()))
}

/// Spreads retries; a host without randomness spreads nothing.
fn random_u64() -> u64 {
    wasi::random().and_then(|bytes| bytes.first_chunk::<8>().map(|chunk| u64::from_le_bytes(*chunk))).unwrap_or(0)
}
