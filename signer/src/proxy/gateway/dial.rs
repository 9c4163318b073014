//! Opening a connection to the gateway: TCP, and TLS unless it is this machine's own.

use crate::protocol::GatewayConfiguration;
use crate::proxy::ProxyError;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What a connection is to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// A connection, over TLS or not.
pub(super) type Stream = Box<dyn Both>;

/// Reads and writes.
pub(super) trait Both: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Both for T {}

struct Tls {
    name: ServerName<'static>,
    http1: TlsConnector,
    http2: TlsConnector,
}

/// Knows where the gateway is and how to prove who is who.
pub(super) struct Dialler {
    url: String,
    tls: Option<Tls>,
    addresses: RwLock<Vec<SocketAddr>>,
}

impl Dialler {
    /// Reads the configuration.
    pub(super) fn new(configuration: &GatewayConfiguration) -> Result<Self, ProxyError> {
        let url = configuration.url.clone();
        let failed = |why: String| ProxyError::Gateway { url: url.clone(), why };
        let uri: http::Uri = url.parse().map_err(|error| failed(format!("{error}")))?;
        let host = uri.host().ok_or_else(|| failed("it names no host".to_owned()))?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(failed("it is an origin: scheme, host and port, without a path".to_owned()));
        }
        let tls = match uri.scheme_str() {
            Some("https") => Some(Tls::new(host, configuration).map_err(failed)?),
            Some("http") => None,
            _ => return Err(failed("its scheme is https, or http on loopback".to_owned())),
        };
        let dialler = Self { url: url.clone(), tls, addresses: RwLock::default() };
        dialler.set_addresses(configuration.addresses.clone())?;
        Ok(dialler)
    }

    pub(super) fn scheme(&self) -> http::uri::Scheme {
        if self.tls.is_some() { http::uri::Scheme::HTTPS } else { http::uri::Scheme::HTTP }
    }

    /// Takes new addresses, all or none.
    pub(super) fn set_addresses(&self, addresses: Vec<SocketAddr>) -> Result<(), ProxyError> {
        let failed = |why: &str| ProxyError::Gateway { url: self.url.clone(), why: why.to_owned() };
        if addresses.is_empty() {
            return Err(failed("its name leads nowhere"));
        }
        // Contexts and bodies in the clear, and a gateway that anybody could pose as.
        if self.tls.is_none() && !addresses.iter().all(|address| address.ip().to_canonical().is_loopback()) {
            return Err(failed("without TLS only a gateway on loopback is spoken to; use https"));
        }
        *self.addresses.write().unwrap_or_else(PoisonError::into_inner) = addresses;
        Ok(())
    }

    /// Connects to the first address that answers.
    pub(super) async fn dial(&self, protocol: Protocol) -> io::Result<Stream> {
        let addresses = self.addresses.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in addresses {
            match self.dial_one(address, protocol).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn dial_one(&self, address: SocketAddr, protocol: Protocol) -> io::Result<Stream> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let (connector, wanted) = match protocol {
            Protocol::Http1 => (&tls.http1, b"http/1.1".as_slice()),
            Protocol::Http2 => (&tls.http2, b"h2".as_slice()),
        };
        let stream = connector.connect(tls.name.clone(), stream).await?;
        if stream.get_ref().1.alpn_protocol() != Some(wanted) {
            return Err(io::Error::other("the gateway does not agree to the HTTP version by ALPN"));
        }
        Ok(Box::new(stream))
    }
}

impl Tls {
    fn new(host: &str, configuration: &GatewayConfiguration) -> Result<Self, String> {
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
            .map_err(|_| "its host is no name of a TLS server".to_owned())?;
        let ca = configuration.ca_pem.as_deref();
        let ca = ca.ok_or("an authority is needed to verify its certificate against")?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
            let certificate = certificate.map_err(|error| format!("the authorities cannot be read: {error}"))?;
            roots.add(certificate).map_err(|error| format!("an authority cannot be used: {error}"))?;
        }
        if roots.is_empty() {
            return Err("the authorities hold no certificate in PEM".to_owned());
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots);
        let config = match (&configuration.client_chain_pem, &configuration.client_key_pem) {
            (Some(chain), Some(key)) => {
                let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>();
                let chain = chain.map_err(|error| format!("the client certificate cannot be read: {error}"))?;
                let key = PrivateKeyDer::from_pem_slice(key.0.as_bytes())
                    .map_err(|error| format!("the client certificate's key cannot be read: {error}"))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| format!("the client certificate cannot be used: {error}"))?
            }
            (None, None) => builder.with_no_client_auth(),
            _ => return Err("a client certificate and its key come together".to_owned()),
        };
        let connector = |alpn: &[u8]| {
            let mut config = config.clone();
            config.alpn_protocols = vec![alpn.to_vec()];
            TlsConnector::from(Arc::new(config))
        };
        Ok(Self { name, http1: connector(b"http/1.1"), http2: connector(b"h2") })
    }
}
