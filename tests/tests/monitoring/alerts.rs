//! docs/monitoring/exeat.rules.yaml.

use crate::expression::metrics;
use crate::prometheus::{promtool, text};
use crate::scene::Scene;
use exeat_e2e::stage::process::GRACE;
use exeat_e2e::workspace;
use serde_json::Value;
use std::collections::BTreeSet;

const RUNBOOKS: &str = "https://github.com/exeat/exeat/blob/main/docs/operations.md#";

fn alerts() -> Vec<Value> {
    let document: Value = serde_saphyr::from_str(&text("exeat.rules.yaml")).unwrap();
    let groups = document["groups"].as_array().unwrap().clone();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn name(alert: &Value) -> &str {
    alert["alert"].as_str().unwrap()
}

/// Headings of docs/operations.md, as links to them are written.
fn anchors() -> BTreeSet<String> {
    let page = std::fs::read_to_string(workspace().join("docs/operations.md")).unwrap();
    let headings =
        page.lines().filter_map(|line| line.strip_prefix('#')).map(|line| line.trim_start_matches('#').trim());
    let anchor = |heading: &str| {
        let lower = heading.to_lowercase();
        let kept = lower.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>()
    };
    headings.map(anchor).collect()
}

#[test]
fn prometheus_takes_the_rules_and_each_fires_when_it_should() {
    for arguments in [["check", "rules"], ["test", "rules"]] {
        let file = if arguments[0] == "test" { "exeat.rules.test.yaml" } else { "exeat.rules.yaml" };
        let (content, said) = promtool(&arguments, file);
        assert!(content, "{said}");
    }
    // None of them was forgotten there.
    let tried = text("exeat.rules.test.yaml");
    let alerts = alerts();
    assert!(alerts.len() > 15);
    for alert in &alerts {
        let fires = format!("{{alertname=\"{}\"", name(alert));
        assert!(tried.contains(&fires), "{}: exeat.rules.test.yaml has no moment at which it fires", name(alert));
    }
}

#[test]
fn each_alert_leads_to_a_runbook() {
    let anchors = anchors();
    for alert in alerts() {
        let at = alert["annotations"]["runbook_url"].as_str().unwrap().strip_prefix(RUNBOOKS);
        let at = at.unwrap_or_else(|| panic!("{}: its runbook is not in docs/operations.md", name(&alert)));
        assert!(anchors.contains(at), "{}: docs/operations.md has no heading {at:?}: {anchors:?}", name(&alert));
        for key in ["summary", "description"] {
            assert!(!alert["annotations"][key].as_str().unwrap().is_empty());
        }
        assert!(["page", "ticket"].contains(&alert["labels"]["severity"].as_str().unwrap()), "{}", name(&alert));
    }
}

#[test]
fn alerts_speak_of_what_is_really_exported() {
    let scene = Scene::start();
    let named: BTreeSet<String> = alerts().iter().flat_map(|alert| metrics(alert["expr"].as_str().unwrap())).collect();
    assert!(named.len() > 15, "{named:?}");
    scene.wait_for_all("every metric of the alerts", &named);
    // Nothing is wrong with a gateway that has just begun, and Prometheus can evaluate all of it.
    let states = scene.prometheus.alerts();
    assert_eq!(states.len(), alerts().len());
    for (name, state, health) in states {
        assert_eq!((state.as_str(), health.as_str()), ("inactive", "ok"), "{name}");
    }
    // Until something is: the collector goes away.
    scene.real.collector().stop(GRACE).unwrap();
    scene.prometheus.wait_until("the alert", || {
        let states = scene.prometheus.alerts();
        states.iter().any(|(name, state, _)| name == "ExeatCollectorDown" && state == "pending").then_some(())
    });
}
