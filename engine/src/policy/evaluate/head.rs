//! The head: who, where to, how.

use super::super::agent::Agent;
use super::super::compiled::CompiledPolicy;
use super::super::destination::{Destination, Fit};
use super::super::parameter::Parameter;
use super::super::rule::AllowRule;
use super::content::{Demands, Denial};
use super::firmness::{Firmness, Modes};
use super::payload::{Candidate, Candidates, Scrutiny};
use super::specificity::Specificity;
use super::{HeadVerdict, Refusal, Refusals, Subject};
use crate::context::AgentContext;
use crate::decision::Reason;
use crate::destination::{CanonicalDestination, HostSpecificity};
use crate::evidence::record::Binding;
use crate::facts::Timestamp;
use crate::order;
use crate::payload::Treatments;
use crate::policy::Mode;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

impl CompiledPolicy {
    /// Judges the head of a request whose context was verified. `method` is as it was received.
    pub fn judge_head(
        &self,
        subject: &Subject<'_>,
        destination: &CanonicalDestination,
        method: &str,
        now: Timestamp,
    ) -> HeadVerdict {
        let agent = self.agents.get(&subject.context.agent);
        let fits = self.destinations.find(&destination.host, destination.port);
        let trial = Trial {
            policy: self,
            subject,
            context: subject.context,
            destination,
            method,
            now,
            agent,
            modes: Modes::new(self.mode, agent),
            fits,
        };
        trial.run()
    }
}

/// One request before the policy.
struct Trial<'a> {
    policy: &'a CompiledPolicy,
    subject: &'a Subject<'a>,
    context: &'a AgentContext,
    destination: &'a CanonicalDestination,
    method: &'a str,
    now: Timestamp,
    agent: Option<&'a Agent>,
    modes: Modes,
    /// Closest first.
    fits: Vec<Fit>,
}

/// An allow rule that still fits, with the closest destination through which it does.
#[derive(Clone)]
struct Claim<'a> {
    rule: &'a Arc<AllowRule>,
    fit: &'a Fit,
    specificity: Specificity,
}

impl Trial<'_> {
    fn run(&self) -> HeadVerdict {
        let mut refusals = Refusals::default();
        self.judge_standing(&mut refusals);
        let denials = self.judge_denials(&mut refusals);
        let (claims, covering) = self.judge_claims(&mut refusals);
        self.judge_class(&claims, &mut refusals);
        match refusals.enforced {
            Some(refusal) => HeadVerdict::Refused(refusal),
            None => HeadVerdict::Open(self.open(claims, &covering, denials, refusals.observed)),
        }
    }

    /// Signer, agent, and whether there is such a destination at all.
    fn judge_standing(&self, refusals: &mut Refusals) {
        let signer = self.policy.signer(self.subject.signer);
        if let Some((signer, why)) = signer.and_then(|s| Some((s.id(), s.refuses_peer(self.subject.peer)?))) {
            // A key on the wrong connection does not count, so nothing it signed can ask to be let go.
            let condition = Some(format!("signers/{signer}/spiffe: {why}"));
            refusals.add(Refusal { mode: Mode::Enforce, condition, ..self.refusal(Reason::GrantDenied) });
        }
        let uncovered = match signer {
            Some(signer) => signer.uncovered(self.context).map(|member| (signer.id(), member)),
            None => Some(("", "")),
        };
        if let Some((signer, member)) = uncovered {
            // What the signer may not say must not choose the mode: the agent's own counts for nothing here.
            let mode = if signer.is_empty() { Mode::Enforce } else { self.policy.mode };
            let condition = format!("signers/{signer}/{member}");
            refusals.add(Refusal { mode, condition: Some(condition), ..self.refusal(Reason::GrantDenied) });
        }
        if self.agent.is_none() {
            refusals.add(Refusal { mode: self.policy.mode, ..self.refusal(Reason::AgentUnknown) });
        }
        let outlet = || self.policy.outlet(&self.destination.host, Some(self.destination.port));
        if self.destination.path.is_none() && outlet().tunnel.is_none() {
            refusals.add(Refusal { mode: Mode::Enforce, ..self.refusal(Reason::TunnelDenied) });
        }
        let mode = self.modes.of(Firmness::Platform);
        if self.fits.is_empty() {
            refusals.add(Refusal { mode, ..self.refusal(Reason::DestinationUnlisted) });
        }
        // One that expired refuses even where another fits: what was closed by the closer must not fall open.
        if let Some(expired) = self.find(|destination| destination.expires.is_some_and(|end| self.now > end)) {
            let condition = Some("expires".to_owned());
            let destination = Some(expired);
            refusals.add(Refusal { mode, condition, destination, ..self.refusal(Reason::DestinationUnlisted) });
        }
    }

    /// Deny rules, over every destination that fits. Those that ask for parameters as well are given back.
    fn judge_denials(&self, refusals: &mut Refusals) -> Vec<Denial> {
        let path = self.destination.path.as_ref();
        let fits = |rule: &super::super::rule::DenyRule| {
            self.fits.iter().any(|fit| rule.to.contains(fit.destination.label))
                && rule.fits(self.method, path, self.context, self.now)
        };
        let mut ceilings: Vec<_> = self.policy.ceilings.deny.iter().filter(|rule| fits(rule)).collect();
        order::sort_by(&mut ceilings, |a, b| a.id.cmp(&b.id));
        let mode = self.modes.of(Firmness::Ceiling);
        let ceilings = ceilings.into_iter().map(|rule| (rule, mode, format!("ceilings/{}", rule.id)));
        let own = self.agent.iter().flat_map(|agent| &agent.deny).map(Arc::as_ref).filter(|rule| fits(rule));
        let mut own: Vec<_> = own.collect();
        order::sort_by(&mut own, |a, b| a.id.cmp(&b.id));
        let own = own.into_iter().map(|rule| (rule, self.modes.of_rule(rule.mode), self.rule_name(&rule.id)));
        let mut denials = Vec::new();
        for (rule, mode, name) in ceilings.chain(own) {
            if rule.parameters.is_empty() {
                refusals.add(Refusal { mode, rule: Some(name), ..self.refusal(Reason::RuleDenied) });
            } else {
                denials.push(Denial { name, mode, parameters: self.resolved(&rule.parameters) });
            }
        }
        denials
    }

    fn resolved(&self, parameters: &[Parameter]) -> Vec<Parameter> {
        parameters.iter().map(|parameter| parameter.resolve(self.context)).collect()
    }

    /// Allow rules: what is left of them, and those that cover destination, method and path.
    fn judge_claims<'t>(&'t self, refusals: &mut Refusals) -> (Vec<Claim<'t>>, Vec<Claim<'t>>) {
        let mut claims = self.claims(refusals);
        self.judge_reach(refusals);
        let rules = self.modes.of(Firmness::Rules);
        // Of each rule the closest destination.
        let mut seen = BTreeSet::new();
        claims.retain(|claim| seen.insert(claim.rule.id.clone()));
        let unbound = self.judge_binding(&mut claims, refusals);
        self.narrow(&mut claims, Reason::MethodDenied, rules, refusals, |claim| {
            if claim.rule.fits_method(self.method) { Ok(claim) } else { Err("methods".to_owned()) }
        });
        let path = self.destination.path.as_ref();
        self.narrow(&mut claims, Reason::PathDenied, rules, refusals, |mut claim| {
            claim.specificity.path = claim.rule.fits_path(path);
            if claim.specificity.path.is_some() { Ok(claim) } else { Err("paths".to_owned()) }
        });
        order::sort_by(&mut claims, |a, b| b.specificity.cmp(&a.specificity));
        let mode = self.modes.of_rules(claims.iter().map(|claim| claim.rule.mode));
        // What a rule removes from requests that it covers is removed, whatever else it asks of them.
        let covers = |claim: &Claim<'_>| claim.rule.fits_method(self.method) && claim.rule.fits_path(path).is_some();
        let covering = claims.iter().cloned().chain(unbound.into_iter().filter(covers)).collect();
        self.narrow(&mut claims, Reason::ConditionDenied, mode, refusals, |claim| {
            claim.rule.unmet(self.context).map_or(Ok(claim), |member| Err(format!("when/{member}")))
        });
        (claims, covering)
    }

    /// Keeps the rules that accept how the context is bound, and gives back the others. Where no rule names its binding, a
    /// context that is not signed with the request is refused in every mode: whoever has seen it could send it.
    fn judge_binding<'t>(&self, claims: &mut Vec<Claim<'t>>, refusals: &mut Refusals) -> Vec<Claim<'t>> {
        let binding = self.subject.binding;
        let (accepting, others): (Vec<_>, Vec<_>) = claims.drain(..).partition(|claim| claim.rule.accepts(binding));
        if accepting.is_empty() && (binding != Binding::Request || !others.is_empty()) {
            refusals.add(Refusal {
                mode: if binding == Binding::Request { self.modes.of(Firmness::Rules) } else { Mode::Enforce },
                rule: others.first().map(|claim| self.rule_name(&claim.rule.id)),
                condition: Some("binding".to_owned()),
                ..self.refusal(Reason::BindingDenied)
            });
        }
        *claims = accepting;
        others
    }

    /// Every living rule to every destination that is open to the agent's team, closest first.
    fn claims(&self, refusals: &mut Refusals) -> Vec<Claim<'_>> {
        let Some(agent) = self.agent else { return Vec::new() };
        let open: Vec<&Fit> =
            self.fits.iter().filter(|fit| fit.destination.open_to_team(agent.team.as_deref())).collect();
        let mut claims = Vec::new();
        for rule in agent.allow.iter().filter(|rule| rule.is_alive(self.now)) {
            for fit in open.iter().filter(|fit| rule.to.contains(fit.destination.label)) {
                let specificity = Specificity {
                    host: fit.specificity,
                    path: None,
                    destination: Reverse(fit.destination.id.to_string()),
                    rule: Reverse(rule.id.clone()),
                };
                claims.push(Claim { rule, fit, specificity });
            }
        }
        order::sort_by(&mut claims, |a, b| b.specificity.cmp(&a.specificity));
        if claims.is_empty() && !self.fits.is_empty() {
            let (firmness, condition) = match open.is_empty() {
                true => (Firmness::Platform, Some("teams".to_owned())),
                false => (Firmness::Rules, None),
            };
            let mode = self.modes.of(firmness);
            refusals.add(Refusal { mode, condition, ..self.refusal(Reason::DestinationUnlisted) });
        }
        claims
    }

    /// Tenant, scope and the agents that handed on the work, against every destination that fits: what the agent's own
    /// rules say does not matter here.
    fn judge_reach(&self, refusals: &mut Refusals) {
        let mode = self.modes.of(Firmness::Platform);
        let outside = |destination: &Destination| match &self.context.scope {
            Some(scope) => !destination.category().is_some_and(|category| scope.iter().any(|named| named == category)),
            None => false,
        };
        for (reason, condition, closed) in [
            (Reason::TenantDenied, "tenants", self.find(|destination| !self.tenant_may(destination))),
            (Reason::ScopeDenied, "scope", self.find(outside)),
            (Reason::DelegationDenied, "delegated_by", self.find(|destination| !self.delegators_may(destination))),
        ] {
            if let Some(closed) = closed {
                let (condition, destination) = (Some(condition.to_owned()), Some(closed));
                refusals.add(Refusal { mode, condition, destination, ..self.refusal(reason) });
            }
        }
    }

    fn tenant_may(&self, destination: &Destination) -> bool {
        let tenant = self.context.tenant.as_deref();
        let open = destination
            .tenants
            .as_ref()
            .is_none_or(|open| tenant.is_some_and(|tenant| open.iter().any(|named| named == tenant)));
        // Where tenants are granted destinations, no tenant is granted none.
        let may = self.policy.tenants.as_ref().is_none_or(|tenants| {
            let grant = tenant.and_then(|tenant| tenants.get(tenant)?.as_ref());
            grant.is_some_and(|set| set.contains(destination.label))
        });
        open && may
    }

    /// Whether each agent that handed on the work has some living allow rule to the destination.
    fn delegators_may(&self, destination: &Destination) -> bool {
        self.context.delegated_by.iter().all(|name| {
            self.policy.agents.get(name).is_some_and(|agent| {
                destination.open_to_team(agent.team.as_deref())
                    && agent.allow.iter().any(|rule| rule.is_alive(self.now) && rule.to.contains(destination.label))
            })
        })
    }

    /// The class, against every destination that fits.
    fn judge_class(&self, claims: &[Claim<'_>], refusals: &mut Refusals) {
        let class = self.context.effective_data_class();
        if let Some(closed) = self.find(|destination| class > destination.accepts) {
            refusals.add(Refusal {
                mode: self.modes.of(Firmness::Platform),
                rule: claims.first().map(|claim| self.rule_name(&claim.rule.id)),
                condition: Some("accepts".to_owned()),
                destination: Some(closed),
                ..self.refusal(Reason::ClassDenied)
            });
        }
    }

    /// Keeps the claims that pass. When none is left, that is a refusal, which names the closest that was.
    fn narrow<'t>(
        &self,
        claims: &mut Vec<Claim<'t>>,
        reason: Reason,
        mode: Mode,
        refusals: &mut Refusals,
        test: impl Fn(Claim<'t>) -> Result<Claim<'t>, String>,
    ) {
        let mut closest = None;
        let mut kept = Vec::with_capacity(claims.len());
        for claim in claims.drain(..) {
            let (rule, fit) = (claim.rule, claim.fit);
            match test(claim) {
                Ok(claim) => kept.push(claim),
                Err(condition) => {
                    closest.get_or_insert((rule, fit, condition));
                }
            }
        }
        *claims = kept;
        if let (true, Some((rule, fit, condition))) = (claims.is_empty(), closest) {
            refusals.add(Refusal {
                mode,
                rule: Some(self.rule_name(&rule.id)),
                condition: Some(condition),
                destination: Some(Arc::clone(&fit.destination)),
                ..self.refusal(reason)
            });
        }
    }

    fn open(
        &self,
        claims: Vec<Claim<'_>>,
        covering: &[Claim<'_>],
        denials: Vec<Denial>,
        observed: Option<Refusal>,
    ) -> Candidates {
        let removals = covering.iter().flat_map(|claim| claim.rule.headers.remove.iter().cloned()).collect();
        let candidate = |claim: Claim<'_>| Candidate {
            name: self.rule_name(&claim.rule.id),
            mode: self.modes.of_rule(claim.rule.mode),
            set: self.headers_set(claim.rule),
            parameters: self.resolved(&claim.rule.parameters),
            rule: Arc::clone(claim.rule),
            destination: Arc::clone(&claim.fit.destination),
        };
        let mut treatments = Treatments::default();
        let treating = || covering.iter().filter(|claim| !claim.rule.treatments.is_empty());
        treatments.extend(treating().flat_map(|claim| claim.rule.treatments.iter().cloned()));
        let enforced = treating().any(|claim| self.modes.of_rule(claim.rule.mode) == Mode::Enforce);
        let treatments = (treatments, if enforced { Mode::Enforce } else { Mode::Monitor });
        let candidates: Vec<Candidate> = claims.into_iter().map(candidate).collect();
        let models = self.fits.iter().any(|fit| fit.destination.models().is_some());
        let demands = Demands::new(&candidates, denials, models, treatments, self.method, self.context);
        let covered = covering.iter().filter(|_| demands.reads_body());
        Candidates {
            covering: covered.map(|claim| Arc::clone(claim.rule)).collect(),
            demands: Arc::new(demands),
            candidates,
            fits: self.fits.iter().map(|fit| Arc::clone(&fit.destination)).collect(),
            removals,
            sources: self.context.provenance.clone(),
            defaults: Arc::clone(&self.policy.defaults),
            ceilings: Arc::clone(&self.policy.ceilings),
            modes: self.modes,
            rules_mode: self.modes.of_rules(covering.iter().map(|claim| claim.rule.mode)),
            observed,
            scrutiny: self.scrutiny(),
        }
    }

    /// Names that no destination spells out are an agent's choice.
    fn scrutiny(&self) -> Option<Scrutiny> {
        let closest = self.fits.first()?;
        let base = match closest.specificity {
            HostSpecificity::Exact | HostSpecificity::Range(_) => return None,
            HostSpecificity::Under(length) => Some(length),
            HostSpecificity::Any => None,
        };
        let alike = self.fits.iter().filter(|fit| fit.specificity == closest.specificity);
        let limits = alike.fold(closest.destination.names, |limits, fit| limits.strictest(fit.destination.names));
        Some(Scrutiny { destination: Arc::clone(&closest.destination), limits, base })
    }

    /// What the rule sets: name, and the value where the context has it.
    fn headers_set(&self, rule: &AllowRule) -> Vec<(String, Option<String>)> {
        let set = rule.headers.set.iter();
        set.map(|(name, value)| (name.clone(), value.resolve(self.context).map(str::to_owned))).collect()
    }

    /// The closest destination of those that fit and for which this holds.
    fn find(&self, holds: impl Fn(&Destination) -> bool) -> Option<Arc<Destination>> {
        self.fits.iter().find(|fit| holds(&fit.destination)).map(|fit| Arc::clone(&fit.destination))
    }

    fn rule_name(&self, id: &str) -> String {
        format!("{}/{id}", self.context.agent)
    }

    fn refusal(&self, reason: Reason) -> Refusal {
        Refusal {
            reason,
            rule: None,
            condition: None,
            mode: Mode::Enforce,
            destination: self.fits.first().map(|fit| Arc::clone(&fit.destination)),
        }
    }
}
