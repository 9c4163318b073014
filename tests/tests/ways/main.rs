//! The ways out on the real Envoy: which of them a request takes is for the policy to say, and each carries what it should.
#![forbid(unsafe_code)]

#[cfg(test)]
mod budgets;
#[cfg(test)]
mod scene;
#[cfg(test)]
mod schemes;
#[cfg(test)]
mod tunnels;
#[cfg(test)]
mod websockets;
