//! What an orchestrator states when it opens a session, and what tools report within it.

use exeat_engine::context::sign::{self, ContextFields};
use exeat_engine::context::{DataClass, Provenance, SessionType};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A session that is asked for. All facts come from the orchestrator; the agent chooses none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionRequest {
    /// Workload identity of the agent.
    pub agent: String,
    /// One run of it; made up where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Natural person acted for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The person's roles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// Where that person is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Agents that handed the work on, originator first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delegated_by: Vec<String>,
    /// Destination categories; absent: no restriction from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Vec<String>>,
    /// How the session came about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_type: Option<SessionType>,
    /// Highest class in what the agent holds; absent counts as restricted. Only grows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_class: Option<DataClass>,
    /// Where what the agent holds came from; empty counts as unknown. Only grows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provenance: Vec<Provenance>,
    /// Tool in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// Why, in at most 256 characters: recorded, never matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Other members of the context.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, Attribute>,
    /// Hosts that the session may at most use; absent: any. What the policy allows of them is the gateway's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destinations: Option<Vec<String>>,
    /// Authorities (`host:port`) to which CONNECT is passed on without ending TLS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tunnels: Vec<String>,
    /// Seconds until the session ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life: Option<u32>,
    /// Seconds without a signature after which it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<u32>,
    /// User ids of the agent. Only they are served, and none of them is ever let in to the control socket.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uids: Vec<u32>,
    /// Where the agent finds its proxy.
    #[serde(default)]
    pub listen: Listen,
}

/// Where the agent finds its proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Listen {
    /// A loopback port, with a password.
    #[default]
    Tcp,
    /// A Unix socket in the session's directory, for the user ids that the session names.
    Unix,
}

/// A member of the context that is not among those Exeat knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Attribute {
    /// A boolean.
    Boolean(bool),
    /// An integer of at most 15 digits.
    Integer(i64),
    /// Printable ASCII.
    Text(String),
    /// A list of such texts.
    List(Vec<String>),
}

/// What a tool returned, as the tool says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvenanceReport {
    /// Where it came from.
    pub provenance: Vec<Provenance>,
    /// How sensitive it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_class: Option<DataClass>,
}

/// Names that [`ContextFields`] has members of its own for.
const MEMBERS: [&str; 14] = [
    "agent",
    "session",
    "gateway",
    "tenant",
    "user",
    "region",
    "roles",
    "delegated_by",
    "scope",
    "tool",
    "session_type",
    "data_class",
    "provenance",
    "reason",
];

impl SessionRequest {
    /// The context that the session begins with.
    ///
    /// # Errors
    /// What no gateway would take, in words for the orchestrator.
    pub(crate) fn context(&self, session: String, gateway: Option<String>) -> Result<ContextFields, String> {
        let fields = ContextFields {
            agent: self.agent.clone(),
            session,
            gateway,
            tenant: self.tenant.clone(),
            user: self.user.clone(),
            region: self.region.clone(),
            roles: self.roles.clone(),
            delegated_by: self.delegated_by.clone(),
            scope: self.scope.clone(),
            tool: self.tool.clone(),
            session_type: self.session_type,
            data_class: self.data_class,
            provenance: union(&[], &self.provenance),
            reason: self.reason.clone(),
            attributes: self.attributes.iter().map(attribute).collect::<Result<_, _>>()?,
        };
        fields.to_field().map_err(|error| error.to_string())?;
        Ok(fields)
    }
}

fn attribute((name, value): (&String, &Attribute)) -> Result<(String, String), String> {
    if MEMBERS.contains(&name.as_str()) {
        return Err(format!("attributes: {name:?} is a member of its own; set it there"));
    }
    // RFC 9651 section 3.1.2. Anything else could open a further member.
    let key = |byte: u8, first: bool| match byte {
        b'a'..=b'z' | b'*' => true,
        b'0'..=b'9' | b'_' | b'-' | b'.' => !first,
        _ => false,
    };
    if name.is_empty() || name.len() > 64 || !name.bytes().enumerate().all(|(at, byte)| key(byte, at == 0)) {
        return Err(format!(
            "attributes: {name:?} cannot be the name of a member; write lower-case letters, digits, `_`, `-` and `.`, \
             beginning with a letter, at most 64"
        ));
    }
    let text = |value: &String| sign::string(name, value).map_err(|error| error.to_string());
    let value = match value {
        Attribute::Boolean(true) => "?1".to_owned(),
        Attribute::Boolean(false) => "?0".to_owned(),
        Attribute::Integer(number) if number.unsigned_abs() > 999_999_999_999_999 => {
            return Err(format!("attributes: {name}: an integer has at most 15 digits"));
        }
        Attribute::Integer(number) => number.to_string(),
        Attribute::Text(value) => text(value)?,
        Attribute::List(values) => {
            let values: Vec<String> = values.iter().map(text).collect::<Result<_, _>>()?;
            format!("({})", values.join(" "))
        }
    };
    Ok((name.clone(), value))
}

/// Lets data class and provenance of a context grow by what a tool reported; says whether they did.
///
/// INVARIANT: what the context counts as never shrinks. An absent class counts as the highest, an empty provenance as
/// unknown; so a class is never written where there was none, and unknown stays beside what is reported.
pub(crate) fn grow(fields: &mut ContextFields, report: &ProvenanceReport) -> bool {
    let before = (fields.data_class, fields.provenance.clone());
    if let (Some(class), Some(reported)) = (fields.data_class, report.data_class) {
        fields.data_class = Some(class.max(reported));
    }
    if !report.provenance.is_empty() {
        let held = if fields.provenance.is_empty() { &[Provenance::Unknown] } else { fields.provenance.as_slice() };
        fields.provenance = union(held, &report.provenance);
    }
    before != (fields.data_class, fields.provenance.clone())
}

fn union(one: &[Provenance], other: &[Provenance]) -> Vec<Provenance> {
    let mut all: Vec<Provenance> = one.iter().chain(other).copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use exeat_engine::context::AgentContext;
    use proptest::prelude::*;

    fn request() -> SessionRequest {
        SessionRequest { agent: "support/summarizer".to_owned(), ..SessionRequest::default() }
    }

    fn context(request: &SessionRequest) -> Result<String, String> {
        request.context("s-1".to_owned(), None).map(|fields| fields.to_field().unwrap())
    }

    #[test]
    fn facts_become_a_context() {
        let full: SessionRequest = serde_json::from_value(serde_json::json!({
            "agent": "support/summarizer", "tenant": "acme", "user": "u-1", "roles": ["support", "billing"], "region": "eu",
            "delegated_by": ["support/planner"], "scope": ["crm"], "session_type": "interactive", "data_class": "internal",
            "provenance": ["third-party", "user", "user"], "tool": "crm.lookup", "reason": "look up an order",
            "attributes": {"ticket": "T-7", "urgent": true, "attempt": 2, "labels": ["a", "b \"c\""]},
        }))
        .unwrap();
        assert_eq!(
            context(&full).unwrap(),
            "agent=\"support/summarizer\", session=\"s-1\", tenant=\"acme\", user=\"u-1\", region=\"eu\", \
             tool=\"crm.lookup\", reason=\"look up an order\", roles=(\"support\" \"billing\"), \
             delegated_by=(\"support/planner\"), scope=(crm), session_type=interactive, data_class=internal, \
             provenance=(user third-party), attempt=2, labels=(\"a\" \"b \\\"c\\\"\"), ticket=\"T-7\", urgent=?1"
        );
    }

    #[test]
    fn what_a_gateway_would_refuse_is_refused_here() {
        let attribute =
            |name: &str, value| SessionRequest { attributes: BTreeMap::from([(name.to_owned(), value)]), ..request() };
        let text = || Attribute::Text("x".to_owned());
        for (request, why) in [
            (SessionRequest { agent: String::new(), ..request() }, "empty"),
            (SessionRequest { agent: "a\r\nb".to_owned(), ..request() }, "printable ASCII"),
            (SessionRequest { user: Some("zoë".to_owned()), ..request() }, "printable ASCII"),
            (SessionRequest { roles: vec![String::new()], ..request() }, "empty"),
            (SessionRequest { scope: Some(vec!["two words".to_owned()]), ..request() }, "token"),
            (SessionRequest { reason: Some("x".repeat(257)), ..request() }, "256"),
            (attribute("user", text()), "member of its own"),
            (attribute("x=1, user", text()), "cannot be the name"),
            (attribute("X", text()), "cannot be the name"),
            (attribute("", text()), "cannot be the name"),
            (attribute("1x", text()), "cannot be the name"),
            (attribute("x", Attribute::Text("é".to_owned())), "printable ASCII"),
            (attribute("x", Attribute::Integer(1_000_000_000_000_000)), "15 digits"),
        ] {
            let error = context(&request).unwrap_err();
            assert!(error.contains(why), "{request:?}: {error}");
        }
        for text in [
            r#"{"agent": "a", "unknown": 1}"#,
            r#"{"session": "s"}"#,
            r#"{"agent": "a", "uids": [-1]}"#,
            r#"{"agent": "a", "provenance": ["web"]}"#,
            r#"{"agent": "a", "data_class": "secret"}"#,
            r#"{"agent": "a", "listen": "udp"}"#,
            r#"{"agent": "a", "attributes": {"x": 1.5}}"#,
            r#"{"agent": "a", "agent": "b"}"#,
        ] {
            assert!(serde_json::from_str::<SessionRequest>(text).is_err(), "{text}");
        }
    }

    fn classes() -> impl Strategy<Value = Option<DataClass>> {
        proptest::option::of(proptest::sample::select(DataClass::WORDS).prop_map(|(class, _)| class))
    }

    fn sources() -> impl Strategy<Value = Vec<Provenance>> {
        let one = proptest::sample::select(Provenance::WORDS).prop_map(|(source, _)| source);
        proptest::collection::vec(one, 0..4)
    }

    proptest! {
        /// What counts is what a gateway reads.
        #[test]
        fn class_and_provenance_only_grow(
            start in (classes(), sources()),
            reports in proptest::collection::vec((classes(), sources()), 0..8),
        ) {
            let request = SessionRequest { data_class: start.0, provenance: start.1, ..request() };
            let mut fields = request.context("s-1".to_owned(), None).unwrap();
            let read = |fields: &ContextFields| AgentContext::parse(fields.to_field().unwrap().as_bytes()).unwrap();
            let mut before = read(&fields);
            for (data_class, provenance) in reports {
                let report = ProvenanceReport { provenance, data_class };
                let grew = grow(&mut fields, &report);
                let after = read(&fields);
                prop_assert!(after.effective_data_class() >= before.effective_data_class());
                prop_assert!(report.data_class.is_none_or(|class| after.effective_data_class() >= class));
                prop_assert!(before.provenance.iter().chain(&report.provenance).all(|source| after.provenance.contains(source)));
                prop_assert!(grew || after == before);
                before = after;
            }
        }
    }
}
