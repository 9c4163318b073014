//! `exeat collect`: receive, verify and store evidence.
//!
//! The collector trusts nobody but the keys it was given: a batch is stored when its checkpoint is signed by the gateway
//! that its origin names, its records follow what is stored, and all leaves together give the root signed. It acknowledges
//! only what is on the disk. Auditors trust the collector with nothing: `exeat audit verify` repeats every check.

pub mod batch;
pub mod forward;
pub mod keyring;
pub mod listen;
pub mod metrics;
pub mod problem;
pub mod prune;
pub mod repeated;
pub mod schema;
pub mod server;
pub mod store;
pub mod token;
pub mod writer;

use crate::files::write_whole;
use crate::terminal::say;
use anyhow::Context as _;
use keyring::KeyringArgs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// How long a relay keeps what it forwarded, unless told.
const RELAY_KEEPS: Duration = Duration::from_secs(86_400);

/// Time that requests get to end after a stop was asked for.
const GRACE: Duration = Duration::from_secs(10);

/// Arguments of `exeat collect`.
#[derive(Debug, clap::Args)]
pub struct CollectArgs {
    /// Where to listen. Beyond loopback only with TLS. Port 0 takes a free one.
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
    /// Bearer token that every request but /healthz must carry: a file, or env:NAME.
    #[arg(long, value_name = "FILE|env:NAME")]
    pub token: Option<token::TokenSource>,
    /// Forget what was signed longer ago than this, for instance 400d; absent: never. Where the EU AI Act asks a deployer
    /// to keep the logs of a high-risk system, it is for at least six months (article 26(6)).
    #[arg(long, value_name = "TIME", value_parser = keep)]
    pub keep: Option<Duration>,
    /// TLS.
    #[command(flatten)]
    pub tls: listen::TlsArgs,
    /// Another collector.
    #[command(flatten)]
    pub forward: forward::ForwardArgs,
}

/// How often it is looked for what is old.
const PRUNING: Duration = Duration::from_secs(600);

/// A time to keep records for.
pub(crate) fn keep(text: &str) -> Result<Duration, String> {
    let span: jiff::Span = text.parse().map_err(|_| "write a time such as 400d or 36h".to_owned())?;
    let duration = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|error| error.to_string())?;
    let duration = Duration::try_from(duration).map_err(|_| "a time to keep is not negative".to_owned())?;
    if duration < Duration::from_secs(3600) {
        return Err("keep records for an hour at least: gateways may send again what they sent before".to_owned());
    }
    Ok(duration)
}

/// Runs `exeat collect` until SIGTERM or SIGINT.
pub fn run(args: CollectArgs) -> anyhow::Result<()> {
    let keys = args.keys.load()?;
    let token = args.token.as_ref().map(token::TokenSource::load).transpose()?;
    let tls = args.tls.acceptor(args.listen, token.is_some())?;
    let token = token.as_deref().map(token::ExpectedToken::new);
    let forward = args.forward.load()?;
    // A relay is a queue: it keeps for a day what the next collector has.
    let keep = args.keep.or(forward.as_ref().map(|_| RELAY_KEEPS));
    let retention = keep.map(|keep| writer::Retention { keep, relay: forward.is_some() });
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
        let metrics = metrics::Metrics::default();
        let (writer, writing) = writer::start(store, metrics.clone(), retention)?;
        let forwarding = forward.map(|next| forward::start(next, &args.db, metrics.clone())).transpose()?;
        if let Some(file) = &args.ready_file {
            // In one step, so that whoever waits for it never reads half of it.
            write_whole(file, format!("{address}\n").as_bytes())?;
        }
        say!("exeat collect: listening on {address}, storing in {}", args.db.display());
        let router = server::router(keys, writer.clone(), metrics, token);
        let clock = tokio::spawn({
            let writer = writer.clone();
            async move {
                loop {
                    tokio::time::sleep(PRUNING).await;
                    writer.prune().await;
                }
            }
        });
        listen::serve(listener, tls, router, stop, GRACE).await?;
        clock.abort();
        writer.stop().await;
        tokio::task::spawn_blocking(move || writing.join())
            .await?
            .map_err(|_| anyhow::anyhow!("the writer failed; the store holds everything that was acknowledged"))?;
        if let Some(forwarding) = forwarding {
            tokio::task::spawn_blocking(move || forwarding.stop()).await?;
        }
        say!("exeat collect: stopped");
        Ok(())
    })
}
