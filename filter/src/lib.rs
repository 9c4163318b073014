//! The proxy-wasm plugin. The only crate that knows proxy-wasm; it decides nothing itself.
