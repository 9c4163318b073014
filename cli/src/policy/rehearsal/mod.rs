//! Requests before a policy, without a gateway: `exeat policy test` and `exeat policy explain`.
//!
//! A test file ([`case`]) is sent through the engine's own state machine ([`stage`]), signed with keys that stand in for the
//! policy's ([`keys`]), and what comes of it is compared with what must ([`expect`]). Other hosts that play the same cases,
//! such as the tests that run them on Envoy, share all but the stage.

pub mod case;
pub mod coverage;
mod document;
pub mod expect;
pub mod keys;
pub mod probe;
pub mod stage;
mod token;

pub use case::{By, Case, Sending, read_cases};
pub use coverage::Coverage;
pub use expect::{Expectation, Observed, Upstream};
pub use keys::{StandIn, stand_in};
pub use probe::{Findings, find};
pub use stage::{Proof, Rehearsal, sign};

#[cfg(test)]
mod tests;
