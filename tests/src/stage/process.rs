//! A child process with its log in a file, that ends with its handle.
//!
//! Ways for a child to outlive a test are closed as far as safe code can: [`Drop`] sends SIGTERM, and SIGKILL after a
//! grace period; should this process die without dropping, `setpriv --pdeathsig` (util-linux) has the kernel kill the
//! child. Where `setpriv` is missing, a killed test leaves its children running.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

use super::{Error, Result};

/// A running child.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    child: Mutex<Child>,
}

impl Process {
    /// Starts `command` with both outputs appended to the file `log`. `name` is what errors call it.
    pub fn spawn(name: &str, command: &Command, log: &Path) -> Result<Self> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(Error::io(format!("opening {} for {name}", log.display())))?;
        let errors = file.try_clone().map_err(Error::io("duplicating a log handle"))?;
        let mut bound = bound_to_this_process(command);
        bound.stdin(Stdio::null()).stdout(file).stderr(errors);
        let child = spawner::spawn(bound)?.map_err(Error::io(format!("starting {name} ({command:?})")))?;
        Ok(Self { name: name.to_owned(), log: log.to_path_buf(), child: Mutex::new(child) })
    }

    /// What errors call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child().id()
    }

    /// Everything it has printed so far; bytes that are not UTF-8 are replaced.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines of [`Process::log`], for messages.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or_default().join("\n")
    }

    /// How it ended, or `None` while it runs.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.child().try_wait().ok().flatten()
    }

    /// Waits for a log line that contains `pattern` and returns the first.
    pub fn wait_for_log(&self, pattern: &str, limit: Duration) -> Result<String> {
        self.wait_until(&format!("log line with `{pattern}`"), limit, || {
            self.log().lines().find(|line| line.contains(pattern)).map(str::to_owned)
        })
    }

    /// Asks `ready` again and again until it gives a value. The process ending, or `limit` passing, is an error.
    pub fn wait_until<T>(&self, awaited: &str, limit: Duration, mut ready: impl FnMut() -> Option<T>) -> Result<T> {
        let end = Instant::now() + limit;
        loop {
            // Looked at before `ready`: what a process leaves behind as its last act still counts.
            let status = self.exit_status();
            if let Some(value) = ready() {
                return Ok(value);
            }
            if let Some(status) = status {
                return Err(Error::Exited {
                    process: self.name.clone(),
                    status,
                    awaited: awaited.to_owned(),
                    log: self.log_tail(),
                });
            }
            if Instant::now() >= end {
                return Err(self.timed_out(awaited, limit));
            }
            std::thread::sleep(POLL);
        }
    }

    /// Waits until it ends by itself.
    pub fn wait(&self, limit: Duration) -> Result<ExitStatus> {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            if let Some(status) = self.exit_status() {
                return Ok(status);
            }
            std::thread::sleep(POLL);
        }
        Err(self.timed_out("exit", limit))
    }

    /// Sends a signal: `Signal::STOP` and `Signal::CONT` make it hang and go on. A process that ended gets none.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        // INVARIANT: the lock is held, so nobody reaps the child meanwhile and its id cannot belong to another process.
        let mut child = self.child();
        if child.try_wait().map_err(Error::io(format!("looking after {}", self.name)))?.is_some() {
            return Ok(());
        }
        let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else { return Ok(()) };
        kill_process(pid, signal).map_err(|errno| Error::io(format!("signalling {}", self.name))(errno.into()))
    }

    /// Ends it: SIGTERM, and SIGKILL when it is still there after `grace`. Returns how it ended.
    pub fn stop(&self, grace: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        // A stopped process takes no other signal.
        self.signal(Signal::CONT)?;
        match self.wait(grace) {
            Err(Error::TimedOut { .. }) => self.kill(),
            ended => ended,
        }
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&self) -> Result<ExitStatus> {
        self.signal(Signal::KILL)?;
        self.wait(GRACE)
    }

    fn timed_out(&self, awaited: &str, waited: Duration) -> Error {
        Error::TimedOut { process: self.name.clone(), awaited: awaited.to_owned(), waited, log: self.log_tail() }
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the end of the log of {}:\n{}\n---", self.name, self.log_tail());
        }
        // Nothing to report to; the kernel's death signal remains.
        let _ = self.stop(GRACE);
    }
}

/// How long a process may take to end after SIGTERM.
pub const GRACE: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(10);
const TAIL_LINES: usize = 40;

/// The same command, killed by the kernel when this process dies. `setpriv` replaces itself by the command, so that the
/// process id is the command's.
fn bound_to_this_process(command: &Command) -> Command {
    const SETPRIV: &str = "/usr/bin/setpriv";
    let mut bound = if Path::new(SETPRIV).exists() {
        let mut bound = Command::new(SETPRIV);
        bound.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program());
        bound
    } else {
        Command::new(command.get_program())
    };
    bound.args(command.get_args());
    for (name, value) in command.get_envs() {
        set_or_remove(&mut bound, name, value);
    }
    if let Some(folder) = command.get_current_dir() {
        bound.current_dir(folder);
    }
    bound
}

fn set_or_remove(command: &mut Command, name: &OsStr, value: Option<&OsStr>) {
    match value {
        Some(value) => command.env(name, value),
        None => command.env_remove(name),
    };
}

/// Starts children from one thread that lives as long as this process: the death signal is bound to the *thread* that
/// started the child, and a test's thread ends before what it shares with other tests does.
mod spawner {
    use std::io;
    use std::process::{Child, Command};
    use std::sync::mpsc::{self, Sender};
    use std::sync::{Mutex, OnceLock, PoisonError};

    use crate::stage::{Error, Result};

    type Job = (Command, Sender<io::Result<Child>>);

    pub(super) fn spawn(command: Command) -> Result<io::Result<Child>> {
        static JOBS: OnceLock<Mutex<Sender<Job>>> = OnceLock::new();
        let jobs = JOBS.get_or_init(|| {
            let (sender, receiver) = mpsc::channel::<Job>();
            std::thread::spawn(move || {
                for (mut command, answer) in receiver {
                    // The asker waits below, so it is there.
                    let _ = answer.send(command.spawn());
                }
            });
            Mutex::new(sender)
        });
        let (answer, child) = mpsc::channel();
        let gone = || Error::protocol("stage", "the thread that starts processes is gone");
        jobs.lock().unwrap_or_else(PoisonError::into_inner).send((command, answer)).map_err(|_| gone())?;
        child.recv().map_err(|_| gone())
    }
}

#[cfg(test)]
mod tests;
