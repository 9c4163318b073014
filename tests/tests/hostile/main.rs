//! What agents, other plugins, upstreams and operators with a slip of the pen try on the whole gateway: the module in the
//! harness, or the real Envoy as it is rendered.
#![forbid(unsafe_code)]

#[cfg(test)]
mod agent;
#[cfg(test)]
mod bodies;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod memory_limit;
#[cfg(test)]
mod no_host;
#[cfg(test)]
mod races;
#[cfg(test)]
mod rendered;
#[cfg(test)]
mod rfc9421;
#[cfg(test)]
mod updates;
#[cfg(test)]
mod upstreams;
