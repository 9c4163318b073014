//! Policies that ship, with their test files: the same cases before the engine alone, the module on the harness, and the
//! module on Envoy.
//!
//! Engine and harness meet the policy as it stands, but for the signers' keys. On Envoy every name resolves to one upstream
//! on loopback that speaks plain HTTP, so there the destinations say so, and the default port is that of the upstream.

use super::gateway::Gateway;
use super::harness::Harness;
use super::real::RealEnvoy;
use super::subject::{Arrived, Subject};
use super::wire::WireRequest;
use crate::stage::upstream::Upstream as Server;
use anyhow::{Context as _, Result};
use exeat_cli::policy::load::{Loaded, load};
use exeat_cli::policy::rehearsal::{Case, Observed, Rehearsal, Sending, StandIn, Upstream, read_cases, sign, stand_in};
use exeat_engine::facts::Timestamp;
use exeat_engine::policy::node::Node;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What names resolve to on the harness whose destination names no addresses: any public one does.
const PUBLIC: &str = "9.9.9.9";

/// Fields that the way to the upstream changes, not the policy.
const OF_THE_WAY: [&str; 6] =
    ["host", "x-forwarded-proto", "x-request-id", "content-length", "transfer-encoding", "connection"];

/// A policy that ships.
pub struct Shipped {
    /// Its folder's name.
    pub name: String,
    /// Its cases.
    pub cases: Vec<Case>,
    loaded: Loaded,
}

/// What came of a case, with its name.
pub type Outcome = (String, Result<Observed>);

impl Shipped {
    /// All of them, sorted.
    pub fn all() -> Result<Vec<Self>> {
        let folder = crate::workspace().join("policies");
        let entries = std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let mut folders: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        folders.retain(|folder| folder.join("tests.yaml").exists());
        folders.sort();
        folders.iter().map(|folder| Self::read(folder)).collect()
    }

    /// The policy in a folder, with gateway document and test file beside it.
    pub fn read(folder: &Path) -> Result<Self> {
        let told = |errors: Vec<exeat_cli::policy::diagnostic::Diagnostic>| {
            let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
            anyhow::anyhow!("{}", lines.join("\n"))
        };
        let loaded = load(&folder.join("policy"), Some(&folder.join("gateway.yaml"))).map_err(told)?;
        let cases = read_cases(&folder.join("tests.yaml")).map_err(told)?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, cases, loaded })
    }

    /// Whether a case can be played where the clock is the real one and connections have no certificate.
    pub fn plays_anywhere(case: &Case) -> bool {
        case.now.is_none() && case.sending.peer.is_none()
    }

    /// Before the engine alone.
    pub fn on_the_engine(&self) -> Result<Vec<Outcome>> {
        let rehearsal = Rehearsal::new(&self.loaded)?;
        Ok(self.cases.iter().map(|case| (case.name.clone(), rehearsal.play(case, now()))).collect())
    }

    /// Through the module on the harness. Cases at a time of their own have a gateway of their own.
    pub fn on_the_harness(&self, expected: &[Outcome]) -> Result<Vec<Outcome>> {
        let (document, keys) = stand_in(&self.loaded.document)?;
        let mut usual = Harness::start_with(self.gateway(&document)?)?;
        let mut outcomes = Vec::new();
        for (case, (_, expected)) in self.cases.iter().zip(expected) {
            let mut own = match case.now {
                Some(now) => Some(Harness::start_at(self.gateway(&document)?, now.seconds())?),
                None => None,
            };
            let harness = own.as_mut().unwrap_or(&mut usual);
            let destination = expected.as_ref().ok().and_then(|observed| observed.destination.clone());
            for sending in case.before.iter().map(|(sending, _)| sending).chain([&case.sending]) {
                let host = host(&sending.request.authority);
                harness.resolve(host, address_of(&document, destination.as_deref())?);
            }
            let sent = play(case, harness, &keys, None);
            outcomes.push((case.name.clone(), sent.and_then(|sent| observed(sent, harness))));
        }
        Ok(outcomes)
    }

    /// Through the module on Envoy, cases that [play anywhere](Self::plays_anywhere).
    pub fn on_envoy(&self, workers: u32) -> Result<Vec<Outcome>> {
        let upstream = Server::start()?;
        let port = upstream.address().port();
        let (mut document, keys) = stand_in(&self.loaded.document)?;
        towards(&mut document, port).context("the destinations cannot be led to the upstream")?;
        let mut envoy = RealEnvoy::start_with(self.gateway(&document)?, upstream, workers)?;
        let cases = self.cases.iter().filter(|case| Self::plays_anywhere(case));
        let sent: Vec<_> = cases.map(|case| (case.name.clone(), play(case, &mut envoy, &keys, Some(port)))).collect();
        // Only then: a record takes its time to arrive.
        Ok(sent.into_iter().map(|(name, sent)| (name, sent.and_then(|sent| observed(sent, &mut envoy)))).collect())
    }

    fn gateway(&self, document: &Node) -> Result<Gateway> {
        Gateway::compiled(self.loaded.configuration.gateway().id(), serde_json::to_string(document)?)
    }
}

/// A case that was sent, before its record was read.
struct Sent {
    decision: String,
    status: u16,
    upstream: Option<Upstream>,
}

/// Plays a case. `port`: where requests go that name none.
fn play(case: &Case, subject: &mut dyn Subject, keys: &[StandIn], port: Option<u16>) -> Result<Sent> {
    for (sending, times) in &case.before {
        for _ in 0..*times {
            send(sending, subject, keys, port)?;
        }
    }
    send(&case.sending, subject, keys, port)
}

fn send(sending: &Sending, subject: &mut dyn Subject, keys: &[StandIn], port: Option<u16>) -> Result<Sent> {
    let mut sending = sending.clone();
    if let Some(port) = port.filter(|_| !sending.request.authority.contains(':')) {
        sending.request.authority = format!("{}:{port}", sending.request.authority);
    }
    // What goes over the wire to the gateway is plain HTTP.
    sending.request.scheme = "http".to_owned();
    let proof = sign(&sending, keys, Timestamp::from_seconds(subject.now()))?;
    let reply = subject.send(&WireRequest::new(&sending.request, &proof.fields))?;
    let decision = reply.header("exeat-decision").context("the answer names no decision")?.to_owned();
    let upstream = match subject.arrived()?.as_slice() {
        [] => None,
        [request] => Some(upstream(request)),
        more => anyhow::bail!("{} requests arrived upstream", more.len()),
    };
    Ok(Sent { decision, status: reply.status, upstream })
}

/// What the record says of it, and what was seen of it.
fn observed(sent: Sent, subject: &mut dyn Subject) -> Result<Observed> {
    let Sent { decision, status, upstream } = sent;
    let records = subject.records(&decision)?;
    let record = records.iter().find(|record| record["kind"] == "decision" && record["id"] == decision.as_str());
    let observed = Observed::of_record(record.with_context(|| format!("no record of decision {decision}"))?);
    let status = (observed.outcome == "deny").then_some(status);
    Ok(Observed { status, upstream, ..observed })
}

fn upstream(request: &Arrived) -> Upstream {
    Upstream {
        authority: request.authority.clone(),
        path: request.path.clone(),
        fields: request.headers.clone(),
        body_bytes: request.body_bytes,
        json: None,
    }
}

/// What is decided, without what the way to the upstream changes.
pub fn decided(mut observed: Observed) -> Observed {
    observed.port = None;
    observed.host = observed.host.map(|authority| host(&authority).to_owned());
    if let Some(upstream) = &mut observed.upstream {
        upstream.authority = host(&upstream.authority).to_owned();
        upstream.fields.retain(|(name, _)| !OF_THE_WAY.contains(&name.as_str()));
        upstream.fields.sort();
        // Only its length is known of what arrived.
        upstream.json = None;
    }
    observed
}

fn host(authority: &str) -> &str {
    authority.rsplit_once(':').map_or(authority, |(host, _)| host)
}

fn now() -> Timestamp {
    Timestamp::from_seconds(SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs()))
}

/// An address that the names of a destination may resolve to.
fn address_of(document: &Node, destination: Option<&str>) -> Result<IpAddr> {
    let policy = document.get("policy");
    let all = policy.and_then(|policy| policy.get("destinations"));
    let addresses = all.zip(destination).and_then(|(all, id)| all.get(id)?.get("addresses"));
    let text = match addresses {
        Some(Node::List(list)) => list.first(),
        other => other,
    };
    let text = match text {
        Some(Node::Text(text)) => text,
        _ => PUBLIC,
    };
    let address = text.split('/').next().unwrap_or_default();
    address.parse().with_context(|| format!("{address} is no address"))
}

/// Leads every destination to an upstream on loopback that speaks plain HTTP on this port.
fn towards(document: &mut Node, port: u16) -> Option<()> {
    let text = |text: &str| Node::Text(text.to_owned());
    let number = |port: u16| Node::Number(port.into());
    let Node::Map(destinations) = entry(entry(document, "policy")?, "destinations")? else { return None };
    for (_, destination) in destinations {
        let plain = destination.get("scheme") == Some(&text("http"));
        let usual = number(if plain { 80 } else { 443 });
        let ports = match destination.get("ports") {
            Some(Node::List(ports)) => {
                ports.iter().map(|named| if *named == usual { number(port) } else { named.clone() }).collect()
            }
            _ => vec![number(port)],
        };
        let Node::Map(entries) = destination else { return None };
        entries.retain(|(key, _)| !matches!(key.as_str(), "scheme" | "ports" | "addresses"));
        entries.push(("scheme".to_owned(), text("http")));
        entries.push(("ports".to_owned(), Node::List(ports)));
        entries.push(("addresses".to_owned(), Node::List(vec![text("127.0.0.0/8")])));
    }
    Some(())
}

fn entry<'n>(node: &'n mut Node, name: &str) -> Option<&'n mut Node> {
    match node {
        Node::Map(entries) => entries.iter_mut().find(|(key, _)| key == name).map(|(_, value)| value),
        _ => None,
    }
}
