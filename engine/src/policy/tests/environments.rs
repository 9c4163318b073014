//! Overlays: what they replace, what they cannot say, and that a gateway has none.

use super::{GOOD, Request, accept, document, edited, policy};
use crate::policy::Configuration;
use crate::policy::environment::{check_environments, environments, resolve};
use crate::policy::node::Node;
use serde_json::{Value, json};

fn node(value: &Value) -> Node {
    serde_json::from_value(value.clone()).unwrap()
}

fn of(value: &Value, environment: &str) -> Value {
    serde_json::to_value(resolve(&node(value), Some(environment)).policy).unwrap()
}

const OTHER_KEY: &str = "PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=";

fn staged() -> Value {
    edited(
        policy(),
        "/environments",
        json!({
            "prod": {},
            "staging": {
                "mode": "monitor",
                "destinations": {"crm": {"hosts": ["crm.staging.example"], "addresses": ["10.99.0.0/16"]}},
                "signers": {"signer-eu": {"keys": [{"id": "staging-1", "public": OTHER_KEY}], "spiffe": "spiffe://staging.example/signer"}},
            },
        }),
    )
}

#[test]
fn an_overlay_stands_in_place_of_what_it_names_and_of_nothing_else() {
    let staged = staged();
    assert_eq!(environments(&node(&staged)), ["prod", "staging"]);
    check_environments(&node(&staged)).unwrap();
    assert_eq!(of(&staged, "prod"), policy());
    let resolved = of(&staged, "staging");
    let mut expected = policy();
    for (place, value) in [
        ("/mode", json!("monitor")),
        ("/destinations/crm/hosts", json!(["crm.staging.example"])),
        ("/destinations/crm/addresses", json!(["10.99.0.0/16"])),
        ("/signers/0/keys", json!([{"id": "staging-1", "public": OTHER_KEY}])),
        ("/signers/0/spiffe", json!("spiffe://staging.example/signer")),
    ] {
        expected = edited(expected, place, value);
    }
    assert_eq!(resolved, expected);
    // What was a way in production is none in staging, and the other way round.
    let (prod, staging) = (accept(&of(&staged, "prod")), accept(&resolved));
    assert!(prod.policy().keys().get("signer-eu-1").is_some() && prod.policy().keys().get("staging-1").is_none());
    assert!(staging.policy().keys().get("signer-eu-1").is_none() && staging.policy().keys().get("staging-1").is_some());
    let there = Request::get("crm.staging.example", "/v1/orders/7", GOOD);
    assert_eq!(there.outcome(&prod), "deny destination-unlisted");
    assert_ne!(prod.policy().digest(), staging.policy().digest());
}

#[test]
fn what_is_resolved_is_traced_to_where_it_was_written() {
    let resolved = resolve(&node(&staged()), Some("staging"));
    for (there, here) in [
        ("/mode", "/environments/staging/mode"),
        ("/destinations/crm/hosts", "/environments/staging/destinations/crm/hosts"),
        ("/destinations/crm/hosts/0", "/environments/staging/destinations/crm/hosts/0"),
        ("/signers/0/keys/0/public", "/environments/staging/signers/signer-eu/keys/0/public"),
        ("/signers/0/id", "/signers/0/id"),
        ("/destinations/crm", "/destinations/crm"),
        ("/modes", "/modes"),
    ] {
        assert_eq!(resolved.origin(there), here);
    }
}

#[test]
fn issuers_differ_and_what_their_tokens_mean_does_not() {
    let tokens = edited(policy(), "/signers/-", super::tokens::signer());
    let id = tokens["signers"][1]["id"].as_str().unwrap().to_owned();
    let overlay = json!({"staging": {"signers": {id.as_str(): {"jwt": {"audiences": ["egress-staging"]}}}}});
    let staged = edited(tokens.clone(), "/environments", overlay);
    check_environments(&node(&staged)).unwrap();
    let expected = edited(tokens, "/signers/1/jwt/audiences", json!(["egress-staging"]));
    assert_eq!(of(&staged, "staging"), expected);
    let resolved = resolve(&node(&staged), Some("staging"));
    let here = format!("/environments/staging/signers/{id}/jwt/audiences/0");
    assert_eq!(resolved.origin("/signers/1/jwt/audiences/0"), here);
}

#[test]
fn what_only_environments_say_may_be_said_by_all_of_them() {
    let staged = edited(staged(), "/destinations/crm/hosts", Value::Null);
    accept(&of(&staged, "staging"));
    let error = Configuration::accept(&document(&of(&staged, "prod"))).unwrap_err();
    assert_eq!(error.to_string(), r#"policy: /destinations/crm: the key "hosts" is missing; add "hosts""#);
}

#[test]
fn overlays_that_are_wrong_are_refused() {
    let why = "an environment says where things are; what there is, all of them share";
    for (place, value, expected) in [
        (
            "/staging/destinations/crn",
            json!({}),
            format!(r#"policy: /environments/staging/destinations/crn: no destination "crn"; did you mean "crm"? ({why})"#),
        ),
        (
            "/staging/signers/zebra",
            json!({}),
            format!(
                r#"policy: /environments/staging/signers/zebra: no signer "zebra"; define it under signers, or remove it here ({why})"#
            ),
        ),
        (
            "/staging/destinations/crm/accepts",
            json!("restricted"),
            r#"policy: /environments/staging/destinations/crm/accepts: unknown key "accepts"; Known here: hosts, addresses (a key that nobody reads would be taken for one that holds)"#.to_owned(),
        ),
        (
            "/staging/signers/signer-eu/agents",
            json!(["*"]),
            r#"policy: /environments/staging/signers/signer-eu/agents: unknown key "agents"; Known here: keys, spiffe, jwt (a key that nobody reads would be taken for one that holds)"#.to_owned(),
        ),
        (
            "/staging/signers/signer-eu/jwt",
            json!({"issuer": "https://idp.example"}),
            r#"policy: /environments/staging/signers/signer-eu/jwt: the signer "signer-eu" signs requests, not tokens; remove this key, or give the signer jwt"#.to_owned(),
        ),
        (
            "/staging/ceilings",
            json!({}),
            r#"policy: /environments/staging/ceilings: unknown key "ceilings"; Known here: mode, destinations, signers (a key that nobody reads would be taken for one that holds)"#.to_owned(),
        ),
        (
            "/sta ging",
            json!({}),
            r#"policy: /environments/sta ging: "sta ging" is not a name of an environment; write 1 to 128 letters, digits, dots, underscores, hyphens or inner slashes"#.to_owned(),
        ),
        (
            "/staging/mode",
            json!("monitr"),
            r#"policy: /environments/staging/mode: unknown value "monitr"; did you mean "monitor"? Known here: enforce, monitor"#.to_owned(),
        ),
    ] {
        let wrong = edited(staged(), &format!("/environments{place}"), value);
        let error = check_environments(&node(&wrong)).unwrap_err().into_first();
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn a_gateway_has_no_overlays() {
    let error = Configuration::accept(&document(&staged())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "policy: /environments: a gateway reads the policy of one environment; give it what `exeat policy compile --env NAME` writes, which has these overlays in their places"
    );
}
