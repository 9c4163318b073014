//! What a request carries: its size and its digest over the bytes the filter received.

pub mod digest;

pub use digest::{BodyDigest, BodyHasher, ContentDigests, DigestMismatch};
