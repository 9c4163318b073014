//! What holds for every policy and every request.

use super::generate::{AGENTS, deny, policy, request};
use super::{Request, accept, document, naive};
use crate::evidence::record::Binding;
use crate::policy::{Configuration, Mode, Verdict};
use proptest::prelude::*;
use serde_json::{Value, json};

pub(super) fn allows(configuration: &Configuration, request: &Request) -> bool {
    matches!(request.judge(configuration), Verdict::Allowed(_))
}

/// Whether it leaves, allowed or only observed.
pub(super) fn leaves(configuration: &Configuration, request: &Request) -> bool {
    match request.judge(configuration) {
        Verdict::Allowed(_) => true,
        Verdict::Refused(refusal) => refusal.mode == Mode::Monitor,
    }
}

/// What must not depend on any order: the verdict with its rule, reason and condition, and what goes on.
pub(super) fn trace(configuration: &Configuration, request: &Request) -> String {
    let set = match request.judge(configuration) {
        Verdict::Allowed(grant) => format!("{:?}", grant.set().collect::<Vec<_>>()),
        Verdict::Refused(refusal) => {
            format!("{:?}", refusal.destination.map(|destination| destination.id().to_owned()))
        }
    };
    format!("{} {set}", request.outcome(configuration))
}

/// The policy as text, with the entries of every map and every list of rules, hosts or values in another order.
pub(super) fn shuffled(value: &Value, seed: u64) -> String {
    fn mix(seed: u64, index: usize) -> u64 {
        (seed ^ u64::try_from(index).unwrap())
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
            .wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }
    let permuted = |texts: Vec<String>| {
        let mut texts: Vec<(u64, String)> =
            texts.into_iter().enumerate().map(|(i, text)| (mix(seed, i), text)).collect();
        texts.sort();
        texts.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(",")
    };
    match value {
        Value::Array(items) => {
            format!("[{}]", permuted(items.iter().map(|item| shuffled(item, seed.wrapping_add(1))).collect()))
        }
        Value::Object(entries) => {
            let entries =
                entries.iter().map(|(key, value)| format!("{}:{}", json!(key), shuffled(value, seed.wrapping_add(7))));
            format!("{{{}}}", permuted(entries.collect()))
        }
        other => other.to_string(),
    }
}

fn without_modes(mut value: Value) -> Value {
    match &mut value {
        Value::Object(entries) => {
            entries.remove("mode");
            entries.values_mut().for_each(|value| *value = without_modes(value.take()));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| *value = without_modes(value.take())),
        _ => {}
    }
    value
}

proptest! {
    #[test]
    fn a_naive_evaluator_agrees(policy in policy(), requests in prop::collection::vec(request(), 24)) {
        let configuration = accept(&policy);
        for request in requests {
            prop_assert_eq!(
                allows(&configuration, &request), naive::allows(&policy, &request),
                "{:?}\n{}", request, request.outcome(&configuration)
            );
        }
    }

    #[test]
    fn order_never_matters(policy in policy(), requests in prop::collection::vec(request(), 12), seed: u64) {
        let configuration = accept(&policy);
        let text = format!("{{\"policy\":{},\"role\":\"filter\",\"gateway\":{}}}", shuffled(&policy, seed), super::gateway());
        let other = Configuration::accept(text.as_bytes()).unwrap();
        for request in requests {
            prop_assert_eq!(trace(&configuration, &request), trace(&other, &request), "{:?}", request);
        }
    }

    #[test]
    fn adding_a_deny_never_allows_more(policy in policy(), rule in deny(), at in 0..4_usize, requests in prop::collection::vec(request(), 24)) {
        let before = accept(&policy);
        let mut stricter = policy.clone();
        let mut rule = rule;
        rule["id"] = json!("added");
        let list = match AGENTS.get(at) {
            Some(agent) => &mut stricter["agents"][agent]["deny"],
            None => &mut stricter["ceilings"]["deny"],
        };
        list.as_array_mut().unwrap().push(rule);
        let after = accept(&stricter);
        for request in requests {
            prop_assert!(!allows(&after, &request) || allows(&before, &request), "{:?}", request);
            prop_assert!(!leaves(&after, &request) || leaves(&before, &request), "{:?}", request);
        }
    }

    #[test]
    fn removing_an_allow_never_allows_more(policy in policy(), at in 0..3_usize, which: prop::sample::Index, requests in prop::collection::vec(request(), 24)) {
        let before = accept(&policy);
        let mut smaller = policy.clone();
        let list = smaller["agents"][AGENTS[at]]["allow"].as_array_mut().unwrap();
        if !list.is_empty() {
            list.remove(which.index(list.len()));
        }
        let after = accept(&smaller);
        for request in requests {
            prop_assert!(!allows(&after, &request) || allows(&before, &request), "{:?}", request);
            prop_assert!(!leaves(&after, &request) || leaves(&before, &request), "{:?}", request);
        }
    }

    #[test]
    fn monitor_of_the_policy_changes_only_what_is_enforced(policy in policy(), requests in prop::collection::vec(request(), 12)) {
        // The mode changes only whether a refusal is enforced, never what is refused.
        let enforced = accept(&policy);
        let mut observed = policy.clone();
        observed["mode"] = json!("monitor");
        let observed = accept(&observed);
        for request in requests {
            prop_assert_eq!(allows(&enforced, &request), allows(&observed, &request));
            // What is not signed with the request leaves only where a rule names its binding.
            let bound = request.binding == Binding::Request;
            prop_assert!(!bound || leaves(&observed, &request), "{}", request.outcome(&observed));
        }
    }

    #[test]
    fn monitor_and_enforce_differ_in_outcome_only(policy in policy(), requests in prop::collection::vec(request(), 12)) {
        // Where agents and rules say nothing of modes themselves.
        let policy = without_modes(policy);
        let mut observed = policy.clone();
        observed["mode"] = json!("monitor");
        let (enforced, observed) = (accept(&policy), accept(&observed));
        for request in requests {
            let (enforced, observed) = (request.outcome(&enforced), request.outcome(&observed));
            match observed.strip_prefix("would-deny ") {
                Some(said) => prop_assert_eq!(enforced, format!("deny {said}"), "{:?}", request),
                // Allowed by both; or by what stays enforced in every mode, which is then what is said.
                None => prop_assert_eq!(enforced.starts_with("allow"), observed.starts_with("allow"), "{:?}", request),
            }
        }
    }

    #[test]
    fn no_bytes_make_a_configuration_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), cut: prop::sample::Index, flip: prop::sample::Index) {
        let _ = Configuration::accept(&bytes);
        let mut good = document(&super::policy());
        let at = flip.index(good.len());
        good[at] = bytes.first().copied().unwrap_or(b'0');
        let _ = Configuration::accept(&good);
        good.truncate(cut.index(good.len()));
        prop_assert!(Configuration::accept(&good).is_err());
    }
}

/// The properties would hold of generators that never allow anything.
#[test]
fn the_generators_reach_both_sides() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let (mut allowed, mut refused) = (0, std::collections::BTreeMap::new());
    for _ in 0..200 {
        let configuration = accept(&policy().new_tree(&mut runner).unwrap().current());
        for _ in 0..20 {
            let request = request().new_tree(&mut runner).unwrap().current();
            match request.judge(&configuration) {
                Verdict::Allowed(_) => allowed += 1,
                Verdict::Refused(refusal) => *refused.entry(refusal.reason.code()).or_insert(0) += 1,
            }
        }
    }
    assert!(allowed >= 120, "{allowed} allowed, {refused:?}");
    for reason in [
        "grant-denied",
        "agent-unknown",
        "destination-unlisted",
        "rule-denied",
        "tenant-denied",
        "scope-denied",
        "delegation-denied",
        "method-denied",
        "path-denied",
        "condition-denied",
        "class-denied",
        "payload-too-large",
        "payload-provenance",
    ] {
        // ghost is not granted, so agent-unknown cannot be reached here.
        assert!(reason == "agent-unknown" || refused.contains_key(reason), "{reason}: {refused:?}");
    }
}
