//! HTTP/2 with prior knowledge, through hyper: what its types can express goes out, in the order given.

use std::error::Error as _;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use http::HeaderMap;
use http_body_util::BodyExt;
use http_body_util::channel::Channel;
use hyper::body::Bytes;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::{LIMIT, Response};
use crate::stage::runtime::{self, Background};
use crate::stage::{Error, Result};

/// One connection. Requests follow one another, or run side by side from several threads on clones.
#[derive(Clone, Debug)]
pub struct Http2 {
    peer: SocketAddr,
    sender: SendRequest<Channel<Bytes>>,
    limit: Duration,
    _driver: std::sync::Arc<Background>,
}

impl Http2 {
    /// Connects without TLS, with [`LIMIT`] for this and each later step.
    pub fn connect(peer: SocketAddr) -> Result<Self> {
        let (sender, connection) = runtime::wait(&peer.to_string(), LIMIT, async move {
            let stream = TcpStream::connect(peer).await.map_err(Error::io(format!("connecting to {peer}")))?;
            handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(|error| problem(peer, &error))
        })?;
        let driver = Background::start(async move {
            // Its errors reach the requests.
            let _ = connection.await;
        })?;
        Ok(Self { peer, sender, limit: LIMIT, _driver: std::sync::Arc::new(driver) })
    }

    /// Another limit for each later step.
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Sends a request and reads the answer. `:scheme` and `:authority` come from the URI; a `host` field may stand beside.
    pub fn send(&self, request: http::Request<Vec<u8>>) -> Result<Response> {
        let (head, body) = request.into_parts();
        let chunks = if body.is_empty() { Vec::new() } else { vec![body] };
        self.send_stream(http::Request::from_parts(head, ()), chunks, Duration::ZERO, None)
    }

    /// Sends the body as one DATA frame or more for each chunk, with a pause before each, then the trailers.
    pub fn send_stream(
        &self,
        request: http::Request<()>,
        chunks: Vec<Vec<u8>>,
        pause: Duration,
        trailers: Option<HeaderMap>,
    ) -> Result<Response> {
        let peer = self.peer;
        let mut sender = self.sender.clone();
        let (mut writer, body) = Channel::new(1);
        let nothing_to_send = chunks.is_empty() && trailers.is_none();
        let request = request.map(|()| body);
        runtime::wait(&peer.to_string(), self.limit, async move {
            sender.ready().await.map_err(|error| problem(peer, &error))?;
            if nothing_to_send {
                drop(writer);
            } else {
                tokio::spawn(async move {
                    for chunk in chunks {
                        tokio::time::sleep(pause).await;
                        // The peer may answer, and stop reading, before the end.
                        if writer.send_data(chunk.into()).await.is_err() {
                            return;
                        }
                    }
                    if let Some(trailers) = trailers {
                        let _ = writer.send_trailers(trailers).await;
                    }
                });
            }
            let answer = sender.send_request(request).await.map_err(|error| problem(peer, &error))?;
            Ok(read(answer).await)
        })
    }
}

async fn read(answer: http::Response<hyper::body::Incoming>) -> Response {
    let (head, mut body) = answer.into_parts();
    let mut response = Response { status: head.status.as_u16(), headers: fields(&head.headers), ..Response::default() };
    while let Some(frame) = body.frame().await {
        match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(data)) => response.body.extend_from_slice(&data),
            Ok(Err(frame)) => response.trailers = frame.trailers_ref().map(fields).unwrap_or_default(),
            Err(_) => {
                response.truncated = true;
                break;
            }
        }
    }
    response
}

fn fields(map: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    map.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}

/// hyper's message with its causes: `stream error received: refused stream` rather than `http2 error`.
fn problem(peer: impl fmt::Display, error: &hyper::Error) -> Error {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    Error::protocol(peer, text)
}
