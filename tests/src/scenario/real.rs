//! A gateway on the real Envoy, as `exeat render envoy` configures it, with the real collector, an upstream that remembers
//! every byte, and a name server that sends every name there.

use super::document::Protocol;
use super::gateway::{COLLECTOR_TOKEN, Gateway, exeat};
use super::subject::{Arrived, Reply, Subject};
use super::wire::WireRequest;
use crate::stage::client::{Connection, Http2, Request, Response};
use crate::stage::dns::Dns;
use crate::stage::envoy::{Envoy, Setup};
use crate::stage::process::{GRACE, Process};
use crate::stage::upstream::{Recorded, Upstream};
use crate::stage::{artefacts, ports};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

/// How long anything may take that takes milliseconds on an idle machine.
const LIMIT: Duration = Duration::from_secs(30);

/// How often to look again.
const POLL: Duration = Duration::from_millis(50);

/// Envoy and everything around it.
pub struct RealEnvoy {
    gateway: Gateway,
    /// The proxy.
    pub envoy: Envoy,
    setup: Setup,
    /// Where agents send their requests to.
    pub listener: SocketAddr,
    /// Where scenarios send theirs: the listener, or a tunnel to it.
    pub entrance: SocketAddr,
    /// The upstream of every name.
    pub upstream: Upstream,
    /// The name server.
    pub dns: Dns,
    collector: Process,
    collector_address: SocketAddr,
    /// Bytes that the upstream had received when it was last looked at.
    received: u64,
    /// Where the gateway sends evidence.
    evidence: SocketAddr,
    around: Around,
}

/// What is otherwise than usual around a gateway.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// Further arguments of `exeat render envoy`.
    pub rendering: Vec<String>,
    /// Further arguments of `exeat collect`.
    pub collector: Vec<String>,
    /// Where the gateway sends evidence, where that is not the collector itself.
    pub evidence: Option<SocketAddr>,
    /// Another module.
    pub module: Option<PathBuf>,
    /// Whether there is no collector yet.
    pub alone: bool,
    /// Another platform's bootstrap and listeners, in place of what `exeat render envoy` prints.
    pub platform: Option<Platform>,
}

/// Bootstrap and listeners (a filesystem LDS file) of a gateway.
pub type Platform = fn(&Gateway, &Places) -> Result<(String, String)>;

/// Where the parts around a gateway are.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// Where it listens.
    pub listener: SocketAddr,
    /// Where evidence goes.
    pub collector: SocketAddr,
    /// The name server.
    pub resolver: SocketAddr,
}

impl RealEnvoy {
    /// Starts everything under a policy of tests/policies, with so many workers.
    pub fn start(policy: &str, workers: u32) -> Result<Self> {
        let upstream = Upstream::start()?;
        let gateway = Gateway::prepare(policy, upstream.address().port())?;
        Self::start_with(gateway, upstream, workers)
    }

    /// Starts everything under a configuration that was prepared.
    pub fn start_with(gateway: Gateway, upstream: Upstream, workers: u32) -> Result<Self> {
        Self::start_rendered(gateway, upstream, workers, &[])
    }

    /// As [`RealEnvoy::start_with`], with further arguments of `exeat render envoy`.
    pub fn start_rendered(gateway: Gateway, upstream: Upstream, workers: u32, rendering: &[&str]) -> Result<Self> {
        Self::start_edited(gateway, upstream, workers, rendering, |_| ())
    }

    /// As [`RealEnvoy::start_rendered`], after a change to the bootstrap that was rendered.
    pub fn start_edited(
        gateway: Gateway,
        upstream: Upstream,
        workers: u32,
        rendering: &[&str],
        edit: impl FnOnce(&mut Value),
    ) -> Result<Self> {
        let rendering = rendering.iter().map(|argument| (*argument).to_owned()).collect();
        Self::start_amid(gateway, upstream, workers, Around { rendering, ..Around::default() }, edit)
    }

    /// As [`RealEnvoy::start_with`], but nobody listens where the collector should; see [`RealEnvoy::restart_collector`].
    pub fn start_without_collector(gateway: Gateway, upstream: Upstream, workers: u32) -> Result<Self> {
        Self::start_amid(gateway, upstream, workers, Around { alone: true, ..Around::default() }, |_| ())
    }

    /// Starts everything with other things around it than usual, after a change to the bootstrap that was rendered.
    pub fn start_amid(
        gateway: Gateway,
        upstream: Upstream,
        workers: u32,
        around: Around,
        edit: impl FnOnce(&mut Value),
    ) -> Result<Self> {
        let collector_address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?));
        Self::start_with_collector_at(collector_address, gateway, upstream, workers, around, edit)
    }

    /// As [`RealEnvoy::start_amid`], with the collector at this address.
    pub fn start_with_collector_at(
        collector_address: SocketAddr,
        gateway: Gateway,
        upstream: Upstream,
        workers: u32,
        around: Around,
        edit: impl FnOnce(&mut Value),
    ) -> Result<Self> {
        let collector = start_collector(&gateway, collector_address, &around.collector)?;
        if around.alone {
            collector.stop(GRACE)?;
        }
        let evidence = around.evidence.unwrap_or(collector_address);
        let dns = Dns::start()?;
        dns.set_others([IpAddr::from(Ipv4Addr::LOCALHOST)]);
        let listener = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?));
        let (bootstrap, listeners) = render(&gateway, listener, evidence, dns.address(), &around)?;
        let mut document: Value = serde_saphyr::from_str(&bootstrap).context("the rendered bootstrap is no YAML")?;
        edit(&mut document);
        let setup = Setup::new(document.to_string())
            .listeners(listeners)
            .listener(listener.port())
            .concurrency(workers)
            .env("EXEAT_GATEWAY_KEY", &gateway.evidence_key)
            .env(COLLECTOR_TOKEN.0, COLLECTOR_TOKEN.1);
        let envoy = setup.start()?;
        past_the_first_second();
        Ok(Self {
            gateway,
            envoy,
            setup,
            listener,
            entrance: listener,
            upstream,
            dns,
            collector,
            collector_address,
            evidence,
            around,
            received: 0,
        })
    }

    /// Starts the proxy again, after it ended.
    pub fn restart_envoy(&mut self) -> Result<()> {
        self.envoy = self.setup.start()?;
        past_the_first_second();
        Ok(())
    }

    /// Writes the documents anew, compiles them and hands the listener to Envoy. What Envoy says when it refuses them.
    pub fn update(&self) -> Result<()> {
        Ok(self.envoy.update_listeners(&self.rendered_listener()?)?)
    }

    /// The listener as it was rendered, for tests that break it.
    pub fn rendered_listener(&self) -> Result<String> {
        let Self { gateway, listener, evidence, dns, around, .. } = self;
        Ok(render(gateway, *listener, *evidence, dns.address(), around)?.1)
    }

    /// The collector's database.
    pub fn database(&self) -> PathBuf {
        self.gateway.file("evidence.db")
    }

    /// The collector.
    pub fn collector(&self) -> &Process {
        &self.collector
    }

    /// Address of the collector.
    pub fn collector_address(&self) -> SocketAddr {
        self.collector_address
    }

    /// Starts a collector again that was stopped.
    pub fn restart_collector(&mut self) -> Result<()> {
        self.collector = start_collector(&self.gateway, self.collector_address, &self.around.collector)?;
        Ok(())
    }

    /// A file beside the gateway's documents.
    pub fn gateway_file(&self, name: &str) -> PathBuf {
        self.gateway.file(name)
    }

    /// `exeat audit verify` over everything that is stored.
    pub fn verify(&self) -> Result<String> {
        self.verify_store(&self.database())
    }

    /// As [`RealEnvoy::verify`], of another store.
    pub fn verify_store(&self, store: &Path) -> Result<String> {
        exeat(&["audit", "verify"], |command| {
            command.arg("--db").arg(store).arg("--key").arg(keyring(&self.gateway));
        })
    }

    /// As [`RealEnvoy::verify`], again and again while all that it finds may still be on its way: one VM's checkpoint can
    /// arrive before the records of another that it cites.
    pub fn verify_settled(&self, limit: Duration) -> Result<String> {
        let start = Instant::now();
        loop {
            let verdict = self.verify();
            let on_its_way = |error: &anyhow::Error| {
                let text = error.to_string();
                let findings: Vec<_> =
                    text.lines().filter(|line| line.starts_with(&format!("{}/", self.gateway.id))).collect();
                let later = |line: &&str| line.ends_with("the rest is missing, or was not delivered yet");
                !findings.is_empty() && findings.iter().all(later)
            };
            match verdict {
                Err(error) if on_its_way(&error) && start.elapsed() < limit => std::thread::sleep(POLL),
                verdict => return verdict,
            }
        }
    }

    /// All records of the collector.
    pub fn all_records(&self) -> Result<Vec<Value>> {
        let store = rusqlite::Connection::open(self.database())?;
        let mut statement = store.prepare("SELECT line FROM leaves ORDER BY log, position")?;
        let lines = statement.query_map([], |row| row.get::<_, Vec<u8>>(0))?;
        lines.map(|line| Ok(serde_json::from_slice(&line?)?)).collect()
    }

    /// The records once this holds of them.
    pub fn wait_for_records(&self, awaited: &str, holds: impl Fn(&[Value]) -> bool) -> Result<Vec<Value>> {
        self.wait_for_records_within(LIMIT, awaited, holds)
    }

    /// As [`RealEnvoy::wait_for_records`], with a limit of one's own: after an outage deliveries are tried again in up to half
    /// a minute.
    pub fn wait_for_records_within(
        &self,
        limit: Duration,
        awaited: &str,
        holds: impl Fn(&[Value]) -> bool,
    ) -> Result<Vec<Value>> {
        let start = Instant::now();
        loop {
            let records = self.all_records()?;
            if holds(&records) {
                return Ok(records);
            }
            if start.elapsed() > limit {
                bail!("after {limit:?} the collector does not have {awaited}; it said: {}", self.collector.log_tail());
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Subject for RealEnvoy {
    fn name(&self) -> &'static str {
        "the real Envoy"
    }

    fn is_whole(&self) -> bool {
        true
    }

    fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    fn now(&self) -> u64 {
        SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
    }

    fn upstream_port(&self) -> u16 {
        self.upstream.address().port()
    }

    fn send(&mut self, request: &WireRequest) -> Result<Reply> {
        let response = exchange(self.entrance, request)?;
        let text = |(name, value): &(String, Vec<u8>)| (name.clone(), String::from_utf8_lossy(value).into_owned());
        Ok(Reply { status: response.status, headers: response.headers.iter().map(text).collect(), body: response.body })
    }

    fn arrived(&mut self) -> Result<Vec<Arrived>> {
        let requests = self.upstream.take();
        let before = std::mem::replace(&mut self.received, self.upstream.bytes_received());
        if requests.is_empty() && self.received != before {
            bail!("the upstream received {} bytes that are no request", self.received - before);
        }
        Ok(requests.iter().map(arrived_from).collect())
    }

    fn records(&mut self, decision: &str) -> Result<Vec<Value>> {
        let is = |record: &Value, kind: &str, member: &str| record["kind"] == kind && record[member] == decision;
        self.wait_for_records(&format!("decision {decision} and its completion"), |records| {
            let found = records.iter().find(|record| is(record, "decision", "id"));
            found.is_some_and(|found| {
                found["released"] == "none" || records.iter().any(|record| is(record, "completion", "decision"))
            })
        })
    }
}

/// What was signed before the process started, or in that very second, is refused.
fn past_the_first_second() {
    std::thread::sleep(Duration::from_millis(1100));
}

/// Sends on a connection of its own, and reads the answer.
fn exchange(listener: SocketAddr, request: &WireRequest) -> Result<Response> {
    if request.protocol == Protocol::Http2 {
        let trailers = match request.trailers.as_slice() {
            [] => None,
            list => Some(header_map(list.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))?),
        };
        let chunks = request.body.chunks(request.chunked.unwrap_or(usize::MAX).max(1)).map(<[u8]>::to_vec).collect();
        return Ok(Http2::connect(listener)?.send_stream(framed_http2(request)?, chunks, Duration::ZERO, trailers)?);
    }
    let mut connection = Connection::open(listener)?;
    if request.announce.is_none() {
        return Ok(connection.send(&framed(request))?);
    }
    connection.write(&[framed(request).head_bytes(), request.body.clone()].concat())?;
    Ok(connection.read_response(&request.method)?)
}

/// The head as it goes over the wire in HTTP/2.
fn framed_http2(request: &WireRequest) -> Result<http::Request<()>> {
    let uri = format!("http://{}{}", request.authority, request.target);
    let mut framed = http::Request::builder().method(request.method.as_str()).uri(uri).body(())?;
    let fields = request.fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
    *framed.headers_mut() = header_map(fields)?;
    let own = (request.chunked.is_none() && !request.body.is_empty()).then_some(request.body.len() as u64);
    if let Some(length) = request.announce.or(own) {
        framed.headers_mut().insert(http::header::CONTENT_LENGTH, length.into());
    }
    Ok(framed)
}

fn header_map<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Result<http::HeaderMap> {
    let mut map = http::HeaderMap::new();
    for (name, value) in fields {
        map.append(http::HeaderName::from_bytes(name)?, http::HeaderValue::from_bytes(value)?);
    }
    Ok(map)
}

/// The request as it goes over the wire in HTTP/1.1; without the body where a length of its own is announced.
pub fn framed(request: &WireRequest) -> Request {
    let mut framed = Request::new(&request.method, &request.target).header("host", &request.authority);
    for (name, value) in &request.fields {
        framed = framed.header(name, value);
    }
    let trailers: Vec<_> = request.trailers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    if let Some(length) = request.announce {
        return framed.header("content-length", length.to_string());
    }
    match request.chunked {
        Some(size) => framed.chunks(&request.body.chunks(size.max(1)).collect::<Vec<_>>(), &trailers),
        None if request.body.is_empty() => framed,
        None => framed.body(&request.body),
    }
}

fn arrived_from(request: &Recorded) -> Arrived {
    let text = |(name, value): &(String, Vec<u8>)| (name.clone(), String::from_utf8_lossy(value).into_owned());
    Arrived {
        method: request.method.clone(),
        path: request.path.clone(),
        authority: request.authority.clone().unwrap_or_default(),
        headers: request.headers.iter().chain(&request.trailers).map(text).collect(),
        body_bytes: request.body_length,
        body: request.body.clone(),
    }
}

fn keyring(gateway: &Gateway) -> String {
    format!("{}={}", gateway.id, gateway.evidence_public)
}

fn start_collector(gateway: &Gateway, address: SocketAddr, more: &[String]) -> Result<Process> {
    let ready = gateway.file("collector.ready");
    let _ = std::fs::remove_file(&ready);
    let mut command = Command::new(artefacts::cli()?);
    command.args(["collect", "--listen", &address.to_string(), "--key", &keyring(gateway), "--ready-file"]);
    command.arg(&ready).arg("--db").arg(gateway.file("evidence.db")).args(more);
    command.env(COLLECTOR_TOKEN.0, COLLECTOR_TOKEN.1);
    let process = Process::spawn("exeat collect", &command, &gateway.file("collector.log"))?;
    process.wait_until("the collector takes requests", LIMIT, || ready.exists().then_some(()))?;
    Ok(process)
}

/// Bootstrap and listener, as the command line renders them.
fn render(
    gateway: &Gateway,
    listener: SocketAddr,
    collector: SocketAddr,
    resolver: SocketAddr,
    around: &Around,
) -> Result<(String, String)> {
    if let Some(platform) = around.platform {
        return platform(gateway, &Places { listener, collector, resolver });
    }
    let listeners = gateway.file("listener.yaml");
    let bootstrap = exeat(&["render", "envoy"], |command| {
        command.args(gateway.sources());
        command.arg("--module").arg(around.module.clone().or(artefacts::module().ok()).unwrap_or_default());
        command.args(["--listen", &listener.to_string(), "--admin", "127.0.0.1:0"]);
        command.args(["--collector", &collector.to_string(), "--resolver", &resolver.to_string()]);
        command.arg("--access-log").arg(gateway.file("access.log"));
        command.arg("--dynamic-listener").arg(&listeners).args(&around.rendering);
    })?;
    let text = std::fs::read_to_string(&listeners).context("the rendered listener cannot be read")?;
    // The stage hands listeners to Envoy itself, so that it sees whether Envoy takes them.
    let bootstrap = without_dynamic_resources(&bootstrap);
    Ok((bootstrap, text))
}

/// Drops the top-level `dynamic_resources` of a YAML text.
fn without_dynamic_resources(yaml: &str) -> String {
    let mut dropping = false;
    let kept = yaml.lines().filter(|line| {
        if !line.starts_with([' ', '#', '-']) && !line.is_empty() {
            dropping = line.starts_with("dynamic_resources:");
        }
        !dropping
    });
    kept.map(|line| format!("{line}\n")).collect()
}
