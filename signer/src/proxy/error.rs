//! Why the proxy process ends other than by its keeper's word.

use crate::protocol::frame::FrameError;

/// What ends the proxy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// The operating system refused something at the start.
    #[error("the proxy could not start: {doing}: {source}")]
    Start {
        /// What was being done.
        doing: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The socket to the keeper, or what came over it.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The keeper said something out of order.
    #[error("the keeper {0}")]
    Order(&'static str),
    /// The gateway as it is configured cannot be dialled.
    #[error("the gateway {url:?} cannot be dialled: {why}")]
    Gateway {
        /// Its URL.
        url: String,
        /// What is wrong, and what to do.
        why: String,
    },
}
