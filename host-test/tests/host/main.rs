//! The host's own tests: small filters in WAT that would notice if it behaved otherwise than Envoy 1.40.

// Clippy lets helpers of tests unwrap only under this attribute.
#[cfg(test)]
mod callout;
#[cfg(test)]
mod common;
#[cfg(test)]
mod failure;
#[cfg(test)]
mod flow;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod reply;
#[cfg(test)]
mod shared;
#[cfg(test)]
mod state;
