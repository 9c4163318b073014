//! How much may leave.

use super::{GOOD, Request, accept, edited, policy};
use crate::policy::Dimension;
use serde_json::{Value, json};

const RULE: &str = "/agents/support~1summarizer/allow/0";
const CRM: &str = "eu.crm.acme.example";

fn post(sources: &str, body: u64) -> Request {
    let context = GOOD.replace("(user)", sources);
    Request { method: "POST", body, ..Request::get(CRM, "/v1/search", &context) }
}

#[test]
fn sizes_hold_to_the_byte() {
    let configuration = accept(&policy());
    let allowed = "allow support/summarizer/read-orders by crm";
    let large = "deny payload-too-large support/summarizer/read-orders limits/body";
    let source = "deny payload-provenance support/summarizer/read-orders limits/provenance/third-party/body";
    for (sources, body, expected) in [
        ("(user)", 0, allowed),
        ("(user)", 65_536, allowed),
        ("(user)", 65_537, large),
        ("(user third-party)", 1_024, allowed),
        ("(user third-party)", 1_025, source),
        ("(third-party)", 65_536, source),
        // Over the plain size the plain size is what was exceeded.
        ("(third-party)", 65_537, large),
        ("(internal system)", 65_536, allowed),
        ("(user)", u64::MAX, "deny payload-too-large support/summarizer/read-orders ceilings/limits/body"),
    ] {
        assert_eq!(post(sources, body).outcome(&configuration), expected, "{sources} {body}");
    }
    // Path and query count together.
    let url = |length: usize| Request::get(CRM, &format!("/v1/search?{}", "x".repeat(length - 11)), GOOD);
    assert_eq!(url(512).outcome(&configuration), allowed);
    assert_eq!(url(513).outcome(&configuration), "deny payload-too-large support/summarizer/read-orders limits/url");
}

#[test]
fn nothing_of_a_source_leaves_where_the_url_may_have_no_byte() {
    let granted = edited(policy(), "/signers/0/provenance/-", json!("unknown"));
    let configuration = accept(&granted);
    let context = GOOD.replace("(user)", "(unknown)");
    let expected = "deny payload-provenance support/summarizer/read-orders limits/provenance/unknown/url";
    assert_eq!(Request::get(CRM, "/v1/search", &context).outcome(&configuration), expected);
    // What the rule says of another source is not said of this one; the default holds.
    let own = edited(granted, &format!("{RULE}/limits/provenance/unknown"), json!({"url": "64B"}));
    assert_eq!(
        Request::get(CRM, "/v1/search", &context).outcome(&accept(&own)),
        "allow support/summarizer/read-orders by crm"
    );
    let body = Request { method: "POST", body: 1, ..Request::get(CRM, "/v1/search", &context) };
    assert_eq!(
        body.outcome(&accept(&own)),
        "deny payload-provenance support/summarizer/read-orders limits/provenance/unknown/body"
    );
}

#[test]
fn headers_that_go_on_count_and_others_do_not() {
    let small = edited(policy(), &format!("{RULE}/limits/headers"), json!("40B"));
    let configuration = accept(&small);
    let request = || Request::get(CRM, "/v1/orders/7", GOOD);
    // `x-agent: support/summarizer` is set: 18 bytes; 22 are left.
    assert_eq!(
        request().field("accept", &"a".repeat(22)).field("x-dropped", &"b".repeat(1_000)).outcome(&configuration),
        "allow support/summarizer/read-orders by crm"
    );
    assert_eq!(
        request().field("accept", &"a".repeat(12)).field("x-api-version", &"b".repeat(11)).outcome(&configuration),
        "deny payload-too-large support/summarizer/read-orders limits/headers"
    );
    // Third-party content: 1 KiB of headers unless said.
    let third = Request::get(CRM, "/v1/orders/7", &GOOD.replace("(user)", "(third-party)"));
    assert_eq!(
        third.field("accept", &"a".repeat(1_024)).outcome(&accept(&policy())),
        "deny payload-provenance support/summarizer/read-orders limits/provenance/third-party/headers"
    );
}

#[test]
fn the_total_counts_url_headers_and_body() {
    let total = edited(policy(), &format!("{RULE}/limits/total"), json!("100B"));
    let configuration = accept(&total);
    // 10 of path, 18 of x-agent.
    assert_eq!(post("(user)", 72).outcome(&configuration), "allow support/summarizer/read-orders by crm");
    assert_eq!(
        post("(user)", 73).outcome(&configuration),
        "deny payload-too-large support/summarizer/read-orders limits/total"
    );
    assert_eq!(post("(user)", 0).candidates(&configuration).largest_body(), 100);
}

#[test]
fn a_ceiling_is_above_every_rule() {
    let high = edited(policy(), &format!("{RULE}/limits/body"), json!("1GiB"));
    let configuration = accept(&high);
    assert_eq!(post("(user)", 10 << 20).outcome(&configuration), "allow support/summarizer/read-orders by crm");
    assert_eq!(
        post("(user)", (10 << 20) + 1).outcome(&configuration),
        "deny payload-too-large support/summarizer/read-orders ceilings/limits/body"
    );
    assert_eq!(post("(user)", 0).candidates(&configuration).largest_body(), 10 << 20);
    assert_eq!(configuration.policy().largest_body(), 10 << 20);
    let third = edited(high, "/ceilings/limits/provenance", json!({"third-party": {"body": "100B"}}));
    let configuration = accept(&third);
    assert_eq!(
        post("(third-party)", 101).outcome(&configuration),
        "deny payload-provenance support/summarizer/read-orders ceilings/limits/provenance/third-party/body"
    );
    assert_eq!(post("(third-party)", 0).candidates(&configuration).largest_body(), 100);
}

#[test]
fn the_body_that_may_be_needed_is_the_largest_of_all_candidates() {
    let two = edited(
        policy(),
        "/agents/support~1summarizer/allow/-",
        json!({"id": "large", "to": ["crm"], "methods": ["POST"], "paths": ["/v1/**"], "limits": {"body": "2MiB"}}),
    );
    let configuration = accept(&two);
    assert_eq!(post("(user)", 0).candidates(&configuration).largest_body(), 2 << 20);
    // The closest rule is too small; another fits whole.
    assert_eq!(post("(user)", 1 << 20).outcome(&configuration), "allow support/summarizer/large by crm");
    assert_eq!(post("(user)", 100).outcome(&configuration), "allow support/summarizer/read-orders by crm");
    assert_eq!(
        post("(user)", (2 << 20) + 1).outcome(&configuration),
        "deny payload-too-large support/summarizer/read-orders limits/body"
    );
    assert_eq!(post("(user)", 0).candidates(&configuration).limit(Dimension::Body), Some(65_536));
}

#[test]
fn without_any_limits_the_built_in_ones_hold() {
    let bare = edited(policy(), &format!("{RULE}/limits"), Value::Null);
    let bare = edited(bare, "/defaults", Value::Null);
    let configuration = accept(&edited(bare, "/ceilings", Value::Null));
    assert_eq!(post("(user)", 1 << 20).outcome(&configuration), "allow support/summarizer/read-orders by crm");
    assert_eq!(
        post("(user)", (1 << 20) + 1).outcome(&configuration),
        "deny payload-too-large support/summarizer/read-orders limits/body"
    );
    let url = Request::get(CRM, &format!("/v1/search?{}", "x".repeat(8_192)), GOOD);
    assert_eq!(url.outcome(&configuration), "deny payload-too-large support/summarizer/read-orders limits/url");
}

#[test]
fn one_header_can_be_bounded_and_what_is_removed_does_not_count() {
    let bounded = edited(policy(), &format!("{RULE}/limits/header"), json!("32B"));
    let configuration = accept(&bounded);
    let with = |name: &str, value: &str| post("(user)", 10).field(name, value).outcome(&configuration);
    let denied = "deny header-denied support/summarizer/read-orders limits/header";
    assert_eq!(with("accept", &"v".repeat(32)), "allow support/summarizer/read-orders by crm");
    assert_eq!(with("accept", &"v".repeat(33)), denied);
    assert_eq!(with("x-api-version", &"v".repeat(33)), denied);
    assert_eq!(with("x-other", &"v".repeat(33)), "allow support/summarizer/read-orders by crm");
    let many = post("(user)", 10).field("accept", &"v".repeat(32)).field("range", &"v".repeat(32));
    assert_eq!(many.outcome(&configuration), "allow support/summarizer/read-orders by crm");
    let ceiling = accept(&edited(policy(), "/ceilings/limits/header", json!("32B")));
    let long = post("(user)", 10).field("accept", &"v".repeat(33));
    assert_eq!(long.outcome(&ceiling), "deny header-denied support/summarizer/read-orders ceilings/limits/header");
    let by_source = edited(policy(), &format!("{RULE}/limits/provenance/user"), json!({"header": "32B"}));
    assert_eq!(
        long.outcome(&accept(&by_source)),
        "deny payload-provenance support/summarizer/read-orders limits/provenance/user/header"
    );
}
