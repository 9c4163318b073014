//! A proxy-wasm host on wasmtime that runs any filter in native tests.
