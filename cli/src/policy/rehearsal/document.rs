//! Test files: what people write beside a policy, `tests.yaml`.

use exeat_engine::context::{DataClass, Provenance, SessionType};
use exeat_engine::decision::Reason;
use exeat_engine::policy::ValueError;
use exeat_engine::policy::document::{Moment, Named, OneOrMany};
use exeat_engine::policy::node::Node;
use serde::Deserialize;

/// A test file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestsDocument {
    /// What every case has unless it says otherwise.
    #[serde(default)]
    pub(super) defaults: DefaultsDocument,
    /// Requests, and what must come of each.
    pub(super) cases: Vec<CaseDocument>,
}

/// `defaults`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DefaultsDocument {
    pub(super) signer: Option<String>,
    pub(super) key: Option<String>,
    pub(super) peer: Option<String>,
    pub(super) now: Option<Moment>,
    #[serde(default)]
    pub(super) headers: Named<OneOrMany<String>>,
    pub(super) context: Option<Node>,
}

/// One case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CaseDocument {
    pub(super) name: String,
    /// Requests that are sent before it, in its session.
    #[serde(default)]
    pub(super) before: Vec<BeforeDocument>,
    pub(super) request: RequestLine,
    #[serde(default)]
    pub(super) headers: Named<OneOrMany<String>>,
    pub(super) body: Option<String>,
    pub(super) json: Option<Node>,
    pub(super) body_bytes: Option<u32>,
    pub(super) context: Option<Node>,
    pub(super) signer: Option<String>,
    pub(super) key: Option<String>,
    /// Sent without a context.
    #[serde(default)]
    pub(super) unsigned: bool,
    pub(super) peer: Option<String>,
    pub(super) now: Option<Moment>,
    /// Allowed by this rule.
    pub(super) allow: Option<String>,
    /// Refused for this reason.
    pub(super) deny: Option<Reason>,
    /// Let go by monitor mode although it is refused for this reason.
    pub(super) would_deny: Option<Reason>,
    pub(super) rule: Option<String>,
    pub(super) condition: Option<String>,
    pub(super) status: Option<u16>,
    pub(super) upstream: Option<UpstreamDocument>,
}

/// A request that comes before.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BeforeDocument {
    pub(super) request: RequestLine,
    #[serde(default)]
    pub(super) headers: Named<OneOrMany<String>>,
    pub(super) body: Option<String>,
    pub(super) json: Option<Node>,
    pub(super) body_bytes: Option<u32>,
    pub(super) context: Option<Node>,
    pub(super) times: Option<u32>,
}

/// What must arrive upstream.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UpstreamDocument {
    pub(super) authority: Option<String>,
    pub(super) path: Option<String>,
    /// The body, as JSON.
    pub(super) json: Option<Node>,
    #[serde(default)]
    pub(super) has: Named<String>,
    #[serde(default)]
    pub(super) lacks: Vec<String>,
}

/// `METHOD URL`.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct RequestLine {
    pub(super) method: String,
    pub(super) url: String,
}

impl TryFrom<String> for RequestLine {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        match text.split_once(' ') {
            Some((method, url)) if !method.is_empty() && url.contains("://") => {
                Ok(Self { method: method.to_owned(), url: url.to_owned() })
            }
            _ => Err(ValueError {
                problem: format!("{text:?} is not a request"),
                remedy: "write method and URL, such as GET https://api.crm.example/v1/orders/7".to_owned(),
            }),
        }
    }
}

/// `context`: the members of `Agent-Context`. A member of a case that is `null` takes that of the defaults away.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ContextDocument {
    pub(super) agent: Option<String>,
    pub(super) session: Option<String>,
    pub(super) gateway: Option<String>,
    pub(super) tenant: Option<String>,
    pub(super) user: Option<String>,
    pub(super) region: Option<String>,
    pub(super) roles: Option<OneOrMany<String>>,
    pub(super) delegated_by: Option<OneOrMany<String>>,
    pub(super) scope: Option<OneOrMany<String>>,
    pub(super) tool: Option<String>,
    pub(super) session_type: Option<SessionType>,
    pub(super) data_class: Option<DataClass>,
    pub(super) provenance: Option<OneOrMany<Provenance>>,
    pub(super) reason: Option<String>,
    #[serde(default)]
    pub(super) attributes: Named<Node>,
}
