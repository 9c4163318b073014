//! The real parts that `cargo xtask test` builds or installs. Without them scenarios fail; they never skip.

use std::path::{Path, PathBuf};

use super::{Error, Result};

/// The module, target/exeat.wasm (`EXEAT_WASM`).
pub fn module() -> Result<PathBuf> {
    path_in("EXEAT_WASM")
}

/// The Envoy binary (`EXEAT_ENVOY`).
pub fn envoy() -> Result<PathBuf> {
    path_in("EXEAT_ENVOY")
}

/// The `exeat` command line (`EXEAT_CLI`).
pub fn cli() -> Result<PathBuf> {
    path_in("EXEAT_CLI")
}

/// A Python with what examples/python/requirements.txt names (`EXEAT_PYTHON`).
pub fn python() -> Result<PathBuf> {
    path_in("EXEAT_PYTHON")
}

/// The folder with what examples/node/package-lock.json names (`EXEAT_NODE_MODULES`); `node` itself is on `PATH`.
pub fn node_modules() -> Result<PathBuf> {
    named_by("EXEAT_NODE_MODULES", "folder", Path::is_dir)
}

/// The folder with what examples/signer/typescript/package-lock.json names (`EXEAT_SIGNER_NODE_MODULES`).
pub fn signer_node_modules() -> Result<PathBuf> {
    named_by("EXEAT_SIGNER_NODE_MODULES", "folder", Path::is_dir)
}

/// A Python with what tests/clients/python/requirements.txt names (`EXEAT_CLIENTS_PYTHON`).
pub fn clients_python() -> Result<PathBuf> {
    path_in("EXEAT_CLIENTS_PYTHON")
}

/// The folder with what tests/clients/node/package-lock.json names (`EXEAT_CLIENTS_NODE_MODULES`).
pub fn clients_node_modules() -> Result<PathBuf> {
    named_by("EXEAT_CLIENTS_NODE_MODULES", "folder", Path::is_dir)
}

/// What `examples/rust` builds (`EXEAT_RUST_EXAMPLE`).
pub fn rust_example() -> Result<PathBuf> {
    path_in("EXEAT_RUST_EXAMPLE")
}

/// A registry of images, Debian's docker-registry (`EXEAT_REGISTRY`).
pub fn registry() -> Result<PathBuf> {
    path_in("EXEAT_REGISTRY")
}

/// A reader of images (`EXEAT_SKOPEO`).
pub fn skopeo() -> Result<PathBuf> {
    path_in("EXEAT_SKOPEO")
}

/// The image of the command line, an OCI image layout (`EXEAT_IMAGE`).
pub fn image() -> Result<PathBuf> {
    named_by("EXEAT_IMAGE", "folder", Path::is_dir)
}

/// The bill of materials of the module, target/exeat.cdx.json: beside it.
pub fn sbom() -> Result<PathBuf> {
    let file = module()?.with_extension("cdx.json");
    let problem = format!("{}, beside which there is no exeat.cdx.json", file.display());
    if file.is_file() { Ok(file) } else { Err(Error::Artefact { variable: "EXEAT_WASM", problem }) }
}

/// The folder with `prometheus` and `promtool` (`EXEAT_PROMETHEUS`).
pub fn prometheus() -> Result<PathBuf> {
    named_by("EXEAT_PROMETHEUS", "folder", Path::is_dir)
}

fn path_in(variable: &'static str) -> Result<PathBuf> {
    named_by(variable, "file", Path::is_file)
}

fn named_by(variable: &'static str, kind: &str, is_that: impl Fn(&Path) -> bool) -> Result<PathBuf> {
    let missing = |problem: String| Error::Artefact { variable, problem };
    let path = PathBuf::from(std::env::var_os(variable).ok_or_else(|| missing("not set".to_owned()))?);
    if is_that(&path) { Ok(path) } else { Err(missing(format!("{}, which is no {kind}", path.display()))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_part_is_an_error_that_says_what_to_run() {
        let error = path_in("EXEAT_NO_SUCH_PART").unwrap_err().to_string();
        assert_eq!(error, "EXEAT_NO_SUCH_PART is not set; run the tests through `cargo xtask test`, which provides it");
    }

    #[test]
    fn the_parts_of_this_run_are_there() {
        for part in [
            module(),
            envoy(),
            cli(),
            python(),
            node_modules(),
            rust_example(),
            signer_node_modules(),
            clients_python(),
            clients_node_modules(),
            registry(),
            skopeo(),
            sbom(),
            prometheus(),
        ] {
            assert!(part.is_ok(), "{part:?}");
        }
    }
}
