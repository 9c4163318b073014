//! A large policy is read another way than a small one: it must mean the same, and whatever is wrong must be refused.

use super::generate::{policy, request};
use super::properties::{shuffled, trace};
use super::{accept, document, edited, gateway, policy as example, refusals};
use crate::policy::Configuration;
use crate::policy::lean::read_lean;
use proptest::prelude::*;
use serde_json::{Value, json};

fn lean(json: &[u8]) -> Option<Configuration> {
    read_lean(json).map(|(gateway, policy)| Configuration::of(gateway, policy))
}

proptest! {
    #[test]
    fn it_means_the_same(policy in policy(), requests in prop::collection::vec(request(), 12), seed: u64) {
        let text = format!("{{\"policy\":{},\"role\":\"filter\",\"gateway\":{}}}", shuffled(&policy, seed), gateway());
        let (whole, lean) = (Configuration::accept(text.as_bytes()).unwrap(), lean(text.as_bytes()).unwrap());
        prop_assert_eq!(lean.policy().digest(), whole.policy().digest());
        prop_assert_eq!(lean.policy().largest_body(), whole.policy().largest_body());
        prop_assert_eq!(lean.policy().rules(), whole.policy().rules());
        for request in requests {
            prop_assert_eq!(trace(&lean, &request), trace(&whole, &request), "{:?}", request);
        }
    }

    #[test]
    fn damage_is_never_accepted_here_alone(at: prop::sample::Index, byte: u8, cut: bool) {
        let mut bytes = document(&example());
        let at = at.index(bytes.len());
        if cut {
            bytes.remove(at);
        } else {
            bytes[at] = byte;
        }
        if let Some(lean) = lean(&bytes) {
            let whole = Configuration::accept(&bytes);
            prop_assert!(whole.is_ok(), "{:?}: {}", whole.err(), String::from_utf8_lossy(&bytes));
            let whole = whole.unwrap();
            prop_assert_eq!(lean.policy().digest(), whole.policy().digest());
        }
    }
}

#[test]
fn what_is_wrong_is_refused_here_too() {
    assert!(lean(&document(&example())).is_some());
    for (pointer, value, expected) in refusals::table() {
        let pointer = pointer.replace('@', "/agents/support~1summarizer/allow/0");
        let wrong = edited(example(), &pointer, value);
        assert!(lean(&document(&wrong)).is_none(), "{pointer}: {expected}");
    }
}

#[test]
fn keys_that_occur_twice_are_refused_wherever_they_stand() {
    let good = String::from_utf8(document(&example())).unwrap();
    let twice = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replacen(from, to, 1)
    };
    for text in [
        twice(r#""role":"filter""#, r#""role":"filter","role":"filter""#),
        twice(r#""role":"filter""#, r#""role":"filter","update":"a","update":"b""#),
        twice(r#""role":"filter""#, r#""role":"filter","update":7"#),
        twice(r#""schema":"exeat/v1""#, r#""schema":"exeat/v1","schema":"exeat/v1""#),
        twice(r#""destinations":{"crm""#, r#""destinations":{},"destinations":{"crm""#),
        twice(r#""destinations":{"crm""#, r#""destinations":{"status":{"hosts":"x.example"},"crm""#),
        twice(r#""kind":"internal""#, r#""kind":"internal","kind":"internal""#),
        twice(r#""credentials":{"#, r#""credentials":{"keep":["authorization"],"#),
        twice(r#""id":"egress-test""#, r#""id":"egress-test","id":"egress-test""#),
        twice(r#""agents":{"ops""#, r#""agents":{"ops":{},"ops""#),
    ] {
        assert!(lean(text.as_bytes()).is_none() && Configuration::accept(text.as_bytes()).is_err(), "{text}");
    }
    for text in ["", "{}", "[]", r#"{"role":"guard"}"#, r#"{"role":"filter","gateway":{},"policy":{}}"#] {
        assert!(lean(text.as_bytes()).is_none());
    }
}

/// It changes the bytes, and nothing else.
#[test]
fn an_update_means_nothing() {
    let good = String::from_utf8(document(&example())).unwrap();
    let digest = lean(good.as_bytes()).unwrap().policy().digest().to_owned();
    let renewed = good.replacen(r#""role":"filter""#, r#""role":"filter","update":"2026-11-20T22:00:00Z""#, 1);
    assert_ne!(good, renewed);
    assert_eq!(lean(renewed.as_bytes()).unwrap().policy().digest(), digest);
    assert_eq!(Configuration::accept(renewed.as_bytes()).unwrap().policy().digest(), digest);
}

/// So large that it is read the other way, through the front door.
#[test]
fn large_documents_go_that_way_and_their_errors_are_worded_all_the_same() {
    let mut large = example();
    let destinations = large["destinations"].as_object_mut().unwrap();
    for n in 0..4_000 {
        let scheme = if n % 7 == 0 { "http" } else { "https" };
        let value = json!({"hosts": [format!("h{n}.example.com")], "category": "crm", "scheme": scheme, "purpose": "x".repeat(40)});
        destinations.insert(format!("é-{n}").replace('é', "d"), value);
    }
    let bytes = document(&large);
    assert!(bytes.len() > 256 * 1024);
    assert_eq!(accept(&large).policy().destinations(), 4_004);
    assert_eq!(lean(&bytes).unwrap().policy().digest(), accept(&large).policy().digest());
    let refusal = |value: Value| {
        let wrong = edited(large.clone(), "/destinations/d-77", value);
        assert!(lean(&document(&wrong)).is_none());
        Configuration::accept(&document(&wrong)).unwrap_err().to_string()
    };
    let two = refusal(json!({"hosts": ["h78.example.com"], "scheme": "http", "ports": [443]}));
    assert!(two.contains("port 443 of h78.example.com has the scheme"), "{two}");
    assert_eq!(
        refusal(json!({"hosts": ["*.*.example"]})),
        "policy: /destinations/d-77/hosts/0: `*` can only be the whole first label, as in `*.example.com`; name the hosts one by one"
    );
}
