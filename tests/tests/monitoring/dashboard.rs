//! docs/monitoring/exeat.dashboard.json, as Grafana imports it.

use crate::expression::metrics;
use crate::prometheus::text;
use crate::scene::Scene;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn dashboard() -> Value {
    serde_json::from_str(&text("exeat.dashboard.json")).unwrap()
}

fn panels(dashboard: &Value) -> Vec<Value> {
    let all = dashboard["panels"].as_array().unwrap().clone();
    all.into_iter().filter(|panel| panel["type"] != "row").collect()
}

/// The expressions of a panel, with what Grafana writes in place of variables.
fn expressions(panel: &Value) -> Vec<String> {
    let variables = [("$__rate_interval", "1m"), ("$__range", "6h"), ("$gateway", ".*"), ("$collector", ".*")];
    let targets = panel["targets"].as_array().unwrap().iter();
    let of = |target: &Value| {
        let text = target["expr"].as_str().unwrap().to_owned();
        variables.iter().fold(text, |text, (name, value)| text.replace(name, value))
    };
    targets.map(of).collect()
}

#[test]
fn it_has_the_shape_that_grafana_needs() {
    let dashboard = dashboard();
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 36);
    assert_eq!((&dashboard["uid"], &dashboard["title"]), (&json!("exeat"), &json!("Exeat")));
    // An imported dashboard gets an id of its own.
    assert!(dashboard.get("id").is_none());
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let kinds: Vec<_> = variables.iter().map(|v| (v["name"].as_str().unwrap(), v["type"].as_str().unwrap())).collect();
    assert_eq!(kinds, [("datasource", "datasource"), ("gateway", "query"), ("collector", "query")]);
    assert_eq!(variables[0]["query"], "prometheus");
    let source = json!({"type": "prometheus", "uid": "${datasource}"});
    let all = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = all.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), all.len());
    let place = |panel: &Value| ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
    for (at, panel) in all.iter().enumerate() {
        let [x, y, width, height] = place(panel);
        assert!(x + width <= 24 && width > 0 && height > 0, "{}", panel["title"]);
        for other in &all[at + 1..] {
            let [ox, oy, owidth, oheight] = place(other);
            let apart = x + width <= ox || ox + owidth <= x || y + height <= oy || oy + oheight <= y;
            assert!(apart, "{} lies over {}", panel["title"], other["title"]);
        }
    }
    let panels = panels(&dashboard);
    assert!(panels.len() > 20);
    for panel in &panels {
        assert!(["timeseries", "stat"].contains(&panel["type"].as_str().unwrap()));
        assert_eq!(panel["datasource"], source, "{}", panel["title"]);
        let targets = panel["targets"].as_array().unwrap();
        let letters: BTreeSet<_> = targets.iter().map(|target| target["refId"].as_str().unwrap()).collect();
        assert!(!targets.is_empty() && letters.len() == targets.len());
        assert!(targets.iter().all(|target| target["datasource"] == source));
        assert!(expressions(panel).iter().all(|expression| !expression.contains('$')), "{}", panel["title"]);
    }
}

#[test]
fn every_panel_shows_something() {
    let scene = Scene::start();
    let expressions: Vec<String> = panels(&dashboard()).iter().flat_map(expressions).collect();
    let named = expressions.iter().flat_map(|expression| metrics(expression)).collect();
    scene.wait_for_all("every metric of the dashboard", &named);
    for expression in expressions {
        // Rates take two readings.
        scene.prometheus.wait_until(&expression, || (!scene.prometheus.query(&expression).is_empty()).then_some(()));
    }
}
