//! `exeat signer`: the daemon that signs for agents.
//!
//! This is its command line: it reads files and options, so that every mistake in them is one clear error before anything
//! listens. The daemon is in `exeat_signer`.

mod key;
mod options;

use crate::files::write_whole;
use exeat_signer::daemon::{self, ProxyArgs, harden_keeper, log};
use key::KeyOptions;
use options::Options;

/// Arguments of `exeat signer`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  exeat signer --key signer.key --keyid signer-eu-1 --gateway http://127.0.0.1:10000 \\
    --runtime-dir /run/exeat --proxy-user exeat-proxy --orchestrator-uid orchestrator")]
pub struct SignerArgs {
    #[command(flatten)]
    key: KeyOptions,
    #[command(flatten)]
    options: Box<Options>,
}

/// Arguments of the process that the signer starts.
#[derive(Debug, clap::Args)]
pub struct SignerProxyArgs {
    #[command(flatten)]
    args: ProxyArgs,
}

/// Runs `exeat signer` until SIGTERM or SIGINT.
pub fn run(args: SignerArgs) -> anyhow::Result<()> {
    daemon::close_inherited();
    // Before the key is in this process, so that nobody can read it out of it.
    let hardening = harden_keeper();
    args.key.leave_environment()?;
    log::start(&args.options.log)?;
    hardening.log("keeper");
    let key = args.key.load()?;
    let (keyid, public) = (key.keyid(), key.public().to_base64());
    tracing::info!(keyid, public, kept_out_of_swap = key.is_locked(), "key read");
    if !key.is_locked() {
        tracing::warn!(
            "the key's memory cannot be kept out of swap: raise the limit of locked memory (RLIMIT_MEMLOCK)"
        );
    }
    let (settings, _spool) = args.options.settings()?;
    let ready_file = args.options.ready_file.clone();
    let control = settings.control.clone();
    daemon::run(settings, key, args.key.reload(), move || match ready_file {
        // In one step, so that whoever waits for it never reads half of it.
        Some(file) => write_whole(&file, format!("{}\n", control.display()).as_bytes()),
        None => Ok(()),
    })
}

/// Runs the proxy process of a signer.
pub fn run_proxy(args: &SignerProxyArgs) -> anyhow::Result<()> {
    daemon::child::run(&args.args)
}
