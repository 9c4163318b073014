//! What a signer does, but for the key: the `Agent-Context` line, the bytes to sign, the lines that carry the signature.
//!
//! The command line and the tests sign with this. It refuses nothing that a broken signer might send, except text that
//! no header can hold: whoever tests the verifier needs wrong signatures too.

use super::agent_context::{self, AgentContext, DataClass, Provenance, SessionType};
use super::error::{ContextError, Quoted};
use super::signature::base::{path_and_query, signature_base};
use super::signature::{ALGORITHM, Component, TAG};
use super::structured::{self, InnerList, Item, Parameters};
use crate::request::RequestHead;
use base64::Engine as _;
use sfv::{BareItem, FieldType as _, Key};
use std::fmt;

/// The members of an `Agent-Context` line to be written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContextFields {
    /// Workload identity of the agent. Required.
    pub agent: String,
    /// One run of it. Required.
    pub session: String,
    /// Audience.
    pub gateway: Option<String>,
    /// Tenant.
    pub tenant: Option<String>,
    /// Natural person acted for.
    pub user: Option<String>,
    /// Where that person is.
    pub region: Option<String>,
    /// The person's roles; empty: not written.
    pub roles: Vec<String>,
    /// Agents that handed the work on, originator first; empty: not written.
    pub delegated_by: Vec<String>,
    /// Destination categories this context may use.
    pub scope: Option<Vec<String>>,
    /// Tool.
    pub tool: Option<String>,
    /// Session type.
    pub session_type: Option<SessionType>,
    /// Data class.
    pub data_class: Option<DataClass>,
    /// Provenance; empty: not written, which counts as unknown.
    pub provenance: Vec<Provenance>,
    /// Reasoning summary.
    pub reason: Option<String>,
    /// Other members: name, and value as structured-field text (an item or an inner list, without parameters).
    pub attributes: Vec<(String, String)>,
}

impl ContextFields {
    /// Writes the line's value and reads it back, so that a signer learns at once what a gateway would refuse.
    pub fn to_field(&self) -> Result<String, SignError> {
        let mut members =
            vec![member("agent", string("agent", &self.agent)?), member("session", string("session", &self.session)?)];
        for (name, value) in [
            ("gateway", &self.gateway),
            ("tenant", &self.tenant),
            ("user", &self.user),
            ("region", &self.region),
            ("tool", &self.tool),
            ("reason", &self.reason),
        ] {
            if let Some(value) = value {
                members.push(member(name, string(name, value)?));
            }
        }
        for (name, values) in [("roles", &self.roles), ("delegated_by", &self.delegated_by)] {
            if !values.is_empty() {
                members.push(member(name, list(values, |value| string(name, value))?));
            }
        }
        if let Some(scope) = &self.scope {
            members.push(member("scope", list(scope, |category| token("scope", category))?));
        }
        if let Some(session_type) = self.session_type {
            members.push(member("session_type", session_type.word().to_owned()));
        }
        if let Some(data_class) = self.data_class {
            members.push(member("data_class", data_class.word().to_owned()));
        }
        if !self.provenance.is_empty() {
            members.push(member("provenance", list(&self.provenance, |source| Ok(source.word().to_owned()))?));
        }
        for (name, value) in &self.attributes {
            members.push(member(name, one_value(name, value)?));
        }
        let field = members.join(", ");
        AgentContext::parse(field.as_bytes()).map_err(SignError::Context)?;
        Ok(field)
    }
}

fn member(name: &str, value: String) -> String {
    format!("{name}={value}")
}

/// Text as a structured-field string, quoted. `place` says where it is to stand.
pub fn string(place: &str, text: &str) -> Result<String, SignError> {
    Ok(item(BareItem::String(sf_string(place, text)?)))
}

fn token(place: &str, text: &str) -> Result<String, SignError> {
    let token = sfv::Token::from_string(text.to_owned()).map_err(|_| unfit(place, text, "a token"))?;
    Ok(item(BareItem::Token(token)))
}

fn list<T>(values: &[T], each: impl Fn(&T) -> Result<String, SignError>) -> Result<String, SignError> {
    let items: Vec<String> = values.iter().map(each).collect::<Result<_, _>>()?;
    Ok(format!("({})", items.join(" ")))
}

/// A value that is one value: a comma in it would open a further member.
fn one_value(name: &str, value: &str) -> Result<String, SignError> {
    match sfv::Parser::new(value).parse::<sfv::List>() {
        Ok(list) if list.len() == 1 => Ok(list.serialize().unwrap_or_default()),
        _ => Err(unfit(name, value, "one structured-field item or inner list")),
    }
}

fn item(value: BareItem) -> String {
    structured::serialize_item(&Item { value, parameters: Parameters::new() })
}

fn sf_string(place: &str, text: &str) -> Result<sfv::String, SignError> {
    sfv::String::from_string(text.to_owned()).map_err(|_| unfit(place, text, "printable ASCII"))
}

fn unfit(place: &str, text: &str, expected: &'static str) -> SignError {
    SignError::Text { place: place.to_owned(), text: text.to_owned(), expected }
}

/// A signature to be made: its label, what it covers, its parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct SignatureInput {
    /// Label in both fields.
    pub label: String,
    /// Covered components, in order.
    pub components: Vec<Component>,
    /// When it is made, seconds.
    pub created: Option<i64>,
    /// When it ends, seconds.
    pub expires: Option<i64>,
    /// Nonce.
    pub nonce: Option<String>,
    /// Key id.
    pub keyid: Option<String>,
    /// Algorithm.
    pub alg: Option<String>,
    /// Tag.
    pub tag: Option<String>,
}

impl SignatureInput {
    /// A signature as the verifier wants it.
    pub fn new(components: Vec<Component>, keyid: &str, created: i64, nonce: &str) -> Self {
        Self {
            label: TAG.to_owned(),
            components,
            created: Some(created),
            expires: None,
            nonce: Some(nonce.to_owned()),
            keyid: Some(keyid.to_owned()),
            alg: Some(ALGORITHM.to_owned()),
            tag: Some(TAG.to_owned()),
        }
    }

    /// The bytes to sign. `head` holds everything that is covered, `Agent-Context` and `Content-Digest` too.
    pub fn base(&self, head: &RequestHead) -> Result<Vec<u8>, SignError> {
        signature_base(head, &self.components, &self.parameters()?)
            .map_err(|(component, problem)| SignError::Component { component, problem })
    }

    /// The two header lines that carry the signature: names in lower case, and values.
    pub fn lines(&self, signature: &[u8]) -> Result<[(&'static str, String); 2], SignError> {
        let label = Key::from_string(self.label.clone())
            .map_err(|_| unfit("label", &self.label, "a lower-case structured-field key"))?;
        let value = item(BareItem::ByteSequence(signature.to_vec()));
        Ok([
            ("signature-input", format!("{}={}", label.as_str(), self.parameters()?)),
            ("signature", format!("{}={value}", label.as_str())),
        ])
    }

    /// The value of `@signature-params`.
    fn parameters(&self) -> Result<String, SignError> {
        let mut parameters = Parameters::new();
        for (name, seconds) in [("created", self.created), ("expires", self.expires)] {
            if let Some(seconds) = seconds {
                let value = sfv::Integer::try_from(seconds)
                    .map_err(|_| unfit(name, &seconds.to_string(), "an integer of at most 15 digits"))?;
                parameters.push((sfv::key_ref(name).to_owned(), BareItem::Integer(value)));
            }
        }
        let texts = [("nonce", &self.nonce), ("keyid", &self.keyid), ("alg", &self.alg), ("tag", &self.tag)];
        for (name, text) in texts {
            if let Some(text) = text {
                parameters.push((sfv::key_ref(name).to_owned(), BareItem::String(sf_string(name, text)?)));
            }
        }
        let components: Vec<&str> = self.components.iter().map(Component::as_str).collect();
        let empty = structured::serialize_inner_list(&InnerList { items: Vec::new(), parameters });
        Ok(format!("({}){}", components.join(" "), empty.trim_start_matches("()")))
    }
}

/// The components a signature over this request must cover.
pub fn required_components(head: &RequestHead, has_body: bool) -> Vec<Component> {
    let mut names = vec!["@method", "@authority"];
    if head.path.is_some() {
        names.push("@path");
    }
    if path_and_query(head).is_ok_and(|(_, query)| query.is_some()) {
        names.push("@query");
    }
    names.push(agent_context::FIELD);
    if has_body {
        names.push(crate::payload::digest::FIELD);
        names.extend(["content-type", "content-encoding"].into_iter().filter(|name| head.has(name)));
    }
    names.into_iter().filter_map(|name| Component::parse(name).ok()).collect()
}

/// `Content-Digest` of a body, by SHA-256.
pub fn content_digest(body: &[u8]) -> String {
    let digest = crate::payload::BodyDigest::of(body, None);
    format!("sha-256=:{}:", base64::engine::general_purpose::STANDARD.encode(digest.sha256()))
}

/// Why a request cannot be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignError {
    /// A gateway would refuse the context.
    Context(ContextError),
    /// Text that the place it is to stand in cannot hold.
    Text {
        /// The member, parameter or label.
        place: String,
        /// The text.
        text: String,
        /// What it can hold.
        expected: &'static str,
    },
    /// A component cannot be derived from the request.
    Component {
        /// Its identifier.
        component: String,
        /// Why not.
        problem: &'static str,
    },
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Context(error) => write!(f, "{error}"),
            Self::Text { place, text, expected } => {
                write!(f, "{place}: {} is not {expected}, which is all that can stand there", Quoted(text))
            }
            Self::Component { component, problem } => write!(f, "component {component}: {problem}"),
        }
    }
}

impl std::error::Error for SignError {}
