//! What the request carries: sizes, credentials, and the order in which all of it counts.

use super::super::Mode;
use super::super::compiled::Ceilings;
use super::super::destination::Destination;
use super::super::headers;
use super::super::limits::{Dimension, Excess, Holding, Limits, Measured, StatedBy};
use super::super::names::NameLimits;
use super::super::parameter::Parameter;
use super::super::rule::AllowRule;
use super::charge::Pay;
use super::content::Demands;
use super::firmness::{Firmness, Modes};
use super::{Refusal, Refusals};
use crate::context::Provenance;
use crate::decision::Reason;
use crate::payload::Content;
use crate::request::Field;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a request carries.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    /// Bytes of the body.
    pub body: u64,
    /// Bytes of path and query, the `?` included.
    pub url: u64,
    /// Header fields as they were received, names in lower case.
    pub fields: &'a [Field],
    /// The query, without its `?`.
    pub query: Option<&'a str>,
    /// What the body says, as far as it is known.
    pub content: Content<'a>,
}

/// What is decided in the end.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// A rule fits whole.
    Allowed(Grant),
    /// None does.
    Refused(Refusal),
}

/// Rules that fit but for what the request carries.
#[derive(Clone, Debug)]
pub struct Candidates {
    /// Closest first.
    pub(super) candidates: Vec<Candidate>,
    /// Every destination that the host fits, closest first.
    pub(super) fits: Vec<Arc<Destination>>,
    pub(super) removals: BTreeSet<String>,
    pub(super) sources: Vec<Provenance>,
    pub(super) defaults: Arc<Limits>,
    pub(super) ceilings: Arc<Ceilings>,
    pub(super) modes: Modes,
    /// Of what the rules demand that cover destination, method and path.
    pub(super) rules_mode: Mode,
    /// The head was refused, but only observed.
    pub(super) observed: Option<Refusal>,
    /// Where the agent chose the name.
    pub(super) scrutiny: Option<Scrutiny>,
    /// What is asked of the body and the query.
    pub(super) demands: Arc<Demands>,
    /// Limits of the rules that cover destination, method and path, where something is asked of the body.
    pub(super) covering: Vec<Arc<AllowRule>>,
}

/// What a name is held to that the policy does not spell out, so that an agent chose it.
#[derive(Clone, Debug)]
pub struct Scrutiny {
    /// The closest destination.
    pub destination: Arc<Destination>,
    /// What names may say there: the strictest of all destinations by that pattern.
    pub limits: NameLimits,
    /// Bytes of the name under which others may stand; `None` for an open destination.
    pub base: Option<u8>,
}

/// One rule that fits but for what the request carries.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) name: String,
    pub(super) mode: Mode,
    pub(super) set: Vec<(String, Option<String>)>,
    pub(super) parameters: Vec<Parameter>,
    pub(super) rule: Arc<AllowRule>,
    pub(super) destination: Arc<Destination>,
}

/// What a rule lets go, and how.
#[derive(Clone, Debug)]
pub struct Grant {
    pub(super) candidate: Candidate,
    removals: BTreeSet<String>,
}

impl Grant {
    /// The rule: `<agent>/<rule>`.
    pub fn rule(&self) -> &str {
        &self.candidate.name
    }

    /// The destination.
    pub fn destination(&self) -> &Arc<Destination> {
        &self.candidate.destination
    }

    /// The mode that would have held for a refusal by this rule.
    pub fn mode(&self) -> Mode {
        self.candidate.mode
    }

    /// Whether a header of the request goes on; `name` in lower case. One that the rule sets does not: its value is the
    /// rule's.
    pub fn keeps(&self, name: &str) -> bool {
        self.candidate.keeps(name, &self.removals)
    }

    /// Whose credentials the gateway adds: the id of the destination.
    pub fn injects(&self) -> Option<&str> {
        let credentials = self.candidate.destination.credentials()?;
        credentials.injected().next().map(|_| self.candidate.destination.id())
    }

    /// Headers the gateway sets.
    pub fn set(&self) -> impl Iterator<Item = (&str, &str)> {
        self.candidate.set.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_deref()?)))
    }
}

impl Candidate {
    fn keeps(&self, name: &str, removals: &BTreeSet<String>) -> bool {
        let kept = headers::BUILT_IN.contains(&name)
            || self.rule.headers.keep.iter().any(|kept| kept == name)
            || self.destination.credentials().is_some_and(|credentials| credentials.keeps(name));
        let set = self.set.iter().any(|(set, _)| set == name)
            || self.destination.credentials().is_some_and(|credentials| credentials.injects(name));
        kept && !set && !removals.contains(name) && !headers::is_reserved(name)
    }
}

/// Why a candidate does not fit after all.
pub(super) struct Objection {
    pub(super) reason: Reason,
    pub(super) condition: String,
    pub(super) mode: Mode,
}

impl Candidates {
    /// The most body bytes of which a verdict other than too large is possible.
    pub fn largest_body(&self) -> u64 {
        let limits = self.destination_limits();
        let rules = self.candidates.iter().map(|candidate| Some(&candidate.rule.limits));
        let without_rule = self.candidates.is_empty().then_some(None);
        let largest = |rule| self.holding(rule, &limits).largest_body(&self.sources);
        rules.chain(without_rule).map(largest).max().unwrap_or(0)
    }

    /// The most body bytes that are kept for what is asked of them: also where only observed, as many as the rules allow that
    /// cover the request.
    pub fn largest_read(&self) -> u64 {
        let limits = self.destination_limits();
        let largest = |rule: &Arc<AllowRule>| self.holding(Some(&rule.limits), &limits).largest_body(&self.sources);
        self.covering.iter().map(largest).max().unwrap_or(0).max(self.largest_body())
    }

    /// What the name is held to, where an agent chose it.
    pub fn scrutiny(&self) -> Option<&Scrutiny> {
        self.scrutiny.as_ref()
    }

    /// A refusal for what the session did with names. As firm as what a destination of the platform asks.
    pub fn refuse_session(&self, reason: Reason, condition: String) -> Refusal {
        let candidate = self.candidates.first();
        Refusal {
            reason,
            rule: candidate.map(|candidate| candidate.name.clone()),
            condition: Some(condition),
            mode: self.modes.of(Firmness::Platform),
            destination: self.destination().map(Arc::clone),
        }
    }

    /// The same rules, with a refusal that is only observed: it stands unless there was one before.
    #[must_use]
    pub fn observing(mut self, refusal: Refusal) -> Self {
        self.observed.get_or_insert(refusal);
        self
    }

    /// The one rule that let something go already: what comes after must fit it, whatever others would allow.
    #[must_use]
    pub fn granted(mut self, grant: &Grant) -> Self {
        let Candidate { name, destination, .. } = &grant.candidate;
        self.candidates.retain(|own| own.name == *name && Arc::ptr_eq(&own.destination, destination));
        self
    }

    /// The closest destination that the host fits.
    pub fn destination(&self) -> Option<&Arc<Destination>> {
        self.candidates.first().map(|candidate| &candidate.destination).or_else(|| self.fits.first())
    }

    /// Judges what the request carries. Never less is allowed for more bytes left out: a body that is read only in part
    /// may be judged by what was read, to refuse early.
    pub fn judge_payload(&self, payload: &Payload<'_>) -> Verdict {
        self.judge(payload, &mut |_, _| Ok(()))
    }

    /// Judges it, and asks of each rule that fits whole, the closest first, whether it pays.
    pub(super) fn judge(&self, payload: &Payload<'_>, pay: &mut Pay<'_>) -> Verdict {
        // What refuses whatever rule allows it comes first.
        let firm = self.judge_content(payload);
        if let Some(refusal) = firm.enforced {
            return Verdict::Refused(refusal);
        }
        let head = self.observed.clone().or(firm.observed);
        let limits = self.destination_limits();
        let mut refusals = Refusals::default();
        let mut observable = false;
        for candidate in &self.candidates {
            let mut objections = self.objections(Some(candidate), payload, &limits);
            // What leaves against the rules is charged to none.
            if objections.is_empty() && head.is_none() {
                objections.extend(self.unpaid(candidate, payload, pay));
            }
            let Some(first) = objections.first() else {
                if head.is_some() {
                    observable = true;
                    continue;
                }
                let grant = Grant { candidate: candidate.clone(), removals: self.removals.clone() };
                return Verdict::Allowed(grant);
            };
            let enforced = objections.iter().find(|objection| objection.mode == Mode::Enforce);
            observable |= enforced.is_none();
            refusals.add(self.refusal(Some(candidate), enforced.unwrap_or(first)));
        }
        // Without candidates the head was observed; and a rule that only observes covers what others refuse.
        if self.candidates.is_empty() || self.rules_mode == Mode::Monitor {
            let objections = self.objections(None, payload, &limits);
            match objections.iter().find(|objection| objection.mode == Mode::Enforce) {
                Some(objection) => refusals.add(self.refusal(None, objection)),
                None => observable = true,
            }
        }
        let Refusals { enforced, observed } = refusals;
        let observed = head.or(observed);
        let refusal = match observable {
            true => observed.or(enforced).map(|refusal| Refusal { mode: Mode::Monitor, ..refusal }),
            false => enforced,
        };
        // There is always one: the head left a candidate or a refusal. Closed all the same.
        Verdict::Refused(refusal.unwrap_or_else(|| self.undecided()))
    }

    /// Whether a header goes on under a candidate, or, without one, with a request that is only observed.
    fn goes_on(&self, candidate: Option<&Candidate>, name: &str) -> bool {
        match candidate {
            Some(candidate) => candidate.keeps(name, &self.removals),
            None => !headers::is_reserved(name),
        }
    }

    /// What sizes and budgets count.
    pub(super) fn measured(&self, candidate: Option<&Candidate>, payload: &Payload<'_>) -> Measured {
        let kept = payload.fields.iter().filter(|(name, _)| self.goes_on(candidate, name));
        let set = candidate.iter().flat_map(|candidate| &candidate.set).filter_map(|(_, value)| value.as_ref());
        let bytes = kept.map(|(_, value)| value.len()).chain(set.map(String::len));
        let bytes = bytes.map(|bytes| u64::try_from(bytes).unwrap_or(u64::MAX));
        let (header, headers) =
            bytes.fold((0_u64, 0_u64), |(most, sum), bytes| (most.max(bytes), sum.saturating_add(bytes)));
        Measured { url: payload.url, header, headers, body: payload.body }
    }

    /// All that speaks against a candidate, or, without one, against a request that is only observed.
    fn objections(&self, candidate: Option<&Candidate>, payload: &Payload<'_>, limits: &[&Limits]) -> Vec<Objection> {
        let kept = || payload.fields.iter().filter(|(name, _)| self.goes_on(candidate, name));
        let measured = self.measured(candidate, payload);
        let mut objections = Vec::new();
        if let Some((candidate, credentials)) =
            candidate.and_then(|candidate| Some((candidate, candidate.destination.credentials()?)))
        {
            let refused = kept().find(|(name, value)| credentials.keeps(name) && !credentials.accepts(value));
            objections.extend(refused.map(|(name, _)| Objection {
                reason: Reason::CredentialDenied,
                condition: format!("destinations/{}/credentials/{name}", candidate.destination.id()),
                mode: self.modes.of(Firmness::Platform),
            }));
        }
        let excesses = self.holding(candidate.map(|c| &c.rule.limits), limits).excesses(measured, &self.sources);
        objections.extend(excesses.into_iter().map(|excess| self.size_objection(excess)));
        objections.extend(candidate.and_then(|candidate| self.parameter_objection(candidate, payload)));
        objections
    }

    fn size_objection(&self, excess: Excess) -> Objection {
        let mode = match excess.stated_by {
            StatedBy::Rule => self.rules_mode,
            StatedBy::Destination => self.modes.of(Firmness::Platform),
            StatedBy::Ceiling => self.modes.of(Firmness::Ceiling),
        };
        let place = if excess.stated_by == StatedBy::Ceiling { "ceilings/limits" } else { "limits" };
        let dimension = excess.dimension.as_str();
        let (reason, condition) = match excess.source {
            None if excess.dimension == Dimension::Header => (Reason::HeaderDenied, format!("{place}/{dimension}")),
            None => (Reason::PayloadTooLarge, format!("{place}/{dimension}")),
            Some(source) => (Reason::PayloadProvenance, format!("{place}/provenance/{}/{dimension}", source.word())),
        };
        Objection { reason, condition, mode }
    }

    pub(super) fn refusal(&self, candidate: Option<&Candidate>, objection: &Objection) -> Refusal {
        Refusal {
            reason: objection.reason,
            rule: candidate.map(|candidate| candidate.name.clone()),
            condition: Some(objection.condition.clone()),
            mode: objection.mode,
            destination: candidate.map_or_else(|| self.fits.first(), |c| Some(&c.destination)).map(Arc::clone),
        }
    }

    fn undecided(&self) -> Refusal {
        Refusal {
            reason: Reason::InternalError,
            rule: None,
            condition: None,
            mode: Mode::Enforce,
            destination: self.fits.first().map(Arc::clone),
        }
    }

    fn destination_limits(&self) -> Vec<&Limits> {
        self.fits.iter().map(|destination| &destination.limits).collect()
    }

    fn holding<'a>(&'a self, rule: Option<&'a Limits>, destinations: &'a [&'a Limits]) -> Holding<'a> {
        Holding { rule, destinations, defaults: &self.defaults, ceilings: &self.ceilings.limits }
    }
}

impl Candidates {
    /// The smallest size that holds for the closest rule and this request's sources; `None`: any.
    pub fn limit(&self, dimension: Dimension) -> Option<u64> {
        let limits = self.destination_limits();
        let holding = self.holding(self.candidates.first().map(|candidate| &candidate.rule.limits), &limits);
        let sources = std::iter::once(None).chain(self.sources.iter().copied().map(Some));
        sources.filter_map(|source| holding.size(source, dimension)).min()
    }
}
