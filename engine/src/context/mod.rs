//! Who asks, proven: the signed context of DESIGN section 3.
//!
//! [`verify()`] is the only way to a [`VerifiedContext`]; what holds one may rely on the signature, its freshness and its
//! coverage having been checked. It does not spend the nonce: the caller does, at once, whatever the policy then says.
//!
//! A request without a signed context may carry a bearer token instead ([`token`]). [`Identity`] is either.

pub mod agent_context;
pub mod comb;
mod ed25519;
pub mod error;
pub mod identity;
pub mod jwk;
pub mod keyring;
pub mod sign;
pub mod signature;
pub mod spiffe;
pub(crate) mod structured;
pub mod token;
pub mod verify;

pub use agent_context::{AgentContext, DataClass, Provenance, SessionType};
pub use error::ContextError;
pub use identity::Identity;
pub use keyring::{KeyRing, PublicKey};
pub use spiffe::SpiffeId;
pub use verify::{Expectations, Freshness, VerifiedContext, verify};

#[cfg(test)]
mod tests;
