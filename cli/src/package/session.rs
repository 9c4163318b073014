//! A registry that knows who we are, for as long as it takes: tokens end, and are asked for again.

use super::credentials::{Credentials, Secret};
use super::refusal::{self, Mask, Refused};
use super::target::Target;
use super::token::{Challenge, Token, TokenService};
use anyhow::Context as _;
use oci_client::Client;
use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use rustls::pki_types::CertificateDer;
use std::time::Duration;

/// How long a registry may take to take a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// How long it may be silent.
const SILENCE: Duration = Duration::from_secs(60);

const USER_AGENT: &str = concat!("exeat/", env!("CARGO_PKG_VERSION"));

/// One registry, signed in to.
pub struct Session<'a> {
    target: &'a Target,
    credentials: &'a Credentials,
    mask: Mask,
    http: reqwest::Client,
    authorities: &'a [CertificateDer<'static>],
    client: Client,
    auth: RegistryAuth,
    tokens: Option<(TokenService, Token)>,
}

impl<'a> Session<'a> {
    /// Asks the registry how it wants to know us, and signs in.
    ///
    /// # Errors
    /// Certificates that cannot be used, a registry or token service that cannot be reached, or refuses.
    pub async fn open(
        target: &'a Target,
        credentials: &'a Credentials,
        authorities: &'a [CertificateDer<'static>],
    ) -> anyhow::Result<Self> {
        // One for the process; that it is there already is no error.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = http(target, authorities).context("cannot prepare to speak to the registry")?;
        let client = client(target, authorities)?;
        let mask = Mask::of(credentials);
        let auth = RegistryAuth::Anonymous;
        let mut session = Self { target, credentials, mask, http, authorities, client, auth, tokens: None };
        session.sign_in().await?;
        Ok(session)
    }

    async fn sign_in(&mut self) -> anyhow::Result<()> {
        let scheme = if self.target.is_plain() { "http" } else { "https" };
        let url = format!("{scheme}://{}/v2/", self.target.resolved());
        let answer = self.http.get(url).send().await;
        let answer = answer.map_err(|error| self.explained(error.into(), "cannot sign in"))?;
        match Challenge::read(answer.status(), answer.headers(), self.target)? {
            // What nobody asks for is not sent.
            Challenge::Nothing => (),
            Challenge::Password => {
                if let Secret::Password { user, password } = &self.credentials.secret {
                    self.auth = RegistryAuth::Basic(user.clone(), password.clone());
                }
            }
            Challenge::Token(service) => return self.take_token(service).await,
        }
        self.client.store_auth_if_needed(self.target.resolved(), &self.auth).await;
        Ok(())
    }

    /// A client keeps the first token that it was given, so there is a new one with each.
    async fn take_token(&mut self, service: TokenService) -> anyhow::Result<()> {
        let token = service.token(&self.http, self.target, self.credentials, &mut self.mask).await?;
        self.auth = RegistryAuth::Bearer(token.text().to_owned());
        self.client = client(self.target, self.authorities)?;
        self.client.store_auth_if_needed(self.target.resolved(), &self.auth).await;
        self.tokens = Some((service, token));
        Ok(())
    }

    async fn renew(&mut self) -> anyhow::Result<()> {
        match self.tokens.take() {
            Some((service, _)) => self.take_token(service).await.context("the token had ended"),
            None => Ok(()),
        }
    }

    /// Does one thing at the registry. A token that is about to end is replaced before, one that the registry no longer takes is
    /// replaced, and the thing done once more, from its beginning.
    ///
    /// # Errors
    /// What the registry says, and failing to sign in anew.
    pub async fn run<T>(
        &mut self,
        what: &str,
        operation: impl AsyncFn(&Client, &RegistryAuth) -> Result<T, OciDistributionError>,
    ) -> anyhow::Result<T> {
        if self.tokens.as_ref().is_some_and(|(_, token)| token.is_due()) {
            self.renew().await?;
        }
        let mut done = operation(&self.client, &self.auth).await;
        if self.tokens.is_some() && done.as_ref().err().and_then(refusal::status) == Some(401) {
            self.renew().await?;
            done = operation(&self.client, &self.auth).await;
        }
        done.map_err(|error| self.explained(error, what))
    }

    fn explained(&self, error: OciDistributionError, what: &str) -> anyhow::Error {
        let refused = match &self.tokens {
            None => Refused::Credentials,
            Some((service, token)) => {
                Refused::Token { place: service.place(), granted: token.granted(self.target.repository()) }
            }
        };
        refusal::explain(&error, what, self.target, &self.credentials.origin, &refused, &self.mask)
    }
}

fn client(target: &Target, authorities: &[CertificateDer<'static>]) -> anyhow::Result<Client> {
    let authority = |der: &CertificateDer<'_>| Certificate { encoding: CertificateEncoding::Der, data: der.to_vec() };
    let plain = target.is_plain();
    let config = ClientConfig {
        protocol: if plain { ClientProtocol::Http } else { ClientProtocol::Https },
        tls_certs_only: authorities.iter().map(authority).collect(),
        connect_timeout: Some(CONNECT),
        read_timeout: Some(SILENCE),
        user_agent: USER_AGENT,
        // Naming a proxy for nobody keeps that of the environment out: what is not encrypted goes nowhere else. The star
        // stands for names only, addresses are listed.
        http_proxy: plain.then(|| "http://127.0.0.1:9".to_owned()),
        no_proxy: plain.then(|| format!("*,{}", target.host())),
        ..ClientConfig::default()
    };
    Client::try_from(config).context("cannot prepare to speak to the registry")
}

/// For signing in: TLS or nothing, after redirections too, unless the registry was to be spoken to without.
fn http(target: &Target, authorities: &[CertificateDer<'static>]) -> anyhow::Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .https_only(!target.is_plain())
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        .user_agent(USER_AGENT);
    if target.is_plain() {
        // A token service was looked at before it is asked; where it would send us was not.
        builder = builder.no_proxy().redirect(reqwest::redirect::Policy::none());
    }
    if !authorities.is_empty() {
        let certificate = |der: &CertificateDer<'_>| reqwest::Certificate::from_der(der);
        builder = builder.tls_certs_only(authorities.iter().map(certificate).collect::<Result<Vec<_>, _>>()?);
    }
    Ok(builder.build()?)
}
