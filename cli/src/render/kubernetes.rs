//! `exeat render kubernetes`: gateway, relay, collector and the agents' signer in a cluster without a mesh.
//!
//! A gateway is a pod of a StatefulSet: Envoy, and beside it a relay whose disk outlives the pod. Secrets are only referred to.
//! What Envoy reads again by itself, the listener with the policy, is a ConfigMap of its own; what takes a restart is another,
//! whose digest stands in the pod's template.

mod agents;
mod collector;
mod gateway;
mod network;
mod pod;

use super::cluster::delivery::{CONFIG_MAP, Delivery, check_sizes, written};
use super::cluster::names::{Image, Name, Namespace};
use super::cluster::{APP, absolute, check_agents, check_port, resolver};
use super::common::{Accepted, CommonArgs};
use super::envoy::bootstrap::{Admin, ListenerTls, Settings};
use super::envoy::upstream::CollectorAddress;
use crate::files::write_whole;
use crate::terminal::say;
use anyhow::{Context, bail};
use clap::Args;
use exeat_engine::evidence::CheckpointKey;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// Arguments of `exeat render kubernetes`.
#[derive(Debug, Args)]
pub struct KubernetesArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Name of the gateway; collector and agents have it with an ending.
    #[arg(long, default_value = "exeat-egress")]
    name: Name,
    /// Namespace of gateway and collector. Nobody but the platform may write there.
    #[arg(long, default_value = "exeat")]
    namespace: Namespace,
    /// The filter as an OCI image, by digest. It is mounted as a volume: Kubernetes 1.35 or newer.
    #[arg(long, value_name = "IMAGE@sha256:HEX")]
    image: Image,
    /// Envoy (1.40) as an image, by digest.
    #[arg(long, value_name = "IMAGE@sha256:HEX")]
    envoy_image: Image,
    /// An image with the command `exeat`, by digest: relay, collector and signer.
    #[arg(long, value_name = "IMAGE@sha256:HEX")]
    cli_image: Image,
    /// A free address for the gateway's service: agents have no DNS, and find it by this.
    #[arg(long, value_name = "ADDR")]
    address: IpAddr,
    /// Port of the gateway, where agents and signers send their requests to.
    #[arg(long, default_value_t = 3128, value_parser = clap::value_parser!(u16).range(1024..))]
    port: u16,
    /// Gateways. What is counted, nonces and budgets, is exact in each of them, and bounded by their number.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    replicas: u16,
    /// Public half of the gateway's evidence key, base64: what relays and collector check batches by. Repeat it while the key changes.
    #[arg(long, value_name = "KEY", required = true)]
    gateway_key: Vec<String>,
    /// The Secret with the variables that the gateway document names.
    #[arg(long, value_name = "SECRET", default_value = "exeat-gateway")]
    secret: Name,
    /// The Secret of type kubernetes.io/tls of the gateway, for <name>.<namespace>.svc.
    #[arg(long, value_name = "SECRET", default_value = "exeat-gateway-tls")]
    tls_secret: Name,
    /// The ConfigMap whose `ca.crt` holds the authorities of all of these certificates, in the namespaces of gateway and agents.
    #[arg(long, value_name = "CONFIGMAP", default_value = "exeat-ca")]
    ca_map: Name,
    /// The Secret of type kubernetes.io/tls of the collector, for <name>-collector.<namespace>.svc.
    #[arg(long, value_name = "SECRET", default_value = "exeat-collector-tls")]
    collector_tls: Name,
    /// The Secret whose `token` the collector asks for.
    #[arg(long, value_name = "SECRET", default_value = "exeat-collector-token")]
    collector_token: Name,
    /// Disk of the collector: some 2 kB a request.
    #[arg(long, value_name = "QUANTITY", default_value = "100Gi", value_parser = quantity)]
    collector_disk: String,
    /// Disk of each relay: how long the collector may be away.
    #[arg(long, value_name = "QUANTITY", default_value = "20Gi", value_parser = quantity)]
    relay_disk: String,
    /// Forget evidence after this time, for instance 400d; absent: never.
    #[arg(long, value_name = "TIME", value_parser = keep)]
    keep: Option<String>,
    /// Class of these disks; absent: the cluster's own choice.
    #[arg(long, value_name = "CLASS")]
    storage_class: Option<Name>,
    /// Namespace from which Prometheus reads.
    #[arg(long, value_name = "NAMESPACE")]
    monitoring: Option<Namespace>,
    /// DNS servers for upstreams; repeat it for more. Without it, those of the cluster.
    #[arg(long, value_name = "ADDR:PORT", value_parser = resolver)]
    resolver: Vec<SocketAddr>,
    /// Certificate authorities for upstreams: a PEM file of Envoy's image.
    #[arg(long, value_name = "FILE", default_value = "/etc/ssl/certs/ca-certificates.crt", value_parser = absolute)]
    ca: String,
    /// The Secret with the secrets that the policy names under `credentials.inject`, a key each.
    #[arg(long, value_name = "SECRET")]
    secrets: Option<Name>,
    /// Workers of each gateway.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
    /// Memory of each Envoy at most (docs/operations.md, sizes).
    #[arg(long, value_name = "QUANTITY", default_value = "1Gi", value_parser = quantity)]
    memory: String,
    /// Workers under one id share nonces and budgets. A gateway whose evidence key changes needs a new one.
    #[arg(long, default_value = "exeat")]
    vm_id: String,
    /// Where a listener is written to whose policy is too large for a ConfigMap, to be packed into --policy-image as
    /// `listener.yaml`.
    #[arg(long, value_name = "FILE", requires = "policy_image")]
    policy_file: Option<PathBuf>,
    /// The image that holds that file, by digest. It is mounted as a volume.
    #[arg(long, value_name = "IMAGE@sha256:HEX", requires = "policy_file")]
    policy_image: Option<Image>,
    #[command(flatten)]
    agents: agents::AgentArgs,
}

/// Characters that a gateway's name may have. Pods of a StatefulSet have its name as a label, with 11 characters more, the
/// collector's too, and labels have 63.
const NAME: usize = 63 - 11 - "-collector".len();

fn quantity(text: &str) -> Result<String, String> {
    let digits = text.strip_suffix("Mi").or_else(|| text.strip_suffix("Gi")).or_else(|| text.strip_suffix("Ti"));
    let fits = digits.is_some_and(|digits| {
        !digits.starts_with('0') && (1..=6).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
    });
    if fits { Ok(text.to_owned()) } else { Err("write a size such as 512Mi or 20Gi".to_owned()) }
}

/// Bytes of Envoy's heap, of a memory such as `1Gi`: half of it. The other half is for the VMs, which hold the policy, the queue of
/// evidence and nonces (docs/operations.md, sizes).
pub(super) fn heap(memory: &str) -> anyhow::Result<u64> {
    let digits = memory.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u32 = match memory.strip_prefix(digits) {
        Some("Mi" | "M") => 20,
        Some("Gi" | "G") => 30,
        Some("Ti") => 40,
        _ => bail!("{memory:?} is no size such as 512Mi"),
    };
    let count: u64 = digits.parse().with_context(|| format!("{memory:?} is no size such as 512Mi"))?;
    count.checked_mul(1 << (unit - 1)).with_context(|| format!("{memory:?} is more than there is"))
}

/// As the collector will read it.
pub(super) fn keep(text: &str) -> Result<String, String> {
    crate::collect::keep(text).map(|_| text.to_owned())
}

/// Runs `exeat render kubernetes`.
pub(crate) fn run(args: &KubernetesArgs) -> anyhow::Result<()> {
    let accepted = args.common.accept()?;
    let (objects, says) = args.objects(&accepted)?;
    says.iter().for_each(|line| say!("{line}"));
    args.common.write_objects(&says.join("\n"), &objects)
}

impl KubernetesArgs {
    /// Everything, in the order in which it is applied, and what to know before.
    fn objects(&self, accepted: &Accepted) -> anyhow::Result<(Vec<Value>, Vec<String>)> {
        self.check(accepted)?;
        self.agents.check(accepted)?;
        let compact = accepted.plugin_document.to_string();
        let (bootstrap, mut listener) = self.envoy(accepted, &accepted.plugin)?;
        // As it was written where kubectl has room for it, else without its white space.
        if written(&gateway::map(self, "listener", gateway::LISTENER_FILE, &listener)) > Delivery::INLINE {
            listener = self.envoy(accepted, &compact)?.1;
        }
        let mut says = vec![self.deliver(&listener)?];
        let mut objects = network::policies(self, accepted);
        let keys = self.keys(accepted);
        objects.extend(gateway::objects(self, accepted, &bootstrap, &listener, &keys));
        objects.extend(collector::objects(self, &keys));
        objects.extend(agents::objects(self, accepted));
        says.extend(check_sizes(&objects)?);
        Ok((objects, says))
    }

    /// The file of public keys by which relays and collector check batches.
    fn keys(&self, accepted: &Accepted) -> String {
        let keys = match self.gateway_key.as_slice() {
            [key] => json!(key),
            keys => json!(keys),
        };
        json!({accepted.configuration.gateway().id(): keys}).to_string()
    }

    fn check(&self, accepted: &Accepted) -> anyhow::Result<()> {
        let id = accepted.configuration.gateway().id();
        self.gateway_key.iter().try_for_each(|key| CheckpointKey::parse(id, key).map(drop)).context("--gateway-key")?;
        self.name.check_gateway(NAME)?;
        check_agents(self.agents.namespaces(), &[self.namespace.as_str()])?;
        check_port(self.port, &[gateway::ADMIN, gateway::METRICS, pod::COLLECTOR])?;
        if self.address != self.address.to_canonical() {
            bail!("--address {}: a cluster takes it as {} alone", self.address, self.address.to_canonical());
        }
        if self.address.is_unspecified() || self.address.is_loopback() || self.address.is_multicast() {
            bail!(
                "--address {}: no service has such an address; take a free one of the cluster's service range",
                self.address
            );
        }
        super::envoy::check(&accepted.configuration, self.secrets.as_ref().map(|_| gateway::SECRETS))
    }

    /// Bootstrap and listener of Envoy, as text. `plugin` is the configuration in one of its spellings.
    fn envoy(&self, accepted: &Accepted, plugin: &str) -> anyhow::Result<(String, String)> {
        let ca = format!("{}/ca.crt", pod::CA);
        let pair = |file: &str| format!("{}/{file}", gateway::TLS);
        let (certificate, key) = (pair("tls.crt"), pair("tls.key"));
        let settings = Settings {
            configuration: &accepted.configuration,
            plugin,
            filter_file: None,
            gateway: &accepted.gateway,
            module: gateway::MODULE_FILE,
            vm_id: &self.vm_id,
            listen: self.everywhere(self.port),
            admin: Admin::Loopback(SocketAddr::from((Ipv4Addr::LOCALHOST, gateway::ADMIN))),
            metrics: Some(self.everywhere(gateway::METRICS)),
            collector: CollectorAddress::parse(&format!("127.0.0.1:{}", pod::COLLECTOR), None)?,
            resolvers: &self.resolver,
            ca: &self.ca,
            access_log: None,
            secrets: self.secrets.as_ref().map(|_| gateway::SECRETS),
            secret_files: None,
            max_heap: heap(&self.memory)?,
            // Certificates of signers are asked for, so that a policy may name them.
            tls: Some(ListenerTls { certificate: &certificate, key: &key, client_ca: Some(&ca) }),
        };
        let file = format!("{}/{}", gateway::LISTENER, gateway::LISTENER_FILE);
        let bootstrap = settings.bootstrap_with_listener_file(&file, Some(gateway::LISTENER));
        Ok((super::common::text(&bootstrap, false)?, super::common::text(&settings.listener_file(), false)?))
    }

    /// How the policy gets there, and what to know of it.
    fn deliver(&self, listener: &str) -> anyhow::Result<String> {
        let size = listener.len();
        if let (Some(file), Some(_)) = (&self.policy_file, &self.policy_image) {
            write_whole(file, listener.as_bytes())?;
            return Ok(format!(
                "The listener with its policy, {size} bytes, is read from an image, as {}.",
                gateway::LISTENER_FILE
            ));
        }
        if size > CONFIG_MAP {
            bail!(
                "the listener with its policy has {size} bytes, and a ConfigMap holds {CONFIG_MAP}; give --policy-file FILE, where \
                 it is written to, and --policy-image NAME@sha256:HEX, the image that you then pack it into as {}",
                gateway::LISTENER_FILE
            );
        }
        Ok(format!("The listener with its policy, {size} bytes, is the ConfigMap {}-listener.", self.name))
    }

    /// A port at every address of a pod, in the family that the cluster gives its services.
    fn everywhere(&self, port: u16) -> SocketAddr {
        match self.address {
            IpAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
            IpAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
        }
    }

    /// Name of the gateway with an ending.
    fn named(&self, ending: &str) -> String {
        format!("{}-{ending}", self.name)
    }

    /// Host name of a service.
    fn host(&self, service: &str) -> String {
        format!("{service}.{}.svc", self.namespace)
    }

    fn labels(&self, ending: Option<&str>) -> Value {
        json!({APP: ending.map_or_else(|| self.name.to_string(), |ending| self.named(ending))})
    }

    /// `metadata` of an object of the gateway's namespace.
    fn metadata(&self, name: &str, ending: Option<&str>) -> Value {
        json!({"name": name, "namespace": self.namespace, "labels": self.labels(ending)})
    }
}
