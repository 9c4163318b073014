//! What is allowed: documents that people write, compiled into the policy that requests meet (DESIGN section 4).
//!
//! [`Configuration::accept`] is the only way in, for the filter and for the command line. It reads the plugin JSON,
//! refuses what it does not understand with the place and a remedy, and compiles the rest to immutable data.

mod agent;
pub mod budgets;
pub(crate) mod canonical;
pub mod compiled;
mod condition;
pub mod configuration;
mod destination;
pub mod document;
pub mod environment;
pub mod error;
pub mod evaluate;
mod exception;
pub mod gateway;
pub mod headers;
mod hold;
mod lean;
mod limits;
mod mask;
mod member;
pub mod names;
pub mod node;
mod outlet;
mod parameter;
mod pattern;
pub mod prune;
mod read;
mod rule;
mod selector;
mod signer;
mod token;
mod warnings;

pub use budgets::{Budgets, Spending};
pub use compiled::CompiledPolicy;
pub use configuration::{Configuration, GuardConfiguration, PluginConfiguration, Role};
pub use destination::{Credentials, Destination};
pub use document::gateway::{Delivery, Feedback, MaskMember, WhenFull};
pub use error::{Document, PolicyError};
pub use evaluate::{Candidates, Grant, HeadVerdict, Payload, Refusal, Scrutiny, Subject, Unpaid, Verdict};
pub use gateway::{Collector, Gateway};
pub use limits::Dimension;
pub use mask::ValueMask;
pub use names::NameLimits;
pub use outlet::Outlet;
pub use read::{ValueError, read};
pub use signer::Signer;
pub use warnings::warnings;

use serde::{Deserialize, Serialize};

/// Whether refusals are enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A refused request does not go on.
    Enforce,
    /// A verified request that would be refused goes on and is recorded as `would-deny`.
    Monitor,
}

impl Mode {
    /// The word in documents and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Monitor => "monitor",
        }
    }
}

#[cfg(test)]
mod tests;
