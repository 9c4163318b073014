//! The signer: what an agent runtime runs beside its agents, so that unmodified programs leave by the gateway with facts
//! that they cannot choose.
//!
//! Two processes, and between them nothing but a socket pair ([`protocol`]):
//!
//! - the **keeper** ([`keeper`]) holds the signing key and the sessions. It serves the control socket, to the orchestrator
//!   and to tools, never to an agent. It writes each `Agent-Context` itself, from the session, so that whoever takes over
//!   the proxy can choose a request but no fact about it;
//! - the **proxy** ([`proxy`]) faces the agents. It ends their TLS, reads their HTTP, asks the keeper for a signature and
//!   passes the request to the gateway. It has no key, and drops what it could use to reach one.
//!
//! The keeper starts the proxy; when either dies, both end ([`daemon`]). [`client`] speaks to the control socket.
#![forbid(unsafe_code)]

pub mod client;
pub mod daemon;
pub mod keeper;
pub mod protocol;
pub mod proxy;
