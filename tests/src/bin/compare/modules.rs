//! The least that Envoy takes for a proxy-wasm filter, as text: what a filter in V8 costs before it does anything.

use super::arms::Rival;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// Writes the module of a rival, where it has one.
pub(crate) fn write(rival: Rival, folder: &Path) -> Result<Option<PathBuf>> {
    let on_headers = match rival {
        Rival::EmptyWasm => "",
        Rival::HeadersWasm => READ_HEADERS,
        Rival::Lua | Rival::Jwt { .. } => return Ok(None),
    };
    let path = folder.join(format!("{rival:?}.wasm"));
    std::fs::write(&path, module(on_headers)?).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Some(path))
}

fn module(on_headers: &str) -> Result<Vec<u8>> {
    wat::parse_str(TEXT.replace("@ON_HEADERS@", on_headers)).context("the text of the module")
}

/// All request headers at once, to the same place each time.
const READ_HEADERS: &str = "(drop (call $pairs (i32.const 0) (i32.const 16) (i32.const 20)))";

const TEXT: &str = r#"
(module
  (import "env" "proxy_get_header_map_pairs" (func $pairs (param i32 i32 i32) (result i32)))
  (memory (export "memory") 32)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "_initialize"))
  ;; Whatever the host hands over goes to one place: nothing of it is kept.
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 4096))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) @ON_HEADERS@ (i32.const 0))
  (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (i32.const 0))
  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (i32.const 0))
  (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32) (i32.const 0))
  (func (export "proxy_on_done") (param i32) (result i32) (i32.const 1))
  (func (export "proxy_on_log") (param i32))
  (func (export "proxy_on_delete") (param i32)))
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_modules() {
        let (empty, reads) = (module("").unwrap(), module(READ_HEADERS).unwrap());
        assert!(empty.starts_with(b"\0asm") && reads.len() > empty.len());
    }
}
