//! How closely an allow rule fits a request, as a type that compares.

use crate::destination::{HostSpecificity, PathSpecificity};
use std::cmp::Reverse;

/// Greater is closer: an exact host over a wildcard, then the longer path, then, so that there is always one answer, the
/// destination and the rule whose id comes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Specificity {
    /// The host.
    pub host: HostSpecificity,
    /// The path; `None` while none was compared or none fits.
    pub path: Option<PathSpecificity>,
    /// Id of the destination.
    pub destination: Reverse<String>,
    /// Id of the rule.
    pub rule: Reverse<String>,
}
