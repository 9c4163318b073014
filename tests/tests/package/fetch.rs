//! Istio's agent and Envoy Gateway on their way from an image to a module: the same rules, restated from what both do. They take
//! the bytes of the manifest that was asked for, hold them against the digest that the configuration states (`sha256`: of the
//! manifest), try the image form, then the artifact form, and accept what begins as WebAssembly.

use super::support::sha256;
use serde_json::Value;
use std::io::Read as _;
use std::path::Path;

/// Neither reads more of a layer than this.
const LIMIT: u64 = 256 * 1024 * 1024;

/// What an image copied into a folder (skopeo's `dir:`) holds for a gateway that expects this digest.
pub(crate) fn module(folder: &Path, expected: &str) -> Result<Vec<u8>, String> {
    let manifest = std::fs::read(folder.join("manifest.json")).map_err(|error| error.to_string())?;
    let digest = sha256(&manifest);
    if digest != expected {
        return Err(format!("checksum {digest}, which does not match {expected}"));
    }
    let manifest: Value = serde_json::from_slice(&manifest).map_err(|error| error.to_string())?;
    let layers = manifest["layers"].as_array().ok_or("no layers")?;
    if manifest["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json" {
        return Err("that would be the Docker form".to_owned());
    }
    let module = file_in_layer(folder, layers).or_else(|image| {
        layer(folder, layers).map_err(|artifact| format!("as image: {image}; as artifact: {artifact}"))
    })?;
    match module.starts_with(b"\0asm") && module.len() >= 8 {
        true => Ok(module),
        false => Err("not WebAssembly".to_owned()),
    }
}

/// Form 2: the last layer is a gzipped tar with a file `plugin.wasm` in any folder.
fn file_in_layer(folder: &Path, layers: &[Value]) -> Result<Vec<u8>, String> {
    let last = layers.last().ok_or("no layers")?;
    if last["mediaType"] != "application/vnd.oci.image.layer.v1.tar+gzip" {
        return Err(format!("the last layer is {}", last["mediaType"]));
    }
    let bytes = blob(folder, last)?;
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes.as_slice()).take(LIMIT));
    for entry in archive.entries().map_err(|error| error.to_string())? {
        let mut entry = entry.map_err(|error| error.to_string())?;
        if entry.path().is_ok_and(|path| path.file_name().is_some_and(|name| name == "plugin.wasm")) {
            let mut module = Vec::new();
            entry.read_to_end(&mut module).map_err(|error| error.to_string())?;
            return Ok(module);
        }
    }
    Err("no plugin.wasm".to_owned())
}

/// Form 3: one of exactly two layers is the module.
fn layer(folder: &Path, layers: &[Value]) -> Result<Vec<u8>, String> {
    if layers.len() != 2 {
        return Err(format!("{} layers", layers.len()));
    }
    let wanted = "application/vnd.module.wasm.content.layer.v1+wasm";
    blob(folder, layers.iter().find(|layer| layer["mediaType"] == wanted).ok_or("no layer is a module")?)
}

/// A blob, of the length and the digest that its descriptor states.
fn blob(folder: &Path, descriptor: &Value) -> Result<Vec<u8>, String> {
    let hex = descriptor["digest"].as_str().and_then(|digest| digest.strip_prefix("sha256:")).ok_or("no digest")?;
    let bytes = std::fs::read(folder.join(hex)).map_err(|error| format!("{hex}: {error}"))?;
    if descriptor["size"] != bytes.len() || sha256(&bytes) != hex {
        return Err(format!("{hex} has other bytes"));
    }
    Ok(bytes)
}
