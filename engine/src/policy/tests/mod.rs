//! Tests of the policy, with the documents that they share.

mod budgets;
mod credentials;
mod documents;
mod environments;
mod exceptions;
mod generate;
mod independence;
mod lean;
mod modes;
mod naive;
mod outlets;
mod parameters;
mod properties;
mod refusals;
mod requests;
mod signers;
mod sizes;
mod tokens;

use super::{Candidates, Configuration, HeadVerdict, Payload, Refusal, Subject, Verdict};
use crate::context::AgentContext;
use crate::destination::{CanonicalDestination, PathOpenings, Scheme};
use crate::evidence::record::Binding;
use crate::facts::Timestamp;
use crate::payload::Content;
use crate::request::Field;
use serde_json::{Value, json};

/// 2026-11-20, noon.
pub(super) const NOW: Timestamp = Timestamp(1_795_176_000_000);

/// A test key (RFC 8032 section 7.1, test 1).
pub(super) const TEST_KEY: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

pub(super) fn gateway() -> Value {
    json!({
        "id": "egress-test",
        "key": {"env": "EXEAT_GATEWAY_KEY"},
        "collector": {"cluster": "exeat-collector"},
    })
}

/// The policy of DESIGN section 4, less what is not built.
pub(super) fn policy() -> Value {
    json!({
        "schema": "exeat/v1",
        "revision": "r1",
        "signers": [{
            "id": "signer-eu",
            "keys": [{"id": "signer-eu-1", "public": TEST_KEY, "not_after": "2027-06-30"}],
            "agents": ["support/*", "ops"], "tenants": ["acme", "globex"], "users": ["u-*"],
            "tools": ["crm.*"], "provenance": ["user", "system", "internal", "third-party"],
        }],
        "defaults": {"provenance": {"third-party": {"body": "0B", "url": "256B"}, "unknown": {"body": "0B", "url": "0B"}}},
        "ceilings": {"deny": [{"id": "relays", "to": {"category": "paste"}}], "limits": {"body": "10MiB"}},
        "tenants": {
            "acme": {"destinations": {"category": ["crm", "model", "paste"]}},
            "globex": {"destinations": ["status"]},
        },
        "destinations": {
            "crm": {"hosts": ["*.crm.acme.example"], "kind": "internal", "category": "crm", "accepts": "confidential",
                    "tenants": ["acme"], "teams": ["support"]},
            "openai": {"hosts": "api.openai.com", "kind": "model", "category": "model", "accepts": "internal",
                       "credentials": {"keep": ["authorization"]}},
            "paste": {"hosts": ["paste.example"], "category": "paste", "accepts": "restricted"},
            "status": {"hosts": ["status.example"], "ports": [443, 8443], "category": "status", "accepts": "restricted"},
        },
        "profiles": {
            "chat": {"allow": [{"id": "chat", "to": ["openai"], "methods": ["POST"], "paths": ["/v1/responses"]}]},
        },
        "agents": {
            "support/summarizer": {
                "team": "support",
                "use": ["chat"],
                "allow": [
                    {"id": "read-orders", "to": ["crm"], "methods": ["GET", "POST"],
                     "paths": ["/v1/orders/*", "/v1/search"],
                     "when": {"roles": ["support"], "session_type": ["interactive"], "tool": ["crm.lookup"]},
                     "limits": {"body": "64KiB", "url": "512B", "provenance": {"third-party": {"body": "1KiB", "url": "128B"}}},
                     "headers": {"keep": ["x-api-version"], "set": {"x-agent": "$agent"}}},
                    {"id": "pastes", "to": ["paste"], "paths": ["/**"]},
                ],
                "deny": [{"id": "no-exports", "to": ["crm"], "paths": ["/v1/orders/export"]}],
            },
            "support/planner": {"team": "support", "allow": [{"id": "plan", "to": ["crm"], "paths": ["/v1/plans"]}]},
            "ops": {"allow": [{"id": "status", "to": ["status"], "paths": ["/**"]}]},
        },
    })
}

pub(super) fn document(policy: &Value) -> Vec<u8> {
    serde_json::to_vec(&json!({"role": "filter", "gateway": gateway(), "policy": policy})).unwrap()
}

pub(super) fn accept(policy: &Value) -> Configuration {
    Configuration::accept(&document(policy)).unwrap_or_else(|error| panic!("{error}"))
}

/// The policy with one value replaced or added; `null` removes it.
pub(super) fn edited(mut policy: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let key = key.replace("~1", "/").replace("~0", "~");
    match (policy.pointer_mut(parent).unwrap_or_else(|| panic!("{parent} is not there")), value) {
        (Value::Object(map), Value::Null) => _ = map.remove(&key).unwrap(),
        (Value::Object(map), value) => _ = map.insert(key, value),
        (Value::Array(list), value) if key == "-" => list.push(value),
        (Value::Array(list), Value::Null) => _ = list.remove(key.parse::<usize>().unwrap()),
        (Value::Array(list), value) => list[key.parse::<usize>().unwrap()] = value,
        _ => panic!("{parent} holds nothing"),
    }
    policy
}

/// A request in short: what is not said is harmless.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: &'static str,
    pub(super) authority: &'static str,
    pub(super) target: String,
    pub(super) context: String,
    pub(super) binding: Binding,
    pub(super) peer: Option<&'static str>,
    pub(super) body: u64,
    pub(super) fields: Vec<Field>,
    /// The body, where what it says matters.
    pub(super) content: Option<Vec<u8>>,
    pub(super) now: Timestamp,
}

/// A context that the policy above allows to read orders.
pub(super) const GOOD: &str = r#"agent="support/summarizer", session="s", tenant="acme", user="u-1", roles=("support"), tool="crm.lookup", session_type=interactive, data_class=confidential, provenance=(user)"#;

impl Request {
    pub(super) fn get(authority: &'static str, target: &str, context: &str) -> Self {
        Self {
            method: "GET",
            authority,
            target: target.to_owned(),
            context: context.to_owned(),
            binding: Binding::Request,
            peer: None,
            body: 0,
            fields: Vec::new(),
            content: None,
            now: NOW,
        }
    }

    pub(super) fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.to_owned().into()));
        self
    }

    /// A POST of this body, as JSON.
    pub(super) fn json(self, body: &str) -> Self {
        self.body(body.as_bytes()).field("content-type", "application/json")
    }

    /// A POST of this body.
    pub(super) fn body(self, body: &[u8]) -> Self {
        Self { method: "POST", body: body.len().try_into().unwrap(), content: Some(body.to_vec()), ..self }
    }

    pub(super) fn destination(&self) -> CanonicalDestination {
        let target = Some(self.target.as_bytes());
        CanonicalDestination::parse(self.authority.as_bytes(), target, Scheme::Https, PathOpenings::CLOSED).unwrap()
    }

    pub(super) fn context(&self) -> AgentContext {
        AgentContext::parse(self.context.as_bytes()).unwrap()
    }

    fn head(&self, configuration: &Configuration) -> HeadVerdict {
        let context = self.context();
        let subject = Subject { context: &context, signer: 0, binding: self.binding, peer: self.peer };
        configuration.policy().judge_head(&subject, &self.destination(), self.method, self.now)
    }

    pub(super) fn candidates(&self, configuration: &Configuration) -> Candidates {
        match self.head(configuration) {
            HeadVerdict::Open(candidates) => candidates,
            HeadVerdict::Refused(refusal) => panic!("{refusal:?}"),
        }
    }

    pub(super) fn judge(&self, configuration: &Configuration) -> Verdict {
        match self.head(configuration) {
            HeadVerdict::Refused(refusal) => Verdict::Refused(refusal),
            HeadVerdict::Open(candidates) => {
                let body = self.content.as_deref().unwrap_or_default();
                candidates.judge_payload(&self.payload(Content::Known(&candidates.read(&self.fields, body))))
            }
        }
    }

    pub(super) fn payload<'a>(&'a self, content: Content<'a>) -> Payload<'a> {
        Payload {
            body: self.body,
            url: self.target.len().try_into().unwrap(),
            fields: &self.fields,
            query: self.target.split_once('?').map(|(_, query)| query),
            content,
        }
    }

    /// The outcome in one line: `allow <rule> by <destination>`, `deny <reason> <rule> <condition>`, `would-deny ...`.
    pub(super) fn outcome(&self, configuration: &Configuration) -> String {
        match self.judge(configuration) {
            Verdict::Allowed(grant) => format!("allow {} by {}", grant.rule(), grant.destination().id()),
            Verdict::Refused(Refusal { reason, rule, condition, mode, .. }) => {
                let word = if mode == super::Mode::Enforce { "deny" } else { "would-deny" };
                let mut line = format!("{word} {reason}");
                for part in [rule, condition].into_iter().flatten() {
                    line.push(' ');
                    line.push_str(&part);
                }
                line
            }
        }
    }
}
