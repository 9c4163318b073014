//! Runs `exeat package`, and reads registries.

use exeat_e2e::stage::artefacts;
use exeat_e2e::stage::registry::{Registry, skopeo};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::path::Path;
use std::process::{Command, Output};

/// Lower-case hex of the SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The module that is to be packed.
pub(crate) fn module() -> Vec<u8> {
    std::fs::read(artefacts::module().unwrap()).unwrap()
}

/// `exeat package` of the real module with its bill of materials, knowing nobody's credentials.
pub(crate) fn package() -> Command {
    let mut command = bare();
    command.arg("--module").arg(artefacts::module().unwrap()).arg("--sbom").arg(artefacts::sbom().unwrap());
    command
}

/// `exeat package` without a module.
pub(crate) fn bare() -> Command {
    let mut command = Command::new(artefacts::cli().unwrap());
    command.arg("package");
    for name in ["DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "HOME", "SOURCE_DATE_EPOCH"] {
        command.env_remove(name);
    }
    command.env_remove("EXEAT_REGISTRY_USERNAME").env_remove("EXEAT_REGISTRY_PASSWORD");
    // A proxy would be another machine's: what goes to loopback without TLS must not go there.
    command.env("HTTP_PROXY", "http://127.0.0.1:1").env("http_proxy", "http://127.0.0.1:1");
    command
}

/// Its report.
pub(crate) fn report(mut command: Command) -> Value {
    let output = command.arg("--json").output().unwrap();
    assert!(output.status.success(), "{}", complaint(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What it complained of, having failed.
pub(crate) fn refused(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", complaint(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "a failure must not print digests");
    complaint(&output)
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Pushes to a registry that speaks plain HTTP, under a tag.
pub(crate) fn pushed(registry: &Registry, tag: &str) -> Value {
    let mut command = package();
    command.arg("--push").arg(format!("{}/team/exeat:{tag}", registry.address())).arg("--plain-http");
    report(command)
}

/// What the report says of a manifest.
pub(crate) fn manifest<'r>(report: &'r Value, form: &str) -> &'r Value {
    let found = report["manifests"].as_array().unwrap().iter().find(|manifest| manifest["form"] == form);
    found.unwrap_or_else(|| panic!("no {form} in {report:#}"))
}

/// The digest of a manifest, without `sha256:`.
pub(crate) fn hex<'r>(report: &'r Value, form: &str) -> &'r str {
    manifest(report, form)["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap()
}

/// `docker://` and the reference that the report gives, by digest.
pub(crate) fn docker(report: &Value, form: &str) -> String {
    format!("docker://{}", manifest(report, form)["reference"].as_str().unwrap())
}

/// The bytes of a manifest as skopeo reads them from a registry.
pub(crate) fn raw(reference: &str) -> Vec<u8> {
    skopeo(&["inspect", "--raw", "--tls-verify=false", reference]).unwrap().unwrap()
}

/// Has skopeo copy an image, all of whose blobs it holds against their digests, into a folder.
pub(crate) fn copied(reference: &str, folder: &Path) {
    let target = format!("dir:{}", folder.display());
    skopeo(&["copy", "--quiet", "--src-tls-verify=false", reference, &target]).unwrap().unwrap();
}
