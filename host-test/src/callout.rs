//! HTTP callouts: what the filter dispatched and what the test answers.

use std::time::Duration;

use crate::headers::Headers;
use crate::message::Response;

/// A callout that waits for its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callout {
    /// What `proxy_http_call` returned; unique within the VM.
    pub token: u32,
    /// The root context that it belongs to.
    pub root: u32,
    /// The cluster.
    pub cluster: String,
    /// Head as sent, with the `content-length` that Envoy adds.
    pub headers: Headers,
    /// Body as sent.
    pub body: Vec<u8>,
    /// Trailers as sent.
    pub trailers: Headers,
    /// How long the gateway waits; `None` for ever.
    pub timeout: Option<Duration>,
    /// When it times out, on the monotonic clock.
    pub(crate) due: Option<Duration>,
}

impl Callout {
    /// A field of the head as text.
    pub fn text(&self, name: &str) -> Option<String> {
        self.headers.text(name).map(Into::into)
    }

    /// The body as text; bytes that are not UTF-8 are replaced.
    pub fn body_text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What becomes of a callout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The cluster responds.
    Respond(Response),
    /// The stream is reset: the filter is told with zero headers.
    Reset,
    /// Nothing yet: it stays open for a later answer or its timeout.
    LeaveOpen,
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Self::Respond(response)
    }
}

/// The response during `proxy_on_http_call_response`.
#[derive(Debug)]
pub(crate) struct Delivered {
    pub(crate) root: u32,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Headers,
}
