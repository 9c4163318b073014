//! The outcome of an exchange: why, what is released, and what the agent is told.

pub mod reason;

pub use reason::{Reason, Retry};
