//! The decision of the policy about one request, in two steps: by its head, then by what it carries.
//!
//! Deny wins, over every destination that the host fits. An allow rule must fit whole. Where several do, the closest
//! gives what is set. A refusal names the rule that came closest and the first condition that failed, in this order:
//! grant, agent, destination, deny rules, tenant, scope, delegation, binding, method, path, conditions, class, size,
//! parameters, budgets. What a deny rule or a destination says of the body is judged once it is there, and still comes first.
//! Nothing depends on the order in which anything is written.

mod charge;
mod content;
mod firmness;
mod head;
mod payload;
mod specificity;

pub use charge::Unpaid;
pub use payload::{Candidates, Grant, Payload, Scrutiny, Verdict};
pub use specificity::Specificity;

use super::Mode;
use super::destination::Destination;
use crate::context::AgentContext;
use crate::decision::Reason;
use crate::evidence::record::Binding;
use std::sync::Arc;

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The verified context.
    pub context: &'a AgentContext,
    /// Index of the signer whose key verified it.
    pub signer: usize,
    /// How the context is bound to the request.
    pub binding: Binding,
    /// SPIFFE id of the peer's verified certificate.
    pub peer: Option<&'a str>,
}

/// What the head decides.
#[derive(Clone, Debug)]
pub enum HeadVerdict {
    /// Refused, and the refusal is enforced: nothing the request carries can change that.
    Refused(Refusal),
    /// What the request carries decides.
    Open(Candidates),
}

/// Why a request is refused.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Reason.
    pub reason: Reason,
    /// The rule that refused or came closest: `<agent>/<rule>` or `ceilings/<rule>`.
    pub rule: Option<String>,
    /// The first condition that failed, by its place in the schema.
    pub condition: Option<String>,
    /// Whether it is enforced.
    pub mode: Mode,
    /// The destination, where the request fits one.
    pub destination: Option<Arc<Destination>>,
}

/// The refusals of one request: the first that is enforced, and the first of those that are only observed.
#[derive(Debug, Default)]
struct Refusals {
    enforced: Option<Refusal>,
    observed: Option<Refusal>,
}

impl Refusals {
    fn add(&mut self, refusal: Refusal) {
        let slot = match refusal.mode {
            Mode::Enforce => &mut self.enforced,
            Mode::Monitor => &mut self.observed,
        };
        slot.get_or_insert(refusal);
    }
}
