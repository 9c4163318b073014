//! The clients under examples/signer: an orchestrator that runs a program as an agent, and a tool that reports what it
//! returned, on the real signer and the real Envoy. What the evidence says of the second request is what the tool reported.

#![cfg(test)]

use exeat_e2e::scenario::signed::Signed;
use exeat_e2e::scenario::subject::Subject as _;
use exeat_e2e::stage::artefacts;
use exeat_e2e::stage::upstream::Upstream;
use exeat_e2e::workspace;
use serde_json::json;
use std::path::PathBuf;
use std::process::Command;

fn example(path: &str) -> PathBuf {
    workspace().join("examples/signer").join(path)
}

#[test]
fn python() {
    let mut command = Command::new(artefacts::python().unwrap());
    // Nothing is to be left beside the sources.
    command.arg("-B").arg(example("python/example.py"));
    check(command);
}

#[test]
fn typescript() {
    // Modules are looked for from where the importing file lies, and what is compiled is not to lie beside the sources.
    let folder = tempfile::tempdir().unwrap();
    for file in ["package.json", "tsconfig.json", "exeat-signer.ts", "example.ts"] {
        std::fs::copy(example("typescript").join(file), folder.path().join(file)).unwrap();
    }
    let modules = artefacts::signer_node_modules().unwrap();
    std::os::unix::fs::symlink(&modules, folder.path().join("node_modules")).unwrap();
    let compiler = modules.join("typescript/bin/tsc");
    let compiled = Command::new("node").arg(compiler).current_dir(folder.path()).output().unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stdout));
    let mut command = Command::new("node");
    command.arg(folder.path().join("example.js"));
    check(command);
}

fn check(mut command: Command) {
    let signed = Signed::start(Upstream::start().unwrap(), &[]).unwrap();
    let url = format!("https://eu.crm.acme.example:{}/v1/orders/7", signed.port());
    command.arg(url).env("EXEAT_CONTROL", signed.real.gateway().file("run/control.sock"));
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let expected = "200\nuser third-party confidential\n200\nurn:exeat:signer:session-unknown\n";
    assert_eq!((output.status.code(), told.as_str()), (Some(0), expected), "{output:?}\n{}", signed.signer.log_tail());
    let records = signed
        .real
        .wait_for_records("two decisions", |records| {
            records.iter().filter(|record| record["kind"] == "decision").count() == 2
        })
        .unwrap();
    let stated: Vec<_> = records
        .iter()
        .filter(|record| record["kind"] == "decision")
        .map(|record| json!([record["tool"], record["provenance"], record["data_class"], record["outcome"]]))
        .collect();
    let before = json!(["crm.lookup", ["user"], "internal", "allow"]);
    let after = json!(["crm.lookup", ["user", "third-party"], "confidential", "allow"]);
    assert_eq!(stated, [before, after]);
}
