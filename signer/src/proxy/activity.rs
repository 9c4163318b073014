//! Whether anything goes on at a connection. Bytes that belong to no exchange do not count: who sends a head one byte at a time,
//! or pings, does not stay.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// No time: heads that have not begun.
const NEVER: u64 = u64::MAX;

/// What is known of a connection. Times are milliseconds since it was accepted.
#[derive(Debug)]
pub(crate) struct Activity {
    start: Instant,
    last: AtomicU64,
    /// When the first byte of a head came that is not complete yet.
    head: AtomicU64,
    exchanges: AtomicUsize,
    /// Exchanges that wait for the gateway, which has limits of its own.
    waits: AtomicUsize,
}

impl Activity {
    /// A connection that was accepted now.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            last: AtomicU64::new(0),
            head: AtomicU64::new(NEVER),
            exchanges: AtomicUsize::new(0),
            waits: AtomicUsize::new(0),
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(NEVER)
    }

    /// An exchange begins: its head is complete.
    pub(crate) fn exchange(self: &Arc<Self>) -> Exchanging {
        self.head.store(NEVER, Ordering::Relaxed);
        self.last.store(self.now(), Ordering::Relaxed);
        self.exchanges.fetch_add(1, Ordering::Relaxed);
        Exchanging(Arc::clone(self))
    }

    /// An exchange waits for the gateway.
    pub(crate) fn wait(self: &Arc<Self>) -> Waiting {
        self.waits.fetch_add(1, Ordering::Relaxed);
        Waiting(Arc::clone(self))
    }

    /// When the connection is given up unless something happens until then.
    fn deadline(&self, head: Duration, idle: Duration) -> Instant {
        if self.waits.load(Ordering::Relaxed) > 0 {
            return Instant::now() + idle;
        }
        let after = |start: u64, limit: Duration| self.start + Duration::from_millis(start) + limit;
        let idle = after(self.last.load(Ordering::Relaxed), idle);
        match self.head.load(Ordering::Relaxed) {
            NEVER => idle,
            began => idle.min(after(began, head)),
        }
    }

    /// Ends when nothing happened for too long.
    pub(crate) async fn expired(&self, head: Duration, idle: Duration) {
        // A head may begin while this sleeps.
        let step = head.min(idle) / 4;
        loop {
            let deadline = self.deadline(head, idle);
            let now = Instant::now();
            if deadline <= now {
                return;
            }
            tokio::time::sleep_until(deadline.min(now + step.max(Duration::from_millis(10)))).await;
        }
    }
}

/// An exchange, until it is dropped.
#[derive(Debug)]
pub(crate) struct Exchanging(Arc<Activity>);

impl Drop for Exchanging {
    fn drop(&mut self) {
        self.0.last.store(self.0.now(), Ordering::Relaxed);
        self.0.exchanges.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A wait for the gateway, until it is dropped.
#[derive(Debug)]
pub(crate) struct Waiting(Arc<Activity>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.last.store(self.0.now(), Ordering::Relaxed);
        self.0.waits.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream whose bytes are noticed.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
    /// Whether bytes outside an exchange are the beginning of a head: so in HTTP/1, not in TLS or HTTP/2.
    heads: Arc<AtomicBool>,
}

impl<S> Watched<S> {
    /// Notices bytes; those of HTTP/1 heads while `heads` says so.
    pub(crate) fn new(stream: S, activity: &Arc<Activity>, heads: Arc<AtomicBool>) -> Self {
        Self { stream, activity: Arc::clone(activity), heads }
    }

    fn noticed(&self, received: bool) {
        let activity = &self.activity;
        if activity.exchanges.load(Ordering::Relaxed) > 0 {
            activity.last.store(activity.now(), Ordering::Relaxed);
        } else if received && self.heads.load(Ordering::Relaxed) {
            let _ = activity.head.compare_exchange(NEVER, activity.now(), Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.noticed(true);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        if written > 0 {
            self.noticed(false);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, pieces))?;
        if written > 0 {
            self.noticed(false);
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const HEAD: Duration = Duration::from_secs(5);
    const IDLE: Duration = Duration::from_secs(60);

    fn watched(activity: &Arc<Activity>) -> (Watched<tokio::io::DuplexStream>, tokio::io::DuplexStream) {
        let (near, far) = tokio::io::duplex(64);
        (Watched::new(near, activity, Arc::new(AtomicBool::new(true))), far)
    }

    async fn lasted(activity: &Arc<Activity>) -> u64 {
        let start = Instant::now();
        activity.expired(HEAD, IDLE).await;
        start.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_after_the_idle_time() {
        assert_eq!(lasted(&Activity::new()).await, 60);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_trickles_ends_in_its_time() {
        let activity = Activity::new();
        let (mut near, mut far) = watched(&activity);
        tokio::spawn(async move {
            while far.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        let reading = tokio::spawn(async move { while near.read_u8().await.is_ok() {} });
        assert_eq!(lasted(&activity).await, 5);
        reading.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_of_an_exchange_count_and_waiting_has_limits_of_its_own() {
        let activity = Activity::new();
        let (mut near, mut far) = watched(&activity);
        let exchange = activity.exchange();
        for _ in 0..3 {
            tokio::time::sleep(IDLE - HEAD).await;
            far.write_all(b"x").await.unwrap();
            near.read_u8().await.unwrap();
        }
        assert_eq!(activity.deadline(HEAD, IDLE), Instant::now() + IDLE);
        let wait = activity.wait();
        tokio::time::sleep(IDLE * 3).await;
        assert!(activity.deadline(HEAD, IDLE) > Instant::now());
        drop((wait, exchange));
        assert_eq!(lasted(&activity).await, 60);
    }
}
