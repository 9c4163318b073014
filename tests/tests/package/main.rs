//! The module on its way from a file to a gateway: packed, pushed to a real registry, read back by other tools, unpacked by the
//! rules of Istio's agent and of Envoy Gateway, and loaded into the real Envoy.
#![forbid(unsafe_code)]

#[cfg(test)]
mod fetch;
#[cfg(test)]
mod gateway;
#[cfg(test)]
mod halfway;
#[cfg(test)]
mod layout;
#[cfg(test)]
mod materials;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tokens;
