//! Which module runs: what the command line says of the file, what the gateway logs, and what stands in every log it begins.

#![cfg(test)]

use exeat_e2e::scenario::gateway::Gateway;
use exeat_e2e::scenario::real::RealEnvoy;
use exeat_e2e::stage::artefacts;
use exeat_e2e::stage::upstream::{Reply, Upstream};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(180);

fn module(file: &Path, more: &[&str]) -> Output {
    Command::new(artefacts::cli().unwrap()).arg("module").arg(file).args(more).output().unwrap()
}

#[test]
fn every_log_names_the_file_that_envoy_loaded() {
    let told = module(&artefacts::module().unwrap(), &["--json"]);
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    let digest = told["digest"].as_str().unwrap();
    assert_eq!(told["intact"], true);
    assert_ne!(told["sha256"].as_str().unwrap(), digest.strip_prefix("sha256:").unwrap());

    let upstream = Upstream::start_with(|_| Reply::new(200)).unwrap();
    let gateway = Gateway::prepare("configuration", upstream.address().port()).unwrap();
    let real = RealEnvoy::start_with(gateway, upstream, 2).unwrap();
    let is_genesis = |record: &&Value| record["kind"] == "genesis";
    let records = real
        .wait_for_records_within(LIMIT, "a log of each worker", |records| {
            records.iter().filter(is_genesis).count() >= 2
        })
        .unwrap();
    for genesis in records.iter().filter(is_genesis) {
        let named = &genesis["module"];
        assert_eq!(named["digest"], told["digest"]);
        assert_eq!(named["version"], told["version"]);
        assert_eq!(named["git"], told["git"]);
    }
    real.envoy.wait_for_log(&format!("module {digest}): configuration accepted"), LIMIT).unwrap();
}

#[test]
fn an_altered_file_is_noticed() {
    let bytes = std::fs::read(artefacts::module().unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("altered.wasm");
    // In the header, in every part, in the last byte; and one byte more.
    let step = bytes.len() / 17;
    for at in (0..bytes.len()).step_by(step).chain([4, bytes.len() - 1, bytes.len()]) {
        let mut altered = bytes.clone();
        match altered.get_mut(at) {
            Some(byte) => *byte ^= 0x20,
            None => altered.push(0),
        }
        std::fs::write(&file, &altered).unwrap();
        let told = module(&file, &[]);
        assert!(!told.status.success(), "byte {at} was altered, and it was not noticed");
    }
    // What is altered in the code is still a module with a stamp, and the words say what happened.
    let words = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let mut altered = bytes.clone();
    altered[bytes.len() / 2] ^= 1;
    std::fs::write(&file, &altered).unwrap();
    let told = module(&file, &[]);
    assert!(words(&told).contains("was altered after it was built"), "{}", words(&told));
    std::fs::write(&file, b"\0asm\x01\0\0\0").unwrap();
    assert!(words(&module(&file, &[])).contains("it has no stamp"));
}

/// The numbers that Envoy writes for the functions of a trap.
#[test]
fn numbers_of_functions_have_names() {
    let (wasm, names) = (artefacts::module().unwrap(), artefacts::module().unwrap().with_extension("names"));
    let text = std::fs::read_to_string(&names).unwrap();
    let (number, name) = text
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(' '))
        .find(|(_, name)| name.contains("Exchange"))
        .unwrap();
    let log = std::env::temp_dir().join(format!("exeat-module-{}.log", std::process::id()));
    std::fs::write(&log, format!("  0:  0x1f - unknown(function index:{number})\n")).unwrap();
    let told = Command::new(artefacts::cli().unwrap())
        .args([Path::new("module"), &wasm, Path::new("--names"), &names])
        .stdin(std::fs::File::open(&log).unwrap())
        .output()
        .unwrap();
    std::fs::remove_file(&log).unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    assert_eq!(String::from_utf8_lossy(&told.stdout), format!("  0:  0x1f - {name}\n"));
}
