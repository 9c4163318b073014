//! A gateway that scenarios can be run on.

use super::gateway::Gateway;
use super::wire::WireRequest;
use anyhow::Result;
use serde_json::Value;

/// What came back for a request.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status.
    pub status: u16,
    /// Fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Reply {
    /// A field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// A request as it arrived at the upstream.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// Method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Authority.
    pub authority: String,
    /// Fields, those of the trailers included; names in lower case.
    pub headers: Vec<(String, String)>,
    /// Length of the body.
    pub body_bytes: u64,
    /// The body, or its beginning.
    pub body: Vec<u8>,
}

/// A gateway with everything around it.
pub trait Subject {
    /// What it is, for messages.
    fn name(&self) -> &'static str;

    /// Whether requests meet the whole gateway; otherwise they meet the filter alone.
    fn is_whole(&self) -> bool;

    /// Its keys and documents.
    fn gateway(&self) -> &Gateway;

    /// Seconds since the Unix epoch, on the gateway's clock.
    fn now(&self) -> u64;

    /// Port of the upstream.
    fn upstream_port(&self) -> u16;

    /// Sends a request.
    fn send(&mut self, request: &WireRequest) -> Result<Reply>;

    /// What arrived at the upstream since the last time.
    fn arrived(&mut self) -> Result<Vec<Arrived>>;

    /// Every record that the collector has and can vouch for, once it holds a decision record of this id.
    fn records(&mut self, decision: &str) -> Result<Vec<Value>>;
}
