//! Connections of the collector: plain on loopback, TLS elsewhere, so many at a time, and none that dawdles over its head.

use crate::terminal::say;
use anyhow::{Context as _, bail};
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

/// Connections at the same time. More wait to be accepted.
const CONNECTIONS: usize = 512;
/// Time for a TLS handshake, and for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Options of TLS.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Beyond loopback")]
pub struct TlsArgs {
    /// Certificate chain of the server, PEM. Needed beyond loopback.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Authorities of client certificates, PEM: whoever has none of theirs is not let in.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub client_ca: Option<PathBuf>,
}

impl TlsArgs {
    /// The TLS to speak on an address; `None` for plain HTTP, which is for loopback alone: openings name people.
    pub fn acceptor(&self, address: SocketAddr, token: bool) -> anyhow::Result<Option<TlsAcceptor>> {
        let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) else {
            if !address.ip().is_loopback() {
                bail!(
                    "{address} is not a loopback address, and openings name people: give --tls-cert and --tls-key, and \
                     --client-ca or --token so that not everybody may send"
                );
            }
            return Ok(None);
        };
        if !address.ip().is_loopback() && self.client_ca.is_none() && !token {
            bail!("everybody who reaches {address} could send: give --client-ca, or --token");
        }
        let chain = certificates(cert)?;
        let place = || format!("--tls-key {}", key.display());
        let key = PrivateKeyDer::from_pem_file(key).with_context(|| format!("{}: no private key in PEM", place()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(file)? {
                    roots.add(authority).with_context(|| format!("--client-ca {}: no authority", file.display()))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .with_context(|| format!("{} does not fit --tls-cert {}", place(), cert.display()))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Some(TlsAcceptor::from(Arc::new(config))))
    }
}

/// The certificates of a PEM file, of which there must be one.
pub fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let place = || format!("{}: no certificates in PEM", file.display());
    let all: Vec<_> =
        CertificateDer::pem_file_iter(file).with_context(place)?.collect::<Result<_, _>>().with_context(place)?;
    anyhow::ensure!(!all.is_empty(), place());
    Ok(all)
}

/// Serves until `stop` is done; then no connection is taken any more, and those that are open get `grace` to end.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    stop: impl Future<Output = ()>,
    grace: Duration,
) -> anyhow::Result<()> {
    let (open, ending) = (Arc::new(Semaphore::new(CONNECTIONS)), GracefulShutdown::new());
    let mut stop = std::pin::pin!(stop);
    loop {
        let next = async {
            let place = Arc::clone(&open).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! { next = next => next, () = &mut stop => break };
        let (Ok(place), Ok((stream, _))) = (place, accepted) else {
            // Out of descriptors: others must end first.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (tls, router, watcher) = (tls.clone(), router.clone(), ending.watcher());
        tokio::spawn(async move {
            let _place = place;
            match tls {
                None => connection(stream, router, watcher).await,
                Some(tls) => {
                    if let Ok(Ok(stream)) = tokio::time::timeout(HEAD_TIMEOUT, tls.accept(stream)).await {
                        connection(stream, router, watcher).await;
                    }
                }
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(grace, ending.shutdown()).await.is_err() {
        say!("exeat collect: gave up waiting for connections that do not end");
    }
    Ok(())
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(16).keep_alive_interval(HEAD_TIMEOUT);
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // A connection that breaks is its peer's affair.
    let _ = watcher.watch(served).await;
}
