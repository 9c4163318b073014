//! A stream that keeps a copy of all it reads.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// So many bytes are kept of each connection.
const WIRE_CAP: usize = 4 << 20;

/// What came on one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Wire(Arc<Mutex<(Vec<u8>, u64)>>);

impl Wire {
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.lock().0.clone()
    }

    pub(super) fn length(&self) -> u64 {
        self.lock().1
    }

    fn add(&self, bytes: &[u8]) {
        let mut wire = self.lock();
        let room = WIRE_CAP.saturating_sub(wire.0.len()).min(bytes.len());
        wire.0.extend_from_slice(bytes.get(..room).unwrap_or_default());
        wire.1 += bytes.len() as u64;
    }

    fn lock(&self) -> MutexGuard<'_, (Vec<u8>, u64)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Tap {
    stream: TcpStream,
    wire: Wire,
}

impl Tap {
    pub(super) fn new(stream: TcpStream, wire: Wire) -> Self {
        Self { stream, wire }
    }
}

/// A server that refuses a request stops reading in the middle of it; what has come besides is on the wire all the same.
impl Drop for Tap {
    fn drop(&mut self) {
        let mut piece = [0_u8; 4096];
        while let Ok(count @ 1..) = self.stream.try_read(&mut piece) {
            self.wire.add(piece.get(..count).unwrap_or_default());
        }
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.wire.add(buffer.filled().get(before..).unwrap_or_default());
        result
    }
}

impl AsyncWrite for Tap {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
