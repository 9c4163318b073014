//! Frames on a Unix stream socket, with the descriptors that come with some of them.
//!
//! A descriptor travels with the first byte of its frame, and the kernel joins no bytes across descriptors: they arrive in
//! the order of their frames. Whoever expects none ([`FrameReader::new`]) makes room for none, and the kernel closes what is sent.

use super::MAX_MESSAGE;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use tokio::io::Interest;
use tokio::net::UnixStream;

/// Bytes of the length before each message.
const PREFIX: usize = 4;
/// Bytes that one read takes at most.
const READ: usize = 16 * 1024;
/// Descriptors that wait for their frames; a sender that is ahead by more is not one of ours.
const WAITING: usize = 64;

/// Why a message could not be read or written. Nothing more can be said over the same socket.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The socket failed.
    #[error("the socket between keeper and proxy failed: {0}")]
    Io(#[from] io::Error),
    /// The other side went away in the middle of a message.
    #[error("the other process went away in the middle of a message")]
    Cut,
    /// A length beyond [`MAX_MESSAGE`].
    #[error("a message of {0} bytes, where {MAX_MESSAGE} are the most")]
    TooLong(usize),
    /// No message of the kind that is expected.
    #[error("a message that cannot be read: {0}")]
    Malformed(serde_json::Error),
    /// A message that JSON cannot hold.
    #[error("a message that cannot be written: {0}")]
    Unwritable(serde_json::Error),
    /// More descriptors than messages that have one.
    #[error("descriptors that belong to no message")]
    Descriptors,
}

/// One message as it goes over the socket.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut frame = vec![0; PREFIX];
    serde_json::to_writer(&mut frame, message).map_err(FrameError::Unwritable)?;
    let length = frame.len().saturating_sub(PREFIX);
    let prefix = u32::try_from(length).ok().filter(|_| length <= MAX_MESSAGE);
    let prefix = prefix.ok_or(FrameError::TooLong(length))?.to_be_bytes();
    for (to, from) in frame.iter_mut().zip(prefix) {
        *to = from;
    }
    Ok(frame)
}

/// Takes the first whole message out of what has arrived, and says how many bytes it took; `None`: there is none yet.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<Option<(T, usize)>, FrameError> {
    let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX>() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
    if length > MAX_MESSAGE {
        return Err(FrameError::TooLong(length));
    }
    let Some(body) = rest.get(..length) else { return Ok(None) };
    let message = serde_json::from_slice(body).map_err(FrameError::Malformed)?;
    Ok(Some((message, PREFIX.saturating_add(length))))
}

/// The reading side of the socket.
#[derive(Debug)]
pub struct FrameReader {
    stream: Arc<UnixStream>,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that were given out.
    used: usize,
    descriptors: Option<VecDeque<OwnedFd>>,
}

impl FrameReader {
    /// Reads messages without descriptors.
    pub fn new(stream: Arc<UnixStream>) -> Self {
        Self { stream, buffer: Vec::new(), used: 0, descriptors: None }
    }

    /// Reads messages of which some have a descriptor; see [`FrameReader::take_descriptor`].
    pub fn with_descriptors(stream: Arc<UnixStream>) -> Self {
        Self { descriptors: Some(VecDeque::new()), ..Self::new(stream) }
    }

    /// The next message; `None` when the other side has closed between two messages. Nothing is lost when the future is dropped.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        loop {
            let rest = self.buffer.get(self.used..).unwrap_or_default();
            if let Some((message, length)) = decode(rest)? {
                self.used = self.used.saturating_add(length);
                return Ok(Some(message));
            }
            let whole = rest.is_empty();
            self.buffer.drain(..self.used.min(self.buffer.len()));
            self.used = 0;
            if self.fill().await? == 0 {
                return if whole { Ok(None) } else { Err(FrameError::Cut) };
            }
        }
    }

    /// The descriptor of the message that was just read, which is of a kind that has one.
    pub fn take_descriptor(&mut self) -> Result<OwnedFd, FrameError> {
        self.descriptors.as_mut().and_then(VecDeque::pop_front).ok_or(FrameError::Descriptors)
    }

    async fn fill(&mut self) -> Result<usize, FrameError> {
        let mut bytes = [0; READ];
        let stream = Arc::clone(&self.stream);
        let descriptors = &mut self.descriptors;
        let count = stream
            .async_io(Interest::READABLE, || match descriptors {
                Some(descriptors) => receive(stream.as_fd(), &mut bytes, descriptors),
                None => Ok(rustix::net::recv(&*stream, &mut bytes, RecvFlags::empty())?.0),
            })
            .await?;
        if self.descriptors.as_ref().is_some_and(|waiting| waiting.len() > WAITING) {
            return Err(FrameError::Descriptors);
        }
        self.buffer.extend_from_slice(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }
}

fn receive(stream: BorrowedFd<'_>, bytes: &mut [u8], descriptors: &mut VecDeque<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = loop {
        match rustix::net::recvmsg(stream, &mut [IoSliceMut::new(bytes)], &mut control, flags) {
            Err(Errno::INTR) => {}
            result => break result?,
        }
    };
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Ok(received.bytes)
}

/// The writing side of the socket. One task writes; the others hand their messages to it.
#[derive(Debug)]
pub struct FrameWriter {
    stream: Arc<UnixStream>,
}

impl FrameWriter {
    /// Writes to this socket.
    pub fn new(stream: Arc<UnixStream>) -> Self {
        Self { stream }
    }

    /// Writes one message. When the future is dropped before it ends, the socket is of no more use.
    pub async fn send<T: Serialize>(
        &mut self,
        message: &T,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> Result<(), FrameError> {
        self.send_encoded(&encode(message)?, descriptor).await
    }

    /// Writes messages that [`encode`] made, one after the other; the descriptor is that of the first.
    pub async fn send_encoded(
        &mut self,
        frames: &[u8],
        mut descriptor: Option<BorrowedFd<'_>>,
    ) -> Result<(), FrameError> {
        let mut rest = frames;
        while !rest.is_empty() {
            let sent =
                self.stream.async_io(Interest::WRITABLE, || transmit(self.stream.as_fd(), rest, descriptor)).await?;
            if sent == 0 {
                return Err(FrameError::Cut);
            }
            descriptor = None;
            rest = rest.get(sent..).unwrap_or_default();
        }
        Ok(())
    }
}

fn transmit(stream: BorrowedFd<'_>, bytes: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<BorrowedFd<'_>> = descriptor.into_iter().collect();
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no room for a descriptor"));
    }
    loop {
        // Without SIGPIPE: an error is enough.
        match rustix::net::sendmsg(stream, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

#[cfg(test)]
mod tests;
