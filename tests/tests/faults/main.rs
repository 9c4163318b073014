//! Evidence when something goes wrong: a collector that fails in every way, gateways that end in every way, and requests that
//! wait for their record. What reached the upstream is held against what is stored.

#![cfg(test)]

mod accounting;
mod collector;
mod harness;
mod scene;
mod statistics;
mod trap;
mod write_ahead;
