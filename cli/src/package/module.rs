//! The module that is to be packed: read whole, and seen to be one that a proxy can load.

use super::blob::Blob;
use anyhow::{Context, bail, ensure};
use exeat_stamp::Stamp;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use wasmparser::{ExternalKind, Parser, Payload, Validator, WasmFeatures};

/// Bytes of a module at most. Istio and Envoy Gateway cut at 256 MiB; a filter that large is another file by mistake.
pub const MAX_MODULE: u64 = 32 * 1024 * 1024;

/// The version of the proxy-wasm ABI by which proxies know how to speak to a module.
pub const ABI: &str = "proxy_abi_version_0_2_1";

/// What an HTTP filter of that ABI exports, the version apart; without one of them Envoy does not load it, or never asks it.
const CALLBACKS: [&str; 6] = [
    "proxy_on_context_create",
    "proxy_on_vm_start",
    "proxy_on_configure",
    "proxy_on_request_headers",
    "proxy_on_request_body",
    "proxy_on_done",
];

/// Either of them is asked for memory.
const ALLOCATORS: [&str; 2] = ["proxy_on_memory_allocate", "malloc"];

/// Modules from which a proxy provides functions.
const IMPORTS: [&str; 3] = ["env", "wasi_snapshot_preview1", "wasi_unstable"];

/// A module of which every function was validated, with the exports and imports of a proxy-wasm filter, and as it was built.
/// Made only by [`Module::read`] and [`Module::check`].
#[derive(Debug)]
pub struct Module {
    blob: Blob,
    stamp: Stamp,
}

impl Module {
    /// Reads a file.
    ///
    /// # Errors
    /// What cannot be read, is larger than [`MAX_MODULE`], or is no such module.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let place = || format!("{}", path.display());
        let mut bytes = Vec::new();
        let file = File::open(path).with_context(|| format!("cannot read the module {}", path.display()))?;
        file.take(MAX_MODULE + 1).read_to_end(&mut bytes).with_context(place)?;
        Self::check(bytes).with_context(place)
    }

    /// Takes bytes that are such a module.
    ///
    /// # Errors
    /// What is larger than [`MAX_MODULE`] or no such module.
    pub fn check(bytes: Vec<u8>) -> anyhow::Result<Self> {
        let limit = MAX_MODULE / (1024 * 1024);
        ensure!(
            u64::try_from(bytes.len()).is_ok_and(|length| length <= MAX_MODULE),
            "larger than {limit} MiB, which no filter is; name the module, exeat.wasm"
        );
        ensure!(
            bytes.starts_with(b"\0asm"),
            "not a WebAssembly module: it does not begin as one; build it with `cargo xtask wasm` and name exeat.wasm"
        );
        ensure!(
            Parser::is_core_wasm(&bytes),
            "not a WebAssembly module of version 1 (a component?); proxies load core modules"
        );
        Validator::new_with_features(WasmFeatures::default())
            .validate_all(&bytes)
            .context("not a valid WebAssembly module; it may be incomplete, build or copy it again")?;
        let (exports, imports) = names(&bytes)?;
        if !exports.contains(ABI) {
            let other = exports.iter().find(|name| name.starts_with("proxy_abi_version_"));
            bail!(
                "no proxy-wasm filter of the ABI that proxies speak to Exeat: it exports {}, not {ABI}",
                other.map_or("no proxy_abi_version", String::as_str)
            );
        }
        if let Some(missing) = CALLBACKS.iter().find(|name| !exports.contains(**name)) {
            bail!("no HTTP filter for proxies: it does not export {missing}");
        }
        if !ALLOCATORS.iter().any(|name| exports.contains(*name)) {
            bail!("no filter for proxies: it exports neither {}", ALLOCATORS.join(" nor "));
        }
        if let Some(foreign) = imports.iter().find(|module| !IMPORTS.contains(&module.as_str())) {
            bail!("it imports from {foreign:?}, which no proxy provides; Envoy would refuse to load it");
        }
        let stamp = exeat_stamp::read(&bytes)?;
        ensure!(
            stamp.is_intact(),
            "the file was altered after it was built, or not built by `cargo xtask wasm`: it states {}, and has {}",
            stamp.stated.as_deref().unwrap_or("no digest"),
            stamp.actual
        );
        Ok(Self { blob: Blob::new(bytes), stamp })
    }

    /// Its bytes and their digest.
    pub fn blob(&self) -> &Blob {
        &self.blob
    }

    /// What it says of itself.
    pub fn stamp(&self) -> &Stamp {
        &self.stamp
    }
}

/// The functions that a module exports, and the modules it imports from.
fn names(bytes: &[u8]) -> anyhow::Result<(BTreeSet<String>, BTreeSet<String>)> {
    let (mut exports, mut imports) = (BTreeSet::new(), BTreeSet::new());
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.kind == ExternalKind::Func {
                        exports.insert(export.name.to_owned());
                    }
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    imports.insert(import?.module.to_owned());
                }
            }
            _ => (),
        }
    }
    Ok((exports, imports))
}
