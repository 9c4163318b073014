//! `exeat sign`: the headers of a signed request, by hand.

/// Arguments of `exeat sign`.
#[derive(Debug, clap::Args)]
pub struct SignArgs {}

/// Runs `exeat sign`.
pub fn run(_args: SignArgs) -> anyhow::Result<()> {
    anyhow::bail!("not built yet")
}
