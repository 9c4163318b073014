//! `exeat collect`: receive, verify and store evidence.

/// Arguments of `exeat collect`.
#[derive(Debug, clap::Args)]
pub struct CollectArgs {}

/// Runs `exeat collect`.
pub fn run(_args: CollectArgs) -> anyhow::Result<()> {
    anyhow::bail!("not built yet")
}
