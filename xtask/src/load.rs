//! `cargo xtask load`: requests at a fixed rate through signer and Envoy. docs/performance.md says what the numbers mean.

use anyhow::Result;

use crate::process::run;
use crate::workspace::Workspace;
use crate::{setup, wasm};

/// Requests a second, and seconds.
const LOAD: [&str; 2] = ["1000", "10"];

/// Builds everything optimised but the program that makes the load, and runs it.
pub(crate) fn measure(workspace: &Workspace) -> Result<()> {
    let toolchain = setup::wasm_toolchain(workspace)?;
    let envoy = setup::envoy(workspace)?;
    let module = wasm::build(workspace, &toolchain)?;
    let mut cli = workspace.cargo();
    run(
        "building the exeat command line (first time some 5 min)",
        cli.args(["build", "--release", "--package", "exeat"]),
    )?;
    let runner = ["--package", "exeat-e2e", "--bin", "signer-load"];
    run("building the load program (first time about 1 min)", workspace.cargo().arg("build").args(runner))?;
    let mut load = workspace.cargo();
    load.args(["run", "--quiet"]).args(runner).arg("--").args(LOAD);
    load.env("EXEAT_WASM", module).env("EXEAT_ENVOY", envoy).env("EXEAT_CLI", workspace.release_cli());
    run("load (about 30 s; anything else that runs now blurs it)", &mut load)
}
