//! The registry and the reader of images with which tests hold what `exeat package` makes: Debian's `docker-registry` and
//! `skopeo`. Their packages are unpacked into target/, not installed: `docker-registry` would start a service, and only root
//! may install.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{probe, run, say};
use crate::toolchain::on_path;
use crate::workspace::Workspace;

/// Where the two programs are.
pub(crate) struct RegistryTools {
    /// The registry.
    pub(crate) registry: PathBuf,
    /// The reader of images.
    pub(crate) skopeo: PathBuf,
}

const REGISTRY: &str = "docker-registry";
const SKOPEO: &str = "skopeo";

/// Those that `EXEAT_REGISTRY` and `EXEAT_SKOPEO` name, else those of the system, else Debian's in target/tools/oci.
pub(crate) fn install(workspace: &Workspace) -> Result<RegistryTools> {
    let folder = workspace.target().join("tools/oci");
    if let Some(found) = find(&folder) {
        say(&format!("registry: {}, {}", found.registry.display(), found.skopeo.display()));
        return Ok(found);
    }
    if on_path("apt-get").is_none() || on_path("dpkg-deb").is_none() {
        bail!(
            "the tests of `exeat package` push to a registry and read it with skopeo, and this is no Debian system.\n  Install \
             the CNCF distribution registry and skopeo, and put them on PATH as {REGISTRY} and {SKOPEO}, or name them by \
             EXEAT_REGISTRY and EXEAT_SKOPEO"
        );
    }
    unpack(workspace, &folder)?;
    find(&folder).with_context(|| {
        format!("Debian's packages {REGISTRY} and {SKOPEO} are in {}, and their programs do not run", folder.display())
    })
}

fn find(folder: &Path) -> Option<RegistryTools> {
    let one = |variable: &str, name: &str| {
        let named = std::env::var_os(variable).map(PathBuf::from);
        let candidates = named.into_iter().chain(on_path(name)).chain([folder.join(name)]);
        candidates.into_iter().find(|program| probe(Command::new(program).arg("--version")).is_some())
    };
    Some(RegistryTools { registry: one("EXEAT_REGISTRY", REGISTRY)?, skopeo: one("EXEAT_SKOPEO", SKOPEO)? })
}

/// Has apt download both with the libraries that are missing here, and takes from the packages what runs.
fn unpack(workspace: &Workspace, folder: &Path) -> Result<()> {
    let work = folder.with_extension("new");
    let _ = std::fs::remove_dir_all(&work);
    let packages = work.join("packages");
    std::fs::create_dir_all(packages.join("partial")).with_context(|| format!("cannot make {}", work.display()))?;
    let download = |lists: Option<&Path>| {
        let mut apt = apt(workspace, &packages, lists);
        apt.args(["install", "--download-only", "-q", "-y", "--no-install-recommends", REGISTRY, SKOPEO]);
        run("registry: downloading docker-registry and skopeo (about 15 MB, about 5 s)", &mut apt)
    };
    if let Err(error) = download(None) {
        say(&format!("registry: {error:#}\n  Once more with a list of packages of our own"));
        let lists = work.join("lists");
        std::fs::create_dir_all(lists.join("partial")).with_context(|| format!("cannot make {}", lists.display()))?;
        // The system's own hooks after an update may fail where only root may do what they do. Whether lists came shows next.
        let _ = run(
            "registry: apt-get update into target/ (about 10 s)",
            apt(workspace, &packages, Some(&lists)).args(["update", "-q"]),
        );
        download(Some(&lists))?;
    }
    let root = work.join("root");
    for entry in std::fs::read_dir(&packages).context("cannot look at what was downloaded")?.flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "deb") {
            let mut dpkg = workspace.command("dpkg-deb");
            dpkg.arg("--extract").arg(entry.path()).arg(&root);
            run(&format!("registry: unpacking {}", entry.file_name().to_string_lossy()), &mut dpkg)?;
        }
    }
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder.join("lib")).with_context(|| format!("cannot make {}", folder.display()))?;
    for libraries in ["usr/lib", "lib"] {
        take_libraries(&root.join(libraries), &folder.join("lib"))?;
    }
    for program in [REGISTRY, SKOPEO] {
        take_program(&root.join("usr/bin").join(program), folder, program)?;
    }
    std::fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))
}

/// apt that touches nothing of the system: its archives, and lists where they are given, are in target/.
fn apt(workspace: &Workspace, packages: &Path, lists: Option<&Path>) -> Command {
    let mut command = workspace.command("apt-get");
    let mut option = |name: &str, value: &Path| {
        command.arg("-o").arg(format!("{name}={}", value.display()));
    };
    option("Dir::Cache::archives", packages);
    if let Some(lists) = lists {
        option("Dir::State::lists", lists);
        option("Dir::Cache::pkgcache", &lists.join("pkgcache.bin"));
        option("Dir::Cache::srcpkgcache", &lists.join("srcpkgcache.bin"));
    }
    // Nothing is installed, so nothing needs the lock that only root can take, nor the user that only root can become.
    command.args(["-o", "Debug::NoLocking=true", "-o", "APT::Sandbox::User=root"]);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Moves `lib*.so*` below `from`, one folder deep, to `to`.
fn take_libraries(from: &Path, to: &Path) -> Result<()> {
    let Ok(folders) = std::fs::read_dir(from) else { return Ok(()) };
    for folder in folders.flatten().filter(|entry| entry.path().is_dir()) {
        for file in std::fs::read_dir(folder.path()).context("cannot look at libraries")?.flatten() {
            let name = file.file_name();
            let text = name.to_string_lossy();
            if text.starts_with("lib") && text.contains(".so") {
                std::fs::rename(file.path(), to.join(&name)).with_context(|| format!("cannot move {text}"))?;
            }
        }
    }
    Ok(())
}

/// Moves a program, and puts a script in its place that has it find its libraries. One that the system has is not in the
/// packages that apt downloaded.
fn take_program(from: &Path, folder: &Path, name: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    if !from.exists() {
        return Ok(());
    }
    let place = || format!("cannot put {name} into {}", folder.display());
    std::fs::create_dir_all(folder.join("bin")).with_context(place)?;
    std::fs::rename(from, folder.join("bin").join(name)).with_context(place)?;
    let script = format!(
        "#!/bin/sh\nhere=$(dirname \"$(readlink -f \"$0\")\")\nLD_LIBRARY_PATH=\"$here/lib\" exec \"$here/bin/{name}\" \"$@\"\n"
    );
    let file = folder.join(name);
    std::fs::write(&file, script).with_context(place)?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).with_context(place)
}
