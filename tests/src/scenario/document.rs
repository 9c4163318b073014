//! Scenario files: what people write in tests/scenarios/*.yaml.

use super::token::TokenText;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A file of steps that share one gateway.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it shows.
    pub about: String,
    /// Folder under tests/policies.
    pub policy: String,
    /// Steps, in order.
    pub steps: Vec<ScenarioStep>,
}

/// One request and everything that must come of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioStep {
    /// Unique in the file.
    pub name: String,
    /// The request; absent with `again`.
    pub request: Option<RequestText>,
    /// How it is signed; absent: not at all.
    pub sign: Option<SignText>,
    /// A bearer token that it carries.
    pub jwt: Option<TokenText>,
    /// Sends the very bytes of an earlier step once more.
    pub again: Option<String>,
    /// What must come of it.
    pub expect: Expectation,
}

/// A request as an agent's runtime would send it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestText {
    /// Method.
    pub method: String,
    /// Absolute URL; sent in origin form with its authority as `Host`, unless `target` says otherwise.
    pub url: String,
    /// The request target on the wire, where it is not the URL's path and query.
    pub target: Option<String>,
    /// Fields.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Exact further field lines; `\xNN` stands for a byte. A further `host` is a second one.
    #[serde(default)]
    pub lines: Vec<String>,
    /// So many further fields, `x-1: 1` and so on.
    #[serde(default)]
    pub filler: usize,
    /// Body.
    pub body: Option<String>,
    /// A body of so many bytes instead.
    pub body_bytes: Option<usize>,
    /// Sends the body in chunks of so many bytes, without content-length.
    pub chunked: Option<usize>,
    /// Trailers after a chunked body.
    #[serde(default)]
    pub trailers: BTreeMap<String, String>,
    /// The content-length that is announced, whatever the body is.
    pub announce: Option<u64>,
    /// How it is sent; HTTP/1.1 unless set.
    #[serde(default)]
    pub protocol: Protocol,
}

/// How a request is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    #[serde(rename = "http/1.1")]
    Http1,
    /// HTTP/2 with prior knowledge.
    #[serde(rename = "h2")]
    Http2,
}

/// The signed context of a request.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignText {
    /// Agent.
    pub agent: String,
    /// Session.
    pub session: String,
    /// Audience.
    pub gateway: Option<String>,
    /// Tenant.
    pub tenant: Option<String>,
    /// User.
    pub user: Option<String>,
    /// Region.
    pub region: Option<String>,
    /// Roles.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Delegation, originator first.
    #[serde(default)]
    pub delegated_by: Vec<String>,
    /// Scope.
    pub scope: Option<Vec<String>>,
    /// Tool.
    pub tool: Option<String>,
    /// Session type.
    pub session_type: Option<String>,
    /// Data class.
    pub data_class: Option<String>,
    /// Provenance.
    pub provenance: Option<Vec<String>>,
    /// Reasoning summary.
    pub reason: Option<String>,
    /// What is done wrong.
    #[serde(default)]
    pub with: Twist,
}

/// What a signer does otherwise than it should.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Twist {
    /// Signs with another key than the one it names.
    pub key: Option<String>,
    /// Signs for another URL.
    pub url: Option<String>,
    /// Seconds to add to `created`.
    pub created: Option<i64>,
    /// Key id to name.
    pub keyid: Option<String>,
    /// The nonce.
    pub nonce: Option<String>,
    /// Signs another body.
    pub body: Option<String>,
    /// Field lines added after signing.
    #[serde(default)]
    pub add: Vec<String>,
    /// Components left uncovered.
    #[serde(default)]
    pub uncover: Vec<String>,
    /// Signs this text as `Agent-Context`.
    pub context: Option<String>,
    /// Changes made to the signed field lines afterwards, in order.
    #[serde(default)]
    pub edit: Vec<Edit>,
}

/// A change to the first line of a field, after it was signed. `\xNN` stands for a byte.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// The field, in lower case.
    pub field: String,
    /// Its name is now written so.
    pub name: Option<String>,
    /// Its value is now this.
    pub value: Option<String>,
    /// Its value ends after so many bytes.
    pub cut: Option<usize>,
    /// This comes before the value.
    pub before: Option<String>,
    /// This comes after the value.
    pub after: Option<String>,
    /// So many letters come after that.
    #[serde(default)]
    pub fill: usize,
    /// The line comes twice, the second time under this name.
    pub again: Option<String>,
    /// The line is left out.
    #[serde(default)]
    pub drop: bool,
}

/// What must come of a request.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "ExpectationText")]
pub enum Expectation {
    /// Envoy itself refuses it with this status: it never meets the filter, and nothing reaches the upstream. The
    /// harness, which begins at the filter, passes over such a step.
    Gateway(u16),
    /// The filter decides.
    Decision(Box<DecisionExpectation>),
}

/// `gateway` alone, or all the rest.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectationText {
    gateway: Option<u16>,
    outcome: Option<String>,
    reason: Option<String>,
    status: Option<u16>,
    retry: Option<String>,
    #[serde(default)]
    upstream: UpstreamExpectation,
    record: Option<serde_json::Value>,
}

impl TryFrom<ExpectationText> for Expectation {
    type Error = &'static str;

    fn try_from(text: ExpectationText) -> Result<Self, Self::Error> {
        let ExpectationText { gateway, outcome, reason, status, retry, upstream, record } = text;
        match (gateway, outcome, reason, status) {
            (Some(status), None, None, None) => Ok(Self::Gateway(status)),
            (None, Some(outcome), Some(reason), Some(status)) => {
                let decision = DecisionExpectation { outcome, reason, status, retry, upstream, record };
                Ok(Self::Decision(Box::new(decision)))
            }
            _ => Err("an expectation is `gateway` alone, or at least `outcome`, `reason` and `status`"),
        }
    }
}

/// What the filter must decide.
#[derive(Clone, Debug)]
pub struct DecisionExpectation {
    /// `allow`, `deny` or `would-deny`, as the record says.
    pub outcome: String,
    /// Reason, in record and answer.
    pub reason: String,
    /// Status of the response.
    pub status: u16,
    /// `retry` of the answer.
    pub retry: Option<String>,
    /// What arrived upstream.
    pub upstream: UpstreamExpectation,
    /// Members the decision record must have, at least.
    pub record: Option<serde_json::Value>,
}

/// What must have arrived upstream.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum UpstreamExpectation {
    /// `none`: nothing.
    Word(Nothing),
    /// One request.
    Request(UpstreamRequest),
}

/// The word `none`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Nothing {
    /// Nothing.
    None,
}

impl Default for UpstreamExpectation {
    fn default() -> Self {
        Self::Word(Nothing::None)
    }
}

/// A request that must have arrived upstream.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamRequest {
    /// Method.
    pub method: Option<String>,
    /// Path and query.
    pub path: Option<String>,
    /// Authority.
    pub authority: Option<String>,
    /// Fields with their values.
    #[serde(default)]
    pub has: BTreeMap<String, String>,
    /// Fields that must not have come.
    #[serde(default)]
    pub lacks: Vec<String>,
    /// Length of the body.
    pub body_bytes: Option<u64>,
    /// The body itself; `tok_*` stands for any token.
    pub body: Option<String>,
}

/// Reads a scenario. `@NAME@` in the text is replaced by what `fill` says first.
pub fn read(path: &Path, fill: &[(&str, &str)]) -> Result<Scenario> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    // Steps share requests and signers by alias; the files are our own.
    let options = serde_saphyr::options! { budget: serde_saphyr::budget! { enforce_alias_anchor_ratio: false } };
    serde_saphyr::from_str_with_options(&fill_in(&text, fill), options)
        .with_context(|| format!("{} is no scenario", path.display()))
}

/// Replaces `@NAME@` by its value, and `@a*500@` by 500 letters.
pub fn fill_in(text: &str, fill: &[(&str, &str)]) -> String {
    let text = fill.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("@{name}@"), value));
    let mut parts = text.split("@a*");
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once('@').and_then(|(count, rest)| Some((count.parse().ok()?, rest))) {
            Some((count, rest)) => filled.extend(["a".repeat(count).as_str(), rest]),
            None => filled.extend(["@a*", part]),
        }
    }
    filled
}

/// All scenario files, sorted.
pub fn all(root: &Path) -> Result<Vec<PathBuf>> {
    let folder = root.join("tests/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    Ok(files)
}
