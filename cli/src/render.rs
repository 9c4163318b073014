//! `exeat render`: configurations for gateways, one module a platform.

pub mod cluster;
pub mod common;
pub mod envoy;
pub mod envoy_gateway;
pub mod istio;
pub mod kubernetes;
pub mod systemd;
pub mod yaml;

use clap::{Args, Subcommand};

/// Arguments of `exeat render`.
#[derive(Debug, Args)]
pub struct RenderArgs {
    #[command(subcommand)]
    command: RenderCommand,
}

#[derive(Debug, Subcommand)]
enum RenderCommand {
    /// Print the configuration of an Envoy (1.40) that lets nothing out but by the filter.
    Envoy(Box<envoy::EnvoyArgs>),
    /// Print the objects of an egress gateway of Envoy Gateway that lets nothing out but by the filter.
    EnvoyGateway(Box<envoy_gateway::EnvoyGatewayArgs>),
    /// Print the objects of an egress gateway of Istio that lets nothing out but by the filter.
    Istio(Box<istio::IstioArgs>),
    /// Print the objects of a gateway in a cluster without a mesh, with relay, collector and, where wanted, an agent and its
    /// signer.
    Kubernetes(Box<kubernetes::KubernetesArgs>),
    /// Write units of a gateway, its relay, a collector and a signer into a folder, with what Envoy reads.
    Systemd(Box<systemd::SystemdArgs>),
}

/// Runs `exeat render`.
pub fn run(args: RenderArgs) -> anyhow::Result<()> {
    match args.command {
        RenderCommand::Envoy(args) => envoy::run(*args),
        RenderCommand::EnvoyGateway(args) => envoy_gateway::run(*args),
        RenderCommand::Istio(args) => istio::run(*args),
        RenderCommand::Kubernetes(args) => kubernetes::run(&args),
        RenderCommand::Systemd(args) => systemd::run(&args),
    }
}
