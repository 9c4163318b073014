//! CONNECT: the TLS that follows ends here. Only to authorities that the session names is a tunnel passed on blind, and then by
//! the gateway's leave.

use super::AgentBody;
use super::agent::serve_inside;
use super::exchange::{self, Exchange};
use super::problem::{Problem, Refusal};
use super::session::Connection;
use super::target::Place;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Body as _, Incoming};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio_rustls::TlsAcceptor;

/// Answers CONNECT.
pub(crate) async fn open(mut exchange: Exchange, mut request: Request<Incoming>) -> Response<AgentBody> {
    let place = match read(&request) {
        Ok(place) => place,
        Err(problem) => return exchange.refuse(&problem, !request.body().is_end_stream()),
    };
    let connection = Arc::clone(exchange.connection());
    let authority = place.with_port();
    exchange.named(&authority);
    if connection.session.may_tunnel(&authority) {
        return exchange::tunnel(exchange, authority, request).await;
    }
    let config = match connection.session.authority.server(&place.host) {
        Ok(config) => config,
        Err(error) => {
            tracing::error!(session = connection.session.name, %error, "no certificate for a tunnel");
            return exchange.refuse(&Refusal::SignerUnavailable.into(), false);
        }
    };
    // From here on bytes are TLS.
    connection.heads.store(false, Ordering::Relaxed);
    let upgrade = hyper::upgrade::on(&mut request);
    let tasks = connection.session.shared.tasks.clone();
    tasks.spawn(end_tls(connection, place, config, upgrade));
    exchange.opened();
    Response::new(Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync())
}

pub(super) fn read(request: &Request<Incoming>) -> Result<Place, Problem> {
    let place = Place::of_connect(request.uri())?;
    // RFC 9110 section 9.3.6: content has no meaning. What is the tunnel's first byte must not be a matter of opinion.
    let empty = |value: &http::HeaderValue| value.as_bytes() == b"0";
    if request.headers().contains_key(TRANSFER_ENCODING) || !request.headers().get_all(CONTENT_LENGTH).iter().all(empty)
    {
        return Err(Problem::new(Refusal::RequestMalformed, "CONNECT has no body."));
    }
    Ok(place)
}

async fn end_tls(connection: Arc<Connection>, place: Place, config: Arc<ServerConfig>, upgrade: OnUpgrade) {
    let metrics = Arc::clone(&connection.session.shared.metrics);
    let _tunnel = metrics.tunnel();
    let handshake = tokio::time::timeout(connection.session.shared.settings.handshake, async {
        let stream = upgrade.await.map_err(std::io::Error::other)?;
        TlsAcceptor::from(config).accept(TokioIo::new(stream)).await
    });
    match connection.until_over(handshake).await {
        Some(Ok(Ok(stream))) => {
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            serve_inside(&connection, place, stream, is_http2).await;
        }
        Some(Ok(Err(error))) => {
            metrics.handshake_failed();
            tracing::info!(session = connection.session.name, host = place.with_port(), %error, "no TLS in a tunnel");
        }
        Some(Err(_)) => {
            metrics.handshake_failed();
            tracing::info!(session = connection.session.name, host = place.with_port(), "no TLS in a tunnel in time");
        }
        None => {}
    }
}
