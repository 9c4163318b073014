//! What is read from a store by people in a hurry and by other systems: `top`, `report`, `export`, and the filters they share.

use crate::audit::sql;
use crate::support::{Collector, Vm, audit, key_option};
use exeat_engine::evidence::record::{Outcome, PolicyReference};
use serde_json::Value;
use std::path::Path;

/// Text by which an agent would leave a table, a code span or a line.
const SMUGGLED: &str = "support/`|\u{202e}\n# x";

fn out(dir: &Path, arguments: &[&str]) -> String {
    let output = audit(dir, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn lines(dir: &Path, arguments: &[&str]) -> Vec<Value> {
    out(dir, arguments).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Three that left, one of them still open, and three refused.
fn stored() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let mut vm = Vm::new("b1", "w0");
    vm.exchange();
    vm.now += 60_000;
    let mut traced = vm.record(Outcome::Allow);
    traced.traceparent = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into());
    traced.tenant = Some("globex".into());
    traced.delegated_by = vec!["support/planner".into()];
    traced.policy = Some(PolicyReference { revision: "r7".into(), digest: "sha256:07".into(), change: None });
    traced.source = Some("10.0.0.9:40000".into());
    let id = vm.decide(traced, Some("u-7"));
    vm.complete(&id);
    vm.allow();
    for (agent, host) in [("support/summarizer", "a.example"), (SMUGGLED, "b.example"), (SMUGGLED, "b.example")] {
        let mut refused = vm.record(Outcome::Deny);
        refused.agent = Some(agent.into());
        refused.destination.host = Some(host.into());
        refused.destination.id = None;
        vm.decide(refused, None);
    }
    vm.deliver(collector.address, 100);
    assert!(collector.terminate());
    dir
}

#[test]
fn filters_mean_the_same_everywhere() {
    let dir = stored();
    for (filter, expected) in [
        (&[][..], 6),
        (&["--user", "u-7"], 1),
        (&["--user", "u-1042"], 2),
        (&["--user", "u-1042", "--limit", "1"], 1),
        (&["--user", "nobody"], 0),
        (&["--tenant", "globex"], 1),
        (&["--destination", "crm"], 3),
        (&["--from", "2025-11-20T00:54:00Z"], 5),
        (&["--to", "2025-11-20T00:54:00Z"], 1),
        (&["--from", "2025-11-20", "--to", "2025-11-21", "--outcome", "deny"], 3),
    ] {
        assert_eq!(lines(dir.path(), &[&["list", "--json"], filter].concat()).len(), expected, "{filter:?}");
        if !filter.contains(&"--limit") {
            assert_eq!(lines(dir.path(), &[&["export"], filter].concat()).len(), expected, "{filter:?}");
        }
    }
}

#[test]
fn top_counts_by_what_is_asked() {
    let dir = stored();
    let dir = dir.path();
    let top = |arguments: &[&str]| -> Vec<(String, u64, u64, u64)> {
        let rows = lines(dir, &[&["top", "--json"], arguments].concat());
        let number = |value: &Value| value.as_u64().unwrap();
        let of = |row: &Value| {
            let value = row["value"].as_str().unwrap().to_owned();
            (value, number(&row["denied"]), number(&row["allowed"]), number(&row["bytes"]))
        };
        rows.iter().map(of).collect()
    };
    let row = |value: &str, denied, allowed, bytes| (value.to_owned(), denied, allowed, bytes);
    assert_eq!(top(&[]), [row(SMUGGLED, 2, 0, 0), row("support/summarizer", 1, 3, 200)]);
    assert_eq!(top(&["--by", "tenant"]), [row("acme", 3, 2, 100), row("globex", 0, 1, 100)]);
    assert_eq!(top(&["--by", "host", "--outcome", "deny"]), [row("b.example", 2, 0, 0), row("a.example", 1, 0, 0)]);
    assert_eq!(top(&["--by", "user", "--limit", "1", "--outcome", "allow"]), [row("u-1042", 0, 2, 100)]);
    assert_eq!(top(&["--by", "destination"]), [row("-", 3, 0, 0), row("crm", 0, 3, 200)]);
    assert_eq!(top(&["--by", "reason"])[0], row("path-denied", 3, 0, 0));
    let table = out(dir, &["top"]);
    assert!(table.lines().nth(1).unwrap().contains(r"support/`|\u{202e}\u{000a}# x"), "{table}");

    // Who owns what stands in the policy.
    let policy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/support-summarizer/policy");
    let owner = top(&["--by", "owner", "--policy", policy.to_str().unwrap()]);
    assert_eq!((owner[0].0.as_str(), owner[1].2), ("-", 3), "{owner:?}");
    assert!(owner[1].0.contains('@'), "{owner:?}");
    let refused = audit(dir, &["top", "--by", "owner"]);
    assert!(String::from_utf8(refused.stderr).unwrap().contains("--policy"));
}

#[test]
fn a_report_tells_what_left_and_whether_that_is_all() {
    let dir = stored();
    let (dir, key) = (dir.path(), key_option());
    let report = out(dir, &["report", "--key", &key]);
    for part in [
        "3 requests left, with 200 bytes of body; 1 of them have no record of their end. 3 were refused.",
        "| `api.crm.acme.example` | 3 | 200 | `support/summarizer` | `10.20.0.7:443` |",
        "- on behalf of: `u-7`",
        "- handed on by: `support/planner`",
        "- vouched for by: `signer-eu`, key `signer-eu-1`",
        "- policy: `r7` `sha256:07`",
        "- end: **not recorded**",
        "| `path-denied` | `b.example` | 2 |",
        "the evidence is whole",
        "`egress-eu-1`",
    ] {
        assert!(report.contains(part), "{part:?} is not in\n{report}");
    }
    let asked = out(dir, &["report", "--key", &key, "--agent", SMUGGLED]);
    assert!(asked.contains("Decisions with agent `support/\\u{0060}\\u{007c}\\u{202e}\\u{000a}# x`."), "{asked}");
    assert!(asked.contains("## What left\n\nNothing.\n"), "{asked}");
    assert!(asked.lines().filter(|line| line.starts_with('#')).all(|line| !line.contains("# x")), "{asked}");

    // What cannot be vouched for is said, and what is stored is told all the same.
    sql(dir, "DELETE FROM openings WHERE position = 3");
    let report = out(dir, &["report", "--key", &key]);
    assert!(report.contains("the evidence is whole") && report.contains("- on behalf of: (sealed)"), "{report}");
    sql(dir, "UPDATE leaves SET line = CAST(replace(CAST(line AS TEXT), 'path-denied', 'rule-denied') AS BLOB)");
    let report = out(dir, &["report", "--key", &key]);
    assert!(report.contains("**No.** `exeat audit verify` finds 1;") && report.contains("a leaf was"), "{report}");
}

#[test]
fn exports_have_the_form_that_others_read() {
    let dir = stored();
    let dir = dir.path();
    let ocsf = lines(dir, &["export", "--format", "ocsf", "--persons"]);
    assert_eq!(ocsf.len(), 6);
    for event in &ocsf {
        assert_eq!((&event["class_uid"], &event["category_uid"]), (&4002.into(), &4.into()));
        assert_eq!(event["type_uid"].as_u64().unwrap(), 400_200 + event["activity_id"].as_u64().unwrap());
        assert_eq!(event["metadata"]["version"], "1.3.0");
        let denied = event["unmapped"]["decision"]["outcome"] == "deny";
        assert_eq!(event["disposition_id"], if denied { 2 } else { 1 });
        assert_eq!(event["traffic"].is_object(), !event["unmapped"]["completion"].is_null());
    }
    let event = &ocsf[1];
    assert_eq!((&event["activity_id"], &event["status_code"]), (&6.into(), &"200".into()));
    assert_eq!((&event["dst_endpoint"]["ip"], &event["dst_endpoint"]["port"]), (&"10.20.0.7".into(), &443.into()));
    assert_eq!((&event["src_endpoint"]["ip"], &event["actor"]["user"]["uid"]), (&"10.0.0.9".into(), &"u-7".into()));
    assert_eq!((&event["traffic"]["bytes_out"], &event["policy"]["version"]), (&100.into(), &"r7".into()));

    let otlp = lines(dir, &["export", "--format", "otlp"]);
    assert_eq!(otlp.len(), 1);
    let scope = &otlp[0]["resourceLogs"][0]["scopeLogs"][0];
    let records = scope["logRecords"].as_array().unwrap();
    assert_eq!((records.len(), &scope["scope"]["name"]), (6, &"exeat".into()));
    let attribute = |record: &Value, key: &str| -> Value {
        let all = record["attributes"].as_array().unwrap();
        let found: Vec<&Value> = all.iter().filter(|attribute| attribute["key"] == key).collect();
        assert!(found.len() <= 1, "{key} occurs twice");
        found.first().map(|attribute| attribute["value"].clone()).unwrap_or_default()
    };
    let record = &records[1];
    assert_eq!(record["timeUnixNano"].as_str().unwrap().len(), "1763600000000000000".len());
    assert_eq!(record["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(attribute(record, "server.port"), serde_json::json!({"intValue": "443"}));
    assert_eq!(attribute(record, "http.response.status_code"), serde_json::json!({"intValue": "200"}));
    assert_eq!(
        attribute(record, "exeat.delegated_by"),
        serde_json::json!({"arrayValue": {"values": [{"stringValue": "support/planner"}]}})
    );
    // Persons only where asked for.
    for format in ["jsonl", "ocsf", "otlp"] {
        assert!(!out(dir, &["export", "--format", format]).contains("u-1042"), "{format}");
        assert!(out(dir, &["export", "--format", format, "--persons"]).contains("u-1042"), "{format}");
    }
}
