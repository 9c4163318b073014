//! How much may be said by choosing names, and which sessions are let out of quarantine.

use super::values::{ByteSize, Duration};
use serde::Deserialize;

/// `names`: of a destination, or what holds for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NamesDocument {
    /// What the names under one parent may say in a session. Default: 60B.
    pub budget: Option<ByteSize>,
    /// Open destinations: what all names may say in a session. Default: 1KiB.
    pub total: Option<ByteSize>,
    /// Labels of one name that may look encoded. Default: 1.
    pub encoded_labels: Option<u8>,
    /// Open destinations: what one segment of a path may say that looks encoded. Default: 21B.
    pub segment: Option<ByteSize>,
    /// Open destinations: what all paths under one parent may say in a session that looks encoded. Default: 512B.
    pub paths: Option<ByteSize>,
    /// How long a session is quarantined that went over. `0s`: not at all. Default: 1h.
    pub quarantine: Option<Duration>,
}

/// `quarantine`.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct QuarantineDocument {
    /// Sessions that no quarantine holds.
    #[serde(default)]
    pub release: Vec<ReleaseDocument>,
}

/// A session by its names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ReleaseDocument {
    /// Tenant. Absent: a context without one.
    pub tenant: Option<String>,
    /// Agent.
    pub agent: String,
    /// Session.
    pub session: String,
}
