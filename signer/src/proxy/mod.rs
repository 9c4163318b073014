//! The process that faces the agents.
//!
//! It ends their TLS, reads their HTTP, holds each body until its digest is known, asks the keeper for a signature over exactly
//! what it will send, and sends it to the gateway, once. It has no signing key. In the order in which a request meets them:
//!
//! - [`session`]: a listener, who connects to it and for how long; [`activity`], [`peers`];
//! - [`agent`]: which requests may stand where; [`connect`], [`authority`] for what is inside a tunnel;
//! - [`exchange`]: one request and its answer; [`target`], [`head`], [`spool`], [`link`];
//! - [`gateway`]: the connections that lead on.

mod activity;
mod agent;
mod authority;
mod connect;
mod error;
mod exchange;
mod gateway;
mod head;
mod link;
mod metrics;
mod peers;
mod problem;
#[cfg(feature = "fuzzing")]
pub mod reading;
mod session;
mod settings;
mod spool;
mod target;

pub use error::ProxyError;
pub use peers::PeerTables;

use crate::protocol::frame::{FrameReader, FrameWriter};
use crate::protocol::{ProxyConfiguration, SessionNumber, ToKeeper, ToProxy};
use bytes::Bytes;
use gateway::Gateway;
use http_body_util::combinators::UnsyncBoxBody;
use link::Keeper;
use metrics::Metrics;
use session::{Session, Shared};
use settings::Settings;
use spool::Spool;
use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

type AgentBody = UnsyncBoxBody<Bytes, hyper::Error>;

/// How long tasks may take to notice that the keeper is gone.
const END: Duration = Duration::from_secs(1);

/// Serves sessions until the keeper closes the socket. Blocks; has threads of its own.
pub fn run(socket: UnixStream) -> Result<(), ProxyError> {
    run_with(socket, PeerTables::open())
}

/// As [`run`], in a process that may not open files any more.
pub fn run_with(socket: UnixStream, peers: PeerTables) -> Result<(), ProxyError> {
    let start = |doing| move |source| ProxyError::Start { doing, source };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("exeat-proxy")
        .enable_all()
        .build()
        .map_err(start("starting threads"))?;
    let served = runtime.block_on(async {
        let _told = outlast_signals().map_err(start("taking signals"))?;
        serve(socket, peers).await
    });
    runtime.shutdown_timeout(END);
    served
}

/// Whoever stops a service tells all of its processes, as systemd and terminals do. Requests under way end before this one does: when that
/// is, the keeper says by closing the socket.
fn outlast_signals() -> std::io::Result<[Signal; 3]> {
    Ok([signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?])
}

/// As [`run_with`], on the runtime of the caller.
pub async fn serve(socket: UnixStream, peers: PeerTables) -> Result<(), ProxyError> {
    let start = |source| ProxyError::Start { doing: "using the socket to the keeper", source };
    socket.set_nonblocking(true).map_err(start)?;
    let socket = Arc::new(tokio::net::UnixStream::from_std(socket).map_err(start)?);
    let mut reader = FrameReader::with_descriptors(Arc::clone(&socket));
    let configuration = match reader.next().await? {
        Some(ToProxy::Configure(configuration)) => configuration,
        Some(_) => return Err(ProxyError::Order("said something before it sent the configuration")),
        None => return Ok(()),
    };
    let metrics = Arc::new(Metrics::default());
    let (keeper, frames) = Keeper::new(Arc::clone(&metrics));
    let kill = CancellationToken::new();
    let proxy = Proxy::new(&configuration, keeper, metrics, Arc::new(peers), kill.clone())?;
    let _ended = kill.drop_guard();
    tokio::select! {
        ended = proxy.obey(reader) => ended,
        ended = write(FrameWriter::new(socket), frames) => ended,
    }
}

/// Writes what the process has to say, frame by frame.
async fn write(mut writer: FrameWriter, mut frames: mpsc::Receiver<Vec<u8>>) -> Result<(), ProxyError> {
    while let Some(mut frame) = frames.recv().await {
        // What waits goes along: one call for all.
        while let Ok(next) = frames.try_recv() {
            frame.extend(next);
        }
        writer.send_encoded(&frame, None).await?;
    }
    Ok(())
}

struct Proxy {
    shared: Arc<Shared>,
    sessions: HashMap<SessionNumber, Arc<Session>>,
}

impl Proxy {
    fn new(
        configuration: &ProxyConfiguration,
        keeper: Keeper,
        metrics: Arc<Metrics>,
        peers: Arc<PeerTables>,
        kill: CancellationToken,
    ) -> Result<Self, ProxyError> {
        let settings = Settings::new(configuration);
        let shared = Shared {
            gateway: Gateway::new(&configuration.gateway, Arc::clone(&metrics), kill.clone())?,
            spool: Spool::new(settings.spool.clone()),
            provider: Arc::new(rustls::crypto::ring::default_provider()),
            connections: Arc::new(Semaphore::new(settings.connections.clamp(1, Semaphore::MAX_PERMITS))),
            tasks: TaskTracker::new(),
            drain: kill.child_token(),
            keeper,
            metrics,
            peers,
            kill,
            settings,
        };
        Ok(Self { shared: Arc::new(shared), sessions: HashMap::new() })
    }

    /// Does what the keeper says, until it says no more.
    async fn obey(mut self, mut reader: FrameReader) -> Result<(), ProxyError> {
        let keeper = self.shared.keeper.clone();
        while let Some(message) = reader.next().await? {
            match message {
                ToProxy::Configure(_) => return Err(ProxyError::Order("sent a second configuration")),
                ToProxy::GatewayAddresses { addresses } => self.shared.gateway.set_addresses(addresses)?,
                ToProxy::Open(opening) => {
                    let listener = reader.take_descriptor()?;
                    let number = opening.session;
                    let answer = match Session::open(&self.shared, *opening, listener) {
                        Ok(session) => {
                            let ca_pem = session.authority.pem();
                            self.sessions.insert(number, session);
                            ToKeeper::Opened { session: number, ca_pem }
                        }
                        Err(why) => ToKeeper::OpenFailed { session: number, why },
                    };
                    self.tell(answer);
                }
                ToProxy::Close { session } => {
                    if let Some(session) = self.sessions.remove(&session) {
                        session.close();
                    }
                }
                ToProxy::Signed { id, result } => keeper.answered(id, result),
                ToProxy::Measure { id } => self.tell(ToKeeper::Measured { id, samples: self.samples() }),
                ToProxy::Drain => {
                    self.shared.drain.cancel();
                    self.shared.tasks.close();
                    let (tasks, keeper) = (self.shared.tasks.clone(), keeper.clone());
                    tokio::spawn(async move {
                        tasks.wait().await;
                        let _ = keeper.tell(&ToKeeper::Drained).await;
                    });
                }
            }
        }
        Ok(())
    }

    /// Says something when there is room for it. Whoever waited for that would not read meanwhile, and the keeper, with its own answers
    /// to get rid of, not either.
    fn tell(&self, message: ToKeeper) {
        let keeper = self.shared.keeper.clone();
        // A keeper that is gone ends the process anyway.
        tokio::spawn(async move { keeper.tell(&message).await });
    }

    #[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
    fn samples(&self) -> Vec<(String, f64)> {
        let mut samples = self.shared.metrics.samples();
        let (memory, files) = self.shared.spool.held();
        samples.push(("exeat_proxy_spool_bytes{in=\"memory\"}".to_owned(), memory as f64));
        samples.push(("exeat_proxy_spool_bytes{in=\"files\"}".to_owned(), files as f64));
        samples
    }
}
