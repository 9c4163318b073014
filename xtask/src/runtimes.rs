//! What the examples in other languages import, the HTTP clients that the tests of the signer run, and the Prometheus that reads
//! the metrics, installed into target/ by their own installers, so that the tests need no network.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::process::{attempt, probe, run, say};
use crate::registry::{self, RegistryTools};
use crate::setup::{apt_install, apt_update, pip_install, python_environment};
use crate::toolchain::on_path;
use crate::workspace::Workspace;

/// Where the runtimes are.
pub(crate) struct Runtimes {
    /// The Python of an environment with examples/python/requirements.txt.
    pub(crate) python: PathBuf,
    /// The folder with examples/node/package-lock.json.
    pub(crate) node_modules: PathBuf,
    /// The folder with examples/signer/typescript/package-lock.json.
    pub(crate) signer_node_modules: PathBuf,
    /// The Python of an environment with tests/clients/python/requirements.txt.
    pub(crate) clients_python: PathBuf,
    /// The folder with tests/clients/node/package-lock.json.
    pub(crate) clients_node_modules: PathBuf,
    /// A registry of images, and a reader of them.
    pub(crate) images: RegistryTools,
    /// The folder with `prometheus` and `promtool`.
    pub(crate) prometheus: PathBuf,
}

/// What is installed: what for, from which folder of the sources, into which folder of target/.
struct Installed {
    purpose: &'static str,
    source: &'static str,
    folder: &'static str,
}

const EXAMPLE_PYTHON: Installed =
    Installed { purpose: "example in Python", source: "examples/python", folder: "examples/python" };
const EXAMPLE_NODE: Installed =
    Installed { purpose: "example in Node", source: "examples/node", folder: "examples/node" };
const EXAMPLE_SIGNER: Installed = Installed {
    purpose: "signer's client in TypeScript",
    source: "examples/signer/typescript",
    folder: "examples/signer",
};
const CLIENTS_PYTHON: Installed =
    Installed { purpose: "clients in Python", source: "tests/clients/python", folder: "clients/python" };
const CLIENTS_NODE: Installed =
    Installed { purpose: "clients in Node", source: "tests/clients/node", folder: "clients/node" };

const BINARYEN: Installed = Installed { purpose: "wasm-opt", source: "xtask/binaryen", folder: "tools/binaryen" };

/// The script of wasm-opt, which `node` runs.
pub(crate) fn wasm_opt(workspace: &Workspace) -> Result<PathBuf> {
    Ok(node_modules(workspace, &BINARYEN)?.join("binaryen/bin/wasm-opt"))
}

/// Installs what is missing or outdated, and builds the example in Rust.
pub(crate) fn install(workspace: &Workspace) -> Result<Runtimes> {
    if probe(workspace.command("curl").arg("--version")).is_none() {
        apt_install(workspace, "curl, for its example", &["curl"])?;
    }
    if probe(workspace.command("git").arg("--version")).is_none() {
        apt_install(workspace, "git, a client of the signer's tests", &["git"])?;
    }
    let runtimes = Runtimes {
        python: python(workspace, &EXAMPLE_PYTHON)?,
        node_modules: node_modules(workspace, &EXAMPLE_NODE)?,
        signer_node_modules: node_modules(workspace, &EXAMPLE_SIGNER)?,
        clients_python: python(workspace, &CLIENTS_PYTHON)?,
        clients_node_modules: node_modules(workspace, &CLIENTS_NODE)?,
        images: registry::install(workspace)?,
        prometheus: prometheus(workspace)?,
    };
    run("building the example in Rust", workspace.cargo().args(["build", "--workspace", "--bin", "exeat-example"]))?;
    Ok(runtimes)
}

fn python(workspace: &Workspace, what: &Installed) -> Result<PathBuf> {
    let requirements = workspace.root().join(what.source).join("requirements.txt");
    let environment = workspace.target().join(what.folder);
    let python = environment.join("bin/python");
    let stamp = Stamp::new(&environment, &[&requirements])?;
    if stamp.is_current() && probe(workspace.command(&python).arg("--version")).is_some() {
        say(&format!("{}: present in target/{}", what.purpose, what.folder));
        return Ok(python);
    }
    python_environment(workspace, &environment, what.purpose)?;
    run(
        &format!("{}: pip install (about 10 MB, about 10 s)", what.purpose),
        pip_install(workspace, &environment).arg("--requirement").arg(&requirements),
    )?;
    stamp.set()?;
    Ok(python)
}

fn node_modules(workspace: &Workspace, what: &Installed) -> Result<PathBuf> {
    if probe(workspace.command("node").arg("--version")).is_none()
        || probe(workspace.command("npm").arg("--version")).is_none()
    {
        apt_install(workspace, &format!("Node, for {}", what.purpose), &["nodejs", "npm"])?;
    }
    let version = probe(workspace.command("node").arg("--version")).context("node does not run")?;
    let major: u32 = version.trim_start_matches('v').split('.').next().unwrap_or_default().parse().unwrap_or(0);
    ensure!(major >= MINIMUM_NODE, "examples and clients take Node {MINIMUM_NODE} or newer; here it is {version}");
    let source = workspace.root().join(what.source);
    let folder = workspace.target().join(what.folder);
    let files = ["package.json", "package-lock.json"];
    let stamp = Stamp::new(&folder, &files.map(|file| source.join(file)).each_ref().map(PathBuf::as_path))?;
    let modules = folder.join("node_modules");
    if stamp.is_current() && modules.is_dir() {
        say(&format!("{}: present in target/{}", what.purpose, what.folder));
        return Ok(modules);
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for file in files {
        std::fs::copy(source.join(file), folder.join(file)).with_context(|| format!("cannot copy {file}"))?;
    }
    run(
        &format!("{}: npm ci (about 5 s)", what.purpose),
        workspace.command("npm").args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder),
    )?;
    stamp.set()?;
    Ok(modules)
}

/// Prometheus of the system, or Debian's package unpacked into target/. Installed, it would begin to serve.
fn prometheus(workspace: &Workspace) -> Result<PathBuf> {
    let runs = |folder: &Path| {
        let both = ["prometheus", "promtool"];
        both.iter().all(|program| probe(workspace.command(folder.join(program)).arg("--version")).is_some())
    };
    let package = workspace.target().join("prometheus");
    let own = package.join("usr/bin");
    let system = on_path("promtool").and_then(|program| program.parent().map(Path::to_owned));
    if let Some(found) = std::iter::once(own.clone()).chain(system).find(|folder| runs(folder)) {
        say(&format!("Prometheus: present in {}", found.display()));
        return Ok(found);
    }
    ensure!(
        on_path("apt-get").is_some() && on_path("dpkg-deb").is_some(),
        "Prometheus is missing, and this is no Debian system: put `prometheus` and `promtool` (2.40 or newer) on PATH"
    );
    std::fs::create_dir_all(&package).with_context(|| format!("cannot make {}", package.display()))?;
    let mut download = workspace.command("apt-get");
    download.args(["download", "-q", "prometheus"]).current_dir(&package);
    if !attempt("Prometheus: apt-get download (19 MB, some seconds)", &mut download, Duration::from_secs(300))? {
        // The lists are older than the archive, or there are none.
        apt_update(workspace, "Prometheus")?;
        run("Prometheus: apt-get download, again", &mut download)?;
    }
    let archives = std::fs::read_dir(&package).with_context(|| format!("cannot read {}", package.display()))?;
    let archives = archives.flatten().map(|entry| entry.path());
    for archive in archives.filter(|path| path.extension().is_some_and(|ext| ext == "deb")) {
        let mut unpack = workspace.command("dpkg-deb");
        run("Prometheus: dpkg-deb --extract", unpack.arg("--extract").arg(&archive).arg(&package))?;
        let _ = std::fs::remove_file(archive);
    }
    ensure!(runs(&own), "Debian's package of Prometheus is unpacked in {}, and does not run", package.display());
    Ok(own)
}

const MINIMUM_NODE: u32 = 20;

/// What a folder was installed from: a copy of the files that say so, written when the installation was complete.
struct Stamp {
    file: PathBuf,
    wanted: String,
}

impl Stamp {
    fn new(folder: &Path, sources: &[&Path]) -> Result<Self> {
        let texts = sources
            .iter()
            .map(|source| std::fs::read_to_string(source).with_context(|| format!("cannot read {}", source.display())));
        Ok(Self { file: folder.join("installed-from"), wanted: texts.collect::<Result<_>>()? })
    }

    fn is_current(&self) -> bool {
        std::fs::read_to_string(&self.file).is_ok_and(|text| text == self.wanted)
    }

    fn set(&self) -> Result<()> {
        std::fs::write(&self.file, &self.wanted).with_context(|| format!("cannot write {}", self.file.display()))
    }
}
