//! The proxy process: how the keeper starts it, and what it does first.

use super::harden::harden_proxy;
use crate::proxy::{self, PeerTables};
use anyhow::{Context as _, ensure};
use rustix::net::sockopt::{socket_domain, socket_type};
use rustix::net::{AddressFamily, SocketType};
use std::os::fd::{AsFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::{Child, Command};

/// The hidden subcommand that is the proxy.
pub const SUBCOMMAND: &str = "signer-proxy";

/// A user that the proxy runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyUser {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// What the proxy must know before it may open no more files; the rest comes over the socket.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct ProxyArgs {
    /// Directory of the spool.
    #[arg(long)]
    pub spool_dir: PathBuf,
    /// Port of the gateway.
    #[arg(long)]
    pub gateway_port: u16,
    /// Level of the log.
    #[arg(long)]
    pub log: String,
}

/// Starts the proxy: this very program, without environment, with one end of the socket as its standard input.
pub(super) fn start(args: &ProxyArgs, user: Option<ProxyUser>, socket: UnixStream) -> anyhow::Result<Child> {
    // Not the path that the program was started by: that file may be another one by now.
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("exeat")
        .arg(SUBCOMMAND)
        .arg("--spool-dir")
        .arg(&args.spool_dir)
        .arg("--gateway-port")
        .arg(args.gateway_port.to_string())
        .arg("--log")
        .arg(&args.log)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(socket)))
        .stdout(Stdio::null())
        .kill_on_drop(true);
    if let Some(user) = user {
        // The standard library drops supplementary groups when root changes its user.
        command.uid(user.uid).gid(user.gid);
    }
    command.spawn().with_context(|| match user {
        Some(user) => {
            format!("cannot start the proxy process as user {}, who must be able to execute this program", user.uid)
        }
        None => "cannot start the proxy process".to_owned(),
    })
}

/// Runs the proxy until the keeper goes away. Call it first thing, with one thread.
///
/// # Errors
/// It was not started by a keeper, or the keeper broke the protocol.
pub fn run(args: &ProxyArgs) -> anyhow::Result<()> {
    close_inherited();
    super::log::start(&args.log)?;
    let socket = keeper_socket().context("this subcommand is part of `exeat signer`, which starts it")?;
    let tables = PeerTables::open();
    harden_proxy(&args.spool_dir, args.gateway_port).log("proxy");
    proxy::run_with(socket, tables)?;
    Ok(())
}

fn keeper_socket() -> anyhow::Result<UnixStream> {
    let stdin = std::io::stdin();
    let unix = socket_domain(stdin.as_fd()).is_ok_and(|domain| domain == AddressFamily::UNIX);
    let stream = socket_type(stdin.as_fd()).is_ok_and(|kind| kind == SocketType::STREAM);
    ensure!(unix && stream, "standard input is not a keeper's socket");
    Ok(UnixStream::from(stdin.as_fd().try_clone_to_owned()?))
}

/// Closes every descriptor but the first three, so that nothing that whoever started this program left open is within reach.
/// Call it before anything else opens one.
pub fn close_inherited() {
    let Ok(entries) = std::fs::read_dir(Path::new("/proc/self/fd")) else { return };
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse::<RawFd>().ok();
    let open: Vec<RawFd> = entries.filter_map(name).filter(|descriptor| *descriptor > 2).collect();
    for descriptor in open {
        // One of them was that of the directory itself, and is closed already.
        let _ = nix::unistd::close(descriptor);
    }
}
