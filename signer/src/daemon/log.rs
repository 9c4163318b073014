//! Logs: one line of JSON an event, on standard error.

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

/// Sends events to standard error. `filter` is a level, or directives as `tracing-subscriber` reads them.
///
/// # Errors
/// The filter cannot be read, or events go somewhere already.
pub fn start(filter: &str) -> anyhow::Result<()> {
    let directives = EnvFilter::try_new(filter)
        .with_context(|| format!("--log {filter:?} is no level (error, warn, info, debug, trace)"))?;
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_env_filter(directives)
        .with_writer(std::io::stderr)
        .try_init()
        .map_err(|error| anyhow::anyhow!("cannot start the log: {error}"))
}
