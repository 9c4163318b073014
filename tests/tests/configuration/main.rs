//! Wrong configurations on the real Envoy: at start it ends with one clear line, as an update it is refused and nothing changes;
//! and the next good one counts at once, on every connection.

#![cfg(test)]

mod cases;
mod documents;
mod past;
mod requests;
mod start;
mod update;
