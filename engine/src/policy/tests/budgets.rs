//! Budgets over many requests: what holds for every policy and every order.

use super::properties::shuffled;
use super::{Request, accept, edited, gateway, policy};
use crate::ledger::budgets::Charged;
use crate::ledger::{Ledger, MemoryLedger, SessionName, Share};
use crate::payload::Content;
use crate::policy::{Configuration, HeadVerdict, Refusal, Spending, Unpaid, Verdict};
use proptest::prelude::*;
use serde_json::{Value, json};

const PATHS: [&str; 4] = ["/a", "/a/b", "/a/c", "/d"];
const PATTERNS: [&str; 5] = ["/**", "/a/**", "/a/b", "/a/*", "/d"];

/// Rules by pattern and budgets; no windows, for when one begins depends on what was charged before.
fn rules() -> impl Strategy<Value = Vec<Value>> {
    let amount = 1..5_u32;
    let rule =
        (prop::sample::subsequence(PATTERNS.to_vec(), 1..3), amount.clone(), prop::option::of(amount), any::<bool>());
    prop::collection::vec(rule, 1..5).prop_map(|rules| {
        let rules = rules.into_iter().enumerate();
        let rules = rules.map(|(i, (paths, session, tenant, first))| {
            // A window of a month does not end in these tests.
            let mut budgets = vec![format!("{session}/session")];
            budgets.extend(tenant.map(|tenant| format!("{}/tenant/30d", tenant + 2)));
            if first {
                budgets.reverse();
            }
            json!({"id": format!("r{i}"), "to": ["status"], "paths": paths, "limits": {"requests": budgets}})
        });
        rules.collect()
    })
}

fn with(rules: &[Value]) -> Value {
    edited(policy(), "/agents/ops", json!({"allow": rules}))
}

/// What comes of requests, one after another: each a path and a session.
fn play(configuration: &Configuration, requests: &[(usize, u8)]) -> Vec<String> {
    let mut ledger = MemoryLedger::new(0);
    let outcome = |(path, session): &(usize, u8)| {
        let session = format!("s-{session}");
        let context =
            format!(r#"agent="ops", session="{session}", tenant="globex", data_class=internal, provenance=(user)"#);
        let request = Request::get("status.example", PATHS[*path], &context);
        let candidates = match request.head(configuration) {
            HeadVerdict::Open(candidates) => candidates,
            HeadVerdict::Refused(refusal) => return format!("deny {}", refusal.reason),
        };
        let reading = candidates.read(&request.fields, b"");
        let payload = request.payload(Content::Known(&reading));
        let verdict = candidates.judge_and_charge(&payload, &mut |budgets, bytes| {
            let session = SessionName { tenant: Some("globex"), agent: "ops", session: &session };
            let spending = Spending { requests: 1, bytes, host: Some("status.example"), ask: false };
            let share = Share { key: "k", tenant: Some("globex") };
            let Some(charge) = budgets.charge(&session, share, &spending) else { return Ok(()) };
            match ledger.charge_budgets(&charge, request.now) {
                Charged::Within => Ok(()),
                Charged::Exhausted { budget } => {
                    let (reason, condition) = budgets.refusal(budget);
                    Err(Unpaid::Refused { reason, condition })
                }
                other => panic!("{other:?}"),
            }
        });
        match verdict {
            Verdict::Allowed(grant) => format!("allow {}", grant.rule()),
            Verdict::Refused(Refusal { reason, rule, condition, .. }) => {
                format!("deny {reason} {rule:?} {condition:?}")
            }
        }
    };
    requests.iter().map(outcome).collect()
}

fn requests() -> impl Strategy<Value = Vec<(usize, u8)>> {
    prop::collection::vec((0..PATHS.len(), 0..3_u8), 1..40)
}

proptest! {
    // Each plays the requests several times.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_rule_that_is_removed_never_lets_more_go(rules in rules(), requests in requests()) {
        let all = play(&accept(&with(&rules)), &requests);
        for removed in 0..rules.len() {
            let mut fewer = rules.clone();
            fewer.remove(removed);
            let fewer = play(&accept(&with(&fewer)), &requests);
            for (all, fewer) in all.iter().zip(&fewer) {
                prop_assert!(all.starts_with("allow") || fewer.starts_with("deny"), "without r{}: {} but {}", removed, all, fewer);
            }
        }
    }

    #[test]
    fn no_budget_is_ever_exceeded_and_order_of_writing_never_matters(rules in rules(), requests in requests(), seed: u64) {
        let policy = with(&rules);
        let outcomes = play(&accept(&policy), &requests);
        for rule in &rules {
            let name = format!("allow ops/{}", rule["id"].as_str().unwrap());
            let of = |session: Option<u8>| {
                let hits = outcomes.iter().zip(&requests);
                hits.filter(|(outcome, request)| **outcome == name && session.is_none_or(|s| s == request.1)).count()
            };
            for budget in rule["limits"]["requests"].as_array().unwrap() {
                let (amount, whose) = budget.as_str().unwrap().split_once('/').unwrap();
                let amount: usize = amount.parse().unwrap();
                match whose {
                    "session" => prop_assert!((0..3).all(|session| of(Some(session)) <= amount)),
                    _ => prop_assert!(of(None) <= amount),
                }
            }
        }
        let text = format!(r#"{{"policy":{},"role":"filter","gateway":{}}}"#, shuffled(&policy, seed), gateway());
        prop_assert_eq!(outcomes, play(&Configuration::accept(text.as_bytes()).unwrap(), &requests));
    }
}
