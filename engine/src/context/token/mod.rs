//! Bearer tokens of a session: JWTs (RFC 7519) in compact form (RFC 7515), for agents that can only send a fixed header.
//!
//! A token proves less than a signature over the request: whoever has seen it can send it again, with another request. So
//! only rules that name the binding `session` accept it, and what nobody vouches for request by request is not taken from
//! it: provenance is unknown, and there is no tool, data class or stated reason.
//!
//! [`TokenIssuers::verify`] is the only way to a [`VerifiedToken`]. Ed25519 is verified here; ES256 and RS256 by the host,
//! through [`HostVerifier`].

mod cache;
mod claims;
mod error;
mod host;
mod issuers;
mod json;
mod jws;
mod key;

pub use claims::{AgentClaim, ClaimMap, ClaimPath};
pub use error::TokenError;
pub use host::{HostAlgorithm, HostRefusal, HostVerifier};
pub use issuers::{TokenIssuer, TokenIssuers, UnusableKey, VerifiedToken};
pub use key::{KeyMaterial, TokenKey};
pub(super) use key::{p256, rsa};

/// Bytes of a token that are read. Real ones have one to four thousand.
pub const MOST_BYTES: usize = 16 * 1024;

// The host's verifier of the tests is native.
#[cfg(not(target_arch = "wasm32"))]
#[cfg(test)]
mod tests;
