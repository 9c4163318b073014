//! `cargo xtask test`: all checks, the module, and every test with the real module and the real Envoy.

use std::path::Path;

use anyhow::Result;

use crate::process::{probe, run};
use crate::runtimes::{self, Runtimes};
use crate::stages::Stages;
use crate::toolchain::WasmToolchain;
use crate::workspace::Workspace;
use crate::{checks, image, setup, wasm};

/// Runs everything; the first stage that fails ends it.
pub(crate) fn run_all(workspace: &Workspace, advisories: bool, runner_args: &[String]) -> Result<()> {
    let mut stages = Stages::default();
    checks::sources(workspace, &mut stages)?;
    let toolchain = stages.run("wasm32 toolchain", || setup::wasm_toolchain(workspace))?;
    checks::module_and_dependencies(workspace, &toolchain, advisories, &mut stages)?;
    let envoy = stages.run("envoy", || setup::envoy(workspace))?;
    let module = stages.run("wasm", || wasm::build(workspace, &toolchain))?;
    stages.run("command line", || build_cli(workspace, &[]))?;
    stages.run("image", || image::build(workspace))?;
    let runtimes = stages.run("runtimes of examples and clients", || runtimes::install(workspace))?;
    stages.run("systemd", || setup::systemd(workspace))?;
    let stage = StageEnvironment { module: &module, envoy: &envoy, runtimes: Some(&runtimes) };
    stages.run("tests", || {
        let nextest = probe(workspace.cargo().args(["nextest", "--version"])).is_some();
        let mut command = workspace.cargo();
        if nextest {
            command.args(["nextest", "run", "--workspace", "--no-fail-fast"]);
        } else {
            command.args(["test", "--workspace", "--lib", "--bins", "--tests"]);
        }
        run("tests", stage.export(workspace, command.args(runner_args)))
    })?;
    stages.run("tests in wasm32", || wasm_tests(workspace, &toolchain))?;
    // nextest does not run doc tests.
    stages.run("doc tests", || {
        run("doc tests", stage.export(workspace, workspace.cargo().args(["test", "--workspace", "--doc"])))
    })
}

/// The engine's vectors once more where they count: compiled for wasm32, with its 32-bit field arithmetic.
fn wasm_tests(workspace: &Workspace, toolchain: &WasmToolchain) -> Result<()> {
    setup::node(workspace)?;
    let runner = setup::wasm_test_runner(workspace)?;
    let mut tests = toolchain.cargo(workspace, "test");
    tests.args(["--package", "exeat-engine", "--lib", "--locked"]);
    tests.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", runner);
    run("tests in wasm32 under Node (first time about 2 min, later some 10 s)", &mut tests)
}

/// The command line, whose collector scenarios start as a process of its own, and more binaries. As of the whole workspace: so
/// dependencies have the features with which the tests build them, and are built once.
pub(crate) fn build_cli(workspace: &Workspace, also: &[&str]) -> Result<()> {
    let mut build = workspace.cargo();
    build.args(["build", "--workspace", "--bin", "exeat"]);
    also.iter().for_each(|binary| _ = build.args(["--bin", binary]));
    let what: Vec<_> = std::iter::once(&"exeat").chain(also).copied().collect();
    run(&format!("building {} (first time some 5 min)", what.join(" and ")), &mut build)
}

/// The real parts that scenarios play with; they fail without them.
pub(crate) struct StageEnvironment<'a> {
    /// target/exeat.wasm
    pub(crate) module: &'a Path,
    /// The Envoy binary.
    pub(crate) envoy: &'a Path,
    /// What the examples need; the demo plays without them.
    pub(crate) runtimes: Option<&'a Runtimes>,
}

impl StageEnvironment<'_> {
    /// Tells a child where they are.
    pub(crate) fn export<'c>(
        &self,
        workspace: &Workspace,
        command: &'c mut std::process::Command,
    ) -> &'c mut std::process::Command {
        if let Some(runtimes) = self.runtimes {
            command.env("EXEAT_PYTHON", &runtimes.python).env("EXEAT_NODE_MODULES", &runtimes.node_modules);
            command.env("EXEAT_RUST_EXAMPLE", workspace.rust_example());
            command.env("EXEAT_SIGNER_NODE_MODULES", &runtimes.signer_node_modules);
            command.env("EXEAT_CLIENTS_PYTHON", &runtimes.clients_python);
            command.env("EXEAT_CLIENTS_NODE_MODULES", &runtimes.clients_node_modules);
            command.env("EXEAT_REGISTRY", &runtimes.images.registry).env("EXEAT_SKOPEO", &runtimes.images.skopeo);
            command.env("EXEAT_PROMETHEUS", &runtimes.prometheus).env("EXEAT_IMAGE", workspace.image());
        }
        command.env("EXEAT_WASM", self.module).env("EXEAT_ENVOY", self.envoy).env("EXEAT_CLI", workspace.cli())
    }
}
