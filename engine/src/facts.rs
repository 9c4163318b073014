//! What only the host knows about a request. The engine reads no clock and draws no randomness of its own.

use serde::{Deserialize, Serialize};

/// A point in time: milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// From whole seconds since the Unix epoch.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// Milliseconds since the Unix epoch.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// This time plus `millis`, saturating.
    pub const fn plus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to this time; 0 when `earlier` is later.
    pub const fn millis_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Facts about one request that only the host can state.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The time now.
    pub now: Timestamp,
    /// When the gateway process started: nothing signed before it is accepted.
    pub started: Timestamp,
    /// Fresh random bytes, used for this request only; ids and salts are derived from them.
    pub random: [u8; 32],
    /// SPIFFE id (first URI SAN) of the peer's verified certificate.
    pub peer: Option<String>,
    /// Address and port the request came from.
    pub source: Option<String>,
    /// The host's request id. Recorded, never trusted: a client may have set it.
    pub request_id: Option<String>,
}
