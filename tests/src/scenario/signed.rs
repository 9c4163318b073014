//! `exeat signer` between programs that know nothing of it and a gateway on the real Envoy: mutual TLS between the two, TLS to an
//! upstream that remembers every request.

use super::gateway::{Gateway, KEYID};
use super::real::RealEnvoy;
use super::subject::Subject as _;
use crate::stage::artefacts;
use crate::stage::process::{GRACE, Process};
use crate::stage::tls::{Authority, Front};
use crate::stage::upstream::Upstream;
use anyhow::{Context as _, Result};
use base64::Engine as _;
use exeat_engine::context::{DataClass, Provenance};
use exeat_signer::client::{ControlClient, OpenSession};
use exeat_signer::keeper::SessionRequest;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// The SPIFFE id of the signer in tests/policies/signer.
pub const SPIFFE: &str = "spiffe://acme.example/ns/agents/sa/signer";

/// The hosts of that policy, as certificates name them.
const HOSTS: [&str; 5] =
    ["*.crm.acme.example", "api.model.example", "git.acme.example", "feed.acme.example", "pinned.acme.example"];

/// How long the signer may take to begin.
const LIMIT: Duration = Duration::from_secs(30);

/// Signer, gateway, upstream.
pub struct Signed {
    /// The gateway and what is behind it.
    pub real: RealEnvoy,
    /// The signer.
    pub signer: Process,
    front: Front,
}

impl Signed {
    /// Starts all of it under tests/policies/signer; `more` are further arguments of `exeat signer`.
    pub fn start(upstream: Upstream, more: &[&str]) -> Result<Self> {
        let server = upstream.address();
        Self::start_before(server, &["h2", "http/1.1"], upstream, more)
    }

    /// As [`Signed::start`]; `server` is behind the TLS of every host, which offers these protocols.
    pub fn start_before(server: SocketAddr, protocols: &[&str], upstream: Upstream, more: &[&str]) -> Result<Self> {
        let authority = Authority::new("acme")?;
        let front = Front::speaking(protocols, server, &authority.server_of(&HOSTS)?)?;
        let gateway = Gateway::prepare("signer", front.address().port())?;
        let folder = gateway.file("");
        let file = |name: &str| gateway.file(name).to_string_lossy().into_owned();
        authority.server_of(&["localhost"])?.write(&folder, "listener")?;
        authority.client(&[SPIFFE])?.write(&folder, "signer")?;
        std::fs::write(gateway.file("ca.crt"), authority.pem())?;
        std::fs::write(gateway.file("signing.key"), gateway.signer.to_base64())?;
        private(&gateway.file("signing.key"))?;
        private(&gateway.file("signer.key"))?;
        std::fs::create_dir(gateway.file("run"))?;
        let (certificate, key, ca) = (file("listener.crt"), file("listener.key"), file("ca.crt"));
        let rendering =
            ["--tls-cert", &certificate, "--tls-key", &key, "--client-ca", &ca, "--ca", &ca].map(str::to_owned);
        let rendering: Vec<&str> = rendering.iter().map(String::as_str).collect();
        let real = RealEnvoy::start_rendered(gateway, upstream, 1, &rendering)?;
        let file = |name: &str| real.gateway().file(name);
        let mut command = Command::new(artefacts::cli()?);
        command.args(["signer", "--keyid", KEYID, "--gateway-ca", &ca]).arg("--key").arg(file("signing.key"));
        command.arg("--gateway").arg(format!("https://localhost:{}", real.listener.port()));
        command.arg("--client-cert").arg(file("signer.crt")).arg("--client-key").arg(file("signer.key"));
        command.arg("--runtime-dir").arg(file("run")).arg("--ready-file").arg(file("signer.ready")).args(more);
        let signer = Process::spawn("exeat signer", &command, &file("signer.log"))?;
        signer.wait_until("sessions can be opened", LIMIT, || file("signer.ready").exists().then_some(()))?;
        Ok(Self { real, signer, front })
    }

    /// `exeat run`, in a session that the policy allows something; the program follows.
    pub fn run(&self) -> Result<Command> {
        self.run_with(&[])
    }

    /// As [`Signed::run`], with further arguments of `exeat run`.
    pub fn run_with(&self, more: &[&str]) -> Result<Command> {
        let mut command = Command::new(artefacts::cli()?);
        command.arg("run").arg("--control").arg(self.control()).args(more);
        command.args(["--agent", "support/summarizer", "--tenant", "acme", "--user", "u-1042"]);
        command.args(["--tool", "crm.lookup", "--data-class", "internal", "--provenance", "user", "--"]);
        Ok(command)
    }

    /// A session as `exeat run` opens them, for programs that are in this process.
    pub fn session(&self) -> Result<OpenSession> {
        let request = SessionRequest {
            agent: "support/summarizer".to_owned(),
            tenant: Some("acme".to_owned()),
            user: Some("u-1042".to_owned()),
            tool: Some("crm.lookup".to_owned()),
            data_class: Some(DataClass::Internal),
            provenance: vec![Provenance::User],
            ..SessionRequest::default()
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(ControlClient::new(self.control()).open(&request))?)
    }

    fn control(&self) -> PathBuf {
        self.real.gateway().file("run").join("control.sock")
    }

    /// The port of every upstream.
    pub fn port(&self) -> u16 {
        self.front.address().port()
    }
}

/// Address, and value of `Proxy-Authorization`, in a proxy's URL (`http://user:password@host:port`).
pub fn proxy_of(session: &OpenSession) -> Result<(SocketAddr, String)> {
    let rest = session.proxy.strip_prefix("http://").context("the proxy is not on TCP")?;
    let (user, address) = rest.trim_end_matches('/').rsplit_once('@').context("the proxy address has no password")?;
    Ok((address.parse()?, format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(user))))
}

impl Drop for Signed {
    fn drop(&mut self) {
        // Before the gateway, so that its log is not full of a gateway that is away.
        let _ = self.signer.stop(GRACE);
    }
}

fn private(file: &std::path::Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600))?)
}
