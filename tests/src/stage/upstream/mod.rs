//! An upstream that remembers: HTTP/1.1 and HTTP/2 without TLS on one port. Each request is recorded when its head arrives
//! and grows while its body does, so that a test sees what has left so far, not only what was completed.
//!
//! [`Upstream::requests`] is what a server understood; [`Upstream::wire`] is the bytes themselves, for what a parser would
//! hide (case, order, refused requests) and to prove that something occurs nowhere.

mod reply;
mod tap;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use exeat_engine::hex::hex;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use sha2::{Digest, Sha256};

pub use reply::Reply;
use tap::{Tap, Wire};

use super::runtime::Background;
use super::silent::listen;
use super::{Error, Result};

/// What an upstream understood of a request.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// HTTP/1.0, HTTP/1.1 or HTTP/2.
    pub version: http::Version,
    /// The method.
    pub method: String,
    /// Path and query as they came.
    pub path: String,
    /// `:authority`, or that of an absolute target, or else the first `host` field.
    pub authority: Option<String>,
    /// Field lines: lower-case name, value bytes. In order of arrival, but for repeated names, which stand together.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The first [`BODY_CAP`] bytes of the body.
    pub body: Vec<u8>,
    /// Length of the body that came.
    pub body_length: u64,
    /// SHA-256 of the body that came, lower-case hex.
    pub body_sha256: String,
    /// Fields after the body.
    pub trailers: Vec<(String, Vec<u8>)>,
    /// How far it has come.
    pub progress: Progress,
    /// Who sent it.
    pub peer: SocketAddr,
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The head is here, the body not yet whole.
    Receiving,
    /// All of it came.
    Complete,
    /// It broke off.
    Aborted,
}

impl Recorded {
    /// The first value of a field.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_slice())
    }

    /// All values of a field.
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        self.headers.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_slice()).collect()
    }

    fn append(&mut self, data: &[u8], digest: &str) {
        let room = BODY_CAP.saturating_sub(self.body.len()).min(data.len());
        self.body.extend_from_slice(data.get(..room).unwrap_or_default());
        self.body_length += data.len() as u64;
        digest.clone_into(&mut self.body_sha256);
    }
}

/// So many bytes of each body are kept; its length and digest are those of all of it.
pub const BODY_CAP: usize = 1 << 20;

type Responder = dyn Fn(&Recorded) -> Reply + Send + Sync;

/// A running upstream.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    memory: Arc<Memory>,
    _task: Background,
}

impl Upstream {
    /// On a free port of 127.0.0.1; answers 200 with a JSON account of what it received ([`Reply::echo`]).
    pub fn start() -> Result<Self> {
        Self::start_with(Reply::echo)
    }

    /// As [`Upstream::start`], with answers of one's own. `responder` is asked when the request is complete; it must not
    /// block.
    pub fn start_with(responder: impl Fn(&Recorded) -> Reply + Send + Sync + 'static) -> Result<Self> {
        Self::bind((Ipv4Addr::LOCALHOST, 0).into(), responder)
    }

    /// On another loopback address, such as 127.0.0.2 with a port that is used on 127.0.0.1 too.
    pub fn bind(address: SocketAddr, responder: impl Fn(&Recorded) -> Reply + Send + Sync + 'static) -> Result<Self> {
        let (listener, address) = listen(address)?;
        let memory = Arc::new(Memory::default());
        let task = Background::start(serve(listener, Arc::clone(&memory), Arc::new(responder)))?;
        Ok(Self { address, memory, _task: task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests have come, those that [`Upstream::take`] took included.
    pub fn count(&self) -> usize {
        self.memory.lock().count
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> usize {
        self.memory.lock().wires.len()
    }

    /// The requests so far, in the order in which their heads came.
    pub fn requests(&self) -> Vec<Recorded> {
        self.memory.lock().requests.iter().map(|(_, request)| request.clone()).collect()
    }

    /// As [`Upstream::requests`], and forgets them.
    pub fn take(&self) -> Vec<Recorded> {
        std::mem::take(&mut self.memory.lock().requests).into_iter().map(|(_, request)| request).collect()
    }

    /// Waits until `count` of the requests not yet taken have come to an end, and returns all.
    pub fn wait_for(&self, count: usize, limit: Duration) -> Result<Vec<Recorded>> {
        let ended = |request: &&Recorded| request.progress != Progress::Receiving;
        self.wait_until(&format!("{count} finished requests"), limit, |requests| {
            requests.iter().filter(ended).count() >= count
        })
    }

    /// Waits until the requests are as `enough` wants them, and returns them.
    pub fn wait_until(
        &self,
        awaited: &str,
        limit: Duration,
        enough: impl Fn(&[Recorded]) -> bool,
    ) -> Result<Vec<Recorded>> {
        let end = Instant::now() + limit;
        let mut contents = self.memory.lock();
        loop {
            let requests: Vec<Recorded> = contents.requests.iter().map(|(_, request)| request.clone()).collect();
            if enough(&requests) {
                return Ok(requests);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let problem = format!("no {awaited} within {limit:?}; it has {requests:#?}");
                return Err(Error::protocol(format!("upstream {}", self.address), problem));
            }
            contents = self.memory.wait(contents, left);
        }
    }

    /// The bytes that came, one entry a connection, each up to 4 MiB.
    pub fn wire(&self) -> Vec<Vec<u8>> {
        self.memory.lock().wires.iter().map(Wire::bytes).collect()
    }

    /// How many bytes came on all connections.
    pub fn bytes_received(&self) -> u64 {
        self.memory.lock().wires.iter().map(Wire::length).sum()
    }

    /// Whether these bytes came on some connection, within what [`Upstream::wire`] keeps. HTTP/2 compresses fields: there
    /// only bodies can be found.
    pub fn wire_contains(&self, needle: &[u8]) -> bool {
        self.wire().iter().any(|bytes| bytes.windows(needle.len()).any(|window| window == needle))
    }
}

#[derive(Debug, Default)]
struct Memory {
    contents: Mutex<Contents>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Contents {
    /// With a number each, because taking some must not mix up those still growing.
    requests: Vec<(usize, Recorded)>,
    count: usize,
    wires: Vec<Wire>,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, guard: MutexGuard<'a, Contents>, limit: Duration) -> MutexGuard<'a, Contents> {
        self.changed.wait_timeout(guard, limit).unwrap_or_else(PoisonError::into_inner).0
    }

    fn add(&self, request: Recorded) -> usize {
        let mut contents = self.lock();
        let number = contents.count;
        contents.count += 1;
        contents.requests.push((number, request));
        self.changed.notify_all();
        number
    }

    /// Changes a request unless it was taken meanwhile.
    fn change(&self, number: usize, change: impl FnOnce(&mut Recorded)) {
        if let Some((_, request)) = self.lock().requests.iter_mut().find(|(own, _)| *own == number) {
            change(request);
        }
        self.changed.notify_all();
    }
}

async fn serve(listener: std::net::TcpListener, memory: Arc<Memory>, responder: Arc<Responder>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    // Connections end with the listener.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, peer)) = listener.accept().await {
        // Else head and body of an answer wait 40 ms for each other. A failure shows in what follows.
        let _ = stream.set_nodelay(true);
        let wire = Wire::default();
        memory.lock().wires.push(wire.clone());
        let (memory, responder) = (Arc::clone(&memory), Arc::clone(&responder));
        connections.spawn(async move {
            let service = service_fn(move |request| answer(request, peer, Arc::clone(&memory), Arc::clone(&responder)));
            // Errors of a connection show in what was recorded.
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(Tap::new(stream, wire)), service)
                .await;
        });
    }
}

async fn answer(
    request: http::Request<Incoming>,
    peer: SocketAddr,
    memory: Arc<Memory>,
    responder: Arc<Responder>,
) -> std::io::Result<http::Response<reply::Body>> {
    let (head, body) = request.into_parts();
    let mut recorded = recorded_head(&head, peer);
    let number = memory.add(recorded.clone());
    let ending = Ending { memory: &memory, number };
    receive(body, &mut recorded, &memory, number).await;
    drop(ending);
    if recorded.progress != Progress::Complete {
        return Err(std::io::Error::other("the request broke off"));
    }
    responder(&recorded).into_response().await
}

/// Marks a request that has not become complete as aborted, also when hyper drops us because its stream was reset.
struct Ending<'a> {
    memory: &'a Memory,
    number: usize,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.memory.change(self.number, |request| {
            if request.progress == Progress::Receiving {
                request.progress = Progress::Aborted;
            }
        });
    }
}

fn recorded_head(head: &http::request::Parts, peer: SocketAddr) -> Recorded {
    let host =
        || head.headers.get(http::header::HOST).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    Recorded {
        version: head.version,
        method: head.method.to_string(),
        path: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        authority: head.uri.authority().map(ToString::to_string).or_else(host),
        headers: fields(&head.headers),
        body: Vec::new(),
        body_length: 0,
        body_sha256: hex(&Sha256::digest(b"")),
        trailers: Vec::new(),
        progress: Progress::Receiving,
        peer,
    }
}

/// Reads the body into `recorded` and into its twin in memory, which others may read or take meanwhile.
async fn receive(mut body: Incoming, recorded: &mut Recorded, memory: &Memory, number: usize) {
    let mut digest = Sha256::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return };
        match frame.into_data() {
            Ok(data) => {
                digest.update(&data);
                let so_far = hex(&digest.clone().finalize());
                recorded.append(&data, &so_far);
                memory.change(number, |twin| twin.append(&data, &so_far));
            }
            Err(frame) => recorded.trailers = frame.trailers_ref().map(fields).unwrap_or_default(),
        }
    }
    recorded.progress = Progress::Complete;
    memory.change(number, |twin| {
        twin.trailers.clone_from(&recorded.trailers);
        twin.progress = Progress::Complete;
    });
}

fn fields(map: &http::HeaderMap) -> Vec<(String, Vec<u8>)> {
    map.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}

#[cfg(test)]
mod tests;
