//! A proxy-wasm host on wasmtime that runs any filter in native tests.
//!
//! It speaks ABI 0.2.1 (and 0.2.0) and behaves as Envoy 1.40 does, in everything that a filter can notice: which
//! callback comes when, what a pause holds back, how a local reply travels, what a trap does to later requests. Time,
//! callouts and everybody else's turn are in the test's hands.
//!
//! ```
//! use exeat_host_test::{Host, Request, Response};
//!
//! # fn main() -> Result<(), exeat_host_test::Error> {
//! let filter = r#"(module
//!     (memory (export "memory") 1)
//!     (func (export "proxy_abi_version_0_2_1"))
//!     (func (export "malloc") (param i32) (result i32) i32.const 1024))"#;
//! let worker = Host::builder().module(filter).configuration("{}").build()?.worker()?;
//! let outcome = worker.run(Request::get("api.example", "/v1"), |forwarded| {
//!     assert_eq!(forwarded.text(":path").as_deref(), Some("/v1"));
//!     Response::ok("hello")
//! })?;
//! assert_eq!(outcome.status(), 200);
//! # Ok(())
//! # }
//! ```
//!
//! An [`Exchange`] goes frame by frame instead; [`Worker::callouts`] and [`Worker::answer`] are the other side of HTTP
//! callouts; [`Worker::advance`] makes time pass. Several hosts in one [`Process`] share data under the same `vm_id`;
//! workers can be moved to threads. [`Worker::install`] puts another plugin of the same module into the same VM: a
//! listener update, or the same module in a second role.
//!
//! Not here: TCP filters, gRPC callouts, HTTP routing beyond "some upstream", several filters in one chain (run the
//! next one on [`Request::from_forwarded`]), and the byte-level work of Envoy's codecs.
#![forbid(unsafe_code)]

mod callout;
mod clock;
mod error;
mod exchange;
mod flow;
mod headers;
mod host;
mod imports;
mod lifecycle;
mod message;
mod module;
mod pairs;
mod plugin;
mod process;
mod random;
mod reply;
mod state;
mod stream;
mod vm;
mod worker;

pub use callout::{Answer, Callout};
pub use clock::Clock;
pub use error::{Error, Status, Trap};
pub use exchange::Exchange;
pub use headers::Headers;
pub use host::{Host, HostBuilder};
pub use message::{
    ClientResponse, Event, ForwardedRequest, Framing, LocalReply, Outcome, ReplyOrigin, Request, Response, Upstream,
};
pub use module::Module;
pub use pairs::{MAX_PAIRS, MAX_PAIRS_BYTES};
pub use plugin::{FailPolicy, Plugin};
pub use process::{Level, LogEntry, Metric, Process};
pub use state::{ForeignCall, ForeignFunction};
pub use worker::{RootId, Worker};
