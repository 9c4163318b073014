//! Records: the exact content of the leaves. Each is one line of JSON; the leaf is the line without its newline.
//!
//! Every field of DESIGN section 6 is here from the start, so that later work fills fields in and never adds a shape. What
//! is absent is left out; lists and maps are always there, be they empty.

use crate::decision::Reason;
use crate::destination::AddressClass;
use crate::facts::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

/// What a request met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It went on.
    Allow,
    /// It was refused.
    Deny,
    /// It went on because of monitor mode; in enforce mode it would have been refused.
    WouldDeny,
}

/// How much of the request was let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Released {
    /// Nothing.
    #[serde(rename = "none")]
    None,
    /// The head, before the body was judged.
    #[serde(rename = "head")]
    Head,
    /// Head and body.
    #[serde(rename = "head+body")]
    HeadAndBody,
}

/// How the context was bound to the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Binding {
    /// Signed for exactly this request.
    Request,
    /// A bearer token of the session (JWT).
    Session,
    /// Signed for the CONNECT around it.
    Tunnel,
}

/// The policy a decision was made by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyReference {
    /// `revision` of the policy document.
    pub revision: String,
    /// `sha256:<hex>` over the policy's canonical JSON (RFC 8785).
    pub digest: String,
    /// The change that brought it, as the policy states it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
}

impl PolicyReference {
    /// Of a compiled policy.
    pub fn of(policy: &crate::policy::CompiledPolicy) -> Self {
        Self {
            revision: policy.revision().to_owned(),
            digest: policy.digest().to_owned(),
            change: policy.change().map(str::to_owned),
        }
    }
}

/// The destination of a request in canonical form.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DestinationReference {
    /// Id in the policy; absent when none fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Kind, as the policy states it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Category, as the policy states it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Canonical host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Port that is dialled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Path without query, escaped where it is not printable ASCII.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// `hmac-sha256:<base64>` of the query; absent when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_digest: Option<String>,
}

/// One parameter that a rule inspected.
#[derive(Clone, Debug, Serialize)]
pub struct InspectedParameter {
    /// Where it stands: JSON pointer or query key.
    pub at: String,
    /// `hmac-sha256:<base64>` of its value.
    pub hash: String,
}

/// What a detector found, never the find itself.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// Detector.
    pub detector: String,
    /// Where it was found.
    pub at: String,
}

/// The payload as it was when the decision was made.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PayloadReference {
    /// Bytes of the body seen.
    pub bytes: u64,
    /// `sha256:<base64>` of the body seen; absent when there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Findings of the detectors.
    pub findings: Vec<Finding>,
}

/// `kind: decision`. Made before anything is released.
#[derive(Clone, Debug, Serialize)]
pub struct DecisionRecord {
    /// Random id, 32 hex digits. The completion names it.
    pub id: String,
    /// When the decision was made.
    pub time: Timestamp,
    /// `created` of the signature, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<i64>,
    /// Gateway id.
    pub gateway: String,
    /// Environment of the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Deployment of the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment: Option<String>,
    /// Policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyReference>,
    /// Mode that held: `enforce` or `monitor`.
    pub mode: crate::policy::Mode,
    /// Outcome.
    pub outcome: Outcome,
    /// Reason.
    pub reason: Reason,
    /// The rule that decided, or the closest one: `<agent>/<rule id>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Ticket of the exception that this rule is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exception: Option<String>,
    /// The first condition that failed, for operators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// The decision that let this request go, where this one refuses it after all: the guard's, or the end of a tunnel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follows: Option<String>,
    /// What was let go.
    pub released: Released,
    /// How the context was bound; absent when nothing verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
    /// Signer id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// Key id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// SPIFFE id of the peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// Source address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The natural person: a salted commitment, its opening beside the leaf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Roles of that person.
    pub roles: Vec<String>,
    /// Region of that person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Delegation chain, originator first.
    pub delegated_by: Vec<String>,
    /// Scope; absent: unrestricted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Vec<String>>,
    /// Tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// Session type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_type: Option<String>,
    /// Data class; absent in the context counts as restricted and is recorded so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_class: Option<String>,
    /// Provenance; absent in the context counts as unknown and is recorded so.
    pub provenance: Vec<String>,
    /// Reasoning summary: a salted commitment, its opening beside the leaf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stated_reason: Option<String>,
    /// Members of the context that have no meaning of their own, as structured-field text.
    pub attributes: BTreeMap<String, String>,
    /// Destination.
    pub destination: DestinationReference,
    /// Parameters inspected.
    pub parameters: Vec<InspectedParameter>,
    /// Payload.
    pub payload: PayloadReference,
    /// Whether this agent met this destination for the first time in the life of the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_seen: Option<bool>,
    /// Until when its session is quarantined, where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quarantined_until: Option<Timestamp>,
    /// The host's request id; never join records by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// W3C trace context of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// `sha256:<base64>` of the signature base.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature_base: Option<String>,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// The response was delivered whole.
    Complete,
    /// The stream ended before the response was whole.
    Reset,
    /// The gateway answered in the upstream's place (no connection, time-out, no route).
    Gateway,
    /// It was refused after all, by the guard or for what a tunnel carried: a decision that follows says why.
    Refused,
}

/// What the guard decided of a request that was let go, at the address that was chosen for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum GuardVerdict {
    /// It left.
    Passed {
        /// Address and port, as the host wrote them.
        address: String,
        /// Class of that address.
        class: AddressClass,
    },
    /// It did not.
    Refused {
        /// Id of the decision that says why.
        decision: String,
    },
}

/// `kind: completion`. One for each decision that let something go.
#[derive(Clone, Debug, Serialize)]
pub struct CompletionRecord {
    /// Id of the decision.
    pub decision: String,
    /// When the exchange ended.
    pub time: Timestamp,
    /// Bytes of the request body received.
    pub received_bytes: u64,
    /// `sha256:<base64>` of the request body received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received_digest: Option<String>,
    /// Bytes of the request body forwarded.
    pub forwarded_bytes: u64,
    /// `sha256:<base64>` of the request body forwarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forwarded_digest: Option<String>,
    /// Times the request was sent upstream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u64>,
    /// What the guard decided; absent where the request never came to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guard: Option<GuardVerdict>,
    /// Address it was sent to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// Status of the response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Bytes of the response body.
    pub response_bytes: u64,
    /// Milliseconds from the head of the request to the end.
    pub duration: u64,
    /// How it ended.
    pub ending: Ending,
}
