//! An upstream that costs as little as one can, and the same for every arm: it answers `ok` and counts what came.

use super::http1;
use anyhow::{Context, Result, bail, ensure};
use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What it says to every request.
pub(crate) const ANSWER: &[u8] = b"ok";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok";

/// Requests, and bytes of bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    /// Whole requests.
    pub(crate) requests: u64,
    /// Of their bodies.
    pub(crate) bytes: u64,
}

/// A running upstream, in the tasks of this thread.
pub(crate) struct Upstream {
    address: SocketAddr,
    received: Rc<Cell<Received>>,
}

impl Upstream {
    /// On a free port.
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("cannot listen")?;
        let address = listener.local_addr()?;
        let received = Rc::new(Cell::new(Received::default()));
        let counter = Rc::clone(&received);
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let counter = Rc::clone(&counter);
                // What cannot be served is missing from the count.
                tokio::task::spawn_local(async move { serve(stream, &counter).await });
            }
        });
        Ok(Self { address, received })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What came since it was last asked.
    pub(crate) fn take(&self) -> Received {
        self.received.take()
    }
}

async fn serve(mut stream: TcpStream, received: &Cell<Received>) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(128 << 10);
    loop {
        let Some((head, body)) = request(&buffer)? else {
            if stream.read_buf(&mut buffer).await? == 0 {
                ensure!(buffer.is_empty(), "a request ended early");
                return Ok(());
            }
            continue;
        };
        let mut rest = (head + body).saturating_sub(buffer.len());
        buffer.drain(..(head + body).min(buffer.len()));
        while rest > 0 {
            let mut piece = [0_u8; 64 << 10];
            let most = rest.min(piece.len());
            let read = stream.read(piece.get_mut(..most).unwrap_or_default()).await?;
            ensure!(read > 0, "a body ended early");
            rest = rest.saturating_sub(read);
        }
        let Received { requests, bytes } = received.get();
        received.set(Received { requests: requests + 1, bytes: bytes + body as u64 });
        stream.write_all(RESPONSE).await?;
    }
}

/// Bytes of the head and of the body, once the head is there.
fn request(buffer: &[u8]) -> Result<Option<(usize, usize)>> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(buffer).context("the upstream got no HTTP/1.1")? {
        httparse::Status::Partial => Ok(None),
        httparse::Status::Complete(head) => Ok(Some((head, http1::body_length(request.headers)?))),
    }
}

/// What should have arrived, has.
pub(crate) fn check(received: Received, expected: Received, arm: &str) -> Result<()> {
    if received != expected {
        bail!("{arm}: the upstream received {received:?} and should have received {expected:?}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_say_how_long_bodies_are() {
        let get = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        assert_eq!(request(get).unwrap(), Some((get.len(), 0)));
        assert_eq!(request(&get[..9]).unwrap(), None);
        let post = b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab";
        assert_eq!(request(post).unwrap(), Some((post.len() - 2, 5)));
        assert!(request(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
        assert!(request(b"\x00\x01\r\n\r\n").is_err());
    }

    #[test]
    fn what_is_missing_is_an_error() {
        let one = Received { requests: 1, bytes: 2 };
        assert!(check(one, one, "arm").is_ok());
        assert!(check(Received::default(), one, "arm").is_err());
    }
}
