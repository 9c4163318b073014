//! The image of the command line: unpacked as container runtimes do, and run with nothing else in sight.

use exeat_e2e::stage::artefacts;
use exeat_e2e::stage::registry::{Options, Registry, skopeo};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An image layout with one image.
pub(crate) struct Image {
    layout: PathBuf,
    manifest: Value,
    config: Value,
    /// The manifest of its bill of materials.
    sbom: Value,
}

impl Image {
    /// What `cargo xtask image` made.
    pub(crate) fn built() -> Self {
        Self::read(&artefacts::image().unwrap())
    }

    fn read(layout: &Path) -> Self {
        let index: Value = serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
        let entries = index["manifests"].as_array().unwrap();
        let name =
            |entry: &Value| entry["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap().to_owned();
        let version = env!("CARGO_PKG_VERSION");
        let names: Vec<String> = entries.iter().map(name).collect();
        assert_eq!(names, [version.to_owned(), format!("{version}-sbom")], "{index:#}");
        let manifest: Value = serde_json::from_slice(&blob(layout, &entries[0])).unwrap();
        let sbom: Value = serde_json::from_slice(&blob(layout, &entries[1])).unwrap();
        assert_eq!(sbom["subject"]["digest"], entries[0]["digest"], "it is not of this image");
        let config = serde_json::from_slice(&blob(layout, &manifest["config"])).unwrap();
        Self { layout: layout.to_owned(), manifest, config, sbom }
    }

    /// `PATH` of its containers.
    pub(crate) fn path(&self) -> String {
        let variables = self.config["config"]["Env"].as_array().unwrap();
        variables.iter().find_map(|text| text.as_str()?.strip_prefix("PATH=")).unwrap().to_owned()
    }

    /// User and group of containers that name none.
    fn user(&self) -> &str {
        self.config["config"]["User"].as_str().unwrap()
    }

    /// Its bill of materials, as it is in the layout.
    pub(crate) fn sbom(&self) -> Vec<u8> {
        assert_eq!(self.sbom["artifactType"], "application/vnd.cyclonedx+json");
        blob(&self.layout, &self.sbom["layers"][0])
    }

    /// The program in it.
    pub(crate) fn program(&self) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        self.unpack(folder.path());
        std::fs::read(folder.path().join("usr/local/bin/exeat")).unwrap()
    }

    /// Its files, in a folder that is there or not.
    pub(crate) fn unpack(&self, root: &Path) {
        std::fs::create_dir_all(root).unwrap();
        for layer in self.manifest["layers"].as_array().unwrap() {
            let bytes = blob(&self.layout, layer);
            tar::Archive::new(flate2::read::GzDecoder::new(bytes.as_slice())).unpack(root).unwrap();
        }
    }
}

fn blob(layout: &Path, descriptor: &Value) -> Vec<u8> {
    let hex = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    let bytes = std::fs::read(layout.join("blobs/sha256").join(hex)).unwrap();
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((digest.as_str(), &descriptor["size"]), (hex, &bytes.len().into()));
    bytes
}

/// A command of a user whose file system is a folder, with what container runtimes put there: `/proc`, `/dev` and `/etc/hosts`.
/// Only root can become another user; for others it is their own, called root.
pub(crate) fn contained(root: &Path, user: &str, path: &str, words: impl IntoIterator<Item = String>) -> Command {
    for folder in ["proc", "dev", "etc"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    std::fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n").unwrap();
    let mut command = Command::new("unshare");
    let is_root = rustix::process::getuid().is_root();
    if !is_root {
        command.args(["--user", "--map-root-user"]);
    }
    let user = if is_root { user } else { "" };
    let script = "root=$1; user=$2; path=$3; shift 3; PATH=$PATH:/usr/sbin:/sbin; mount --rbind /proc \"$root/proc\" && \
                  mount --rbind /dev \"$root/dev\" && exec env -i PATH=\"$path\" \"$(command -v chroot)\" ${user:+--userspec=\"$user\"} \"$root\" \"$@\"";
    command.args(["--mount", "sh", "-c", script, "contained"]).arg(root).args([user, path]).args(words);
    command
}

/// Every file of an image layout.
fn files(layout: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for folder in [layout.to_owned(), layout.join("blobs/sha256")] {
        for entry in std::fs::read_dir(&folder).unwrap().flatten().filter(|entry| entry.path().is_file()) {
            let name = entry.path().strip_prefix(layout).unwrap().to_owned();
            all.insert(name, std::fs::read(entry.path()).unwrap());
        }
    }
    all
}

#[test]
fn it_is_what_runtimes_of_containers_expect() {
    let image = Image::built();
    let config = &image.config["config"];
    assert_eq!(config["Entrypoint"], serde_json::json!(["/usr/local/bin/exeat"]));
    assert_eq!(config["User"], "65532:65532", "not root, and a number: kubelets cannot check names");
    assert_eq!(image.config["os"], "linux");
    let processor = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    assert_eq!(image.config["architecture"], processor);
    let folder = tempfile::tempdir().unwrap();
    image.unpack(folder.path());
    let program = std::fs::read(folder.path().join("usr/local/bin/exeat")).unwrap();
    let digest: String = Sha256::digest(&program).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(image.manifest["annotations"]["io.github.exeat.cli.digest"], format!("sha256:{digest}"));
    assert_eq!(config["Labels"], image.manifest["annotations"]);
    let name = format!("oci:{}:{}", image.layout.display(), env!("CARGO_PKG_VERSION"));
    let shown = skopeo(&["inspect", &name]).unwrap().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&shown).unwrap()["Architecture"], processor);
    // Alone, by `PATH`, and as whoever it is there.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let command = ["exeat".to_owned(), "--version".to_owned()];
    let said = contained(folder.path(), image.user(), &image.path(), command).output().unwrap();
    let expected = format!("exeat {}", env!("CARGO_PKG_VERSION"));
    assert!(String::from_utf8_lossy(&said.stdout).starts_with(&expected), "{said:?}");
}

#[test]
fn it_packs_itself_to_the_same_bytes_and_pushes() {
    let image = Image::built();
    let folder = tempfile::tempdir().unwrap();
    image.unpack(folder.path());
    let package = || {
        let mut command = Command::new(folder.path().join("usr/local/bin/exeat"));
        command.args(["package", "--cli", "--json"]).env_clear();
        command
    };
    let layout = folder.path().join("layout");
    let sbom = folder.path().join("exeat.cdx.json");
    std::fs::write(&sbom, image.sbom()).unwrap();
    let made = package().arg("--sbom").arg(&sbom).arg("--output").arg(&layout).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    assert!(files(&layout) == files(&image.layout), "another image came out of the same program");
    // That of another program does not go along.
    let mut other: Value = serde_json::from_slice(&image.sbom()).unwrap();
    other["metadata"]["component"]["hashes"][0]["content"] = "0".repeat(64).into();
    std::fs::write(folder.path().join("other.cdx.json"), other.to_string()).unwrap();
    let refused =
        package().arg("--sbom").arg(folder.path().join("other.cdx.json")).args(["--output", "x"]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && said.contains("it is about another program"), "{said}");
    let registry = Registry::start(&Options::default()).unwrap();
    let place = format!("{}/team/exeat-cli:v1", registry.address());
    let pushed = package().arg("--sbom").arg(&sbom).args(["--push", &place, "--plain-http"]).output().unwrap();
    assert!(pushed.status.success(), "{pushed:?}");
    let report: Value = serde_json::from_slice(&pushed.stdout).unwrap();
    let reference = format!("docker://{}", report["manifests"][0]["reference"].as_str().unwrap());
    let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &reference]).unwrap().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&raw).unwrap(), image.manifest);
    assert_eq!(registry.tags().iter().filter(|tag| !tag.starts_with("sha256-")).collect::<Vec<_>>(), ["v1", "v1-sbom"]);
    assert!(report.get("module").is_none() && report["cli"]["digest"].as_str().unwrap().starts_with("sha256:"));
}

#[test]
fn a_build_for_this_machine_alone_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |arguments: &[&str]| {
        let mut command = Command::new(artefacts::cli().unwrap());
        let said = command.arg("package").args(arguments).current_dir(folder.path()).output().unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "something was written");
        (said.status.code(), String::from_utf8_lossy(&said.stderr).into_owned())
    };
    let (code, said) = refused(&["--cli", "--output", "layout"]);
    assert!(code == Some(1) && said.contains("this is a debug build") && said.contains("cargo xtask image"), "{said}");
    for arguments in [&["--output", "layout"][..], &["--cli", "--module", "x.wasm", "--output", "layout"]] {
        assert_eq!(refused(arguments).0, Some(2), "{arguments:?}");
    }
}
