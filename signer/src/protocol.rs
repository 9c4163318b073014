//! What keeper and proxy say to each other over their socket pair.
//!
//! Each message is a length (four bytes, big-endian) and so many bytes of JSON, at most [`MAX_MESSAGE`]. The keeper trusts nothing
//! that the proxy says: a frame that is too long or does not parse ends the connection, and with it both processes.
//!
//! The first message is [`ToProxy::Configure`]. Reading and writing is in [`frame`].

pub mod frame;

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Bytes of one message at most.
pub const MAX_MESSAGE: usize = 128 * 1024;

/// A session as both processes name it; never used twice in one run. What contexts say of a session is its `session` member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionNumber(pub u64);

/// From the keeper to the proxy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ToProxy {
    /// What holds for all sessions. The first message, and sent once.
    Configure(Box<ProxyConfiguration>),
    /// Where the gateway's name leads now. The proxy resolves no names: it may open no files, and no other connection than to the gateway.
    GatewayAddresses {
        /// In the order in which they are tried; never empty.
        addresses: Vec<SocketAddr>,
    },
    /// A session begins. A listening socket, TCP or Unix, comes with the frame (`SCM_RIGHTS`).
    Open(Box<Opening>),
    /// A session is over: its listener and all its connections are closed.
    Close {
        /// Which.
        session: SessionNumber,
    },
    /// The answer to [`ToKeeper::Sign`].
    Signed {
        /// Of the question.
        id: u64,
        /// Header lines to add, or why there are none.
        result: Result<SignedFields, SignRefusal>,
    },
    /// No new connections; end when those at work have ended, or when the keeper closes the socket pair.
    Drain,
    /// What the proxy counted is asked for.
    Measure {
        /// Of the question.
        id: u64,
    },
}

/// What the proxy does for all sessions alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProxyConfiguration {
    /// Where signed requests go.
    pub gateway: GatewayConfiguration,
    /// Where request bodies wait for their digest.
    pub spool: SpoolConfiguration,
    /// Connections of all sessions at once.
    pub connections: u32,
    /// Seconds in which the head of a request must have arrived, from the first byte that could be its.
    pub head_seconds: u32,
    /// Seconds in which a TLS handshake must be over, after CONNECT was granted.
    pub handshake_seconds: u32,
    /// Seconds without a byte of a request body, after which the request is given up.
    pub body_seconds: u32,
    /// Bytes of the head of a request at most.
    pub head_bytes: u32,
    /// Seconds in which the gateway must have begun to answer a request that was sent to it completely.
    pub answer_seconds: u32,
}

/// The gateway, as the proxy dials it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GatewayConfiguration {
    /// Origin: `https://name[:port]`, HTTP/2 over TLS; or `http://address:port`, plain. Its scheme is the `:scheme` of every
    /// request, since `@authority` leaves out the default port of that scheme.
    pub url: String,
    /// Where its name leads; never empty.
    pub addresses: Vec<SocketAddr>,
    /// PEM of the authorities that its certificate is verified against.
    pub ca_pem: Option<String>,
    /// PEM of the certificate, leaf first, that the proxy shows.
    pub client_chain_pem: Option<String>,
    /// PEM of that certificate's key. It identifies the connection; it signs no context.
    pub client_key_pem: Option<Secret>,
}

/// Bounds of the spool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpoolConfiguration {
    /// Where files are made, unlinked at once. The only directory that the proxy can open files in.
    pub directory: PathBuf,
    /// Bytes of one body in memory, before it goes to a file.
    pub body_memory: u64,
    /// Bytes of all bodies in memory.
    pub total_memory: u64,
    /// Bytes of one body at most.
    pub body: u64,
    /// Bytes of all bodies in files.
    pub total_files: u64,
}

/// Text that no log shows.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A session as far as the proxy needs to know it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Opening {
    /// Which.
    pub session: SessionNumber,
    /// Its name in contexts, for logs.
    pub name: String,
    /// Lower-case hex SHA-256 of the password that the agent's proxy address carries (`Proxy-Authorization: Basic`, any user name).
    /// Absent on Unix sockets, whose peers the system names.
    pub password_sha256: Option<String>,
    /// User ids whose connections are taken; empty: any. On TCP, the owner of the peer's socket.
    pub uids: Vec<u32>,
    /// Authorities (`host:port`, canonical) to which CONNECT may be passed on blind.
    pub tunnels: Vec<String>,
    /// Connections at once.
    pub connections: u32,
    /// Seconds without traffic after which a connection is closed.
    pub idle_seconds: u32,
}

/// From the proxy to the keeper.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ToKeeper {
    /// A session's listener serves; here is the certificate of its authority.
    Opened {
        /// Which.
        session: SessionNumber,
        /// PEM of the certificate that the agent's programs are to trust. Its key never leaves the proxy's memory.
        ca_pem: String,
    },
    /// A session could not be opened.
    OpenFailed {
        /// Which.
        session: SessionNumber,
        /// Why, for the orchestrator.
        why: String,
    },
    /// A signature is asked for.
    Sign {
        /// Names the answer.
        id: u64,
        /// For which session.
        session: SessionNumber,
        /// What is to be signed.
        request: Box<RequestToSign>,
    },
    /// All connections have ended after [`ToProxy::Drain`].
    Drained,
    /// What the proxy counted.
    Measured {
        /// Of the question.
        id: u64,
        /// Samples: Prometheus name with labels, and value.
        samples: Vec<(String, f64)>,
    },
}

/// What the proxy has read of a request, exactly as it will go to the gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestToSign {
    /// `@method`.
    pub method: String,
    /// Scheme that the agent asked for, `http` or `https`. It is not what `@scheme` would be: that is the gateway's listener's.
    pub scheme: String,
    /// `@authority`: canonical, with the port that the agent dialled, `host:443` too. Only port 80 of plain HTTP is left out:
    /// the gateway's configuration says by which scheme and port such a request leaves.
    pub authority: String,
    /// Path and query as they will stand in `:path`; absent for CONNECT.
    pub path: Option<String>,
    /// `Content-Digest` value of the body; present exactly when there is a body.
    pub content_digest: Option<String>,
    /// `Content-Type` value, when there is a body and it has one.
    pub content_type: Option<String>,
    /// `Content-Encoding` value, when there is a body and it has one.
    pub content_encoding: Option<String>,
}

/// The header lines of a signed request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedFields {
    /// `Agent-Context`.
    pub agent_context: String,
    /// `Signature-Input`.
    pub signature_input: String,
    /// `Signature`.
    pub signature: String,
}

/// Why the keeper did not sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum SignRefusal {
    /// There is no such session any more.
    #[error("the session is over")]
    SessionOver,
    /// The session may not use this destination.
    #[error("the session may not use {authority}")]
    Destination {
        /// Which.
        authority: String,
    },
    /// The session may not open a tunnel there.
    #[error("the session may open no tunnel to {authority}")]
    Tunnel {
        /// Where.
        authority: String,
    },
    /// What is to be signed makes no request.
    #[error("the request cannot be signed: {why}")]
    Malformed {
        /// What is wrong.
        why: String,
    },
    /// The session asks for more signatures than it may.
    #[error("the session asks for too many signatures; try again later")]
    TooMany,
    /// The keeper cannot sign anything now.
    #[error("the signer cannot sign now; its log says why")]
    Unavailable,
}
