//! `exeat audit`: check and read stored evidence.
//!
//! `verify` trusts the store with nothing: it repeats from bytes whatever the collector checked, and looks for what a
//! collector could have left out. `list` and `show` only read.

pub mod citations;
pub mod coverage;
pub mod list;
pub mod log;
mod quarantined;
pub mod report;
pub mod show;
pub mod store;
pub mod time;
pub mod verify;
pub mod view;

use crate::collect::keyring::KeyringArgs;
use clap::Subcommand;
use std::io::Write as _;
use std::path::PathBuf;

/// Arguments of `exeat audit`.
#[derive(Debug, clap::Args)]
pub struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Check everything that is stored, from the bytes up. One line for each finding; fails if there is one.
    Verify(VerifyArgs),
    /// Show decisions as a table. Reads without verifying.
    List(list::ListArgs),
    /// Show all that is stored of one decision. Reads without verifying.
    Show(show::ShowArgs),
}

/// The store to read.
#[derive(Debug, clap::Args)]
pub struct StoreArgs {
    /// The store that `exeat collect` writes.
    #[arg(long, value_name = "FILE")]
    pub db: PathBuf,
}

#[derive(Debug, clap::Args)]
struct VerifyArgs {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    keys: KeyringArgs,
    /// From this time on every gateway must have left checkpoints: RFC 3339, or a day (UTC).
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    from: Option<u64>,
    /// Up to this time. What was signed later is checked, but nothing is missed after it.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    to: Option<u64>,
}

/// Runs `exeat audit`.
pub fn run(args: AuditArgs) -> anyhow::Result<()> {
    match args.command {
        AuditCommand::Verify(args) => {
            let keys = args.keys.load()?;
            let store = store::EvidenceStore::open(&args.store.db)?;
            let window = coverage::Window::new(args.from, args.to)?;
            let report = verify::verify(&store, &keys, &window)?;
            let mut out = std::io::stdout().lock();
            for finding in &report.findings {
                writeln!(out, "{finding}")?;
            }
            match report.findings.len() {
                0 => Ok(writeln!(out, "{}", report.totals)?),
                n => anyhow::bail!("{n} finding{} in {}", if n == 1 { "" } else { "s" }, args.store.db.display()),
            }
        }
        AuditCommand::List(args) => list::run(&args),
        AuditCommand::Show(args) => show::run(&args),
    }
}
