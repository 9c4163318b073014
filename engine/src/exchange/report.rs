//! From what happened to the decision record. One place fills it, so that every outcome is recorded alike.

use super::examine::Examined;
use super::{Exchange, Surroundings};
use crate::context::Identity;
use crate::decision::Reason;
use crate::evidence::commitment::{Commitment, FieldOpening, SALT_BYTES};
use crate::evidence::record::{
    DecisionRecord, DestinationReference, Finding, Outcome, PayloadReference, PolicyReference, Released,
};
use crate::payload::digest::BodyDigest;
use crate::policy::{Destination, Mode, Refusal};
use crate::request::RequestHead;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Bytes of a destination that is recorded as it was sent, because it could not be read or nobody vouches for it.
const UNREAD_BYTES: usize = 256;

/// A refusal, and how far the request came.
pub(super) struct Denial<'a> {
    pub(super) reason: Reason,
    pub(super) rule: Option<String>,
    pub(super) condition: Option<String>,
    pub(super) mode: Mode,
    pub(super) destination: Option<Arc<Destination>>,
    pub(super) who: Who<'a>,
    pub(super) payload: Option<&'a BodyDigest>,
    /// Whether rule and condition may be told to the agent.
    pub(super) told: bool,
}

/// What is known of the sender and the destination.
#[derive(Clone, Copy)]
pub(super) enum Who<'a> {
    /// The headers could not even be read.
    Nobody,
    /// Nothing is proven.
    Unverified(&'a RequestHead),
    /// The sender is proven, the destination could not be read.
    Sender(&'a RequestHead, &'a Identity),
    /// Both.
    Request(&'a Examined),
}

impl<'a> Denial<'a> {
    fn new(reason: Reason, why: String, who: Who<'a>, told: bool) -> Self {
        let condition = Some(why);
        Self { reason, rule: None, condition, mode: Mode::Enforce, destination: None, who, payload: None, told }
    }

    /// Of a request that nobody vouches for: it is told the reason only.
    pub(super) fn unverified(reason: Reason, why: String, head: Option<&'a RequestHead>) -> Self {
        Self::new(reason, why, head.map_or(Who::Nobody, Who::Unverified), false)
    }

    /// Of a verified request whose destination could not be read.
    pub(super) fn unread(reason: Reason, why: String, head: &'a RequestHead, verified: &'a Identity) -> Self {
        Self::new(reason, why, Who::Sender(head, verified), true)
    }

    /// Of a form that is refused in every mode.
    pub(super) fn floor(reason: Reason, why: String, request: &'a Examined, payload: Option<&'a BodyDigest>) -> Self {
        Self { payload, ..Self::new(reason, why, Who::Request(request), true) }
    }

    /// Of a request that the gateway is not set up for.
    pub(super) fn unready(why: String, request: &'a Examined) -> Self {
        Self::new(Reason::InternalError, why, Who::Request(request), false)
    }

    /// Of a body that is not what was signed. Told like every failed identity: the reason only.
    pub(super) fn identity(
        reason: Reason,
        why: String,
        request: &'a Examined,
        payload: Option<&'a BodyDigest>,
    ) -> Self {
        Self { payload, ..Self::new(reason, why, Who::Request(request), false) }
    }

    /// By the policy.
    pub(super) fn policy(refusal: &Refusal, request: &'a Examined, payload: Option<&'a BodyDigest>) -> Self {
        let Refusal { reason, rule, condition, mode, destination } = refusal.clone();
        Self { reason, rule, condition, mode, destination, who: Who::Request(request), payload, told: true }
    }

    pub(super) fn into_report(self) -> Report<'a> {
        let Self { reason, rule, condition, mode, destination, who, payload, .. } = self;
        let (outcome, released) = (Outcome::Deny, Released::None);
        Report { outcome, reason, released, mode, rule, condition, destination, who, payload }
    }
}

/// Everything about a decision that its record says.
pub(super) struct Report<'a> {
    pub(super) outcome: Outcome,
    pub(super) reason: Reason,
    pub(super) released: Released,
    pub(super) mode: Mode,
    pub(super) rule: Option<String>,
    pub(super) condition: Option<String>,
    pub(super) destination: Option<Arc<Destination>>,
    pub(super) who: Who<'a>,
    pub(super) payload: Option<&'a BodyDigest>,
}

impl Report<'_> {
    /// The record, and the openings of what it only commits to.
    pub(super) fn record(&self, exchange: &Exchange, around: &Surroundings<'_>) -> (DecisionRecord, Vec<FieldOpening>) {
        let (gateway, policy) = (exchange.configuration.gateway(), exchange.configuration.policy());
        let facts = &exchange.facts;
        let (head, verified) = match self.who {
            Who::Nobody => (None, None),
            Who::Unverified(head) => (Some(head), None),
            Who::Sender(head, verified) => (Some(head), Some(verified)),
            Who::Request(request) => (Some(&request.head), Some(&request.verified)),
        };
        let context = verified.map(Identity::context);
        let mut openings = Vec::new();
        let mut commit = |field: &'static str, value: Option<&String>| {
            value.map(|value| {
                let commitment = Commitment::new(field, value, salt(&facts.random, field));
                openings.push(commitment.opening);
                commitment.text
            })
        };
        let user = commit("user", context.and_then(|c| c.user.as_ref()));
        let stated_reason = commit("stated_reason", context.and_then(|c| c.reason.as_ref()));
        let record = DecisionRecord {
            id: exchange.id.clone(),
            time: around.now,
            created: verified.and_then(Identity::created),
            gateway: gateway.id().to_owned(),
            environment: gateway.environment().map(str::to_owned),
            deployment: gateway.deployment().map(str::to_owned),
            policy: Some(PolicyReference::of(policy)),
            mode: self.mode,
            outcome: self.outcome,
            reason: self.reason,
            rule: self.rule.clone(),
            exception: self.rule.as_deref().and_then(|rule| policy.exception(rule)).map(str::to_owned),
            condition: self.condition.clone(),
            follows: None,
            released: self.released,
            binding: verified.map(Identity::binding),
            signer: verified.and_then(|v| policy.signer(v.signer())).map(|signer| signer.id().to_owned()),
            key: verified.map(|v| v.key().to_owned()),
            peer: facts.peer.clone(),
            source: facts.source.clone(),
            agent: context.map(|c| c.agent.clone()),
            session: context.map(|c| c.session.clone()),
            tenant: context.and_then(|c| c.tenant.clone()),
            user,
            roles: context.map(|c| c.roles.clone()).unwrap_or_default(),
            region: context.and_then(|c| c.region.clone()),
            delegated_by: context.map(|c| c.delegated_by.clone()).unwrap_or_default(),
            scope: context.and_then(|c| c.scope.clone()),
            tool: context.and_then(|c| c.tool.clone()),
            session_type: context.and_then(|c| c.session_type).map(|t| t.word().to_owned()),
            data_class: context.map(|c| c.effective_data_class().word().to_owned()),
            provenance: context.map(|c| c.provenance.iter().map(|p| p.word().to_owned()).collect()).unwrap_or_default(),
            stated_reason,
            attributes: context.map(|c| c.attributes.clone()).unwrap_or_default(),
            destination: self.destination(around),
            parameters: exchange.looked.parameters.clone(),
            payload: payload_reference(self.payload, &exchange.looked.findings),
            first_seen: exchange.first_seen,
            quarantined_until: exchange.quarantined_until,
            request_id: facts.request_id.clone(),
            traceparent: head.and_then(|head| head.single("traceparent")).and_then(traceparent),
            signature_base: verified.map(|v| sha256_text(v.digest())),
        };
        (record, openings)
    }

    fn destination(&self, around: &Surroundings<'_>) -> DestinationReference {
        let keyed = |query: &str| around.journal.keyed_hash(query.as_bytes());
        match self.who {
            Who::Nobody => DestinationReference::default(),
            Who::Unverified(head) | Who::Sender(head, _) => {
                let path = head.path.as_deref().unwrap_or_default();
                let (path, query) = match path.iter().position(|b| *b == b'?') {
                    Some(at) => (path.get(..at).unwrap_or_default(), path.get(at + 1..)),
                    None => (path, None),
                };
                DestinationReference {
                    host: Some(escaped(&head.authority)),
                    method: Some(escaped(&head.method)),
                    path: Some(escaped(path)),
                    query_digest: query.map(|query| around.journal.keyed_hash(query)),
                    ..DestinationReference::default()
                }
            }
            Who::Request(request) => {
                let destination = &request.destination;
                let named = self.destination.as_deref();
                DestinationReference {
                    id: named.map(|named| named.id().to_owned()),
                    kind: named.and_then(Destination::kind).map(str::to_owned),
                    category: named.and_then(Destination::category).map(str::to_owned),
                    host: Some(destination.host.to_string()),
                    port: Some(destination.port),
                    method: Some(request.method.clone()),
                    path: destination.path.as_ref().map(|path| path.raw().to_owned()),
                    query_digest: destination.query.as_deref().map(keyed),
                }
            }
        }
    }
}

fn payload_reference(digest: Option<&BodyDigest>, findings: &[Finding]) -> PayloadReference {
    let Some(digest) = digest else { return PayloadReference::default() };
    PayloadReference {
        bytes: digest.bytes(),
        digest: (digest.bytes() > 0).then(|| sha256_text(digest.sha256())),
        findings: findings.to_vec(),
    }
}

/// `sha256:<base64>`.
pub(super) fn sha256_text(hash: &[u8; 32]) -> String {
    format!("sha256:{}", STANDARD.encode(hash))
}

/// A salt of its own for every field, from the request's random bytes.
fn salt(random: &[u8; 32], field: &str) -> [u8; SALT_BYTES] {
    let hash = Sha256::new().chain_update(b"exeat/v1 salt ").chain_update(field).chain_update(random).finalize();
    let mut salt = [0; SALT_BYTES];
    for (to, from) in salt.iter_mut().zip(hash) {
        *to = from;
    }
    salt
}

/// What was sent, cut and escaped: it proved nothing, so it is kept short.
pub(super) fn escaped(bytes: &[u8]) -> String {
    let cut = bytes.len() > UNREAD_BYTES;
    let mut text = bytes.get(..UNREAD_BYTES).unwrap_or(bytes).escape_ascii().to_string();
    if cut {
        text.push_str("...");
    }
    text
}

/// A `traceparent` in the form of W3C Trace Context section 3.2, version 00; anything else is not recorded.
fn traceparent(value: &[u8]) -> Option<String> {
    let fits = value.len() == 55
        && value.iter().enumerate().all(|(at, byte)| match at {
            2 | 35 | 52 => *byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        });
    fits.then(|| String::from_utf8_lossy(value).into_owned())
}
