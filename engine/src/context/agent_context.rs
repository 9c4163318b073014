//! `Agent-Context`: one structured-field dictionary (RFC 9651) that states who acts, for whom, with what and from where.

use super::error::ContextError;
use super::structured::{self, Bounds, Item, Member};
use crate::order;
use sfv::BareItem;
use std::collections::BTreeMap;

/// The field, as RFC 9421 names components.
pub const FIELD: &str = "agent-context";

/// What is read of one field. A real one has some 500 bytes.
const BOUNDS: Bounds = Bounds { bytes: 16 * 1024, members: 64, items: 64, parameters: 4 };

/// Bytes of `reason`.
const REASON_BYTES: usize = 256;

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

impl SessionType {
    /// Every one there is, with the token that stands for it.
    pub const WORDS: &'static [(Self, &'static str)] =
        &[(Self::Interactive, "interactive"), (Self::Batch, "batch"), (Self::Scheduled, "scheduled")];

    /// The token that stands for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Batch => "batch",
            Self::Scheduled => "scheduled",
        }
    }
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

impl DataClass {
    /// Every one there is, with the token that stands for it.
    pub const WORDS: &'static [(Self, &'static str)] = &[
        (Self::Public, "public"),
        (Self::Internal, "internal"),
        (Self::Confidential, "confidential"),
        (Self::Restricted, "restricted"),
    ];

    /// The token that stands for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Confidential => "confidential",
            Self::Restricted => "restricted",
        }
    }
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

impl Provenance {
    /// Every one there is, with the token that stands for it.
    pub const WORDS: &'static [(Self, &'static str)] = &[
        (Self::User, "user"),
        (Self::System, "system"),
        (Self::Internal, "internal"),
        (Self::ThirdParty, "third-party"),
        (Self::Unknown, "unknown"),
    ];

    /// The token that stands for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::System => "system",
            Self::Internal => "internal",
            Self::ThirdParty => "third-party",
            Self::Unknown => "unknown",
        }
    }
}

/// The members of `Agent-Context`, typed. Made by parsing, or from the claims of a token that verified.
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
    /// Parses the value of the one `Agent-Context` line: at most 16 KiB, 64 members and 64 items in a list.
    pub fn parse(field: &[u8]) -> Result<Self, ContextError> {
        let members = structured::parse_dictionary(field, BOUNDS)
            .map_err(|error| malformed(error.member.as_deref(), error.problem))?;
        let mut draft = Draft::default();
        for (key, member) in members {
            let name = key.as_str();
            draft.take(name, member).map_err(|problem| malformed(Some(name), problem))?;
        }
        draft.finish()
    }

    /// The class that counts: `restricted` where none is stated.
    pub fn effective_data_class(&self) -> DataClass {
        self.data_class.unwrap_or(DataClass::Restricted)
    }
}

fn malformed(member: Option<&str>, problem: impl Into<String>) -> ContextError {
    ContextError::Malformed { field: FIELD, member: member.map(str::to_owned), problem: problem.into() }
}

/// The members seen so far.
#[derive(Default)]
struct Draft {
    agent: Option<String>,
    session: Option<String>,
    gateway: Option<String>,
    tenant: Option<String>,
    user: Option<String>,
    region: Option<String>,
    roles: Vec<String>,
    delegated_by: Vec<String>,
    scope: Option<Vec<String>>,
    tool: Option<String>,
    session_type: Option<SessionType>,
    data_class: Option<DataClass>,
    provenance: Vec<Provenance>,
    reason: Option<String>,
    attributes: BTreeMap<String, String>,
}

impl Draft {
    fn take(&mut self, name: &str, member: Member) -> Result<(), String> {
        if has_parameters(&member) {
            return Err("has parameters, which no member may have".to_owned());
        }
        match name {
            "agent" => self.agent = Some(string(member)?),
            "session" => self.session = Some(string(member)?),
            "gateway" => self.gateway = Some(string(member)?),
            "tenant" => self.tenant = Some(string(member)?),
            "user" => self.user = Some(string(member)?),
            "region" => self.region = Some(string(member)?),
            "tool" => self.tool = Some(string(member)?),
            "reason" => self.reason = Some(reason(member)?),
            "roles" => self.roles = list(member, "strings", non_empty_string)?,
            "delegated_by" => self.delegated_by = list(member, "strings", non_empty_string)?,
            "scope" => self.scope = Some(list(member, "tokens", token)?),
            "session_type" => self.session_type = Some(word(member, SessionType::WORDS)?),
            "data_class" => self.data_class = Some(word(member, DataClass::WORDS)?),
            "provenance" => self.provenance = list(member, "tokens", |item| known(item, Provenance::WORDS))?,
            _ => {
                self.attributes.insert(name.to_owned(), canonical(&member));
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<AgentContext, ContextError> {
        let required = |member: Option<String>, name| member.ok_or_else(|| malformed(Some(name), "is missing"));
        if self.provenance.is_empty() {
            self.provenance.push(Provenance::Unknown);
        }
        order::sort(&mut self.provenance);
        self.provenance.dedup();
        Ok(AgentContext {
            agent: required(self.agent, "agent")?,
            session: required(self.session, "session")?,
            gateway: self.gateway,
            tenant: self.tenant,
            user: self.user,
            region: self.region,
            roles: self.roles,
            delegated_by: self.delegated_by,
            scope: self.scope,
            tool: self.tool,
            session_type: self.session_type,
            data_class: self.data_class,
            provenance: self.provenance,
            reason: self.reason,
            attributes: self.attributes,
        })
    }
}

fn has_parameters(member: &Member) -> bool {
    match member {
        Member::Item(item) => !item.parameters.is_empty(),
        Member::InnerList(list) => {
            !list.parameters.is_empty() || list.items.iter().any(|item| !item.parameters.is_empty())
        }
    }
}

fn item(member: Member, expected: &str) -> Result<BareItem, String> {
    match member {
        Member::Item(Item { value, .. }) => Ok(value),
        Member::InnerList(_) => Err(format!("is a list, where {expected} is expected")),
    }
}

fn string(member: Member) -> Result<String, String> {
    non_empty_string(item(member, "a string")?)
}

fn non_empty_string(value: BareItem) -> Result<String, String> {
    match value {
        BareItem::String(text) if text.as_str().is_empty() => Err("is empty".to_owned()),
        BareItem::String(text) => Ok(text.into()),
        other => Err(format!("is {}, where a string is expected", kind(&other))),
    }
}

fn reason(member: Member) -> Result<String, String> {
    match item(member, "a string")? {
        BareItem::String(text) if text.as_str().len() > REASON_BYTES => {
            Err(format!("has {} bytes, where at most {REASON_BYTES} are allowed", text.as_str().len()))
        }
        BareItem::String(text) => Ok(text.into()),
        other => Err(format!("is {}, where a string is expected", kind(&other))),
    }
}

fn list<T>(member: Member, of: &str, each: impl Fn(BareItem) -> Result<T, String>) -> Result<Vec<T>, String> {
    match member {
        Member::InnerList(list) => list.items.into_iter().map(|item| each(item.value)).collect(),
        Member::Item(Item { value, .. }) => Err(format!("is {}, where a list of {of} is expected", kind(&value))),
    }
}

fn token(value: BareItem) -> Result<String, String> {
    match value {
        BareItem::Token(token) => Ok(token.into()),
        other => Err(format!("is {}, where a token is expected", kind(&other))),
    }
}

fn word<T: Copy>(member: Member, words: &[(T, &str)]) -> Result<T, String> {
    known(item(member, "a token")?, words)
}

fn known<T: Copy>(value: BareItem, words: &[(T, &str)]) -> Result<T, String> {
    let token = token(value)?;
    words.iter().find(|(_, word)| *word == token).map(|(value, _)| *value).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(_, word)| *word).collect();
        format!("{} is none of {}", super::error::Quoted(&token), words.join(", "))
    })
}

fn canonical(member: &Member) -> String {
    match member {
        Member::Item(item) => structured::serialize_item(item),
        Member::InnerList(list) => structured::serialize_inner_list(list),
    }
}

fn kind(value: &BareItem) -> &'static str {
    match value {
        BareItem::Decimal(_) => "a decimal",
        BareItem::Integer(_) => "an integer",
        BareItem::String(_) => "a string",
        BareItem::ByteSequence(_) => "a byte sequence",
        BareItem::Boolean(_) => "a boolean",
        BareItem::Token(_) => "a token",
        BareItem::Date(_) => "a date",
        BareItem::DisplayString(_) => "a display string",
    }
}
