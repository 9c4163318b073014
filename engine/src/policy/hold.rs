//! What a policy asks of bodies, for a gateway that lets heads go before them (`hold: false`).
//!
//! What must be changed in a body cannot be: such a policy is refused. What a body must say, or must not, can be told of none
//! when its head goes: as a condition that cannot be evaluated, it is unmet where it allows and met where it denies.

use super::document::PolicyDocument;
use super::document::parameter::ParameterDocument;
use super::error::{Document, Place, PolicyError, Problems};
use super::gateway::Gateway;

const WHY: &str = "gateway.hold is false: the head goes before the body came";

/// Refuses rules that change bodies.
pub(super) fn check(document: &PolicyDocument, gateway: &Gateway, problems: &mut Problems) {
    if gateway.holds() {
        return;
    }
    let root = Place::root(Document::Policy);
    let (profiles, agents) = (root.key("profiles"), root.key("agents"));
    let of_profiles = document.profiles.iter().map(|(name, profile)| (profiles.key(name), &profile.allow));
    let of_agents = document.agents.iter().map(|(name, agent)| (agents.key(name), &agent.allow));
    for (place, rules) in of_profiles.chain(of_agents) {
        let allow = place.key("allow");
        for (i, rule) in rules.iter().enumerate() {
            for (key, list) in [("redact", &rule.redact), ("tokenize", &rule.tokenize)] {
                if list.as_ref().is_some_and(|list| !list.0.is_empty()) {
                    problems.note(allow.index(i).key(key).error(
                        "the body cannot be changed once its head has gone",
                        "write hold: true where the host can hold heads (allow_on_headers_stop_iteration), or remove this key",
                        WHY,
                    ));
                }
            }
        }
    }
}

/// What a body would have to say, so that every request with a body is refused there.
pub(super) fn warnings(document: &PolicyDocument) -> Vec<PolicyError> {
    let mut found = Vec::new();
    let root = Place::root(Document::Policy);
    let destinations = root.key("destinations");
    for (id, destination) in document.destinations.iter() {
        if destination.models.is_some() {
            found.push(destinations.key(id).key("models").error(
                "no body can be read for the model it names, so requests with one are refused",
                "write hold: true, or remove models",
                WHY,
            ));
        }
    }
    let ceilings = root.key("ceilings");
    let denied = document.ceilings.deny.iter().map(|rule| &rule.parameters);
    parameters(denied, &ceilings.key("deny"), true, &mut found);
    let (profiles, agents) = (root.key("profiles"), root.key("agents"));
    let of_profiles = document.profiles.iter().map(|(name, p)| (profiles.key(name), &p.allow, &p.deny));
    let of_agents = document.agents.iter().map(|(name, a)| (agents.key(name), &a.allow, &a.deny));
    for (place, allow, deny) in of_profiles.chain(of_agents) {
        parameters(allow.iter().map(|rule| &rule.parameters), &place.key("allow"), false, &mut found);
        parameters(deny.iter().map(|rule| &rule.parameters), &place.key("deny"), true, &mut found);
    }
    found
}

fn parameters<'a>(
    rules: impl Iterator<Item = &'a Option<Vec<ParameterDocument>>>,
    place: &Place<'_>,
    deny: bool,
    found: &mut Vec<PolicyError>,
) {
    for (i, parameters) in rules.enumerate() {
        for (at, parameter) in parameters.iter().flatten().enumerate() {
            // `?key` stands in the query, which is there with the head.
            if parameter.at.starts_with('?') {
                continue;
            }
            let problem = match deny {
                true => "no body can be read for it, so that it counts as met by every request with a body",
                false => "no body can be read for it, so that no request with a body meets it",
            };
            let remedy = "write hold: true, or ask for something that stands in the query (?key)";
            found.push(place.index(i).key("parameters").index(at).key("at").error(problem, remedy, WHY));
        }
    }
}
