//! `exeat render`: configurations for gateways, one module a platform.

pub mod common;
pub mod envoy;
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
}

/// Runs `exeat render`.
pub fn run(args: RenderArgs) -> anyhow::Result<()> {
    match args.command {
        RenderCommand::Envoy(args) => envoy::run(*args),
    }
}
