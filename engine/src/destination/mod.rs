//! Where to: the canonical destination (DESIGN sections 5 and 9), made once and used for match, record and forwarding
//! alike.
//!
//! What arrives is read in two steps, because the scheme and the openings of a path belong to the destination that the
//! host selects: [`Authority::parse`] gives host and written port, [`CanonicalDestination::new`] adds scheme and path.
//! Hosts and paths of a policy are read by the same code ([`HostPattern`], [`PathPattern`]), so that a pattern cannot
//! mean something that no request can be.

pub mod address;
pub mod authority;
pub mod canonical;
pub mod cidr;
pub mod client_hello;
pub mod error;
pub mod exit;
mod fold;
pub mod host;
pub mod hosts;
mod lenient;
pub mod matcher;
pub mod opening;
pub mod pass;
pub mod path;
pub mod paths;
pub mod ranges;
mod readings;
pub mod registrable;
pub mod score;
mod score_words;
pub mod special_use;

pub use address::{AddressClass, classify};
pub use authority::Authority;
pub use canonical::{CanonicalDestination, Scheme};
pub use cidr::{Cidr, CidrError};
pub use error::DestinationError;
pub use exit::Exit;
pub(crate) use fold::fold;
pub use host::{CanonicalHost, HostName};
pub use hosts::{HostGrant, HostPattern, HostPatternError, HostSpecificity};
pub use matcher::{HostMatch, HostMatcher, HostMatcherError};
pub use opening::{PathOpening, PathOpenings};
pub use pass::{Leaving, Objection, Pass};
pub use path::{CanonicalPath, RequestTarget};
pub use paths::{PathPattern, PathPatternError, PathSpecificity};
pub use special_use::SpecialUse;

#[cfg(test)]
mod tests;
