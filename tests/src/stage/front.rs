//! A front before a collector: it passes requests on, and misbehaves in the ways that networks and collectors do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Error, Result};

/// How it treats the next requests, those that it holds included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Passes them on, and the answers back.
    Pass,
    /// Passes them on after this time.
    Slow(Duration),
    /// Passes nothing on, and answers nothing.
    Hang,
    /// Closes the connection on every request, and passes nothing on.
    Close,
    /// Passes nothing on, and answers 500.
    Fail,
    /// Passes nothing on, and closes within an answer that says 200.
    BreakOff,
    /// Passes them on, and closes in place of the answer.
    LoseAnswer,
    /// Passes nothing on, and acknowledges: 200, with a head of its own making.
    Lie,
}

/// See the module.
#[derive(Debug)]
pub struct Front {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    collector: SocketAddr,
    manner: Mutex<Manner>,
    requests: AtomicU64,
    over: AtomicBool,
}

impl Front {
    /// Before the collector at this address; on a free port.
    pub fn start(collector: SocketAddr) -> Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io("listening before a collector"))?;
        let address = listener.local_addr().map_err(Error::io("asking for the local address"))?;
        let shared = Arc::new(Shared {
            collector,
            manner: Mutex::new(Manner::Pass),
            requests: AtomicU64::new(0),
            over: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if accepting.over.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                // What breaks a connection ends it, and nothing else.
                std::thread::spawn(move || drop(serve(&stream, &shared)));
            }
        });
        Ok(Self { address, shared })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on.
    pub fn set(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap_or_else(PoisonError::into_inner) = manner;
    }

    /// How many requests came.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn manner(&self) -> Manner {
        *self.manner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve(stream: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = message(&mut reader)? {
        shared.requests.fetch_add(1, Ordering::SeqCst);
        let manner = loop {
            match shared.manner() {
                Manner::Hang if !shared.over.load(Ordering::SeqCst) => std::thread::sleep(Duration::from_millis(10)),
                manner => break manner,
            }
        };
        match manner {
            Manner::Pass => (&*stream).write_all(&pass(&request, shared)?)?,
            Manner::Slow(time) => {
                std::thread::sleep(time);
                (&*stream).write_all(&pass(&request, shared)?)?;
            }
            Manner::Fail => {
                (&*stream).write_all(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 4\r\n\r\nno.\n")?;
            }
            Manner::Lie => {
                let body =
                    r#"{"origin":"egress-demo/b/1","size":9,"root":"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}"#;
                write!(&*stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())?;
            }
            Manner::BreakOff => {
                (&*stream).write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 150\r\n\r\n{\"origin\":")?;
                return stream.shutdown(Shutdown::Both);
            }
            Manner::LoseAnswer => {
                pass(&request, shared)?;
                return stream.shutdown(Shutdown::Both);
            }
            Manner::Close | Manner::Hang => return stream.shutdown(Shutdown::Both),
        }
    }
    Ok(())
}

/// Head and body as they came; `None` at the end of the connection.
fn message(reader: &mut impl BufRead) -> std::io::Result<Option<Vec<u8>>> {
    let (mut bytes, mut length) = (Vec::new(), 0_u64);
    loop {
        let start = bytes.len();
        if reader.read_until(b'\n', &mut bytes)? == 0 {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(bytes.get(start..).unwrap_or_default()).to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(std::io::Error::other)?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    reader.take(length).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// The collector's answer, from a connection of its own.
fn pass(request: &[u8], shared: &Shared) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(shared.collector)?;
    stream.write_all(request)?;
    message(&mut BufReader::new(stream))?.ok_or_else(|| std::io::Error::other("the collector closed"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::client::{Connection, Request};
    use crate::stage::upstream::{Reply, Upstream};

    #[test]
    fn it_passes_on_and_misbehaves() {
        let upstream = Upstream::start_with(|_| Reply::new(200).body("taken")).unwrap();
        let front = Front::start(upstream.address()).unwrap();
        let send = || {
            let request = Request::new("POST", "/v1/evidence").header("host", "c").body("lines");
            Connection::open(front.address()).unwrap().send(&request).ok().filter(|answer| !answer.truncated)
        };
        for (manner, status, passed) in [
            (Manner::Pass, Some(200), true),
            (Manner::Slow(Duration::from_millis(1)), Some(200), true),
            (Manner::Fail, Some(500), false),
            (Manner::Lie, Some(200), false),
            (Manner::BreakOff, None, false),
            (Manner::LoseAnswer, None, true),
            (Manner::Close, None, false),
        ] {
            front.set(manner);
            assert_eq!(send().map(|answer| answer.status), status, "{manner:?}");
            assert_eq!(upstream.take().len(), usize::from(passed), "{manner:?}");
        }
        front.set(Manner::Hang);
        std::thread::scope(|scope| {
            let held = scope.spawn(send);
            while front.requests() < 8 {
                std::thread::yield_now();
            }
            assert!(!held.is_finished());
            front.set(Manner::Pass);
            assert_eq!(held.join().unwrap().unwrap().text(), "taken");
        });
    }
}
