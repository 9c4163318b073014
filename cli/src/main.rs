//! `exeat`.
#![forbid(unsafe_code)]

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Egress control for AI agents: keys, signing, policy, evidence, rendering.
#[derive(Debug, Parser)]
#[command(name = "exeat", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

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
        Command::Run(args) => match exeat_cli::run::run(args) {
            Ok(status) => return ExitCode::from(status),
            Err(error) => Err(error),
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("exeat: {error:#}");
            ExitCode::FAILURE
        }
    }
}
