//! The gateway under a policy that opens the web: what others publish as attacks, and sessions that send data out in names.
#![forbid(unsafe_code)]

#[cfg(test)]
mod agent;
#[cfg(test)]
mod egress_bench;
#[cfg(test)]
mod quarantine;
