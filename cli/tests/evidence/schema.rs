//! docs/schema/record.json: every record of the samples fits it, and what is wrong does not.

use serde_json::{Value, json};

fn schema() -> Value {
    serde_json::from_str(include_str!("../../../docs/schema/record.json")).unwrap()
}

/// The records of the batches that a collector accepts.
fn records() -> Vec<Value> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/evidence");
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let sample: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        if sample["verdict"] == "accepted" {
            let records = sample["batch"].as_str().unwrap().split("\n\n").next().unwrap();
            lines
                .extend(records.lines().filter(|line| line.starts_with('{')).map(|l| serde_json::from_str(l).unwrap()));
        }
    }
    lines
}

#[test]
fn the_records_of_the_samples_fit() {
    let validator = jsonschema::draft202012::new(&schema()).unwrap();
    let records = records();
    for record in &records {
        validator.validate(record).unwrap_or_else(|error| panic!("{record}: {error}"));
    }
    for kind in ["genesis", "config", "decision", "completion", "closed"] {
        assert!(records.iter().any(|record| record["kind"] == kind), "{kind}");
    }
}

#[test]
fn what_is_wrong_does_not_fit() {
    let schema = schema();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    for record in records() {
        let kind = record["kind"].as_str().unwrap();
        let mut wrong: Vec<Value> = Vec::new();
        for name in schema["$defs"][kind]["required"].as_array().unwrap() {
            let mut without = record.clone();
            without.as_object_mut().unwrap().remove(name.as_str().unwrap()).unwrap();
            wrong.push(without);
        }
        let mut more = record.clone();
        more["secret"] = json!("x");
        wrong.push(more);
        for (member, value) in [("time", json!("now")), ("kind", json!("decisions")), ("reason", json!("because"))] {
            let mut other = record.clone();
            let text = kind == "closed" && member == "reason";
            if !(other[member].is_null() || text) {
                other[member] = value;
                wrong.push(other);
            }
        }
        if kind == "decision" {
            let mut plain = record.clone();
            plain["user"] = json!("u-1042");
            wrong.push(plain);
        }
        for wrong in wrong {
            assert!(!validator.is_valid(&wrong), "{wrong}");
        }
    }
}
