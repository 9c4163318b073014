//! New policies for a gateway that is serving, by the file that Envoy reads its listener from.
//!
//! Under `configuration` of tests/policies, which says in `x-judged-by` which revision judged a request.

use super::real::RealEnvoy;
use crate::stage;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::time::{Duration, Instant};

/// How long an update may take on a busy machine, a large policy included.
const LIMIT: Duration = Duration::from_secs(120);

const CONFIGURATION: &str =
    "/resources/0/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config/configuration/value";

/// A gateway that gets new policies.
pub struct Updating<'a> {
    real: &'a RealEnvoy,
    /// The listener of the first revision.
    listener: Value,
    revision: usize,
    workers: usize,
    /// Bytes of Envoy's log that were looked at.
    read: usize,
}

/// How long an update took, from the moment when the file was in its place.
#[derive(Clone, Copy, Debug)]
pub struct Update {
    /// When that was.
    pub at: Instant,
    /// Until the last worker said that it took it into use.
    pub accepted: Duration,
}

impl<'a> Updating<'a> {
    /// A gateway under the first revision, with so many workers.
    pub fn new(real: &'a RealEnvoy, workers: usize) -> Result<Self> {
        let listener =
            serde_saphyr::from_str(&real.rendered_listener()?).context("the rendered listener is no YAML")?;
        Ok(Self { real, listener, revision: 1, workers, read: real.envoy.log().len() })
    }

    /// The revision in use.
    pub fn revision(&self) -> usize {
        self.revision
    }

    /// The next one, and waits until each worker has taken it into use.
    pub fn improve(&mut self) -> Result<Update> {
        let next = self.revision + 1;
        let said = format!("policy revision-{next} ");
        let at = self.real.envoy.replace_listeners(&self.text(next)?)?;
        // Envoy's trial VM and the main thread's say it as well, and those that do not serve come first.
        let needed = self.workers + NOT_SERVING;
        let read = self.read;
        let taken = || {
            let log = self.real.envoy.log();
            let lines = log.get(read..).unwrap_or_default().lines();
            let count = lines.filter(|line| line.contains("configuration accepted") && line.contains(&said)).count();
            (count >= needed).then_some(log.len())
        };
        let process = self.real.envoy.process();
        self.read = process.wait_until(&format!("{needed} workers under revision-{next}"), LIMIT, taken)?;
        self.revision = next;
        Ok(Update { at, accepted: at.elapsed() })
    }

    /// One that cannot be taken. Envoy refuses it, and the one before stays.
    pub fn worsen(&mut self) -> Result<()> {
        let mut wrong = self.listener.clone();
        let place = wrong.pointer_mut(CONFIGURATION).context("no configuration in the listener")?;
        let text = place.as_str().context("no text")?;
        *place = text.replacen("\"schema\"", "\"shcema\"", 1).into();
        match self.real.envoy.update_listeners(&wrong.to_string()) {
            Err(stage::Error::Rejected(_)) => {}
            other => anyhow::bail!("a wrong policy came to {other:?}"),
        }
        self.read = self.real.envoy.log().len();
        Ok(())
    }

    /// The listener with this revision.
    pub fn text(&self, revision: usize) -> Result<String> {
        let mut listener = self.listener.clone();
        let place = listener.pointer_mut(CONFIGURATION).context("no configuration in the listener")?;
        let text = place.as_str().context("no text")?.replace("revision-1", &format!("revision-{revision}"));
        *place = text.into();
        Ok(listener.to_string())
    }
}

/// Contexts in VMs that are configured and do not serve: the one in which Envoy tries a configuration, and the main thread's.
const NOT_SERVING: usize = 2;

/// Every request that was answered is recorded, and as often as it arrived; the store verifies.
pub fn recorded(real: &RealEnvoy, decisions: &[String]) -> Result<()> {
    let of = |records: &[Value], kind: &str, member: &str| -> std::collections::HashSet<String> {
        let of = records.iter().filter(|record| record["kind"] == kind);
        of.filter_map(|record| Some(record.get(member)?.as_str()?.to_owned())).collect()
    };
    let whole = |records: &[Value]| {
        let (decided, completed) = (of(records, "decision", "id"), of(records, "completion", "decision"));
        decisions.iter().all(|id| decided.contains(id) && completed.contains(id))
    };
    let records = real.wait_for_records_within(LIMIT, "every decision and its completion", whole)?;
    let decided = of(&records, "decision", "id").len();
    ensure!(decided == decisions.len(), "{decided} decisions were recorded, {} were answered", decisions.len());
    let arrived = real.upstream.count();
    ensure!(arrived == decided, "{arrived} requests arrived, {decided} were let go");
    let verdict = real.verify_settled(LIMIT)?;
    ensure!(verdict.starts_with("ok: "), "{verdict}");
    Ok(())
}

/// Resident memory of a process, in bytes.
pub fn resident(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib << 10)
}
