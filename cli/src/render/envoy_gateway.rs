//! `exeat render envoy-gateway`: an egress gateway of its own, through which alone agents get out.
//!
//! An EnvoyExtensionPolicy brings the filter. It knows neither the hold of heads nor filters of upstreams, so that an
//! EnvoyPatchPolicy adds the hold, the guarded ways out and the routes to them; or all of it. Where patches are missing, no route
//! leads anywhere.

mod patches;
mod workload;

use super::cluster::delivery::{Delivery, check_sizes};
use super::cluster::names::{Name, Namespace};
use super::cluster::network::{self, Peer, Pods};
use super::cluster::{AgentDns, ClusterArgs, pod};
use super::common::{Accepted, CommonArgs};
use crate::terminal::say;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

/// Arguments of `exeat render envoy-gateway`.
#[derive(Debug, Args)]
pub struct EnvoyGatewayArgs {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// What brings the filter.
    #[arg(long, value_enum, default_value = "extension-policy")]
    plugin: Plugin,
    /// The Secret to pull the image with, in the gateway's namespace, for --plugin extension-policy.
    #[arg(long, value_name = "SECRET")]
    pull_secret: Option<Name>,
    /// Namespace of Envoy Gateway.
    #[arg(long, value_name = "NAMESPACE", default_value = "envoy-gateway-system")]
    controller: Namespace,
    /// Namespace of the proxies, where it is not that of Envoy Gateway. Secrets and ConfigMaps that are named must be there.
    #[arg(long, value_name = "NAMESPACE")]
    proxies: Option<Namespace>,
}

/// What brings the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Plugin {
    /// An EnvoyExtensionPolicy, and an EnvoyPatchPolicy around it.
    ExtensionPolicy,
    /// An EnvoyPatchPolicy alone.
    PatchPolicy,
}

impl EnvoyGatewayArgs {
    fn proxies(&self) -> &Namespace {
        self.proxies.as_ref().unwrap_or(&self.controller)
    }

    /// Where Envoy Gateway is: its configuration, and modules that it fetched.
    fn control_plane(&self) -> Peer<'_> {
        Peer {
            namespace: self.controller.as_str(),
            label: ("control-plane", "envoy-gateway"),
            ports: &[18_000, 18_002],
        }
    }

    /// Labels that Envoy Gateway gives to the proxies of one Gateway.
    fn pods(&self) -> Pods<'_> {
        Pods {
            namespace: self.proxies(),
            labels: json!({
                "gateway.envoyproxy.io/owning-gateway-name": self.cluster.name,
                "gateway.envoyproxy.io/owning-gateway-namespace": self.cluster.namespace,
            }),
            metrics: METRICS,
        }
    }
}

/// Where Envoy Gateway's Envoys have their metrics.
const METRICS: u16 = 19_001;

/// Ports that its pods have: administration, metrics, shutdown manager and readiness.
const TAKEN: [u16; 4] = [19_000, METRICS, 19_002, 19_003];

/// Runs `exeat render envoy-gateway`.
pub(crate) fn run(args: EnvoyGatewayArgs) -> anyhow::Result<()> {
    args.cluster.check_place(&[args.controller.as_str(), args.proxies().as_str()], &TAKEN)?;
    let accepted = args.common.accept()?;
    let (mut objects, delivery) = configuration(&args, &accepted)?;
    let dns = args.cluster.agent_dns.unwrap_or(AgentDns::None);
    let policies = network::policies(&args.cluster, &accepted, &args.pods(), dns, &args.control_plane(), false)?;
    // First, as no pod should be there before them.
    objects.splice(..0, policies);
    let mut says = vec![delivery.says(&args.cluster)];
    says.extend(check_sizes(&objects)?);
    says.push(
        "Envoy Gateway must have extensionApis.enableEnvoyPatchPolicy; nobody but the platform may write EnvoyPatchPolicies."
            .to_owned(),
    );
    if dns == AgentDns::Cluster {
        says.push(super::cluster::DNS_LEADS_OUT.to_owned());
    }
    says.iter().for_each(|line| say!("{line}"));
    args.common.write_objects(&says.join("\n"), &objects)
}

fn configuration(args: &EnvoyGatewayArgs, accepted: &Accepted) -> anyhow::Result<(Vec<Value>, Delivery)> {
    let cluster = &args.cluster;
    let (delivery, plugin) = match args.plugin {
        Plugin::ExtensionPolicy => (Delivery::Inline, patches::around_policy(args, accepted)?),
        Plugin::PatchPolicy => {
            let (patches, delivery) = patches::whole(cluster, accepted)?;
            (delivery, vec![patches])
        }
    };
    let mut objects = workload::workload(args, accepted, &delivery);
    objects.extend(pod::credential_sources(cluster, accepted, args.proxies())?);
    objects.extend(delivery.deliver(cluster, args.proxies())?);
    objects.extend(plugin);
    Ok((objects, delivery))
}
