//! Builds the module so that the same sources and compiler give the same bytes on every machine, and says which bytes.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::process::{probe, run, say};
use crate::sbom;
use crate::toolchain::{TARGET, WasmToolchain, cargo_home};
use crate::workspace::Workspace;

/// Builds crate exeat-filter and leaves it as target/exeat.wasm, its bill of materials beside it.
pub(crate) fn build(workspace: &Workspace, toolchain: &WasmToolchain) -> Result<PathBuf> {
    let module = build_crate(workspace, toolchain, "exeat-filter", workspace.module())?;
    sbom::write(workspace, toolchain, &module, &git_hash(workspace))?;
    Ok(module)
}

/// Builds crate exeat-bench, as the filter is built, and leaves it as target/exeat-bench.wasm.
pub(crate) fn build_bench(workspace: &Workspace, toolchain: &WasmToolchain) -> Result<PathBuf> {
    build_crate(workspace, toolchain, "exeat-bench", workspace.target().join("exeat-bench.wasm"))
}

fn build_crate(workspace: &Workspace, toolchain: &WasmToolchain, package: &str, module: PathBuf) -> Result<PathBuf> {
    // The folders below are renamed by name, so they must exist before the first build.
    run("wasm: fetching dependencies", workspace.cargo().args(["fetch", "--quiet", "--locked", "--target", TARGET]))?;
    run(
        &format!("wasm: building {package} (first time about 1.5 min, later a few seconds)"),
        toolchain
            .cargo(workspace, "build")
            .args(["--package", package, "--profile", "wasm", "--locked"])
            .env("CARGO_ENCODED_RUSTFLAGS", encoded_rustflags(workspace, toolchain)?)
            .env("EXEAT_GIT_HASH", git_hash(workspace)),
    )?;
    let file = format!("wasm/{}.wasm", package.replace('-', "_"));
    let built = workspace.target().join("wasm").join(TARGET).join(file);
    let bytes = std::fs::read(&built).with_context(|| format!("{} was not built", built.display()))?;
    refuse_paths_of_this_machine(workspace, &bytes)?;
    // Written beside and renamed: an Envoy that reads the module meanwhile sees the old or the new one, whole.
    let unfinished = module.with_extension("wasm.new");
    std::fs::write(&unfinished, &bytes)
        .and_then(|()| std::fs::rename(&unfinished, &module))
        .with_context(|| format!("cannot write {}", module.display()))?;
    say(&format!(
        "wasm: {}, {} KiB, sha256 {}",
        module.strip_prefix(workspace.root()).unwrap_or(&module).display(),
        bytes.len().div_ceil(1024),
        hex(&Sha256::digest(&bytes))
    ));
    Ok(module)
}

/// Names for the folders of this machine, so that panic locations read the same everywhere.
fn encoded_rustflags(workspace: &Workspace, toolchain: &WasmToolchain) -> Result<String> {
    let home = cargo_home()?;
    // The last fitting name counts: first the general folder, then those in it whose own names differ between registries.
    let mut flags = vec![remap(&home, "/cargo"), remap(workspace.root(), "/exeat")];
    if let Ok(registries) = std::fs::read_dir(home.join("registry/src")) {
        flags.extend(registries.flatten().map(|registry| remap(&registry.path(), "/cargo/registry")));
    }
    flags.extend(toolchain.source_folders(workspace).iter().map(|folder| remap(folder, "/rust")));
    Ok(flags.join("\u{1f}"))
}

fn remap(folder: &Path, name: &str) -> String {
    format!("--remap-path-prefix={}={name}", folder.display())
}

/// A module that names this machine's folders would differ on the next one, and tell about this one. Short names such as
/// `/src` are part of every module's paths and prove nothing.
fn refuse_paths_of_this_machine(workspace: &Workspace, module: &[u8]) -> Result<()> {
    let folders = [workspace.root().to_path_buf(), cargo_home()?];
    for folder in folders.iter().filter(|folder| folder.components().count() > 2) {
        let name = folder.display().to_string();
        if module.windows(name.len()).any(|window| window == name.as_bytes()) {
            bail!("the module contains the path {name}; a --remap-path-prefix is missing in xtask/src/wasm.rs");
        }
    }
    Ok(())
}

/// The commit, with `-dirty` when tracked files differ from it; `unknown` outside git.
fn git_hash(workspace: &Workspace) -> String {
    // A copy without history may lie inside another repository, whose commit says nothing about it.
    if !workspace.root().join(".git").exists() {
        return "unknown".to_owned();
    }
    let describe = ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"];
    probe(workspace.command("git").args(describe)).unwrap_or_else(|| "unknown".to_owned())
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
