//! The command line of Exeat, one module a command. `main` only parses and dispatches.
#![forbid(unsafe_code)]
// They panic when nobody takes what is printed; `terminal` does not.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod audit;
pub mod collect;
pub mod drain;
mod files;
pub mod key;
mod local;
mod members;
pub mod module;
pub mod package;
pub mod policy;
pub mod probe;
pub mod render;
pub mod run;
pub mod sign;
pub mod signer;
pub mod terminal;
