//! The side of the agent: what may stand in a request here, and what is done with it.

use super::AgentBody;
use super::activity::Watched;
use super::exchange::{self, Exchange};
use super::problem::{Problem, Refusal};
use super::session::Connection;
use super::settings::STREAMS;
use super::target::{Place, Scheme, absolute};
use super::{connect, head};
use http::header::HOST;
use http::{Method, Request, Response, Version};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

/// Bytes of a request body that may be under way in one stream, and half of those in one connection.
const WINDOW: u32 = 64 * 1024;

/// Bytes of an answer that wait in one stream for an agent to read them.
const SEND_BUFFER: usize = 64 * 1024;

/// Serves a connection that was accepted, in HTTP/1.
pub(crate) async fn serve<S>(connection: Arc<Connection>, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = connection.watch(stream);
    let requests = Arc::clone(&connection);
    let service = service_fn(move |request| {
        let connection = Arc::clone(&requests);
        async move { Ok::<_, Infallible>(outside(connection, request).await) }
    });
    let served = http1_builder(&connection).serve_connection(TokioIo::new(stream), service).with_upgrades();
    if connection
        .until_over(graceful(served, &connection.drain, http1::UpgradeableConnection::graceful_shutdown))
        .await
        .is_none()
    {
        connection.kill.cancel();
    }
}

/// Serves what is inside a tunnel whose TLS ends here.
pub(crate) async fn serve_inside<S>(connection: &Arc<Connection>, place: Place, stream: S, is_http2: bool)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let requests = Arc::clone(connection);
    let service = service_fn(move |request| {
        let (connection, place) = (Arc::clone(&requests), place.clone());
        async move { Ok::<_, Infallible>(inside(connection, place, request).await) }
    });
    let settings = &connection.session.shared.settings;
    let ended = if is_http2 {
        // Windows and buffers are memory that an agent can fill without being asked for it, times its connections.
        let served = http2::Builder::new(Tasks(Arc::clone(connection)))
            .timer(TokioTimer::new())
            .auto_date_header(false)
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(u32::try_from(settings.head_bytes).unwrap_or(u32::MAX))
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW * 2)
            .max_send_buf_size(SEND_BUFFER)
            .serve_connection(TokioIo::new(stream), service);
        connection.until_over(graceful(served, &connection.drain, http2::Connection::graceful_shutdown)).await
    } else {
        let stream = Watched::new(stream, &connection.activity, Arc::new(AtomicBool::new(true)));
        let served = http1_builder(connection).serve_connection(TokioIo::new(stream), service).with_upgrades();
        connection
            .until_over(graceful(served, &connection.drain, http1::UpgradeableConnection::graceful_shutdown))
            .await
    };
    // An upgraded connection goes on; with HTTP/2 there are none.
    if ended.is_none() || is_http2 {
        connection.kill.cancel();
    }
}

fn http1_builder(connection: &Connection) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // Heads have their time limit in `activity`: hyper's would count the pause between two requests too.
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .auto_date_header(false)
        .max_buf_size(connection.session.shared.settings.head_bytes);
    builder
}

/// Serves until the end, or until what is at work has ended after `drain`.
async fn graceful<C: Future>(served: C, drain: &CancellationToken, shut: fn(Pin<&mut C>)) -> C::Output {
    let mut served = std::pin::pin!(served);
    tokio::select! {
        ended = served.as_mut() => return ended,
        () = drain.cancelled() => {}
    }
    shut(served.as_mut());
    served.await
}

/// Runs the streams of an HTTP/2 connection; they end with it.
#[derive(Clone)]
struct Tasks(Arc<Connection>);

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        let kill = self.0.kill.clone();
        self.0.session.shared.tasks.spawn(async move {
            tokio::select! {
                () = future => {}
                () = kill.cancelled() => {}
            }
        });
    }
}

/// A request to the proxy.
async fn outside(connection: Arc<Connection>, request: Request<Incoming>) -> Response<AgentBody> {
    let exchange = Exchange::begin(&connection, request.method());
    let has_body = !request.body().is_end_stream();
    if let Err(problem) = connection.admit(request.headers()) {
        return exchange.refuse(&problem, has_body);
    }
    if request.method() == Method::CONNECT {
        return connect::open(exchange, request).await;
    }
    match absolute_target(&request) {
        Ok((scheme, place)) => exchange::pass(exchange, scheme, &place, request).await,
        Err(problem) => exchange.refuse(&problem, has_body),
    }
}

pub(super) fn absolute_target(request: &Request<Incoming>) -> Result<(Scheme, Place), Problem> {
    let (scheme, place) = absolute(request.uri())?;
    head::check(request.version(), request.headers())?;
    // RFC 9112 section 3.2.2 has the target count. A host that differs was meant for somebody who thinks otherwise.
    if let Some(host) = request.headers().get(HOST)
        && Place::of_host(host.as_bytes(), scheme)? != place
    {
        return Err(Problem::new(Refusal::RequestMalformed, "The host is not that of the target."));
    }
    Ok((scheme, place))
}

/// A request inside a tunnel to `place`.
async fn inside(connection: Arc<Connection>, place: Place, request: Request<Incoming>) -> Response<AgentBody> {
    let exchange = Exchange::begin(&connection, request.method());
    match check_inside(&place, &request) {
        Ok(()) => exchange::pass(exchange, Scheme::Https, &place, request).await,
        Err(problem) => {
            let has_body = !request.body().is_end_stream();
            exchange.refuse(&problem, has_body)
        }
    }
}

pub(super) fn check_inside(place: &Place, request: &Request<Incoming>) -> Result<(), Problem> {
    if request.method() == Method::CONNECT {
        return Err(Refusal::ConnectNested.into());
    }
    head::check(request.version(), request.headers())?;
    let uri = request.uri();
    let host = request.headers().get(HOST).map(http::HeaderValue::as_bytes);
    let named: Vec<&[u8]> = if request.version() == Version::HTTP_2 {
        if uri.scheme_str().is_some_and(|scheme| scheme != "https") {
            return Err(Problem::new(Refusal::RequestMalformed, "Inside TLS the scheme is https."));
        }
        uri.authority().map(|authority| authority.as_str().as_bytes()).into_iter().chain(host).collect()
    } else if uri.authority().is_some() || uri.scheme().is_some() {
        return Err(Problem::new(Refusal::RequestMalformed, "Inside a tunnel targets are in origin form."));
    } else {
        host.into_iter().collect()
    };
    if named.is_empty() {
        return Err(Problem::new(Refusal::RequestMalformed, "The request names no host."));
    }
    for name in named {
        if Place::of_host(name, Scheme::Https)? != *place {
            return Err(Refusal::AuthorityMismatch.into());
        }
    }
    Ok(())
}
