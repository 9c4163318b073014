//! The real parts that `cargo xtask test` builds or installs. Without them scenarios fail; they never skip.

use std::path::PathBuf;

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

fn path_in(variable: &'static str) -> Result<PathBuf> {
    let missing = |problem: String| Error::Artefact { variable, problem };
    let path = PathBuf::from(std::env::var_os(variable).ok_or_else(|| missing("not set".to_owned()))?);
    if path.is_file() { Ok(path) } else { Err(missing(format!("{}, which is no file", path.display()))) }
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
        for part in [module(), envoy(), cli()] {
            assert!(part.is_ok(), "{part:?}");
        }
    }
}
