//! New policies and modules for a gateway that is serving, by the file that Envoy reads its listener from.
//!
//! Under `configuration` of tests/policies, which says in `x-judged-by` which revision judged a request.

use super::real::RealEnvoy;
use crate::stage::{self, artefacts};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long an update may take on a busy machine, a large policy included.
const LIMIT: Duration = Duration::from_secs(120);

/// Where the listener says which file its module is in.
pub const CODE: &str = "/resources/0/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config/vm_config/code/local/filename";

const FILTERS: &str = "/resources/0/filter_chains/0/filters/0/typed_config/http_filters";

const CONFIGURATION: &str =
    "/resources/0/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config/configuration/value";

/// A gateway that gets new policies.
pub struct Updating<'a> {
    real: &'a RealEnvoy,
    /// The listener of the first revision.
    listener: Value,
    revision: usize,
    /// The module, where it is not the first one.
    module: Option<PathBuf>,
    workers: usize,
    /// Other modules that still have connections.
    before: BTreeSet<Option<PathBuf>>,
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
        Ok(Self {
            real,
            listener,
            revision: 1,
            module: None,
            workers,
            before: BTreeSet::new(),
            read: real.envoy.log().len(),
        })
    }

    /// The revision in use.
    pub fn revision(&self) -> usize {
        self.revision
    }

    /// Another module, or with `None` the first one, with the next revision; waits as [`Updating::improve`] does. `stay`: whether
    /// connections from before are not drained at once.
    pub fn replace_module(&mut self, module: Option<&Path>, stay: bool) -> Result<Update> {
        let before = std::mem::replace(&mut self.module, module.map(Path::to_owned));
        self.before.extend(stay.then_some(before));
        self.before.remove(&self.module);
        self.improve()
    }

    /// The next one, and waits until each worker has taken it into use, in each module that still has connections.
    pub fn improve(&mut self) -> Result<Update> {
        let next = self.revision + 1;
        let said = format!("policy revision-{next} ");
        let at = self.real.envoy.replace_listeners(&self.text(next)?)?;
        // Envoy's trial VM and the main thread's say it as well, and those that do not serve come first.
        let needed = self.workers + NOT_SERVING;
        let elsewhere = self.before.len() * (self.workers + 1);
        let read = self.read;
        let taken = || {
            let log = self.real.envoy.log();
            let lines = log.get(read..).unwrap_or_default().lines();
            let lines = lines.filter(|line| line.contains("configuration accepted") && line.contains(&said));
            let (passed_on, brought): (Vec<_>, Vec<_>) = lines.partition(|line| line.ends_with(PASSED_ON));
            (brought.len() >= needed && passed_on.len() >= elsewhere).then_some(log.len())
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

    /// The next one in a listener that Envoy refuses for what comes behind the filter: there is no router.
    pub fn spoil(&mut self) -> Result<()> {
        let mut wrong: Value = serde_json::from_str(&self.text(self.revision + 1)?)?;
        let filters = wrong.pointer_mut(FILTERS).and_then(Value::as_array_mut).context("no filters in the listener")?;
        filters.pop();
        match self.real.envoy.update_listeners(&wrong.to_string()) {
            Err(stage::Error::Rejected(_)) => {}
            other => anyhow::bail!("a listener without a router came to {other:?}"),
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
        if let Some(module) = &self.module {
            *listener.pointer_mut(CODE).context("no module in the listener")? = module.display().to_string().into();
        }
        Ok(listener.to_string())
    }
}

/// Contexts in VMs that are configured and do not serve: the one in which Envoy tries a configuration, and the main thread's.
const NOT_SERVING: usize = 2;

/// What a VM says that Envoy did not bring the configuration to.
const PASSED_ON: &str = ", from another VM";

/// A module of other bytes that does the same, as if built from another commit; where it is.
pub fn rebuilt_from(commit: &str, to: &Path) -> Result<String> {
    let mut module = std::fs::read(artefacts::module()?)?;
    let stamp = exeat_stamp::read(&module)?;
    let git = stamp.git.context("the module names no commit")?;
    let found = module.windows(git.len()).enumerate().filter(|(_, window)| *window == git.as_bytes());
    let places: Vec<usize> = found.map(|(at, _)| at).collect();
    let name: Vec<u8> = commit.bytes().chain(std::iter::repeat(b'0')).take(git.len()).collect();
    for at in places {
        if let Some(place) = module.get_mut(at..at + git.len()) {
            place.copy_from_slice(&name);
        }
    }
    let digest = exeat_stamp::seal(&mut module)?;
    std::fs::write(to, module)?;
    Ok(digest)
}

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
