//! The load: requests that were made beforehand, over connections that stay, in two ways. Closed: each connection sends the next
//! when it has its answer, which gives the rate and what a request costs. Open: each request has its time, and its latency
//! counts from then, whether a connection was free or not, so that a pause is not left out (coordinated omission).
//!
//! Every answer is held against what it must be. One that is not ends the run.

use super::http1;
use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::mpsc;
use tokio::task::spawn_local;

/// What an answer must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// The upstream's.
    Served(&'static [u8]),
    /// A refusal of this status for this reason.
    Refused(u16, &'static str),
}

impl Expected {
    pub(crate) fn check(self, status: u16, body: &[u8]) -> Result<()> {
        let fits = match self {
            Self::Served(expected) => status == 200 && body == expected,
            Self::Refused(expected, reason) => status == expected && reason_of(body).as_deref() == Some(reason),
        };
        ensure!(fits, "an answer should be {self:?} and is {status} {:?}", String::from_utf8_lossy(body));
        Ok(())
    }
}

/// The member `reason` of a problem.
fn reason_of(body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Problem {
        reason: String,
    }
    serde_json::from_slice(body).ok().map(|Problem { reason }| reason)
}

/// One connection, between two requests.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4096) })
    }

    async fn exchange(&mut self, request: &[u8], expected: Expected) -> Result<()> {
        self.stream.write_all(request).await.context("a request cannot be sent")?;
        loop {
            if let Some((status, body, end)) = http1::response(&self.buffer)? {
                ensure!(end == self.buffer.len(), "more came than one answer");
                expected.check(status, body)?;
                self.buffer.clear();
                return Ok(());
            }
            if self.stream.read_buf(&mut self.buffer).await.context("an answer cannot be read")? == 0 {
                bail!("the connection was closed before the answer: {:?}", String::from_utf8_lossy(&self.buffer));
            }
        }
    }
}

/// So many connections.
pub(crate) async fn connect(address: SocketAddr, count: usize) -> Result<Vec<Connection>> {
    let mut connections = Vec::new();
    for _ in 0..count {
        connections.push(Connection::open(address).await?);
    }
    Ok(connections)
}

/// Sends them all as fast as answers come. Returns the connections, and how long it took.
pub(crate) async fn closed(
    connections: Vec<Connection>,
    requests: Vec<Vec<u8>>,
    expected: Expected,
) -> Result<(Vec<Connection>, Duration)> {
    let (requests, next) = (Rc::new(requests), Rc::new(Cell::new(0)));
    let begun = Instant::now();
    let senders: Vec<_> = connections
        .into_iter()
        .map(|mut connection| {
            let (requests, next) = (Rc::clone(&requests), Rc::clone(&next));
            spawn_local(async move {
                while let Some(request) = requests.get(next.replace(next.get() + 1)) {
                    connection.exchange(request, expected).await?;
                }
                anyhow::Ok(connection)
            })
        })
        .collect();
    let mut connections = Vec::new();
    for sender in senders {
        connections.push(sender.await??);
    }
    Ok((connections, begun.elapsed()))
}

/// Sends them at a fixed rate. Returns latencies in nanoseconds.
pub(crate) async fn open(
    connections: Vec<Connection>,
    requests: Vec<Vec<u8>>,
    rate: u32,
    expected: Expected,
) -> Result<Histogram<u64>> {
    ensure!(rate > 0, "a rate of nothing");
    let latencies = Rc::new(RefCell::new(Histogram::new_with_bounds(1, LONGEST, 3)?));
    let (idle, mut free) = mpsc::unbounded_channel();
    let count = connections.len();
    for connection in connections {
        idle.send(Ok(connection))?;
    }
    let (clock, begun) = (Clock::new()?, Instant::now());
    for (number, request) in (0_u64..).zip(requests) {
        let due = begun + Duration::from_nanos(number * 1_000_000_000 / u64::from(rate));
        clock.sleep_until(due).await?;
        let mut connection = next(&mut free).await?;
        let (idle, latencies) = (idle.clone(), Rc::clone(&latencies));
        spawn_local(async move {
            let done = connection.exchange(&request, expected).await;
            let nanos = u64::try_from(due.elapsed().as_nanos()).unwrap_or(LONGEST);
            latencies.borrow_mut().saturating_record(nanos);
            // Nobody is there to take it once the run has ended for another reason.
            let _ = idle.send(done.map(|()| connection));
        });
    }
    // All are back once the last has its answer.
    for _ in 0..count {
        next(&mut free).await?;
    }
    let latencies = latencies.borrow().clone();
    Ok(latencies)
}

/// A connection that is free, or why one never will be again.
async fn next(free: &mut mpsc::UnboundedReceiver<Result<Connection>>) -> Result<Connection> {
    let back = tokio::time::timeout(PATIENCE, free.recv()).await.context("no answer comes any more")?;
    back.context("all connections are gone")?
}

/// A minute; more is counted as that.
const LONGEST: u64 = 60_000_000_000;

/// How long a connection may be awaited before the run is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// The kernel's timer, which is as exact as its clock; that of the runtime is to the millisecond.
struct Clock {
    timer: OwnedFd,
    /// The same timer. It is read as a pipe is, and the runtime waits for pipes.
    rings: Receiver,
}

impl Clock {
    fn new() -> Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags).context("no timer")?;
        let rings = Receiver::from_owned_fd_unchecked(timer.try_clone()?).context("the timer cannot be awaited")?;
        Ok(Self { timer, rings })
    }

    async fn sleep_until(&self, due: Instant) -> Result<()> {
        let rest = due.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            // Others must come to their turn however late this one is.
            tokio::task::yield_now().await;
            return Ok(());
        }
        let time = |duration: Duration| Timespec {
            tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(duration.subsec_nanos()),
        };
        let once = Itimerspec { it_interval: time(Duration::ZERO), it_value: time(rest) };
        rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        loop {
            self.rings.readable().await?;
            match self.rings.try_read(&mut [0; 8]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return Ok(read.map(drop)?),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_what_it_should_be_or_an_error() {
        let served = Expected::Served(b"ok");
        assert!(served.check(200, b"ok").is_ok());
        assert!(served.check(200, b"no").is_err());
        assert!(served.check(403, b"ok").is_err());
        let refused = Expected::Refused(403, "path-denied");
        assert!(refused.check(403, br#"{"title": "x", "reason": "path-denied"}"#).is_ok());
        // A fast refusal for another reason measures something else.
        assert!(refused.check(403, br#"{"reason": "method-denied"}"#).is_err());
        assert!(refused.check(401, br#"{"reason": "path-denied"}"#).is_err());
        assert!(refused.check(403, b"RBAC: access denied").is_err());
    }

    /// A server that pauses once for a while.
    async fn pausing(pause: Duration) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        spawn_local(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut buffer, mut count) = (Vec::new(), 0);
            while stream.read_buf(&mut buffer).await.unwrap() > 0 {
                if buffer.ends_with(b"\r\n\r\n") {
                    buffer.clear();
                    count += 1;
                    if count == 2 {
                        tokio::time::sleep(pause).await;
                    }
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
                }
            }
        });
        address
    }

    fn local<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, work)
    }

    #[test]
    fn a_pause_counts_for_all_who_were_due_in_it() {
        let latencies = local(async {
            let address = pausing(Duration::from_millis(300)).await;
            let connections = connect(address, 1).await.unwrap();
            let requests = vec![b"GET / HTTP/1.1\r\n\r\n".to_vec(); 20];
            open(connections, requests, 100, Expected::Served(b"ok")).await.unwrap()
        });
        assert_eq!(latencies.len(), 20);
        // All but the first had to wait for the pause to end, though the server answered each but one at once.
        let late = latencies.len() - latencies.count_between(0, 50_000_000);
        assert!(late >= 18, "{late} were late");
    }

    #[test]
    fn a_closed_load_sends_each_once() {
        let taken = local(async {
            let address = pausing(Duration::ZERO).await;
            let connections = connect(address, 1).await.unwrap();
            let requests = vec![b"GET / HTTP/1.1\r\n\r\n".to_vec(); 50];
            closed(connections, requests, Expected::Served(b"ok")).await.map(|(connections, _)| connections.len())
        });
        assert_eq!(taken.unwrap(), 1);
    }

    #[test]
    fn a_wrong_answer_ends_the_run() {
        let error = local(async {
            let address = pausing(Duration::ZERO).await;
            let connections = connect(address, 1).await.unwrap();
            let requests = vec![b"GET / HTTP/1.1\r\n\r\n".to_vec(); 3];
            open(connections, requests, 1000, Expected::Refused(403, "path-denied")).await.map(|_| ()).unwrap_err()
        });
        assert!(error.to_string().contains("should be"), "{error}");
    }
}
