//! HTTP Message Signatures (RFC 9421) for requests: which signature is ours, what it covers, what bytes it is over.
//!
//! [`input`] finds the one signature with `tag="exeat"`; [`component`] reads what it lists; [`coverage`] says whether that
//! is enough; [`base`] derives the bytes. Signer and verifier share all of it.

pub(crate) mod base;
pub mod component;
pub(crate) mod coverage;
pub(crate) mod input;
pub(crate) mod joined;

pub use component::Component;

/// The tag of the one signature that counts.
pub const TAG: &str = "exeat";

/// The only algorithm, as `alg` names it.
pub const ALGORITHM: &str = "ed25519";
