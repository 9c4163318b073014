//! `audit.mask` of the gateway, checked: what of decision records does not stand in clear.

use super::document::gateway::{MaskDocument, MaskMember};
use super::error::{Place, PolicyError, quoted};
use crate::order;
use serde::Serialize;

/// Members of decision records that are left out, and those that are hashed under the gateway's key. No member is both.
///
/// INVARIANT: who delegated is no clearer than the agent, for a delegator is an agent elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ValueMask {
    drop: Vec<MaskMember>,
    hash: Vec<MaskMember>,
}

impl ValueMask {
    /// Whether everything stands in clear.
    pub fn is_empty(&self) -> bool {
        self.drop.is_empty() && self.hash.is_empty()
    }

    /// What is left out; lists and maps are empty then. In order.
    pub fn dropped(&self) -> &[MaskMember] {
        &self.drop
    }

    /// What is a keyed hash, lists and maps value by value. In order.
    pub fn hashed(&self) -> &[MaskMember] {
        &self.hash
    }

    #[cfg(test)]
    pub(crate) fn hashing(members: impl Into<Vec<MaskMember>>) -> Self {
        Self { drop: Vec::new(), hash: members.into() }
    }

    /// What either of them masks. What one leaves out is left out.
    pub fn with(&self, other: &Self) -> Self {
        let union = |a: &[MaskMember], b: &[MaskMember]| {
            let mut union = [a, b].concat();
            order::sort(&mut union);
            union.dedup();
            union
        };
        let drop = union(&self.drop, &other.drop);
        let mut hash = union(&self.hash, &other.hash);
        hash.retain(|member| !drop.contains(member));
        Self { drop, hash }
    }

    /// The mask of these members; `None` where no gateway has one: each list is in order, and none is in both.
    pub fn of(drop: Vec<MaskMember>, hash: Vec<MaskMember>) -> Option<Self> {
        let ordered = [&drop, &hash].iter().all(|list| list.is_sorted_by(|a, b| a < b));
        (ordered && !hash.iter().any(|member| drop.contains(member))).then_some(Self { drop, hash })
    }

    pub(super) fn compile(document: MaskDocument, place: &Place<'_>) -> Result<Self, PolicyError> {
        let MaskDocument { mut drop, mut hash } = document;
        let mut seen = Vec::new();
        for (key, list) in [("drop", &drop), ("hash", &hash)] {
            for (at, member) in list.iter().enumerate() {
                let place = place.key(key);
                let place = place.index(at);
                if key == "drop" && *member == MaskMember::Agent {
                    let why = "without it nobody could tell which decisions are of one agent";
                    return Err(place.error("agent cannot be left out", "write it under hash", why));
                }
                if seen.contains(member) {
                    let problem = format!("{} is named twice", quoted(member.word()));
                    return Err(place.error(problem, "name it once, under drop or under hash", ""));
                }
                seen.push(*member);
            }
        }
        if hash.contains(&MaskMember::Agent) && !seen.contains(&MaskMember::DelegatedBy) {
            hash.push(MaskMember::DelegatedBy);
        }
        order::sort(&mut drop);
        order::sort(&mut hash);
        Ok(Self { drop, hash })
    }
}

impl MaskMember {
    /// Every one there is.
    pub const ALL: [Self; 13] = [
        Self::Peer,
        Self::Source,
        Self::Agent,
        Self::Session,
        Self::Tenant,
        Self::Roles,
        Self::Region,
        Self::DelegatedBy,
        Self::Tool,
        Self::Attributes,
        Self::Path,
        Self::RequestId,
        Self::Traceparent,
    ];

    /// As it stands in records and in `gateway.yaml`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Source => "source",
            Self::Agent => "agent",
            Self::Session => "session",
            Self::Tenant => "tenant",
            Self::Roles => "roles",
            Self::Region => "region",
            Self::DelegatedBy => "delegated_by",
            Self::Tool => "tool",
            Self::Attributes => "attributes",
            Self::Path => "path",
            Self::RequestId => "request_id",
            Self::Traceparent => "traceparent",
        }
    }
}
