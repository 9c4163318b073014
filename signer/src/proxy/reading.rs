//! How the proxy reads what an agent sends, without a keeper and without a gateway: for fuzzing, and in no other build.

use super::target::{self, Place, Scheme};
use super::{agent, connect, head};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::sync::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};

/// Bytes of a head, as the signer takes them unless it is told otherwise.
const HEAD: usize = 64 * 1024;

/// What would be signed and sent of a request.
#[derive(Debug)]
pub struct Read {
    /// The method.
    pub method: Method,
    /// `@authority`.
    pub authority: String,
    /// Where it goes, with its port.
    pub place: String,
    /// Path and query; none of CONNECT.
    pub path: Option<String>,
    /// Header lines that go on.
    pub headers: HeaderMap,
    /// Bytes of its body.
    pub body: usize,
}

/// Reads requests as they come outside of tunnels, or inside of one to `inside`, until the connection ends. `None` where one is
/// refused.
pub async fn requests<S>(stream: S, inside: Option<&str>) -> Vec<Option<Read>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let place = inside.and_then(|text| Place::of_host(text.as_bytes(), Scheme::Https).ok());
    let seen = Mutex::new(Vec::new());
    let service = service_fn(|request| {
        let (seen, place) = (&seen, place.as_ref());
        async move {
            let read = read(request, place).await;
            if let Ok(mut seen) = seen.lock() {
                seen.push(read);
            }
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let mut builder = http1::Builder::new();
    builder.header_read_timeout(None).auto_date_header(false).max_buf_size(HEAD);
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
    seen.into_inner().unwrap_or_default()
}

async fn read(request: Request<Incoming>, inside: Option<&Place>) -> Option<Read> {
    let (scheme, place, path) = match inside {
        Some(place) => {
            agent::check_inside(place, &request).ok()?;
            (Scheme::Https, place.clone(), Some(target::path(request.uri()).ok()?))
        }
        None if request.method() == Method::CONNECT => (Scheme::Https, connect::read(&request).ok()?, None),
        None => {
            let (scheme, place) = agent::absolute_target(&request).ok()?;
            (scheme, place, Some(target::path(request.uri()).ok()?))
        }
    };
    let (parts, body) = request.into_parts();
    let body = body.collect().await.ok()?.to_bytes();
    Some(Read {
        method: parts.method,
        authority: place.authority(scheme),
        place: place.with_port(),
        path: path.map(|path| path.to_string()),
        headers: head::towards_gateway(&parts.headers).ok()?,
        body: body.len(),
    })
}
