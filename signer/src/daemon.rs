//! The daemon: `exeat signer` is the keeper, and starts the proxy as a second process ([`child`]).
//!
//! When the proxy ends, the keeper ends with an error: listeners and authorities of all sessions went with it, and whoever supervises
//! the signer starts both anew. When the keeper ends, the proxy reads the end of its socket and ends too.

pub mod child;
pub mod gateway;
pub mod harden;
pub mod log;
pub mod users;

pub use child::{ProxyArgs, ProxyUser, close_inherited};
pub use gateway::GatewayOrigin;
pub use harden::{Hardening, harden_keeper, harden_proxy};

use crate::keeper::control::{self, Access, Reload, Service};
use crate::keeper::link::Link;
use crate::keeper::{Keeper, KeeperSettings, RuntimeDirectory, SigningKey, bind_control};
use crate::protocol::ProxyConfiguration;
use anyhow::{Context as _, bail};
use std::net::SocketAddr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Child;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How often sessions that are over are ended.
const TICK: Duration = Duration::from_secs(1);
/// How often the gateway's name is looked up.
const RESOLVE: Duration = Duration::from_secs(30);
/// Time that the proxy gets to end once its socket is closed.
const END: Duration = Duration::from_secs(5);

/// What the daemon is told.
#[derive(Clone, Debug)]
pub struct DaemonSettings {
    /// Path of the control socket.
    pub control: PathBuf,
    /// Its mode, and the group it is given.
    pub control_mode: u32,
    /// Group of the control socket.
    pub control_group: Option<u32>,
    /// Who may use it.
    pub access: Access,
    /// Where files of sessions are.
    pub runtime_directory: PathBuf,
    /// What holds for all sessions.
    pub keeper: KeeperSettings,
    /// Where the gateway is.
    pub gateway: GatewayOrigin,
    /// What the proxy is told.
    pub proxy: ProxyConfiguration,
    /// As whom it runs.
    pub proxy_user: Option<ProxyUser>,
    /// Level of the log.
    pub log: String,
    /// Time that requests get to end after a stop was asked for.
    pub grace: Duration,
}

/// Runs until SIGTERM or SIGINT. `ready` is called once sessions can be opened.
///
/// # Errors
/// It could not start, or the proxy ended.
pub fn run(
    settings: DaemonSettings,
    key: SigningKey,
    reload: Reload,
    ready: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    // Before the proxy is started, which inherits it. What is left over is for the spool and for connections to the gateway.
    let wanted = u64::from(settings.proxy.connections).saturating_mul(2).saturating_add(256);
    if let Some(most) = harden::raise_descriptors().filter(|most| *most < wanted) {
        tracing::warn!(
            most,
            wanted,
            "fewer files may be open than that many connections take: raise the limit (ulimit -Hn, LimitNOFILE)"
        );
    }
    // While there is one thread, see `bind_control`.
    let directory = RuntimeDirectory::open(&settings.runtime_directory)?;
    let listener = bind_control(&settings.control, settings.control_mode, settings.control_group)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    let result = runtime.block_on(serve(settings, directory, listener, key, reload, ready));
    runtime.shutdown_timeout(END);
    result
}

/// Removes the control socket, while the lock of the runtime directory keeps others from putting theirs there.
struct ControlSocket(PathBuf);

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn take() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }
}

async fn serve(
    settings: DaemonSettings,
    directory: RuntimeDirectory,
    listener: UnixListener,
    key: SigningKey,
    reload: Reload,
    ready: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    // Before anybody is told that the signer is ready.
    let mut signals = Signals::take().context("cannot take signals")?;
    listener.set_nonblocking(true)?;
    let listener = tokio::net::UnixListener::from_std(listener)?;
    let (near, far) = UnixStream::pair().context("cannot make a socket pair")?;
    let args = ProxyArgs {
        spool_dir: settings.proxy.spool.directory.clone(),
        gateway_port: settings.gateway.port,
        log: settings.log.clone(),
    };
    let mut proxy = child::start(&args, settings.proxy_user, far)?;
    near.set_nonblocking(true)?;
    let keeper = Arc::new(Keeper::new(settings.keeper.clone(), key));
    let (link, conversation) = Link::new(tokio::net::UnixStream::from_std(near)?, Arc::clone(&keeper));
    let service = Arc::new(Service::new(Arc::clone(&keeper), link.clone(), directory, reload));
    // Dropped before the service, which has the directory.
    let _control_socket = ControlSocket(settings.control.clone());
    let conversation = tokio::spawn(conversation);
    let aborted = conversation.abort_handle();
    tokio::pin!(conversation);
    link.configure(settings.proxy.clone()).await;
    // An answer shows that it took its configuration. What was wrong with it, it has said itself.
    let began = tokio::select! {
        answer = link.measure() => answer.is_some(),
        _ = &mut conversation => false,
    };
    if !began {
        bail!(
            "the proxy process did not begin (it ended with {}); its error stands before this one",
            end(&mut proxy).await
        );
    }

    let (stopping, mut stopped) = tokio::sync::watch::channel(false);
    let stop = async move {
        let _ = stopped.changed().await;
    };
    let mut access = settings.access.clone();
    access.shunned_pid = proxy.id().and_then(|pid| i32::try_from(pid).ok());
    let control = tokio::spawn(control::serve(
        listener,
        access,
        control::router(Arc::clone(&service)),
        Arc::clone(&keeper),
        stop,
    ));
    let resolving =
        tokio::spawn(follow_gateway(settings.gateway.clone(), link.clone(), settings.proxy.gateway.addresses));
    tracing::info!(
        control = %settings.control.display(),
        gateway = settings.gateway.url(),
        keyid = keeper.keyid(),
        version = env!("CARGO_PKG_VERSION"),
        "signer ready"
    );
    ready()?;

    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let failed = loop {
        tokio::select! {
            _ = signals.terminate.recv() => break None,
            _ = signals.interrupt.recv() => break None,
            _ = signals.hang_up.recv() => {
                let service = Arc::clone(&service);
                // It reads a file. What became of it, the log says.
                drop(tokio::task::spawn_blocking(move || service.rotate()));
            }
            _ = tick.tick() => service.expire().await,
            ended = &mut conversation => {
                let why = ended.map_or_else(|error| error.to_string(), |error| error.to_string());
                break Some(why);
            }
        }
    };
    if let Some(why) = failed {
        let status = end(&mut proxy).await;
        tracing::error!(why, status, "the proxy is gone: the signer ends, and all sessions with it");
        service.close_all().await;
        bail!("{why} (proxy process: {status}); the signer ends, and must be started again");
    }
    tracing::info!("stopping");
    service.stop_opening();
    let drained = tokio::select! {
        drained = link.drain(settings.grace) => drained,
        _ = signals.terminate.recv() => false,
        _ = signals.interrupt.recv() => false,
        // Then there is nothing left to wait for.
        _ = &mut conversation => true,
    };
    if !drained {
        tracing::warn!("requests that did not end in time are broken off");
    }
    service.close_all().await;
    let _ = stopping.send(true);
    let _ = tokio::time::timeout(END, control).await;
    resolving.abort();
    // Closes the keeper's end of the socket, upon which the proxy ends.
    aborted.abort();
    let status = end(&mut proxy).await;
    tracing::info!(status, "stopped");
    Ok(())
}

/// Waits for the proxy, whose socket is closed, and kills it when it does not end.
async fn end(proxy: &mut Child) -> String {
    let status = match tokio::time::timeout(END, proxy.wait()).await {
        Ok(status) => status,
        Err(_) => {
            let _ = proxy.start_kill();
            proxy.wait().await
        }
    };
    status.map_or_else(|error| error.to_string(), |status| status.to_string())
}

/// Tells the proxy when the gateway's name leads elsewhere. A name that leads nowhere changes nothing.
async fn follow_gateway(gateway: GatewayOrigin, link: Link, mut known: Vec<SocketAddr>) {
    if !gateway.is_name() {
        return;
    }
    loop {
        tokio::time::sleep(RESOLVE).await;
        let asked = gateway.clone();
        match tokio::task::spawn_blocking(move || asked.resolve()).await {
            Ok(Ok(addresses)) => {
                // Name servers turn their answers round; only another set is news.
                let same = addresses.iter().all(|address| known.contains(address))
                    && known.iter().all(|address| addresses.contains(address));
                if !same {
                    tracing::info!(?addresses, "the gateway's name leads elsewhere");
                    link.gateway_addresses(addresses.clone()).await;
                    known = addresses;
                }
            }
            Ok(Err(error)) => tracing::warn!(error = format!("{error:#}"), "the gateway's name was not found"),
            Err(_) => return,
        }
    }
}
