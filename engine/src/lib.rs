//! The decision of Exeat, and nothing else.
//!
//! A request meets the modules in this order and never goes back:
//! [`context`] (who asks, proven), [`destination`] (where to, canonical), [`policy`] (may they),
//! [`payload`] (with what), [`decision`] (the outcome and what the agent is told) and [`evidence`] (what is written
//! down). [`exchange`] is the state machine that takes a request through them; the filter, the native harness and the
//! command line all drive that one machine, so that no two of them can disagree.
//!
//! The engine has no host, clock, I/O or globals. What only the host knows arrives as [`facts::Facts`]; what outlives
//! a request is behind [`ledger::Ledger`].
#![forbid(unsafe_code)]

pub mod context;
pub mod decision;
pub mod destination;
pub mod evidence;
pub mod exchange;
pub mod facts;
pub mod hex;
pub mod ledger;
mod order;
pub mod payload;
pub mod policy;
pub mod request;
