//! What a change of the policy can never do: a stricter rule never lets more go, a team never touches another team, and what is
//! left out for a gateway was nothing to it.

use super::generate::{AGENTS, agent, allow, policy, request, rules};
use super::properties::{allows, leaves, trace};
use super::{accept, edited};
use crate::policy::node::Node;
use crate::policy::prune::prune;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Ways to narrow an allow rule; `at` chooses where there are several.
fn narrowed(mut rule: Value, how: usize, at: prop::sample::Index) -> Value {
    let fewer = |list: &mut Value| {
        if let Some(items) = list.as_array_mut().filter(|items| items.len() > 1) {
            items.remove(at.index(items.len()));
        }
    };
    match how {
        0 => fewer(&mut rule["paths"]),
        1 if rule["methods"].is_array() => fewer(&mut rule["methods"]),
        1 => rule["methods"] = json!(["GET"]),
        2 => rule["when"]["session_type"] = json!(["scheduled"]),
        3 => rule["limits"]["body"] = json!("0B"),
        4 => rule["limits"]["provenance"]["third-party"]["url"] = json!("0B"),
        5 => rule["expires"] = json!("2026-11-19"),
        6 if rule["to"].is_array() => fewer(&mut rule["to"]),
        6 => rule["to"]["id"] = json!(["a"]),
        _ if rule["binding"].is_array() => fewer(&mut rule["binding"]),
        _ => {}
    }
    rule
}

/// Ways to widen a deny rule.
fn widened(mut rule: Value, how: usize) -> Value {
    match how {
        0 => _ = rule.as_object_mut().unwrap().remove("methods"),
        1 => _ = rule.as_object_mut().unwrap().remove("paths"),
        2 => _ = rule.as_object_mut().unwrap().remove("when"),
        // Those that every policy has, open to all teams, or one demand less.
        3 => match &mut rule["to"] {
            Value::Array(ids) => {
                let more = ["a", "b", "c", "d"].map(Value::from);
                ids.extend(more.into_iter().filter(|id| !ids.contains(id)).collect::<Vec<_>>());
            }
            Value::Object(selector) if selector.len() > 1 => _ = selector.remove("kind"),
            _ => {}
        },
        4 => {
            if let Some(paths) = rule.get_mut("paths").and_then(Value::as_array_mut) {
                paths.push(json!("/**"));
            }
        }
        _ => {
            if let Some(when) = rule.get_mut("when").and_then(Value::as_object_mut) {
                when.retain(|member, _| member == "roles");
            }
        }
    }
    rule
}

/// The policy with everything in it that is for people, and with profiles that nobody uses.
fn talkative(mut policy: Value, unused: Vec<Value>) -> Value {
    for destination in policy["destinations"].as_object_mut().unwrap().values_mut() {
        for (key, value) in
            [("owner", "o@acme.example"), ("purpose", "p"), ("change", "CHG-1"), ("review", "2026-01-01")]
        {
            destination[key] = json!(value);
        }
    }
    policy["profiles"]["unused"] = json!({"allow": rules(unused, "u"), "deny": []});
    for agent in policy["agents"].as_object_mut().unwrap().values_mut() {
        for rule in agent["allow"].as_array_mut().unwrap().iter_mut().step_by(2) {
            rule["exception"] =
                json!({"ticket": "CHG-2", "approver": "board", "approved": "2026-11-01", "reason": "until then"});
            rule["expires"] = json!("2026-12-01");
        }
    }
    policy
}

proptest! {
    #[test]
    fn narrowing_an_allow_never_allows_more(
        policy in policy(), at in 0..AGENTS.len(), which: prop::sample::Index, how in 0..8_usize, place: prop::sample::Index,
        requests in prop::collection::vec(request(), 24),
    ) {
        let mut narrower = policy.clone();
        let list = narrower["agents"][AGENTS[at]]["allow"].as_array_mut().unwrap();
        if !list.is_empty() {
            let index = which.index(list.len());
            list[index] = narrowed(list[index].take(), how, place);
        }
        let (before, after) = (accept(&policy), accept(&narrower));
        for request in requests {
            prop_assert!(!allows(&after, &request) || allows(&before, &request), "{:?}", request);
            prop_assert!(!leaves(&after, &request) || leaves(&before, &request), "{:?}", request);
        }
    }

    #[test]
    fn widening_a_deny_never_allows_more(
        policy in policy(), at in 0..=AGENTS.len(), which: prop::sample::Index, how in 0..6_usize,
        requests in prop::collection::vec(request(), 24),
    ) {
        let mut wider = policy.clone();
        let list = match AGENTS.get(at) {
            Some(agent) => &mut wider["agents"][agent]["deny"],
            None => &mut wider["ceilings"]["deny"],
        };
        let list = list.as_array_mut().unwrap();
        if !list.is_empty() {
            let index = which.index(list.len());
            list[index] = widened(list[index].take(), how);
        }
        let (before, after) = (accept(&policy), accept(&wider));
        for request in requests {
            prop_assert!(!allows(&after, &request) || allows(&before, &request), "{:?}", request);
            prop_assert!(!leaves(&after, &request) || leaves(&before, &request), "{:?}", request);
        }
    }

    #[test]
    fn a_further_team_changes_nothing_for_others(
        policy in policy(), (name, newcomer) in agent("green/one"), profile in prop::collection::vec(allow(), 0..3),
        requests in prop::collection::vec(request(), 16),
    ) {
        // The shared profile may have rules to destinations that are closed to a new team, and a rule's id only once.
        let mut more = edited(policy.clone(), &format!("/agents/{}", name.replace('/', "~1")), newcomer);
        more["agents"][&name]["use"] = json!(["green/own"]);
        more["profiles"]["green/own"] = json!({"team": "green", "allow": rules(profile, "g"), "deny": []});
        let (before, after) = (accept(&policy), accept(&more));
        for request in requests {
            prop_assert_eq!(trace(&before, &request), trace(&after, &request), "{:?}", request);
        }
    }

    #[test]
    fn what_is_left_out_for_a_gateway_changes_nothing(
        policy in policy(), unused in prop::collection::vec(allow(), 0..2), requests in prop::collection::vec(request(), 16),
    ) {
        let whole = talkative(policy, unused);
        let mut lean: Node = serde_json::from_value(whole.clone()).unwrap();
        let left_out = prune(&mut lean);
        let lean = serde_json::to_value(&lean).unwrap();
        let destinations = whole["destinations"].as_object().unwrap().len();
        prop_assert_eq!(left_out.destinations, destinations);
        prop_assert!(left_out.profiles.contains(&"unused".to_owned()));
        let (before, after) = (accept(&whole), accept(&lean));
        for request in requests {
            prop_assert_eq!(trace(&before, &request), trace(&after, &request), "{:?}", request);
            let rule = |configuration: &crate::policy::Configuration| match request.judge(configuration) {
                crate::policy::Verdict::Allowed(grant) => Some(grant.rule().to_owned()),
                crate::policy::Verdict::Refused(refusal) => refusal.rule,
            };
            let ticket = |configuration: &crate::policy::Configuration| {
                rule(configuration).and_then(|rule| configuration.policy().exception(&rule).map(str::to_owned))
            };
            prop_assert_eq!(ticket(&before), ticket(&after));
        }
        // Once is enough.
        let mut again: Node = serde_json::from_value(lean.clone()).unwrap();
        prop_assert!(prune(&mut again).is_empty());
    }
}

/// What is left out is gone, and what is not for people alone stays.
#[test]
fn nothing_else_is_left_out() {
    let whole = talkative(super::policy(), vec![]);
    let mut lean: Node = serde_json::from_value(whole.clone()).unwrap();
    let left_out = prune(&mut lean);
    assert_eq!(
        left_out.to_string(),
        "profiles that no agent uses (unused); owner, purpose, change, review of 4 destinations; reason of 3 exceptions"
    );
    let mut expected = whole;
    for destination in expected["destinations"].as_object_mut().unwrap().values_mut() {
        destination
            .as_object_mut()
            .unwrap()
            .retain(|key, _| !["owner", "purpose", "change", "review"].contains(&key.as_str()));
    }
    expected["profiles"].as_object_mut().unwrap().remove("unused");
    for agent in expected["agents"].as_object_mut().unwrap().values_mut() {
        for rule in agent["allow"].as_array_mut().unwrap() {
            if let Some(exception) = rule.get_mut("exception") {
                exception.as_object_mut().unwrap().remove("reason");
            }
        }
    }
    assert_eq!(serde_json::to_value(&lean).unwrap(), expected);
}
