//! The command itself: what it writes, what it prints, and how it ends.

use exeat_engine::policy::{Configuration, Mode};
use std::path::Path;
use std::process::{Command, Output};

fn exeat(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_exeat")).current_dir(folder).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A generated policy, from making it to what a gateway of each environment reads.
#[test]
fn a_policy_is_made_checked_and_compiled_for_an_environment() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| exeat(folder.path(), args);
    let size = ["--teams", "3", "--agents", "5", "--rules", "30"];
    let made = run(&[&["policy", "generate", "made"][..], &size].concat());
    assert!(made.status.success(), "{}", text(&made.stderr));
    let again = run(&[&["policy", "generate", "made"][..], &size].concat());
    assert_eq!(text(&again.stderr), "exeat: made is not empty; name a folder that is, or that is not there yet\n");

    let checked = run(&["policy", "check", "made/policy"]);
    let lines: Vec<&str> = text(&checked.stdout).lines().collect();
    assert!(checked.status.success() && checked.stderr.is_empty(), "{}", text(&checked.stderr));
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("ok, prod: 32 destinations, 5 agents, "), "{lines:?}");
    let digest_of_staging = lines[1].rsplit_once(' ').unwrap().1;

    // For staging: not with the gateway of production.
    let compile = ["policy", "compile", "made/policy", "--gateway"];
    let refused = run(&[&compile[..], &["made/gateway.yaml", "--env", "staging", "-o", "staging.json"]].concat());
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).starts_with("made/gateway.yaml:3:3: gateway: /environment: this gateway is of"));
    assert!(!folder.path().join("staging.json").exists());
    let gateway = std::fs::read_to_string(folder.path().join("made/gateway.yaml")).unwrap();
    std::fs::write(folder.path().join("gateway.yaml"), gateway.replace("  environment: prod\n", "")).unwrap();
    let compiled = run(&[&compile[..], &["gateway.yaml", "--env", "staging", "-o", "staging.json"]].concat());
    assert!(compiled.status.success(), "{}", text(&compiled.stderr));
    assert_eq!(
        text(&compiled.stderr),
        "left out, since no decision needs it: owner, purpose, change, review of 32 destinations\n"
    );
    let staging = Configuration::accept(&std::fs::read(folder.path().join("staging.json")).unwrap()).unwrap();
    assert_eq!(staging.gateway().environment(), Some("staging"));
    assert_eq!((staging.policy().mode(), staging.policy().digest()), (Mode::Monitor, digest_of_staging));

    // Without --env for that of the gateway, and printed.
    let printed = run(&[&compile[..], &["made/gateway.yaml"]].concat());
    let prod = Configuration::accept(&printed.stdout).unwrap();
    assert_eq!((prod.gateway().environment(), prod.policy().mode()), (Some("prod"), Mode::Enforce));
}

#[test]
fn schemas_are_printed_by_their_word() {
    let folder = tempfile::tempdir().unwrap();
    let printed = exeat(folder.path(), &["policy", "schema", "team"]);
    let schema: serde_json::Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert_eq!(schema["title"], "Exeat: team");
    let refused = exeat(folder.path(), &["policy", "schema", "teams"]);
    assert!(text(&refused.stderr).contains("write one of gateway, policy, team"), "{}", text(&refused.stderr));
}
