//! Builds the module so that the same sources and compiler give the same bytes on every machine, and says which bytes.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::module::Module;
use crate::process::{probe, run, say};
use crate::sbom;
use crate::toolchain::{TARGET, WasmToolchain, cargo_home};
use crate::workspace::Workspace;
use crate::{runtimes, size};

/// Builds crate exeat-filter and leaves it as target/exeat.wasm, with its bill of materials and the names of its functions
/// beside it.
pub(crate) fn build(workspace: &Workspace, toolchain: &WasmToolchain) -> Result<PathBuf> {
    let built = build_filter(workspace, toolchain, &git_hash(workspace))?;
    size::check(workspace, &Module::parse(&built.named)?, built.sealed.len())?;
    write(&workspace.module(), &built.sealed)?;
    write(&workspace.module().with_extension("names"), built.names.as_bytes())?;
    let stamp = exeat_stamp::read(&built.sealed)?;
    say(&format!(
        "wasm: target/exeat.wasm, {} bytes ({} KiB)\n    digest {} (as genesis records and `exeat module` state it)\n    file   {}",
        built.sealed.len(),
        built.sealed.len().div_ceil(1024),
        stamp.actual,
        stamp.file,
    ));
    sbom::of_module(workspace, toolchain, &workspace.module())?;
    Ok(workspace.module())
}

/// Builds the filter and notes what takes how many bytes.
pub(crate) fn note_size(workspace: &Workspace, toolchain: &WasmToolchain) -> Result<()> {
    let built = build_filter(workspace, toolchain, &git_hash(workspace))?;
    size::write_note(workspace, &Module::parse(&built.named)?)
}

/// Builds the filter here and once more from a copy of the sources elsewhere, and compares the two.
pub(crate) fn check_reproducible(workspace: &Workspace, toolchain: &WasmToolchain) -> Result<()> {
    let git = git_hash(workspace);
    let here = build_filter(workspace, toolchain, &git)?;
    let elsewhere = std::env::temp_dir().join(format!("exeat-reproducible-{}", std::process::id()));
    let copy = workspace.copy_tracked(&elsewhere)?;
    let there = build_filter(&copy, toolchain, &git);
    let _ = std::fs::remove_dir_all(&elsewhere);
    let there = there?;
    if here.sealed != there.sealed {
        let at = here.sealed.iter().zip(&there.sealed).position(|(a, b)| a != b).unwrap_or(0);
        bail!(
            "two builds of the same sources differ: {} and {} bytes, first at byte {at}; was a file changed meanwhile?",
            here.sealed.len(),
            there.sealed.len()
        );
    }
    say(&format!(
        "wasm: two builds in different folders are the same to the byte: {}",
        exeat_stamp::read(&here.sealed)?.file
    ));
    Ok(())
}

/// Builds crate exeat-bench, as the filter is built, and leaves it as target/exeat-bench.wasm.
pub(crate) fn build_bench(workspace: &Workspace, toolchain: &WasmToolchain) -> Result<PathBuf> {
    let named = compile(workspace, toolchain, "exeat-bench", &git_hash(workspace))?;
    let module = workspace.target().join("exeat-bench.wasm");
    write(&module, &Module::parse(&named)?.stripped())?;
    Ok(module)
}

/// A filter that is built.
struct Built {
    /// As it was compiled, with names.
    named: Vec<u8>,
    /// As it is delivered.
    sealed: Vec<u8>,
    /// The names that the delivered one lacks, as `exeat module --names` reads them.
    names: String,
}

fn build_filter(workspace: &Workspace, toolchain: &WasmToolchain, git: &str) -> Result<Built> {
    let named = compile(workspace, toolchain, "exeat-filter", git)?;
    let module = Module::parse(&named)?;
    let mut sealed = module.stripped();
    let digest = exeat_stamp::seal(&mut sealed).context("the built module")?;
    let lines = module.names()?.into_iter().map(|(index, name)| format!("{index} {name}\n"));
    let names = std::iter::once(format!("exeat-names {digest}\n")).chain(lines).collect();
    Ok(Built { named, sealed, names })
}

/// Compiles one crate; the module still has the names of its functions.
fn compile(workspace: &Workspace, toolchain: &WasmToolchain, package: &str, git: &str) -> Result<Vec<u8>> {
    // The folders below are renamed by name, so they must exist before the first build.
    run("wasm: fetching dependencies", workspace.cargo().args(["fetch", "--quiet", "--locked", "--target", TARGET]))?;
    run(
        &format!("wasm: building {package} (first time about 1.5 min, later a few seconds)"),
        toolchain
            .cargo(workspace, "build")
            .args(["--package", package, "--profile", "wasm", "--locked"])
            .env("CARGO_ENCODED_RUSTFLAGS", encoded_rustflags(workspace, toolchain)?)
            .env("EXEAT_GIT_HASH", git),
    )?;
    let file = format!("wasm/{}.wasm", package.replace('-', "_"));
    let built = workspace.target().join("wasm").join(TARGET).join(file);
    let bytes = std::fs::read(&built).with_context(|| format!("{} was not built", built.display()))?;
    refuse_paths_of_this_machine(workspace, &bytes)?;
    optimise(workspace, &built, &bytes)
}

/// What is left of it after Binaryen: a sixth less code. The same input gives the same output, so what was made of it is kept.
fn optimise(workspace: &Workspace, built: &Path, bytes: &[u8]) -> Result<Vec<u8>> {
    let (optimised, made_of) = (built.with_extension("opt.wasm"), built.with_extension("opt.made-of"));
    let program = runtimes::wasm_opt(workspace)?;
    let version = probe(workspace.command("node").arg(&program).arg("--version")).context("wasm-opt does not run")?;
    let key = format!("{} {} {version}", hex(&Sha256::digest(bytes)), WASM_OPT.join(" "));
    if std::fs::read_to_string(&made_of).is_ok_and(|of| of == key)
        && let Ok(kept) = std::fs::read(&optimised)
    {
        return Ok(kept);
    }
    // Should this be interrupted, nothing may vouch for what is left behind.
    let _ = std::fs::remove_file(&made_of);
    let mut command = workspace.command("node");
    command.arg(&program).args(WASM_OPT).arg(built).arg("-o").arg(&optimised);
    run("wasm: making it smaller with wasm-opt (about 1 min)", &mut command)?;
    let bytes = std::fs::read(&optimised).with_context(|| format!("{} was not written", optimised.display()))?;
    write(&made_of, key.as_bytes())?;
    Ok(bytes)
}

/// For size, and no instruction that Envoy's V8 would have to be asked for: what rustc itself uses for this target.
const WASM_OPT: [&str; 7] = [
    "-Oz",
    "-g",
    "--enable-bulk-memory-opt",
    "--enable-sign-ext",
    "--enable-nontrapping-float-to-int",
    "--enable-mutable-globals",
    "--enable-multivalue",
];

/// Written beside and renamed: an Envoy that reads the module meanwhile sees the old or the new one, whole.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    std::fs::write(&unfinished, bytes)
        .and_then(|()| std::fs::rename(&unfinished, path))
        .with_context(|| format!("cannot write {}", path.display()))
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

/// Has the compiler call a folder by another name.
pub(crate) fn remap(folder: &Path, name: &str) -> String {
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
pub(crate) fn git_hash(workspace: &Workspace) -> String {
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
