//! `exeat collect`: receive, verify and store evidence.
//!
//! The collector trusts nobody but the keys it was given: a batch is stored when its checkpoint is signed by the gateway
//! that its origin names, its records follow what is stored, and all leaves together give the root signed. It acknowledges
//! only what is on the disk. Auditors trust the collector with nothing: `exeat audit verify` repeats every check.

pub mod batch;
pub mod keyring;
pub mod problem;
pub mod schema;
pub mod server;
pub mod store;
pub mod writer;

use anyhow::Context as _;
use keyring::KeyringArgs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Time that requests get to end after a stop was asked for.
const GRACE: Duration = Duration::from_secs(10);

/// Arguments of `exeat collect`.
#[derive(Debug, clap::Args)]
pub struct CollectArgs {
    /// Where to listen: a loopback address, since there is no TLS here. Port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9470")]
    pub listen: SocketAddr,
    /// The store, a SQLite database. Made when it is not there.
    #[arg(long, value_name = "FILE")]
    pub db: PathBuf,
    /// Whose evidence is taken.
    #[command(flatten)]
    pub keys: KeyringArgs,
    /// Write the address to this file once requests are taken.
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

/// Runs `exeat collect` until SIGTERM or SIGINT.
pub fn run(args: CollectArgs) -> anyhow::Result<()> {
    let keys = args.keys.load()?;
    anyhow::ensure!(
        args.listen.ip().is_loopback(),
        "{} is not a loopback address. The collector speaks plain HTTP, and openings name people: let it listen on \
         127.0.0.1 and put a TLS proxy in front of it",
        args.listen
    );
    let store = store::Store::open(&args.db)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(async {
        // Signals are taken before anybody is told that the collector is ready.
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let stop = async move {
            tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () }
        };
        let listener = TcpListener::bind(args.listen)
            .await
            .with_context(|| format!("cannot listen on {}: choose another address with --listen", args.listen))?;
        let address = listener.local_addr()?;
        let (writer, writing) = writer::start(store)?;
        if let Some(file) = &args.ready_file {
            announce(file, address).with_context(|| format!("cannot write {}", file.display()))?;
        }
        eprintln!("exeat collect: listening on {address}, storing in {}", args.db.display());
        server::serve(listener, server::router(keys, writer.clone()), stop, GRACE).await?;
        writer.stop().await;
        tokio::task::spawn_blocking(move || writing.join())
            .await?
            .map_err(|_| anyhow::anyhow!("the writer failed; the store holds everything that was acknowledged"))?;
        eprintln!("exeat collect: stopped");
        Ok(())
    })
}

/// Writes the ready file in one step, so that whoever waits for it never reads half of it.
fn announce(file: &Path, address: SocketAddr) -> std::io::Result<()> {
    let mut partial = file.as_os_str().to_owned();
    partial.push(".partial");
    std::fs::write(&partial, format!("{address}\n"))?;
    std::fs::rename(&partial, file)
}
