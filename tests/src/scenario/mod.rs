//! Scenarios: files of signed requests and of everything that must come of them, which run on the wasmtime harness and on
//! the real Envoy alike.
//!
//! [`document`] is what people write, [`wire`] the bytes it stands for, [`gateway`] the keys and the compiled policy it
//! runs under. A [`subject::Subject`] is a gateway to run it on: [`harness::Harness`] or [`real::RealEnvoy`].
//! [`run::run`] plays the steps and says what differed; [`shipped`] plays the test files of policies that ship. [`signed::Signed`] puts `exeat signer` before the real Envoy.

pub mod document;
pub mod gateway;
pub mod harness;
pub mod many;
pub mod plain;
pub mod real;
pub mod run;
pub mod schema;
pub mod shipped;
pub mod signed;
pub mod steady;
pub mod subject;
pub mod token;
pub mod updating;
pub mod wire;
