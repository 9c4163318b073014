//! `exeat run`: a program as an agent, in a session of its own.

use crate::members::MemberArgs;
use crate::terminal::say;
use anyhow::{Context as _, ensure};
use clap::Args;
use exeat_signer::client::{ControlClient, OpenSession};
use exeat_signer::daemon::users::{self, Account, own_uid};
use exeat_signer::keeper::{Attribute, SessionRequest};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Arguments of `exeat run`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  exeat run --agent support/summarizer --user u-1 --provenance user --as agent -- python agent.py

The program finds its proxy and the certificate to trust in its environment (HTTP_PROXY, HTTPS_PROXY, SSL_CERT_FILE, \
REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE, NODE_EXTRA_CA_CERTS, NODE_USE_ENV_PROXY, GIT_SSL_CAINFO). The session ends with the program, \
whose status this command ends with.")]
pub struct RunArgs {
    /// Control socket of the signer; that of its usual runtime directory unless given.
    #[arg(long, value_name = "PATH", env = "EXEAT_CONTROL")]
    control: Option<PathBuf>,
    /// User that the program runs as, so that it cannot reach the signer. Needs root.
    #[arg(long = "as", value_name = "USER")]
    user_account: Option<String>,
    #[command(flatten)]
    facts: Box<Facts>,
    /// Program and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "PROGRAM")]
    program: Vec<OsString>,
}

/// What the session states.
#[derive(Debug, Args)]
#[command(next_help_heading = "Session")]
struct Facts {
    /// Workload identity of the agent.
    #[arg(long)]
    agent: String,
    /// One run of it; made up unless given.
    #[arg(long)]
    session: Option<String>,
    #[command(flatten)]
    members: MemberArgs,
    /// Another member; repeat for more.
    #[arg(long = "attribute", value_name = "NAME=TEXT")]
    attributes: Vec<String>,
    /// Host that the session may use (name, *.name or address, with :PORT unless 80 or 443); repeat for more. Any unless given.
    #[arg(long = "destination", value_name = "HOST")]
    destinations: Vec<String>,
    /// HOST:PORT to which the program's own TLS is passed on; repeat for more.
    #[arg(long = "tunnel", value_name = "HOST:PORT")]
    tunnels: Vec<String>,
    /// Seconds without a request after which the session ends.
    #[arg(long, value_name = "SECONDS")]
    idle: Option<u32>,
}

/// Runs the program and returns its status: what it ended with, or 128 and the signal that ended it, as shells do.
pub fn run(args: RunArgs) -> anyhow::Result<u8> {
    let account = args.user_account.as_deref().map(users::user).transpose().context("--as")?;
    if let (Some(account), Some(name)) = (&account, &args.user_account) {
        ensure!(
            own_uid() == 0,
            "--as {name}: only root can start a program as another user. Start this command as root, or leave --as out \
             (then the program can reach the signer's control socket)"
        );
        ensure!(account.uid != 0, "--as {name}: a program that runs as root can read the signer's key");
    }
    let control = ControlClient::new(args.control.clone().unwrap_or_else(default_control));
    let request = args.facts.request(account.as_ref())?;
    // One thread: what it gives up, the program gives up.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(async {
        // Taken first, so that a signal from now on ends the session too.
        let mut signals = signals()?;
        let session = control.open(&request).await?;
        let result = run_in(&session, &args.program, account.as_ref(), &control, &mut signals).await;
        if let Err(error) = control.close(&session.id).await {
            say!("exeat run: the session was not closed: {error}");
        }
        result.map(code)
    })
}

async fn run_in(
    session: &OpenSession,
    program: &[OsString],
    account: Option<&Account>,
    control: &ControlClient,
    signals: &mut mpsc::UnboundedReceiver<Signal>,
) -> anyhow::Result<ExitStatus> {
    let mut child = start(session, program, account)?;
    let mut extending = tokio::time::interval(Duration::from_secs((session.expires_in / 2).max(1)));
    extending.tick().await;
    let mut may_extend = true;
    loop {
        tokio::select! {
            status = child.wait() => return status.context("cannot wait for the program"),
            Some(signal) = signals.recv() => forward(&child, signal),
            _ = extending.tick(), if may_extend => {
                if let Err(error) = control.extend(&session.id, session.expires_in).await {
                    may_extend = false;
                    say!("exeat run: the session {} cannot be extended and will end: {error}", session.session);
                }
            }
        }
    }
}

fn start(session: &OpenSession, program: &[OsString], account: Option<&Account>) -> anyhow::Result<Child> {
    let (name, arguments) = program.split_first().context("no program is named")?;
    let mut command = Command::new(name);
    command.args(arguments).env_remove("EXEAT_CONTROL");
    for (name, value) in &session.environment {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    match account {
        Some(account) => {
            // The standard library drops supplementary groups when root changes its user.
            command.uid(account.uid).gid(account.gid);
            if let Some(home) = &account.home {
                command.env("HOME", home);
            }
            if let Some(name) = &account.name {
                command.env("USER", name).env("LOGNAME", name);
            }
            // sudo and the like must not lead back.
            rustix::thread::set_no_new_privs(true).context("cannot give up new privileges")?;
        }
        None => say!(
            "exeat run: the program runs as user {}, who may open sessions: it could reach the signer's control socket and \
             choose its own facts. --as USER separates them (needs root).",
            own_uid()
        ),
    }
    command.spawn().with_context(|| format!("cannot start {}", name.to_string_lossy()))
}

/// Signals that end or steer programs, all into one queue.
fn signals() -> anyhow::Result<mpsc::UnboundedReceiver<Signal>> {
    let (queue, queued) = mpsc::unbounded_channel();
    let kinds = [
        (SignalKind::terminate(), Signal::TERM),
        (SignalKind::hangup(), Signal::HUP),
        (SignalKind::user_defined1(), Signal::USR1),
        (SignalKind::user_defined2(), Signal::USR2),
        (SignalKind::interrupt(), Signal::INT),
        (SignalKind::quit(), Signal::QUIT),
    ];
    // A terminal sends these two to the program itself.
    let terminal = std::io::stdin().is_terminal();
    for (kind, number) in kinds {
        let mut arriving = signal(kind).context("cannot take signals")?;
        let queue = queue.clone();
        tokio::spawn(async move {
            while arriving.recv().await.is_some() {
                let from_terminal = terminal && matches!(number, Signal::INT | Signal::QUIT);
                if !from_terminal && queue.send(number).is_err() {
                    return;
                }
            }
        });
    }
    Ok(queued)
}

fn forward(child: &Child, signal: Signal) {
    // The child was not waited for yet, so its number is not another's.
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

fn code(status: ExitStatus) -> u8 {
    let number = status.code().or_else(|| status.signal().map(|signal| signal.saturating_add(128)));
    number.and_then(|number| u8::try_from(number).ok()).unwrap_or(u8::MAX)
}

fn default_control() -> PathBuf {
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(|directory| Path::new(&directory).join("exeat/control.sock"));
    own.filter(|path| path.exists()).unwrap_or_else(|| PathBuf::from("/run/exeat/control.sock"))
}

impl Facts {
    fn request(&self, account: Option<&Account>) -> anyhow::Result<SessionRequest> {
        let members = &self.members;
        let attributes: BTreeMap<String, Attribute> =
            self.attributes.iter().map(|text| attribute(text)).collect::<anyhow::Result<_>>()?;
        Ok(SessionRequest {
            agent: self.agent.clone(),
            session: self.session.clone(),
            tenant: members.tenant.clone(),
            user: members.user.clone(),
            roles: members.roles.clone(),
            region: members.region.clone(),
            delegated_by: members.delegated_by.clone(),
            scope: members.scope(),
            session_type: members.session_type,
            data_class: members.data_class,
            provenance: members.provenance.clone(),
            tool: members.tool.clone(),
            reason: members.reason.clone(),
            attributes,
            destinations: (!self.destinations.is_empty()).then(|| self.destinations.clone()),
            tunnels: self.tunnels.clone(),
            idle: self.idle,
            uids: account.map(|account| account.uid).into_iter().collect(),
            ..SessionRequest::default()
        })
    }
}

fn attribute(text: &str) -> anyhow::Result<(String, Attribute)> {
    let (name, value) = text
        .split_once('=')
        .with_context(|| format!("--attribute {text:?} has no equals sign; write it as NAME=TEXT"))?;
    Ok((name.to_owned(), Attribute::Text(value.to_owned())))
}
