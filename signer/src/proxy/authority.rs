//! The certificate authority of one session: made in memory, gone with it, trusted by one sandbox. Its leaves are named by the
//! host of CONNECT, never by what the client says later.

use super::metrics::Metrics;
use super::settings::LEAVES;
use exeat_engine::destination::CanonicalHost;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// How long certificates hold, from a day before they are made: some clocks are behind. Sessions end sooner.
const VALIDITY: Duration = Duration::from_secs(365 * 24 * 60 * 60);
const BEFORE: Duration = Duration::from_secs(24 * 60 * 60);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthorityError {
    /// Making or signing it failed.
    #[error("no certificate could be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// TLS cannot use it.
    #[error("TLS cannot use the certificate: {0}")]
    Tls(#[from] rustls::Error),
}

/// An authority, and the servers that it vouched for lately.
pub(crate) struct SessionAuthority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// One key for all leaves: whoever has it has the process anyway.
    leaf_key: KeyPair,
    signing: Arc<dyn SigningKey>,
    provider: Arc<CryptoProvider>,
    cache: Mutex<Cache>,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Cache {
    configs: HashMap<CanonicalHost, Arc<ServerConfig>>,
    /// Oldest first.
    order: VecDeque<CanonicalHost>,
}

impl SessionAuthority {
    /// A new one. Two of the same name have different keys.
    pub(crate) fn new(
        name: &str,
        provider: Arc<CryptoProvider>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, AuthorityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("Exeat session {}", printable(name)));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        valid_now(&mut params);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let leaf_key = KeyPair::generate()?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
        let signing = rustls::crypto::ring::sign::any_supported_type(&key)?;
        Ok(Self { issuer, leaf_key, signing, provider, cache: Mutex::default(), metrics })
    }

    /// The certificate that the agent's programs are to trust.
    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// TLS for clients that asked for this host.
    pub(crate) fn server(&self, host: &CanonicalHost) -> Result<Arc<ServerConfig>, AuthorityError> {
        let found = self.cache.lock().unwrap_or_else(PoisonError::into_inner).configs.get(host).map(Arc::clone);
        self.metrics.leaf(found.is_some());
        if let Some(found) = found {
            return Ok(found);
        }
        let config = Arc::new(self.make(host)?);
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.configs.insert(host.clone(), Arc::clone(&config)).is_none() {
            cache.order.push_back(host.clone());
        }
        while cache.order.len() > LEAVES {
            if let Some(oldest) = cache.order.pop_front() {
                cache.configs.remove(&oldest);
            }
        }
        Ok(config)
    }

    fn make(&self, host: &CanonicalHost) -> Result<ServerConfig, AuthorityError> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![match host.address() {
            Some(address) => SanType::IpAddress(address),
            None => SanType::DnsName(host.to_string().try_into()?),
        }];
        // The name stands in the extension only: a common name holds 64 characters, a host 253.
        params.distinguished_name.push(DnType::CommonName, "Exeat");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        valid_now(&mut params);
        let leaf = params.signed_by(&self.leaf_key, &self.issuer)?;
        // The issuer goes along: some clients build no chain to an authority that they know only by file.
        let chain = vec![leaf.der().clone(), self.issuer.der().clone()];
        let resolver =
            Resolver { host: host.clone(), key: Arc::new(CertifiedKey::new(chain, Arc::clone(&self.signing))) };
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // A handshake costs half a millisecond; memory of past ones would cost more than it saves.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

impl std::fmt::Debug for SessionAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionAuthority")
    }
}

/// Gives out the certificate of the host of CONNECT, unless the client names another host now.
struct Resolver {
    host: CanonicalHost,
    key: Arc<CertifiedKey>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fits = match hello.server_name() {
            None => true,
            Some(name) => CanonicalHost::parse(name).is_ok_and(|named| named == self.host),
        };
        fits.then(|| Arc::clone(&self.key))
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Resolver for {}", self.host)
    }
}

fn valid_now(params: &mut CertificateParams) {
    let now = SystemTime::now();
    params.not_before = now.checked_sub(BEFORE).unwrap_or(now).into();
    params.not_after = now.checked_add(VALIDITY).unwrap_or(now).into();
}

/// What of a session's name a certificate can show.
fn printable(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/')).take(40).collect()
}
