//! The canonical form of a destination.

use crate::decision::Reason;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Scheme towards the upstream. From the configuration, never from the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Plain text.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// The port when the authority names none.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// The word in a URL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// A host in WHATWG form: lower case, punycode, no trailing dot; every IPv4 spelling recognised.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CanonicalHost {
    /// A name.
    Name(String),
    /// An IPv4 literal.
    Ipv4(Ipv4Addr),
    /// An IPv6 literal.
    Ipv6(Ipv6Addr),
}

/// A path that every server reads the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanonicalPath {
    /// As it was sent, and goes on.
    pub raw: String,
    /// Decoded segments between slashes; a trailing slash gives a last empty one. `/` is one empty segment.
    pub segments: Vec<String>,
}

/// A destination that was parsed once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanonicalDestination {
    /// Host.
    pub host: CanonicalHost,
    /// Port that is dialled.
    pub port: u16,
    /// Path; absent for CONNECT.
    pub path: Option<CanonicalPath>,
    /// Query without its `?`; `Some("")` for a lone `?`.
    pub query: Option<String>,
}

/// Why a destination is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DestinationError {
    /// The authority is not one host and port.
    Authority(&'static str),
}

impl DestinationError {
    /// The reason that stands in record and answer.
    pub fn reason(&self) -> Reason {
        Reason::DestinationMalformed
    }
}
