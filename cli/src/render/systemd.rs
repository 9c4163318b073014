//! `exeat render systemd`: units of a gateway, its relay, a collector and a signer, and what Envoy reads.
//!
//! Nothing secret stands in them: what is secret is a file below /etc/exeat/credentials that only root reads, and systemd hands it to
//! the unit alone (`LoadCredential`). A unit's network is closed by the kernel to whatever the guard closes, and beyond that to
//! all but its peers where it has any.

mod addresses;
mod parts;
mod unit;

use super::common::{Accepted, CommonArgs};
use super::envoy::bootstrap::{Admin, ListenerTls, Settings};
use super::envoy::upstream::CollectorAddress;
use crate::files::{make_folder, write_whole_for_all};
use anyhow::{Context, bail};
use clap::Args;
use exeat_engine::destination::Cidr;
use exeat_engine::evidence::CheckpointKey;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Where the relay listens, beside Envoy.
const RELAY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9470);

/// Envoy's administration: a folder that only its own user may enter.
const ADMIN: &str = "/run/exeat-gateway/admin.sock";

/// Where systemd puts what a unit of this name may read.
const CREDENTIALS: &str = "/run/credentials/exeat-gateway.service";

/// Where root keeps it.
const SECRETS: &str = "/etc/exeat/credentials";

/// The signer's key, which it reads again when it is reloaded: a credential would be a copy of the file at the start.
const SIGNING_KEY: &str = "/etc/exeat/signer.key";

/// Families of sockets that programs of ours use.
const FAMILIES: &str = "AF_UNIX AF_INET AF_INET6";

const PAGE: &str = "https://github.com/exeat/exeat/blob/main/docs/operations.md";

/// Arguments of `exeat render systemd`.
#[derive(Debug, Args)]
#[command(
    after_help = "Files: exeat-gateway.service, exeat-relay.service, exeat-collector.service, exeat-signer.service (into \
/etc/systemd/system, each where it is wanted), exeat-sysusers.conf (into /etc/sysusers.d), envoy.yaml and listener.yaml (into \
/etc/exeat). Replace listener.yaml by rename for a new policy."
)]
pub struct SystemdArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Where agents and signers send their requests to: an address of the machine's; TLS beyond loopback.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:3128")]
    listen: SocketAddr,
    /// Who may connect beyond loopback; repeat it for more. The kernel knows no direction: the gateway could reach them too, were
    /// it not for the guard.
    #[arg(long, value_name = "RANGE")]
    clients: Vec<Cidr>,
    /// DNS servers for upstreams; repeat it for more.
    #[arg(long, value_name = "ADDR:PORT", required = true)]
    resolver: Vec<SocketAddr>,
    /// Where Prometheus reads.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:15090")]
    metrics: SocketAddr,
    /// Public half of the gateway's evidence key, base64: what relay and collector check batches by. Repeat it while the key changes.
    #[arg(long, value_name = "KEY", required = true)]
    gateway_key: Vec<String>,
    /// The collector that the relay passes evidence on to: https://HOST[:PORT], or http:// on loopback.
    #[arg(long, value_name = "ORIGIN", default_value = "http://127.0.0.1:9471")]
    collector: String,
    /// Where that collector is, where it is not on this machine; repeat it for more.
    #[arg(long, value_name = "RANGE")]
    collector_at: Vec<Cidr>,
    /// Where the collector of these units listens; TLS and a token beyond loopback.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9471")]
    collector_listen: SocketAddr,
    /// Where relays and Prometheus ask that collector from, beyond loopback; repeat it for more.
    #[arg(long, value_name = "RANGE")]
    relays_at: Vec<Cidr>,
    /// Forget evidence after this time, for instance 400d; absent: never.
    #[arg(long, value_name = "TIME", value_parser = super::kubernetes::keep)]
    keep: Option<String>,
    /// Id of the signing key, as the policy has it; the key file says it itself (`exeat key new --keyid`). Without it no signer is
    /// rendered.
    #[arg(long, value_name = "ID", requires = "orchestrator")]
    keyid: Option<String>,
    /// User who opens the signer's sessions; repeat it for more.
    #[arg(long, value_name = "USER", requires = "keyid")]
    orchestrator: Vec<String>,
    /// User whose tools report to the signer; repeat it for more.
    #[arg(long, value_name = "USER", requires = "keyid")]
    tool: Vec<String>,
    /// The program Envoy (1.40).
    #[arg(long, value_name = "PATH", default_value = "/usr/local/bin/envoy")]
    envoy: String,
    /// The program `exeat`.
    #[arg(long, value_name = "PATH", default_value = "/usr/local/bin/exeat")]
    exeat: String,
    /// The filter.
    #[arg(long, value_name = "PATH", default_value = "/usr/local/lib/exeat/exeat.wasm")]
    module: String,
    /// Certificate authorities for upstreams: a PEM file.
    #[arg(long, value_name = "FILE", default_value = "/etc/ssl/certs/ca-certificates.crt")]
    ca: String,
    /// Workers of Envoy.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
    /// Memory of Envoy at most, as MemoryMax= takes it (docs/operations.md, sizes).
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = memory)]
    memory: String,
    /// Workers under one id share nonces and budgets. A gateway whose evidence key changes needs a new one.
    #[arg(long, default_value = "exeat")]
    vm_id: String,
}

fn memory(text: &str) -> Result<String, String> {
    let digits = text.strip_suffix('M').or_else(|| text.strip_suffix('G'));
    let fits = digits.is_some_and(|digits| {
        !digits.starts_with('0') && (1..=6).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
    });
    if fits { Ok(text.to_owned()) } else { Err("write a size such as 512M or 2G".to_owned()) }
}

/// Runs `exeat render systemd`.
pub(crate) fn run(args: &SystemdArgs) -> anyhow::Result<()> {
    let folder = args.common.folder()?;
    let accepted = args.common.accept()?;
    args.check(&accepted)?;
    let (bootstrap, listener) = args.files(&accepted)?;
    let mut files = vec![
        ("exeat-gateway.service", args.gateway(&accepted)),
        ("exeat-relay.service", args.relay(&accepted)),
        ("exeat-collector.service", args.collector_unit(&accepted)),
        ("envoy.yaml", bootstrap),
        ("listener.yaml", listener),
    ];
    if args.keyid.is_some() {
        files.push(("exeat-signer.service", args.signer(&accepted)));
        files.push(("exeat-sysusers.conf", "u exeat-signer - \"Exeat signer\"\n".to_owned()));
    }
    make_folder(folder)?;
    files.iter().try_for_each(|(name, text)| write_whole_for_all(&folder.join(name), text.as_bytes()))
}

impl SystemdArgs {
    fn check(&self, accepted: &Accepted) -> anyhow::Result<()> {
        let id = accepted.configuration.gateway().id();
        self.gateway_key.iter().try_for_each(|key| CheckpointKey::parse(id, key).map(drop)).context("--gateway-key")?;
        if self.listen.ip().is_unspecified() || self.collector_listen.ip().is_unspecified() {
            bail!(
                "--listen and --collector-listen name the address that others reach: every address there is would be more than that"
            );
        }
        if !self.listen.ip().is_loopback() && self.clients.is_empty() {
            bail!("--listen {}: nobody could connect; name who may with --clients RANGE", self.listen);
        }
        if !self.collector_listen.ip().is_loopback() && self.relays_at.is_empty() {
            bail!(
                "--collector-listen {}: nobody could send; name who may with --relays-at RANGE",
                self.collector_listen
            );
        }
        let near = self.collector.starts_with("http://");
        if !near && self.collector_at.is_empty() {
            bail!(
                "--collector {}: the relay could not reach it; say where it is with --collector-at RANGE",
                self.collector
            );
        }
        // Whether the origin is one, `exeat collect` itself says.
        crate::collect::forward::ForwardArgs { forward: near.then(|| self.collector.clone()), ..Default::default() }
            .load()
            .map(drop)
            .context("--collector")?;
        let texts = [&self.envoy, &self.exeat, &self.module, &self.ca, &self.collector, &self.vm_id];
        for text in texts.into_iter().chain(&self.keyid).chain(&self.orchestrator).chain(&self.tool) {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-:@+=[]".contains(&byte);
            if text.is_empty() || !text.bytes().all(plain) {
                bail!("{text:?} does not fit a unit: letters, digits and / . _ - : @ + = [ ] do");
            }
        }
        if let Some(keyid) = &self.keyid {
            accepted.knows(keyid)?;
        }
        for path in [&self.envoy, &self.exeat, &self.module, &self.ca] {
            if !path.starts_with('/') {
                bail!("{path:?} is not an absolute path, and units have no folder of their own");
            }
        }
        super::envoy::check(&accepted.configuration, Some(CREDENTIALS))
    }

    fn is_tls(&self) -> bool {
        !self.listen.ip().is_loopback()
    }

    /// Bootstrap and listener.
    fn files(&self, accepted: &Accepted) -> anyhow::Result<(String, String)> {
        let credential = |name: &str| format!("{CREDENTIALS}/{name}");
        let (certificate, key, ca) = (credential("tls.crt"), credential("tls.key"), credential("ca.crt"));
        let settings = Settings {
            configuration: &accepted.configuration,
            plugin: &accepted.plugin,
            filter_file: None,
            gateway: &accepted.gateway,
            module: &self.module,
            vm_id: &self.vm_id,
            listen: self.listen,
            admin: Admin::Socket(ADMIN.to_owned()),
            metrics: Some(self.metrics),
            collector: CollectorAddress::parse(&RELAY.to_string(), None)?,
            resolvers: &self.resolver,
            ca: &self.ca,
            access_log: None,
            secrets: Some(CREDENTIALS),
            secret_files: None,
            max_heap: super::kubernetes::heap(&self.memory)?,
            tls: self.is_tls().then_some(ListenerTls { certificate: &certificate, key: &key, client_ca: Some(&ca) }),
        };
        let bootstrap = settings.bootstrap_with_listener_file("/etc/exeat/listener.yaml", None);
        Ok((super::common::text(&bootstrap, false)?, super::common::text(&settings.listener_file(), false)?))
    }
}
