//! What the filter knows of a request that it let go, for the guard that stands where the request leaves; and what the
//! guard records and answers when it must not.

use super::report::escaped;
use super::{Decision, Verdict, derive_id};
use crate::decision::Reason;
use crate::decision::answer::answer;
use crate::destination::{AddressClass, Leaving, Objection, Pass};
use crate::evidence::Journal;
use crate::evidence::record::{
    Binding, DecisionRecord, DestinationReference, Outcome, PayloadReference, PolicyReference, Released,
};
use crate::facts::Timestamp;
use crate::policy::{Configuration, Destination, Feedback, Gateway, Mode, ValueMask};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A decision that let a request go. Each is good for one request.
#[derive(Clone, Debug)]
pub struct Clearance {
    /// What was let go.
    pub pass: Pass,
    pub(super) decision: String,
    pub(super) host: Option<String>,
    pub(super) credentials: Option<String>,
    pub(super) terms: Terms,
    pub(super) binding: Binding,
    pub(super) agent: String,
    pub(super) session: String,
    pub(super) tenant: Option<String>,
}

/// By what it was let go.
#[derive(Clone, Debug)]
pub(super) enum Terms {
    /// As the VM has it that decided.
    Own { configuration: Arc<Configuration>, destination: Option<Arc<Destination>> },
    /// As that VM told another.
    Told(Box<Told>),
}

/// What a record of the guard says of the decision before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) policy: PolicyReference,
    pub(super) destination: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) category: Option<String>,
    pub(super) mask: ValueMask,
}

impl Terms {
    pub(super) fn told(&self) -> Told {
        match self {
            Self::Told(told) => Told::clone(told),
            Self::Own { configuration, destination } => {
                let destination = destination.as_deref();
                Told {
                    policy: PolicyReference::of(configuration.policy()),
                    destination: destination.map(|named| named.id().to_owned()),
                    kind: destination.and_then(Destination::kind).map(str::to_owned),
                    category: destination.and_then(Destination::category).map(str::to_owned),
                    mask: configuration.gateway().mask().clone(),
                }
            }
        }
    }
}

impl Clearance {
    /// Id of the decision.
    pub fn decision(&self) -> &str {
        &self.decision
    }

    /// The spelling in which the host's name is dialled, where it is not the host's own.
    pub fn host(&self) -> Option<String> {
        self.host.clone()
    }

    /// Id of the destination whose credentials the gateway adds, where it does.
    pub fn credentials(&self) -> Option<&str> {
        self.credentials.as_deref()
    }

    /// Whether the request may leave; the class of its address then.
    pub fn admit(&self, leaving: &Leaving<'_>) -> Result<AddressClass, Objection> {
        self.pass.admit(leaving)
    }
}

/// Records and answers a refusal by the guard. `clearance` is that of the decision before, where one is known.
pub fn refuse(
    gateway: &Gateway,
    journal: &mut Journal,
    now: Timestamp,
    random: &[u8; 32],
    clearance: Option<&Clearance>,
    leaving: &Leaving<'_>,
    objection: Objection,
) -> Decision {
    let (id, reason) = (derive_id(random, "guard"), Reason::DestinationResolvedForbidden);
    let text = |bytes: Option<&[u8]>| bytes.map(escaped);
    let told = clearance.map(|clearance| clearance.terms.told());
    // As it leaves: that is what is refused. The query may hold anything, and the decision before has its hash.
    let path = leaving.path.map(|path| path.split(|b| *b == b'?').next().unwrap_or_default());
    let record = DecisionRecord {
        id: id.clone(),
        time: now,
        created: None,
        gateway: gateway.id().to_owned(),
        environment: gateway.environment().map(str::to_owned),
        deployment: gateway.deployment().map(str::to_owned),
        policy: told.as_ref().map(|told| told.policy.clone()),
        mode: Mode::Enforce,
        outcome: Outcome::Deny,
        reason,
        rule: None,
        exception: None,
        condition: Some(objection.to_string()),
        follows: clearance.map(|clearance| clearance.decision.clone()),
        released: Released::None,
        binding: clearance.map(|clearance| clearance.binding),
        signer: None,
        key: None,
        peer: None,
        source: None,
        agent: clearance.map(|clearance| clearance.agent.clone()),
        session: clearance.map(|clearance| clearance.session.clone()),
        tenant: clearance.and_then(|clearance| clearance.tenant.clone()),
        user: None,
        roles: Vec::new(),
        region: None,
        delegated_by: Vec::new(),
        scope: None,
        tool: None,
        session_type: None,
        data_class: None,
        provenance: Vec::new(),
        stated_reason: None,
        attributes: BTreeMap::new(),
        destination: DestinationReference {
            id: told.as_ref().and_then(|told| told.destination.clone()),
            kind: told.as_ref().and_then(|told| told.kind.clone()),
            category: told.as_ref().and_then(|told| told.category.clone()),
            host: text(leaving.authority),
            port: clearance.map(|clearance| clearance.pass.port),
            method: text(leaving.method),
            path: text(path),
            query_digest: None,
        },
        parameters: Vec::new(),
        payload: PayloadReference::default(),
        first_seen: None,
        quarantined_until: None,
        request_id: None,
        traceparent: None,
        signature_base: None,
    };
    // Both: what the decision before did not tell, this one must not, whichever of them has the newer configuration.
    let mask = told.map_or_else(|| gateway.mask().clone(), |told| gateway.mask().with(&told.mask));
    // A refusal needs no room: what cannot be recorded one by one is folded.
    let _ = journal.append_decision(&record, Vec::new(), &mask);
    let condition = record.condition.filter(|_| clearance.is_some() && gateway.feedback() == Feedback::Full);
    let verdict = Verdict::Refuse(answer(reason, &id, None, condition.as_deref()));
    Decision { id, outcome: Outcome::Deny, reason, first_seen: false, verdict, body: None, clearance: None }
}
