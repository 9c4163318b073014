//! Scenario files: what people write in tests/scenarios/*.yaml.

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
    /// Exact further field lines; `\xNN` stands for a byte.
    #[serde(default)]
    pub lines: Vec<String>,
    /// Body.
    pub body: Option<String>,
    /// A body of so many bytes instead.
    pub body_bytes: Option<usize>,
    /// Sends the body in chunks of so many bytes, without content-length.
    pub chunked: Option<usize>,
    /// Trailers after a chunked body.
    #[serde(default)]
    pub trailers: BTreeMap<String, String>,
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
}

/// What must come of a request.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// `allow`, `deny` or `would-deny`, as the record says.
    pub outcome: String,
    /// Reason, in record and answer.
    pub reason: String,
    /// Status of the response.
    pub status: u16,
    /// `retry` of the answer.
    pub retry: Option<String>,
    /// What arrived upstream.
    #[serde(default)]
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
}

/// Reads a scenario. `@NAME@` in the text is replaced by what `fill` says first.
pub fn read(path: &Path, fill: &[(&str, &str)]) -> Result<Scenario> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_saphyr::from_str(&fill_in(&text, fill)).with_context(|| format!("{} is no scenario", path.display()))
}

/// Replaces `@NAME@` by its value.
pub fn fill_in(text: &str, fill: &[(&str, &str)]) -> String {
    fill.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("@{name}@"), value))
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
