//! `Agent-Context`: one structured-field dictionary (RFC 9651) that states who acts, for whom, with what and from where.

use super::verify::ContextError;
use std::collections::BTreeMap;

/// How the session came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionType {
    /// A person waits for the answer.
    Interactive,
    /// A job over many items.
    Batch,
    /// Started by a clock.
    Scheduled,
}

/// How sensitive data is; ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataClass {
    /// May be published.
    Public,
    /// For everybody inside.
    Internal,
    /// For those who need it.
    Confidential,
    /// Under special protection.
    Restricted,
}

/// Where content that led to a call came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provenance {
    /// The person.
    User,
    /// The runtime's own prompts.
    System,
    /// Systems of the organisation.
    Internal,
    /// Anybody else: web pages, mail, documents from outside.
    ThirdParty,
    /// Not known.
    Unknown,
}

/// The members of `Agent-Context`, typed. Made only by parsing.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentContext {
    /// Workload identity of the agent.
    pub agent: String,
    /// One run of it.
    pub session: String,
    /// Audience.
    pub gateway: Option<String>,
    /// Tenant.
    pub tenant: Option<String>,
    /// Natural person acted for.
    pub user: Option<String>,
    /// Where that person is.
    pub region: Option<String>,
    /// The person's roles.
    pub roles: Vec<String>,
    /// Agents that handed the work on, originator first.
    pub delegated_by: Vec<String>,
    /// Destination categories this context may use; `None`: no restriction from here.
    pub scope: Option<Vec<String>>,
    /// Tool.
    pub tool: Option<String>,
    /// Session type.
    pub session_type: Option<SessionType>,
    /// Data class as stated. Absent counts as [`DataClass::Restricted`]: use [`AgentContext::effective_data_class`].
    pub data_class: Option<DataClass>,
    /// Provenance, never empty: absent or empty counts as [`Provenance::Unknown`]. Sorted, without duplicates.
    pub provenance: Vec<Provenance>,
    /// Reasoning summary.
    pub reason: Option<String>,
    /// Other members, by name, in canonical structured-field text.
    pub attributes: BTreeMap<String, String>,
}

impl AgentContext {
    /// Parses the value of the one `Agent-Context` line.
    pub fn parse(_field: &[u8]) -> Result<Self, ContextError> {
        Err(ContextError::Malformed { member: None, problem: "not built yet" })
    }

    /// The class that counts: `restricted` where none is stated.
    pub fn effective_data_class(&self) -> DataClass {
        self.data_class.unwrap_or(DataClass::Restricted)
    }
}
