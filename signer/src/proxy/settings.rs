//! What holds for every session, as durations and sizes; from [`ProxyConfiguration`].

use crate::protocol::{ProxyConfiguration, SpoolConfiguration};
use std::time::Duration;

/// Field lines of one request. Clients send some twenty; hyper's bound for HTTP/1 is the same.
pub(crate) const FIELDS: usize = 100;

/// Requests of one connection at once (HTTP/2 streams).
pub(crate) const STREAMS: u32 = 32;

/// How long the keeper may take for a signature: it does nothing else that takes time.
pub(crate) const SIGN: Duration = Duration::from_secs(10);

/// How long a connection to the gateway may take, TLS included.
pub(crate) const CONNECT: Duration = Duration::from_secs(5);

/// The longest life of a connection. What is at work then may end within [`GRACE`].
pub(crate) const LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// For what is at work when the life of its connection ends.
pub(crate) const GRACE: Duration = Duration::from_secs(60);

/// Leaf certificates kept for one session, some 3 KiB each. Another one takes half a millisecond.
pub(crate) const LEAVES: usize = 128;

/// The slowest body that is taken, after its first seconds. Bytes a second.
pub(crate) const SLOWEST: u64 = 1024;

/// Times, sizes and counts.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// For the head of a request, from its first byte.
    pub(crate) head: Duration,
    /// For a TLS handshake.
    pub(crate) handshake: Duration,
    /// Between two pieces of a body.
    pub(crate) body: Duration,
    /// Until the gateway begins to answer.
    pub(crate) answer: Duration,
    /// Bytes of a head.
    pub(crate) head_bytes: usize,
    /// Connections of all sessions.
    pub(crate) connections: usize,
    /// Bounds of the spool.
    pub(crate) spool: SpoolConfiguration,
}

impl Settings {
    /// Takes what the keeper sent.
    pub(crate) fn new(configuration: &ProxyConfiguration) -> Self {
        let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds.max(1)));
        let size = |size: u32| usize::try_from(size).unwrap_or(usize::MAX);
        Self {
            head: seconds(configuration.head_seconds),
            handshake: seconds(configuration.handshake_seconds),
            body: seconds(configuration.body_seconds),
            answer: seconds(configuration.answer_seconds),
            // hyper wants a buffer of 8 KiB at least.
            head_bytes: size(configuration.head_bytes).max(8 * 1024),
            connections: size(configuration.connections),
            spool: configuration.spool.clone(),
        }
    }
}
