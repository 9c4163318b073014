//! The other end of the socket pair: opens sessions and signs, with a key that the gateway of the test knows.

use crate::gateway::Gateway;
use base64::Engine as _;
use exeat_engine::context::sign::{ContextFields, SignatureInput, required_components};
use exeat_engine::request::RequestHead;
use exeat_signer::protocol::frame::{FrameReader, FrameWriter};
use exeat_signer::protocol::{
    GatewayConfiguration, Opening, ProxyConfiguration, RequestToSign, SessionNumber, SignRefusal, SignedFields,
    SpoolConfiguration, ToKeeper, ToProxy,
};
use exeat_signer::proxy::{self, ProxyError};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

/// For whatever takes milliseconds on an idle machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// Key id under which the gateway knows the key.
pub(crate) const KEYID: &str = "test";

/// A proxy with its keeper.
pub(crate) struct Signer {
    to_proxy: mpsc::UnboundedSender<(ToProxy, Option<OwnedFd>)>,
    state: Arc<State>,
    next: AtomicU64,
    _gone: DropGuard,
    /// Ends with the proxy.
    pub(crate) thread: Option<JoinHandle<Result<(), ProxyError>>>,
    /// The spool's directory.
    pub(crate) spool: tempfile::TempDir,
}

type Samples = Vec<(String, f64)>;

struct State {
    key: ed25519_compact::KeyPair,
    scheme: &'static str,
    opened: Mutex<HashMap<SessionNumber, oneshot::Sender<Result<String, String>>>>,
    measured: Mutex<HashMap<u64, oneshot::Sender<Samples>>>,
    drained: Mutex<Option<oneshot::Sender<()>>>,
    signed: Mutex<Vec<RequestToSign>>,
}

/// A session as its agent knows it.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) number: SessionNumber,
    pub(crate) address: SocketAddr,
    pub(crate) password: String,
    pub(crate) ca_pem: String,
}

impl Session {
    /// Value of `Proxy-Authorization`.
    pub(crate) fn credentials(&self) -> String {
        let text = format!("agent:{}", self.password);
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text))
    }
}

/// What a test may want otherwise.
pub(crate) fn configuration(gateway: &Gateway, spool: PathBuf) -> ProxyConfiguration {
    ProxyConfiguration {
        gateway: GatewayConfiguration {
            url: gateway.url(),
            addresses: vec![gateway.address],
            ca_pem: gateway.ca_pem.clone(),
            client_chain_pem: gateway.client.as_ref().map(|(chain, _)| chain.clone()),
            client_key_pem: gateway.client.as_ref().map(|(_, key)| exeat_signer::protocol::Secret(key.clone())),
        },
        spool: SpoolConfiguration {
            directory: spool,
            body_memory: 64 * 1024,
            total_memory: 4 * 1024 * 1024,
            body: 8 * 1024 * 1024,
            total_files: 64 * 1024 * 1024,
        },
        connections: 1000,
        head_seconds: 20,
        handshake_seconds: 20,
        body_seconds: 20,
        head_bytes: 64 * 1024,
        answer_seconds: 30,
    }
}

pub(crate) fn opening(number: SessionNumber, password: &str) -> Opening {
    Opening {
        session: number,
        name: format!("s-{}", number.0),
        password_sha256: Some(Sha256::digest(password).iter().map(|byte| format!("{byte:02x}")).collect()),
        uids: Vec::new(),
        tunnels: Vec::new(),
        connections: 200,
        idle_seconds: 60,
    }
}

impl Signer {
    pub(crate) fn start(gateway: &Gateway) -> Self {
        Self::start_with(gateway, |_| {})
    }

    /// Must be called on a runtime.
    pub(crate) fn start_with(gateway: &Gateway, change: impl FnOnce(&mut ProxyConfiguration)) -> Self {
        let spool = tempfile::tempdir().unwrap();
        let mut configuration = configuration(gateway, spool.path().to_owned());
        change(&mut configuration);
        let (near, far) = UnixStream::pair().unwrap();
        let thread = std::thread::spawn(move || proxy::run(far));
        near.set_nonblocking(true).unwrap();
        let near = Arc::new(tokio::net::UnixStream::from_std(near).unwrap());
        let (to_proxy, mut messages) = mpsc::unbounded_channel::<(ToProxy, Option<OwnedFd>)>();
        let mut writer = FrameWriter::new(Arc::clone(&near));
        let gone = CancellationToken::new();
        tokio::spawn(gone.clone().run_until_cancelled_owned(async move {
            while let Some((message, descriptor)) = messages.recv().await {
                if writer.send(&message, descriptor.as_ref().map(|fd| fd.as_fd())).await.is_err() {
                    return;
                }
            }
        }));
        let state = Arc::new(State {
            key: gateway.key.clone(),
            scheme: if gateway.ca_pem.is_some() { "https" } else { "http" },
            opened: Mutex::default(),
            measured: Mutex::default(),
            drained: Mutex::default(),
            signed: Mutex::default(),
        });
        let listening = Arc::clone(&state).listen(FrameReader::new(near), to_proxy.downgrade());
        tokio::spawn(gone.clone().run_until_cancelled_owned(listening));
        to_proxy.send((ToProxy::Configure(Box::new(configuration)), None)).unwrap();
        Self { to_proxy, state, next: AtomicU64::new(1), _gone: gone.drop_guard(), thread: Some(thread), spool }
    }

    pub(crate) async fn open(&self) -> Session {
        self.open_with(|_| {}).await
    }

    pub(crate) async fn open_with(&self, change: impl FnOnce(&mut Opening)) -> Session {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let number = SessionNumber(self.next.fetch_add(1, Ordering::Relaxed));
        let password = format!("password-{}", number.0);
        let mut opening = opening(number, &password);
        change(&mut opening);
        let ca_pem = self.open_on(opening, listener.into()).await.unwrap();
        Session { number, address, password, ca_pem }
    }

    pub(crate) async fn open_on(&self, opening: Opening, listener: OwnedFd) -> Result<String, String> {
        let (sender, opened) = oneshot::channel();
        self.state.opened.lock().unwrap().insert(opening.session, sender);
        self.say(ToProxy::Open(Box::new(opening)), Some(listener));
        within(opened).await.unwrap()
    }

    pub(crate) fn number(&self) -> SessionNumber {
        SessionNumber(self.next.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn say(&self, message: ToProxy, descriptor: Option<OwnedFd>) {
        self.to_proxy.send((message, descriptor)).unwrap();
    }

    /// What the proxy wanted signed so far.
    pub(crate) fn signed(&self) -> Vec<RequestToSign> {
        self.state.signed.lock().unwrap().clone()
    }

    pub(crate) async fn drain(&self) {
        let (sender, drained) = oneshot::channel();
        *self.state.drained.lock().unwrap() = Some(sender);
        self.say(ToProxy::Drain, None);
        within(drained).await.unwrap();
    }

    /// One sample of what the proxy counted; 0 when it has none of that name.
    pub(crate) async fn sample(&self, name: &str) -> f64 {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, measured) = oneshot::channel();
        self.state.measured.lock().unwrap().insert(id, sender);
        self.say(ToProxy::Measure { id }, None);
        let samples = within(measured).await.unwrap();
        samples.iter().find(|(own, _)| own == name).map_or(0.0, |(_, value)| *value)
    }

    /// Waits until a sample has a value.
    pub(crate) async fn wait_for(&self, name: &str, value: f64) {
        let start = std::time::Instant::now();
        loop {
            let now = self.sample(name).await;
            if now == value {
                return;
            }
            assert!(start.elapsed() < LIMIT, "{name} is {now}, not {value}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(LIMIT, future).await.expect("nothing within the limit")
}

impl State {
    async fn listen(
        self: Arc<Self>,
        mut reader: FrameReader,
        to_proxy: mpsc::WeakUnboundedSender<(ToProxy, Option<OwnedFd>)>,
    ) {
        while let Ok(Some(message)) = reader.next::<ToKeeper>().await {
            match message {
                ToKeeper::Opened { session, ca_pem } => self.opened(session, Ok(ca_pem)),
                ToKeeper::OpenFailed { session, why } => self.opened(session, Err(why)),
                ToKeeper::Sign { id, session, request } => {
                    let result = self.sign(session, &request);
                    self.signed.lock().unwrap().push(*request);
                    let Some(to_proxy) = to_proxy.upgrade() else { return };
                    let _ = to_proxy.send((ToProxy::Signed { id, result }, None));
                }
                ToKeeper::Drained => {
                    if let Some(sender) = self.drained.lock().unwrap().take() {
                        let _ = sender.send(());
                    }
                }
                ToKeeper::Measured { id, samples } => {
                    if let Some(sender) = self.measured.lock().unwrap().remove(&id) {
                        let _ = sender.send(samples);
                    }
                }
            }
        }
    }

    fn opened(&self, session: SessionNumber, result: Result<String, String>) {
        let sender = self.opened.lock().unwrap().remove(&session);
        sender.expect("a session that was asked for").send(result).unwrap();
    }

    fn sign(&self, session: SessionNumber, request: &RequestToSign) -> Result<SignedFields, SignRefusal> {
        if request.authority.starts_with("denied.") {
            return Err(SignRefusal::Destination { authority: request.authority.clone() });
        }
        if request.authority.starts_with("busy.") {
            return Err(SignRefusal::TooMany);
        }
        let context = ContextFields {
            agent: "support/summarizer".to_owned(),
            session: format!("s-{}", session.0),
            ..ContextFields::default()
        };
        let agent_context = context.to_field().unwrap();
        let mut fields = vec![("agent-context".into(), agent_context.clone().into())];
        let body = [
            ("content-digest", &request.content_digest),
            ("content-type", &request.content_type),
            ("content-encoding", &request.content_encoding),
        ];
        for (name, value) in body {
            fields.extend(value.iter().map(|value| (name.into(), value.clone().into())));
        }
        let head = RequestHead {
            method: request.method.clone().into(),
            scheme: Some(self.scheme.into()),
            authority: request.authority.clone().into(),
            path: request.path.clone().map(Into::into),
            fields,
        };
        let components = required_components(&head, request.content_digest.is_some());
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).unwrap();
        let nonce = base64::engine::general_purpose::STANDARD.encode(nonce);
        let input = SignatureInput::new(components, KEYID, now.try_into().unwrap(), &nonce);
        let base = input.base(&head).map_err(|error| SignRefusal::Malformed { why: error.to_string() })?;
        let [(_, signature_input), (_, signature)] = input.lines(&*self.key.sk.sign(base, None)).unwrap();
        Ok(SignedFields { agent_context, signature_input, signature })
    }
}
