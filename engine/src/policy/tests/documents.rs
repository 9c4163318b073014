//! Documents: what is accepted, what is refused, what is warned of.

use super::{accept, document, edited, gateway, policy, refusals};
use crate::destination::Exit;
use crate::policy::{Configuration, PluginConfiguration};
use serde_json::{Value, json};

fn refusal(json: &[u8]) -> String {
    Configuration::accept(json).map(|_| "accepted").map_err(|error| error.to_string()).unwrap_err()
}

const RULE: &str = "/agents/support~1summarizer/allow/0";

#[test]
fn wrong_policies_are_refused_with_place_and_remedy() {
    for (pointer, value, expected) in refusals::table() {
        let pointer = pointer.replace('@', RULE);
        let wrong = edited(policy(), &pointer, value);
        assert_eq!(refusal(&document(&wrong)), expected.replace("policy: @", &format!("policy: {RULE}")), "{pointer}");
    }
}

#[test]
fn wrong_gateways_are_refused_with_place_and_remedy() {
    let table = [
        (
            "/id",
            json!("a b"),
            r#"gateway: /id: "a b" is not a gateway id; write 1 to 64 letters, digits, dots, underscores or hyphens (it is part of the names of logs and keys)"#,
        ),
        ("/id", Value::Null, r#"gateway: the key "id" is missing; add "id""#),
        (
            "/key/env",
            json!("c2VjcmV0IGtleSBtYXRlcmlhbA=="),
            "gateway: /key/env: this is not the name of an environment variable; name the variable that holds the key, such as EXEAT_GATEWAY_KEY (a key in a configuration file would be readable to all who read it)",
        ),
        (
            "/collector/path",
            json!("v1"),
            r#"gateway: /collector/path: "v1" is not a path; write it as in /v1/evidence"#,
        ),
        (
            "/collector/timeout",
            json!("2"),
            r#"gateway: /collector/timeout: "2" is not a duration; write a whole number and ms, s, m, h or d, such as 500ms, 2s, 5m"#,
        ),
        ("/collector/timeout", json!("2m"), "gateway: /collector/timeout: out of range; write 1ms to 60s"),
        (
            "/audit",
            json!({"delivery": "write-ahead", "when_full": "drop"}),
            "gateway: /audit/when_full: drop contradicts delivery: write-ahead; write when_full: deny, or delivery: async \
             (write-ahead lets nothing go whose record is not stored)",
        ),
        (
            "/collector/token",
            json!({"env": "s3cr3t-t0ken"}),
            "gateway: /collector/token/env: this is not the name of an environment variable; name the variable that holds the \
             token, such as EXEAT_COLLECTOR_TOKEN (a token in a configuration file would be readable to all who read it)",
        ),
        ("/audit", json!({"queue": 1}), "gateway: /audit/queue: out of range; write 16 to 1048576"),
        (
            "/upstream",
            json!({"scheme": "ftp"}),
            r#"gateway: /upstream/scheme: unknown value "ftp"; Known here: http, https"#,
        ),
        ("/context", json!({"prepared_keys": 1025}), "gateway: /context/prepared_keys: out of range; write 0 to 1024"),
        ("/context", json!({"max_age": "2h"}), "gateway: /context/max_age: out of range; write 1s to 1h"),
        (
            "/feedback",
            json!("ful"),
            r#"gateway: /feedback: unknown value "ful"; did you mean "full"? Known here: minimal, full"#,
        ),
        (
            "/colector",
            json!({}),
            r#"gateway: /colector: unknown key "colector"; did you mean "collector"? Known here: id, environment, deployment, mode, key, hold, collector, audit, upstream, context, feedback (a key that nobody reads would be taken for one that holds)"#,
        ),
    ];
    for (pointer, value, expected) in table {
        let wrong = json!({"role": "filter", "gateway": edited(gateway(), pointer, value), "policy": policy()});
        assert_eq!(refusal(&serde_json::to_vec(&wrong).unwrap()), expected);
    }
}

#[test]
fn wrong_envelopes_are_refused() {
    for (json, expected) in [
        (
            "",
            r#"configuration: not JSON: "EOF while parsing a value at line 1 column 0"; give one JSON object as `exeat policy compile` writes it"#,
        ),
        ("[]", "configuration: expected a map, found a list; write role, gateway and policy"),
        ("{}", r#"configuration: the key "role" is missing; write role, gateway and policy"#),
        (r#"{"role": "guard"}"#, "configuration: /role: this is the configuration of a guard; write filter"),
        (r#"{"role": "sidecar"}"#, r#"configuration: /role: unknown role "sidecar"; write filter or guard"#),
        (
            r#"{"role": "filter", "gatway": {}}"#,
            r#"configuration: /gatway: unknown key "gatway"; did you mean "gateway"? Known here: role, gateway, policy, update"#,
        ),
        (
            r#"{"role": "filter", "update": 7}"#,
            "configuration: /update: expected text, found a number; write any text that no configuration before had",
        ),
        (
            r#"{"role": "filter", "role": "filter"}"#,
            r#"configuration: /role: the key "role" occurs twice; keep one of the two (readers of JSON differ in which of them they take)"#,
        ),
        (
            r#"{"role": "filter", "policy": {"agents": {"a": {}, "a": {}}}}"#,
            r#"configuration: /policy/agents/a: the key "a" occurs twice; keep one of the two (readers of JSON differ in which of them they take)"#,
        ),
    ] {
        assert_eq!(refusal(json.as_bytes()), expected);
    }
}

#[test]
fn a_guard_is_configured_by_gateway_and_ways_out_alone() {
    let guard = |exits: &str, more: &str| format!(r#"{{"role": "guard", "gateway": {}{exits}{more}}}"#, gateway());
    let good = guard(r#", "exits": ["http", "tunnel"]"#, "");
    let PluginConfiguration::Guard(accepted) = PluginConfiguration::accept(good.as_bytes()).unwrap() else { panic!() };
    assert_eq!(accepted.exits(), [Exit::Http, Exit::Tunnel]);
    let known = "write some of https, http, https-upgrade, http-upgrade, tunnel";
    for (json, expected) in [
        (guard("", ""), r#"configuration: the key "exits" is missing; write role, gateway and exits"#.to_owned()),
        (guard(r#", "exits": []"#, ""), format!("configuration: /exits: an empty list lets nothing out; {known}")),
        (guard(r#", "exits": "http""#, ""), format!("configuration: /exits: expected a list; {known}")),
        (guard(r#", "exits": ["ftp"]"#, ""), format!(r#"configuration: /exits/0: unknown way out "ftp"; {known}"#)),
        (
            guard(r#", "exits": ["http"]"#, r#", "policy": {}"#),
            r#"configuration: /policy: unknown key "policy"; Known here: role, gateway, exits"#.to_owned(),
        ),
        (
            r#"{"role": "guard", "gateway": {"id": "a b"}, "exits": ["http"]}"#.to_owned(),
            r#"gateway: the key "key" is missing; add "key""#.to_owned(),
        ),
    ] {
        assert_eq!(PluginConfiguration::accept(json.as_bytes()).unwrap_err().to_string(), expected, "{json}");
    }
}

#[test]
fn all_errors_are_told_in_the_order_of_the_document() {
    let wrong = edited(policy(), &format!("{RULE}/to"), json!(["crn"]));
    let wrong = edited(wrong, "/agents/support~1summarizer/deny/0/paths", json!(["x"]));
    let wrong = edited(wrong, "/ceilings/deny/0/methods", json!(["get"]));
    let errors = Configuration::examine(&document(&wrong)).unwrap_err();
    let places: Vec<&str> = errors.iter().map(|error| error.place.as_str()).collect();
    assert_eq!(
        places,
        [
            "/agents/support~1summarizer/allow/0/to/0",
            "/agents/support~1summarizer/deny/0/paths/0",
            "/ceilings/deny/0/methods/0"
        ]
    );
    assert_eq!(errors.into_first().place, "/agents/support~1summarizer/allow/0/to/0");
}

#[test]
fn what_is_accepted_is_what_was_written() {
    let configuration = accept(&policy());
    let (gateway, policy) = (configuration.gateway(), configuration.policy());
    assert_eq!((gateway.id(), gateway.key_env(), gateway.queue()), ("egress-test", "EXEAT_GATEWAY_KEY", 4096));
    assert_eq!(gateway.prepared_keys(), 32);
    assert_eq!((gateway.freshness().max_age, gateway.freshness().skew), (60_000, 5_000));
    assert_eq!((gateway.collector().path.as_str(), gateway.collector().timeout), ("/v1/evidence", 2_000));
    assert_eq!((policy.destinations(), policy.agents(), policy.rules()), (4, 3, 7));
    let key = policy.keys().get("signer-eu-1").unwrap();
    assert_eq!(policy.signer(key.signer).unwrap().id(), "signer-eu");
    // The end of 2027-06-30, UTC.
    assert_eq!(key.not_after.unwrap().millis(), 1_814_399_999_999);
    assert_eq!(policy.largest_body(), 1 << 20);
}

#[test]
fn the_digest_is_of_the_canonical_policy() {
    let digest = accept(&policy()).policy().digest().to_owned();
    assert!(digest.starts_with("sha256:") && digest.len() == 71);
    // Order and white space of the text count for nothing, content does.
    let mut reversed = String::from("{");
    for (key, value) in policy().as_object().unwrap().iter().rev() {
        reversed.push_str(&format!("\n {}:  {value:#},", json!(key)));
    }
    reversed.pop();
    reversed.push('}');
    let json = format!(r#"{{"policy": {reversed}, "gateway": {}, "role": "filter"}}"#, gateway());
    assert_eq!(Configuration::accept(json.as_bytes()).unwrap().policy().digest(), digest);
    let other = edited(policy(), "/revision", json!("r2"));
    assert_ne!(accept(&other).policy().digest(), digest);
    // The gateway is outside.
    let json = json!({"role": "filter", "gateway": edited(gateway(), "/id", json!("other")), "policy": policy()});
    assert_eq!(Configuration::accept(&serde_json::to_vec(&json).unwrap()).unwrap().policy().digest(), digest);
}

#[test]
fn dates_that_passed_are_warned_of() {
    use crate::policy::node::Node;
    let aged = edited(policy(), "/destinations/crm/review", json!("2026-11-19"));
    let aged = edited(aged, "/destinations/openai/review", json!("2026-11-20"));
    let aged = edited(aged, "/destinations/paste/expires", json!("2026-01-01"));
    let aged = edited(aged, &format!("{RULE}/expires"), json!("2026-11-20T11:59:59Z"));
    let aged = edited(aged, "/ceilings/deny/0/to/category", json!(["pastes"]));
    let node: Node = serde_json::from_value(aged).unwrap();
    let warnings: Vec<String> =
        crate::policy::warnings(&node, super::NOW, true).iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "policy: /agents/support~1summarizer/allow/0/expires: the rule has expired; remove it; it fits nothing any more",
            r#"policy: /ceilings/deny/0/to/category/0: no destination has the category "pastes"; check its spelling, or keep it for destinations to come"#,
            "policy: /destinations/crm/review: the review is overdue; name an owner, let them look at it and set a new date",
            "policy: /destinations/paste/expires: the destination has expired; remove the destination or set a new date; requests there are refused",
        ]
    );
}

#[test]
fn rules_that_reach_nothing_are_warned_of() {
    use crate::policy::node::Node;
    let said = |policy: Value| {
        accept(&policy);
        let node: Node = serde_json::from_value(policy).unwrap();
        let warnings = crate::policy::warnings(&node, super::NOW, true);
        warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let to = |to: Value| said(edited(policy(), &format!("{RULE}/to"), to));
    assert_eq!(to(json!({"category": "crm", "kind": "internal"})), [""; 0]);
    let nothing = [
        "policy: /agents/support~1summarizer/allow/0/to: no destination is all of this, so the rule fits nothing; leave one of the keys out, or write another",
    ];
    assert_eq!(to(json!({"category": "crm", "kind": "model"})), nothing);
    assert_eq!(to(json!({"id": "crm", "kind": "model"})), nothing);
    // By category, it is no error that some are closed to the team; that all are is worth a word.
    let closed =
        edited(policy(), "/destinations/crm2", json!({"hosts": "x.example", "category": "hr", "teams": "billing"}));
    let closed = edited(closed, &format!("{RULE}/to"), json!({"category": ["hr"]}));
    assert_eq!(
        said(closed.clone()),
        [
            r#"policy: /agents/support~1summarizer/allow/0/to: no destination of these is open to the team "support"; ask their owners to add the team to their teams, or remove the rule (the rule fits nothing)"#
        ]
    );
    let open = edited(closed, "/destinations/crm3", json!({"hosts": "y.example", "category": "hr"}));
    assert_eq!(said(open), [""; 0]);
}

#[test]
fn closed_addresses_of_the_open_web_are_warned_of_and_metadata_is_refused() {
    use crate::policy::node::Node;
    let limits =
        json!({"provenance": {"third-party": {"body": "0B", "url": "1B"}, "unknown": {"body": "0B", "url": "0B"}}});
    let open = json!({"hosts": ["*"], "open": true, "category": "web", "limits": limits, "addresses": ["10.0.0.0/8"]});
    let document_with = |open: &Value| edited(policy(), "/destinations/web", open.clone());
    let node: Node = serde_json::from_value(document_with(&open)).unwrap();
    let warnings = crate::policy::warnings(&node, super::NOW, true);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].to_string().starts_with("policy: /destinations/web/addresses: every name there is may resolve")
    );
    let metadata = edited(open, "/metadata", json!(true));
    let refused = refusal(&document(&document_with(&metadata)));
    assert!(refused.contains("/destinations/web/metadata: metadata services would be open to every name"), "{refused}");
}

/// Every key of the schema is in docs/policy.md. The keys are taken from what is said of an unknown one.
#[test]
fn the_page_names_every_key() {
    let page = include_str!("../../../../docs/policy.md");
    let rule = "/agents/support~1summarizer/allow/0";
    let places = [
        "",
        "/signers/0",
        "/signers/0/keys/0",
        "/signers/1/jwt",
        "/signers/1/jwt/claims",
        "/defaults",
        "/defaults/limits",
        "/ceilings",
        "/ceilings/deny/0",
        "/ceilings/limits",
        "/ceilings/exceptions",
        "/agents/support~1summarizer/allow/0/exception",
        "/tenants/acme",
        "/destinations/crm",
        "/destinations/openai/credentials",
        "/profiles/chat",
        "/agents/support~1summarizer",
        rule,
        "/agents/support~1summarizer/deny/0",
        "/agents/support~1summarizer/allow/0/limits",
        "/agents/support~1summarizer/allow/0/headers",
    ];
    let unknown = |json: Value| refusal(&serde_json::to_vec(&json).unwrap());
    let of_policy = places.map(|place| {
        let policy = edited(edited(policy(), "/defaults/limits", json!({})), "/signers/-", super::tokens::signer());
        let policy = edited(
            edited(policy, "/ceilings/exceptions", json!({})),
            &format!("{rule}/exception"),
            json!({"ticket": "a", "approver": "b", "approved": "2026-11-20"}),
        );
        refusal(&document(&edited(policy, &format!("{place}/zzz"), json!(1))))
    });
    let overlays = json!({"e": {"destinations": {"crm": {}}, "signers": {"signer-eu": {"jwt": {}}}}});
    let of_environments = ["", "/destinations/crm", "/signers/signer-eu", "/signers/signer-eu/jwt"].map(|place| {
        let policy = edited(policy(), "/environments", overlays.clone());
        let policy = edited(policy, &format!("/environments/e{place}/zzz"), json!(1));
        let node: crate::policy::node::Node = serde_json::from_value(policy).unwrap();
        crate::policy::environment::check_environments(&node).unwrap_err().into_first().to_string()
    });
    let of_gateway = ["", "/key", "/collector", "/audit", "/audit/mask", "/upstream", "/context"].map(|place| {
        let gateway = edited(
            edited(edited(gateway(), "/audit", json!({"mask": {}})), "/upstream", json!({})),
            "/context",
            json!({}),
        );
        unknown(json!({"role": "filter", "gateway": edited(gateway, &format!("{place}/zzz"), json!(1)), "policy": {}}))
    });
    let mut keys = 0;
    for said in of_policy.iter().chain(&of_gateway).chain(&of_environments) {
        let known = said.split_once("Known here: ").unwrap_or_else(|| panic!("{said}")).1;
        for key in known.split(" (").next().unwrap().split(", ") {
            // `team` of an agent is set by the merge alone.
            let named = [format!("`{key}`"), format!("`{key}:")].iter().any(|form| page.contains(form.as_str()))
                || (key == "env" && page.contains("{env: NAME}"))
                || key == "team";
            assert!(named, "docs/policy.md lacks {key}");
            keys += 1;
        }
    }
    assert!(keys > 80, "{keys}");
}

/// Of a gateway that lets heads go before bodies.
#[test]
fn conditions_that_no_body_can_meet_are_warned_of() {
    let policy = json!({
        "schema": "exeat/v1", "revision": "1", "signers": [],
        "ceilings": {"deny": [{"id": "c", "to": ["crm"], "parameters": [{"at": "/a", "absent": true}]}]},
        "destinations": {"crm": {"hosts": ["crm.example"], "accepts": "public", "models": ["m"]}},
        "profiles": {"p": {"allow": [{"id": "r", "to": ["crm"], "paths": ["/"],
            "parameters": [{"at": "?a", "equals": "x"}, {"at": "/b", "equals": "x"}]}]}},
        "agents": {"a/b": {"deny": [{"id": "d", "to": ["crm"], "parameters": [{"at": "/c", "equals": 1}]}]}},
    });
    let node: crate::policy::node::Node = serde_json::from_value(policy).unwrap();
    assert_eq!(crate::policy::warnings(&node, super::NOW, true), []);
    let warnings = crate::policy::warnings(&node, super::NOW, false);
    let places: std::collections::BTreeSet<_> = warnings.iter().map(|warning| warning.place.as_str()).collect();
    let expected = [
        "/agents/a~1b/deny/0/parameters/0/at",
        "/ceilings/deny/0/parameters/0/at",
        "/destinations/crm/models",
        "/profiles/p/allow/0/parameters/1/at",
    ];
    assert_eq!(places, expected.into());
    let said = warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    for problem in ["counts as met by every request with a body", "no request with a body meets it"] {
        assert!(said.contains(problem), "{said}");
    }
}
