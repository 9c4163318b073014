//! The real Envoy, from the text of a configuration to a handle that stops it.

mod stats;

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub use stats::Stats;

use super::client::{self, Request, Response};
use super::process::{GRACE, Process};
use super::{Error, Result, artefacts, files, ports};

/// How an Envoy is to be started.
///
/// ```no_run
/// # fn main() -> exeat_e2e::stage::Result<()> {
/// # let bootstrap = "";
/// use exeat_e2e::stage::{envoy::Setup, ports};
///
/// let port = ports::free()?; // which stands in `bootstrap`
/// let envoy = Setup::new(bootstrap).listener(port).env("EXEAT_GATEWAY_KEY", "...").start()?;
/// assert_eq!(envoy.stats()?.value("listener_manager.total_listeners_active"), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Setup {
    bootstrap: String,
    listeners: Option<String>,
    awaited: Vec<SocketAddr>,
    concurrency: u32,
    env: Vec<(OsString, OsString)>,
    log_level: String,
    extra_args: Vec<String>,
}

impl Setup {
    /// From the text of a bootstrap configuration (YAML or JSON). Its admin address is replaced by a free port.
    pub fn new(bootstrap: impl Into<String>) -> Self {
        Self {
            bootstrap: bootstrap.into(),
            listeners: None,
            awaited: Vec::new(),
            concurrency: 1,
            env: Vec::new(),
            log_level: "info,main:warning".to_owned(),
            extra_args: Vec::new(),
        }
    }

    /// Listeners that can be replaced while it runs ([`Envoy::update_listeners`]), beside those of the bootstrap. `file` is
    /// the text of a filesystem LDS file: `resources:` with a list of listeners, each with its `@type`.
    pub fn listeners(mut self, file: impl Into<String>) -> Self {
        self.listeners = Some(file.into());
        self
    }

    /// [`Setup::start`] waits until 127.0.0.1 accepts on this port, by one connection that is closed at once: the listener's
    /// statistics start with it.
    pub fn listener(mut self, port: u16) -> Self {
        self.awaited.push((Ipv4Addr::LOCALHOST, port).into());
        self
    }

    /// Number of worker threads, and so of VMs; 1 unless set.
    pub fn concurrency(mut self, workers: u32) -> Self {
        self.concurrency = workers;
        self
    }

    /// One more environment variable.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// A level and, after a comma, what `--component-log-level` takes, such as `info,wasm:trace`. Unless set it is
    /// `info,main:warning`: at `info`, `main` lists all extensions at each start, and messages would end in that list.
    pub fn log_level(mut self, level: impl Into<String>) -> Self {
        self.log_level = level.into();
        self
    }

    /// One more argument, such as `--drain-time-s=1` for listeners that are to be gone soon after an update.
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.extra_args.push(argument.into());
        self
    }

    /// Starts it and waits until it is ready and its listeners accept. A configuration that it refuses is
    /// [`Error::Exited`], with Envoy's words.
    pub fn start(&self) -> Result<Envoy> {
        let folder = tempfile::tempdir().map_err(Error::io("making a folder for Envoy"))?;
        let bootstrap = folder.path().join("bootstrap.yaml");
        write(&bootstrap, &self.bootstrap)?;
        let admin: SocketAddr = (Ipv4Addr::LOCALHOST, ports::free()?).into();
        let lds = folder.path().join("listeners.yaml");
        if let Some(listeners) = &self.listeners {
            write(&lds, listeners)?;
        }
        let (level, components) = self.log_level.split_once(',').unwrap_or((&self.log_level, ""));
        files::raise_limit();
        let mut command = Command::new(artefacts::envoy()?);
        command.arg("--config-path").arg(&bootstrap);
        // Merged over the file: what the stage needs, whatever the configuration says.
        command.args(["--config-yaml", &overlay(admin, self.listeners.as_ref().map(|_| lds.as_path()))]);
        // Several run side by side without hot restart, whose shared memory outlives each of them in /dev/shm.
        command.args(["--disable-hot-restart", "--concurrency", &self.concurrency.to_string()]);
        command.args(["--log-level", level]);
        if !components.is_empty() {
            command.args(["--component-log-level", components]);
        }
        command.args(&self.extra_args).envs(self.env.iter().map(|(name, value)| (name, value)));
        let process = Process::spawn("Envoy", &command, &folder.path().join("envoy.log"))?;
        let envoy = Envoy { process, admin, lds, _folder: folder };
        envoy.wait_until_ready(&self.awaited)?;
        Ok(envoy)
    }
}

/// A running Envoy; it ends with this handle.
#[derive(Debug)]
pub struct Envoy {
    // Dropped first: Envoy ends before its folder goes.
    process: Process,
    admin: SocketAddr,
    lds: PathBuf,
    _folder: TempDir,
}

impl Envoy {
    /// The process, for its log, signals and end.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Everything it has printed so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Waits for a log line that contains `pattern` and returns the first.
    pub fn wait_for_log(&self, pattern: &str, limit: Duration) -> Result<String> {
        self.process.wait_for_log(pattern, limit)
    }

    /// Where the admin interface listens.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// Asks the admin interface. What changes something there takes POST.
    pub fn admin(&self, method: &str, path: &str) -> Result<Response> {
        let request = Request::new(method, path).header("host", "admin").header("connection", "close");
        let response = client::send(self.admin, &request)?;
        if response.status != 200 {
            let problem = format!("{method} {path} gave {}: {}", response.status, response.text());
            return Err(Error::protocol("Envoy's admin interface", problem));
        }
        Ok(response)
    }

    /// Counters and gauges as they are now.
    pub fn stats(&self) -> Result<Stats> {
        Stats::parse(&self.admin("GET", "/stats?format=json")?.json()?)
    }

    /// Waits until a counter or gauge has reached `least`, and returns it.
    pub fn wait_for_stat(&self, name: &str, least: u64, limit: Duration) -> Result<u64> {
        let mut last = 0;
        let reached = self.process.wait_until(&format!("{name} of at least {least}"), limit, || {
            last = self.stats().ok()?.value(name);
            (last >= least).then_some(last)
        });
        reached.map_err(|error| match error {
            Error::TimedOut { process, awaited, waited, log } => {
                Error::TimedOut { process, awaited: format!("{awaited} (it is {last})"), waited, log }
            }
            other => other,
        })
    }

    /// Replaces the listeners of [`Setup::listeners`] as an operator would, by renaming a new file over the old one, and
    /// waits until Envoy took them over. Connections of replaced listeners drain (`--drain-time-s`).
    pub fn update_listeners(&self, file: &str) -> Result<()> {
        const ACCEPTED: &str = "listener_manager.lds.update_success";
        const REFUSED: &str = "listener_manager.lds.update_rejected";
        if !self.lds.exists() {
            return Err(Error::protocol("stage", "only an Envoy with Setup::listeners can update them"));
        }
        let before = self.listener_stats()?;
        let log_before = self.log().len();
        self.replace_listeners(file)?;
        let accepted = self.process.wait_until("answer to the new listeners", LIMIT, || {
            let now = self.listener_stats().ok()?;
            let grown = |name| now.value(name) > before.value(name);
            if grown(REFUSED) {
                return Some(false);
            }
            let warm = now.value("listener_manager.total_listeners_warming") == 0;
            (grown(ACCEPTED) && warm).then_some(true)
        })?;
        if accepted {
            return Ok(());
        }
        Err(Error::Rejected(self.log().get(log_before..).unwrap_or_default().to_owned()))
    }

    /// Replaces them and waits for nothing. When it was done.
    pub fn replace_listeners(&self, file: &str) -> Result<Instant> {
        let unfinished = self.lds.with_extension("new");
        write(&unfinished, file)?;
        std::fs::rename(&unfinished, &self.lds).map_err(Error::io("renaming the listeners"))?;
        Ok(Instant::now())
    }

    /// What concerns listeners alone: all statistics together are hundreds of kilobytes.
    pub fn listener_stats(&self) -> Result<Stats> {
        Stats::parse(&self.admin("GET", "/stats?format=json&filter=^listener_manager")?.json()?)
    }

    /// Ends it in an orderly way and returns its log.
    pub fn stop(self) -> Result<String> {
        self.process.stop(GRACE)?;
        Ok(self.process.log())
    }

    fn wait_until_ready(&self, awaited: &[SocketAddr]) -> Result<()> {
        let ready = || self.admin("GET", "/ready").is_ok().then_some(());
        self.process.wait_until("answer to /ready of the admin interface", LIMIT, ready)?;
        for address in awaited {
            let accepts = || TcpStream::connect_timeout(address, Duration::from_secs(1)).ok().map(drop);
            self.process.wait_until(&format!("connection on {address}"), LIMIT, accepts)?;
        }
        Ok(())
    }
}

/// A start on a busy machine takes seconds, most of them for the compilation of modules.
const LIMIT: Duration = Duration::from_secs(60);

/// JSON, which is YAML too.
fn overlay(admin: SocketAddr, lds: Option<&Path>) -> String {
    let mut overlay = serde_json::json!({
        "admin": {"address": {"socket_address": {"address": admin.ip(), "port_value": admin.port()}}},
    });
    if let (Some(lds), Some(members)) = (lds, overlay.as_object_mut()) {
        let config =
            serde_json::json!({"lds_config": {"path_config_source": {"path": lds}, "resource_api_version": "V3"}});
        members.insert("dynamic_resources".to_owned(), config);
        // Discovery wants to know who asks, files too.
        members.insert("node".to_owned(), serde_json::json!({"id": "stage", "cluster": "stage"}));
    }
    overlay.to_string()
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(Error::io(format!("writing {}", path.display())))
}

#[cfg(test)]
mod tests;
