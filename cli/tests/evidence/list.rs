//! What people read: tables, lines of JSON, one decision in full.

use crate::audit::sql;
use crate::support::{Collector, Vm, audit};
use exeat_engine::evidence::record::Outcome;

#[test]
fn the_list_shows_decisions_and_hides_what_an_agent_would_smuggle_in() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let mut vm = Vm::new("b1", "w0");
    vm.exchange();
    let id = vm.deny();
    let mut evil = vm.record(Outcome::Deny);
    evil.agent = Some("support/\u{1b}[2J\u{202e}evil\n\u{9b}31m".into());
    evil.destination.path = Some("/a".repeat(500));
    vm.decide(evil, None);
    vm.deliver(collector.address, 10);

    let out = |arguments: &[&str]| {
        let output = audit(dir.path(), arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let table = out(&["list"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    for part in [
        "2025-11-20T00:53:20.010Z",
        "allow",
        "permitted",
        "support/summarizer",
        "u-1042",
        "POST",
        "/v1/orders/7",
        "200",
        "100",
    ] {
        assert!(lines[1].contains(part), "{part} is not in {}", lines[1]);
    }
    assert!(lines[3].contains(r"support/\u{001b}[2J\u{202e}evil\u{000a}\u{009b}31m"), "{table}");
    assert!(lines.iter().all(|line| line.chars().count() < 400), "{table}");
    assert!(table.chars().all(|c| c == '\n' || exeat_engine::evidence::line::is_plain(c)));

    for (filter, expected) in [
        (vec!["--outcome", "deny"], 2),
        (vec!["--reason", "path-denied", "--agent", "support/summarizer"], 1),
        (vec!["--session", "s-8f2c"], 3),
        (vec!["--host", "api.crm.acme.example", "--outcome", "allow"], 1),
        (vec!["--host", "example.com"], 0),
        (vec!["--limit", "2"], 2),
        (vec!["--limit", "1", "--outcome", "allow"], 1),
    ] {
        let json = out(&[&["list", "--json"], filter.as_slice()].concat());
        assert_eq!(json.lines().count(), expected, "{filter:?}: {json}");
        for line in json.lines() {
            assert!(line.chars().all(exeat_engine::evidence::line::is_plain));
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(row["decision"]["kind"], "decision");
            assert_eq!(row["completion"].is_object(), row["decision"]["outcome"] == "allow");
        }
    }
    assert!(out(&["list", "--host", "example.com"]).contains("no decision fits"));
    let output = audit(dir.path(), &["list", "--reason", "path-deny"]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("path-denied"));

    let shown = out(&["show", &id]);
    assert!(shown.contains("log         egress-eu-1/b1/w0") && shown.contains("leaf        3"), "{shown}");
    assert!(shown.contains("\"reason\": \"path-denied\"") && shown.contains("nothing was let go"), "{shown}");
    let first: serde_json::Value = serde_json::from_str(out(&["list", "--json", "--outcome", "allow"]).trim()).unwrap();
    assert_eq!(first["user"], "u-1042");
    let shown = out(&["show", first["decision"]["id"].as_str().unwrap()]);
    assert!(shown.contains("opening     user = u-1042\n") && shown.contains("\"status\": 200"), "{shown}");
    for (arguments, expected) in
        [(["show", "00000000000000ff"], "no decision 00000000000000ff in"), (["show", "0"], "too short")]
    {
        let output = audit(dir.path(), &arguments);
        assert!(!output.status.success());
        assert!(String::from_utf8(output.stderr).unwrap().contains(expected));
    }
    drop(collector);
    sql(dir.path(), "DELETE FROM openings");
    assert!(out(&["list"]).contains("(sealed)"));
}
