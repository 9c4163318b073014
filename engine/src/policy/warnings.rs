//! What a policy may say but somebody should look at. Never part of a decision.

use super::document::rule::Selector;
use super::document::{Moment, PolicyDocument};
use super::error::{Document, Place, PolicyError, quoted};
use super::exception;
use super::node::Node;
use super::read::read;
use crate::facts::Timestamp;

/// Warnings about a merged policy that was accepted, in the order of the document. Empty for one that was not.
pub fn warnings(policy: &Node, now: Timestamp) -> Vec<PolicyError> {
    let Ok(document) = read::<PolicyDocument>(policy, Document::Policy) else { return Vec::new() };
    let mut warnings = Warnings { now, found: Vec::new() };
    warnings.signers(&document);
    warnings.ceilings(&document);
    warnings.destinations(&document);
    warnings.rules(&document);
    let mut found = warnings.found;
    found.sort_by_cached_key(|warning| policy.position(&warning.place));
    found
}

struct Warnings {
    now: Timestamp,
    found: Vec<PolicyError>,
}

impl Warnings {
    fn passed(&mut self, moment: Option<Moment>, place: &Place<'_>, problem: &str, remedy: &str) {
        if moment.is_some_and(|moment| self.now > moment.end()) {
            self.found.push(place.error(problem, remedy, ""));
        }
    }

    fn signers(&mut self, document: &PolicyDocument) {
        let root = Place::root(Document::Policy);
        let all = root.key("signers");
        for (i, signer) in document.signers.iter().enumerate() {
            let place = all.index(i);
            let keys = place.key("keys");
            for (i, key) in signer.keys.iter().enumerate() {
                let place = keys.index(i);
                let remedy = "remove the key; signatures with it are refused";
                self.passed(key.not_after, &place.key("not_after"), "the key has expired", remedy);
            }
        }
    }

    fn destinations(&mut self, document: &PolicyDocument) {
        let root = Place::root(Document::Policy);
        let all = root.key("destinations");
        for (id, destination) in document.destinations.iter() {
            let place = all.key(id);
            let remedy = match &destination.owner {
                Some(owner) => format!("let its owner {} look at it and set a new date", quoted(owner)),
                None => "name an owner, let them look at it and set a new date".to_owned(),
            };
            self.passed(destination.review, &place.key("review"), "the review is overdue", &remedy);
            if destination.open == Some(true) && destination.addresses.is_some() {
                self.found.push(place.key("addresses").error(
                    "every name there is may resolve to these closed addresses",
                    "name the hosts that do in a destination of their own",
                    "whoever has a name can point it there",
                ));
            }
            let remedy = "remove the destination or set a new date; requests there are refused";
            self.passed(destination.expires, &place.key("expires"), "the destination has expired", remedy);
        }
    }

    fn rules(&mut self, document: &PolicyDocument) {
        let root = Place::root(Document::Policy);
        let (profiles, agents) = (root.key("profiles"), root.key("agents"));
        let of_profiles = document.profiles.iter().map(|(name, p)| (profiles.key(name), &p.allow, &p.deny));
        let of_agents = document.agents.iter().map(|(name, a)| (agents.key(name), &a.allow, &a.deny));
        for (place, allow, deny) in of_profiles.chain(of_agents) {
            let (allows, denies) = (place.key("allow"), place.key("deny"));
            for (i, rule) in allow.iter().enumerate() {
                match rule.exception {
                    Some(_) => self.found.extend(exception::warning(rule, self.now, &allows.index(i))),
                    None => self.rule_expired(rule.expires, &allows.index(i)),
                }
            }
            for (i, rule) in deny.iter().enumerate() {
                self.rule_expired(rule.expires, &denies.index(i));
            }
        }
    }

    fn rule_expired(&mut self, end: Option<Moment>, rule: &Place<'_>) {
        self.passed(end, &rule.key("expires"), "the rule has expired", "remove it; it fits nothing any more");
    }

    /// A ceiling on what no destination is called is probably misspelt.
    fn ceilings(&mut self, document: &PolicyDocument) {
        let root = Place::root(Document::Policy);
        let ceilings = root.key("ceilings");
        let all = ceilings.key("deny");
        let destinations = || document.destinations.iter().map(|(_, destination)| destination);
        for (i, rule) in document.ceilings.deny.iter().enumerate() {
            let place = all.index(i);
            let to = place.key("to");
            let Selector { categories, kinds, .. } = &rule.to;
            for (i, word) in categories.iter().flatten().enumerate() {
                if !destinations().any(|destination| destination.category.as_ref() == Some(word)) {
                    self.unused(&to.key("category").index(i), "category", word);
                }
            }
            for (i, word) in kinds.iter().flatten().enumerate() {
                if !destinations().any(|destination| destination.kind.as_ref() == Some(word)) {
                    self.unused(&to.key("kind").index(i), "kind", word);
                }
            }
        }
    }

    fn unused(&mut self, place: &Place<'_>, what: &str, word: &str) {
        let problem = format!("no destination has the {what} {}", quoted(word));
        self.found.push(place.error(problem, "check its spelling, or keep it for destinations to come", ""));
    }
}
