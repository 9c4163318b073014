//! What goes in and comes out of an exchange: requests, responses, replies, and the record of what happened.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::headers::Headers;

/// How the end of a body shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// A last empty data frame ends the body, as Envoy's HTTP/1 codec does it.
    #[default]
    Http1,
    /// The last data frame carries the end, as HTTP/2 does it.
    Http2,
}

/// A request as it arrives at the filter, after Envoy's connection manager.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    pub(crate) headers: Headers,
    pub(crate) chunks: Vec<Vec<u8>>,
    pub(crate) trailers: Option<Headers>,
    pub(crate) framing: Framing,
    pub(crate) open: bool,
    pub(crate) properties: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) filter_state: BTreeMap<String, Vec<u8>>,
}

impl Request {
    /// A request with the four pseudo-headers and the `x-forwarded-proto` and `x-request-id` that Envoy adds.
    pub fn new(method: &str, authority: &str, path: &str) -> Self {
        Self::bare([
            (":authority", authority),
            (":path", path),
            (":method", method),
            (":scheme", "http"),
            ("x-forwarded-proto", "http"),
            ("x-request-id", "6f2e0d6c-0000-4000-8000-000000000001"),
        ])
    }

    /// `GET`.
    pub fn get(authority: &str, path: &str) -> Self {
        Self::new("GET", authority, path)
    }

    /// `POST` with this body in one chunk.
    pub fn post(authority: &str, path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", authority, path).body(body)
    }

    /// `CONNECT`: no path, and the stream stays open for tunnel bytes.
    pub fn connect(authority: &str) -> Self {
        let mut request = Self::bare([
            (":authority", authority),
            (":method", "CONNECT"),
            ("x-forwarded-proto", "http"),
            ("x-request-id", "6f2e0d6c-0000-4000-8000-000000000001"),
        ]);
        request.open = true;
        request
    }

    /// A request with exactly these fields and no others.
    pub fn bare(headers: impl Into<Headers>) -> Self {
        Self { headers: headers.into(), ..Self::default() }
    }

    /// The request that left another filter, as the next filter of the same stream sees it: same head, body, trailers
    /// and filter state. This is how an upstream filter (a guard) gets its turn.
    pub fn from_forwarded(forwarded: &ForwardedRequest) -> Self {
        Self {
            headers: forwarded.headers.clone(),
            chunks: forwarded.chunks.clone(),
            trailers: forwarded.trailers.clone(),
            filter_state: forwarded.filter_state.clone(),
            ..Self::default()
        }
    }

    /// Appends a field.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// Removes all fields of this name.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers = self.headers.iter().filter(|(n, _)| !n.eq_ignore_ascii_case(name)).collect();
        self
    }

    /// The whole body in one chunk.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.chunks = vec![body.into()];
        self
    }

    /// The body in these chunks, one body callback each.
    #[must_use]
    pub fn chunks<C: Into<Vec<u8>>>(mut self, chunks: impl IntoIterator<Item = C>) -> Self {
        self.chunks = chunks.into_iter().map(Into::into).collect();
        self
    }

    /// Trailers after the body.
    #[must_use]
    pub fn trailers(mut self, trailers: impl Into<Headers>) -> Self {
        self.trailers = Some(trailers.into());
        self
    }

    /// How the end of the body shows. HTTP/1 unless set.
    #[must_use]
    pub fn framing(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    /// The request never ends by itself: a tunnel or an upgraded connection.
    #[must_use]
    pub fn open(mut self) -> Self {
        self.open = true;
        self
    }

    /// A property that the filter can read, over whatever the host would have said.
    #[must_use]
    pub fn property<S: AsRef<[u8]>>(mut self, path: impl IntoIterator<Item = S>, value: impl AsRef<[u8]>) -> Self {
        self.properties.insert(join_path(path), value.as_ref().to_vec());
        self
    }

    /// Filter state that an earlier filter left, by its full name (`wasm.x`).
    #[must_use]
    pub fn filter_state(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.filter_state.insert(name.to_owned(), value.as_ref().to_vec());
        self
    }
}

pub(crate) fn join_path<S: AsRef<[u8]>>(path: impl IntoIterator<Item = S>) -> Vec<u8> {
    path.into_iter().map(|p| p.as_ref().to_vec()).collect::<Vec<_>>().join(&0)
}

/// What an upstream or a callout's cluster answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// With `:status` first.
    pub headers: Headers,
    /// The body, one callback a chunk.
    pub chunks: Vec<Vec<u8>>,
    /// Trailers after the body.
    pub trailers: Option<Headers>,
}

impl Response {
    /// A response without a body.
    pub fn new(status: u16) -> Self {
        Self { headers: Headers::from([(":status", status.to_string())]), chunks: Vec::new(), trailers: None }
    }

    /// 200 with this body.
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::new(200).body(body)
    }

    /// Appends a field.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// The whole body in one chunk.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.chunks = vec![body.into()];
        self
    }

    /// The body in these chunks.
    #[must_use]
    pub fn chunks<C: Into<Vec<u8>>>(mut self, chunks: impl IntoIterator<Item = C>) -> Self {
        self.chunks = chunks.into_iter().map(Into::into).collect();
        self
    }

    /// Trailers after the body.
    #[must_use]
    pub fn trailers(mut self, trailers: impl Into<Headers>) -> Self {
        self.trailers = Some(trailers.into());
        self
    }
}

/// What an upstream does with a request that reached it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upstream {
    /// Answers.
    Respond(Response),
    /// Breaks the connection before the response.
    Reset,
    /// Never answers.
    Silent,
}

impl From<Response> for Upstream {
    fn from(response: Response) -> Self {
        Self::Respond(response)
    }
}

/// What left the gateway towards the upstream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForwardedRequest {
    /// The head as it left.
    pub headers: Headers,
    /// The body as it left, in the frames in which it left; an empty last frame is not kept.
    pub chunks: Vec<Vec<u8>>,
    /// Trailers, if any left.
    pub trailers: Option<Headers>,
    /// Whether the whole request left. False for one cut off by a local reply.
    pub complete: bool,
    /// Filter state at the time of asking, for the next filter.
    pub filter_state: BTreeMap<String, Vec<u8>>,
}

impl ForwardedRequest {
    /// The whole body.
    pub fn body(&self) -> Vec<u8> {
        self.chunks.concat()
    }

    /// A field as text.
    pub fn text(&self, name: &str) -> Option<String> {
        self.headers.text(name).map(Into::into)
    }
}

/// What the client saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientResponse {
    /// With `:status` first.
    pub headers: Headers,
    /// The body, frame by frame.
    pub chunks: Vec<Vec<u8>>,
    /// Trailers, if any came.
    pub trailers: Option<Headers>,
    /// Whether it came to its end.
    pub complete: bool,
}

impl ClientResponse {
    /// The status, 0 where it cannot be read.
    pub fn status(&self) -> u16 {
        status(&self.headers)
    }

    /// The whole body.
    pub fn body(&self) -> Vec<u8> {
        self.chunks.concat()
    }

    /// The whole body as text; bytes that are not UTF-8 are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body()).into_owned()
    }
}

pub(crate) fn status(headers: &Headers) -> u16 {
    headers.text(":status").and_then(|s| s.parse().ok()).unwrap_or(0)
}

/// Who answered instead of the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyOrigin {
    /// The filter called `proxy_send_local_response`.
    Filter,
    /// The gateway itself: a dead VM, a buffer limit, no route, no upstream.
    Gateway,
}

/// A reply that did not come from the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalReply {
    /// HTTP status.
    pub status: u16,
    /// The fields that the filter gave.
    pub headers: Headers,
    /// The body.
    pub body: Vec<u8>,
    /// Envoy's response code details, such as `wasm_fail_stream`.
    pub details: String,
    /// Who answered.
    pub origin: ReplyOrigin,
}

/// What happened to a stream, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The host called this export, and it returned this (0 for exports that return nothing).
    Callback {
        /// Name of the export.
        name: &'static str,
        /// What it returned.
        returned: u32,
    },
    /// The request head left for the upstream.
    HeadForwarded,
    /// So many body bytes left for the upstream.
    BodyForwarded(usize),
    /// The request's trailers left for the upstream.
    TrailersForwarded,
    /// A local reply with this status was made.
    LocalReply(u16),
    /// The response head went to the client.
    ResponseStarted(u16),
    /// So many body bytes went to the client.
    ResponseBody(usize),
    /// The stream was reset.
    Reset,
}

/// The end of an exchange, from all sides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What left the gateway; `None` when nothing did.
    pub upstream: Option<ForwardedRequest>,
    /// The reply that the gateway gave itself, if it did.
    pub local_reply: Option<LocalReply>,
    /// What the client saw; `None` when it saw nothing.
    pub response: Option<ClientResponse>,
    /// Whether the stream was reset (closed by the filter, cut off in the middle of a response).
    pub reset: bool,
    /// Why nothing more happens although the exchange is not over, for people.
    pub hung: Option<String>,
    /// Filter state at the end, by full name (`wasm.x`).
    pub filter_state: BTreeMap<String, Vec<u8>>,
    /// All that happened, in order.
    pub events: Vec<Event>,
    /// What went wrong inside the VM, if anything did.
    pub failure: Option<Error>,
}

impl Outcome {
    /// Status that the client saw, 0 if none.
    pub fn status(&self) -> u16 {
        self.response.as_ref().map_or(0, ClientResponse::status)
    }

    /// Whether any byte of the request left the gateway.
    pub fn left(&self) -> bool {
        self.upstream.is_some()
    }
}
