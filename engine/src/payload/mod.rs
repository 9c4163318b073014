//! What a request carries: its size, its digest over the bytes the filter received, and what rules ask of body and query.
//!
//! Bodies are read only where a rule or a destination asks for it, and strictly: what two readers could read differently
//! is not read at all. Nothing here decides; [`crate::policy`] does.

pub mod digest;
pub mod inspect;
pub mod json;
pub mod media;
pub mod number;
pub mod place;
pub mod query;
pub mod treat;

pub use digest::{BodyDigest, BodyHasher, ContentDigests, DigestMismatch};
pub use inspect::{Content, Reading, Unreadable};
pub use json::{Found, Spot, Value};
pub use place::{Places, Pointer};
pub use treat::{Treated, Treatment, Treatments};
