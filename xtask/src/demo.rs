//! `cargo xtask demo`: gets what the demo needs, then hands over to it.

use std::process::Command;

use anyhow::{Context, Result};

use crate::process::say;
use crate::test::{StageEnvironment, build_cli};
use crate::workspace::Workspace;
use crate::{setup, wasm};

/// Builds everything the demo plays with and runs it with this terminal as its own.
pub(crate) fn play(workspace: &Workspace, keep: bool) -> Result<()> {
    let toolchain = setup::wasm_toolchain(workspace)?;
    let envoy = setup::envoy(workspace)?;
    let module = wasm::build(workspace, &toolchain)?;
    build_cli(workspace, &["demo"])?;
    say("demo");
    let mut demo = workspace.command(workspace.built("demo"));
    if keep {
        demo.arg("--keep");
    }
    StageEnvironment { module: &module, envoy: &envoy, runtimes: None }.export(workspace, &mut demo);
    hand_over(&mut demo)
}

/// Becomes the demo: the terminal and Ctrl-C are its own, and it is not left behind when we are stopped.
#[cfg(unix)]
fn hand_over(demo: &mut Command) -> Result<()> {
    use std::os::unix::process::CommandExt;
    Err(demo.exec()).context("cannot start the demo")
}

#[cfg(not(unix))]
fn hand_over(demo: &mut Command) -> Result<()> {
    let status = demo.status().context("cannot start the demo")?;
    anyhow::ensure!(status.success(), "the demo failed ({status})");
    Ok(())
}
