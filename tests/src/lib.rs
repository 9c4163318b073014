//! The stage on which scenarios play: the wasmtime harness and the real Envoy, behind one runner.

#![forbid(unsafe_code)]

pub mod stage;
