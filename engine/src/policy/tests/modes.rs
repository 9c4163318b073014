//! Monitor mode: what is let go, and what stays enforced.

use super::{GOOD, Request, accept, edited, policy};
use serde_json::{Value, json};

const RULE: &str = "/agents/support~1summarizer/allow/0";
const AGENT: &str = "/agents/support~1summarizer/mode";
const CRM: &str = "eu.crm.acme.example";

fn get(target: &str) -> Request {
    Request::get(CRM, target, GOOD)
}

#[test]
fn monitor_of_the_policy_lets_everything_go() {
    let configuration = accept(&edited(policy(), "/mode", json!("monitor")));
    for (request, expected) in [
        (get("/v1/orders/7"), "allow support/summarizer/read-orders by crm"),
        (get("/v1/x"), "would-deny path-denied support/summarizer/read-orders paths"),
        (Request::get("attacker.example", "/", GOOD), "would-deny destination-unlisted"),
        (Request::get("paste.example", "/", GOOD), "would-deny rule-denied ceilings/relays"),
        (Request::get(CRM, "/", r#"agent="ghost", session="s""#), "would-deny grant-denied signers/signer-eu/agent"),
        (
            Request { method: "POST", body: 70_000, ..get("/v1/search") },
            "would-deny payload-too-large support/summarizer/read-orders limits/body",
        ),
        (Request { body: 11 << 20, ..get("/v1/x") }, "would-deny path-denied support/summarizer/read-orders paths"),
    ] {
        assert_eq!(request.outcome(&configuration), expected, "{request:?}");
    }
}

#[test]
fn monitor_of_a_team_lets_go_of_what_its_rules_decide() {
    let observed = edited(policy(), AGENT, json!("monitor"));
    let configuration = accept(&observed);
    for (request, expected) in [
        (get("/v1/x"), "would-deny path-denied support/summarizer/read-orders paths"),
        (get("/v1/orders/export"), "would-deny rule-denied support/summarizer/no-exports"),
        (
            Request { method: "DELETE", ..get("/v1/orders/7") },
            "would-deny method-denied support/summarizer/read-orders methods",
        ),
        (
            Request::get(CRM, "/v1/orders/7", &GOOD.replace("(\"support\")", "(\"x\")")),
            "would-deny condition-denied support/summarizer/read-orders when/roles",
        ),
        (
            Request { method: "POST", body: 70_000, ..get("/v1/search") },
            "would-deny payload-too-large support/summarizer/read-orders limits/body",
        ),
        (Request::get("status.example", "/", &GOOD.replace("acme", "globex")), "would-deny destination-unlisted"),
        // Not the team's to open.
        (Request::get("attacker.example", "/", GOOD), "deny destination-unlisted"),
        (Request::get("paste.example", "/", GOOD), "deny rule-denied ceilings/relays"),
        (Request::get("status.example", "/", GOOD), "deny tenant-denied tenants"),
        // Where tenants are granted destinations, no tenant is granted none.
        (Request::get("status.example", "/", &GOOD.replace(", tenant=\"acme\"", "")), "deny tenant-denied tenants"),
        (Request::get(CRM, "/v1/x", &GOOD.replace("confidential", "restricted")), "deny class-denied accepts"),
        (Request::get(CRM, "/v1/orders/7", &GOOD.replace("u-1", "root")), "deny grant-denied signers/signer-eu/user"),
        (
            Request { method: "POST", body: 11 << 20, ..get("/v1/search") },
            "deny payload-too-large support/summarizer/read-orders ceilings/limits/body",
        ),
        (Request { method: "POST", body: 11 << 20, ..get("/v1/x") }, "deny payload-too-large ceilings/limits/body"),
    ] {
        assert_eq!(request.outcome(&configuration), expected, "{request:?}");
    }
    // The platform's own agent: everything but the ceilings.
    let platform = accept(&edited(observed, "/agents/support~1summarizer/team", Value::Null));
    for (request, expected) in [
        (Request::get("attacker.example", "/", GOOD), "would-deny destination-unlisted"),
        (
            Request::get(CRM, "/v1/orders/7", &GOOD.replace("confidential", "restricted")),
            "would-deny class-denied support/summarizer/read-orders accepts",
        ),
        (Request::get("paste.example", "/", GOOD), "deny rule-denied ceilings/relays"),
    ] {
        assert_eq!(request.outcome(&platform), expected, "{request:?}");
    }
}

#[test]
fn monitor_of_a_rule_is_of_what_it_covers() {
    let configuration = accept(&edited(policy(), &format!("{RULE}/mode"), json!("monitor")));
    for (request, expected) in [
        (
            Request::get(CRM, "/v1/orders/7", &GOOD.replace("crm.lookup", "crm.other")),
            "would-deny condition-denied support/summarizer/read-orders when/tool",
        ),
        (
            Request { method: "POST", body: 70_000, ..get("/v1/search") },
            "would-deny payload-too-large support/summarizer/read-orders limits/body",
        ),
        (get("/v1/x"), "deny path-denied support/summarizer/read-orders paths"),
        (get("/v1/orders/export"), "deny rule-denied support/summarizer/no-exports"),
    ] {
        assert_eq!(request.outcome(&configuration), expected, "{request:?}");
    }
    // A deny rule that is only observed, and an enforced one beside it.
    let observed = edited(policy(), "/agents/support~1summarizer/deny/0/mode", json!("monitor"));
    assert_eq!(
        get("/v1/orders/export").outcome(&accept(&observed)),
        "would-deny rule-denied support/summarizer/no-exports"
    );
    let both = edited(
        observed,
        "/agents/support~1summarizer/deny/-",
        json!({"id": "z", "to": ["crm"], "paths": ["/v1/orders/export"]}),
    );
    assert_eq!(get("/v1/orders/export").outcome(&accept(&both)), "deny rule-denied support/summarizer/z");
}

#[test]
fn enforce_is_never_weakened_by_what_is_further_away() {
    let policy = edited(edited(policy(), "/mode", json!("monitor")), AGENT, json!("enforce"));
    let configuration = accept(&policy);
    assert_eq!(Request::get("attacker.example", "/", GOOD).outcome(&configuration), "deny destination-unlisted");
    assert_eq!(get("/v1/x").outcome(&configuration), "deny path-denied support/summarizer/read-orders paths");
    let rule = accept(&edited(policy, &format!("{RULE}/mode"), json!("monitor")));
    let other_tool = Request::get(CRM, "/v1/orders/7", &GOOD.replace("crm.lookup", "crm.other"));
    assert_eq!(other_tool.outcome(&rule), "would-deny condition-denied support/summarizer/read-orders when/tool");
}
