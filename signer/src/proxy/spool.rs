//! Where a request's body waits until its digest is known: in memory, beyond a bound in a file that has no name.

use super::problem::{Problem, Refusal};
use super::settings::{SLOWEST, Settings};
use crate::protocol::SpoolConfiguration;
use base64::Engine as _;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, SizeHint};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::future::Future as _;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Bytes that are written to a file, or read from one, at once.
const PIECE: usize = 128 * 1024;

/// The spool of the process.
#[derive(Debug)]
pub(crate) struct Spool {
    bounds: SpoolConfiguration,
    memory: Arc<AtomicU64>,
    files: Arc<AtomicU64>,
}

/// What one session holds of the spool; at most half of each kind, so that none keeps the others out.
#[derive(Debug, Default)]
pub(crate) struct Share {
    memory: Arc<AtomicU64>,
    files: Arc<AtomicU64>,
}

/// Bytes that are taken, until it is dropped.
#[derive(Debug)]
struct Taken {
    counters: [Arc<AtomicU64>; 2],
    bytes: u64,
}

impl Taken {
    fn nothing(total: &Arc<AtomicU64>, share: &Arc<AtomicU64>) -> Self {
        Self { counters: [Arc::clone(total), Arc::clone(share)], bytes: 0 }
    }

    /// Takes more; false when that would be beyond a bound, and then nothing changes.
    fn more(&mut self, bytes: u64, limits: [u64; 2]) -> bool {
        for (index, (counter, limit)) in self.counters.iter().zip(limits).enumerate() {
            let add = |held: u64| held.checked_add(bytes).filter(|sum| *sum <= limit);
            if counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_err() {
                for taken in self.counters.iter().take(index) {
                    taken.fetch_sub(bytes, Ordering::Relaxed);
                }
                return false;
            }
        }
        self.bytes = self.bytes.saturating_add(bytes);
        true
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        for counter in &self.counters {
            counter.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

#[derive(Clone, Debug)]
enum Held {
    Memory(Bytes),
    File(Arc<File>),
}

/// A body of at least one byte that is here whole.
#[derive(Debug)]
pub(crate) struct Spooled {
    held: Held,
    length: u64,
    digest: [u8; 32],
    _taken: Taken,
}

impl Spooled {
    /// `Content-Digest` (RFC 9530).
    pub(crate) fn content_digest(&self) -> String {
        format!("sha-256=:{}:", base64::engine::general_purpose::STANDARD.encode(self.digest))
    }

    /// Bytes.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// To be sent; again, when it must be.
    pub(crate) fn outgoing(self: &Arc<Self>, progress: &Arc<AtomicU64>) -> Outgoing {
        Outgoing { body: Some(Arc::clone(self)), sent: 0, reading: None, progress: Arc::clone(progress) }
    }
}

impl Spool {
    /// An empty one.
    pub(crate) fn new(bounds: SpoolConfiguration) -> Self {
        Self { bounds, memory: Arc::default(), files: Arc::default() }
    }

    /// What is held now, for metrics: bytes in memory, bytes in files.
    pub(crate) fn held(&self) -> (u64, u64) {
        (self.memory.load(Ordering::Relaxed), self.files.load(Ordering::Relaxed))
    }

    /// Takes a body in whole. `None` when it has no byte.
    pub(crate) async fn take<B>(
        &self,
        share: &Share,
        settings: &Settings,
        headers: &HeaderMap,
        mut body: B,
    ) -> Result<Option<Spooled>, Problem>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > self.bounds.body) {
            return Err(Refusal::PayloadTooLarge.into());
        }
        let mut intake = Intake::new(self, share);
        let start = Instant::now();
        loop {
            let slowest = Duration::from_secs(intake.length.checked_div(SLOWEST).unwrap_or_default());
            let deadline = (Instant::now() + settings.body).min(start + settings.body + slowest);
            let frame = tokio::time::timeout_at(deadline, body.frame()).await.map_err(|_| Refusal::BodySlow)?;
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|_| Refusal::BodyBroken)?;
            match frame.into_data() {
                Ok(data) => intake.add(&data).await?,
                Err(_) => return Err(Problem::new(Refusal::RequestMalformed, "Trailers are not taken.")),
            }
        }
        if announced.is_some_and(|length| length != intake.length) {
            return Err(Refusal::BodyBroken.into());
        }
        intake.finish().await
    }
}

/// A body as it comes in.
struct Intake<'a> {
    spool: &'a Spool,
    share: &'a Share,
    buffer: BytesMut,
    file: Option<Arc<File>>,
    hash: Sha256,
    length: u64,
    taken: Taken,
}

impl<'a> Intake<'a> {
    fn new(spool: &'a Spool, share: &'a Share) -> Self {
        let taken = Taken::nothing(&spool.memory, &share.memory);
        Self { spool, share, buffer: BytesMut::new(), file: None, hash: Sha256::new(), length: 0, taken }
    }

    async fn add(&mut self, data: &[u8]) -> Result<(), Problem> {
        let bytes = data.len() as u64;
        self.length = self.length.saturating_add(bytes);
        let bounds = &self.spool.bounds;
        if self.length > bounds.body {
            return Err(Refusal::PayloadTooLarge.into());
        }
        if self.file.is_none() {
            let limits = [bounds.total_memory, half(bounds.total_memory)];
            if self.length > bounds.body_memory || !self.taken.more(bytes, limits) {
                self.move_to_file().await?;
            }
        }
        if self.file.is_some() && !self.taken.more(bytes, [bounds.total_files, half(bounds.total_files)]) {
            return Err(Refusal::SpoolFull.into());
        }
        self.hash.update(data);
        self.buffer.extend_from_slice(data);
        if self.file.is_some() && self.buffer.len() >= PIECE {
            self.write().await?;
        }
        Ok(())
    }

    async fn move_to_file(&mut self) -> Result<(), Problem> {
        let bounds = &self.spool.bounds;
        let mut taken = Taken::nothing(&self.spool.files, &self.share.files);
        if !taken.more(self.taken.bytes, [bounds.total_files, half(bounds.total_files)]) {
            return Err(Refusal::SpoolFull.into());
        }
        let directory = bounds.directory.clone();
        let made = tokio::task::spawn_blocking(move || tempfile::tempfile_in(directory)).await;
        let file = made.map_err(std::io::Error::other).flatten().map_err(|error| failed("made", &error))?;
        self.file = Some(Arc::new(file));
        self.taken = taken;
        Ok(())
    }

    async fn write(&mut self) -> Result<(), Problem> {
        let Some(file) = &self.file else { return Ok(()) };
        let (file, piece) = (Arc::clone(file), self.buffer.split().freeze());
        let written = tokio::task::spawn_blocking(move || (&*file).write_all(&piece)).await;
        written.map_err(std::io::Error::other).flatten().map_err(|error| failed("written", &error))
    }

    async fn finish(mut self) -> Result<Option<Spooled>, Problem> {
        if self.length == 0 {
            return Ok(None);
        }
        self.write().await?;
        let held = match self.file {
            Some(file) => Held::File(file),
            None => Held::Memory(self.buffer.freeze()),
        };
        Ok(Some(Spooled { held, length: self.length, digest: self.hash.finalize().into(), _taken: self.taken }))
    }
}

fn half(bytes: u64) -> u64 {
    bytes.div_ceil(2)
}

fn failed(what: &str, error: &std::io::Error) -> Problem {
    tracing::error!(%error, "a file of the spool could not be {what}");
    Refusal::SpoolFull.into()
}

/// A body on its way to the gateway; without one, an empty body.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    body: Option<Arc<Spooled>>,
    sent: u64,
    reading: Option<JoinHandle<std::io::Result<Bytes>>>,
    progress: Arc<AtomicU64>,
}

impl Outgoing {
    fn left(&self) -> u64 {
        self.body.as_ref().map_or(0, |body| body.length.saturating_sub(self.sent))
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let left = self.left();
        let Some(body) = self.body.clone().filter(|_| left > 0) else { return Poll::Ready(None) };
        let data = match &body.held {
            Held::Memory(bytes) => bytes.clone(),
            Held::File(file) => {
                let sent = self.sent;
                let reading = self.reading.get_or_insert_with(|| {
                    let file = Arc::clone(file);
                    tokio::task::spawn_blocking(move || read(&file, sent, left))
                });
                let read = ready!(Pin::new(reading).poll(cx));
                self.reading = None;
                match read.map_err(std::io::Error::other).flatten() {
                    Ok(bytes) => bytes,
                    Err(error) => return Poll::Ready(Some(Err(error))),
                }
            }
        };
        self.sent = self.sent.saturating_add(data.len() as u64);
        self.progress.fetch_add(data.len() as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}

fn read(file: &File, offset: u64, left: u64) -> std::io::Result<Bytes> {
    let length = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
    let mut piece = BytesMut::zeroed(length);
    file.read_exact_at(&mut piece, offset)?;
    Ok(piece.freeze())
}
