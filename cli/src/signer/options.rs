//! Options of the signer, and what they come to.

use super::key::check_private;
use anyhow::{Context as _, ensure};
use exeat_engine::policy::document::{ByteSize, Duration as Span};
use exeat_signer::daemon::users::{self, overflow_uid, own_uid};
use exeat_signer::daemon::{DaemonSettings, GatewayOrigin, ProxyUser};
use exeat_signer::keeper::control::Access;
use exeat_signer::keeper::{KeeperSettings, Limits};
use exeat_signer::protocol::{GatewayConfiguration, ProxyConfiguration, Secret, SpoolConfiguration};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// Options besides the key's.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Gateway: https://HOST[:PORT], or http://ADDRESS:PORT on loopback.
    #[arg(long, value_name = "URL", help_heading = "Gateway")]
    gateway: String,
    /// Authorities (PEM) that the gateway's certificate is verified against.
    #[arg(long, value_name = "FILE", help_heading = "Gateway")]
    gateway_ca: Option<PathBuf>,
    /// Certificate (PEM, leaf first) that the signer shows to the gateway; its SPIFFE id is that of `spiffe:` in the policy.
    #[arg(long, value_name = "FILE", requires = "client_key", help_heading = "Gateway")]
    client_cert: Option<PathBuf>,
    /// Key of that certificate (PEM). It identifies the connection and signs no context.
    #[arg(long, value_name = "FILE", requires = "client_cert", help_heading = "Gateway")]
    client_key: Option<PathBuf>,
    /// Id of the gateway: no other takes what is signed.
    #[arg(long, value_name = "ID", help_heading = "Gateway")]
    gateway_id: Option<String>,

    /// Directory for the control socket and files of sessions; /run/exeat for root, $XDG_RUNTIME_DIR/exeat for others.
    #[arg(long, value_name = "DIR", help_heading = "Control")]
    runtime_dir: Option<PathBuf>,
    /// Control socket; control.sock in the runtime directory unless given.
    #[arg(long, value_name = "PATH", help_heading = "Control")]
    control: Option<PathBuf>,
    /// Group that may connect to the control socket. Who is served, the user says.
    #[arg(long, value_name = "GROUP", help_heading = "Control")]
    control_group: Option<String>,
    /// User who may open and close sessions; repeat for more. The signer's own unless given.
    #[arg(long = "orchestrator-uid", value_name = "USER", help_heading = "Control")]
    orchestrators: Vec<String>,
    /// User whose tools may report the tool in use and the provenance of results; repeat for more.
    #[arg(long = "tool-uid", value_name = "USER", help_heading = "Control")]
    tools: Vec<String>,

    /// User that the process which reads what agents send runs as. Needs root.
    #[arg(long, value_name = "USER", help_heading = "Proxy")]
    proxy_user: Option<String>,
    /// Directory for request bodies that do not fit into memory; a new one in /var/tmp unless given.
    #[arg(long, value_name = "DIR", help_heading = "Proxy")]
    spool_dir: Option<PathBuf>,
    /// Largest request body.
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = size, help_heading = "Proxy")]
    body: u64,
    /// Bytes of one body in memory, before it goes to a file.
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = size, help_heading = "Proxy")]
    body_memory: u64,
    /// Bytes of all bodies in memory.
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size, help_heading = "Proxy")]
    spool_memory: u64,
    /// Bytes of all bodies in files.
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = size, help_heading = "Proxy")]
    spool_files: u64,
    /// Time for the head of a request.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time, help_heading = "Proxy")]
    head_timeout: Duration,
    /// Time for the TLS handshake after CONNECT.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time, help_heading = "Proxy")]
    handshake_timeout: Duration,
    /// Time without a byte of a request body.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time, help_heading = "Proxy")]
    body_timeout: Duration,
    /// Time until the gateway begins to answer.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = time, help_heading = "Proxy")]
    answer_timeout: Duration,

    /// Sessions at once.
    #[arg(long, value_name = "NUMBER", default_value_t = 256, help_heading = "Limits")]
    sessions: usize,
    /// Connections of a session at once.
    #[arg(long, value_name = "NUMBER", default_value_t = 256, help_heading = "Limits")]
    connections: u32,
    /// Connections of all sessions at once.
    #[arg(long, value_name = "NUMBER", default_value_t = 2048, help_heading = "Limits")]
    all_connections: u32,
    /// Time without traffic after which a connection of an agent is closed.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = time, help_heading = "Limits")]
    connection_idle: Duration,
    /// Life of a session that asks for none.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = time, help_heading = "Limits")]
    life: Duration,
    /// Longest life of a session, extensions included.
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = time, help_heading = "Limits")]
    max_life: Duration,
    /// Time without a request after which a session ends that asks for no other.
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = time, help_heading = "Limits")]
    idle: Duration,
    /// Signatures for a session each second; twice as many at once.
    #[arg(long, value_name = "NUMBER", default_value_t = 2000, help_heading = "Limits")]
    rate: u32,
    /// Time that a signature lives; the policy's max_age holds besides.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time, help_heading = "Limits")]
    signature_life: Duration,

    /// Time that requests get to end when the signer is stopped.
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = time)]
    grace: Duration,
    /// Level of the log (error, warn, info, debug), one line of JSON an event on standard error.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub(super) log: String,
    /// Write the path of the control socket to this file once sessions can be opened.
    #[arg(long, value_name = "FILE")]
    pub(super) ready_file: Option<PathBuf>,
}

impl Options {
    /// What the daemon is told, and the spool's directory where it was made for this run.
    pub(super) fn settings(&self) -> anyhow::Result<(DaemonSettings, Option<TempDir>)> {
        let gateway = GatewayOrigin::parse(&self.gateway)?;
        let proxy_user = self.proxy_user()?;
        let access = self.access()?;
        let runtime_directory = match &self.runtime_dir {
            Some(path) => path.clone(),
            None => default_runtime_directory()?,
        };
        let control = self.control.clone().unwrap_or_else(|| runtime_directory.join("control.sock"));
        let control_group = self.control_group.as_deref().map(users::group).transpose()?;
        let only_own = access.orchestrators.iter().chain(&access.tools).all(|uid| *uid == own_uid());
        let keeper = KeeperSettings {
            limits: self.limits(),
            audience: self.gateway_id.clone(),
            wire_scheme: gateway.scheme,
            signature_life: seconds(self.signature_life),
            closed_uids: closed_uids(&access, proxy_user),
        };
        let (spool, made) = self.spool(proxy_user)?;
        let proxy = ProxyConfiguration {
            gateway: self.gateway_configuration(&gateway)?,
            spool,
            connections: self.all_connections,
            head_seconds: seconds(self.head_timeout),
            handshake_seconds: seconds(self.handshake_timeout),
            body_seconds: seconds(self.body_timeout),
            head_bytes: 64 * 1024,
            answer_seconds: seconds(self.answer_timeout),
        };
        let control_mode = match (only_own, control_group) {
            (_, Some(_)) => 0o660,
            (true, None) => 0o600,
            (false, None) => 0o666,
        };
        let settings = DaemonSettings {
            control,
            control_mode,
            control_group,
            access,
            runtime_directory,
            keeper,
            gateway,
            proxy,
            proxy_user,
            log: self.log.clone(),
            grace: self.grace,
        };
        Ok((settings, made))
    }

    fn limits(&self) -> Limits {
        Limits {
            sessions: self.sessions,
            default_life: self.life,
            longest_life: self.max_life,
            default_idle: self.idle,
            signatures_per_second: self.rate,
            signature_burst: self.rate.saturating_mul(2),
            connections: self.connections,
            connection_idle: seconds(self.connection_idle),
        }
    }

    fn access(&self) -> anyhow::Result<Access> {
        let uids = |names: &[String], option: &str| {
            let uid = |name: &String| users::user(name).map(|user| user.uid);
            let uids: BTreeSet<u32> =
                names.iter().map(uid).collect::<anyhow::Result<_>>().with_context(|| option.to_owned())?;
            ensure!(
                !uids.contains(&overflow_uid()),
                "{option} {}: this user ({UNNAMED}) could be anybody of another user namespace; name another",
                overflow_uid()
            );
            Ok::<_, anyhow::Error>(uids)
        };
        let mut orchestrators = uids(&self.orchestrators, "--orchestrator-uid")?;
        if orchestrators.is_empty() {
            orchestrators.insert(own_uid());
        }
        Ok(Access { orchestrators, tools: uids(&self.tools, "--tool-uid")?, shunned_pid: None })
    }

    fn proxy_user(&self) -> anyhow::Result<Option<ProxyUser>> {
        let Some(name) = &self.proxy_user else {
            if own_uid() == 0 {
                tracing::warn!(
                    "the proxy runs as root, without capabilities; give it a user of its own with --proxy-user"
                );
            }
            return Ok(None);
        };
        let user = users::user(name).context("--proxy-user")?;
        ensure!(
            own_uid() == 0 || own_uid() == user.uid,
            "--proxy-user {name}: only root can start a process as another user; start the signer as root, or leave it out"
        );
        Ok(Some(ProxyUser { uid: user.uid, gid: user.gid }))
    }

    fn spool(&self, user: Option<ProxyUser>) -> anyhow::Result<(SpoolConfiguration, Option<TempDir>)> {
        let made = match &self.spool_dir {
            Some(path) => {
                ensure!(path.is_dir(), "--spool-dir {}: there is no such directory; make it", path.display());
                None
            }
            None => Some(
                make_spool(user).context("cannot make a directory for request bodies; name one with --spool-dir")?,
            ),
        };
        let directory = match (&made, &self.spool_dir) {
            (Some(made), _) => made.path().to_path_buf(),
            (None, Some(given)) => given.canonicalize()?,
            (None, None) => PathBuf::from("/var/tmp"),
        };
        let spool = SpoolConfiguration {
            directory,
            body_memory: self.body_memory,
            total_memory: self.spool_memory,
            body: self.body,
            total_files: self.spool_files,
        };
        Ok((spool, made))
    }

    fn gateway_configuration(&self, gateway: &GatewayOrigin) -> anyhow::Result<GatewayConfiguration> {
        ensure!(
            gateway.scheme == "http" || self.gateway_ca.is_some(),
            "--gateway {}: name the authorities that its certificate is verified against with --gateway-ca",
            self.gateway
        );
        ensure!(
            gateway.scheme == "https" || (self.gateway_ca.is_none() && self.client_cert.is_none()),
            "--gateway {} is plain HTTP, and certificates are given: write https, or leave them out",
            self.gateway
        );
        let read = |path: &Option<PathBuf>| path.as_deref().map(read_text).transpose();
        Ok(GatewayConfiguration {
            url: gateway.url(),
            addresses: gateway.resolve()?,
            ca_pem: read(&self.gateway_ca)?,
            client_chain_pem: read(&self.client_cert)?,
            client_key_pem: self.client_key.as_deref().map(read_private).transpose()?.map(Secret),
        })
    }
}

/// What the system says of users whom it cannot name.
const UNNAMED: &str = "the user that stands for those whom the system cannot name";

/// Users that no agent may be.
fn closed_uids(access: &Access, proxy_user: Option<ProxyUser>) -> BTreeMap<u32, &'static str> {
    let mut closed: BTreeMap<u32, &'static str> = BTreeMap::new();
    closed.extend(access.tools.iter().map(|uid| (*uid, "a user whose tools may report to the signer")));
    closed.extend(access.orchestrators.iter().map(|uid| (*uid, "a user who may open sessions")));
    closed.extend(proxy_user.map(|user| (user.uid, "the user of the signer's proxy")));
    closed.insert(overflow_uid(), UNNAMED);
    closed.insert(own_uid(), "the signer's own user");
    closed.insert(0, "root");
    closed
}

fn default_runtime_directory() -> anyhow::Result<PathBuf> {
    if own_uid() == 0 {
        return Ok(PathBuf::from("/run/exeat"));
    }
    let directory = std::env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty());
    let directory = directory.context("XDG_RUNTIME_DIR is not set: name a directory with --runtime-dir")?;
    Ok(Path::new(&directory).join("exeat"))
}

/// A directory on a disk: what is in /run or /tmp is often memory.
fn make_spool(user: Option<ProxyUser>) -> anyhow::Result<TempDir> {
    let directory = tempfile::Builder::new().prefix("exeat-spool-").tempdir_in("/var/tmp")?;
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o700))?;
    if let Some(user) = user {
        chown(directory.path(), Some(user.uid), Some(user.gid))?;
    }
    Ok(directory)
}

fn read_text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn read_private(path: &Path) -> anyhow::Result<String> {
    check_private(path)?;
    read_text(path)
}

/// Whole seconds, at least one.
fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX).max(1)
}

fn size(text: &str) -> Result<u64, String> {
    ByteSize::try_from(text.to_owned()).map(|size| size.0).map_err(|error| error.to_string())
}

fn time(text: &str) -> Result<Duration, String> {
    let span = Span::try_from(text.to_owned()).map_err(|error| error.to_string())?;
    if span.0 < 1000 { Err("write at least 1s".to_owned()) } else { Ok(Duration::from_millis(span.0)) }
}
