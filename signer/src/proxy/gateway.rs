//! The way to the gateway: a few HTTP/2 connections that all sessions share, and connections of their own for what stops being
//! HTTP. Plain only over loopback.
//!
//! An agent that does not read its answers holds the window of its streams. Each connection's window is that of all its streams
//! together, so that nobody else waits for it.

mod dial;

use super::ProxyError;
use super::metrics::{Gauge, Metrics};
use super::settings::CONNECT;
use super::spool::Outgoing;
use crate::protocol::GatewayConfiguration;
use dial::Dialler;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Requests of one connection at once; gateways allow 100.
const STREAMS: usize = 32;

/// Requests of all connections at once.
const REQUESTS: usize = 128 * STREAMS;

/// Bytes of an answer that may be under way. Times [`REQUESTS`] it is what agents that read nothing can make the process hold.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS as u32;

/// Bytes of the head of an answer.
const ANSWER_HEAD: u32 = 256 * 1024;

/// How long a connection that is not needed stays.
const UNUSED: Duration = Duration::from_secs(60);

/// How often a connection without traffic is tried, and how long its answer may take.
const PING: Duration = Duration::from_secs(20);

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum SendError {
    /// No connection; nothing was sent.
    Unreachable(Arc<str>),
    /// The connection ended, and the gateway did not see the request.
    Unseen,
    /// The connection ended, and what the gateway did is not known.
    Broken(String),
    /// No answer in time.
    Silent,
}

/// An answer; while it is read, its place on the connection is taken.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) response: Response<Incoming>,
    pub(crate) place: Option<Slot>,
}

/// A place among the requests at work.
#[derive(Debug)]
pub(crate) struct Slot(#[expect(dead_code, reason = "held, not used")] [OwnedSemaphorePermit; 2]);

#[derive(Clone)]
struct Channel {
    sender: http2::SendRequest<Outgoing>,
    streams: Arc<Semaphore>,
    used: Instant,
}

/// The gateway.
pub(crate) struct Gateway {
    dialler: Dialler,
    channels: Mutex<Vec<Channel>>,
    requests: Arc<Semaphore>,
    /// Held by whoever connects; what came of it last, and when.
    connecting: tokio::sync::Mutex<Option<(Instant, Arc<str>)>>,
    metrics: Arc<Metrics>,
    kill: CancellationToken,
}

impl Gateway {
    /// Reads the configuration; connects to nobody yet.
    pub(crate) fn new(
        configuration: &GatewayConfiguration,
        metrics: Arc<Metrics>,
        kill: CancellationToken,
    ) -> Result<Self, ProxyError> {
        Ok(Self {
            dialler: Dialler::new(configuration)?,
            channels: Mutex::default(),
            requests: Arc::new(Semaphore::new(REQUESTS)),
            connecting: tokio::sync::Mutex::default(),
            metrics,
            kill,
        })
    }

    /// `:scheme` of requests to it.
    pub(crate) fn scheme(&self) -> http::uri::Scheme {
        self.dialler.scheme()
    }

    /// Its name leads elsewhere now. Connections that there are stay.
    pub(crate) fn set_addresses(&self, addresses: Vec<SocketAddr>) -> Result<(), ProxyError> {
        self.dialler.set_addresses(addresses)
    }

    /// Sends a request over HTTP/2 and waits for the head of its answer, `limit` at most from the last byte that left.
    pub(crate) async fn send(
        &self,
        request: Request<Outgoing>,
        progress: &AtomicU64,
        limit: Duration,
    ) -> Result<Answer, SendError> {
        let full = || SendError::Unreachable("too many requests are at work".into());
        let taken = tokio::time::timeout(CONNECT, Arc::clone(&self.requests).acquire_owned());
        let request_slot = taken.await.ok().and_then(Result::ok).ok_or_else(full)?;
        let (mut sender, stream_slot) = self.channel().await?;
        if sender.ready().await.is_err() {
            return Err(SendError::Unseen);
        }
        let sent = sender.send_request(request);
        let response = patient(sent, progress, limit).await?.map_err(|error| classify(&error))?;
        Ok(Answer { response, place: Some(Slot([request_slot, stream_slot])) })
    }

    /// Sends a request over HTTP/1.1 on a connection that is for it alone, and may stop being HTTP.
    pub(crate) async fn send_alone(&self, request: Request<Outgoing>, limit: Duration) -> Result<Answer, SendError> {
        let stream = self.dial(dial::Protocol::Http1).await?;
        let (mut sender, connection) = http1::Builder::new()
            .handshake::<_, Outgoing>(TokioIo::new(stream))
            .await
            .map_err(|error| SendError::Broken(error.to_string()))?;
        let (kill, gauge) = (self.kill.clone(), self.metrics.gateway_connection());
        tokio::spawn(async move {
            let _gauge = gauge;
            tokio::select! {
                _ = connection.with_upgrades() => {}
                () = kill.cancelled() => {}
            }
        });
        let response = patient(sender.send_request(request), &AtomicU64::new(0), limit).await?;
        Ok(Answer { response: response.map_err(|error| classify(&error))?, place: None })
    }

    async fn dial(&self, protocol: dial::Protocol) -> Result<dial::Stream, SendError> {
        let dialled = tokio::time::timeout(CONNECT, self.dialler.dial(protocol)).await;
        let dialled = dialled.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        self.metrics.gateway_up(dialled.is_ok());
        dialled.map_err(|error| {
            self.metrics.gateway_connect_failed();
            tracing::warn!(%error, "the gateway cannot be reached");
            SendError::Unreachable(error.to_string().into())
        })
    }

    /// A connection with a free place. Only one connects at a time; who waited while it failed does not try again.
    async fn channel(&self) -> Result<(http2::SendRequest<Outgoing>, OwnedSemaphorePermit), SendError> {
        let asked = Instant::now();
        if let Some(found) = self.free() {
            return Ok(found);
        }
        let mut failure = self.connecting.lock().await;
        if let Some(found) = self.free() {
            return Ok(found);
        }
        if let Some((_, why)) = failure.as_ref().filter(|(when, _)| *when >= asked) {
            return Err(SendError::Unreachable(Arc::clone(why)));
        }
        match self.connect().await {
            Ok(channel) => {
                let slot = Arc::clone(&channel.streams).try_acquire_owned();
                let sender = channel.sender.clone();
                self.channels().push(channel);
                Ok((sender, slot.map_err(|_| SendError::Unseen)?))
            }
            Err(error) => {
                if let SendError::Unreachable(why) = &error {
                    *failure = Some((Instant::now(), Arc::clone(why)));
                }
                Err(error)
            }
        }
    }

    async fn connect(&self) -> Result<Channel, SendError> {
        let stream = self.dial(dial::Protocol::Http2).await?;
        let handshake = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(ANSWER_HEAD)
            .max_concurrent_streams(0)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            // Else the next request would be the one that finds out that nobody is there any more.
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream));
        let (sender, connection) = handshake.await.map_err(|error| SendError::Unreachable(error.to_string().into()))?;
        let (kill, gauge): (CancellationToken, Gauge) = (self.kill.clone(), self.metrics.gateway_connection());
        tokio::spawn(async move {
            let _gauge = gauge;
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    tracing::info!(%error, "a connection to the gateway ended");
                },
                () = kill.cancelled() => {}
            }
        });
        Ok(Channel { sender, streams: Arc::new(Semaphore::new(STREAMS)), used: Instant::now() })
    }

    /// The first connection with a free place. Those that ended, or that were not needed for long, go.
    fn free(&self) -> Option<(http2::SendRequest<Outgoing>, OwnedSemaphorePermit)> {
        let now = Instant::now();
        let mut channels = self.channels();
        let mut kept = 0_usize;
        channels.retain(|channel| {
            let idle = channel.streams.available_permits() == STREAMS && now.duration_since(channel.used) > UNUSED;
            let keep = !(channel.sender.is_closed() || (idle && kept > 0));
            kept = kept.saturating_add(usize::from(keep));
            keep
        });
        channels.iter_mut().find_map(|channel| {
            let slot = Arc::clone(&channel.streams).try_acquire_owned().ok()?;
            channel.used = now;
            Some((channel.sender.clone(), slot))
        })
    }

    fn channels(&self) -> MutexGuard<'_, Vec<Channel>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits `limit` for an answer, and as long again whenever some of the body left meanwhile.
async fn patient<F: Future>(answer: F, progress: &AtomicU64, limit: Duration) -> Result<F::Output, SendError> {
    let mut answer = std::pin::pin!(answer);
    loop {
        let before = progress.load(Ordering::Relaxed);
        match tokio::time::timeout(limit, answer.as_mut()).await {
            Ok(answered) => return Ok(answered),
            Err(_) if progress.load(Ordering::Relaxed) > before => {}
            Err(_) => return Err(SendError::Silent),
        }
    }
}

/// Whether the gateway has seen a request whose connection ended.
fn classify(error: &hyper::Error) -> SendError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut refused = error.is_canceled();
    while let Some(current) = cause {
        if let Some(h2) = current.downcast_ref::<h2::Error>() {
            // RFC 9113 section 8.7: REFUSED_STREAM, and streams beyond the last of GOAWAY, were not processed.
            refused |= h2.reason() == Some(h2::Reason::REFUSED_STREAM)
                || (h2.is_go_away() && h2.is_remote() && h2.reason() == Some(h2::Reason::NO_ERROR));
        }
        cause = current.source();
    }
    if refused { SendError::Unseen } else { SendError::Broken(error.to_string()) }
}
