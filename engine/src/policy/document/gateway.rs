//! `gateway.yaml`: what the platform states for one deployment. Outside the policy and its digest.

use super::values::Duration;
use crate::destination::Scheme;
use crate::policy::Mode;
use serde::{Deserialize, Serialize};

/// Below the key `gateway`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct GatewayDocument {
    /// Name of the gateway: audience of contexts, name of its evidence key, start of its logs' origins.
    pub id: String,
    /// Environment, recorded.
    pub environment: Option<String>,
    /// Deployment, recorded.
    pub deployment: Option<String>,
    /// Whether refusals are enforced where the policy says nothing nearer. Default: enforce.
    pub mode: Option<Mode>,
    /// Where the evidence key comes from.
    pub key: KeyDocument,
    /// Hold the head until the body is judged. Default: true.
    pub hold: Option<bool>,
    /// Where evidence goes.
    pub collector: CollectorDocument,
    /// How evidence is kept and delivered.
    #[serde(default)]
    pub audit: AuditDocument,
    /// The way to upstreams.
    #[serde(default)]
    pub upstream: UpstreamDocument,
    /// Freshness of signed contexts.
    #[serde(default)]
    pub context: ContextDocument,
    /// What a refused agent is told. Default: minimal.
    pub feedback: Option<Feedback>,
}

/// `key` (base64 of the 32-byte seed) and `collector.token`: a secret by the name of the variable that holds it.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct KeyDocument {
    /// Environment variable of the gateway process.
    pub env: String,
}

/// `collector`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CollectorDocument {
    /// Envoy cluster.
    pub cluster: String,
    /// Path of the request. Default: `/v1/evidence`.
    pub path: Option<String>,
    /// How long an answer may take. Default: 2 s.
    pub timeout: Option<Duration>,
    /// Where the bearer token comes from that the collector asks for. Absent: none is sent.
    pub token: Option<KeyDocument>,
}

/// `audit`.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AuditDocument {
    /// When evidence is delivered. Default: async.
    pub delivery: Option<Delivery>,
    /// Records that wait at most. Default: 4096.
    pub queue: Option<u32>,
    /// What happens when the queue is full. Default: deny.
    pub when_full: Option<WhenFull>,
    /// Members of decision records that do not stand in clear. Default: none.
    #[serde(default)]
    pub mask: MaskDocument,
}

/// `audit.mask`.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct MaskDocument {
    /// Left out. Default: none.
    #[serde(default)]
    pub drop: Vec<MaskMember>,
    /// Recorded as a keyed hash. Default: none.
    #[serde(default)]
    pub hash: Vec<MaskMember>,
}

/// What of a decision record may be masked. All else the evidence needs to mean anything, or is a hash already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum MaskMember {
    /// SPIFFE id of the peer.
    Peer,
    /// Source address.
    Source,
    /// Agent, in the name of the rule as well.
    Agent,
    /// Session.
    Session,
    /// Tenant.
    Tenant,
    /// Roles of the natural person.
    Roles,
    /// Region of the natural person.
    Region,
    /// Delegation chain.
    DelegatedBy,
    /// Tool.
    Tool,
    /// Values of members of the context without a meaning of their own.
    Attributes,
    /// Path of the destination.
    Path,
    /// The host's request id.
    RequestId,
    /// W3C trace context.
    Traceparent,
}

/// `audit.delivery`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// After the request was let go, in batches, at least once.
    Async,
    /// Before anything is let go.
    WriteAhead,
}

/// `audit.when_full`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum WhenFull {
    /// Refuse requests.
    Deny,
    /// Let requests go whose decision is counted, and not recorded.
    Drop,
}

/// `upstream`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct UpstreamDocument {
    /// Scheme towards upstreams. Default: https.
    pub scheme: Option<Scheme>,
}

/// `context`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ContextDocument {
    /// Longest age of a signature. Default: 60 s.
    pub max_age: Option<Duration>,
    /// Tolerance between clocks. Default: 5 s.
    pub skew: Option<Duration>,
    /// Keys that get tables for fast verification, some 220 KB each in every worker. Default: 32.
    pub prepared_keys: Option<u16>,
}

/// `feedback`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Feedback {
    /// The reason and what to do.
    Minimal,
    /// The rule and the condition that failed as well.
    Full,
}
