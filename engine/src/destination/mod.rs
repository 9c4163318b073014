//! Where to: the canonical destination (DESIGN section 5), made once and used for match, record and forwarding alike.

pub mod canonical;
pub mod matcher;

pub use canonical::{CanonicalDestination, CanonicalHost, CanonicalPath, DestinationError, Scheme};
pub use matcher::{HostMatcher, HostPattern, PathPattern};
