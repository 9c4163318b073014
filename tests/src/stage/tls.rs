//! Certificates made for one test, and the TLS that clients speak with them.
//!
//! A [`Tunnel`] is to TLS what a sidecar is: plain bytes go in on a port of loopback, and come out at the peer under the
//! certificate of one [`Identity`]. So every plain client of the stage speaks TLS as well. A [`Front`] is the other end: TLS
//! goes in, and comes out plain at a server of the stage.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::runtime::{self, Background};
use super::{Error, Result};

/// Name in the certificates of servers.
const SERVER: &str = "gateway.test";

/// A certificate authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key.
#[derive(Debug)]
pub struct Identity {
    certificate: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

impl Authority {
    /// A new one; two of the same name are different.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().map_err(failed)?).map_err(failed)?;
        Ok(Self { issuer })
    }

    /// Its certificate, PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for a server on loopback.
    pub fn server(&self) -> Result<Identity> {
        let names = vec![SanType::DnsName(SERVER.try_into().map_err(failed)?)];
        self.issue(names, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate for servers of these names or addresses; `*.` stands for one label.
    pub fn server_of(&self, names: &[&str]) -> Result<Identity> {
        let name = |name: &&str| match name.parse() {
            Ok(address) => Ok(SanType::IpAddress(address)),
            Err(_) => Ok(SanType::DnsName((*name).try_into().map_err(failed)?)),
        };
        self.issue(names.iter().map(name).collect::<Result<_>>()?, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate for a client, with these URI names.
    pub fn client(&self, uris: &[&str]) -> Result<Identity> {
        let uri = |uri: &&str| Ok(SanType::URI((*uri).try_into().map_err(failed)?));
        self.issue(uris.iter().map(uri).collect::<Result<_>>()?, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn issue(&self, names: Vec<SanType>, purpose: ExtendedKeyUsagePurpose) -> Result<Identity> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "test");
        params.subject_alt_names = names;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok(Identity { certificate: certificate.der().clone(), pem: certificate.pem(), key })
    }
}

impl Identity {
    /// Writes certificate and key as two PEM files into a folder.
    pub fn write(&self, folder: &Path, name: &str) -> Result<(PathBuf, PathBuf)> {
        let (certificate, key) = (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key")));
        for (path, text) in [(&certificate, self.pem.clone()), (&key, self.key.serialize_pem())] {
            std::fs::write(path, text).map_err(Error::io(format!("writing {}", path.display())))?;
        }
        Ok((certificate, key))
    }

    /// The certificate, DER.
    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate
    }

    /// The key, PKCS #8 in DER.
    pub fn key_der(&self) -> Vec<u8> {
        self.key.serialize_der()
    }
}

/// Carries plain connections to a TLS server.
#[derive(Debug)]
pub struct Tunnel {
    address: SocketAddr,
    failures: Arc<Mutex<Vec<String>>>,
    _task: Background,
}

impl Tunnel {
    /// Opens one to `peer`, whose certificate must be of `authority`. Without an identity no certificate is shown.
    pub fn open(peer: SocketAddr, authority: &Authority, identity: Option<&Identity>) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(authority.issuer.der().clone()).map_err(failed)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(failed)?;
        let builder = builder.with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(Identity { certificate, key, .. }) => {
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
                builder.with_client_auth_cert(vec![certificate.clone()], key).map_err(failed)?
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let connector = TlsConnector::from(Arc::new(config));
        let failures = Arc::new(Mutex::new(Vec::new()));
        let listener = runtime::wait("tunnel", super::client::LIMIT, async {
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(Error::io("opening a tunnel"))
        })?;
        let address = listener.local_addr().map_err(Error::io("asking for the tunnel's address"))?;
        let noted = Arc::clone(&failures);
        let task = Background::start(async move {
            while let Ok((mut plain, _)) = listener.accept().await {
                let (connector, noted) = (connector.clone(), Arc::clone(&noted));
                tokio::spawn(async move {
                    // Noted before the client sees its connection close.
                    if let Err(error) = carry(&mut plain, peer, connector).await {
                        lock(&noted).push(error.to_string());
                    }
                });
            }
        })?;
        Ok(Self { address, failures, _task: task })
    }

    /// Where plain connections go in.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Why connections broke, so far.
    pub fn failures(&self) -> Vec<String> {
        lock(&self.failures).clone()
    }
}

/// Ends TLS before a plain server. What is spoken inside, HTTP/2 or 1.1, the server must see from its first bytes.
#[derive(Debug)]
pub struct Front {
    address: SocketAddr,
    names: Arc<Mutex<Vec<Option<String>>>>,
    _task: Background,
}

impl Front {
    /// Opens one on a free port.
    pub fn open(server: SocketAddr, identity: &Identity) -> Result<Self> {
        Self::speaking(&["h2", "http/1.1"], server, identity)
    }

    /// Opens one that offers these protocols (ALPN).
    pub fn speaking(protocols: &[&str], server: SocketAddr, identity: &Identity) -> Result<Self> {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(failed)?;
        let config = builder.with_no_client_auth().with_single_cert(vec![identity.certificate.clone()], key);
        let mut config = config.map_err(failed)?;
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (listener, address) = super::silent::listen((Ipv4Addr::LOCALHOST, 0).into())?;
        let names = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&names);
        let task = Background::start(async move {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, noted) = (acceptor.clone(), Arc::clone(&noted));
                tokio::spawn(async move {
                    // Else head and body of an answer wait 40 ms for each other. A failure shows at the client.
                    let _ = stream.set_nodelay(true);
                    let Ok(mut tls) = acceptor.accept(stream).await else { return };
                    lock(&noted).push(tls.get_ref().1.server_name().map(str::to_owned));
                    let Ok(mut plain) = TcpStream::connect(server).await else { return };
                    let _ = plain.set_nodelay(true);
                    let _ = tokio::io::copy_bidirectional(&mut tls, &mut plain).await;
                });
            }
        })?;
        Ok(Self { address, names, _task: task })
    }

    /// Where TLS goes in.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The server names (SNI) of handshakes that were finished, in order.
    pub fn names(&self) -> Vec<Option<String>> {
        lock(&self.names).clone()
    }
}

/// Speaks TLS over a connection that became a tunnel: sends `bytes` to the server `name` and returns what comes back until
/// it closes, or is at least one byte. `hello` sees, and may change, the first bytes that go into the tunnel.
pub fn speak_over(
    tunnel: &mut super::client::Connection,
    authority: &Authority,
    name: &str,
    bytes: &[u8],
    hello: impl FnOnce(Vec<u8>) -> Vec<Vec<u8>>,
) -> Result<Vec<u8>> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.issuer.der().clone()).map_err(failed)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(failed)?;
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let server = ServerName::try_from(name.to_owned()).map_err(failed)?;
    let mut client = ClientConnection::new(config, server).map_err(failed)?;
    let (mut first, mut answer) = (Some(hello), Vec::new());
    // Written before the handshake is finished: all of it has to wait.
    client.set_buffer_limit(None);
    client.writer().write_all(bytes).map_err(failed)?;
    while answer.is_empty() {
        let mut out = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut out).map_err(failed)?;
        }
        for piece in first.take().map_or_else(|| vec![out.clone()], |hello| hello(out.clone())) {
            tunnel.write(&piece)?;
        }
        let came = tunnel.read_at_least(1)?;
        let mut rest = came.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).map_err(failed)?;
            let state = client.process_new_packets().map_err(failed)?;
            let mut plain = vec![0; state.plaintext_bytes_to_read()];
            client.reader().read_exact(&mut plain).map_err(failed)?;
            answer.append(&mut plain);
        }
    }
    Ok(answer)
}

async fn carry(plain: &mut TcpStream, peer: SocketAddr, connector: TlsConnector) -> io::Result<()> {
    let name = ServerName::try_from(SERVER).map_err(io::Error::other)?;
    let mut tls = connector.connect(name, TcpStream::connect(peer).await?).await?;
    match tokio::io::copy_bidirectional(plain, &mut tls).await {
        // A peer that closes without TLS's own goodbye: nothing follows an answer that has its length.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
        result => result.map(drop),
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::protocol("tls", error.to_string())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
