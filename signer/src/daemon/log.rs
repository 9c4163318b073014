//! Logs: one line of JSON an event, on standard error.

use anyhow::{Context as _, ensure};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Sends events to standard error. `filter` is a level, or directives as `tracing-subscriber` reads them.
///
/// # Errors
/// The filter cannot be read, or events go somewhere already.
pub fn start(filter: &str) -> anyhow::Result<()> {
    let directives = directives(filter)?;
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_env_filter(directives)
        .with_writer(std::io::stderr)
        // It would say so on standard error, and panic where that is what cannot be written: a full disk, a reader that went.
        .log_internal_errors(false)
        .try_init()
        .map_err(|error| anyhow::anyhow!("cannot start the log: {error}"))
}

/// What `--log` says. A word alone is a level: as a directive it would name a target that nothing here has, and silence the rest.
fn directives(filter: &str) -> anyhow::Result<EnvFilter> {
    let bad = || {
        format!(
            "--log {filter:?} is no level (error, warn, info, debug, trace, off), nor directives such as info,exeat_signer::proxy=debug"
        )
    };
    // An empty text is a level to the library.
    let level = |part: &str| !part.is_empty() && part.parse::<LevelFilter>().is_ok();
    let word = |part: &str| level(part) || part.contains(['=', '[', ':']);
    ensure!(filter.split(',').all(|part| word(part.trim())), bad());
    EnvFilter::try_new(filter).with_context(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_alone_is_a_level() {
        for good in ["info", "WARN", "off", "info,exeat_signer::proxy=debug", "exeat_signer::proxy", "debug,hyper=off"]
        {
            assert!(directives(good).is_ok(), "{good}");
        }
        for bad in ["", "nonsense", "inof", "info,verbose", "info,", "exeat_signer=loud"] {
            let error = directives(bad).unwrap_err().to_string();
            assert!(error.starts_with(&format!("--log {bad:?} is no level")), "{error}");
        }
    }
}
