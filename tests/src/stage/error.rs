//! What can go wrong on the stage. Each message says who, what was waited for, and the end of its log.

use std::time::Duration;

/// The result of a step on the stage.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure of the stage itself, never of what plays on it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operating system call failed.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A process ended while something was expected of it.
    #[error("{process} ended with {status} before {awaited}; the end of its log:\n{log}")]
    Exited {
        /// The process.
        process: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What was waited for.
        awaited: String,
        /// The last lines of its log.
        log: String,
    },
    /// A process lives, but what was expected did not come in time.
    #[error("{process}: no {awaited} within {waited:?}; the end of its log:\n{log}")]
    TimedOut {
        /// The process.
        process: String,
        /// What was waited for.
        awaited: String,
        /// How long.
        waited: Duration,
        /// The last lines of its log.
        log: String,
    },
    /// Envoy refused a configuration update and goes on with the one before.
    #[error("Envoy rejected the listeners:\n{0}")]
    Rejected(String),
    /// A peer broke the protocol, or closed or stayed silent where an answer was due.
    #[error("{peer}: {problem}")]
    Protocol {
        /// The peer.
        peer: String,
        /// What it did.
        problem: String,
    },
    /// A part that `cargo xtask test` provides is missing.
    #[error("{variable} is {problem}; run the tests through `cargo xtask test`, which provides it")]
    Artefact {
        /// The environment variable that names the part.
        variable: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

impl Error {
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    pub(crate) fn protocol(peer: impl ToString, problem: impl Into<String>) -> Self {
        Self::Protocol { peer: peer.to_string(), problem: problem.into() }
    }
}
