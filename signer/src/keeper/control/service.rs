//! What orchestrators and tools can have done: the keeper, the proxy and the files of sessions together.

use super::problem::Problem;
use crate::keeper::facts::{Listen, SessionRequest};
use crate::keeper::files::{RuntimeDirectory, SessionFiles};
use crate::keeper::key::SigningKey;
use crate::keeper::link::Link;
use crate::keeper::session::{Ending, SessionState};
use crate::keeper::table::{Keeper, Now, RefusedSession, random_text};
use crate::protocol::{Opening, SessionNumber};
use exeat_engine::hex::hex;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Reads the signing key again from where it came; says why it cannot.
pub type Reload = Box<dyn Fn() -> Result<SigningKey, String> + Send + Sync>;

/// Everything behind the control socket.
pub struct Service {
    pub(super) keeper: Arc<Keeper>,
    link: Link,
    directory: RuntimeDirectory,
    files: Mutex<BTreeMap<SessionNumber, SessionFiles>>,
    reload: Reload,
    stopping: AtomicBool,
}

/// A session that was opened: what the agent gets.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OpenedSession {
    /// The session.
    #[serde(flatten)]
    pub state: SessionState,
    /// The proxy's URL, password included; for a Unix socket, `unix:` and its path.
    pub proxy: String,
    /// PEM of the certificate that the agent's programs are to trust.
    pub ca_pem: String,
    /// File with that certificate. It goes with the session.
    pub ca_file: PathBuf,
    /// Variables for the agent's programs; null: to be unset.
    pub environment: BTreeMap<&'static str, Option<String>>,
}

impl Service {
    /// Puts the parts together.
    pub fn new(keeper: Arc<Keeper>, link: Link, directory: RuntimeDirectory, reload: Reload) -> Self {
        Self { keeper, link, directory, files: Mutex::default(), reload, stopping: AtomicBool::new(false) }
    }

    /// Opens a session, to the point where its proxy serves.
    pub(super) async fn open(self: Arc<Self>, request: SessionRequest) -> Result<OpenedSession, Problem> {
        // In a task of its own: a caller who hangs up half way must not leave half a session.
        let opening = tokio::spawn(async move { self.open_to_the_end(request).await });
        opening.await.unwrap_or_else(|_| Err(Problem::internal()))
    }

    async fn open_to_the_end(&self, request: SessionRequest) -> Result<OpenedSession, Problem> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(Problem::stopping());
        }
        let listen = request.listen;
        if listen == Listen::Unix && request.uids.is_empty() {
            let why = "uids: a Unix socket serves only user ids that are named; name those of the agent".to_owned();
            return Err(RefusedSession::Unfit { why }.into());
        }
        let password = match listen {
            Listen::Tcp => Some(random_text::<16>()?),
            Listen::Unix => None,
        };
        let digest = password.as_ref().map(|password| hex(&Sha256::digest(password.as_bytes())));
        let (state, opening) = self.keeper.open(request, digest, Now::read())?;
        let number = opening.session;
        match self.serve(&state, opening, listen, password).await {
            Ok(opened) => {
                tracing::info!(
                    session = opened.state.session,
                    agent = opened.state.agent,
                    id = opened.state.id,
                    "session opened"
                );
                Ok(opened)
            }
            Err(error) => {
                tracing::error!(session = state.session, error = format!("{error:#}"), "session not opened");
                self.keeper.close_number(number, Ending::Failed, Now::read());
                self.forget(number).await;
                Err(Problem::proxy(format!("{error:#}")))
            }
        }
    }

    async fn serve(
        &self,
        state: &SessionState,
        opening: Opening,
        listen: Listen,
        password: Option<String>,
    ) -> anyhow::Result<OpenedSession> {
        let number = opening.session;
        let files = self.directory.session(&state.id)?;
        let (listener, proxy): (OwnedFd, String) = match listen {
            Listen::Tcp => {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
                let address = listener.local_addr()?;
                let password = password.unwrap_or_default();
                (listener.into(), format!("http://exeat:{password}@{address}"))
            }
            Listen::Unix => (files.listen()?.into(), format!("unix:{}", files.socket().display())),
        };
        let ca_file = files.ca();
        // Before the proxy is asked, so that whatever happens now, closing the session removes them.
        self.files().insert(number, files);
        let ca_pem = self.link.open(opening, listener).await?;
        match self.files().get(&number) {
            Some(files) => files.write_ca(&ca_pem)?,
            None => anyhow::bail!("the session was closed while it was opened"),
        }
        let environment = environment(&ca_file.to_string_lossy(), (listen == Listen::Tcp).then_some(&proxy));
        Ok(OpenedSession { state: state.clone(), proxy, ca_pem, ca_file, environment })
    }

    /// Ends a session.
    pub(super) async fn close(self: Arc<Self>, id: String) -> Result<(), Problem> {
        let (number, _) = self.keeper.close(&id, Ending::Closed, Now::read())?;
        let closing = tokio::spawn(async move { self.forget(number).await });
        closing.await.map_err(|_| Problem::internal())
    }

    /// Ends what is over by now.
    pub async fn expire(&self) {
        for (number, _) in self.keeper.expire(Now::read()) {
            self.forget(number).await;
        }
    }

    /// Opens no more sessions. Those that are open go on.
    pub fn stop_opening(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Ends all sessions.
    pub async fn close_all(&self) {
        for (number, _) in self.keeper.close_all(Ending::Stopped, Now::read()) {
            self.forget(number).await;
        }
    }

    async fn forget(&self, number: SessionNumber) {
        self.link.close(number).await;
        self.files().remove(&number);
    }

    /// Reads the key again and signs with it from now on; says whether it is another.
    ///
    /// # Errors
    /// Why the old one stays.
    pub fn rotate(&self) -> Result<bool, String> {
        let result = (self.reload)().and_then(|key| self.keeper.change_key(key).map_err(|error| error.to_string()));
        match &result {
            Ok(true) => tracing::info!(keyid = self.keeper.keyid(), "key changed"),
            Ok(false) => tracing::info!(keyid = self.keeper.keyid(), "key read again; it is the same"),
            Err(error) => tracing::error!(keyid = self.keeper.keyid(), error, "key not changed; the old one stays"),
        }
        result
    }

    /// Metrics of keeper and proxy.
    pub(super) async fn metrics(&self) -> String {
        let samples = self.link.measure().await.unwrap_or_default();
        self.keeper.counters.text(self.keeper.sessions(Now::read()).len(), &samples)
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<SessionNumber, SessionFiles>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What programs read to find proxy and certificate. Some read only one of two spellings.
fn environment(ca: &str, proxy: Option<&String>) -> BTreeMap<&'static str, Option<String>> {
    let mut variables: BTreeMap<&'static str, Option<String>> = BTreeMap::new();
    if let Some(proxy) = proxy {
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
            variables.insert(name, Some(proxy.clone()));
        }
        // Node 24: fetch and http take the proxy of the environment.
        variables.insert("NODE_USE_ENV_PROXY", Some("1".to_owned()));
        for name in ["NO_PROXY", "no_proxy"] {
            variables.insert(name, Some(String::new()));
        }
        for name in ["ALL_PROXY", "all_proxy"] {
            variables.insert(name, None);
        }
    }
    let files = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO"];
    for name in files {
        variables.insert(name, Some(ca.to_owned()));
    }
    // Where it is set, OpenSSL trusts what is there besides.
    variables.insert("SSL_CERT_DIR", None);
    variables
}
