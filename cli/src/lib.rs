//! The command line of Exeat, one module a command. `main` only parses and dispatches.
#![forbid(unsafe_code)]

pub mod audit;
pub mod collect;
pub mod key;
mod members;
pub mod module;
pub mod package;
pub mod policy;
pub mod render;
pub mod run;
pub mod sign;
pub mod signer;
