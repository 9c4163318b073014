//! Ways to wasm32-unknown-unknown, and which of them this machine has. Looked up anew each time: a remembered answer would
//! be wrong after the next toolchain update, and the look takes a fraction of a second.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::probe;
use crate::workspace::Workspace;

/// The target of the module.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// A toolchain that was seen to have everything for [`TARGET`]. Made only by [`WasmToolchain::find`].
pub(crate) enum WasmToolchain {
    /// The active toolchain has the target's standard library.
    Native,
    /// Debian's `rustc-web`, which builds the standard library from `rust-web-src`.
    Debian {
        /// `rust-lld` of rustup's toolchain, or a `wasm-ld`: Debian's packages bring none.
        linker: PathBuf,
    },
}

impl WasmToolchain {
    /// The first way that works as things are, without network.
    pub(crate) fn find(workspace: &Workspace) -> Option<Self> {
        if has_std(workspace) {
            return Some(Self::Native);
        }
        if debian_packages_present(workspace) {
            return wasm_linker(workspace).map(|linker| Self::Debian { linker });
        }
        None
    }

    /// Whether clippy can run for the target. Debian's clippy is of another version, whose lints nobody here agreed to.
    pub(crate) fn has_clippy(&self) -> bool {
        matches!(self, Self::Native)
    }

    /// For people: which compiler it is.
    pub(crate) fn describe(&self, workspace: &Workspace) -> String {
        let version = self.compiler(workspace).unwrap_or_default();
        match self {
            Self::Native => format!("the active toolchain ({version})"),
            Self::Debian { .. } => format!("Debian's packages ({version}), standard library from source"),
        }
    }

    /// What the compiler says of itself, and nothing else.
    pub(crate) fn compiler(&self, workspace: &Workspace) -> Option<String> {
        match self {
            Self::Native => probe(workspace.command("rustc").arg("--version")),
            Self::Debian { .. } => probe(debian(workspace, DEBIAN_RUSTC).arg("--version")),
        }
    }

    /// `cargo <subcommand>` for the target with every flag the toolchain needs. It has its own target folder, because two
    /// versions of cargo in one would undo each other's fingerprints and wait for each other's lock.
    pub(crate) fn cargo(&self, workspace: &Workspace, subcommand: &str) -> Command {
        let mut command = match self {
            Self::Native => workspace.cargo(),
            Self::Debian { linker } => {
                let mut command = debian(workspace, DEBIAN_CARGO);
                command.env("RUSTC", DEBIAN_RUSTC).env("RUSTDOC", "/usr/bin/rustdoc");
                // -Zbuild-std is a nightly option; the standard library it builds is the one of this very compiler.
                command.env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
                command
            }
        };
        command.args([subcommand, "--target", TARGET, "--target-dir"]).arg(workspace.target().join("wasm"));
        if matches!(self, Self::Debian { .. }) {
            command.arg("-Zbuild-std=std,panic_abort");
        }
        command
    }

    /// Folders with sources whose names the compiler would write into the module (panic locations).
    pub(crate) fn source_folders(&self, workspace: &Workspace) -> Vec<PathBuf> {
        match self {
            Self::Native => sysroot(workspace).map(|root| root.join(STD_SOURCES)).into_iter().collect(),
            Self::Debian { .. } => {
                let link = Path::new("/usr").join(STD_SOURCES);
                let real = std::fs::canonicalize(&link).ok();
                std::iter::once(link).chain(real).collect()
            }
        }
    }
}

/// The folder below which rustc keeps `library/` where its sources are installed.
const STD_SOURCES: &str = "lib/rustlib/src/rust";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";

fn has_std(workspace: &Workspace) -> bool {
    let libdir = probe(workspace.command("rustc").args(["--print", "target-libdir", "--target", TARGET]));
    let Some(Ok(entries)) = libdir.map(std::fs::read_dir) else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
}

fn debian_packages_present(workspace: &Workspace) -> bool {
    // Bookworm's plain `rustc` has the same path and is years too old.
    let minor = probe(debian(workspace, DEBIAN_RUSTC).arg("--version")).and_then(|version| minor_version(&version));
    let new_enough = minor.is_some_and(|minor| minor >= MINIMUM_MINOR);
    new_enough
        && Path::new(DEBIAN_CARGO).exists()
        && Path::new("/usr").join(STD_SOURCES).join("library/std/Cargo.toml").exists()
}

/// `rust-version` of the workspace: 1.95.
const MINIMUM_MINOR: u32 = 95;

/// 96 of `rustc 1.96.0 (...)`.
fn minor_version(version: &str) -> Option<u32> {
    version.split_whitespace().nth(1)?.strip_prefix("1.")?.split('.').next()?.parse().ok()
}

/// `rust-lld` itself: the wrapper `gcc-ld/wasm-ld` refuses the arguments that rustc passes.
fn wasm_linker(workspace: &Workspace) -> Option<PathBuf> {
    let host = host(workspace)?;
    let rust_lld = sysroot(workspace)?.join("lib/rustlib").join(host).join("bin/rust-lld");
    if rust_lld.exists() { Some(rust_lld) } else { on_path("wasm-ld") }
}

/// The target that is this machine.
pub(crate) fn host(workspace: &Workspace) -> Option<String> {
    let verbose = probe(workspace.command("rustc").arg("-vV"))?;
    verbose.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned)
}

fn sysroot(workspace: &Workspace) -> Option<PathBuf> {
    probe(workspace.command("rustc").args(["--print", "sysroot"])).map(PathBuf::from)
}

/// Debian's programs must not meet the libraries of rustup's toolchain, which `cargo run` puts in front.
fn debian(workspace: &Workspace, program: &str) -> Command {
    let mut command = workspace.command(program);
    command.env_remove("LD_LIBRARY_PATH").env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
    command
}

/// The first file of that name in the folders of `PATH`.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Where cargo keeps the sources of dependencies.
pub(crate) fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = std::env::var_os("CARGO_HOME") {
        return Ok(PathBuf::from(home));
    }
    std::env::home_dir().map(|home| home.join(".cargo")).context("neither CARGO_HOME nor a home folder is known")
}

#[cfg(test)]
mod tests {
    use super::minor_version;

    #[test]
    fn minor_version_of_what_compilers_print() {
        assert_eq!(minor_version("rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)"), Some(96));
        assert_eq!(minor_version("rustc 1.63.0"), Some(63));
        assert_eq!(minor_version("rustc"), None);
        assert_eq!(minor_version("rustc 2.0.0"), None);
    }
}
