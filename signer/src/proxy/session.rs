//! A session as the proxy serves it: its listener, its connections, its certificate authority.

use super::activity::{Activity, Watched};
use super::authority::SessionAuthority;
use super::gateway::Gateway;
use super::link::Keeper;
use super::metrics::{Gauge, Metrics};
use super::peers::{PasswordDigest, PeerTables};
use super::settings::{GRACE, LIFE, STREAMS, Settings};
use super::spool::{Share, Spool};
use super::{agent, problem};
use crate::protocol::{Opening, SessionNumber};
use http::HeaderMap;
use problem::{Problem, Refusal};
use rustix::net::AddressFamily;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long no connection is accepted after the system could not give one.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// What all sessions use.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) keeper: Keeper,
    pub(crate) gateway: Gateway,
    pub(crate) spool: Spool,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) peers: Arc<PeerTables>,
    pub(crate) provider: Arc<rustls::crypto::CryptoProvider>,
    pub(crate) connections: Arc<Semaphore>,
    pub(crate) tasks: TaskTracker,
    pub(crate) drain: CancellationToken,
    pub(crate) kill: CancellationToken,
}

/// One session.
pub(crate) struct Session {
    pub(crate) number: SessionNumber,
    pub(crate) name: String,
    pub(crate) shared: Arc<Shared>,
    pub(crate) authority: SessionAuthority,
    pub(crate) share: Share,
    /// Requests at work.
    pub(crate) exchanges: Arc<Semaphore>,
    /// Requests that wait until they may be. Their heads take memory.
    pub(crate) queue: Arc<Semaphore>,
    password: Option<PasswordDigest>,
    uids: Vec<u32>,
    tunnels: HashSet<String>,
    idle: Duration,
    connections: Arc<Semaphore>,
    drain: CancellationToken,
    kill: CancellationToken,
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Session {
    /// Begins to serve. What is wrong is said to the orchestrator.
    pub(crate) fn open(shared: &Arc<Shared>, opening: Opening, listener: OwnedFd) -> Result<Arc<Self>, String> {
        let listener = Listener::new(listener)?;
        let digest = |text: &String| PasswordDigest::from_hex(text).ok_or("the password digest is no SHA-256 in hex");
        let password = opening.password_sha256.as_ref().map(digest).transpose()?;
        if matches!(listener, Listener::Tcp(_)) && password.is_none() {
            return Err("a session on TCP needs a password: any process on the machine can connect".to_owned());
        }
        let connections = usize::try_from(opening.connections.max(1)).unwrap_or(Semaphore::MAX_PERMITS);
        let authority = SessionAuthority::new(&opening.name, Arc::clone(&shared.provider), Arc::clone(&shared.metrics))
            .map_err(|error| error.to_string())?;
        let exchanges = connections.max(usize::try_from(STREAMS).unwrap_or(1)).min(Semaphore::MAX_PERMITS);
        let session = Arc::new(Self {
            number: opening.session,
            name: opening.name,
            shared: Arc::clone(shared),
            authority,
            share: Share::default(),
            exchanges: Arc::new(Semaphore::new(exchanges)),
            queue: Arc::new(Semaphore::new(exchanges)),
            password,
            uids: opening.uids,
            tunnels: opening.tunnels.into_iter().collect(),
            idle: Duration::from_secs(u64::from(opening.idle_seconds.max(1))),
            connections: Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS))),
            drain: shared.drain.child_token(),
            kill: shared.kill.child_token(),
        });
        shared.tasks.spawn(Arc::clone(&session).accept(listener));
        Ok(session)
    }

    /// Ends the session and everything that goes on in it.
    pub(crate) fn close(&self) {
        self.kill.cancel();
    }

    /// Whether CONNECT to this authority is passed on blind.
    pub(crate) fn may_tunnel(&self, authority: &str) -> bool {
        self.tunnels.contains(authority)
    }

    async fn accept(self: Arc<Self>, listener: Listener) {
        loop {
            let accepted = tokio::select! {
                accepted = self.next(&listener) => accepted,
                () = self.drain.cancelled() => return,
                () = self.kill.cancelled() => return,
            };
            match accepted {
                Ok((accepted, slot)) => {
                    let Ok(place) = Arc::clone(&self.shared.connections).try_acquire_owned() else {
                        self.shared.metrics.turned_away();
                        continue;
                    };
                    let session = Arc::clone(&self);
                    self.shared.tasks.spawn(session.serve(accepted, [slot, place]));
                }
                Err(error) => {
                    tracing::warn!(session = self.name, %error, "no connection can be accepted");
                    tokio::time::sleep(EXHAUSTED).await;
                }
            }
        }
    }

    /// The next connection, when there is room for one; until then the kernel's queue holds them.
    async fn next(&self, listener: &Listener) -> std::io::Result<(Accepted, OwnedSemaphorePermit)> {
        let slot = Arc::clone(&self.connections).acquire_owned().await.map_err(std::io::Error::other)?;
        let accepted = match listener {
            Listener::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Accepted::Tcp(stream, peer)
            }
            Listener::Unix(listener) => Accepted::Unix(listener.accept().await?.0),
        };
        Ok((accepted, slot))
    }

    async fn serve(self: Arc<Self>, accepted: Accepted, places: [OwnedSemaphorePermit; 2]) {
        let known = self.knows(&accepted).await;
        let connection = Arc::new(Connection {
            activity: Activity::new(),
            heads: Arc::new(AtomicBool::new(true)),
            known,
            drain: self.drain.child_token(),
            kill: self.kill.child_token(),
            session: Arc::clone(&self),
            _places: places,
            _gauge: self.shared.metrics.connection(),
        });
        match accepted {
            Accepted::Tcp(stream, _) => agent::serve(connection, stream).await,
            Accepted::Unix(stream) => agent::serve(connection, stream).await,
        }
    }

    /// Whether the system names a user that the session is for.
    async fn knows(&self, accepted: &Accepted) -> bool {
        if self.uids.is_empty() {
            return true;
        }
        let owner = match accepted {
            Accepted::Unix(stream) => stream.peer_cred().ok().map(|peer| peer.uid()),
            Accepted::Tcp(stream, peer) => {
                let (Ok(here), peer, peers) = (stream.local_addr(), *peer, Arc::clone(&self.shared.peers)) else {
                    return false;
                };
                tokio::task::spawn_blocking(move || peers.owner(peer, here)).await.ok().flatten()
            }
        };
        owner.is_some_and(|uid| self.uids.contains(&uid))
    }
}

impl Listener {
    fn new(descriptor: OwnedFd) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("the listening socket cannot be used: {error}");
        let address = rustix::net::getsockname(&descriptor).map_err(|error| failed(error.into()))?;
        match address.address_family() {
            AddressFamily::UNIX => {
                let listener = std::os::unix::net::UnixListener::from(descriptor);
                listener.set_nonblocking(true).map_err(failed)?;
                UnixListener::from_std(listener).map(Self::Unix).map_err(failed)
            }
            AddressFamily::INET | AddressFamily::INET6 => {
                let listener = std::net::TcpListener::from(descriptor);
                listener.set_nonblocking(true).map_err(failed)?;
                TcpListener::from_std(listener).map(Self::Tcp).map_err(failed)
            }
            _ => Err("the listening socket is neither TCP nor Unix".to_owned()),
        }
    }
}

/// A connection of an agent, with everything that comes of it: tunnels, upgrades.
pub(crate) struct Connection {
    pub(crate) session: Arc<Session>,
    pub(crate) activity: Arc<Activity>,
    /// Whether what the agent sends now is HTTP/1.
    pub(crate) heads: Arc<AtomicBool>,
    pub(crate) drain: CancellationToken,
    pub(crate) kill: CancellationToken,
    known: bool,
    _places: [OwnedSemaphorePermit; 2],
    _gauge: Gauge,
}

impl Connection {
    /// Whether whoever connected may use the session, and shows its password.
    pub(crate) fn admit(&self, headers: &HeaderMap) -> Result<(), Problem> {
        if !self.known {
            return Err(Refusal::PeerForbidden.into());
        }
        match &self.session.password {
            Some(password) if !password.admits(headers) => Err(Refusal::CredentialsMissing.into()),
            _ => Ok(()),
        }
    }

    /// The agent's stream, its bytes noticed.
    pub(crate) fn watch<S>(&self, stream: S) -> Watched<S> {
        Watched::new(stream, &self.activity, Arc::clone(&self.heads))
    }

    /// Does something until the session ends, nothing happens for too long, or the connection has lived long enough.
    pub(crate) async fn until_over<F: Future>(&self, work: F) -> Option<F::Output> {
        tokio::select! {
            done = work => Some(done),
            () = self.kill.cancelled() => None,
            () = self.activity.expired(self.session.shared.settings.head, self.session.idle) => None,
            () = self.aged() => None,
        }
    }

    async fn aged(&self) {
        tokio::time::sleep(LIFE).await;
        self.drain.cancel();
        tokio::time::sleep(GRACE).await;
    }
}
