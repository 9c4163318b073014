//! What must come of a request, what came of it, and how the two differ.

use super::document::{CaseDocument, UpstreamDocument};
use exeat_engine::evidence::record::Outcome;
use exeat_engine::policy::{Document, PolicyError};
use serde_json::Value;

/// What must come of a request.
#[derive(Clone, Debug)]
pub struct Expectation {
    outcome: Outcome,
    reason: &'static str,
    /// The rule as the case writes it: as recorded, or its id alone.
    rule: Option<String>,
    condition: Option<String>,
    status: Option<u16>,
    upstream: Option<UpstreamDocument>,
}

/// What came of a request, wherever it was sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// `allow`, `deny` or `would-deny`.
    pub outcome: String,
    /// Reason.
    pub reason: String,
    /// Rule that allowed, refused or came closest.
    pub rule: Option<String>,
    /// First condition that failed.
    pub condition: Option<String>,
    /// Id of the destination.
    pub destination: Option<String>,
    /// Host as it was read.
    pub host: Option<String>,
    /// Port, where it was read.
    pub port: Option<u16>,
    /// Status of a refusal.
    pub status: Option<u16>,
    /// What goes on, where something does.
    pub upstream: Option<Upstream>,
}

/// A request as it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Authority.
    pub authority: String,
    /// Path and query.
    pub path: String,
    /// Fields in order, names in lower case.
    pub fields: Vec<(String, String)>,
    /// Bytes of the body.
    pub body_bytes: u64,
    /// The body, where it was seen and is JSON.
    pub json: Option<Value>,
}

impl Expectation {
    pub(super) fn of(case: &CaseDocument, place: &str) -> Result<Self, PolicyError> {
        let wrong = |problem: &str, remedy: &str| PolicyError {
            document: Document::Tests,
            place: place.to_owned(),
            problem: problem.to_owned(),
            why: String::new(),
            remedy: remedy.to_owned(),
        };
        let (outcome, reason, rule) = match (&case.allow, case.deny, case.would_deny) {
            (Some(rule), None, None) => {
                if case.rule.is_some() || case.condition.is_some() || case.status.is_some() {
                    return Err(wrong("allow names the rule already", "remove rule, condition and status"));
                }
                (Outcome::Allow, "permitted", Some(rule.clone()))
            }
            (None, Some(reason), None) => (Outcome::Deny, reason.code(), case.rule.clone()),
            (None, None, Some(reason)) => (Outcome::WouldDeny, reason.code(), case.rule.clone()),
            _ => {
                return Err(wrong(
                    "a case expects one thing",
                    "write one of allow (with the rule), deny (with the reason) and would_deny (with the reason)",
                ));
            }
        };
        if outcome == Outcome::Deny && case.upstream.is_some() {
            return Err(wrong("what is refused does not go on", "remove upstream"));
        }
        Ok(Self {
            outcome,
            reason,
            rule,
            condition: case.condition.clone(),
            status: case.status,
            upstream: case.upstream.clone(),
        })
    }

    /// Everything that is not as expected. Text that an agent chose is escaped.
    pub fn differences(&self, got: &Observed) -> Vec<String> {
        let mut differences = Vec::new();
        let outcome = outcome_word(self.outcome);
        if outcome != got.outcome || self.reason != got.reason {
            differences.push(format!("expected {outcome} {}, got {}", self.reason, got.line()));
            return differences;
        }
        let mut differ = |what: &str, expected: &str, got: Option<&str>| {
            let got = got.map_or_else(|| "none".to_owned(), |got| got.escape_debug().to_string());
            differences.push(format!("{what}: expected {}, got {got}", expected.escape_debug()));
        };
        if let Some(rule) = &self.rule {
            let id = got.rule.as_deref().and_then(|full| full.rsplit_once('/')).map(|(_, id)| id);
            if got.rule.as_ref() != Some(rule) && id != Some(rule) {
                differ("rule", rule, got.rule.as_deref());
            }
        }
        if let Some(condition) =
            self.condition.as_deref().filter(|condition| got.condition.as_deref() != Some(condition))
        {
            differ("condition", condition, got.condition.as_deref());
        }
        if let Some(status) = self.status.filter(|status| got.status != Some(*status)) {
            differ("status", &status.to_string(), got.status.map(|status| status.to_string()).as_deref());
        }
        if let Some(upstream) = &self.upstream {
            let Some(went) = &got.upstream else {
                differ("upstream", "a request", None);
                return differences;
            };
            for (what, expected, got) in
                [("authority", &upstream.authority, &went.authority), ("path", &upstream.path, &went.path)]
            {
                if let Some(expected) = expected.as_ref().filter(|expected| *expected != got) {
                    differ(what, expected, Some(got));
                }
            }
            if let Some(expected) = &upstream.json {
                let expected = serde_json::to_value(expected).unwrap_or_default();
                if went.json.as_ref() != Some(&expected) {
                    differ("body", &expected.to_string(), went.json.as_ref().map(Value::to_string).as_deref());
                }
            }
            for (name, expected) in upstream.has.iter() {
                let values = went.values(name);
                if values.as_deref() != Some(expected.as_str()) {
                    differ(&format!("header {name}"), expected, values.as_deref());
                }
            }
            for name in &upstream.lacks {
                if let Some(values) = went.values(name) {
                    differ(&format!("header {name}"), "none", Some(&values));
                }
            }
        }
        differences
    }
}

/// The word of an outcome in records and test files.
pub(super) const fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Allow => "allow",
        Outcome::Deny => "deny",
        Outcome::WouldDeny => "would-deny",
    }
}

impl Observed {
    /// In one line: outcome, reason, rule, condition.
    pub fn line(&self) -> String {
        let mut line = match self.outcome.as_str() {
            "allow" => "allow".to_owned(),
            outcome => format!("{outcome} {}", self.reason),
        };
        if let Some(rule) = &self.rule {
            let joint = if self.outcome == "allow" { "by" } else { "of" };
            line.push_str(&format!(" {joint} {rule}"));
        }
        if let Some(condition) = &self.condition {
            line.push_str(&format!(" ({})", condition.escape_debug()));
        }
        line
    }
}

impl Upstream {
    /// All values of a field, joined by commas; `None` where it is absent.
    fn values(&self, name: &str) -> Option<String> {
        let values: Vec<_> = self.fields.iter().filter(|(known, _)| known == name).map(|(_, v)| v.as_str()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }
}
