//! `exeat render istio`: an egress gateway of its own, through which alone agents get out.
//!
//! Istio makes the listener: mutual TLS with its identities, and what an AuthorizationPolicy says of who may connect. Its last
//! filter is replaced by the manager that `exeat render envoy` has, guarded ways out included. Where that replacement is
//! missing, connections end: the route that Istio knows leads to a host that nobody has.

mod entries;
mod mesh;
mod patches;
mod workload;

use super::cluster::delivery::{Delivery, check_sizes};
use super::cluster::network::{self, Peer, Pods};
use super::cluster::{AgentDns, ClusterArgs, pod};
use super::common::{Accepted, CommonArgs};
use crate::terminal::say;
use clap::{Args, ValueEnum};
use serde_json::Value;

/// Arguments of `exeat render istio`.
#[derive(Debug, Args)]
pub struct IstioArgs {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// What brings the filter. Only the EnvoyFilter can hold the head of a request until its body is judged.
    #[arg(long, value_enum, default_value = "envoyfilter")]
    plugin: Plugin,
    /// The Secret to pull the image with, for --plugin wasmplugin.
    #[arg(long, value_name = "SECRET")]
    pull_secret: Option<super::cluster::names::Name>,
    /// Agents have no proxies of Istio: the gateway takes plain connections, and NetworkPolicies alone say whose.
    #[arg(long)]
    agents_outside_mesh: bool,
}

/// What brings the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Plugin {
    /// An EnvoyFilter.
    #[value(name = "envoyfilter")]
    EnvoyFilter,
    /// A WasmPlugin, which cannot hold heads; an EnvoyFilter still brings the guarded ways out.
    #[value(name = "wasmplugin")]
    WasmPlugin,
}

/// Where Istio's control plane is.
const CONTROLLER: Peer<'_> = Peer { namespace: "istio-system", label: ("app", "istiod"), ports: &[15_012] };

/// Where Istio's Envoys have their metrics.
const METRICS: u16 = 15_090;

/// Ports that Istio's agent and Envoy have in every pod (istio.io, application requirements).
const TAKEN: [u16; 10] = [15_000, 15_001, 15_002, 15_004, 15_006, 15_008, 15_020, 15_021, 15_053, METRICS];

/// Runs `exeat render istio`.
pub(crate) fn run(args: IstioArgs) -> anyhow::Result<()> {
    args.cluster.check_place(&[CONTROLLER.namespace], &TAKEN)?;
    let accepted = args.common.accept()?;
    let (mut objects, delivery) = configuration(&args, &accepted)?;
    let dns = args.cluster.agent_dns.unwrap_or(match args.agents_outside_mesh {
        true => AgentDns::None,
        // Their proxies look the control plane up.
        false => AgentDns::Cluster,
    });
    let mesh = !args.agents_outside_mesh;
    objects.extend(entries::entries(&args.cluster, &accepted));
    let pods = Pods { namespace: &args.cluster.namespace, labels: args.cluster.labels(), metrics: METRICS };
    // First, as no pod should be there before them.
    objects.splice(..0, network::policies(&args.cluster, &accepted, &pods, dns, &CONTROLLER, mesh)?);
    let mut says = vec![delivery.says(&args.cluster)];
    says.extend(check_sizes(&objects)?);
    if dns == AgentDns::Cluster {
        says.push(super::cluster::DNS_LEADS_OUT.to_owned());
    }
    if args.plugin == Plugin::WasmPlugin {
        says.push(
            "A WasmPlugin cannot hold heads: they leave before the body is judged (gateway.hold: false).".to_owned(),
        );
    }
    says.iter().for_each(|line| say!("{line}"));
    args.common.write_objects(&says.join("\n"), &objects)
}

/// What configures the gateway itself.
fn configuration(args: &IstioArgs, accepted: &Accepted) -> anyhow::Result<(Vec<Value>, Delivery)> {
    let cluster = &args.cluster;
    let (delivery, plugin) = match args.plugin {
        Plugin::EnvoyFilter => {
            let (filter, delivery) = patches::whole(cluster, accepted)?;
            (delivery, vec![filter])
        }
        Plugin::WasmPlugin => (Delivery::Inline, patches::around_plugin(cluster, accepted, args.pull_secret.as_ref())?),
    };
    let mut objects = workload::workload(cluster, accepted, &delivery);
    objects.extend(pod::credential_sources(cluster, accepted, &cluster.namespace)?);
    objects.extend(delivery.deliver(cluster, &cluster.namespace)?);
    objects.extend(mesh::entrance(cluster, !args.agents_outside_mesh, args.plugin));
    objects.extend(plugin);
    Ok((objects, delivery))
}
