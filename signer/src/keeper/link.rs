//! The keeper's side of the socket pair.
//!
//! One task reads what the proxy says and answers it, one writes. Either fails when the proxy breaks the protocol, goes away
//! or does not read for a while; then the keeper ends, since listeners and authorities of all sessions are gone.

use super::table::{Keeper, Now};
use crate::protocol::frame::{FrameError, FrameReader, FrameWriter, encode};
use crate::protocol::{Opening, ProxyConfiguration, SessionNumber, ToKeeper, ToProxy};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

/// Time in which the proxy must take a message.
const WRITE: Duration = Duration::from_secs(10);
/// Time in which it must answer one.
const ANSWER: Duration = Duration::from_secs(10);
/// Messages that wait to be written.
const QUEUE: usize = 1024;
/// Samples of one measurement.
const MAX_SAMPLES: usize = 512;

/// Why there is no proxy any more.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The protocol was broken, or the socket failed.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// It went away.
    #[error("the proxy process ended")]
    Gone,
    /// It does not read.
    #[error("the proxy process takes no messages any more")]
    Stuck,
}

/// What the proxy is asked for, and did not do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the proxy: {0}")]
pub struct ProxyRefusal(String);

/// A way to talk to the proxy. Clones share it.
#[derive(Clone, Debug)]
pub struct Link {
    queue: mpsc::Sender<(ToProxy, Option<OwnedFd>)>,
    waiting: Arc<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    openings: Mutex<HashMap<SessionNumber, oneshot::Sender<Result<String, ProxyRefusal>>>>,
    measurements: Mutex<Measurements>,
    drained: watch::Sender<bool>,
}

/// Samples: Prometheus name with labels, and value.
pub(crate) type Samples = Vec<(String, f64)>;

#[derive(Debug, Default)]
struct Measurements {
    last: u64,
    waiting: HashMap<u64, oneshot::Sender<Samples>>,
}

impl Link {
    /// Speaks over a socket. The future runs the conversation and ends with it; it must be polled.
    pub fn new(stream: UnixStream, keeper: Arc<Keeper>) -> (Self, impl Future<Output = LinkError>) {
        let stream = Arc::new(stream);
        let (queue, queued) = mpsc::channel(QUEUE);
        let waiting = Arc::new(Waiting {
            openings: Mutex::default(),
            measurements: Mutex::default(),
            drained: watch::Sender::new(false),
        });
        let link = Self { queue, waiting };
        let reading = read(FrameReader::new(Arc::clone(&stream)), link.clone(), keeper);
        let writing = write(FrameWriter::new(stream), queued);
        (link, async {
            tokio::select! { error = reading => error, error = writing => error }
        })
    }

    /// Tells the proxy what holds for all sessions.
    pub async fn configure(&self, configuration: ProxyConfiguration) {
        self.send(ToProxy::Configure(Box::new(configuration)), None).await;
    }

    /// Tells the proxy where the gateway's name leads now.
    pub async fn gateway_addresses(&self, addresses: Vec<SocketAddr>) {
        self.send(ToProxy::GatewayAddresses { addresses }, None).await;
    }

    /// Has the proxy serve a session on a listener; returns the PEM of the session's authority.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn open(&self, opening: Opening, listener: OwnedFd) -> Result<String, ProxyRefusal> {
        let (answer, answered) = oneshot::channel();
        let session = opening.session;
        lock(&self.waiting.openings).insert(session, answer);
        self.send(ToProxy::Open(Box::new(opening)), Some(listener)).await;
        let result = timeout(ANSWER, answered).await;
        lock(&self.waiting.openings).remove(&session);
        let pem = match result {
            Ok(Ok(result)) => result?,
            _ => return Err(ProxyRefusal("it does not answer".to_owned())),
        };
        if is_certificate(&pem) { Ok(pem) } else { Err(ProxyRefusal("it sent no certificate".to_owned())) }
    }

    /// Has the proxy close a session.
    pub async fn close(&self, session: SessionNumber) {
        self.send(ToProxy::Close { session }, None).await;
    }

    /// Asks what the proxy counted; `None` when it does not answer.
    pub async fn measure(&self) -> Option<Samples> {
        let (answer, answered) = oneshot::channel();
        let id = {
            let mut measurements = lock(&self.waiting.measurements);
            measurements.last = measurements.last.wrapping_add(1);
            let id = measurements.last;
            measurements.waiting.insert(id, answer);
            id
        };
        self.send(ToProxy::Measure { id }, None).await;
        let samples = timeout(ANSWER, answered).await;
        lock(&self.waiting.measurements).waiting.remove(&id);
        samples.ok().and_then(Result::ok)
    }

    /// Has the proxy take no more connections, and waits until those at work have ended; says whether they did in time.
    pub async fn drain(&self, deadline: Duration) -> bool {
        self.send(ToProxy::Drain, None).await;
        let mut drained = self.waiting.drained.subscribe();
        timeout(deadline, drained.wait_for(|drained| *drained)).await.is_ok_and(|result| result.is_ok())
    }

    /// Queues a message. When the conversation is over it goes nowhere, and the daemon is about to end.
    async fn send(&self, message: ToProxy, descriptor: Option<OwnedFd>) {
        let _ = self.queue.send((message, descriptor)).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn write(mut writer: FrameWriter, mut queued: mpsc::Receiver<(ToProxy, Option<OwnedFd>)>) -> LinkError {
    while let Some((message, descriptor)) = queued.recv().await {
        let frame = match encode(&message) {
            Ok(frame) => frame,
            Err(error) => return error.into(),
        };
        let descriptor = descriptor.as_ref().map(|descriptor| descriptor.as_fd());
        match timeout(WRITE, writer.send_encoded(&frame, descriptor)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error.into(),
            Err(_) => return LinkError::Stuck,
        }
    }
    LinkError::Gone
}

async fn read(mut reader: FrameReader, link: Link, keeper: Arc<Keeper>) -> LinkError {
    loop {
        match reader.next().await {
            Ok(Some(message)) => answer(message, &link, &keeper).await,
            Ok(None) => return LinkError::Gone,
            Err(error) => return error.into(),
        }
    }
}

async fn answer(message: ToKeeper, link: &Link, keeper: &Keeper) {
    match message {
        ToKeeper::Sign { id, session, request } => {
            let result = keeper.sign(session, &request, Now::read());
            link.send(ToProxy::Signed { id, result }, None).await;
        }
        ToKeeper::Opened { session, ca_pem } => opened(link, session, Ok(ca_pem)),
        // Text of the proxy goes to the orchestrator: short, and without controls.
        ToKeeper::OpenFailed { session, why } => {
            let why = why.chars().filter(|c| !c.is_control()).take(300).collect();
            opened(link, session, Err(ProxyRefusal(why)));
        }
        ToKeeper::Measured { id, mut samples } => {
            samples.truncate(MAX_SAMPLES);
            if let Some(answer) = lock(&link.waiting.measurements).waiting.remove(&id) {
                let _ = answer.send(samples);
            }
        }
        ToKeeper::Drained => {
            link.waiting.drained.send_replace(true);
        }
    }
}

fn opened(link: &Link, session: SessionNumber, result: Result<String, ProxyRefusal>) {
    match lock(&link.waiting.openings).remove(&session) {
        // Nobody waits any more: the session was closed, which the proxy hears next.
        None => tracing::warn!(session = session.0, "the proxy opened a session that nobody waits for"),
        Some(answer) => drop(answer.send(result)),
    }
}

/// One certificate in PEM, and nothing else: it is written to a file that programs trust.
fn is_certificate(pem: &str) -> bool {
    let body = pem
        .strip_prefix("-----BEGIN CERTIFICATE-----")
        .and_then(|rest| rest.trim_end().strip_suffix("-----END CERTIFICATE-----"));
    let base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=\r\n".contains(&byte);
    pem.len() <= 16 * 1024 && body.is_some_and(|body| body.len() > 64 && body.bytes().all(base64))
}
