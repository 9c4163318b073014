//! The closed vocabulary of reasons: each is met by a scenario or a test, and one that no scenario can bring about is met here.

#![cfg(test)]

use exeat_e2e::scenario::harness::Harness;
use exeat_e2e::scenario::subject::Subject as _;
use exeat_e2e::workspace;
use exeat_engine::decision::Reason;
use exeat_host_test::{Plugin, Request};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// In the vocabulary, and given by nothing yet. docs/reasons.md says so.
const RESERVED: [Reason; 1] = [Reason::PayloadSecret];

/// All text of the files below, this one apart.
fn text_below(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is = |extension| path.extension().is_some_and(|is| is == extension);
        if path.is_dir() {
            text_below(&path, text);
        } else if (is("rs") || is("yaml")) && !path.ends_with("tests/reasons.rs") {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn each_reason_is_met_by_a_test() {
    let mut text = String::new();
    for folder in ["tests/scenarios", "tests/tests", "cli/tests", "policies"] {
        text_below(&workspace().join(folder), &mut text);
    }
    // A word of its own, for some are the end of another.
    let words: std::collections::HashSet<&str> =
        text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).collect();
    let missing: Vec<_> = Reason::ALL.iter().filter(|reason| !words.contains(reason.code())).collect();
    assert_eq!(missing, RESERVED.iter().collect::<Vec<_>>());
    let page = fs::read_to_string(workspace().join("docs/reasons.md")).unwrap();
    for reserved in RESERVED {
        assert!(
            page.contains(&format!("`{reserved}` is reserved")),
            "docs/reasons.md does not say that {reserved} is reserved"
        );
    }
}

/// A second plugin of another gateway cannot write the log of the VM's first, so its configuration is not in use: its requests
/// are refused, and those of the first are judged as before.
#[test]
fn a_plugin_without_a_configuration_in_use_refuses() {
    let harness = Harness::start("main").unwrap();
    let worker = harness.worker();
    let own: Value = serde_json::from_slice(harness.gateway().configuration.as_bytes()).unwrap();
    let mut other = own.clone();
    other["gateway"]["id"] = "another".into();
    let root = worker.install(Plugin::new("another", other.to_string()).hold(true)).unwrap();
    let said = |root| {
        let mut exchange = worker.request_on(root, Request::get("eu.crm.acme.example", "/"));
        exchange.send().unwrap();
        let response = exchange.response().unwrap();
        let problem: Value = serde_json::from_slice(&response.chunks.concat()).unwrap();
        (response.status(), problem["reason"].as_str().unwrap().to_owned())
    };
    assert_eq!(said(root), (503, "policy-unavailable".to_owned()));
    assert_eq!(said(worker.root()), (401, "context-missing".to_owned()));
    let log = worker.log();
    let told = log.iter().filter(|entry| entry.message.contains("writes the log of")).count();
    assert_eq!(told, 1, "{log:?}");
}
