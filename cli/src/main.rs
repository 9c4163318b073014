//! `exeat`.
#![forbid(unsafe_code)]

use clap::{Parser, Subcommand};
use exeat_cli::terminal;
use std::io::Write as _;
use std::process::ExitCode;

/// Egress control for AI agents: keys, signing, policy, evidence, rendering.
#[derive(Debug, Parser)]
#[command(name = "exeat", version, max_term_width = 110, after_help = STATUS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// docs/operations.md says the same at more length.
const STATUS: &str = "\
Status: 0 done, and nothing is wrong; 1 something is wrong, or could not be done, as the last line on standard error says; 2 the
command line cannot be read; 141 whoever read standard output went away. `exeat run` ends as its program did.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Make keys for signers and gateways.
    Key(exeat_cli::key::KeyArgs),
    /// Print the headers of a signed request.
    Sign(exeat_cli::sign::SignArgs),
    /// Check and compile policies.
    Policy(exeat_cli::policy::PolicyArgs),
    /// Print configurations for gateways.
    Render(exeat_cli::render::RenderArgs),
    /// Pack the filter as OCI image and artifact, into files or a registry.
    Package(Box<exeat_cli::package::PackageArgs>),
    /// Say which module a file holds, and whether it was altered.
    Module(exeat_cli::module::ModuleArgs),
    /// Receive, verify and store evidence.
    Collect(exeat_cli::collect::CollectArgs),
    /// Check and read stored evidence.
    Audit(exeat_cli::audit::AuditArgs),
    /// Sign for agents that know nothing of it: a forward proxy for each session.
    Signer(exeat_cli::signer::SignerArgs),
    /// Ask whether a collector, gateway or signer on this machine is well.
    Probe(exeat_cli::probe::ProbeArgs),
    /// Take traffic away from a gateway, and wait until its evidence is delivered.
    Drain(exeat_cli::drain::DrainArgs),
    /// Run a program as an agent, in a session of its own.
    Run(exeat_cli::run::RunArgs),
    /// The part of the signer that reads what agents send; the signer starts it.
    #[command(hide = true)]
    SignerProxy(exeat_cli::signer::SignerProxyArgs),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Key(args) => exeat_cli::key::run(args),
        Command::Sign(args) => exeat_cli::sign::run(args),
        Command::Policy(args) => exeat_cli::policy::run(args),
        Command::Render(args) => exeat_cli::render::run(args),
        Command::Package(args) => exeat_cli::package::run(*args),
        Command::Module(args) => exeat_cli::module::run(&args),
        Command::Collect(args) => exeat_cli::collect::run(args),
        Command::Audit(args) => exeat_cli::audit::run(args),
        Command::Signer(args) => exeat_cli::signer::run(args),
        Command::SignerProxy(args) => exeat_cli::signer::run_proxy(&args),
        Command::Probe(args) => exeat_cli::probe::run(&args),
        Command::Drain(args) => exeat_cli::drain::run(&args),
        Command::Run(args) => match exeat_cli::run::run(args) {
            Ok(status) => return ExitCode::from(status),
            Err(error) => Err(error),
        },
    };
    // What was printed last may still wait to be written.
    match result.and_then(|()| Ok(terminal::Out::new().flush()?)) {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody is there to be told.
        Err(error) if terminal::reader_gone(&error) => ExitCode::from(terminal::READER_GONE),
        Err(error) => {
            terminal::line(format_args!("exeat: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
