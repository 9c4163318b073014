//! The stage on which scenarios play: the wasmtime harness and the real Envoy, behind one runner.

#![forbid(unsafe_code)]

pub mod scenario;
pub mod stage;

use std::path::{Path, PathBuf};

/// The folder of the workspace.
pub fn workspace() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_path_buf()
}
