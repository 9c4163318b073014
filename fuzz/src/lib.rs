//! What several targets need: a gateway with a policy, requests that are signed for it, and the records that it leaves, in
//! batches and in stores.

pub mod request;
pub mod store;
pub mod tools;
pub mod world;
