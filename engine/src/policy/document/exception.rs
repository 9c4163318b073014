//! `exception`: an approved deviation with an end, and how long such may live.

use super::values::{Duration, Moment};
use serde::Deserialize;

/// `exception` of an allow rule. It allows nothing by itself: it says who answers for the rule, and makes it end.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ExceptionDocument {
    /// Where it was asked for and decided. Recorded with every decision by the rule.
    pub ticket: String,
    /// Who approved it.
    pub approver: String,
    /// When: its life is counted from then.
    pub approved: Moment,
    /// What for.
    pub reason: Option<String>,
}

/// `exceptions` of the ceilings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ExceptionCeilingDocument {
    /// The longest that a rule with an exception lives after it was approved. Default: 90d.
    pub life: Option<Duration>,
}
