//! What can be judged without running anything: format, lints, licences and sources of dependencies. Cheapest first.

use anyhow::Result;

use crate::process::{run, say};
use crate::setup;
use crate::stages::Stages;
use crate::toolchain::WasmToolchain;
use crate::workspace::Workspace;

/// `cargo xtask ci-checks`.
pub(crate) fn run_alone(workspace: &Workspace, advisories: bool) -> Result<()> {
    let mut stages = Stages::default();
    sources(workspace, &mut stages)?;
    let toolchain = stages.run("wasm32 toolchain", || setup::wasm_toolchain(workspace))?;
    module_and_dependencies(workspace, &toolchain, advisories, &mut stages)
}

/// Checks that need nothing but the Rust toolchain.
pub(crate) fn sources(workspace: &Workspace, stages: &mut Stages) -> Result<()> {
    stages.run("format", || run("cargo fmt --all --check", workspace.cargo().args(["fmt", "--all", "--check"])))?;
    stages.run("clippy", || {
        run(
            "cargo clippy on all crates (first time about 3 min, later seconds)",
            workspace.cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
        )
    })?;
    // A workspace of its own, which nothing else would compile.
    stages.run("fuzz targets", || {
        let fuzz = workspace.root().join("fuzz/Cargo.toml");
        let mut format = workspace.cargo();
        run("cargo fmt on fuzz/", format.args(["fmt", "--check", "--manifest-path"]).arg(&fuzz))?;
        let mut clippy = workspace.cargo();
        clippy.args(["clippy", "--locked", "--bins", "--examples", "--manifest-path"]).arg(&fuzz);
        // Beside the others: most of their dependencies are the same.
        clippy.arg("--target-dir").arg(workspace.target()).args(["--", "-D", "warnings"]);
        run("cargo clippy on fuzz/ (first time about 1 min)", &mut clippy)
    })
}

/// Checks that need what setup brings.
pub(crate) fn module_and_dependencies(
    workspace: &Workspace,
    toolchain: &WasmToolchain,
    advisories: bool,
    stages: &mut Stages,
) -> Result<()> {
    if toolchain.has_clippy() {
        stages.run("clippy wasm32", || {
            let mut clippy = toolchain.cargo(workspace, "clippy");
            clippy.args(["--package", "exeat-filter", "--", "-D", "warnings"]);
            run("cargo clippy on the filter for wasm32 (first time about 30 s)", &mut clippy)
        })?;
    } else {
        say("clippy wasm32: left out, the pinned clippy has no wasm32 library here; the build below type-checks it");
    }
    stages.run("cargo deny", || {
        let deny = setup::cargo_deny(workspace)?;
        let mut command = workspace.command(deny);
        command.args(["--locked", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"]);
        if advisories {
            command.arg("advisories");
        }
        run("cargo deny check: licences, sources and versions of dependencies", &mut command)
    })
}
