//! A client of the control socket, for `exeat run` and whoever writes an orchestrator in Rust.

use crate::keeper::SessionRequest;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;

/// Bytes of an answer at most.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// Time for an answer. Opening a session waits for the proxy.
const ANSWER: Duration = Duration::from_secs(30);

/// Why the signer did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error(
        "no signer answers at {path}: {why}. Is `exeat signer` running, and is this its control socket (--control, EXEAT_CONTROL)?"
    )]
    Unreachable {
        /// Where.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
    /// It hung up without a word: so it treats users that may not use the control socket.
    #[error("the signer at {path} let nobody in: is user {uid} among its --orchestrator-uid?")]
    TurnedAway {
        /// Where.
        path: PathBuf,
        /// Who asked.
        uid: u32,
    },
    /// It refused.
    #[error("the signer refused: {title} {detail}")]
    Refused {
        /// Status.
        status: StatusCode,
        /// In a few words.
        title: String,
        /// What to do.
        detail: String,
    },
    /// It did not answer as this client understands.
    #[error("the signer at {path} answered something else than this program expects: {why}")]
    Answer {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// A session as its opener gets it.
#[derive(Clone, Debug, Deserialize)]
pub struct OpenSession {
    /// Names it on the control socket.
    pub id: String,
    /// `session` of its contexts.
    pub session: String,
    /// Seconds until it ends.
    pub expires_in: u64,
    /// URL of its proxy; a secret of the agent's.
    pub proxy: String,
    /// File with the certificate that the agent's programs are to trust.
    pub ca_file: PathBuf,
    /// Variables for them; `None`: to be unset.
    pub environment: BTreeMap<String, Option<String>>,
}

#[derive(Deserialize)]
struct Refusal {
    title: String,
    detail: String,
}

/// Talks to a signer; one connection for each request.
#[derive(Clone, Debug)]
pub struct ControlClient {
    path: PathBuf,
}

impl ControlClient {
    /// Of the signer that listens there.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a session.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn open(&self, request: &SessionRequest) -> Result<OpenSession, ClientError> {
        let body = serde_json::to_vec(request).map_err(|error| self.answer(error))?;
        self.read(&self.request(Method::POST, "/v1/sessions", body).await?)
    }

    /// Lets a session end so many seconds from now.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn extend(&self, id: &str, seconds: u64) -> Result<(), ClientError> {
        let body = serde_json::json!({"life": seconds}).to_string();
        self.request(Method::PATCH, &format!("/v1/sessions/{id}"), body.into_bytes()).await.map(drop)
    }

    /// Ends a session.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn close(&self, id: &str) -> Result<(), ClientError> {
        self.request(Method::DELETE, &format!("/v1/sessions/{id}"), Vec::new()).await.map(drop)
    }

    /// Asks for something; the body of an answer that is no refusal.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn request(&self, method: Method, resource: &str, body: Vec<u8>) -> Result<Bytes, ClientError> {
        let asking = tokio::time::timeout(ANSWER, self.ask(method, resource, body));
        let (status, body) = asking.await.map_err(|_| self.answer("it takes too long"))??;
        if status.is_success() {
            return Ok(body);
        }
        let Refusal { title, detail } = self.read(&body)?;
        Err(ClientError::Refused { status, title, detail })
    }

    async fn ask(&self, method: Method, resource: &str, body: Vec<u8>) -> Result<(StatusCode, Bytes), ClientError> {
        let unreachable =
            |error: std::io::Error| ClientError::Unreachable { path: self.path.clone(), why: error.to_string() };
        let stream = UnixStream::connect(&self.path).await.map_err(unreachable)?;
        let uid = rustix::process::geteuid().as_raw();
        let turned_away = |_| ClientError::TurnedAway { path: self.path.clone(), uid };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(turned_away)?;
        let request = Request::builder()
            .method(method)
            .uri(resource)
            .header("host", "signer")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| self.answer(error))?;
        // The connection lives as long as the request, and ends with it.
        let asking = async {
            let response = sender.send_request(request).await.map_err(turned_away)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            Ok((status, body.map_err(|error| self.answer(error))?.to_bytes()))
        };
        tokio::pin!(asking, connection);
        tokio::select! {
            answer = &mut asking => answer,
            _ = &mut connection => asking.await,
        }
    }

    fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(body).map_err(|error| self.answer(error))
    }

    fn answer(&self, why: impl std::fmt::Display) -> ClientError {
        ClientError::Answer { path: self.path.clone(), why: why.to_string() }
    }
}
