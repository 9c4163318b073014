//! From policy file to enforced request on other platforms than a plain Envoy: what they would make of the objects that are
//! rendered for them, on the real Envoy with the real module.
#![cfg(test)]

mod credentials;
mod envoy_gateway;
mod istio;
mod mesh;
mod mounted;
mod scene;
