//! `cargo xtask bench`: what Exeat costs. docs/performance.md says what the numbers mean.

use std::path::Path;

use anyhow::Result;

use crate::process::run;
use crate::test::StageEnvironment;
use crate::toolchain::WasmToolchain;
use crate::workspace::Workspace;
use crate::{setup, wasm};

/// What is measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Only side by side, writing nothing, failing where a ratio is missed.
    pub(crate) check: bool,
    /// Only side by side, writing nothing, with fewer requests.
    pub(crate) quick: bool,
    /// Only memory.
    pub(crate) memory: bool,
    /// Only the parts of a decision in V8.
    pub(crate) stages: bool,
    /// Only these arms of side by side, writing nothing.
    pub(crate) arms: Option<String>,
}

/// Builds what is measured as it is shipped, and what measures it optimised.
pub(crate) fn measure(workspace: &Workspace, options: Options) -> Result<()> {
    let toolchain = setup::wasm_toolchain(workspace)?;
    let envoy = setup::envoy(workspace)?;
    if options.stages {
        // The runner only reads what the module measured: it need not be fast.
        let runner = ["--package", "exeat-e2e", "--bin", "bench"];
        run("building the runner (first time about 1 min)", workspace.cargo().arg("build").args(runner))?;
        return stages(workspace, &toolchain, &envoy, &workspace.target().join("debug/bench"));
    }
    let module = wasm::build(workspace, &toolchain)?;
    // The load generator and the collector share a core; debug builds of them would be what is measured.
    let release = ["build", "--release", "--package", "exeat", "--package", "exeat-e2e", "--bins"];
    run("building command line and benchmarks (first time some 8 min)", workspace.cargo().args(release))?;
    let benchmark = |what: &str, binary: &str, arguments: &[&str]| {
        let mut command = workspace.command(workspace.target().join("release").join(binary));
        StageEnvironment { module: &module, envoy: &envoy, runtimes: None }.export(workspace, &mut command);
        command.env("EXEAT_CLI", workspace.release_cli()).args(arguments);
        run(&format!("{what}; anything else that runs now blurs it"), &mut command)
    };
    if let Some(arms) = &options.arms {
        return benchmark("some arms side by side (about 1 min)", "compare", &["--arms", arms]);
    }
    if options.memory {
        return match options.quick {
            true => benchmark("memory (about 3 min)", "compare", &["--memory", "--quick"]),
            false => benchmark("memory (about 15 min)", "compare", &["--memory"]),
        };
    }
    match (options.check, options.quick) {
        (true, true) => return benchmark("side by side (about 2 min)", "compare", &["--check", "--quick"]),
        (true, false) => return benchmark("side by side (about 10 min)", "compare", &["--check"]),
        (false, true) => return benchmark("side by side (about 2 min)", "compare", &["--quick"]),
        (false, false) => benchmark("side by side (about 10 min)", "compare", &[])?,
    }
    stages(workspace, &toolchain, &envoy, &workspace.target().join("release/bench"))?;
    benchmark("updates to a large policy (about 1 min)", "stall", &[])
}

fn stages(workspace: &Workspace, toolchain: &WasmToolchain, envoy: &Path, runner: &Path) -> Result<()> {
    let module = wasm::build_bench(workspace, toolchain)?;
    let mut bench = workspace.command(runner);
    bench.env("EXEAT_BENCH_WASM", module).env("EXEAT_ENVOY", envoy);
    run("stages (about 1 min; anything else that runs now blurs it)", &mut bench)
}
