//! What docs/policy.md says becomes of a request.

use super::ask::Ask;
use super::fit::{self, many, passed, selects};
use super::sizes::{By, Measure, excesses};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) outcome: &'static str,
    pub(crate) reason: String,
    pub(crate) rule: Option<String>,
    pub(crate) condition: Option<String>,
    pub(crate) destination: Option<String>,
}

/// Something that speaks against a request.
#[derive(Clone, Debug)]
struct Objection {
    enforced: bool,
    reason: &'static str,
    rule: Option<String>,
    condition: Option<String>,
    destination: Option<String>,
}

/// A destination that the host fits, with how closely.
#[derive(Clone, Debug)]
struct Fit<'a> {
    closeness: (u8, usize),
    id: &'a str,
    value: &'a Value,
}

/// A rule of the agent, by the closest destination that it names.
#[derive(Clone, Debug)]
struct Claim<'a> {
    rule: &'a Value,
    fit: Fit<'a>,
    path: (usize, usize, bool),
}

const BUILT_IN: [&str; 11] = [
    "accept",
    "accept-encoding",
    "content-encoding",
    "content-length",
    "content-type",
    "if-modified-since",
    "if-none-match",
    "range",
    "te",
    "traceparent",
    "tracestate",
];

pub(crate) const CLASSES: [&str; 4] = ["public", "internal", "confidential", "restricted"];

pub(crate) fn decide(document: &Value, ask: &Ask) -> Decision {
    Case { gateway: &document["gateway"], policy: &document["policy"], ask }.decide()
}

struct Case<'a> {
    gateway: &'a Value,
    policy: &'a Value,
    ask: &'a Ask,
}

impl<'a> Case<'a> {
    fn decide(&self) -> Decision {
        let agent = &self.policy["agents"][&self.ask.agent];
        let fits = self.fits();
        let mut objections = Vec::new();
        self.standing(agent, &fits, &mut objections);
        self.denials(agent, &fits, &mut objections);
        let (claims, covering) = self.claims(agent, &fits, &mut objections);
        // The class.
        let class = |word: &str| CLASSES.iter().position(|known| *known == word).unwrap();
        let stated = class(self.ask.data_class.unwrap_or("restricted"));
        if let Some(fit) = fits.iter().find(|fit| stated > class(fit.value["accepts"].as_str().unwrap_or("public"))) {
            objections.push(Objection {
                enforced: self.enforced(agent, "platform"),
                reason: "class-denied",
                rule: claims.first().map(|claim| self.name(claim.rule)),
                condition: Some("accepts".to_owned()),
                destination: Some(fit.id.to_owned()),
            });
        }
        if let Some(objection) = objections.iter().find(|objection| objection.enforced) {
            return refused("deny", objection.clone());
        }
        self.payload(agent, &fits, &claims, &covering, objections.into_iter().next())
    }

    fn scheme(&self, destination: &Value) -> &'a str {
        let gateway = self.gateway["upstream"]["scheme"].as_str().unwrap_or("https");
        match destination["scheme"].as_str() {
            Some("http") => "http",
            Some(_) => "https",
            None => gateway,
        }
    }

    fn ports(&self, destination: &Value) -> Vec<u64> {
        match destination["ports"].as_array() {
            Some(ports) => ports.iter().filter_map(Value::as_u64).collect(),
            None => vec![default_port(self.scheme(destination))],
        }
    }

    /// Every destination that host and port fit, the closest first.
    fn fits(&self) -> Vec<Fit<'a>> {
        let Some(destinations) = self.policy["destinations"].as_object() else { return Vec::new() };
        let mut all = Vec::new();
        for (id, value) in destinations {
            for pattern in many(&value["hosts"]) {
                if let Some(closeness) = fit::host(pattern, &self.ask.host) {
                    all.push(Fit { closeness, id, value });
                }
            }
        }
        // What is named is not part of the open web.
        if all.iter().any(|fit| fit.closeness.0 > 0) {
            all.retain(|fit| fit.closeness.0 > 0);
        }
        let port = self.ask.port.map(u64::from).unwrap_or_else(|| {
            let usual = |fit: &&Fit<'_>| self.ports(fit.value).contains(&default_port(self.scheme(fit.value)));
            let closest = all.iter().filter(usual).max_by_key(|fit| (fit.closeness, self.scheme(fit.value) == "https"));
            default_port(closest.map_or(self.scheme(&Value::Null), |fit| self.scheme(fit.value)))
        });
        all.retain(|fit| self.ports(fit.value).contains(&port));
        all.sort_by(|a, b| b.closeness.cmp(&a.closeness).then(a.id.cmp(b.id)));
        let mut once: Vec<Fit<'_>> = Vec::new();
        for fit in all {
            if once.iter().all(|known| known.id != fit.id) {
                once.push(fit);
            }
        }
        once
    }

    /// Whether a refusal is enforced that `by` decides: the agent's `rules`, the `platform`, or a `ceiling`.
    fn enforced(&self, agent: &Value, by: &str) -> bool {
        let policy = self.policy_enforced();
        let beyond = match by {
            "rules" => false,
            "platform" => agent["team"].is_string(),
            _ => true,
        };
        match agent["mode"].as_str() {
            Some("monitor") if beyond => policy,
            Some(mode) => mode == "enforce",
            None => policy,
        }
    }

    fn policy_enforced(&self) -> bool {
        let mode = self.policy["mode"].as_str().or(self.gateway["mode"].as_str());
        mode != Some("monitor")
    }

    /// Of a deny rule, or of one allow rule.
    fn enforced_by_rule(&self, agent: &Value, rule: &Value) -> bool {
        rule["mode"].as_str().map_or_else(|| self.enforced(agent, "rules"), |mode| mode == "enforce")
    }

    /// Of what several rules cover: one that observes is enough.
    fn enforced_by_rules(&self, agent: &Value, claims: &[Claim<'_>]) -> bool {
        let modes: Vec<&str> = claims.iter().filter_map(|claim| claim.rule["mode"].as_str()).collect();
        if modes.contains(&"monitor") {
            return false;
        }
        !modes.is_empty() || self.enforced(agent, "rules")
    }

    fn name(&self, rule: &Value) -> String {
        format!("{}/{}", self.ask.agent, rule["id"].as_str().unwrap())
    }

    /// Signer, agent, destination.
    fn standing(&self, agent: &Value, fits: &[Fit<'_>], objections: &mut Vec<Objection>) {
        let first = fits.first().map(|fit| fit.id.to_owned());
        let mut object = |enforced, reason, condition: Option<String>, destination| {
            objections.push(Objection { enforced, reason, rule: None, condition, destination });
        };
        let signers = self.policy["signers"].as_array().unwrap();
        let signer = signers.iter().find(|signer| signer["id"] == self.ask.signer.as_str()).unwrap();
        let ask = self.ask;
        let missing = [
            ("agent", !fit::value(&signer["agents"], &ask.agent)),
            ("tenant", ask.tenant.as_ref().is_some_and(|tenant| !fit::value(&signer["tenants"], tenant))),
            ("user", ask.user.as_ref().is_some_and(|user| !fit::value(&signer["users"], user))),
            ("tool", ask.tool.as_ref().is_some_and(|tool| !fit::value(&signer["tools"], tool))),
            ("provenance", ask.sources().iter().any(|source| !many(&signer["provenance"]).contains(source))),
        ];
        if let Some((member, _)) = missing.iter().find(|(_, missing)| *missing) {
            let condition = Some(format!("signers/{}/{member}", ask.signer));
            object(self.policy_enforced(), "grant-denied", condition, first.clone());
        }
        if agent.is_null() {
            object(self.policy_enforced(), "agent-unknown", None, first.clone());
        }
        let platform = self.enforced(agent, "platform");
        if fits.is_empty() {
            object(platform, "destination-unlisted", None, first);
        }
        if let Some(fit) = fits.iter().find(|fit| passed(&fit.value["expires"], ask.now)) {
            object(platform, "destination-unlisted", Some("expires".to_owned()), Some(fit.id.to_owned()));
        }
    }

    fn denials(&self, agent: &Value, fits: &[Fit<'_>], objections: &mut Vec<Objection>) {
        let mut ceilings = items(&self.policy["ceilings"]["deny"]);
        ceilings.sort_by_key(|rule| rule["id"].as_str());
        for rule in ceilings {
            if self.denies(rule, fits) {
                let name = format!("ceilings/{}", rule["id"].as_str().unwrap());
                self.object(objections, self.enforced(agent, "ceiling"), "rule-denied", Some(name), None, fits.first());
            }
        }
        let mut own = self.rules(agent, "deny");
        own.sort_by_key(|rule| rule["id"].as_str());
        for rule in own {
            if self.denies(rule, fits) {
                let enforced = self.enforced_by_rule(agent, rule);
                self.object(objections, enforced, "rule-denied", Some(self.name(rule)), None, fits.first());
            }
        }
    }

    fn denies(&self, rule: &Value, fits: &[Fit<'_>]) -> bool {
        let ask = self.ask;
        fits.iter().any(|fit| selects(&rule["to"], fit.id, fit.value))
            && !passed(&rule["expires"], ask.now)
            && (rule["methods"].is_null()
                || many(&rule["methods"]).iter().any(|method| method.eq_ignore_ascii_case(&ask.method)))
            && (rule["paths"].is_null()
                || many(&rule["paths"]).iter().any(|path| fit::path(path, &ask.path, true).is_some()))
            && conditions(&rule["when"]).iter().all(|(member, values)| self.met(member, values, true))
    }

    /// The agent's own rules and those of its profiles.
    fn rules(&self, agent: &'a Value, list: &str) -> Vec<&'a Value> {
        let mut rules = items(&agent[list]);
        for profile in many(&agent["use"]) {
            rules.extend(items(&self.policy["profiles"][profile][list]));
        }
        rules
    }

    /// The allow rules that fit destination, method, path and conditions, the closest first; and those that cover it.
    fn claims(
        &self,
        agent: &'a Value,
        fits: &[Fit<'a>],
        objections: &mut Vec<Objection>,
    ) -> (Vec<Claim<'a>>, Vec<Claim<'a>>) {
        let ask = self.ask;
        let open: Vec<&Fit<'a>> = fits.iter().filter(|fit| open_to(fit.value, agent)).collect();
        let mut claims: Vec<Claim<'a>> = Vec::new();
        for rule in self.rules(agent, "allow").into_iter().filter(|rule| !passed(&rule["expires"], ask.now)) {
            // They are sorted: the first is the closest.
            if let Some(fit) = open.iter().find(|fit| selects(&rule["to"], fit.id, fit.value)) {
                claims.push(Claim { rule, fit: (*fit).clone(), path: (0, 0, false) });
            }
        }
        sort(&mut claims);
        if claims.is_empty() && !fits.is_empty() && !agent.is_null() {
            let (by, condition) = if open.is_empty() { ("platform", Some("teams")) } else { ("rules", None) };
            let enforced = self.enforced(agent, by);
            self.object(objections, enforced, "destination-unlisted", None, condition, fits.first());
        }
        self.reach(agent, fits, objections);
        // How the context is bound.
        let bound = |claim: &Claim<'_>| match claim.rule["binding"].is_null() {
            true => ask.binding == "request",
            false => many(&claim.rule["binding"]).contains(&ask.binding),
        };
        let (mut claims, unbound): (Vec<_>, Vec<_>) = claims.into_iter().partition(bound);
        if claims.is_empty() && (ask.binding != "request" || !unbound.is_empty()) {
            let enforced = ask.binding != "request" || self.enforced(agent, "rules");
            let rule = unbound.first().map(|claim| self.name(claim.rule));
            self.object(objections, enforced, "binding-denied", rule, Some("binding"), fits.first());
        }
        let rules = self.enforced(agent, "rules");
        let method = |claim: &Claim<'_>| match claim.rule["methods"].is_null() {
            true => ask.method == "GET" || ask.method == "HEAD",
            false => many(&claim.rule["methods"]).contains(&ask.method.as_str()),
        };
        let path = |claim: &Claim<'_>| {
            many(&claim.rule["paths"]).iter().filter_map(|pattern| fit::path(pattern, &ask.path, false)).max()
        };
        let mut narrow = |claims: Vec<Claim<'a>>, reason, enforced, failed: &dyn Fn(&Claim<'a>) -> Option<String>| {
            let first = claims.first().and_then(|claim| Some((claim.clone(), failed(claim)?)));
            let kept: Vec<Claim<'a>> = claims.into_iter().filter(|claim| failed(claim).is_none()).collect();
            if let (true, Some((claim, condition))) = (kept.is_empty(), first) {
                let rule = Some(self.name(claim.rule));
                self.object(objections, enforced, reason, rule, Some(&condition), Some(&claim.fit));
            }
            kept
        };
        claims = narrow(claims, "method-denied", rules, &|claim| (!method(claim)).then(|| "methods".to_owned()));
        claims = narrow(claims, "path-denied", rules, &|claim| path(claim).is_none().then(|| "paths".to_owned()));
        for claim in &mut claims {
            claim.path = path(claim).unwrap();
        }
        sort(&mut claims);
        let mut covering = claims.clone();
        let conditions_enforced = self.enforced_by_rules(agent, &claims);
        claims = narrow(claims, "condition-denied", conditions_enforced, &|claim| {
            let unmet = |(member, values): &(String, &Value)| !self.met(member, values, false);
            conditions(&claim.rule["when"]).into_iter().find(unmet).map(|(member, _)| format!("when/{member}"))
        });
        covering.extend(unbound.into_iter().filter(|claim| method(claim) && path(claim).is_some()));
        (claims, covering)
    }

    /// Tenant, scope, and those who handed the work on.
    fn reach(&self, agent: &Value, fits: &[Fit<'_>], objections: &mut Vec<Objection>) {
        let ask = self.ask;
        let enforced = self.enforced(agent, "platform");
        let tenant = |fit: &&Fit<'_>| {
            let open = fit.value["tenants"].is_null()
                || ask.tenant.as_ref().is_some_and(|tenant| many(&fit.value["tenants"]).contains(&tenant.as_str()));
            let may = match &ask.tenant {
                _ if self.policy["tenants"].is_null() => true,
                None => false,
                Some(tenant) => {
                    let selector = &self.policy["tenants"][tenant]["destinations"];
                    !selector.is_null() && selects(selector, fit.id, fit.value)
                }
            };
            !(open && may)
        };
        let scope = |fit: &&Fit<'_>| match &ask.scope {
            Some(scope) => !scope.iter().any(|word| fit.value["category"] == *word),
            None => false,
        };
        let delegated = |fit: &&Fit<'_>| {
            ask.delegated_by.iter().any(|name| {
                let other = &self.policy["agents"][name];
                let may = |rule: &&Value| !passed(&rule["expires"], ask.now) && selects(&rule["to"], fit.id, fit.value);
                !(open_to(fit.value, other) && self.rules(other, "allow").iter().any(may))
            })
        };
        let found = [
            ("tenant-denied", "tenants", fits.iter().find(tenant)),
            ("scope-denied", "scope", fits.iter().find(scope)),
            ("delegation-denied", "delegated_by", fits.iter().find(delegated)),
        ];
        for (reason, condition, fit) in found {
            if fit.is_some() {
                self.object(objections, enforced, reason, None, Some(condition), fit);
            }
        }
    }

    fn object(
        &self,
        objections: &mut Vec<Objection>,
        enforced: bool,
        reason: &'static str,
        rule: Option<String>,
        condition: Option<&str>,
        fit: Option<&Fit<'_>>,
    ) {
        let (condition, destination) = (condition.map(str::to_owned), fit.map(|fit| fit.id.to_owned()));
        objections.push(Objection { enforced, reason, rule, condition, destination });
    }

    /// Whether a condition on a member holds; what cannot be told holds only to deny.
    fn met(&self, member: &str, values: &Value, deny: bool) -> bool {
        let ask = self.ask;
        let one = |text: Option<&str>| text.map_or(deny, |text| fit::value(values, text));
        let each = |texts: Vec<&str>| match deny {
            true => texts.iter().any(|text| fit::value(values, text)),
            false => !texts.is_empty() && texts.iter().all(|text| fit::value(values, text)),
        };
        match member {
            "agent" => one(Some(&ask.agent)),
            "session" => one(Some(&ask.session)),
            "tenant" => one(ask.tenant.as_deref()),
            "user" => one(ask.user.as_deref()),
            "region" => one(ask.region.as_deref()),
            "tool" => one(ask.tool.as_deref()),
            "session_type" => one(ask.session_type),
            "data_class" => one(Some(ask.data_class.unwrap_or("restricted"))),
            "roles" if ask.roles.is_empty() => deny,
            "roles" => ask.roles.iter().any(|role| fit::value(values, role)),
            "delegated_by" => each(ask.delegated_by.iter().map(String::as_str).collect()),
            "provenance" => each(ask.sources()),
            own => one(ask.attributes.iter().find(|(name, _)| name == own).map(|(_, value)| value.as_str())),
        }
    }

    /// What the request carries, before each rule that still fits.
    fn payload(
        &self,
        agent: &Value,
        fits: &[Fit<'_>],
        claims: &[Claim<'_>],
        covering: &[Claim<'_>],
        observed: Option<Objection>,
    ) -> Decision {
        let rules_enforced = self.enforced_by_rules(agent, covering);
        let (mut first_enforced, mut first_observed, mut may_go) = (None, None, false);
        let mut note = |objection: Objection| {
            let slot = if objection.enforced { &mut first_enforced } else { &mut first_observed };
            slot.get_or_insert(objection);
        };
        for claim in claims {
            let objections = self.carried(agent, fits, Some(claim), covering, rules_enforced);
            let Some(first) = objections.first() else {
                if observed.is_some() {
                    may_go = true;
                    continue;
                }
                return Decision {
                    outcome: "allow",
                    reason: "permitted".to_owned(),
                    rule: Some(self.name(claim.rule)),
                    condition: None,
                    destination: Some(claim.fit.id.to_owned()),
                };
            };
            match objections.iter().find(|objection| objection.enforced) {
                Some(objection) => note(objection.clone()),
                None => {
                    may_go = true;
                    note(first.clone());
                }
            }
        }
        // A rule that only observes covers what others refuse; without any rule, the head was observed.
        if claims.is_empty() || !rules_enforced {
            let objections = self.carried(agent, fits, None, covering, rules_enforced);
            match objections.into_iter().find(|objection| objection.enforced) {
                Some(objection) => note(objection),
                None => may_go = true,
            }
        }
        match may_go {
            true => refused("would-deny", observed.or(first_observed).or(first_enforced).unwrap()),
            false => refused("deny", first_enforced.unwrap()),
        }
    }

    /// Credentials and sizes, under a rule or, where the request is only observed, under none.
    fn carried(
        &self,
        agent: &Value,
        fits: &[Fit<'_>],
        claim: Option<&Claim<'_>>,
        covering: &[Claim<'_>],
        rules_enforced: bool,
    ) -> Vec<Objection> {
        let mut objections = Vec::new();
        let mut headers = 0;
        for (name, value) in &self.ask.fields {
            if !self.goes_on(name, claim, covering) {
                continue;
            }
            headers += value.len() as u64;
            let Some(claim) = claim else { continue };
            let credentials = &claim.fit.value["credentials"];
            if many(&credentials["keep"]).contains(&name.as_str()) && !credentials["sha256"].is_null() {
                let hash: String = Sha256::digest(value).iter().map(|byte| format!("{byte:02x}")).collect();
                if !many(&credentials["sha256"]).contains(&hash.as_str()) && objections.is_empty() {
                    let condition = format!("destinations/{}/credentials/{name}", claim.fit.id);
                    let enforced = self.enforced(agent, "platform");
                    let rule = Some(self.name(claim.rule));
                    self.object(
                        &mut objections,
                        enforced,
                        "credential-denied",
                        rule,
                        Some(&condition),
                        Some(&claim.fit),
                    );
                }
            }
        }
        if let Some(set) = claim.and_then(|claim| claim.rule["headers"]["set"].as_object()) {
            headers +=
                set.values().filter_map(|value| self.set(value.as_str().unwrap())).map(|v| v.len() as u64).sum::<u64>();
        }
        let url = self.ask.target().len() as u64;
        let measure = Measure { url, headers, body: self.ask.body.len() as u64 };
        let destinations: Vec<&Value> = fits.iter().map(|fit| fit.value).collect();
        let rule = claim.map(|claim| claim.rule);
        for (reason, condition, by) in excesses(self.policy, rule, &destinations, &self.ask.sources(), &measure) {
            let enforced = match by {
                By::Rule => rules_enforced,
                By::Destination => self.enforced(agent, "platform"),
                By::Ceiling => self.enforced(agent, "ceiling"),
            };
            let name = claim.map(|claim| self.name(claim.rule));
            let fit = claim.map(|claim| &claim.fit).or(fits.first());
            self.object(&mut objections, enforced, reason, name, Some(&condition), fit);
        }
        objections
    }

    /// Whether a field of the client's goes on.
    fn goes_on(&self, name: &str, claim: Option<&Claim<'_>>, covering: &[Claim<'_>]) -> bool {
        if name.starts_with("x-forwarded-") || name.starts_with("x-envoy-") || name.starts_with("exeat-") {
            return false;
        }
        let Some(claim) = claim else { return true };
        let headers = &claim.rule["headers"];
        let kept = BUILT_IN.contains(&name)
            || many(&headers["keep"]).contains(&name)
            || many(&claim.fit.value["credentials"]["keep"]).contains(&name);
        let removed = covering.iter().any(|claim| many(&claim.rule["headers"]["remove"]).contains(&name));
        kept && !removed && headers["set"][name].is_null()
    }

    /// The value of a header that a rule sets.
    fn set<'v>(&'v self, text: &'v str) -> Option<&'v str> {
        match text {
            "$agent" => Some(&self.ask.agent),
            "$session" => Some(&self.ask.session),
            "$tenant" => self.ask.tenant.as_deref(),
            "$user" => self.ask.user.as_deref(),
            "$region" => self.ask.region.as_deref(),
            "$tool" => self.ask.tool.as_deref(),
            text => Some(text),
        }
    }
}

fn refused(outcome: &'static str, objection: Objection) -> Decision {
    let Objection { reason, rule, condition, destination, .. } = objection;
    Decision { outcome, reason: reason.to_owned(), rule, condition, destination }
}

/// The closest first: host, path, then the ids.
fn sort(claims: &mut [Claim<'_>]) {
    claims.sort_by(|a, b| {
        let closeness = |claim: &Claim<'_>| (claim.fit.closeness, claim.path);
        let ids = |claim: &Claim<'_>| (claim.fit.id.to_owned(), claim.rule["id"].as_str().unwrap().to_owned());
        closeness(b).cmp(&closeness(a)).then_with(|| ids(a).cmp(&ids(b)))
    });
}

fn open_to(destination: &Value, agent: &Value) -> bool {
    match (agent["team"].as_str(), destination["teams"].is_null()) {
        (Some(team), false) => many(&destination["teams"]).contains(&team),
        _ => true,
    }
}

/// Members and values of `when`, by the name of the member.
fn conditions(when: &Value) -> Vec<(String, &Value)> {
    let mut conditions: Vec<(String, &Value)> =
        when.as_object().into_iter().flatten().map(|(member, values)| (member.clone(), values)).collect();
    conditions.sort_by(|a, b| a.0.cmp(&b.0));
    conditions
}

fn items(list: &Value) -> Vec<&Value> {
    list.as_array().into_iter().flatten().collect()
}

fn default_port(scheme: &str) -> u64 {
    if scheme == "http" { 80 } else { 443 }
}
