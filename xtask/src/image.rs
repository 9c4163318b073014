//! The image of the command line, for the containers of `exeat render kubernetes`. It has no base, so the program is linked with
//! all that it needs: the C library statically, which the ordinary target for Linux can do as it is. Its bill of materials is
//! made beside the program, and goes into the image layout.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::process::{run, say};
use crate::sbom;
use crate::toolchain::{cargo_home, host};
use crate::wasm::{git_hash, remap};
use crate::workspace::Workspace;

/// Builds `exeat` so that it stands alone, and has it pack itself into target/image.
pub(crate) fn build(workspace: &Workspace) -> Result<PathBuf> {
    let revision = git_hash(workspace);
    let (target, program) = program(workspace, &revision)?;
    let sbom = sbom::of_program(workspace, &target, &revision, &program)?;
    let image = workspace.image();
    let mut package = workspace.command(&program);
    package.args(["package", "--cli", "--sbom"]).arg(&sbom).arg("--output").arg(&image);
    run("image: exeat packs itself into target/image", &mut package)?;
    let shown = |file: &Path| file.strip_prefix(workspace.root()).unwrap_or(file).display().to_string();
    say(&format!(
        "image: target/image; `{} package --cli --sbom {} --push REGISTRY/REPOSITORY:TAG` pushes it",
        shown(&program),
        shown(&sbom)
    ));
    Ok(image)
}

/// The program, and the target that it is built for.
fn program(workspace: &Workspace, revision: &str) -> Result<(String, PathBuf)> {
    let host = host(workspace).context("rustc does not say for what machine it compiles")?;
    ensure!(
        host.contains("-linux-"),
        "images are for Linux, and this machine is {host}; run this in a container or virtual machine with Linux"
    );
    // With a target that is named, flags are not those of build scripts and macros, which cannot be linked so.
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--release", "--locked", "--package", "exeat", "--target", &host]);
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags(workspace)?).env("CARGO_PROFILE_RELEASE_STRIP", "debuginfo");
    cargo.env("EXEAT_GIT_HASH", revision);
    run("image: building exeat, linked statically (first time 6 min and more)", &mut cargo)?;
    let program = workspace.of_target(&host, "exeat");
    Ok((host, program))
}

/// Nobody who has the image needs to know the folders of this machine.
fn flags(workspace: &Workspace) -> Result<String> {
    let home = cargo_home()?;
    let renamed = |folder: &Path, name| remap(folder, name);
    let mut flags =
        vec!["-Ctarget-feature=+crt-static".to_owned(), renamed(&home, "/cargo"), renamed(workspace.root(), "/exeat")];
    if let Ok(registries) = std::fs::read_dir(home.join("registry/src")) {
        flags.extend(registries.flatten().map(|registry| renamed(&registry.path(), "/cargo/registry")));
    }
    Ok(flags.join("\u{1f}"))
}
