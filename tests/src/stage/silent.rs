//! A listener that nobody should reach: it takes connections, counts them and every byte, and never says a word.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::AsyncReadExt;

use super::runtime::Background;
use super::{Error, Result};

/// A counting listener.
#[derive(Debug)]
pub struct Silent {
    address: SocketAddr,
    connections: Arc<Mutex<Vec<Vec<u8>>>>,
    _task: Background,
}

impl Silent {
    /// On a free port of 127.0.0.1.
    pub fn start() -> Result<Self> {
        Self::bind((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// On another loopback address.
    pub fn bind(address: SocketAddr) -> Result<Self> {
        let (listener, address) = listen(address)?;
        let connections = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&connections);
        let task = Background::start(async move {
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
            let mut readers = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let index = {
                    let mut connections = lock(&seen);
                    connections.push(Vec::new());
                    connections.len() - 1
                };
                readers.spawn(keep_reading(stream, index, Arc::clone(&seen)));
            }
        })?;
        Ok(Self { address, connections, _task: task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> usize {
        lock(&self.connections).len()
    }

    /// How many bytes came on all of them.
    pub fn bytes(&self) -> usize {
        lock(&self.connections).iter().map(Vec::len).sum()
    }

    /// What came, one entry a connection.
    pub fn received(&self) -> Vec<Vec<u8>> {
        lock(&self.connections).clone()
    }
}

/// Binds at once, so that connections wait in the backlog from here on.
pub(super) fn listen(address: SocketAddr) -> Result<(std::net::TcpListener, SocketAddr)> {
    let listener = std::net::TcpListener::bind(address).map_err(Error::io(format!("listening on {address}")))?;
    listener.set_nonblocking(true).map_err(Error::io("making a listener asynchronous"))?;
    let bound = listener.local_addr().map_err(Error::io("asking for the local address"))?;
    Ok((listener, bound))
}

async fn keep_reading(mut stream: tokio::net::TcpStream, index: usize, seen: Arc<Mutex<Vec<Vec<u8>>>>) {
    let mut piece = [0_u8; 4096];
    while let Ok(count @ 1..) = stream.read(&mut piece).await {
        if let Some(bytes) = lock(&seen).get_mut(index) {
            bytes.extend_from_slice(piece.get(..count).unwrap_or_default());
        }
    }
}

fn lock(connections: &Mutex<Vec<Vec<u8>>>) -> MutexGuard<'_, Vec<Vec<u8>>> {
    connections.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpStream;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn connections_and_bytes_are_counted() {
        let silent = Silent::start().unwrap();
        assert_eq!((silent.connections(), silent.bytes()), (0, 0));
        let _mute = TcpStream::connect(silent.address()).unwrap();
        TcpStream::connect(silent.address()).unwrap().write_all(b"hello").unwrap();
        let end = Instant::now() + Duration::from_secs(5);
        while silent.bytes() < 5 {
            assert!(Instant::now() < end, "{:?}", silent.received());
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(silent.connections(), 2);
        assert!(silent.received().contains(&b"hello".to_vec()));
    }

    #[test]
    fn it_is_gone_with_its_handle() {
        let silent = Silent::start().unwrap();
        let address = silent.address();
        let _open = TcpStream::connect(address).unwrap();
        drop(silent);
        let end = Instant::now() + Duration::from_secs(5);
        while TcpStream::connect(address).is_ok() {
            assert!(Instant::now() < end, "still listening");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
