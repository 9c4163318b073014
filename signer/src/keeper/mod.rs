//! The keeper: key, sessions, control socket.
//!
//! [`Keeper`] is the part without sockets: it opens sessions, lets their facts grow, ends them, and signs for them.
//! [`control`] serves it to orchestrators and tools, [`link`] to the proxy. What the proxy says is taken for an attacker's.

pub mod control;
mod destinations;
pub mod facts;
mod files;
pub mod key;
pub mod link;
mod metrics;
mod rate;
mod session;
mod signing;
mod table;

pub use destinations::DestinationsError;
pub use facts::{Attribute, Listen, ProvenanceReport, SessionRequest};
pub use files::{RuntimeDirectory, SessionFiles, bind_control};
pub use key::{KeyError, SigningKey};
pub use metrics::Counters;
pub use session::{Ending, SessionState};
pub use table::{Keeper, KeeperSettings, Limits, Now, RefusedSession};
