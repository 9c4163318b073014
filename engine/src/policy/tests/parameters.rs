//! Parameters and models: what they ask of bodies and queries, and what they refuse because it cannot be told.

use super::{GOOD, Request, accept, document, edited, policy};
use crate::payload::inspect::Unreadable;
use crate::payload::{Content, Reading};
use crate::policy::{Configuration, Verdict};
use proptest::prelude::*;
use serde_json::{Value, json};

const RULE: &str = "/agents/support~1summarizer/allow/0";
const DENY: &str = "/agents/support~1summarizer/deny/0";
const CRM: &str = "eu.crm.acme.example";
const ALLOWED: &str = "allow support/summarizer/read-orders by crm";
const DENIED: &str = "deny rule-denied support/summarizer/no-exports";

fn allowing(parameters: Value) -> Configuration {
    accept(&edited(policy(), &format!("{RULE}/parameters"), parameters))
}

/// A deny rule that fits every request to the destination but for these.
fn denying(parameters: Value) -> Configuration {
    let deny = json!({"id": "no-exports", "to": ["crm"], "parameters": parameters});
    accept(&edited(policy(), DENY, deny))
}

fn post(body: &str) -> Request {
    Request::get(CRM, "/v1/search", GOOD).json(body)
}

fn get(query: &str) -> Request {
    Request::get(CRM, &format!("/v1/search{query}"), GOOD)
}

fn parameter_denied(at: &str) -> String {
    format!("deny parameter-denied support/summarizer/read-orders parameters{at}")
}

#[test]
fn values_compare_by_type() {
    let at = "/id";
    // Condition, values that fit, values that do not, values of which it cannot be told.
    type Case = (Value, &'static [&'static str], &'static [&'static str], &'static [&'static str]);
    let cases: [Case; 12] = [
        (
            json!({"equals": "5"}),
            &["\"5\"", "\"\\u0035\""],
            &["\"6\"", "\"\"", "\"5 0\""],
            &["5", "5.0", "true", "null", "[\"5\"]", "{}", "\"5\\u0000\""],
        ),
        (json!({"equals": 5}), &["5"], &["6", "-5", "0.5"], &["\"5\"", "5.0", "5e0", "0.5e1", "null"]),
        (json!({"equals": 0.5}), &["0.5"], &["0.25", "1"], &["0.50", "5e-1", "\"0.5\""]),
        (json!({"equals": 0}), &["0"], &["1"], &["-0", "0.0", "0e0"]),
        (
            json!({"equals": 9_007_199_254_740_991_u64}),
            &["9007199254740991"],
            &["9007199254740990"],
            &["9007199254740992", "9007199254740993", "9007199254740991.0"],
        ),
        (json!({"equals": true}), &["true"], &["false"], &["\"true\"", "1", "null"]),
        (json!({"one_of": ["a", "b"]}), &["\"a\"", "\"b\""], &["\"c\""], &["1", "[\"a\"]"]),
        (json!({"one_of": ["a", 1]}), &["\"a\"", "1"], &["\"1\"", "\"b\"", "2"], &["true", "1.0", "null"]),
        (
            json!({"max": 100}),
            &["0", "100", "99.99", "1.0", "0.1"],
            &["101", "100.01", "9007199254740991"],
            &["-1", "1e2", "1e1", "-0", "9007199254740992", "\"5\"", "null", "99999999999999999999999"],
        ),
        (json!({"max": 0.5}), &["0.5", "0", "0.30000000000000004"], &["1", "0.51"], &["5e-1"]),
        (
            json!({"prefix": "/public/"}),
            &["\"/public/\"", "\"/public/a\"", "\"/public/a..b\""],
            &["\"/private\"", "\"/Public\""],
            &[
                "\"/public/../x\"",
                "\"/public/%2e%2E/x\"",
                "\"/public/a\\\\..\\\\x\"",
                "\"/public/%252e\"",
                "\"/public/..;/x\"",
                "\"/public/a\\u0000\"",
                "\"/public/\\uff0e\\uff0e/x\"",
                "1",
                "null",
            ],
        ),
        (json!({"absent": true}), &[], &["1", "null", "\"\"", "[]"], &[]),
    ];
    for (condition, fits, others, untold) in cases {
        let mut condition = condition;
        condition["at"] = json!(at);
        let (allow, deny) = (allowing(json!([condition])), denying(json!([condition])));
        for (values, allowed, denied) in [(fits, true, true), (others, false, false), (untold, false, true)] {
            for value in values {
                let request = post(&format!("{{\"id\": {value}}}"));
                let expected = if allowed { ALLOWED.to_owned() } else { parameter_denied(at) };
                assert_eq!(request.outcome(&allow), expected, "allow {condition}: {value}");
                // A deny rule compares texts as careless servers do, so `/Public` is `/public/` to none of them.
                let expected = if denied { DENIED } else { ALLOWED };
                assert_eq!(request.outcome(&deny), expected, "deny {condition}: {value}");
            }
        }
    }
}

#[test]
fn to_deny_texts_are_equal_that_careless_servers_take_for_equal() {
    let deny = denying(json!([{"at": "/mode", "one_of": ["Delete"]}]));
    for (value, expected) in [
        ("Delete", DENIED),
        ("delete", DENIED),
        ("DELETE", DENIED),
        (" delete ", DENIED),
        ("ｄｅｌｅｔｅ", DENIED),
        ("del\u{200b}ete", DENIED),
        ("deletes", ALLOWED),
        ("read", ALLOWED),
    ] {
        assert_eq!(post(&json!({"mode": value}).to_string()).outcome(&deny), expected, "{value}");
    }
    let deny = denying(json!([{"at": "/path", "prefix": "/private/"}]));
    for (value, expected) in
        [("/private/x", DENIED), ("/Private/x", DENIED), ("/public/../private/x", DENIED), ("/public/x", ALLOWED)]
    {
        assert_eq!(post(&json!({"path": value}).to_string()).outcome(&deny), expected, "{value}");
    }
}

#[test]
fn what_is_not_there_fits_absent_and_nothing_else() {
    for condition in [json!({"equals": "a"}), json!({"max": 1}), json!({"prefix": "a"}), json!({"one_of": ["a"]})] {
        for at in ["/id", "?id"] {
            let mut condition = condition.clone();
            condition["at"] = json!(at);
            let (allow, deny) = (allowing(json!([condition])), denying(json!([condition])));
            let place = if at == "?id" { "/?id" } else { at };
            for request in [get(""), post("{}"), post("7")] {
                assert_eq!(request.outcome(&allow), parameter_denied(place), "{condition}");
                assert_eq!(request.outcome(&deny), ALLOWED, "{condition}");
            }
        }
    }
    for (at, request, absent) in [
        ("/debug", get(""), true),
        ("/debug", post("{}"), true),
        ("/debug", post("{\"debug\": null}"), false),
        ("/a/debug", post("{\"a\": 7}"), true),
        ("?debug", get(""), true),
        ("?debug", get("?a=debug"), true),
        ("?debug", get("?debug"), false),
        ("?debug", get("?debug="), false),
    ] {
        let place = at.replace('?', "/?");
        let (allow, deny) =
            (allowing(json!([{"at": at, "absent": true}])), denying(json!([{"at": at, "absent": true}])));
        assert_eq!(
            request.outcome(&allow),
            if absent { ALLOWED.to_owned() } else { parameter_denied(&place) },
            "{at} {request:?}"
        );
        // `?debug` without a value is there for some servers only: to deny, that counts as absent too.
        let doubtful = request.target.ends_with("?debug");
        assert_eq!(request.outcome(&deny), if absent || doubtful { DENIED } else { ALLOWED }, "{at} {request:?}");
    }
    // In a place whose shape is another, nobody can tell.
    for body in ["[{\"debug\": 1}]", "[]", "{\"Debug\": 1}", "{\"de_bug\": 1}"] {
        assert_eq!(
            post(body).outcome(&allowing(json!([{"at": "/debug", "absent": true}]))),
            parameter_denied("/debug"),
            "{body}"
        );
        assert_eq!(post(body).outcome(&denying(json!([{"at": "/debug", "absent": true}]))), DENIED, "{body}");
    }
}

#[test]
fn of_several_values_all_must_be_allowed_and_one_denied_is_enough() {
    let condition = json!([{"at": "/messages/*/role", "one_of": ["user", "system"]}]);
    let (allow, deny) = (allowing(condition.clone()), denying(condition));
    let body = |roles: &str| post(&format!("{{\"messages\": [{roles}]}}"));
    let refused = parameter_denied("/messages/*/role");
    for (roles, allowed, denied) in [
        (r#"{"role": "user"}"#, true, true),
        (r#"{"role": "user"}, {"role": "system"}"#, true, true),
        (r#"{"role": "user"}, {"role": "tool"}"#, false, true),
        (r#"{"role": "tool"}"#, false, false),
        (r#"{"role": "tool"}, {}"#, false, false),
        (r#"{"role": "user"}, {}"#, false, true),
        (r#"{"role": "user"}, 7"#, false, true),
        (r#"{"role": "user", "Role": "tool"}"#, false, true),
        ("", false, false),
    ] {
        assert_eq!(body(roles).outcome(&allow), if allowed { ALLOWED } else { refused.as_str() }, "{roles}");
        assert_eq!(body(roles).outcome(&deny), if denied { DENIED } else { ALLOWED }, "{roles}");
    }
    assert_eq!(post(r#"{"messages": {"0": {"role": "user"}}}"#).outcome(&allow), refused);
}

#[test]
fn bodies_that_cannot_be_read_are_unmet_to_allow_and_met_to_deny() {
    let condition = json!([{"at": "/id", "equals": "a"}]);
    let (allow, deny) = (allowing(condition.clone()), denying(condition));
    let good = br#"{"id": "a"}"#;
    let other = br#"{"id": "b"}"#;
    let request = |body: &[u8]| Request::get(CRM, "/v1/search", GOOD).body(body);
    let json = |body: &[u8]| request(body).field("content-type", "application/json");
    for (request, why) in [
        (request(good), "its type is not JSON"),
        (request(good).field("content-type", "text/plain"), "its type is not JSON"),
        (request(b"id=a").field("content-type", "application/x-www-form-urlencoded"), "its type is not JSON"),
        (request(b"--x\r\n").field("content-type", "multipart/form-data; boundary=x"), "its type is not JSON"),
        (request(good).field("content-type", "application/json; charset=latin1"), "its charset is not UTF-8"),
        (json(good).field("content-encoding", "gzip"), "it has a content coding"),
        (json(b"\x1f\x8b\x08"), "it is not UTF-8"),
        (json(b"\xef\xbb\xbf{\"id\": \"a\"}"), "it begins with a byte order mark"),
        (json(b"{\0\"\0i\0"), "it is not JSON from byte 1 on"),
        (json(b"{\"id\": \"a\"} {}"), "it is not JSON from byte 12 on"),
        (json(br#"{"id": "a", "id": "b"}"#), "a name occurs twice in one object"),
        (json(br#"{"id": "a", "\u0069d": "b"}"#), "a name occurs twice in one object"),
        (json(br#"{"id": "a", "x": [{"y": 1, "y": 2}]}"#), "a name occurs twice in one object"),
        (json(br#"{"id": "a", "x": "\ud800"}"#), "it has half of a surrogate pair"),
        (
            json(&[b"{\"id\": \"a\", \"x\": ".to_vec(), b"[".repeat(100_000)].concat()[..1_000]),
            "it is nested more than 64 deep",
        ),
    ] {
        let expected = format!("deny payload-unreadable support/summarizer/read-orders parameters/id: {why}");
        assert_eq!(request.outcome(&allow), expected);
        assert_eq!(request.outcome(&deny), DENIED, "{why}");
    }
    assert_eq!(json(good).outcome(&allow), ALLOWED);
    assert_eq!(json(other).outcome(&deny), ALLOWED);
    // A name in another case beside or instead of the one that is inspected.
    for body in [r#"{"id": "a", "ID": "b"}"#, r#"{"Id": "a"}"#, r#"{"id": "a", "\u0049d": "b"}"#, r#"{"i_d": "a"}"#] {
        assert_eq!(post(body).outcome(&allow), parameter_denied("/id"), "{body}");
        assert_eq!(post(body).outcome(&deny), DENIED, "{body}");
    }
}

#[test]
fn queries_are_text_that_is_read_in_one_way_only() {
    let condition = json!([{"at": "?limit", "max": 100}]);
    let (allow, deny) = (allowing(condition.clone()), denying(condition));
    for (query, allowed, denied) in [
        ("?limit=100", true, true),
        ("?a=b&limit=7", true, true),
        ("?limit=101", false, false),
        ("?limit=-1", false, true),
        ("?limit=1e1", false, true),
        ("?limit=0x5", false, true),
        ("?limit=", false, true),
        ("?limit=5&limit=500", false, true),
        ("?limit=5&Limit=500", false, true),
        ("?limit=5&limit[]=500", false, true),
        ("?limit=5;limit=500", false, true),
        ("?%6cimit=5", false, true),
        ("?limit=+5", false, true),
        ("?limit=%35", true, true),
    ] {
        assert_eq!(
            get(query).outcome(&allow),
            if allowed { ALLOWED.to_owned() } else { parameter_denied("/?limit") },
            "{query}"
        );
        assert_eq!(get(query).outcome(&deny), if denied { DENIED } else { ALLOWED }, "{query}");
    }
    let text = allowing(json!([{"at": "?state", "one_of": ["open", "5"]}]));
    assert_eq!(get("?state=open").outcome(&text), ALLOWED);
    assert_eq!(get("?state=5").outcome(&text), ALLOWED);
    assert_eq!(get("?state=closed").outcome(&text), parameter_denied("/?state"));
}

#[test]
fn members_of_the_context_are_values() {
    let with = |members: &str, body: Value| {
        let context = format!("{GOOD}, {members}");
        Request::get(CRM, "/v1/search", &context).json(&body.to_string())
    };
    let signed = |members: &str, at: &str, body: Value| {
        with(members, body).outcome(&allowing(json!([{"at": "/x", "equals": at}]))) == ALLOWED
    };
    let mut failures = Vec::new();
    for (members, at, value, fits) in [
        ("a=1", "$user", json!("u-1"), true),
        ("a=1", "$user", json!("u-2"), false),
        ("a=1", "$tenant", json!("acme"), true),
        ("a=1", "$session", json!("s"), true),
        ("a=1", "$agent", json!("support/summarizer"), true),
        ("a=1", "$tool", json!("crm.lookup"), true),
        ("a=1", "$session_type", json!("interactive"), true),
        ("a=1", "$data_class", json!("confidential"), true),
        ("a=1", "$region", json!("eu"), false),
        ("region=\"eu\"", "$region", json!("eu"), true),
        ("case=\"c-1\"", "$case", json!("c-1"), true),
        ("case=word", "$case", json!("word"), true),
        ("case=42", "$case", json!(42), true),
        ("case=42", "$case", json!("42"), false),
        ("case=\"42\"", "$case", json!(42), false),
        ("case=1.5", "$case", json!(1.5), true),
        ("case=?1", "$case", json!(true), true),
        ("case=?0", "$case", json!(true), false),
        ("case=(a)", "$case", json!("a"), false),
        ("other=1", "$case", json!("c-1"), false),
        ("other=1", "$case", json!(null), false),
        ("a=1", "$$user", json!("$user"), true),
        ("a=1", "$$user", json!("u-1"), false),
    ] {
        if signed(members, at, json!({"x": value})) != fits {
            failures.push(format!("{members} {at} {value}"));
        }
    }
    assert!(failures.is_empty(), "{failures:?}");
    // To deny, a member that is absent makes the condition one that cannot be told.
    assert_eq!(post(r#"{"x": "y"}"#).outcome(&denying(json!([{"at": "/x", "equals": "$region"}]))), DENIED);
    assert_eq!(post(r#"{"x": "y"}"#).outcome(&denying(json!([{"at": "/x", "equals": "$user"}]))), ALLOWED);
    let own = allowing(json!([{"at": "/path", "prefix": "$tenant/"}, {"at": "?customer", "equals": "$user"}]));
    let request = |path: &str, query: &str| {
        Request::get(CRM, &format!("/v1/search?{query}"), GOOD).json(&json!({"path": path}).to_string()).outcome(&own)
    };
    assert_eq!(request("acme/a", "customer=u-1"), ALLOWED);
    assert_eq!(request("acme-2/a", "customer=u-1"), parameter_denied("/path"));
    assert_eq!(request("acme/../globex/a", "customer=u-1"), parameter_denied("/path"));
    assert_eq!(request("acme/a", "customer=u-10"), parameter_denied("/?customer"));
}

#[test]
fn every_condition_must_be_met_and_the_first_is_named() {
    let conditions = json!([{"at": "/b", "equals": 1}, {"at": "?q", "equals": "x"}, {"at": "/a", "equals": 1}]);
    let (allow, deny) = (allowing(conditions.clone()), denying(conditions));
    let request = |query: &str, body: &str| Request::get(CRM, &format!("/v1/search?{query}"), GOOD).json(body);
    for (query, body, expected) in [
        ("q=x", r#"{"a": 1, "b": 1}"#, ""),
        ("q=x", r#"{"a": 2, "b": 2}"#, "/a"),
        ("q=y", r#"{"a": 1, "b": 2}"#, "/b"),
        ("q=y", r#"{"a": 1, "b": 1}"#, "/?q"),
    ] {
        let told = if expected.is_empty() { ALLOWED.to_owned() } else { parameter_denied(expected) };
        assert_eq!(request(query, body).outcome(&allow), told);
        assert_eq!(request(query, body).outcome(&deny), if expected.is_empty() { DENIED } else { ALLOWED });
    }
}

#[test]
fn deny_rules_win_over_every_allow_rule_and_name_themselves() {
    let deny = json!({"id": "no-exports", "to": ["crm"], "parameters": [{"at": "/mode", "equals": "export"}]});
    let two = edited(policy(), DENY, deny);
    let two = edited(two, &format!("{RULE}/parameters"), json!([{"at": "/mode", "equals": "read"}]));
    let configuration = accept(&two);
    assert_eq!(post(r#"{"mode": "export"}"#).outcome(&configuration), DENIED);
    assert_eq!(post(r#"{"mode": "other"}"#).outcome(&configuration), parameter_denied("/mode"));
    assert_eq!(post(r#"{"mode": "read"}"#).outcome(&configuration), ALLOWED);
    // Ceilings too, and before the agent's own.
    let ceiling =
        json!({"id": "no-exports-at-all", "to": ["crm"], "parameters": [{"at": "/mode", "equals": "export"}]});
    let configuration = accept(&edited(two.clone(), "/ceilings/deny/-", ceiling.clone()));
    assert_eq!(post(r#"{"mode": "export"}"#).outcome(&configuration), "deny rule-denied ceilings/no-exports-at-all");
    // An agent of a team that only observes lets go of its own, never of a ceiling.
    let watched = edited(two, "/agents/support~1summarizer/mode", json!("monitor"));
    let would = |outcome: String| {
        outcome
            .replace("deny", "would-deny")
            .replace("rule-would-denied", "rule-denied")
            .replace("parameter-would-denied", "parameter-denied")
    };
    assert_eq!(post(r#"{"mode": "export"}"#).outcome(&accept(&watched)), would(DENIED.to_owned()));
    assert_eq!(post(r#"{"mode": "other"}"#).outcome(&accept(&watched)), would(parameter_denied("/mode")));
    let configuration = accept(&edited(watched, "/ceilings/deny/-", ceiling));
    assert_eq!(post(r#"{"mode": "export"}"#).outcome(&configuration), "deny rule-denied ceilings/no-exports-at-all");
    assert_eq!(post(r#"{"mode": "other"}"#).outcome(&configuration), would(parameter_denied("/mode")));
}

#[test]
fn another_rule_without_the_condition_still_allows() {
    let open = json!({"id": "open", "to": ["crm"], "methods": ["POST"], "paths": ["/**"]});
    let two = edited(policy(), &format!("{RULE}/parameters"), json!([{"at": "/id", "equals": 1}]));
    let configuration = accept(&edited(two, "/agents/support~1summarizer/allow/-", open));
    assert_eq!(post(r#"{"id": 1}"#).outcome(&configuration), ALLOWED);
    assert_eq!(post(r#"{"id": 2}"#).outcome(&configuration), "allow support/summarizer/open by crm");
    assert_eq!(post("not JSON").outcome(&configuration), "allow support/summarizer/open by crm");
}

/// While the body is coming, nothing it may say refuses; a refusal by what is there already does.
#[test]
fn a_body_that_is_still_coming_refuses_by_size_and_query_alone() {
    let conditions = json!([{"at": "/id", "equals": 1}]);
    for configuration in [allowing(conditions.clone()), denying(conditions)] {
        let candidates = post("{}").candidates(&configuration);
        assert!(candidates.reads_body());
        let verdict = |body: u64| candidates.judge_payload(&Request { body, ..post("{}") }.payload(Content::Pending));
        assert!(matches!(verdict(10), Verdict::Allowed(_)));
        assert!(matches!(verdict(65_537), Verdict::Refused(_)));
    }
    let configuration = allowing(json!([{"at": "?limit", "max": 5}]));
    let request = get("?limit=6");
    let candidates = request.candidates(&configuration);
    assert!(!candidates.reads_body());
    assert!(matches!(candidates.judge_payload(&request.payload(Content::Pending)), Verdict::Refused(_)));
}

#[test]
fn of_a_stream_nothing_can_be_told() {
    let hidden = Reading::Unreadable(Unreadable::Stream);
    for at in ["/id", "?id"] {
        for condition in [json!([{"at": at, "absent": true}]), json!([{"at": at, "equals": "x"}])] {
            let (allow, deny) = (allowing(condition.clone()), denying(condition));
            let request = get("?id=x");
            for (configuration, reason) in [(allow, "PayloadUnreadable"), (deny, "RuleDenied")] {
                let verdict =
                    request.candidates(&configuration).judge_payload(&request.payload(Content::Known(&hidden)));
                let Verdict::Refused(refusal) = verdict else { panic!("{at}: opened") };
                assert_eq!(format!("{:?}", refusal.reason), reason, "{at}");
            }
        }
    }
}

fn models(models: Value) -> Configuration {
    let rules =
        json!([{"id": "chat", "to": ["openai"], "methods": ["GET", "POST", "DELETE", "PUT"], "paths": ["/**"]}]);
    let policy = edited(policy(), "/profiles/chat/allow", rules);
    accept(&edited(policy, "/destinations/openai/models", models))
}

fn chat(body: &str) -> Request {
    Request::get("api.openai.com", "/v1/responses", &GOOD.replace("confidential", "internal")).json(body)
}

#[test]
fn models_are_held_against_the_body() {
    let configuration = models(json!(["gpt-5-mini", "gpt-4.1*"]));
    let allowed = "allow support/summarizer/chat by openai";
    let denied = "deny model-denied support/summarizer/chat destinations/openai/models";
    for (body, expected) in [
        (r#"{"model": "gpt-5-mini"}"#, allowed),
        (r#"{"input": "x", "model": "gpt-4.1-nano"}"#, allowed),
        (r#"{"model": "gpt-5"}"#, denied),
        (r#"{"model": "GPT-5-mini"}"#, denied),
        (r#"{"model": "gpt-5-mini "}"#, denied),
        (r#"{"model": null}"#, denied),
        (r#"{"model": ["gpt-5-mini"]}"#, denied),
        (r#"{"models": "gpt-5-mini"}"#, denied),
        (r#"{}"#, denied),
        (r#"[{"model": "gpt-5-mini"}]"#, denied),
        (r#"{"model": "gpt-5-mini", "Model": "gpt-5"}"#, denied),
        (r#"{"MODEL": "gpt-5-mini"}"#, denied),
        (r#"{"x": {"model": "gpt-5-mini"}}"#, denied),
        (
            r#"{"model": "gpt-5-mini", "model": "gpt-5"}"#,
            "deny payload-unreadable support/summarizer/chat destinations/openai/models: a name occurs twice in one object",
        ),
        (
            "model=gpt-5-mini",
            "deny payload-unreadable support/summarizer/chat destinations/openai/models: it is not JSON from byte 0 on",
        ),
    ] {
        assert_eq!(chat(body).outcome(&configuration), expected, "{body}");
    }
    // Without a body only what reads or deletes may name none; with one, everything must.
    for (method, expected) in [("GET", allowed), ("DELETE", allowed), ("POST", denied), ("PUT", denied)] {
        let bare = Request {
            method,
            ..Request::get("api.openai.com", "/v1/models", &GOOD.replace("confidential", "internal"))
        };
        assert_eq!(bare.outcome(&configuration), expected, "{method}");
        let with_body = Request { method, ..chat("{}") };
        assert_eq!(with_body.outcome(&configuration), denied, "{method}");
    }
}

#[test]
fn models_of_every_destination_that_fits_hold() {
    let own = |models: Value| edited(policy(), "/destinations/openai/models", models);
    let wide = json!({"hosts": ["*.openai.com"], "category": "model", "accepts": "restricted", "models": ["gpt-5"]});
    let both = accept(&edited(own(json!(["gpt-5*"])), "/destinations/wide", wide.clone()));
    let denied = "deny model-denied support/summarizer/chat destinations/wide/models";
    assert_eq!(chat(r#"{"model": "gpt-5-mini"}"#).outcome(&both), denied);
    assert_eq!(chat(r#"{"model": "gpt-5"}"#).outcome(&both), "allow support/summarizer/chat by openai");
    // A team's own monitor mode does not reach what the platform says.
    let watched = edited(
        edited(own(json!(["gpt-5*"])), "/destinations/wide", wide),
        "/agents/support~1summarizer/mode",
        json!("monitor"),
    );
    assert_eq!(chat(r#"{"model": "gpt-5-mini"}"#).outcome(&accept(&watched)), denied);
    let all = accept(&edited(watched, "/mode", json!("monitor")));
    assert_eq!(chat(r#"{"model": "gpt-5-mini"}"#).outcome(&all), denied.replacen("deny", "would-deny", 1));
}

#[test]
fn what_is_inspected_is_known_by_its_place() {
    let conditions = json!([{"at": "/id", "equals": "a"}, {"at": "/n/*", "max": 5}, {"at": "?q", "absent": true}, {"at": "/none", "absent": true}]);
    let configuration = allowing(conditions);
    let request = Request::get(CRM, "/v1/search?q=%41", GOOD).json(r#"{"id": "\u0061", "n": [1, 22, "x"]}"#);
    let candidates = request.candidates(&configuration);
    let body = request.content.clone().unwrap();
    let reading = candidates.read(&request.fields, &body);
    let seen = candidates.inspected(&request.payload(Content::Known(&reading)), &body);
    let seen: Vec<_> = seen.into_iter().map(|one| (one.at, String::from_utf8(one.bytes).unwrap())).collect();
    let expected = [("/id", "a"), ("/n/*", "1:12:221:x"), ("?q", "A")];
    assert_eq!(seen, expected.map(|(at, value)| (at.to_owned(), value.to_owned())));
}

/// Condition and value, and whether it fits, by a naive reading of a value that is not in doubt.
fn naive(condition: &Value, value: Option<&Value>) -> Option<bool> {
    let Some(value) = value else { return Some(condition.get("absent").is_some()) };
    if condition.get("absent").is_some() {
        return Some(false);
    }
    let alike = |known: &Value| std::mem::discriminant(known) == std::mem::discriminant(value);
    if let Some(known) = condition.get("equals") {
        return alike(known).then(|| known == value);
    }
    if let Some(known) = condition.get("one_of") {
        let known: Vec<_> = known.as_array().unwrap().iter().filter(|known| alike(known)).collect();
        return (!known.is_empty()).then(|| known.contains(&value));
    }
    if let Some(most) = condition.get("max") {
        return value.as_i64().filter(|value| *value >= 0).map(|value| value <= most.as_i64().unwrap());
    }
    value.as_str().map(|text| text.starts_with(condition["prefix"].as_str().unwrap()))
}

fn condition() -> impl Strategy<Value = Value> {
    let scalar = || prop_oneof![Just(json!("a")), Just(json!("ab")), Just(json!(1)), Just(json!(2)), Just(json!(true))];
    let at = prop_oneof![Just("/x"), Just("/y"), Just("/o/x")];
    let test = prop_oneof![
        scalar().prop_map(|value| ("equals", value)),
        prop::collection::vec(scalar(), 1..3).prop_map(|values| ("one_of", json!(values))),
        (0..3).prop_map(|most| ("max", json!(most))),
        prop_oneof![Just("a"), Just("ab")].prop_map(|text| ("prefix", json!(text))),
        Just(("absent", json!(true))),
    ];
    (at, test).prop_map(|(at, (key, value))| json!({"at": at, key: value}))
}

fn body() -> impl Strategy<Value = Value> {
    let value = || {
        prop_oneof![
            Just(json!("a")),
            Just(json!("ab")),
            Just(json!("c")),
            Just(json!(1)),
            Just(json!(2)),
            Just(json!(3)),
            Just(json!(-1)),
            Just(json!(true)),
            Just(json!(false)),
            Just(json!(null)),
            Just(json!([1])),
        ]
    };
    (prop::option::of(value()), prop::option::of(value()), prop::option::of(prop::option::of(value()))).prop_map(
        |(x, y, o)| {
            let mut body = json!({"z": {"x": 1}});
            for (key, value) in [("x", x), ("y", y), ("o", o.map(|x| x.map_or(json!({}), |x| json!({"x": x}))))] {
                if let Some(value) = value {
                    body[key] = value;
                }
            }
            body
        },
    )
}

proptest! {
    #[test]
    fn a_naive_evaluator_agrees(conditions in prop::collection::vec(condition(), 1..4), bodies in prop::collection::vec(body(), 8)) {
        let (allow, deny) = (allowing(json!(conditions)), denying(json!(conditions)));
        for body in bodies {
            let fit = |condition: &Value| naive(condition, body.pointer(condition["at"].as_str().unwrap()));
            let request = post(&body.to_string());
            let allowed = conditions.iter().all(|condition| fit(condition) == Some(true));
            let denied = conditions.iter().all(|condition| fit(condition) != Some(false));
            prop_assert_eq!(request.outcome(&allow) == ALLOWED, allowed, "{} {:?}", body, conditions);
            prop_assert_eq!(request.outcome(&deny) == DENIED, denied, "{} {:?}", body, conditions);
        }
    }

    /// Whatever the body: one more condition never allows more, and a rule that denies by it is never got round.
    #[test]
    fn one_more_condition_never_allows_more(conditions in prop::collection::vec(condition(), 1..4), bytes in prop::collection::vec(any::<u8>(), 0..40), body in body()) {
        let fewer: Vec<Value> = conditions.iter().skip(1).cloned().collect();
        let bodies = [bytes, body.to_string().into_bytes()];
        for body in bodies {
            let request = Request::get(CRM, "/v1/search", GOOD).body(&body).field("content-type", "application/json");
            if request.outcome(&allowing(json!(conditions))) == ALLOWED && !fewer.is_empty() {
                prop_assert_eq!(request.outcome(&allowing(json!(fewer))), ALLOWED);
            }
            if request.outcome(&denying(json!(conditions))) == DENIED && !fewer.is_empty() {
                prop_assert_eq!(request.outcome(&denying(json!(fewer))), DENIED);
            }
        }
    }
}

#[test]
fn wrong_conditions_are_refused_with_place_and_remedy() {
    let refusal = |pointer: &str, value: Value| {
        let error = Configuration::accept(&document(&edited(policy(), pointer, value))).unwrap_err().to_string();
        error.replace(&format!("policy: {RULE}"), "@")
    };
    for (value, expected) in [
        (json!([]), "@/parameters: an empty list demands nothing; write 1 to 32 conditions, or leave the key out"),
        (
            json!({}),
            "@/parameters: expected a list, found a map; begin each entry with `- `, or put brackets around it",
        ),
        (json!([{}]), r#"@/parameters/0: the key "at" is missing; add "at""#),
        (
            json!([{"at": "/a"}]),
            "@/parameters/0: it says nothing of the value; add one of equals, one_of, max, prefix, absent",
        ),
        (
            json!([{"at": "/a", "equals": 1, "max": 2}]),
            "@/parameters/0: two conditions in one; write an entry of the list for each",
        ),
        (
            json!([{"at": "/a", "equal": 1}]),
            r#"@/parameters/0/equal: unknown key "equal"; did you mean "equals"? Known here: at, equals, one_of, max, prefix, absent (a key that nobody reads would be taken for one that holds)"#,
        ),
        (
            json!([{"at": "customer", "equals": 1}]),
            r#"@/parameters/0/at: "customer" is not a place: it does not begin with /; write a JSON pointer such as /customer/id or /items/*/id"#,
        ),
        (
            json!([{"at": "/a~b", "equals": 1}]),
            r#"@/parameters/0/at: "/a~b" is not a place: ~ stands only in ~0, which is ~, and in ~1, which is /; write a JSON pointer such as /customer/id or /items/*/id"#,
        ),
        (
            json!([{"at": "?a b", "equals": "1"}]),
            r#"@/parameters/0/at: "a b" is not a key of a query; write it decoded: letters, digits and signs such as ?limit or ?page[size], without & ; = + % and spaces"#,
        ),
        (
            json!([{"at": "?limit", "equals": 5}]),
            r#"@/parameters/0/equals: values of a query are text; put it in quotes: "5""#,
        ),
        (
            json!([{"at": "?all", "one_of": ["a", true]}]),
            r#"@/parameters/0/one_of/1: values of a query are text; put it in quotes: "true""#,
        ),
        (
            json!([{"at": "/a", "equals": null}]),
            "@/parameters/0/equals: expected text, a number, true or false, found nothing (null); write text, a number, true or false",
        ),
        (
            json!([{"at": "/a", "equals": [1]}]),
            "@/parameters/0/equals: expected text, a number, true or false, found a list; write text, a number, true or false",
        ),
        (
            json!([{"at": "/a", "one_of": []}]),
            "@/parameters/0/one_of: an empty list fits nothing; name 1 to 256 values",
        ),
        (
            json!([{"at": "/a", "equals": 9_007_199_254_740_992_u64}]),
            "@/parameters/0/equals: 9007199254740992 is a number that readers of JSON read differently; write a whole number up to 9007199254740991, or a decimal of at most 15 digits",
        ),
        (
            json!([{"at": "/a", "max": "100"}]),
            "@/parameters/0/max: not a number that can be a bound; write a number from 0 to 9007199254740991, without quotes and with at most 15 digits if it is not whole",
        ),
        (
            json!([{"at": "/a", "max": -1}]),
            "@/parameters/0/max: not a number that can be a bound; write a number from 0 to 9007199254740991, without quotes and with at most 15 digits if it is not whole",
        ),
        (
            json!([{"at": "/a", "absent": false}]),
            "@/parameters/0/absent: that a value is there says nothing of it; write true, or another condition",
        ),
        (
            json!([{"at": "/a", "prefix": ""}]),
            "@/parameters/0/prefix: every text begins with this; write what it must begin with",
        ),
        (
            json!([{"at": "/a", "prefix": "$tenant"}]),
            r#"@/parameters/0/prefix: "$tenant" ends where another name may go on; end it, such as "$tenant/", or use equals (u-1 is the beginning of u-10)"#,
        ),
        (
            json!([{"at": "/a", "prefix": "https://a.example"}]),
            r#"@/parameters/0/prefix: "https://a.example" ends inside the name of a host; end the name, such as "https://a.example/" (https://a.example is the beginning of https://a.example.evil)"#,
        ),
        (
            json!([{"at": "/a", "equals": "$roles"}]),
            "@/parameters/0/equals: $roles has several values; compare with a member that has one",
        ),
        (
            json!([{"at": "/a", "equals": "$reason"}]),
            "@/parameters/0/equals: the stated reason is recorded, never matched; remove this key",
        ),
    ] {
        assert_eq!(refusal(&format!("{RULE}/parameters"), value), expected);
    }
    for (key, value, expected) in [
        (
            "redact",
            json!(["/a", "/a"]),
            r#"@/redact/1: "/a" is named twice; name it once, under redact or under tokenize"#,
        ),
        (
            "redact",
            json!("body"),
            r#"@/redact/0: "body" is not a place: it does not begin with /; write a JSON pointer such as /customer/id or /items/*/id"#,
        ),
        ("tokenize", json!([]), "@/tokenize: an empty list fits nothing; name at least one, or leave the key out"),
    ] {
        assert_eq!(refusal(&format!("{RULE}/{key}"), value), expected);
    }
    let both = edited(policy(), &format!("{RULE}/redact"), json!(["/a"]));
    let both = edited(both, &format!("{RULE}/tokenize"), json!(["/b", "/a"]));
    let error = Configuration::accept(&document(&both)).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(r#"policy: {RULE}/tokenize/1: "/a" is named twice; name it once, under redact or under tokenize"#)
    );
    for (key, value) in
        [("parameters", json!([{"at": "/a", "absent": true}])), ("redact", json!(["/a"])), ("tokenize", json!(["/a"]))]
    {
        let rule = json!({"id": "t", "to": ["crm"], "methods": ["GET", "CONNECT"], "paths": ["/**"], key: value});
        let error = Configuration::accept(&document(&edited(policy(), "/agents/support~1summarizer/allow/-", rule)))
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "policy: /agents/support~1summarizer/allow/2/methods/1: nothing can be told of what a tunnel carries, and the rule asks for it; give tunnels a rule without parameters, redact and tokenize, or remove CONNECT"
        );
    }
    for (key, value) in [("tunnel", json!(true)), ("upgrade", json!(["websocket"]))] {
        let open = edited(policy(), "/destinations/openai/models", json!(["gpt-5"]));
        let error =
            Configuration::accept(&document(&edited(open, &format!("/destinations/openai/{key}"), value))).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "policy: /destinations/openai/{key}: nobody can tell which model is named in there; remove {key}, or models (what a tunnel or a WebSocket carries cannot be read)"
            )
        );
    }
}
