//! What the guard keeps from leaving, on the real Envoy with a name server whose answers an attacker chooses. Where nothing
//! may go, a listener counts every byte.
#![forbid(unsafe_code)]

#[cfg(test)]
mod agent;
#[cfg(test)]
mod configured;
#[cfg(test)]
mod resolved;
