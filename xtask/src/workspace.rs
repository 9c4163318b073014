//! Where things lie: the workspace, its target folder, and the artefacts that commands hand to each other.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// The root of the checkout and the places below it.
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// Cargo tells where this crate lies; the root is its parent.
    pub(crate) fn locate() -> Result<Self> {
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR").context("run this as `cargo xtask`")?;
        let root = Path::new(&manifest).parent().context("xtask/ has no parent folder")?.to_path_buf();
        Ok(Self { root })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Artefacts and tools of this workspace; independent of `CARGO_TARGET_DIR`, so that documents can name their paths.
    pub(crate) fn target(&self) -> PathBuf {
        self.root.join("target")
    }

    /// A copy of what git tracks here, as the files are now, in another folder.
    pub(crate) fn copy_tracked(&self, folder: &Path) -> Result<Self> {
        let list = self.command("git").args(["ls-files", "-z"]).output().context("git does not run")?;
        anyhow::ensure!(list.status.success(), "git does not list the files of {}", self.root.display());
        for name in String::from_utf8_lossy(&list.stdout).split('\0').filter(|name| !name.is_empty()) {
            let (from, to) = (self.root.join(name), folder.join(name));
            // Deleted, and not yet committed.
            if !from.is_file() {
                continue;
            }
            if let Some(parent) = to.parent() {
                std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
            }
            std::fs::copy(&from, &to).with_context(|| format!("cannot copy {name}"))?;
        }
        Ok(Self { root: folder.to_path_buf() })
    }

    /// The finished module.
    pub(crate) fn module(&self) -> PathBuf {
        self.target().join("exeat.wasm")
    }

    /// The command line of Exeat as `cargo build` leaves it.
    pub(crate) fn cli(&self) -> PathBuf {
        self.binary("debug", "exeat")
    }

    /// The same as `cargo build --release` leaves it.
    pub(crate) fn release_cli(&self) -> PathBuf {
        self.binary("release", "exeat")
    }

    /// A binary as `cargo build --release --target` leaves it.
    pub(crate) fn of_target(&self, target: &str, name: &str) -> PathBuf {
        self.binary(&format!("{target}/release"), name)
    }

    /// The image of the command line, as an OCI image layout.
    pub(crate) fn image(&self) -> PathBuf {
        self.target().join("image")
    }

    /// The example of a runtime in Rust, as `cargo build` leaves it.
    pub(crate) fn rust_example(&self) -> PathBuf {
        self.binary("debug", "exeat-example")
    }

    /// Another binary as `cargo build` leaves it.
    pub(crate) fn built(&self, name: &str) -> PathBuf {
        self.binary("debug", name)
    }

    fn binary(&self, profile: &str, name: &str) -> PathBuf {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| self.target(), |dir| self.root.join(dir));
        target.join(profile).join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
    }

    /// A command that runs in the root, without what `cargo run` put into our environment about the xtask crate itself:
    /// build scripts that look at those variables would build everything again.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        for (name, _) in std::env::vars_os() {
            let name_text = name.to_string_lossy();
            if name_text.starts_with("CARGO_PKG_") || name_text.starts_with("CARGO_MANIFEST_") {
                command.env_remove(name);
            }
        }
        command
    }

    /// The cargo that runs us, so that all native steps use one toolchain.
    pub(crate) fn cargo(&self) -> Command {
        self.command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
    }
}
