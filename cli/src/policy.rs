//! `exeat policy`: check and compile policies.
//!
//! A folder of files becomes one document ([`folder`], [`yaml`], [`merge`]), which the engine accepts or refuses by the
//! same code as the gateway does. What it says of a place in that document is brought back to file, line and column.

pub mod diagnostic;
mod explain;
pub mod folder;
pub mod load;
pub mod merge;
pub mod rehearsal;
mod suffix;
mod test;
pub mod yaml;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use exeat_engine::facts::Timestamp;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Arguments of `exeat policy`.
#[derive(Debug, Args)]
pub struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Check a folder of policy files, and say what is wrong, where, and what to write instead.
    Check {
        /// The folder: every *.yaml, *.yml and *.json below it.
        folder: PathBuf,
        /// The gateway document. Without it the policy is checked for a gateway that speaks HTTPS.
        #[arg(long)]
        gateway: Option<PathBuf>,
    },
    /// Make the one JSON document that the filter reads.
    Compile {
        /// The folder: every *.yaml, *.yml and *.json below it.
        folder: PathBuf,
        /// The gateway document.
        #[arg(long)]
        gateway: PathBuf,
        /// Where to write it; without this it is printed.
        #[arg(short, long)]
        output: Option<PathBuf>,
    },
    /// Send the requests of test files through the policy, and say what comes out otherwise than they expect.
    Test(test::TestArgs),
    /// Say what becomes of one request, and why: what each rule of its agent makes of it.
    Explain(Box<explain::ExplainArgs>),
}

/// Runs `exeat policy`.
pub fn run(args: PolicyArgs) -> anyhow::Result<()> {
    match args.command {
        PolicyCommand::Check { folder, gateway } => check(&folder, gateway.as_deref()),
        PolicyCommand::Test(args) => test::run(&args),
        PolicyCommand::Explain(args) => explain::run(*args),
        PolicyCommand::Compile { folder, gateway, output } => compile(&folder, &gateway, output.as_deref()),
    }
}

fn check(folder: &Path, gateway: Option<&Path>) -> anyhow::Result<()> {
    let loaded = load_or_explain(folder, gateway)?;
    let policy = loaded.configuration.policy();
    println!(
        "ok: {} destinations, {} agents, {} rules, digest {}",
        policy.destinations(),
        policy.agents(),
        policy.rules(),
        policy.digest()
    );
    Ok(())
}

fn compile(folder: &Path, gateway: &Path, output: Option<&Path>) -> anyhow::Result<()> {
    let loaded = load_or_explain(folder, Some(gateway))?;
    let mut text = serde_json::to_string_pretty(&loaded.document)?;
    text.push('\n');
    match output {
        Some(path) => write_whole(path, text.as_bytes()),
        None => std::io::stdout().lock().write_all(text.as_bytes()).context("cannot print the document"),
    }
}

/// Loads a policy; prints every warning, or every error.
pub(crate) fn load_or_explain(folder: &Path, gateway: Option<&Path>) -> anyhow::Result<load::Loaded> {
    match load::load(folder, gateway) {
        Ok(loaded) => {
            for warning in loaded.warnings(now()) {
                eprintln!("warning: {warning}");
            }
            Ok(loaded)
        }
        Err(errors) => {
            for error in &errors {
                eprintln!("{error}");
            }
            match errors.len() {
                1 => bail!("the policy has an error"),
                count => bail!("the policy has {count} errors"),
            }
        }
    }
}

/// Writes a file as a whole or not at all: a gateway that watches it never reads half of it.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut name = path.file_name().with_context(|| format!("{} is not a file name", path.display()))?.to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    let written = std::fs::write(&part, bytes).and_then(|()| std::fs::rename(&part, path));
    if written.is_err() {
        // The reason that matters is the first one.
        let _ = std::fs::remove_file(&part);
    }
    written.with_context(|| format!("cannot write {}", path.display()))
}

fn now() -> Timestamp {
    Timestamp(u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0))
}

#[cfg(test)]
mod tests;
