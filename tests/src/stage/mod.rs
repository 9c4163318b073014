//! Real processes and peers for scenarios: Envoy, upstreams that remember every byte, a name server, clients that send
//! exact bytes.
//!
//! All of it binds 127.0.0.1 on free ports, has deadlines, and is gone when its handle is dropped. The interface is
//! synchronous: a scenario reads top to bottom, and the asynchronous parts live on one runtime in here.
//!
//! ```
//! use exeat_e2e::stage::{client, upstream::Upstream};
//!
//! let upstream = Upstream::start()?;
//! let request = client::Request::new("GET", "/orders/7").header("host", "crm.acme.example");
//! let response = client::send(upstream.address(), &request)?;
//! assert_eq!(response.status, 200);
//! assert_eq!(upstream.requests()[0].path, "/orders/7");
//! # Ok::<(), exeat_e2e::stage::Error>(())
//! ```

pub mod artefacts;
pub mod client;
pub mod cyclonedx;
pub mod dns;
pub mod envoy;
mod error;
pub mod files;
pub mod front;
pub mod ports;
pub mod process;
pub mod registry;
mod runtime;
pub mod silent;
pub mod tls;
pub mod tokens;
pub mod upstream;

pub use error::{Error, Result};
