//! The merged policy: one document, whatever folder of files it came from.

use super::environment::Unresolved;
use super::exception::ExceptionCeilingDocument;
use super::names::{NamesDocument, QuarantineDocument};
use super::rule::{
    AllowDocument, CeilingDenyDocument, DefaultLimitsDocument, DenyDocument, LimitsDocument, Selector, SizesDocument,
};
use super::token::JwtDocument;
use super::values::{Duration, Moment, Named, OneOrMany};
use crate::context::{DataClass, Provenance};
use crate::destination::{PathOpening, Scheme};
use crate::policy::Mode;
use crate::policy::node::Node;
use serde::Deserialize;

/// The merged policy.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PolicyDocument {
    /// `exeat/v1`.
    pub schema: String,
    /// Name of this state of the policy, recorded with every decision.
    pub revision: String,
    /// The change that brought it, recorded.
    pub change: Option<String>,
    /// Whether refusals are enforced where agent and rule say nothing. Absent: as the gateway says.
    pub mode: Option<Mode>,
    /// Who may state facts.
    #[serde(default)]
    pub signers: Vec<SignerDocument>,
    /// What holds where nothing nearer is said.
    #[serde(default)]
    pub defaults: DefaultsDocument,
    /// What no agent can exceed.
    #[serde(default)]
    pub ceilings: CeilingsDocument,
    /// Tenants and what they may use. Absent: tenants are bounded by destinations alone.
    pub tenants: Option<Named<TenantDocument>>,
    /// Where requests may go.
    #[serde(default)]
    pub destinations: Named<DestinationDocument>,
    /// Rules that agents share.
    #[serde(default)]
    pub profiles: Named<ProfileDocument>,
    /// Agents, by the name they are known by.
    #[serde(default)]
    pub agents: Named<AgentDocument>,
    /// Sessions that are let out of quarantine.
    #[serde(default)]
    pub quarantine: QuarantineDocument,
    /// What differs between environments. Tools put it in its place; a gateway's policy has none.
    #[cfg_attr(feature = "schema", schemars(with = "Option<Named<super::environment::EnvironmentDocument>>"))]
    pub environments: Option<Unresolved>,
}

/// One signer and what it may speak for.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SignerDocument {
    /// Name.
    pub id: String,
    /// Public keys.
    pub keys: Vec<SignerKeyDocument>,
    /// Agents it may name.
    #[serde(default)]
    pub agents: Vec<String>,
    /// Tenants it may name.
    #[serde(default)]
    pub tenants: Vec<String>,
    /// Users it may name.
    #[serde(default)]
    pub users: Vec<String>,
    /// Tools it may name.
    #[serde(default)]
    pub tools: Vec<String>,
    /// Sources it may state.
    #[serde(default)]
    pub provenance: Vec<Provenance>,
    /// SPIFFE id that the certificate of its connection must name. Absent: any connection.
    pub spiffe: Option<String>,
    /// Its keys sign tokens, not requests.
    pub jwt: Option<JwtDocument>,
}

/// One key of a signer.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SignerKeyDocument {
    /// `keyid`. Absent: `kid` of the JWK, else the signer's id.
    pub id: Option<String>,
    /// Ed25519: base64 of 32 bytes, or a JWK. For tokens also P-256 and RSA, as a JWK.
    pub public: PublicText,
    /// Valid from.
    pub not_before: Option<Moment>,
    /// Valid to, inclusive.
    pub not_after: Option<Moment>,
}

/// A public key as it is written.
#[derive(Clone, Debug)]
pub enum PublicText {
    /// Base64 of the 32 bytes of an Ed25519 key.
    Base64(String),
    /// A JWK, as a map. Its names occur once: the document was checked for that.
    Jwk(serde_json::Value),
}

impl<'de> Deserialize<'de> for PublicText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Node::deserialize(deserializer)? {
            // One way to write a thing: in quotes, two members of the same name would not be found.
            Node::Text(text) if text.trim_start().starts_with('{') => {
                Err(serde::de::Error::custom("a JWK in quotes\nwrite it as a map, without the quotes"))
            }
            Node::Text(text) => Ok(Self::Base64(text)),
            jwk @ Node::Map(_) => serde_json::to_value(&jwk).map(Self::Jwk).map_err(serde::de::Error::custom),
            other => Err(serde::de::Error::custom(format_args!(
                "expected a public key, found {}\nwrite base64 of 32 bytes in quotes, or a JWK",
                other.kind()
            ))),
        }
    }
}

/// `defaults`.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DefaultsDocument {
    /// Sizes where neither rule nor destination states one, budgets where the rule states none.
    #[serde(default)]
    pub limits: DefaultLimitsDocument,
    /// Sizes by source, likewise.
    #[serde(default)]
    pub provenance: Named<SizesDocument, Provenance>,
    /// What names under wildcards and open destinations may say.
    #[serde(default)]
    pub names: NamesDocument,
}

/// `ceilings`.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CeilingsDocument {
    /// What nobody may do.
    #[serde(default)]
    pub deny: Vec<CeilingDenyDocument>,
    /// Sizes nobody may exceed.
    #[serde(default)]
    pub limits: LimitsDocument,
    /// How long exceptions may live.
    #[serde(default)]
    pub exceptions: ExceptionCeilingDocument,
}

/// One tenant.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TenantDocument {
    /// Destinations it may use. Absent: none.
    pub destinations: Option<Selector>,
}

/// One destination.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DestinationDocument {
    /// Host names, `*.name`, addresses, ranges.
    pub hosts: OneOrMany<String>,
    /// Ports. Absent: the scheme's default.
    pub ports: Option<Vec<u16>>,
    /// Kind: a word of the author's choosing, such as internal, model, saas.
    pub kind: Option<String>,
    /// Category: the word that scopes and tenants name.
    pub category: Option<String>,
    /// Highest class it may receive. Absent: public.
    pub accepts: Option<DataClass>,
    /// Tenants it is open to. Absent: all.
    pub tenants: Option<OneOrMany<String>>,
    /// Teams it is open to. Absent: all.
    pub teams: Option<OneOrMany<String>>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What it is for.
    pub purpose: Option<String>,
    /// The change that brought it.
    pub change: Option<String>,
    /// When somebody must look at it again: past it, tools warn.
    pub review: Option<Moment>,
    /// Past it, requests there are refused.
    pub expires: Option<Moment>,
    /// Sizes.
    #[serde(default)]
    pub limits: LimitsDocument,
    /// Credentials that agents may send there.
    pub credentials: Option<CredentialsDocument>,
    /// Models that may be named.
    pub models: Option<OneOrMany<String>>,
    /// Addresses its names may resolve to although they are closed.
    pub addresses: Option<OneOrMany<String>>,
    /// Scheme towards it. Absent: that of the gateway.
    pub scheme: Option<Scheme>,
    /// What is open in paths although servers read it differently.
    pub paths_allow: Option<OneOrMany<PathOpening>>,
    /// Whether `*` stands for every host that no destination names. Default: false.
    pub open: Option<bool>,
    /// What names under its wildcards may say.
    #[serde(default)]
    pub names: NamesDocument,
    /// Protocols a connection may be upgraded to.
    pub upgrade: Option<OneOrMany<UpgradeName>>,
    /// Whether CONNECT is allowed.
    pub tunnel: Option<bool>,
    /// How long a tunnel or an upgraded connection may last.
    pub life: Option<Duration>,
    /// Whether a cloud metadata service may be reached.
    pub metadata: Option<bool>,
}

/// A protocol that a connection may be upgraded to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum UpgradeName {
    /// WebSocket (RFC 6455).
    Websocket,
}

/// `credentials`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CredentialsDocument {
    /// Headers of the agent's that go on.
    pub keep: Option<OneOrMany<String>>,
    /// Lower-case hex SHA-256 of the values that go on. Absent: any.
    pub sha256: Option<OneOrMany<String>>,
    /// Headers that the gateway adds, each with the name of the secret that holds its value.
    #[serde(default)]
    pub inject: Named<String>,
}

/// Rules that agents share.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ProfileDocument {
    /// The team that wrote it. Set by the merge; never in a file.
    #[cfg_attr(feature = "schema", schemars(skip))]
    pub team: Option<String>,
    /// What is allowed.
    #[serde(default)]
    pub allow: Vec<AllowDocument>,
    /// What is denied.
    #[serde(default)]
    pub deny: Vec<DenyDocument>,
}

/// One agent.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AgentDocument {
    /// The team that wrote it. Set by the merge; never in a file.
    #[cfg_attr(feature = "schema", schemars(skip))]
    pub team: Option<String>,
    /// Profiles.
    #[serde(rename = "use", default)]
    pub profiles: Vec<String>,
    /// Whether refusals of this agent are enforced.
    pub mode: Option<Mode>,
    /// What is allowed.
    #[serde(default)]
    pub allow: Vec<AllowDocument>,
    /// What is denied.
    #[serde(default)]
    pub deny: Vec<DenyDocument>,
}
