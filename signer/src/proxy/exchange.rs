//! One request and its answer: the body in whole, a signature, the gateway, and back piece by piece.

mod answer;

use super::AgentBody;
use super::activity::Exchanging;
use super::gateway::{Answer, SendError};
use super::head;
use super::link::Unsigned;
use super::metrics::Gauge;
use super::problem::{Problem, Refusal};
use super::session::Connection;
use super::settings::SIGN;
use super::spool::{Outgoing, Spooled};
use super::target::{self, Place, Scheme};
use crate::protocol::{RequestToSign, SignRefusal, SignedFields};
use answer::{Log, streamed};
use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue, UPGRADE,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::{Body as _, Incoming};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::sync::OwnedSemaphorePermit;

/// How often a request is sent, each time under a signature of its own.
const ATTEMPTS: u32 = 3;

/// What a request holds while it is at work.
pub(crate) struct Exchange {
    connection: Arc<Connection>,
    log: Log,
    slot: Option<OwnedSemaphorePermit>,
    _activity: Exchanging,
    _gauge: Gauge,
}

impl Exchange {
    /// A head is here.
    pub(crate) fn begin(connection: &Arc<Connection>, method: &Method) -> Self {
        let shared = &connection.session.shared;
        Self {
            connection: Arc::clone(connection),
            log: Log::new(&connection.session.name, method, Arc::clone(&shared.metrics)),
            slot: None,
            _activity: connection.activity.exchange(),
            _gauge: shared.metrics.request(),
        }
    }

    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Says where the request goes, for the log.
    pub(crate) fn named(&mut self, authority: &str) {
        authority.clone_into(&mut self.log.host);
    }

    /// Answers that the proxy does not pass it on.
    pub(crate) fn refuse(mut self, problem: &Problem, close: bool) -> Response<AgentBody> {
        self.log.refused(problem.refusal);
        problem.answer(close)
    }

    /// A tunnel that ends here was opened.
    pub(crate) fn opened(mut self) {
        self.log.answered(StatusCode::OK, None);
    }

    /// Waits for its turn in the session.
    async fn turn(&mut self) -> Result<(), Problem> {
        let session = &self.connection.session;
        let _queued = session.queue.try_acquire().map_err(|_| Refusal::Busy)?;
        let slot = Arc::clone(&session.exchanges).acquire_owned();
        let slot = tokio::time::timeout(SIGN, slot).await.ok().and_then(Result::ok);
        self.slot = Some(slot.ok_or(Refusal::Busy)?);
        Ok(())
    }
}

/// What is the same in each attempt.
struct Prepared {
    to_sign: RequestToSign,
    method: Method,
    authority: String,
    path: Option<PathAndQuery>,
    headers: HeaderMap,
    body: Option<Arc<Spooled>>,
    websocket: bool,
}

/// Passes a request on that was read and may stand here, and its answer back.
pub(crate) async fn pass(
    mut exchange: Exchange,
    scheme: Scheme,
    place: &Place,
    mut request: Request<Incoming>,
) -> Response<AgentBody> {
    exchange.named(&place.with_port());
    let websocket = head::wants_websocket(request.version(), request.method(), request.headers());
    let upgrade = websocket.then(|| hyper::upgrade::on(&mut request));
    let has_body = !request.body().is_end_stream();
    let prepared = match prepare(&mut exchange, scheme, place, request, websocket).await {
        Ok(prepared) => prepared,
        Err(problem) => return exchange.refuse(&problem, has_body),
    };
    match send(&exchange, &prepared).await {
        Ok(answer) => match upgrade {
            Some(agent) if answer.response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                upgraded(exchange, answer, agent)
            }
            _ => streamed(exchange, answer),
        },
        Err(problem) => exchange.refuse(&problem, false),
    }
}

/// Asks the gateway for a tunnel, and passes bytes both ways when it grants one.
pub(crate) async fn tunnel(
    mut exchange: Exchange,
    authority: String,
    mut request: Request<Incoming>,
) -> Response<AgentBody> {
    let agent = hyper::upgrade::on(&mut request);
    let prepared = Prepared {
        to_sign: RequestToSign {
            method: Method::CONNECT.as_str().to_owned(),
            scheme: Scheme::Https.as_str().to_owned(),
            authority: authority.clone(),
            path: None,
            content_digest: None,
            content_type: None,
            content_encoding: None,
        },
        method: Method::CONNECT,
        authority,
        path: None,
        headers: HeaderMap::new(),
        body: None,
        websocket: false,
    };
    if let Err(problem) = exchange.turn().await {
        return exchange.refuse(&problem, false);
    }
    match send(&exchange, &prepared).await {
        Ok(answer) if answer.response.status().is_success() => upgraded(exchange, answer, agent),
        Ok(answer) => streamed(exchange, answer),
        Err(problem) => exchange.refuse(&problem, false),
    }
}

async fn prepare(
    exchange: &mut Exchange,
    scheme: Scheme,
    place: &Place,
    request: Request<Incoming>,
    websocket: bool,
) -> Result<Prepared, Problem> {
    let path = target::path(request.uri())?;
    if websocket && !request.body().is_end_stream() {
        return Err(Problem::new(Refusal::RequestMalformed, "An upgrade has no body."));
    }
    exchange.turn().await?;
    let (parts, body) = request.into_parts();
    let session = &exchange.connection.session;
    let shared = &session.shared;
    let body = shared.spool.take(&session.share, &shared.settings, &parts.headers, body).await?.map(Arc::new);
    let mut headers = head::towards_gateway(&parts.headers)?;
    let authority = place.authority(scheme);
    let covered = |name| if body.is_some() { head::covered(&headers, &name) } else { Ok(None) };
    let to_sign = RequestToSign {
        method: parts.method.as_str().to_owned(),
        scheme: scheme.as_str().to_owned(),
        authority: authority.clone(),
        path: Some(path.as_str().to_owned()),
        content_digest: body.as_ref().map(|body| body.content_digest()),
        content_type: covered(CONTENT_TYPE)?,
        content_encoding: covered(CONTENT_ENCODING)?,
    };
    // As they are signed: without blanks around them.
    for (name, value) in [(CONTENT_TYPE, &to_sign.content_type), (CONTENT_ENCODING, &to_sign.content_encoding)] {
        if let Some(value) = value {
            headers.insert(name, field(value)?);
        }
    }
    if let (Some(body), Some(digest)) = (&body, &to_sign.content_digest) {
        headers.insert(CONTENT_LENGTH, body.length().into());
        headers.insert(HeaderName::from_static("content-digest"), field(digest)?);
    }
    if websocket {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
    Ok(Prepared { to_sign, method: parts.method, authority, path: Some(path), headers, body, websocket })
}

fn field(text: &str) -> Result<HeaderValue, Problem> {
    HeaderValue::from_str(text).map_err(|_| Refusal::Unsignable.into())
}

impl Prepared {
    /// Whether it goes over HTTP/1.1 and a connection of its own.
    fn alone(&self) -> bool {
        self.websocket || self.path.is_none()
    }

    /// The request under a signature, ready to be sent once.
    fn signed(
        &self,
        scheme: http::uri::Scheme,
        fields: &SignedFields,
        progress: &Arc<AtomicU64>,
    ) -> Result<Request<Outgoing>, Problem> {
        let body = self.body.as_ref().map(|body| body.outgoing(progress)).unwrap_or_default();
        let mut request = Request::new(body);
        let mut parts = http::uri::Parts::default();
        parts.path_and_query.clone_from(&self.path);
        if !self.alone() {
            parts.scheme = Some(scheme);
        }
        if !self.websocket {
            parts.authority = Some(self.authority.parse().map_err(|_| Problem::from(Refusal::DestinationMalformed))?);
        }
        *request.uri_mut() = Uri::from_parts(parts).map_err(|_| Problem::from(Refusal::Unsignable))?;
        *request.method_mut() = self.method.clone();
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        for (name, value) in [
            ("agent-context", &fields.agent_context),
            ("signature-input", &fields.signature_input),
            ("signature", &fields.signature),
        ] {
            let value = HeaderValue::from_str(value).map_err(|_| Problem::from(Refusal::SignerUnavailable))?;
            headers.insert(HeaderName::from_static(name), value);
        }
        if self.alone() {
            headers.insert(HOST, field(&self.authority)?);
        } else {
            *request.version_mut() = Version::HTTP_2;
        }
        Ok(request)
    }
}

/// Signs and sends, again where that repeats nothing.
async fn send(exchange: &Exchange, prepared: &Prepared) -> Result<Answer, Problem> {
    let session = &exchange.connection.session;
    let shared = &session.shared;
    let _waiting = exchange.connection.activity.wait();
    let limit = shared.settings.answer;
    let mut attempt = 1;
    loop {
        let signed = shared.keeper.sign(session.number, prepared.to_sign.clone()).await;
        let fields = signed.map_err(|refused| unsigned(&session.name, refused))?;
        let progress = Arc::default();
        let request = prepared.signed(shared.gateway.scheme(), &fields, &progress)?;
        let sent = if prepared.alone() {
            shared.gateway.send_alone(request, limit).await
        } else {
            shared.gateway.send(request, &progress, limit).await
        };
        let error = match sent {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        // RFC 9110 section 9.2.2: what may have been carried out is sent again only where twice is as good as once.
        let harmless = match error {
            SendError::Unseen => true,
            SendError::Broken(_) => prepared.method.is_idempotent(),
            SendError::Unreachable(_) | SendError::Silent => false,
        };
        if !harmless || attempt >= ATTEMPTS {
            return Err(unsent(&session.name, &error));
        }
        attempt = attempt.saturating_add(1);
        shared.metrics.resent();
    }
}

fn unsigned(session: &str, refused: Unsigned) -> Problem {
    match refused {
        Unsigned::Unanswered => {
            tracing::error!(session, "the keeper does not answer");
            Refusal::SignerUnavailable.into()
        }
        Unsigned::Refused(SignRefusal::SessionOver) => Refusal::SessionOver.into(),
        Unsigned::Refused(SignRefusal::Destination { authority }) => {
            Problem::new(Refusal::DestinationDenied, format!("The session may not use {authority}."))
        }
        Unsigned::Refused(SignRefusal::Tunnel { .. }) => Refusal::TunnelDenied.into(),
        Unsigned::Refused(SignRefusal::Malformed { why }) => {
            Problem::new(Refusal::Unsignable, format!("The request cannot be signed: {why}."))
        }
        Unsigned::Refused(SignRefusal::TooMany) => Refusal::SignaturesExhausted.into(),
        Unsigned::Refused(SignRefusal::Unavailable) => Refusal::SignerUnavailable.into(),
    }
}

fn unsent(session: &str, error: &SendError) -> Problem {
    match error {
        SendError::Unreachable(why) => {
            tracing::warn!(session, %why, "the gateway is away");
            Refusal::GatewayUnavailable.into()
        }
        SendError::Unseen => Refusal::GatewayUnavailable.into(),
        SendError::Broken(why) => {
            tracing::warn!(session, %why, "the gateway broke off");
            Refusal::GatewayFailed.into()
        }
        SendError::Silent => Refusal::GatewaySilent.into(),
    }
}

/// Passes the answer on with which HTTP ends, and then bytes both ways.
fn upgraded(mut exchange: Exchange, answer: Answer, agent: OnUpgrade) -> Response<AgentBody> {
    let Answer { response, place: _ } = answer;
    let (parts, body) = response.into_parts();
    exchange.log.answered(parts.status, parts.headers.get("exeat-decision"));
    let mut headers = parts.headers.clone();
    head::towards_agent(&mut headers);
    headers.remove(CONTENT_LENGTH);
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
    let gateway = hyper::upgrade::on(Response::from_parts(parts.clone(), body));
    let tasks = exchange.connection.session.shared.tasks.clone();
    tasks.spawn(async move {
        // Whole, so that it ends with the copying and not before.
        let mut exchange = exchange;
        let connection = Arc::clone(&exchange.connection);
        let _tunnel = connection.session.shared.metrics.tunnel();
        connection.heads.store(false, std::sync::atomic::Ordering::Relaxed);
        let copying = async {
            let (agent, gateway) = tokio::try_join!(agent, gateway).map_err(std::io::Error::other)?;
            tokio::io::copy_bidirectional(&mut TokioIo::new(agent), &mut TokioIo::new(gateway)).await
        };
        if let Some(Ok((sent, received))) = connection.until_over(copying).await {
            exchange.log.bytes = received;
            tracing::debug!(session = connection.session.name, sent, received, "an upgraded connection ended");
        }
    });
    let mut response = answer::empty(parts.status);
    *response.headers_mut() = headers;
    response
}
