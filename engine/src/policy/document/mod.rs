//! The documents people write, with every key of the schema `exeat/v1`.
//!
//! A key that is known but not built yet has the type [`NotYet`]: it is refused where it stands, so that nobody can
//! believe it holds. What can only be judged with the rest of the document in view is left to the compile step.

pub mod budget;
pub mod environment;
pub mod exception;
pub mod gateway;
pub mod names;
pub mod parameter;
pub mod policy;
pub mod rule;
#[cfg(feature = "schema")]
pub mod schema;
pub mod token;
pub mod values;

pub use gateway::GatewayDocument;
pub use policy::PolicyDocument;
pub use values::{ByteSize, Duration, Moment, Named, NotYet, OneOrMany};
