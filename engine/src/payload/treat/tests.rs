//! What is replaced, what stays, and what tokens tell.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn treatments(list: &[(&str, Treatment)]) -> Treatments {
    let mut treatments = Treatments::default();
    treatments.extend(list.iter().map(|(text, treatment)| (Pointer::parse(text).unwrap(), *treatment)));
    treatments
}

fn tokens(tenant: Option<&str>) -> Tokenizer {
    Tokenizer::new(&[7; 32], tenant)
}

fn treat(list: &[(&str, Treatment)], body: &str) -> Option<Treated> {
    let treatments = treatments(list);
    let places = Places::new(treatments.pointers());
    let fields = [("content-type".into(), "application/json".into())];
    let reading = Reading::new(&fields, body.as_bytes(), &places);
    treatments.check(&places, &reading).unwrap();
    treatments.apply(&places, &reading, body.as_bytes(), &tokens(Some("acme")))
}

fn treated(list: &[(&str, Treatment)], body: &str) -> String {
    treat(list, body).map_or_else(|| body.to_owned(), |treated| String::from_utf8(treated.body).unwrap())
}

use Treatment::{Redact, Tokenize};

#[test]
fn only_the_bytes_of_the_values_change() {
    for (list, body, expected) in [
        (
            &[("/customer/email", Redact)][..],
            "{ \"customer\" : {\"email\"\t:\"a@b.example\" , \"n\": 1e5},\r\n\"x\": [ 1.50 ,\"\\u0041\" ] }",
            "{ \"customer\" : {\"email\"\t:\"[redacted]\" , \"n\": 1e5},\r\n\"x\": [ 1.50 ,\"\\u0041\" ] }",
        ),
        (&[("/a", Redact)], r#"{"a": {"b": [1, 2]}}"#, r#"{"a": "[redacted]"}"#),
        (&[("/a", Redact)], r#"{"a":12,"b":12}"#, r#"{"a":"[redacted]","b":12}"#),
        (&[("/a", Redact), ("/b", Redact)], r#"{"b": true, "a": false}"#, r#"{"b": "[redacted]", "a": "[redacted]"}"#),
        (
            &[("/m/*/c", Redact)],
            r#"{"m": [{"c": "x"}, {"d": 1}, {"c": ["y"]}]}"#,
            r#"{"m": [{"c": "[redacted]"}, {"d": 1}, {"c": "[redacted]"}]}"#,
        ),
        (&[("/m/1", Redact)], "{\"m\": [1, 2, 3]}", "{\"m\": [1, \"[redacted]\", 3]}"),
        // The outermost of several inside one another, whichever they are.
        (
            &[("/a", Redact), ("/a/b", Redact), ("/a/c", Tokenize)],
            r#"{"a": {"b": 1, "c": 2}, "d": 3}"#,
            r#"{"a": "[redacted]", "d": 3}"#,
        ),
        (&[("/m/*", Redact), ("/m/0", Tokenize)], r#"{"m": [1]}"#, r#"{"m": ["[redacted]"]}"#),
        // Nothing there, or nothing in it.
        (&[("/a", Redact)], r#"{"b": 1}"#, r#"{"b": 1}"#),
        (&[("/a/b", Tokenize)], r#"{"a": "b"}"#, r#"{"a": "b"}"#),
        (&[("/a", Redact), ("/b", Tokenize)], r#"{"a": null, "b": null}"#, r#"{"a": null, "b": null}"#),
        (&[("/a", Redact)], "7", "7"),
    ] {
        assert_eq!(treated(list, body), expected, "{body}");
        assert_eq!(treat(list, body).is_some(), body != expected);
    }
}

#[test]
fn what_was_done_is_named_as_the_rule_names_it() {
    let list = [("/m/*", Redact), ("/id", Tokenize), ("/none", Redact)];
    let done = treat(&list, r#"{"m": [1, 2, 3], "id": 7}"#).unwrap().done;
    let done: Vec<_> = done.iter().map(|(treatment, place)| (treatment.as_str(), place.as_str())).collect();
    assert_eq!(done, [("tokenize", "/id"), ("redact", "/m/*")]);
}

#[test]
fn of_two_rules_the_stronger_treatment_of_a_place_holds() {
    for list in [[("/a", Redact), ("/a", Tokenize)], [("/a", Tokenize), ("/a", Redact)]] {
        assert_eq!(treated(&list, r#"{"a": 1}"#), r#"{"a": "[redacted]"}"#);
    }
}

#[test]
fn places_that_cannot_be_told_are_not_treated() {
    let treatments = treatments(&[("/customer/email", Redact)]);
    let places = Places::new(treatments.pointers());
    let check = |fields: &[(&str, &str)], body: &[u8]| {
        let fields: Vec<_> =
            fields.iter().map(|(n, v)| ((*n).to_owned().into(), v.as_bytes().to_vec().into())).collect();
        treatments.check(&places, &Reading::new(&fields, body, &places)).map_err(|error| error.why)
    };
    let json = [("content-type", "application/json")];
    for body in [
        &br#"[{"customer": {"email": "x"}}]"#[..],
        br#"{"customer": [{"email": "x"}]}"#,
        br#"{"Customer": {"email": "x"}}"#,
        br#"{"customer": {"email": "x", "EMAIL": "y"}}"#,
    ] {
        assert_eq!(check(&json, body), Err(None), "{}", body.escape_ascii());
    }
    assert_eq!(check(&[("content-type", "text/plain")], b"{}"), Err(Some(Unreadable::Type)));
    assert!(matches!(check(&json, b"{\"a\": 1, \"a\": 2}"), Err(Some(Unreadable::Json(_)))));
    assert_eq!(check(&[], b""), Ok(()));
}

#[test]
fn a_token_is_that_of_its_value_tenant_and_key() {
    let token = |tokens: &Tokenizer, value: &str| {
        let places = Places::new([&Pointer::parse("/a").unwrap()]);
        let body = format!("{{\"a\": {value}}}");
        let fields = [("content-type".into(), "application/json".into())];
        let reading = Reading::new(&fields, body.as_bytes(), &places);
        let treated = treatments(&[("/a", Tokenize)]).apply(&places, &reading, body.as_bytes(), tokens).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&treated.body).unwrap();
        value["a"].as_str().unwrap().to_owned()
    };
    let acme = tokens(Some("acme"));
    // Computed apart, with Python's hmac: HMAC(HMAC([7; 32], "tacme"), '"c-1"'), its first 16 bytes.
    assert_eq!(token(&acme, r#""c-1""#), "tok_K4620uV5eWlv_S8L1GxpbQ");
    // Equal values, however they are written.
    for (a, b, same) in [
        (r#""c-1""#, r#""\u0063-1""#, true),
        (r#"{"x": 1, "y": [true, null]}"#, r#"{ "y":[ true,null ],"x":1 }"#, true),
        (r#""5""#, "5", false),
        ("9007199254740993", "9007199254740992", false),
        (r#""a""#, r#""A""#, false),
        ("[]", "{}", false),
    ] {
        assert_eq!(token(&acme, a) == token(&acme, b), same, "{a} {b}");
    }
    let all = [
        token(&acme, "1"),
        token(&tokens(Some("globex")), "1"),
        token(&tokens(Some("")), "1"),
        token(&tokens(None), "1"),
        token(&Tokenizer::new(&[8; 32], Some("acme")), "1"),
    ];
    let distinct: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len());
    for token in &all {
        assert!(token.starts_with("tok_") && token.len() == 26, "{token}");
        assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')), "{token}");
    }
    assert_eq!(format!("{acme:?}"), "Tokenizer");
}

/// JSON values with colliding names, small.
fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(json!("secret")),
        Just(json!(7)),
        Just(json!(true)),
        Just(json!(null)),
        Just(json!("\"\\\n\u{1f600}"))
    ];
    leaf.prop_recursive(4, 30, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| json!(items)),
            prop::collection::btree_map(
                prop_oneof![Just("a".to_owned()), Just("b".to_owned()), Just("0".to_owned())],
                inner,
                0..4
            )
            .prop_map(|entries| json!(entries)),
        ]
    })
}

/// What should come of it, by way of a tree.
fn naive(value: &mut serde_json::Value, steps: &[&str]) {
    let Some((step, rest)) = steps.split_first() else {
        if !value.is_null() {
            *value = json!("[redacted]");
        }
        return;
    };
    match value {
        serde_json::Value::Array(items) if *step == "*" => items.iter_mut().for_each(|item| naive(item, rest)),
        serde_json::Value::Array(items) => {
            if let Some(item) = step.parse().ok().and_then(|index: usize| items.get_mut(index)) {
                naive(item, rest);
            }
        }
        serde_json::Value::Object(entries) => {
            if let Some(item) = entries.get_mut(*step) {
                naive(item, rest);
            }
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn a_tree_comes_to_the_same(value in value(), pretty: bool, pointers in prop::collection::btree_set(prop_oneof![
        Just("/a"), Just("/b"), Just("/a/b"), Just("/a/0"), Just("/0"), Just("/a/*"), Just("/*"), Just("/*/a"), Just("/b/*/0"),
    ], 1..4)) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let list: Vec<_> = pointers.iter().map(|text| (*text, Redact)).collect();
        let treatments = treatments(&list);
        let places = Places::new(treatments.pointers());
        let fields = [("content-type".into(), "application/json".into())];
        let reading = Reading::new(&fields, text.as_bytes(), &places);
        let mut expected = value.clone();
        // Outermost first, as shorter pointers are.
        let mut ordered: Vec<Vec<&str>> = pointers.iter().map(|text| text.split('/').skip(1).collect()).collect();
        ordered.sort_by_key(Vec::len);
        for steps in &ordered {
            naive(&mut expected, steps);
        }
        let treated = treatments.apply(&places, &reading, text.as_bytes(), &tokens(None));
        prop_assert_eq!(treated.is_some(), expected != value);
        if let Some(treated) = treated {
            let got: serde_json::Value = serde_json::from_slice(&treated.body).unwrap();
            prop_assert_eq!(got, expected);
        }
    }
}
