//! `cargo xtask demo`: gets what the demo needs, then hands over to it.

use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::process::{run, say};
use crate::test::{StageEnvironment, build_cli};
use crate::workspace::Workspace;
use crate::{setup, wasm};

/// Builds everything the demo plays with and runs it with this terminal as its own.
pub(crate) fn play(workspace: &Workspace, keep: bool) -> Result<()> {
    let toolchain = setup::wasm_toolchain(workspace)?;
    let envoy = setup::envoy(workspace)?;
    let module = wasm::build(workspace, &toolchain)?;
    build_cli(workspace)?;
    run(
        "building the demo (first time about 1 min)",
        workspace.cargo().args(["build", "--package", "exeat-e2e", "--bin", "demo"]),
    )?;
    say("demo");
    let mut demo = workspace.cargo();
    demo.args(["run", "--quiet", "--package", "exeat-e2e", "--bin", "demo", "--"]);
    if keep {
        demo.arg("--keep");
    }
    StageEnvironment { module: &module, envoy: &envoy }.export(workspace, &mut demo);
    // The terminal is the demo's: it may ask, and Ctrl-C must reach it.
    let status = demo.stdin(Stdio::inherit()).status().context("cannot start the demo")?;
    if !status.success() {
        bail!("the demo failed ({status})");
    }
    Ok(())
}
