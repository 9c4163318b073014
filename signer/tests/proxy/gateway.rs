//! A gateway that lets through only what is signed for exactly the request that came, and remembers all of it.

use crate::keeper::KEYID;
use bytes::Bytes;
use exeat_engine::context::keyring::{KeyRing, PublicKey, SignerKey};
use exeat_engine::context::verify::{Expectations, Freshness, verify};
use exeat_engine::facts::Timestamp;
use exeat_engine::payload::BodyDigest;
use exeat_engine::request::RequestHead;
use http::header::{CONNECTION, LOCATION, UPGRADE};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body_util::channel::{Channel, Sender};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// URI name in the certificate that the proxy shows.
pub(crate) const SPIFFE: &str = "spiffe://acme.example/ns/agents/sa/signer";

/// A request that came, signed as it should be.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) version: Version,
    pub(crate) method: Method,
    pub(crate) authority: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    pub(crate) key: ed25519_compact::KeyPair,
    pub(crate) ca_pem: Option<String>,
    pub(crate) client: Option<(String, String)>,
    inner: Arc<Inner>,
    kill: CancellationToken,
}

struct Inner {
    keys: KeyRing,
    scheme: &'static str,
    seen: Mutex<Vec<Seen>>,
    unsigned: Mutex<Vec<String>>,
    nonces: Mutex<HashSet<String>>,
    connections: AtomicUsize,
    /// What is written of the answers to `/stream`.
    streams: Mutex<Vec<Sender<Bytes, std::io::Error>>>,
    /// The next request is dropped with its connection.
    break_off: AtomicBool,
    hold: tokio::sync::watch::Sender<bool>,
    waiting: AtomicUsize,
    kill_connections: Mutex<CancellationToken>,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill.cancel();
    }
}

impl Gateway {
    /// Without TLS.
    pub(crate) async fn start() -> Self {
        Self::listen(None).await
    }

    /// With TLS, for clients that show a certificate of its authority.
    pub(crate) async fn start_tls() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let issue = |name: SanType, purpose: ExtendedKeyUsagePurpose| {
            let mut params = CertificateParams::default();
            params.subject_alt_names = vec![name];
            params.extended_key_usages = vec![purpose];
            let key = KeyPair::generate().unwrap();
            (params.signed_by(&key, &issuer).unwrap(), key)
        };
        let server = SanType::DnsName("gateway.test".try_into().unwrap());
        let (certificate, key) = issue(server, ExtendedKeyUsagePurpose::ServerAuth);
        let (client, client_key) = issue(SanType::URI(SPIFFE.try_into().unwrap()), ExtendedKeyUsagePurpose::ClientAuth);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(issuer.der().clone()).unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut gateway = Self::listen(Some(TlsAcceptor::from(Arc::new(config)))).await;
        gateway.ca_pem = Some(issuer.pem());
        gateway.client = Some((client.pem(), client_key.serialize_pem()));
        gateway
    }

    async fn listen(tls: Option<TlsAcceptor>) -> Self {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).unwrap();
        let key = ed25519_compact::KeyPair::from_seed(ed25519_compact::Seed::new(seed));
        let mut keys = KeyRing::default();
        let public = PublicKey::from_bytes(*key.pk).unwrap();
        assert!(keys.insert(KEYID, SignerKey { signer: 0, public, not_before: None, not_after: None }));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let kill = CancellationToken::new();
        let inner = Arc::new(Inner {
            keys,
            scheme: if tls.is_some() { "https" } else { "http" },
            seen: Mutex::default(),
            unsigned: Mutex::default(),
            nonces: Mutex::default(),
            connections: AtomicUsize::new(0),
            streams: Mutex::default(),
            break_off: AtomicBool::new(false),
            hold: tokio::sync::watch::channel(false).0,
            waiting: AtomicUsize::new(0),
            kill_connections: Mutex::new(kill.child_token()),
        });
        tokio::spawn(accept(listener, tls, Arc::clone(&inner), kill.clone()));
        Self { address, key, ca_pem: None, client: None, inner, kill }
    }

    pub(crate) fn url(&self) -> String {
        match self.ca_pem {
            Some(_) => format!("https://gateway.test:{}", self.address.port()),
            None => format!("http://{}", self.address),
        }
    }

    /// The signed requests that came.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.inner.seen.lock().unwrap().clone()
    }

    /// Requests of any kind.
    pub(crate) fn count(&self) -> usize {
        assert_eq!(*self.inner.unsigned.lock().unwrap(), Vec::<String>::new());
        self.seen().len()
    }

    /// Nothing has come: no request, and nothing that is none.
    pub(crate) fn assert_untouched(&self) {
        assert_eq!(self.count(), 0);
        assert_eq!(self.inner.connections.load(Ordering::Relaxed), 0, "somebody connected");
    }

    pub(crate) fn connections(&self) -> usize {
        self.inner.connections.load(Ordering::Relaxed)
    }

    /// The writing end of the answer to the last `/stream`.
    pub(crate) fn stream(&self) -> Sender<Bytes, std::io::Error> {
        self.inner.streams.lock().unwrap().pop().expect("nobody asked for /stream")
    }

    /// The next request is not answered: its connection ends.
    pub(crate) fn break_off_once(&self) {
        self.inner.break_off.store(true, Ordering::Relaxed);
    }

    /// Requests to `/hold` wait until it is false.
    pub(crate) fn hold(&self, hold: bool) {
        self.inner.hold.send_replace(hold);
    }

    /// Requests that wait at `/hold`.
    pub(crate) fn waiting(&self) -> usize {
        self.inner.waiting.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, inner: Arc<Inner>, kill: CancellationToken) {
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted.unwrap().0,
            () = kill.cancelled() => return,
        };
        stream.set_nodelay(true).unwrap();
        inner.connections.fetch_add(1, Ordering::Relaxed);
        let (tls, inner) = (tls.clone(), Arc::clone(&inner));
        tokio::spawn(async move {
            match tls {
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => serve(stream, inner).await,
                    Err(error) => inner.unsigned.lock().unwrap().push(error.to_string()),
                },
                None => serve(stream, inner).await,
            }
        });
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, inner: Arc<Inner>) {
    let kill = inner.kill_connections.lock().unwrap().child_token();
    let ends = kill.clone();
    let service = service_fn(move |request| {
        let (inner, ends) = (Arc::clone(&inner), ends.clone());
        async move { inner.answer(request, &ends).await }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    tokio::select! {
        _ = builder.serve_connection_with_upgrades(TokioIo::new(stream), service) => {}
        () = kill.cancelled() => {}
    }
}

type Answer = Response<UnsyncBoxBody<Bytes, std::io::Error>>;

fn text(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    let body = Full::new(text.into()).map_err(|never| match never {}).boxed_unsync();
    Response::builder().status(status).header("exeat-decision", "00ff").body(body).unwrap()
}

impl Inner {
    async fn answer(&self, mut request: Request<Incoming>, ends: &CancellationToken) -> Result<Answer, std::io::Error> {
        if self.break_off.swap(false, Ordering::Relaxed) {
            ends.cancel();
            std::future::pending::<()>().await;
        }
        let upgrade = hyper::upgrade::on(&mut request);
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(std::io::Error::other)?;
        assert!(body.trailers().is_none(), "trailers came");
        let body = body.to_bytes();
        let host = parts.headers.get("host").map(|host| host.to_str().unwrap().to_owned());
        let authority = parts.uri.authority().map(ToString::to_string).or(host).unwrap();
        let path = parts.uri.path_and_query().map(|path| path.as_str().to_owned());
        let path = path.filter(|_| parts.method != Method::CONNECT);
        if let Err(problem) = self.check(&parts, &authority, path.as_deref(), &body) {
            self.unsigned.lock().unwrap().push(problem.clone());
            return Ok(text(StatusCode::UNAUTHORIZED, problem));
        }
        let path = path.unwrap_or_default();
        self.seen.lock().unwrap().push(Seen {
            version: parts.version,
            method: parts.method.clone(),
            authority: authority.clone(),
            path: path.clone(),
            headers: parts.headers.clone(),
            body,
        });
        if parts.method == Method::CONNECT {
            if authority.starts_with("closed.") {
                let mut refused = text(StatusCode::FORBIDDEN, "no tunnel");
                refused.headers_mut().insert("exeat-reason", "tunnel-denied".parse().unwrap());
                return Ok(refused);
            }
            tokio::spawn(echo(upgrade));
            return Ok(text(StatusCode::OK, ""));
        }
        Ok(match path.as_str() {
            "/ws" => {
                tokio::spawn(echo(upgrade));
                let mut answer = text(StatusCode::SWITCHING_PROTOCOLS, "");
                answer.headers_mut().insert(CONNECTION, "upgrade".parse().unwrap());
                answer.headers_mut().insert(UPGRADE, "websocket".parse().unwrap());
                answer.headers_mut().insert("sec-websocket-accept", "accepted".parse().unwrap());
                answer
            }
            "/no-ws" => {
                let mut refused = text(StatusCode::FORBIDDEN, "{\"reason\":\"upgrade-denied\"}");
                refused.headers_mut().insert("exeat-reason", "upgrade-denied".parse().unwrap());
                refused
            }
            "/stream" => {
                let (sender, body) = Channel::new(1);
                self.streams.lock().unwrap().push(sender);
                let mut answer = Response::new(body.boxed_unsync());
                answer.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
                answer
            }
            "/trailers" => {
                let (mut sender, body) = Channel::new(2);
                tokio::spawn(async move {
                    sender.send_data(Bytes::from_static(b"x")).await.unwrap();
                    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
                    sender.send(Frame::trailers(trailers)).await.unwrap();
                });
                Response::new(body.boxed_unsync())
            }
            "/hold" => {
                self.waiting.fetch_add(1, Ordering::Relaxed);
                let _ = self.hold.subscribe().wait_for(|hold| !hold).await;
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                text(StatusCode::OK, "held")
            }
            "/redirect" => {
                let mut answer = text(StatusCode::FOUND, "");
                answer.headers_mut().insert(LOCATION, "http://elsewhere.example/".parse().unwrap());
                answer
            }
            "/headers" => {
                let mut answer = text(StatusCode::OK, "ok");
                for (name, value) in [
                    ("alt-svc", "h3=\":443\""),
                    ("proxy-authenticate", "Basic"),
                    ("set-cookie", "a=1"),
                    ("set-cookie", "b=2"),
                    ("x-kept", "1"),
                ] {
                    answer.headers_mut().append(name, value.parse().unwrap());
                }
                answer
            }
            path => match path.strip_prefix("/big/") {
                Some(size) => text(StatusCode::OK, vec![b'b'; size.parse().unwrap()]),
                None => text(StatusCode::OK, "ok"),
            },
        })
    }

    /// As the filter does: signature over the head as it is on the wire, digest over the body, nonce once.
    fn check(
        &self,
        parts: &http::request::Parts,
        authority: &str,
        path: Option<&str>,
        body: &Bytes,
    ) -> Result<(), String> {
        let fields = parts.headers.iter().map(|(name, value)| (name.as_str().into(), value.as_bytes().to_vec().into()));
        let head = RequestHead {
            method: parts.method.to_string().into(),
            scheme: Some(self.scheme.into()),
            authority: authority.to_owned().into(),
            path: path.map(|path| path.to_owned().into()),
            fields: fields.collect(),
        };
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let expect = Expectations {
            keys: &self.keys,
            gateway: "test",
            freshness: Freshness::default(),
            now: Timestamp(now.as_millis().try_into().unwrap()),
            started: Timestamp(0),
        };
        let context = verify(&head, &expect).map_err(|error| error.to_string())?;
        if !self.nonces.lock().unwrap().insert(format!("{:?}", context.nonce)) {
            return Err("a nonce came twice".to_owned());
        }
        if body.is_empty() {
            return match context.covered_digests() {
                Ok(None) => Ok(()),
                other => Err(format!("{other:?} without a body")),
            };
        }
        let digests = context.require_body_coverage().map_err(|error| error.to_string())?;
        BodyDigest::of(body, Some(&digests)).check(&digests).map_err(|error| error.to_string())
    }
}

async fn echo(upgrade: hyper::upgrade::OnUpgrade) {
    let Ok(stream) = upgrade.await else { return };
    let (mut read, mut write) = tokio::io::split(TokioIo::new(stream));
    let _ = tokio::io::copy(&mut read, &mut write).await;
    let _ = tokio::io::AsyncWriteExt::shutdown(&mut write).await;
}
