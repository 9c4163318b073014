//! `exeat render`: configurations for gateways.

/// Arguments of `exeat render`.
#[derive(Debug, clap::Args)]
pub struct RenderArgs {}

/// Runs `exeat render`.
pub fn run(_args: RenderArgs) -> anyhow::Result<()> {
    anyhow::bail!("not built yet")
}
