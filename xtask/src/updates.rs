//! `cargo xtask updates`: new policies for a gateway under load. docs/performance.md says what the numbers mean.

use anyhow::Result;

use crate::process::run;
use crate::test::{StageEnvironment, build_cli};
use crate::workspace::Workspace;
use crate::{setup, wasm};

/// Builds the module, and runs the updates on the real Envoy.
pub(crate) fn measure(workspace: &Workspace) -> Result<()> {
    let toolchain = setup::wasm_toolchain(workspace)?;
    let envoy = setup::envoy(workspace)?;
    let module = wasm::build(workspace, &toolchain)?;
    build_cli(workspace, &["updates"])?;
    let mut updates = workspace.command(workspace.built("updates"));
    StageEnvironment { module: &module, envoy: &envoy, runtimes: None }.export(workspace, &mut updates);
    run("updates under load (about 5 min; anything else that runs now blurs the times)", &mut updates)
}
