//! `exeat audit`: check and read stored evidence.
//!
//! `verify` trusts the store with nothing: it repeats from bytes whatever the collector checked, and looks for what a
//! collector could have left out. `list` and `show` only read.

pub mod bundle;
pub mod citations;
pub mod coverage;
pub mod erase;
pub mod export;
pub mod filter;
pub mod incident;
pub mod list;
pub mod log;
pub mod prove;
mod quarantined;
pub mod report;
pub mod show;
pub mod store;
pub mod time;
pub mod top;
pub mod verify;
pub mod view;

use crate::collect::keyring::KeyringArgs;
use crate::terminal::{Out, say};
use clap::Subcommand;
use report::Group;
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
    /// Check everything that is stored, from the bytes up. Fails if there is a finding; those that differ in nothing but leaf or
    /// checkpoint are one line.
    Verify(VerifyArgs),
    /// Show decisions as a table. Reads without verifying.
    List(list::ListArgs),
    /// Show all that is stored of one decision. Reads without verifying.
    Show(show::ShowArgs),
    /// Count decisions by what they have in common: who is denied most, where, and why.
    Top(top::TopArgs),
    /// Tell an incident: what left, to whom, on whose authority, and whether the evidence of it is whole.
    Report(incident::ReportArgs),
    /// Print decisions for other systems, a line each. Reads without verifying.
    Export(export::ExportArgs),
    /// Write the bundle of a decision: what proves it to somebody who has only the gateway's public key.
    Prove(prove::ProveArgs),
    /// Check a bundle, offline and without a store.
    Check(prove::CheckArgs),
    /// Forget a person: delete what opens the commitments to them. Every proof still holds.
    Erase(erase::EraseArgs),
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
    /// A gateway of which something must be stored; repeat it. Unless given, every gateway whose key is.
    #[arg(long, value_name = "GATEWAY")]
    expect: Vec<String>,
    /// A line for each finding and note, also for those that are alike.
    #[arg(long)]
    all: bool,
}

/// Runs `exeat audit`.
pub fn run(args: AuditArgs) -> anyhow::Result<()> {
    match args.command {
        AuditCommand::Verify(args) => {
            let keys = args.keys.load()?;
            let store = store::EvidenceStore::open(&args.store.db)?;
            let window = coverage::Window::new(args.from, args.to)?;
            let report = verify::verify(&store, &keys, &window, &args.expect)?;
            let mut out = Out::new();
            let groups = |findings| if args.all { Group::each(findings) } else { Group::alike(findings) };
            for group in groups(&report.findings) {
                writeln!(out, "{group}")?;
            }
            if report.findings.is_empty() {
                writeln!(out, "{}", report.totals)?;
            }
            for group in groups(&report.notes) {
                writeln!(out, "note: {group}")?;
            }
            // Of this machine's clock, so that it proves nothing and fails nothing: but a store that was put back looks like this.
            if let (None, Some((_, newest))) = (args.to, report.totals.span)
                && time::now().saturating_sub(newest) > coverage::LONGEST
            {
                say!(
                    "note: the newest checkpoint is of {}, {} before this machine's clock. Whether anything is missing after it is \
                     not asked without --to",
                    time::show(newest),
                    time::span(time::now().saturating_sub(newest))
                );
            }
            match report.findings.len() {
                0 => Ok(()),
                n => anyhow::bail!("{n} finding{} in {}", if n == 1 { "" } else { "s" }, args.store.db.display()),
            }
        }
        AuditCommand::List(args) => list::run(&args),
        AuditCommand::Show(args) => show::run(&args),
        AuditCommand::Top(args) => top::run(&args),
        AuditCommand::Report(args) => incident::run(&args),
        AuditCommand::Export(args) => export::run(&args),
        AuditCommand::Prove(args) => prove::prove(&args),
        AuditCommand::Check(args) => prove::check(&args),
        AuditCommand::Erase(args) => erase::run(&args),
    }
}
