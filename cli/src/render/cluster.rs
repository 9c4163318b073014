//! What gateways in a cluster have in common, whoever configures their Envoy: names, the pod, its network, and how a policy gets
//! to it.

pub mod delivery;
pub mod names;
pub mod network;
pub mod pod;

use super::common::Accepted;
use super::envoy::bootstrap::{Admin, Settings};
use super::envoy::upstream::CollectorAddress;
use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use names::{Image, Name, Namespace};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// Label that tells the pods of a gateway from others.
pub const APP: &str = "app.kubernetes.io/name";

/// Said where agents may ask the cluster's DNS.
pub const DNS_LEADS_OUT: &str =
    "Agents may ask the cluster's DNS. What it forwards leaves the cluster: let it forward nothing for them.";

/// Arguments of every gateway in a cluster.
#[derive(Debug, Args)]
pub struct ClusterArgs {
    /// Name of the gateway's workload, service and policies.
    #[arg(long, default_value = "exeat-egress")]
    pub name: Name,
    /// Namespace of the gateway. Nobody but the platform may write there.
    #[arg(long, default_value = "exeat")]
    pub namespace: Namespace,
    /// A namespace of agents, whose only way out becomes the gateway; repeat it for more.
    #[arg(long, value_name = "NAMESPACE", required = true)]
    pub agents: Vec<Namespace>,
    /// Port of the gateway, where agents and signers send their requests to.
    #[arg(long, default_value_t = 3128, value_parser = clap::value_parser!(u16).range(1024..))]
    pub port: u16,
    /// The filter as an OCI image, by digest. It is mounted as a volume: Kubernetes 1.35 or newer.
    #[arg(long, value_name = "IMAGE@sha256:HEX", required_unless_present = "module", conflicts_with = "module")]
    pub image: Option<Image>,
    /// The filter, exeat.wasm, where it lies in the proxy's own image.
    #[arg(long, value_name = "PATH", value_parser = absolute)]
    pub module: Option<String>,
    /// The Secret with the variables that the gateway document names: the key of evidence, the collector's token. It is only
    /// referred to.
    #[arg(long, value_name = "SECRET", default_value = "exeat-gateway")]
    pub secret: Name,
    /// The Secret with what the policy names under `credentials.inject`: a key each, whose whole content is the value of the
    /// header. It is only referred to.
    #[arg(long, value_name = "SECRET")]
    pub credentials: Option<Name>,
    /// Where evidence goes: plain HTTP on loopback, else TLS with --collector-ca.
    #[arg(long, value_name = "HOST:PORT")]
    pub collector: String,
    /// The ConfigMap whose `ca.crt` holds the certificate authorities of a collector that is not on loopback.
    #[arg(long, value_name = "CONFIGMAP")]
    pub collector_ca: Option<Name>,
    /// The Secret of type kubernetes.io/tls that the gateway shows to the collector.
    #[arg(long, value_name = "SECRET", requires = "collector_ca")]
    pub collector_cert: Option<Name>,
    /// Value of the label app.kubernetes.io/name of the collector's pods, in the gateway's namespace.
    #[arg(long, value_name = "LABEL", default_value = "exeat-collector")]
    pub collector_label: Name,
    /// DNS servers for upstreams; repeat it for more. Without it, those of the cluster.
    #[arg(long, value_name = "ADDR:PORT", value_parser = resolver)]
    pub resolver: Vec<SocketAddr>,
    /// A namespace that may read the proxy's metrics; repeat it for more.
    #[arg(long, value_name = "NAMESPACE")]
    pub metrics_from: Vec<Namespace>,
    /// Names that agents may look up: those that the cluster's DNS knows and whatever it forwards, or none.
    #[arg(long, value_enum)]
    pub agent_dns: Option<AgentDns>,
    /// Certificate authorities for upstreams: a PEM file of the proxy's image.
    #[arg(long, value_name = "FILE", default_value = "/etc/ssl/certs/ca-certificates.crt", value_parser = absolute)]
    pub ca: String,
    /// Gateways. What is counted, nonces and budgets, is exact in each of them, and bounded by their number.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub replicas: u16,
    /// Workers under one id share nonces and budgets. A gateway whose evidence key changes needs a new one.
    #[arg(long, default_value = "exeat")]
    pub vm_id: String,
    /// Where a policy that is too large for objects of a cluster is written to, to be packed into --policy-image as
    /// `filter.json`.
    #[arg(long, value_name = "FILE", requires = "policy_image")]
    pub policy_file: Option<PathBuf>,
    /// The image that holds that file, by digest. It is mounted as a volume.
    #[arg(long, value_name = "IMAGE@sha256:HEX", requires = "policy_file")]
    pub policy_image: Option<Image>,
}

/// What agents may look up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AgentDns {
    /// The DNS of the cluster. What it forwards leaves the cluster.
    Cluster,
    /// No names at all.
    None,
}

pub(super) fn absolute(text: &str) -> Result<String, String> {
    match text.starts_with('/') && !text.chars().any(char::is_control) {
        true => Ok(text.to_owned()),
        false => {
            Err("not an absolute path; write where the file lies in the proxy, such as /etc/exeat/exeat.wasm"
                .to_owned())
        }
    }
}

/// A DNS server as a NetworkPolicy can name it.
pub(super) fn resolver(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text
        .parse()
        .map_err(|_| "not an address with a port, such as 192.0.2.53:53 or [2001:db8::53]:53".to_owned())?;
    match address.port() {
        0 => Err("nobody answers at port 0; write 53, or where it does".to_owned()),
        port => Ok(SocketAddr::new(address.ip().to_canonical(), port)),
    }
}

/// Agents are in namespaces of their own, each of which is named once.
pub(super) fn check_agents<'a>(agents: impl Iterator<Item = &'a Namespace>, platform: &[&str]) -> anyhow::Result<()> {
    let mut seen = BTreeSet::new();
    for namespace in agents {
        if platform.contains(&namespace.as_str()) {
            bail!(
                "--agents {namespace}: what makes or runs the gateway is there, too; agents could read its secrets and label \
                 themselves as its collector; keep them apart"
            );
        }
        if !seen.insert(namespace) {
            bail!("--agents {namespace} is named twice; name it once");
        }
    }
    Ok(())
}

/// Ports that something else in the gateway's pod listens at.
pub(super) fn check_port(port: u16, taken: &[u16]) -> anyhow::Result<()> {
    if taken.contains(&port) {
        bail!("--port {port}: something else in the gateway's pod listens there; take another");
    }
    Ok(())
}

impl ClusterArgs {
    /// What the platform's own namespaces and ports leave: names that services may have, agents apart, a port of its own.
    ///
    /// # Errors
    /// What they do not.
    pub fn check_place(&self, platform: &[&str], taken: &[u16]) -> anyhow::Result<()> {
        self.name.check_gateway(63)?;
        check_agents(self.agents.iter(), &[platform, &[self.namespace.as_str()]].concat())?;
        // Without certificate authorities it is on loopback, in the same pod.
        let beside = self.collector_ca.is_none().then(|| self.collector.rsplit_once(':')?.1.parse().ok()).flatten();
        check_port(self.port, &[taken, beside.as_slice()].concat())
    }

    /// What Envoy gets, as for any other, handed to `then`. `plugin` is the configuration in one of its spellings.
    ///
    /// # Errors
    /// A collector that evidence may not go to, or a policy that needs what no gateway in a cluster has.
    pub fn with_settings<T>(
        &self,
        accepted: &Accepted,
        plugin: &str,
        filter_file: Option<&str>,
        then: impl FnOnce(&Settings<'_>) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        self.check(accepted)?;
        let module = match (&self.module, &self.image) {
            (Some(path), _) => path.clone(),
            (None, Some(_)) => format!("{}/{}", pod::MODULE, pod::MODULE_FILE),
            (None, None) => bail!("name --image or --module"),
        };
        let ca = self.collector_ca.as_ref().map(|_| format!("{}/ca.crt", pod::COLLECTOR_CA));
        let pair = |file: &str| format!("{}/{file}", pod::COLLECTOR_CERT);
        let shown = self.collector_cert.as_ref().map(|_| (pair("tls.crt"), pair("tls.key")));
        then(&Settings {
            configuration: &accepted.configuration,
            plugin,
            filter_file,
            gateway: &accepted.gateway,
            module: &module,
            vm_id: &self.vm_id,
            listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, self.port)),
            // Istio and Envoy Gateway have their own.
            admin: Admin::Socket(String::new()),
            metrics: None,
            collector: CollectorAddress::parse(&self.collector, ca)?.showing(shown),
            resolvers: &self.resolver,
            ca: &self.ca,
            access_log: None,
            secrets: Some(pod::CREDENTIALS),
            secret_files: Some(pod::CREDENTIAL_SOURCES),
            max_heap: 0,
            tls: None,
        })
    }

    fn check(&self, accepted: &Accepted) -> anyhow::Result<()> {
        let injected = accepted.configuration.policy().injected().next();
        if let (Some((destination, header, secret)), None) = (injected, &self.credentials) {
            bail!(
                "the destination {destination:?} gets {header} from the secret {secret:?}, and nothing says where secrets are; give \
                 --credentials SECRET, a Secret with a key {secret} whose whole content is the value of the header"
            );
        }
        super::envoy::check(&accepted.configuration, Some(pod::CREDENTIALS))
    }

    /// Labels of the gateway's pods.
    pub fn labels(&self) -> Value {
        json!({APP: self.name})
    }

    /// `metadata` of an object of the gateway.
    pub fn metadata(&self, name: &str) -> Value {
        json!({"name": name, "namespace": self.namespace, "labels": self.labels()})
    }

    /// Host and port of a collector in the network, and nothing where it is on loopback.
    pub(crate) fn collector_port(&self) -> anyhow::Result<Option<u16>> {
        let (_, port) = self.collector.rsplit_once(':').context("--collector has no port")?;
        Ok(if self.collector_ca.is_some() { Some(port.parse()?) } else { None })
    }
}
