//! What a policy may say but somebody should look at. Never part of a decision.

use super::document::rule::Selector;
use super::document::{Moment, PolicyDocument};
use super::error::{Document, Place, PolicyError, quoted};
use super::exception;
use super::hold;
use super::node::Node;
use super::read::read;
use crate::facts::Timestamp;
use std::collections::{HashMap, HashSet};

/// Warnings about a merged policy that was accepted, in the order of the document. Empty for one that was not. `holds`: whether
/// the gateway holds heads until bodies are judged.
pub fn warnings(policy: &Node, now: Timestamp, holds: bool) -> Vec<PolicyError> {
    let Ok(document) = read::<PolicyDocument>(policy, Document::Policy) else { return Vec::new() };
    let mut warnings = Warnings { now, found: Vec::new() };
    warnings.signers(&document);
    warnings.ceilings(&document);
    warnings.destinations(&document);
    warnings.rules(&document);
    if !holds {
        warnings.found.extend(hold::warnings(&document));
    }
    let mut found = warnings.found;
    found.sort_by_cached_key(|warning| policy.position(&warning.place));
    found
}

/// What selectors can reach. Of destinations that are named alike, one stands for all: a large policy has few kinds of them.
struct Reach<'d> {
    kinds: HashSet<Named<'d>>,
    ids: HashMap<&'d str, Named<'d>>,
}

/// Category, kind and teams of a destination.
type Named<'d> = (Option<&'d str>, Option<&'d str>, Option<&'d [String]>);

impl<'d> Reach<'d> {
    fn new(document: &'d PolicyDocument) -> Self {
        let ids: HashMap<&str, Named<'_>> = document
            .destinations
            .iter()
            .map(|(id, to)| {
                (id, (to.category.as_deref(), to.kind.as_deref(), to.teams.as_ref().map(|teams| teams.0.as_slice())))
            })
            .collect();
        Self { kinds: ids.values().copied().collect(), ids }
    }

    /// Names that each are somebody's, but together nobody's, or of nobody that is open to the team.
    fn warning(&self, to: &Selector, team: Option<&str>, place: &Place<'_>) -> Option<PolicyError> {
        let fits = |(category, kind, _): &&Named<'_>| {
            let has = |words: &Option<Vec<String>>, word: Option<&str>| {
                words.as_ref().is_none_or(|words| word.is_some_and(|word| words.iter().any(|named| named == word)))
            };
            has(&to.categories, *category) && has(&to.kinds, *kind)
        };
        let reached: Vec<&Named<'_>> = match &to.ids {
            Some(ids) => ids.iter().filter_map(|id| self.ids.get(id.as_str())).filter(fits).collect(),
            None => self.kinds.iter().filter(fits).collect(),
        };
        if reached.is_empty() {
            let remedy = "leave one of the keys out, or write another";
            return Some(place.error("no destination is all of this, so the rule fits nothing", remedy, ""));
        }
        let open = |teams: &Option<&[String]>| match (team, teams) {
            (Some(team), Some(teams)) => teams.iter().any(|open| open == team),
            _ => true,
        };
        (!reached.iter().any(|(_, _, teams)| open(teams))).then(|| {
            place.error(
                format!("no destination of these is open to the team {}", quoted(team.unwrap_or_default())),
                "ask their owners to add the team to their teams, or remove the rule",
                "the rule fits nothing",
            )
        })
    }
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
        let of_profiles = document.profiles.iter().map(|(name, p)| (profiles.key(name), &p.team, &p.allow, &p.deny));
        let of_agents = document.agents.iter().map(|(name, a)| (agents.key(name), &a.team, &a.allow, &a.deny));
        let reach = Reach::new(document);
        for (place, team, allow, deny) in of_profiles.chain(of_agents) {
            let (allows, denies) = (place.key("allow"), place.key("deny"));
            let of_allow = allow.iter().enumerate().map(|(i, rule)| (allows.index(i), &rule.to));
            let of_deny = deny.iter().enumerate().map(|(i, rule)| (denies.index(i), &rule.to));
            for (rule, to) in of_allow.chain(of_deny) {
                self.found.extend(reach.warning(to, team.as_deref(), &rule.key("to")));
            }
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
