//! The proxy process as agents and attackers meet it: real sockets on every side, a keeper that signs with a key of the test, and a
//! gateway that verifies every signature and counts what reaches it.

#![cfg(test)]

mod agent;
mod attacks;
mod bodies;
mod failures;
mod forward;
mod gateway;
mod keeper;
mod limits;
mod mutations;
mod resets;
mod smuggling;
mod streams;
mod tunnel;
