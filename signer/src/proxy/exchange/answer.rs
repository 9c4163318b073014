//! The answer on its way back, and the line of log that says how it went.

use super::Exchange;
use crate::proxy::gateway::{Answer, Slot};
use crate::proxy::metrics::Metrics;
use crate::proxy::problem::Refusal;
use crate::proxy::{AgentBody, head};
use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

/// Characters of a method in the log; there is no bound on what agents call one.
const METHOD: usize = 32;

/// What the log will say of a request when it is over. Never a path, a query, a body or a credential.
pub(super) struct Log {
    session: String,
    method: String,
    pub(super) host: String,
    started: Instant,
    outcome: Option<Outcome>,
    pub(super) bytes: u64,
    metrics: Arc<Metrics>,
}

enum Outcome {
    Answered { status: StatusCode, decision: String, millis: u128 },
    Refused(Refusal),
}

impl Log {
    pub(super) fn new(session: &str, method: &Method, metrics: Arc<Metrics>) -> Self {
        Self {
            session: session.to_owned(),
            method: method.as_str().chars().take(METHOD).collect(),
            host: String::new(),
            started: Instant::now(),
            outcome: None,
            bytes: 0,
            metrics,
        }
    }

    pub(super) fn answered(&mut self, status: StatusCode, decision: Option<&HeaderValue>) {
        self.metrics.answered(status);
        let decision = decision.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        self.outcome = Some(Outcome::Answered { status, decision, millis: self.started.elapsed().as_millis() });
    }

    pub(super) fn refused(&mut self, refusal: Refusal) {
        self.metrics.refused(refusal);
        self.outcome = Some(Outcome::Refused(refusal));
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let Self { session, method, host, bytes, .. } = self;
        let millis = self.started.elapsed().as_millis();
        match &self.outcome {
            Some(Outcome::Answered { status, decision, millis: head }) => {
                let status = status.as_u16();
                tracing::info!(session, method, host, status, decision, head_ms = head, ms = millis, bytes, "request");
            }
            Some(Outcome::Refused(refusal)) => {
                tracing::info!(session, method, host, refused = refusal.code(), ms = millis, "request");
            }
            None => {
                self.metrics.abandoned();
                tracing::info!(session, method, host, refused = "abandoned", ms = millis, "request");
            }
        }
    }
}

/// An answer without content.
pub(super) fn empty(status: StatusCode) -> Response<AgentBody> {
    let mut response = Response::new(Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response
}

/// Passes an answer on piece by piece, as it comes.
pub(super) fn streamed(mut exchange: Exchange, answer: Answer) -> Response<AgentBody> {
    let Answer { response, place } = answer;
    let (mut parts, body) = response.into_parts();
    exchange.log.answered(parts.status, parts.headers.get("exeat-decision"));
    head::towards_agent(&mut parts.headers);
    parts.version = http::Version::HTTP_11;
    parts.extensions.clear();
    Response::from_parts(parts, Streamed { body, exchange, _place: place }.boxed_unsync())
}

/// The content of an answer; with it ends the exchange.
struct Streamed {
    body: Incoming,
    exchange: Exchange,
    _place: Option<Slot>,
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
            self.exchange.log.bytes = self.exchange.log.bytes.saturating_add(bytes);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
