//! The outcome of an exchange: why, what is released, and what the agent is told.

pub mod answer;
pub mod headers;
pub mod reason;

pub use answer::Answer;
pub use reason::{Reason, Retry};
