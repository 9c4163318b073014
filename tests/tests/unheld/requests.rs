//! Requests of `support/summarizer`, and what became of each.

use exeat_cli::sign::UnsignedRequest;
use exeat_e2e::scenario::document::Protocol;
use exeat_e2e::scenario::plain::{self, HOST};
use exeat_e2e::scenario::real::{RealEnvoy, framed};
use exeat_e2e::scenario::subject::Subject as _;
use exeat_e2e::scenario::wire::WireRequest;
use exeat_e2e::stage::client::{Connection, Response};
use exeat_e2e::stage::upstream::Progress;
use exeat_engine::context::sign::ContextFields;
use serde_json::Value;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// A request, signed.
pub(crate) struct Asked(WireRequest);

pub(crate) fn get(real: &RealEnvoy, path: &str) -> Asked {
    signed(real, "GET", path, Vec::new())
}

pub(crate) fn post(real: &RealEnvoy, path: &str, bytes: usize) -> Asked {
    signed(real, "POST", path, (b'a'..=b'z').cycle().take(bytes).collect())
}

fn signed(real: &RealEnvoy, method: &str, path: &str, body: Vec<u8>) -> Asked {
    let url = format!("http://{HOST}:{}{path}", real.upstream_port());
    let mut unsigned = UnsignedRequest::new(method, &url).unwrap();
    if !body.is_empty() {
        unsigned = unsigned.field("content-type", "text/plain").body(body);
    }
    let context = ContextFields { tenant: Some("acme".to_owned()), ..plain::context() };
    Asked(WireRequest::signed(&unsigned, &context, real).unwrap())
}

impl Asked {
    /// Its length is not announced.
    pub(crate) fn in_pieces(mut self, bytes: usize) -> Self {
        self.0.chunked = Some(bytes);
        self
    }

    /// Nobody signed it.
    pub(crate) fn unsigned(mut self) -> Self {
        self.0.fields.retain(|(name, _)| !name.starts_with(b"signature"));
        self.0.fields.retain(|(name, _)| name != b"agent-context");
        self
    }

    /// Another body than was signed, as long.
    pub(crate) fn changed(mut self) -> Self {
        *self.0.body.last_mut().unwrap() ^= 1;
        self
    }

    pub(crate) fn http2(mut self) -> Self {
        self.0.protocol = Protocol::Http2;
        self
    }

    /// The answer to it on this connection.
    pub(crate) fn on(&self, connection: &mut Connection) -> Response {
        connection.send(&framed(&self.0)).unwrap()
    }

    /// The bytes of it in HTTP/1.1.
    pub(crate) fn framed(&self) -> Vec<u8> {
        framed(&self.0).bytes()
    }

    /// Its head in HTTP/2.
    pub(crate) fn head(&self) -> http::Request<()> {
        let uri = format!("http://{}{}", self.0.authority, self.0.target);
        let head = http::Request::builder().method(self.0.method.as_str()).uri(uri);
        let fields = self.0.fields.iter();
        fields.fold(head, |head, (name, value)| head.header(name.as_slice(), value.as_slice())).body(()).unwrap()
    }

    /// Its body in pieces.
    pub(crate) fn pieces(&self) -> Vec<Vec<u8>> {
        self.0.body.chunks(self.0.chunked.unwrap_or(usize::MAX)).map(<[u8]>::to_vec).collect()
    }
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    status: u16,
    reason: String,
    /// What of it arrived: whole, or the head alone and no end; `None`: nothing.
    arrived: Option<(Progress, u64)>,
}

impl Sent {
    pub(crate) fn whole(status: u16, bytes: u64) -> Self {
        Self { status, reason: String::new(), arrived: Some((Progress::Complete, bytes)) }
    }

    /// Nothing of it left.
    pub(crate) fn refused(status: u16, reason: &str) -> Self {
        Self { status, reason: reason.to_owned(), arrived: None }
    }

    /// Its head left and not a byte of its body.
    pub(crate) fn cut(status: u16, reason: &str) -> Self {
        Self { status, reason: reason.to_owned(), arrived: Some((Progress::Aborted, 0)) }
    }
}

pub(crate) fn reason(body: &[u8]) -> String {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    problem["reason"].as_str().unwrap_or_default().to_owned()
}

/// Sends it and waits for what arrives. A head that is cut may never come as far as the upstream: then that it did not come
/// further is all there is to see, and counts as cut.
pub(crate) fn send(real: &RealEnvoy, request: Asked) -> Sent {
    let reply = request.on(&mut Connection::open(real.listener).unwrap().with_limit(LIMIT));
    let reason = reason(&reply.body);
    let released = reply.header("exeat-decision").map(|id| released(real, id));
    if released.as_deref() == Some("head") && reply.status != 200 {
        let ended = |requests: &[exeat_e2e::stage::upstream::Recorded]| {
            requests.iter().all(|request| request.progress != Progress::Receiving)
        };
        real.upstream.wait_until("its end", LIMIT, ended).unwrap();
        let arrived = real.upstream.take().first().map_or((Progress::Aborted, 0), |r| (r.progress, r.body_length));
        return Sent { status: reply.status, reason, arrived: Some(arrived) };
    }
    let arrived = real.upstream.take().first().map(|request| (request.progress, request.body_length));
    Sent { status: reply.status, reason, arrived }
}

/// How much was let go by a decision, or by the one that it follows.
fn released(real: &RealEnvoy, id: &str) -> String {
    let find = |records: &[Value], id: &str| records.iter().find(|record| record["id"] == id).cloned();
    let records = real.wait_for_records("the decision", |records| find(records, id).is_some()).unwrap();
    let record = find(&records, id).unwrap();
    match record.get("follows").and_then(Value::as_str).and_then(|first| find(&records, first)) {
        Some(first) => first["released"].as_str().unwrap().to_owned(),
        None => record["released"].as_str().unwrap().to_owned(),
    }
}
