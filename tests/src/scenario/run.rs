//! Plays the steps of a scenario and says what differed from what must come of them.

use super::document::{DecisionExpectation, Expectation, Scenario, ScenarioStep, UpstreamExpectation, UpstreamRequest};
use super::subject::{Arrived, Reply, Subject};
use super::wire::{self, WireRequest};
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::HashMap;

/// What came of a step.
#[derive(Clone, Debug)]
pub struct StepReport {
    /// The step.
    pub name: String,
    /// Outcome in the record.
    pub outcome: String,
    /// Reason in the record.
    pub reason: String,
    /// Status of the answer.
    pub status: u16,
    /// What arrived upstream, for people.
    pub upstream: String,
    /// Everything that is not as it should be.
    pub differences: Vec<String>,
}

/// Plays all steps; `done` hears of each.
pub fn run(scenario: &Scenario, subject: &mut dyn Subject, mut done: impl FnMut(&StepReport)) -> Result<()> {
    let mut sent: HashMap<&str, WireRequest> = HashMap::new();
    for step in &scenario.steps {
        if matches!(step.expect, Expectation::Gateway(_)) && !subject.is_whole() {
            continue;
        }
        let request = match &step.again {
            Some(name) => sent.get(name.as_str()).cloned().with_context(|| format!("no step {name:?} before"))?,
            None => wire::build(step, subject.gateway(), subject.now())?,
        };
        let report = play(step, &request, subject).unwrap_or_else(|error| broken(step, &error));
        sent.insert(&step.name, request);
        done(&report);
    }
    Ok(())
}

fn play(step: &ScenarioStep, request: &WireRequest, subject: &mut dyn Subject) -> Result<StepReport> {
    let reply = subject.send(request)?;
    let arrived = subject.arrived()?;
    match &step.expect {
        Expectation::Gateway(status) => Ok(refused_by_gateway(step, *status, &reply, &arrived)),
        Expectation::Decision(expect) => decided(step, expect, &reply, &arrived, subject),
    }
}

/// A step that could not be played to its end.
fn broken(step: &ScenarioStep, error: &anyhow::Error) -> StepReport {
    StepReport {
        name: step.name.clone(),
        outcome: "none".to_owned(),
        reason: "none".to_owned(),
        status: 0,
        upstream: "unknown".to_owned(),
        differences: vec![format!("{error:#}")],
    }
}

/// Envoy's own answer: with the status expected, no decision, and nothing at the upstream.
fn refused_by_gateway(step: &ScenarioStep, status: u16, reply: &Reply, arrived: &[Arrived]) -> StepReport {
    let mut differences = Differences::default();
    differences.check("status", status, reply.status);
    differences.check("decision", "none", reply.header("exeat-decision").unwrap_or("none"));
    compare_upstream(&UpstreamExpectation::default(), arrived, &mut differences);
    StepReport {
        name: step.name.clone(),
        outcome: "deny".to_owned(),
        reason: "refused by Envoy itself".to_owned(),
        status: reply.status,
        upstream: describe(arrived),
        differences: differences.0,
    }
}

fn decided(
    step: &ScenarioStep,
    expect: &DecisionExpectation,
    reply: &Reply,
    arrived: &[Arrived],
    subject: &mut dyn Subject,
) -> Result<StepReport> {
    let id = reply.header("exeat-decision").context("the answer names no decision")?.to_owned();
    let records = subject.records(&id)?;
    let record = records.iter().find(|r| r["kind"] == "decision" && r["id"] == id.as_str());
    let record = record.with_context(|| format!("no record of decision {id}"))?;
    let completions = records.iter().filter(|r| r["kind"] == "completion" && r["decision"] == id.as_str()).count();
    let mut differences = Differences::default();
    compare(expect, reply, record, completions, &mut differences);
    compare_upstream(&expect.upstream, arrived, &mut differences);
    differences.0.extend(records.iter().filter_map(|record| super::schema::objection(record).err()));
    Ok(StepReport {
        name: step.name.clone(),
        outcome: member(record, "outcome").to_owned(),
        reason: member(record, "reason").to_owned(),
        status: reply.status,
        upstream: describe(arrived),
        differences: differences.0,
    })
}

#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn check(&mut self, what: &str, expected: impl std::fmt::Display, got: impl std::fmt::Display) {
        let (expected, got) = (expected.to_string(), got.to_string());
        if expected != got {
            self.0.push(format!("{what}: expected {expected}, got {got}"));
        }
    }
}

fn compare(
    expect: &DecisionExpectation,
    reply: &Reply,
    record: &Value,
    completions: usize,
    differences: &mut Differences,
) {
    differences.check("status", expect.status, reply.status);
    differences.check("outcome", &expect.outcome, member(record, "outcome"));
    differences.check("reason", &expect.reason, member(record, "reason"));
    let goes_on = expect.outcome != "deny";
    differences.check("completions", usize::from(goes_on), completions);
    if !goes_on {
        let problem = reply.json();
        differences.check("reason told", &expect.reason, member(&problem, "reason"));
        differences.check("content-type", "application/problem+json", reply.header("content-type").unwrap_or_default());
        for name in ["type", "title", "status", "detail", "decision", "retry"] {
            if problem.get(name).is_none() {
                differences.0.push(format!("the answer has no member {name}"));
            }
        }
        if let Some(retry) = &expect.retry {
            differences.check("retry", retry, member(&problem, "retry"));
        }
    }
    if let Some(expected) = &expect.record {
        subset("record", expected, record, differences);
    }
}

fn member<'a>(object: &'a Value, name: &str) -> &'a str {
    object.get(name).and_then(Value::as_str).unwrap_or("nothing")
}

/// Every member that is expected is there, with the value expected.
fn subset(place: &str, expected: &Value, got: &Value, differences: &mut Differences) {
    match expected {
        Value::Object(members) => members.iter().for_each(|(name, value)| {
            subset(&format!("{place}.{name}"), value, got.get(name).unwrap_or(&Value::Null), differences);
        }),
        Value::Array(items) => {
            let others = got.as_array().map(Vec::as_slice).unwrap_or_default();
            if items.len() != others.len() {
                return differences.check(place, expected, got);
            }
            for (at, (expected, got)) in items.iter().zip(others).enumerate() {
                subset(&format!("{place}.{at}"), expected, got, differences);
            }
        }
        _ => differences.check(place, expected, got),
    }
}

fn compare_upstream(expect: &UpstreamExpectation, arrived: &[Arrived], differences: &mut Differences) {
    let expected = match expect {
        UpstreamExpectation::Word(_) => {
            if !arrived.is_empty() {
                differences.0.push(format!("upstream: expected nothing, got {}", describe(arrived)));
            }
            return;
        }
        UpstreamExpectation::Request(expected) => expected,
    };
    match arrived {
        [request] => compare_request(expected, request, differences),
        _ => differences.0.push(format!("upstream: expected one request, got {}", describe(arrived))),
    }
}

fn compare_request(expected: &UpstreamRequest, got: &Arrived, differences: &mut Differences) {
    let pairs = [
        ("upstream method", &expected.method, &got.method),
        ("upstream path", &expected.path, &got.path),
        ("upstream authority", &expected.authority, &got.authority),
    ];
    for (what, expected, got) in pairs {
        if let Some(expected) = expected {
            differences.check(what, expected, got);
        }
    }
    if let Some(bytes) = expected.body_bytes {
        differences.check("upstream body", bytes, got.body_bytes);
    }
    if let Some(body) = &expected.body {
        differences.check("upstream body", body, any_tokens(&String::from_utf8_lossy(&got.body)));
    }
    for (name, value) in &expected.has {
        let values: Vec<_> = got.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect();
        differences.check(&format!("upstream header {name}"), value, values.join(", "));
    }
    for name in &expected.lacks {
        if got.headers.iter().any(|(n, _)| n == name) {
            differences.0.push(format!("upstream: header {name} must not arrive"));
        }
    }
}

/// The text with `tok_*` for each token, whose values differ from run to run.
fn any_tokens(text: &str) -> String {
    const LENGTH: usize = 22;
    let mut parts = text.split("tok_");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let plain = |token: &str| token.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        match part.split_at_checked(LENGTH).filter(|(token, rest)| plain(token) && rest.starts_with('"')) {
            Some((_, rest)) => out.extend(["tok_*", rest]),
            None => out.extend(["tok_", part]),
        }
    }
    out
}

fn describe(arrived: &[Arrived]) -> String {
    if arrived.is_empty() {
        return "nothing".to_owned();
    }
    let one = |request: &Arrived| {
        let body = if request.body_bytes > 0 { format!(", {} bytes", request.body_bytes) } else { String::new() };
        format!("{} {}{body}", request.method, request.path)
    };
    arrived.iter().map(one).collect::<Vec<_>>().join("; ")
}
