//! A gateway on the wasmtime harness: the real module, a host that behaves as Envoy does, a collector in memory that
//! checks what it takes.

use super::document::Protocol;
use super::gateway::{COLLECTOR_TOKEN, Gateway};
use super::subject::{Arrived, Reply, Subject};
use super::token;
use super::wire::WireRequest;
use crate::stage::artefacts;
use anyhow::{Context, Result, bail};
use exeat_engine::destination::{Authority, Exit};
use exeat_engine::evidence::batch::{BatchLimits, ParsedBatch};
use exeat_engine::evidence::merkle::{CompactRange, Hash};
use exeat_engine::evidence::{CheckpointKey, LogHead};
use exeat_engine::policy::Configuration;
use exeat_host_test::{
    Answer, Callout, Clock, ForwardedRequest, Framing, Host, Plugin, Request, Response, RootId, Worker,
};
use serde_json::Value;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Port that policies name for the upstream; nothing listens there.
pub const UPSTREAM_PORT: u16 = 18_080;

/// What Envoy reads of a connection at once, at least.
const READ: usize = 16 * 1024;

/// When the virtual clock starts unless told otherwise: 2027-01-15T08:00:00Z. Any day does.
const START: u64 = 1_800_000_000;

/// One worker VM of a gateway.
pub struct Harness {
    gateway: Gateway,
    host: Host,
    worker: Worker,
    /// What names resolve to; those that are not here, to loopback.
    names: HashMap<String, IpAddr>,
    arrived: Vec<Arrived>,
    collector: Arc<Mutex<Collector>>,
}

/// A collector in memory: takes only what its key verifies and what continues the log.
#[derive(Default)]
struct Collector {
    keys: Vec<CheckpointKey>,
    logs: HashMap<String, CompactRange>,
    records: Vec<Value>,
    refused: Vec<String>,
    down: bool,
    slow: bool,
    /// What is answered to who asks for the boot before; nothing of its own: there was none.
    previous: Option<Response>,
    authorization: Vec<Option<String>>,
}

impl Harness {
    /// Starts the module under a policy of tests/policies.
    pub fn start(policy: &str) -> Result<Self> {
        Self::start_with(Gateway::prepare(policy, UPSTREAM_PORT)?)
    }

    /// Starts the module under a configuration that was prepared.
    pub fn start_with(gateway: Gateway) -> Result<Self> {
        Self::start_at(gateway, START)
    }

    /// As [`Harness::start_with`], at that time: seconds since the Unix epoch.
    pub fn start_at(gateway: Gateway, start: u64) -> Result<Self> {
        let harness = Self::start_fresh(gateway, start, None, guarded_worker)?;
        // What was signed before the process started, or in that very second, is refused.
        harness.worker.advance(Duration::from_secs(2))?;
        Ok(harness)
    }

    /// As [`Harness::start_with`], in the first moment, with this answer of the collector to who asks for the boot before.
    pub fn start_first_moment(gateway: Gateway, previous: Option<Response>) -> Result<Self> {
        Self::start_fresh(gateway, START, previous, guarded_worker)
    }

    /// A filter without a guard in its VM, and in the same process a worker of another module that is all guards. Its callouts
    /// are nobody's to answer.
    pub fn start_with_guards_elsewhere(gateway: Gateway) -> Result<(Self, Worker)> {
        let harness = Self::start_fresh(gateway, START, None, |host| Ok(host.worker()?))?;
        let guards = harness.another_module(&[], guard_plugin(harness.host.plugin())?)?.worker()?;
        // A guard says where it stands with its ticks.
        guards.advance(Duration::from_secs(2))?;
        harness.worker.poll()?;
        Ok((harness, guards))
    }

    /// A host in the same process whose module is another one, with more in its environment. What it asks of the collector is
    /// nobody's to answer.
    pub fn another_module(&self, env: &[(&str, &str)], plugin: Plugin) -> Result<Host> {
        let mut module = std::fs::read(artefacts::module()?)?;
        // A custom section more.
        module.extend([0, 6, 5, b'o', b't', b'h', b'e', b'r']);
        let host = Host::builder()
            .module(module)
            .process(self.host.process())
            .clock(self.host.clock())
            .vm_id(self.host.vm_id())
            .env("EXEAT_GATEWAY_KEY", &self.gateway.evidence_key)
            .env(COLLECTOR_TOKEN.0, COLLECTOR_TOKEN.1)
            .cluster("exeat-collector")
            .hold(true)
            .property(["source", "address"], "127.0.0.1:40000")
            .foreign("set_envoy_filter_state", |_| Ok(Vec::new()))
            .plugin(plugin);
        Ok(env.iter().fold(host, |host, (name, value)| host.env(name, value)).build()?)
    }

    fn start_fresh(
        gateway: Gateway,
        start: u64,
        previous: Option<Response>,
        worker: impl FnOnce(&Host) -> Result<Worker>,
    ) -> Result<Self> {
        // A clock that moves only when it is told to.
        let clock = Clock::at(start);
        let host = Host::builder()
            .module_file(artefacts::module()?)
            .clock(&clock)
            .vm_id("exeat")
            .env("EXEAT_GATEWAY_KEY", &gateway.evidence_key)
            .env(COLLECTOR_TOKEN.0, COLLECTOR_TOKEN.1)
            .cluster("exeat-collector")
            .configuration(gateway.configuration.clone())
            .hold(Configuration::accept(gateway.configuration.as_bytes())?.gateway().holds())
            .buffer_limit(buffer_limit(&gateway.configuration)?)
            .property(["source", "address"], "127.0.0.1:40000")
            .foreign("verify_signature", |call| token::verify_signature(call.arguments))
            // Envoy takes it for its own use; nothing of the filter reads it back.
            .foreign("set_envoy_filter_state", |_| Ok(Vec::new()))
            .build()?;
        let worker = worker(&host).with_context(|| format!("the module said {:?}", host.process().log()))?;
        let keys = vec![CheckpointKey::parse(&gateway.id, &gateway.evidence_public).map_err(anyhow::Error::msg)?];
        let collector = Arc::new(Mutex::new(Collector { keys, previous, ..Collector::default() }));
        let taking = Arc::clone(&collector);
        worker.on_callout(move |callout| lock(&taking).answer(callout));
        Ok(Self { gateway, host, worker, names: HashMap::new(), arrived: Vec::new(), collector })
    }

    /// The worker.
    pub fn worker(&self) -> &Worker {
        &self.worker
    }

    /// What a name resolves to from now on.
    pub fn resolve(&mut self, name: &str, address: impl Into<IpAddr>) {
        self.names.insert(name.to_owned(), address.into());
    }

    /// Makes the collector take its time: it answers nothing before [`Harness::answer`].
    pub fn collector_is_slow(&self) {
        lock(&self.collector).slow = true;
    }

    /// What is open is answered now. Says how much that was.
    pub fn answer(&self) -> Result<usize> {
        let open = self.worker.callouts();
        for callout in &open {
            let answer = {
                let mut collector = lock(&self.collector);
                collector.slow = false;
                let answer = collector.answer(callout);
                collector.slow = true;
                answer
            };
            self.worker.answer(callout.token, answer)?;
        }
        Ok(open.len())
    }

    /// What the collector answers from now on to who asks for the boot before.
    pub fn reports(&self, previous: Response) {
        lock(&self.collector).previous = Some(previous);
    }

    /// The records that the collector has.
    pub fn stored(&self) -> Vec<Value> {
        lock(&self.collector).records.clone()
    }

    /// The `authorization` of each request to the collector.
    pub fn authorizations(&self) -> Vec<Option<String>> {
        lock(&self.collector).authorization.clone()
    }

    /// Switches the collector off: it then answers 503 to everything.
    pub fn collector_is_up(&self, up: bool) {
        lock(&self.collector).down = !up;
    }
}

impl Subject for Harness {
    fn name(&self) -> &'static str {
        "the wasmtime harness"
    }

    fn is_whole(&self) -> bool {
        false
    }

    fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    fn now(&self) -> u64 {
        self.host.clock().unix_seconds()
    }

    fn upstream_port(&self) -> u16 {
        UPSTREAM_PORT
    }

    fn send(&mut self, request: &WireRequest) -> Result<Reply> {
        let message = message(request)?;
        let (mut arrived, mut broken) = (None, None);
        let outcome = self.worker.run(message, |forwarded: &ForwardedRequest| {
            match leave(&self.worker, &self.names, forwarded) {
                Ok(None) => {
                    arrived = Some(arrived_from(forwarded));
                    Response::ok("{}").header("content-type", "application/json")
                }
                Ok(Some(refusal)) => refusal,
                Err(error) => {
                    broken = Some(error);
                    Response::new(500)
                }
            }
        })?;
        self.arrived.extend(arrived);
        if let Some(error) = broken {
            return Err(error.context("the guard failed"));
        }
        if let Some(hung) = outcome.hung {
            bail!("the request hangs: {hung}");
        }
        let response = outcome.response.context("no response")?;
        let headers = response.headers.iter();
        Ok(Reply {
            status: response.status(),
            headers: headers.map(|(n, v)| (n.to_owned(), String::from_utf8_lossy(v).into_owned())).collect(),
            body: response.body(),
        })
    }

    fn arrived(&mut self) -> Result<Vec<Arrived>> {
        Ok(std::mem::take(&mut self.arrived))
    }

    fn records(&mut self, decision: &str) -> Result<Vec<Value>> {
        for _ in 0..20 {
            self.worker.advance(Duration::from_millis(100))?;
            let collector = lock(&self.collector);
            if !collector.refused.is_empty() {
                bail!("the collector refused: {}", collector.refused.join("; "));
            }
            if collector.records.iter().any(|r| r["kind"] == "decision" && r["id"] == decision) {
                return Ok(collector.records.clone());
            }
        }
        bail!("no record of decision {decision} after 2 s; the module logged {:?}", self.worker.log())
    }
}

/// What a worker answers, whose names all lead to loopback: status, and the reason where it is the gateway's.
pub fn answer_of(worker: &Worker, request: &WireRequest) -> Result<(u16, String)> {
    let mut broken = None;
    let upstream = |forwarded: &ForwardedRequest| match leave(worker, &HashMap::new(), forwarded) {
        Ok(refusal) => refusal.unwrap_or_else(|| Response::ok("{}")),
        Err(error) => {
            broken = Some(error);
            Response::new(500)
        }
    };
    let outcome = worker.run(message(request)?, upstream)?;
    if let Some(error) = broken {
        return Err(error.context("the guard failed"));
    }
    if let Some(hung) = outcome.hung {
        bail!("the request hangs: {hung}");
    }
    let response = outcome.response.context("no response")?;
    let problem: Value = serde_json::from_slice(&response.body()).unwrap_or_default();
    let reason = problem.get("reason").and_then(Value::as_str).unwrap_or_default();
    Ok((response.status(), reason.to_owned()))
}

/// A worker with a guard in its VM: without one the filter lets nothing go.
pub fn guarded_worker(host: &Host) -> Result<Worker> {
    let worker = host.worker()?;
    guard(&worker)?;
    Ok(worker)
}

/// The guard of a worker, for all ways out at once; its configuration is otherwise as `exeat render` writes it.
fn guard(worker: &Worker) -> Result<RootId> {
    // Installed once: the same plugin keeps its root context.
    Ok(worker.install(guard_plugin(worker.host().plugin())?)?)
}

fn guard_plugin(filter: &Plugin) -> Result<Plugin> {
    let filter: Value = serde_json::from_slice(&filter.configuration)?;
    let exits = Exit::ALL.map(Exit::word);
    let configuration = serde_json::json!({"role": "guard", "gateway": filter.get("gateway"), "exits": exits});
    Ok(Plugin::new("exeat-guard", configuration.to_string()))
}

/// Takes what the filter forwarded past the guard, as Envoy does once an address is chosen: the one in `names`, or else
/// loopback. The guard's answer where it must not leave.
pub fn leave(
    worker: &Worker,
    names: &HashMap<String, IpAddr>,
    forwarded: &ForwardedRequest,
) -> Result<Option<Response>> {
    let request = Request::from_forwarded(forwarded).property(["upstream", "address"], upstream(names, forwarded)?);
    let mut exchange = worker.request_on(guard(worker)?, request);
    exchange.send_head()?;
    let reply = exchange.response();
    exchange.finish()?;
    Ok(reply.map(|reply| {
        let fields = reply.headers.iter().filter(|(name, _)| !name.starts_with(':'));
        let head = Response::new(reply.status());
        fields.fold(head, |response, (name, value)| response.header(name, value)).body(reply.body())
    }))
}

/// The address that is chosen for what the filter forwarded.
pub fn upstream(names: &HashMap<String, IpAddr>, forwarded: &ForwardedRequest) -> Result<String> {
    let authority = Authority::parse(forwarded.text(":authority").unwrap_or_default().as_bytes())?;
    let usual = if forwarded.text("x-forwarded-proto").as_deref() == Some("https") { 443 } else { 80 };
    let address = match (authority.host.address(), names.get(&authority.host.to_string())) {
        (Some(literal), _) => literal,
        (None, resolved) => resolved.copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
    };
    Ok(SocketAddr::new(address, authority.port.unwrap_or(usual)).to_string())
}

/// As `exeat render` sets it: room for the largest body that the policy may allow, and for one that it only observes.
fn buffer_limit(configuration: &str) -> Result<usize> {
    let configuration = Configuration::accept(configuration.as_bytes()).map_err(anyhow::Error::msg)?;
    let largest = configuration.policy().largest_body().max(1 << 20);
    Ok(usize::try_from(largest)?.saturating_add(1 << 20))
}

/// The request as the filter meets it behind Envoy's connection manager.
pub fn message(request: &WireRequest) -> Result<Request> {
    let http2 = request.protocol == Protocol::Http2;
    let (authority, target) = destination(request)?;
    let mut message = if request.method == "CONNECT" {
        Request::connect(&authority)
    } else {
        Request::new(&request.method, &authority, &target)
    };
    message = message
        .header("x-request-id", "6b2e0f3a-0000-4000-8000-000000000000")
        .header("x-forwarded-for", "127.0.0.1")
        .framing(if http2 { Framing::Http2 } else { Framing::Http1 });
    for (name, value) in &request.fields {
        let name = String::from_utf8(name.to_ascii_lowercase()).context("a field name that is not text")?;
        // The codec knows no upgrade to HTTP/2 and goes on without it.
        let h2c = name == "upgrade" && value == b"h2c";
        if name != "host" && name != "http2-settings" && !h2c {
            message = message.header(&name, value);
        }
    }
    if let Some(length) = request.announce {
        let message = message.header("content-length", length.to_string());
        let message = if request.body.is_empty() {
            message
        } else {
            message.chunks(request.body.chunks(READ).map(<[u8]>::to_vec))
        };
        return Ok(if length > request.body.len() as u64 { message.open() } else { message });
    }
    message = match request.chunked {
        None if request.body.is_empty() => message,
        // In pieces, as the host reads them.
        None => message
            .header("content-length", request.body.len().to_string())
            .chunks(request.body.chunks(READ).map(<[u8]>::to_vec)),
        Some(size) => {
            let message = if http2 { message } else { message.header("transfer-encoding", "chunked") };
            match request.body.is_empty() {
                // The end of an empty body comes after the head.
                true => message.body(Vec::new()),
                false => message.chunks(request.body.chunks(size.max(1)).map(<[u8]>::to_vec)),
            }
        }
    };
    // Trailers of HTTP/1.1 are dropped by the codec, unless `enable_trailers` is set.
    if http2 && !request.trailers.is_empty() {
        message = message.trailers(request.trailers.clone());
    }
    Ok(message)
}

/// Authority and path: two `Host` lines are joined, and an absolute target comes before them, its userinfo cut off.
fn destination(request: &WireRequest) -> Result<(String, String)> {
    if let Some(rest) = request.target.strip_prefix("http://") {
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        return Ok((host.to_owned(), format!("/{path}")));
    }
    let mut authority = request.authority.clone();
    for (_, value) in request.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"host")) {
        if request.protocol == Protocol::Http1 {
            authority = format!("{authority},{}", std::str::from_utf8(value).context("a host that is not text")?);
        }
    }
    Ok((authority, request.target.clone()))
}

impl Collector {
    fn answer(&mut self, callout: &Callout) -> Answer {
        if self.slow {
            return Answer::LeaveOpen;
        }
        self.authorization.push(callout.text("authorization"));
        if self.down {
            return Response::new(503).into();
        }
        if callout.text(":method").as_deref() == Some("GET") {
            let none = || Response::ok(r#"{"boot":null,"logs":[]}"#);
            return self.previous.clone().unwrap_or_else(none).into();
        }
        match self.take(&callout.body) {
            Ok(head) => Response::ok(serde_json::to_vec(&head).unwrap_or_default()).into(),
            Err(why) => {
                self.refused.push(why.to_string());
                Response::new(409).into()
            }
        }
    }

    fn take(&mut self, body: &[u8]) -> Result<LogHead> {
        let batch = ParsedBatch::parse(body, &BatchLimits::default()).map_err(anyhow::Error::msg)?;
        let verified = batch.checkpoint.verify(&self.keys).map_err(anyhow::Error::msg)?;
        let head = verified.checkpoint().head.clone();
        let log = self.logs.entry(head.origin.as_str().to_owned()).or_default();
        if log.size() != batch.first {
            bail!("a batch starts at {}, where {} was next", batch.first, log.size());
        }
        for record in &batch.records {
            log.append(Hash::of_leaf(record.as_bytes()));
            self.records.push(serde_json::from_str(record)?);
        }
        if log.root() != head.root {
            bail!("the root of a checkpoint is not that of its records");
        }
        Ok(head)
    }
}

fn arrived_from(forwarded: &ForwardedRequest) -> Arrived {
    let text = |name: &str| forwarded.text(name).unwrap_or_default();
    Arrived {
        method: text(":method"),
        path: text(":path"),
        authority: text(":authority"),
        headers: forwarded
            .headers
            .iter()
            .chain(forwarded.trailers.iter().flat_map(|trailers| trailers.iter()))
            .filter(|(name, _)| !name.starts_with(':'))
            .map(|(name, value)| (name.to_owned(), String::from_utf8_lossy(value).into_owned()))
            .collect(),
        body_bytes: forwarded.body().len() as u64,
        body: forwarded.body().to_vec(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
