//! Clients that send what they are told. [`Connection`] writes exact bytes of HTTP/1.1: names, values, duplicates, targets and
//! framing that no HTTP library would let pass; [`Http2`] speaks HTTP/2 with prior knowledge.

mod http2;
mod parse;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

pub use http2::Http2;

use super::{Error, Result};

/// Sends one request on a connection of its own and reads the answer.
pub fn send(address: SocketAddr, request: &Request) -> Result<Response> {
    Connection::open(address)?.send(request)
}

/// An HTTP/1.1 request as the bytes that go onto the wire. Nothing is checked or added, but for the framing that
/// [`Request::body`] and [`Request::chunks`] add.
#[derive(Clone, Debug)]
pub struct Request {
    method: Vec<u8>,
    head: Vec<u8>,
    body: Vec<u8>,
}

impl Request {
    /// A request line with HTTP/1.1. `target` is what stands in it: a path, an absolute URI, an authority, or nonsense.
    pub fn new(method: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        let method = method.as_ref().to_vec();
        let head = [&method, b" ".as_slice(), target.as_ref(), b" HTTP/1.1\r\n"].concat();
        Self { method, head, body: Vec::new() }
    }

    /// Adds one field line; the same name may come again.
    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.head.extend([name.as_ref(), b": ", value.as_ref(), b"\r\n"].concat());
        self
    }

    /// Adds `content-length` and the body.
    pub fn body(self, body: impl AsRef<[u8]>) -> Self {
        let mut request = self.header("content-length", body.as_ref().len().to_string());
        request.body = body.as_ref().to_vec();
        request
    }

    /// Adds `transfer-encoding: chunked`, the chunks, and the trailer fields after them.
    pub fn chunks(self, chunks: &[&[u8]], trailers: &[(&str, &str)]) -> Self {
        let mut request = self.header("transfer-encoding", "chunked");
        for chunk in chunks {
            request.body.extend([format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
        }
        request.body.extend_from_slice(b"0\r\n");
        for (name, value) in trailers {
            request.body.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        request.body.extend_from_slice(b"\r\n");
        request
    }

    /// The request line and field lines with the empty line that ends them.
    pub fn head_bytes(&self) -> Vec<u8> {
        [&self.head, b"\r\n".as_slice()].concat()
    }

    /// Everything that goes onto the wire.
    pub fn bytes(&self) -> Vec<u8> {
        [self.head_bytes(), self.body.clone()].concat()
    }
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The status code; informational ones before it are in `informational`.
    pub status: u16,
    /// Field lines in order: lower-case name, value bytes.
    pub headers: Vec<(String, Vec<u8>)>,
    /// What came of the body.
    pub body: Vec<u8>,
    /// Fields after the body.
    pub trailers: Vec<(String, Vec<u8>)>,
    /// The peer closed or reset before the body was complete.
    pub truncated: bool,
    /// Status codes 1xx that came first, but for 101.
    pub informational: Vec<u16>,
}

impl Response {
    /// The first value of a field, as text where it is UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).and_then(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// The body for people; bytes that are not UTF-8 are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Error::protocol("response", format!("no JSON ({error}): {}", self.text())))
    }
}

/// An HTTP/1.1 connection on which requests follow one another.
#[derive(Debug)]
pub struct Connection {
    peer: SocketAddr,
    stream: TcpStream,
    /// Bytes read beyond the last answer.
    buffer: Vec<u8>,
    limit: Duration,
}

impl Connection {
    /// Connects, with [`LIMIT`] for this and each later step.
    pub fn open(peer: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&peer, LIMIT).map_err(Error::io(format!("connecting to {peer}")))?;
        stream.set_nodelay(true).map_err(Error::io("setting TCP_NODELAY"))?;
        Ok(Self { peer, stream, buffer: Vec::new(), limit: LIMIT })
    }

    /// Another limit for each later step.
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The address from which the peer sees us.
    pub fn local_address(&self) -> Result<SocketAddr> {
        self.stream.local_addr().map_err(Error::io("asking for the local address"))
    }

    /// Sends and reads the answer. An answer that comes while the body is still being sent counts; should the peer then take
    /// no more, our direction is closed and the connection is of no further use.
    pub fn send(&mut self, request: &Request) -> Result<Response> {
        let bytes = request.bytes();
        let mut writer = self.writer()?;
        let peer = self.peer;
        std::thread::scope(|scope| {
            let writing = scope.spawn(move || writer.write_all(&bytes));
            let response = self.read_response(&request.method);
            // A peer that has answered may still take the rest. One that does not would block the write.
            let patience = Instant::now() + if response.is_ok() { PATIENCE } else { Duration::ZERO };
            while !writing.is_finished() && Instant::now() < patience {
                std::thread::sleep(Duration::from_millis(1));
            }
            if !writing.is_finished() {
                let _ = self.stream.shutdown(Shutdown::Write);
            }
            let written = writing.join();
            match (response, written) {
                (Err(Error::Protocol { .. }), Ok(Err(error))) => Err(Error::io(format!("sending to {peer}"))(error)),
                (response, _) => response,
            }
        })
    }

    /// Writes exactly these bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer()?.write_all(bytes).map_err(Error::io(format!("sending to {}", self.peer)))
    }

    /// Ends our direction; the peer may still answer.
    pub fn finish_writing(&mut self) -> Result<()> {
        self.stream.shutdown(Shutdown::Write).map_err(Error::io(format!("closing towards {}", self.peer)))
    }

    /// Reads one answer. The method of its request tells whether it has a body (RFC 9112, section 6.3).
    pub fn read_response(&mut self, method: impl AsRef<[u8]>) -> Result<Response> {
        let end = Instant::now() + self.limit;
        let mut informational = Vec::new();
        loop {
            let head = loop {
                if let Some(head) = parse::head(&mut self.buffer).map_err(|problem| self.problem(problem))? {
                    break head;
                }
                if !self.fill(end)? {
                    let got = String::from_utf8_lossy(&self.buffer);
                    return Err(self.problem(format!("closed without an answer; it had sent {got:?}")));
                }
            };
            if matches!(head.status, 100 | 102..=199) {
                informational.push(head.status);
                continue;
            }
            let mut response = self.read_body(head, method.as_ref(), end)?;
            response.informational = informational;
            return Ok(response);
        }
    }

    /// Everything that comes until the peer closes.
    pub fn read_to_end(&mut self) -> Result<Vec<u8>> {
        let end = Instant::now() + self.limit;
        while self.fill(end)? {}
        Ok(std::mem::take(&mut self.buffer))
    }

    /// At least `count` bytes, for what follows a 101 or an answered CONNECT.
    pub fn read_at_least(&mut self, count: usize) -> Result<Vec<u8>> {
        let end = Instant::now() + self.limit;
        while self.buffer.len() < count {
            if !self.fill(end)? {
                return Err(self.problem(format!("closed after {} of {count} bytes", self.buffer.len())));
            }
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    fn read_body(&mut self, head: parse::Head, method: &[u8], end: Instant) -> Result<Response> {
        let mut framing = parse::Framing::of(&head, method).map_err(|problem| self.problem(problem))?;
        let mut response = Response { status: head.status, headers: head.headers, ..Response::default() };
        loop {
            if framing.take(&mut self.buffer, &mut response).map_err(|problem| self.problem(problem))? {
                return Ok(response);
            }
            if !self.fill(end)? {
                response.truncated = !framing.ends_by_closing();
                return Ok(response);
            }
        }
    }

    /// Reads once more; `false` when the peer has closed or reset.
    fn fill(&mut self, end: Instant) -> Result<bool> {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(self.silence());
        }
        self.stream.set_read_timeout(Some(left)).map_err(Error::io("setting a read timeout"))?;
        let mut piece = [0_u8; 16 * 1024];
        match self.stream.read(&mut piece) {
            Ok(count) => {
                self.buffer.extend_from_slice(piece.get(..count).unwrap_or_default());
                Ok(count > 0)
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Err(self.silence()),
            Err(error) => Err(Error::io(format!("reading from {}", self.peer))(error)),
        }
    }

    fn writer(&self) -> Result<TcpStream> {
        let writer = self.stream.try_clone().map_err(Error::io("duplicating a socket"))?;
        writer.set_write_timeout(Some(self.limit)).map_err(Error::io("setting a write timeout"))?;
        Ok(writer)
    }

    fn silence(&self) -> Error {
        let got = String::from_utf8_lossy(&self.buffer);
        self.problem(format!("no complete answer within {:?}; so far {got:?}", self.limit))
    }

    fn problem(&self, problem: impl Into<String>) -> Error {
        Error::protocol(self.peer, problem)
    }
}

/// How long a step of a client may take unless told otherwise.
pub const LIMIT: Duration = Duration::from_secs(10);

/// How long a peer that has answered is given to take the rest of the request.
const PATIENCE: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests;
