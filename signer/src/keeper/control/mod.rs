//! The control socket: HTTP with JSON, on a Unix socket, for the orchestrator and for tools. Never for an agent.
//!
//! `openapi.json` beside this file describes it, and a test holds the two against each other.

mod problem;
mod routes;
mod server;
mod service;

pub use problem::Problem;
pub use routes::{OPENAPI, Role, router};
pub use server::{Access, serve};
pub use service::{OpenedSession, Reload, Service};
