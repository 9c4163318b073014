//! What several targets need: a gateway with a policy, requests that are signed for it, and the records that it leaves.

pub mod request;
pub mod world;
