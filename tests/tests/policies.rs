//! The policies that ship: their test files come out as they say, and alike before the engine, on the harness and on the
//! real Envoy.

#![cfg(test)]

use exeat_e2e::scenario::gateway::exeat;
use exeat_e2e::scenario::shipped::{Outcome, Shipped, decided};
use exeat_e2e::workspace;
use serde_json::Value;

/// Everything about a case that differs between two places.
fn differences(policy: &str, place: &str, engine: &[Outcome], other: &[Outcome]) -> Vec<String> {
    let mut differences = Vec::new();
    for (name, there) in other {
        let here = engine.iter().find(|(known, _)| known == name).map(|(_, outcome)| outcome).unwrap();
        match (here, there) {
            (Ok(here), Ok(there)) => {
                let (here, there) = (decided(here.clone()), decided(there.clone()));
                if here != there {
                    differences.push(format!("{policy}: {name}:\n  engine {here:?}\n  {place} {there:?}"));
                }
            }
            (Err(error), _) => differences.push(format!("{policy}: {name}: engine: {error:#}")),
            (_, Err(error)) => differences.push(format!("{policy}: {name}: {place}: {error:#}")),
        }
    }
    differences
}

#[test]
fn come_out_as_they_say() {
    let all = Shipped::all().unwrap();
    assert!(!all.is_empty());
    for shipped in all {
        let folder = workspace().join("policies").join(&shipped.name).join("policy");
        let report = exeat(&["policy", "test", "--json"], |command| _ = command.arg(&folder)).unwrap();
        let report: Value = serde_json::from_str(&report).unwrap();
        assert_eq!(report["cases"].as_array().unwrap().len(), shipped.cases.len(), "{}", shipped.name);
        let not_shown = report["rules_not_shown"].as_array().unwrap();
        // Of two thousand rules that were made, the cases show what teams have to do with each other.
        let made = shipped.name == "forty-teams";
        assert!(made || not_shown.is_empty(), "{}: no case shows these rules to hold: {not_shown:?}", shipped.name);
    }
}

#[test]
fn come_out_alike_on_the_harness() {
    let mut failures = Vec::new();
    for shipped in Shipped::all().unwrap() {
        let engine = shipped.on_the_engine().unwrap();
        let harness = shipped.on_the_harness(&engine).unwrap();
        assert_eq!(harness.len(), engine.len());
        failures.extend(differences(&shipped.name, "harness", &engine, &harness));
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn come_out_alike_on_the_real_envoy() {
    let mut failures = Vec::new();
    for shipped in Shipped::all().unwrap() {
        let engine = shipped.on_the_engine().unwrap();
        let envoy = shipped.on_envoy(1).unwrap();
        let passed_over = shipped.cases.iter().filter(|case| !Shipped::plays_anywhere(case)).count();
        assert_eq!(envoy.len() + passed_over, engine.len());
        assert!(envoy.len() >= 10, "{}: only {} cases are played", shipped.name, envoy.len());
        failures.extend(differences(&shipped.name, "Envoy", &engine, &envoy));
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}
