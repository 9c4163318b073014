//! `cargo xtask bench`: times the parts of a decision where they run. docs/performance.md says what the numbers mean.

use anyhow::Result;

use crate::process::run;
use crate::test::{StageEnvironment, build_cli};
use crate::workspace::Workspace;
use crate::{setup, wasm};

/// Builds the bench module as the filter is built, and runs it in the real Envoy.
pub(crate) fn measure(workspace: &Workspace) -> Result<()> {
    let toolchain = setup::wasm_toolchain(workspace)?;
    let envoy = setup::envoy(workspace)?;
    let module = wasm::build_bench(workspace, &toolchain)?;
    let runner = ["--package", "exeat-e2e", "--bin", "bench"];
    run("building the runner (first time about 1 min)", workspace.cargo().arg("build").args(runner))?;
    let mut bench = workspace.cargo();
    bench.args(["run", "--quiet"]).args(runner).env("EXEAT_BENCH_WASM", module).env("EXEAT_ENVOY", &envoy);
    run("bench (about 1 min; anything else that runs now blurs it)", &mut bench)?;
    let module = wasm::build(workspace, &toolchain)?;
    build_cli(workspace)?;
    let stall = ["--package", "exeat-e2e", "--bin", "stall"];
    run("building the update of a large policy", workspace.cargo().arg("build").args(stall))?;
    let mut update = workspace.cargo();
    update.args(["run", "--quiet"]).args(stall);
    StageEnvironment { module: &module, envoy: &envoy, runtimes: None }.export(workspace, &mut update);
    run("updates to a large policy (about 3 min)", &mut update)
}
