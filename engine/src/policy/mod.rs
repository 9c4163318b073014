//! What is allowed: documents that people write, compiled into the policy that requests meet (DESIGN section 4).

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
