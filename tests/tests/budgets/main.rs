//! Budgets under concurrency: exact in all workers of a process, on the real Envoy and in worker VMs that share nothing but
//! the host's shared data.

#![cfg(test)]

mod agent;
mod at_once;
mod harness;
