//! What an upstream answers, bad manners included.

use std::io;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::channel::Channel;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;

use super::Recorded;

pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// An answer: a status with fields and a body, whole or in pieces with pauses, or none at all.
#[derive(Clone, Debug)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    chunks: Vec<(Duration, Vec<u8>)>,
    trailers: Vec<(String, Vec<u8>)>,
    delay: Duration,
    manner: Manner,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// All of the answer.
    Whole,
    /// Resets after the last chunk.
    BreakOff,
    /// Closes without an answer.
    Close,
    /// Never answers.
    Hang,
}

impl Reply {
    /// A status without fields or body.
    pub fn new(status: u16) -> Self {
        let (headers, chunks, trailers) = (Vec::new(), Vec::new(), Vec::new());
        Self { status, headers, chunks, trailers, delay: Duration::ZERO, manner: Manner::Whole }
    }

    /// 200 with a JSON account of the request. Values that are not UTF-8 are shown with replacement characters.
    pub fn echo(request: &Recorded) -> Self {
        let headers: Vec<[String; 2]> = request
            .headers
            .iter()
            .map(|(name, value)| [name.clone(), String::from_utf8_lossy(value).into_owned()])
            .collect();
        let account = serde_json::json!({
            "method": request.method,
            "authority": request.authority,
            "path": request.path,
            "headers": headers,
            "body_length": request.body_length,
            "body_sha256": request.body_sha256,
        });
        Self::new(200).header("content-type", "application/json").body(account.to_string())
    }

    /// Closes the connection (HTTP/2: resets the stream) instead of answering.
    pub fn close() -> Self {
        Self { manner: Manner::Close, ..Self::new(500) }
    }

    /// Takes the request and stays silent.
    pub fn hang() -> Self {
        Self { manner: Manner::Hang, ..Self::new(500) }
    }

    /// Adds a field. One that HTTP does not allow makes the upstream close instead of answering.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// The whole body, with `content-length`.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.chunks = vec![(Duration::ZERO, body.into())];
        let length = self.chunks.iter().map(|(_, chunk)| chunk.len()).sum::<usize>();
        self.header("content-length", length.to_string())
    }

    /// One more piece of a body of unannounced length, after a pause.
    pub fn chunk(mut self, pause: Duration, chunk: impl Into<Vec<u8>>) -> Self {
        self.chunks.push((pause, chunk.into()));
        self
    }

    /// A field after the body. HTTP/1.1 sends it to those alone who asked with `te: trailers`.
    pub fn trailer(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.trailers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Waits before the status.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Resets after the last chunk instead of ending the body.
    pub fn then_break_off(mut self) -> Self {
        self.manner = Manner::BreakOff;
        self
    }

    pub(super) async fn into_response(self) -> io::Result<http::Response<Body>> {
        tokio::time::sleep(self.delay).await;
        match self.manner {
            Manner::Close => return Err(io::Error::other("the responder closes")),
            Manner::Hang => std::future::pending().await,
            Manner::Whole | Manner::BreakOff => {}
        }
        let mut response = http::Response::builder().status(self.status).body(()).map_err(io::Error::other)?;
        *response.headers_mut() = header_map(&self.headers)?;
        let trailers = header_map(&self.trailers)?;
        for name in trailers.keys() {
            // hyper sends only announced trailers over HTTP/1.1.
            response.headers_mut().append(http::header::TRAILER, name.clone().into());
        }
        if let (true, [], Manner::Whole) = (trailers.is_empty(), self.chunks.as_slice(), self.manner) {
            return Ok(response.map(|()| Full::default().map_err(|never| match never {}).boxed_unsync()));
        }
        let (mut writer, body) = Channel::new(1);
        tokio::spawn(async move {
            for (pause, chunk) in self.chunks {
                tokio::time::sleep(pause).await;
                if writer.send_data(chunk.into()).await.is_err() {
                    return;
                }
            }
            if self.manner == Manner::BreakOff {
                // Bytes still in hyper's buffer would be lost with the connection.
                tokio::time::sleep(Duration::from_millis(50)).await;
                writer.abort(io::Error::other("the responder breaks off"));
            } else if !trailers.is_empty() {
                let _ = writer.send_trailers(trailers).await;
            }
        });
        Ok(response.map(|()| body.boxed_unsync()))
    }
}

fn header_map(fields: &[(String, Vec<u8>)]) -> io::Result<HeaderMap> {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        let name: HeaderName = name.parse().map_err(io::Error::other)?;
        map.append(name, HeaderValue::from_bytes(value).map_err(io::Error::other)?);
    }
    Ok(map)
}
