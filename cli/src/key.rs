//! `exeat key`: make keys.

/// Arguments of `exeat key`.
#[derive(Debug, clap::Args)]
pub struct KeyArgs {}

/// Runs `exeat key`.
pub fn run(_args: KeyArgs) -> anyhow::Result<()> {
    anyhow::bail!("not built yet")
}
