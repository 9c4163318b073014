//! `exeat policy`: check and compile policies.

/// Arguments of `exeat policy`.
#[derive(Debug, clap::Args)]
pub struct PolicyArgs {}

/// Runs `exeat policy`.
pub fn run(_args: PolicyArgs) -> anyhow::Result<()> {
    anyhow::bail!("not built yet")
}
