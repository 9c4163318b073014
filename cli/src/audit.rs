//! `exeat audit`: check and read stored evidence.

/// Arguments of `exeat audit`.
#[derive(Debug, clap::Args)]
pub struct AuditArgs {}

/// Runs `exeat audit`.
pub fn run(_args: AuditArgs) -> anyhow::Result<()> {
    anyhow::bail!("not built yet")
}
