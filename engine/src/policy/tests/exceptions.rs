//! Exceptions: they end, not too late, and somebody is told before.

use super::{GOOD, NOW, Request, accept, document, edited, policy};
use crate::facts::Timestamp;
use crate::policy::Configuration;
use crate::policy::node::Node;
use serde_json::{Value, json};

const RULE: &str = "/agents/support~1summarizer/allow/0";

/// The policy with `read-orders` as an exception.
fn with(exception: Value, expires: Value) -> Value {
    let policy = edited(policy(), &format!("{RULE}/exception"), exception);
    if expires.is_null() { policy } else { edited(policy, &format!("{RULE}/expires"), expires) }
}

fn approved(day: &str) -> Value {
    json!({"ticket": "CHG-81", "approver": "risk board", "approved": day, "reason": "migration of orders"})
}

#[test]
fn a_rule_that_is_an_exception_allows_what_it_says_until_it_ends() {
    let configuration = accept(&with(approved("2026-11-19"), json!("2026-11-20")));
    let request = Request::get("eu.crm.acme.example", "/v1/orders/7", GOOD);
    assert_eq!(request.outcome(&configuration), "allow support/summarizer/read-orders by crm");
    let policy = configuration.policy();
    assert_eq!(policy.exception("support/summarizer/read-orders"), Some("CHG-81"));
    for other in ["support/summarizer/chat", "support/planner/read-orders", "ceilings/relays", "read-orders", ""] {
        assert_eq!(policy.exception(other), None, "{other}");
    }
    let late = Request { now: Timestamp(NOW.millis() + 86_400_000), ..request };
    assert_ne!(late.outcome(&configuration), "allow support/summarizer/read-orders by crm");
}

#[test]
fn exceptions_that_do_not_end_or_end_too_late_are_refused() {
    let thirty = |policy| edited(policy, "/ceilings/exceptions", json!({"life": "30d"}));
    let place = "policy: /agents/support~1summarizer/allow/0";
    for (policy, expected) in [
        (
            with(approved("2026-11-20"), Value::Null),
            format!("{place}/exception: an exception without an end; add expires beside it, at the latest 2027-02-18 (an exception that stays is a rule)"),
        ),
        (
            with(approved("2026-11-20"), json!("2027-02-19")),
            format!("{place}/expires: more than 90d after it was approved, which is the longest that an exception lives; write 2027-02-18 or earlier; what is needed for longer is a rule without exception (by ceilings/exceptions/life)"),
        ),
        (
            thirty(with(approved("2026-11-20"), json!("2026-12-21"))),
            format!("{place}/expires: more than 30d after it was approved, which is the longest that an exception lives; write 2026-12-20 or earlier; what is needed for longer is a rule without exception (by ceilings/exceptions/life)"),
        ),
        (
            thirty(with(approved("2026-11-20T12:00:00Z"), json!("2026-12-20T12:00:01Z"))),
            format!("{place}/expires: more than 30d after it was approved, which is the longest that an exception lives; write 2026-12-20 or earlier; what is needed for longer is a rule without exception (by ceilings/exceptions/life)"),
        ),
        (
            with(approved("2026-11-20"), json!("2026-11-19")),
            format!("{place}/expires: it ends before it was approved; put expires behind approved of the exception"),
        ),
        (
            with(json!({"ticket": " ", "approver": "a", "approved": "2026-11-20"}), json!("2026-11-20")),
            format!(r#"{place}/exception/ticket: " " says nothing that can be recorded; write 1 to 128 characters without controls"#),
        ),
        (
            with(json!({"ticket": "CHG-81", "approver": "a\nb", "approved": "2026-11-20"}), json!("2026-11-20")),
            format!(r#"{place}/exception/approver: "a\nb" says nothing that can be recorded; write 1 to 128 characters without controls"#),
        ),
        (
            with(json!({"ticket": "CHG-81", "approved": "2026-11-20"}), json!("2026-11-20")),
            format!(r#"{place}/exception: the key "approver" is missing; add "approver""#),
        ),
        (
            edited(super::policy(), "/ceilings/exceptions", json!({"life": "12h"})),
            "policy: /ceilings/exceptions/life: out of range; write 1d to 3660d".to_owned(),
        ),
        (
            edited(super::policy(), "/agents/ceilings", json!({})),
            "policy: /agents/ceilings: no agent can be called ceilings; give it another name (records name ceilings so)".to_owned(),
        ),
    ] {
        assert_eq!(Configuration::accept(&document(&policy)).unwrap_err().to_string(), expected);
    }
    for (approval, end) in [("2026-11-20", "2026-12-20"), ("2026-11-20T12:00:00Z", "2026-12-20T12:00:00Z")] {
        accept(&thirty(with(approved(approval), json!(end))));
    }
    // Those of profiles, too.
    let profile = edited(super::policy(), "/profiles/chat/allow/0/exception", approved("2026-11-20"));
    let error = Configuration::accept(&document(&profile)).unwrap_err();
    assert_eq!(error.place, "/profiles/chat/allow/0/exception");
}

#[test]
fn what_ends_soon_or_was_approved_on_a_day_to_come_is_warned_of() {
    let said = |approval: &str, end: &str| {
        let node: Node = serde_json::from_value(with(approved(approval), json!(end))).unwrap();
        let warnings = crate::policy::warnings(&node, NOW, true);
        warnings
            .iter()
            .map(|warning| warning.to_string().replace("policy: /agents/support~1summarizer/allow/0", ""))
            .collect::<Vec<_>>()
    };
    let approve = r#"let "risk board" approve it anew, or make do without it (the rule then fits nothing any more)"#;
    // Noon of 2026-11-20.
    assert_eq!(said("2026-11-01", "2026-11-27"), [""; 0]);
    assert_eq!(
        said("2026-11-01", "2026-11-26"),
        [format!(r#"/expires: the exception "CHG-81" ends in 6 days; {approve}"#)]
    );
    assert_eq!(
        said("2026-11-01", "2026-11-21"),
        [format!(r#"/expires: the exception "CHG-81" ends in 1 day; {approve}"#)]
    );
    assert_eq!(
        said("2026-11-01", "2026-11-20"),
        [format!(r#"/expires: the exception "CHG-81" ends within a day; {approve}"#)]
    );
    assert_eq!(
        said("2026-11-01", "2026-11-19"),
        [
            r#"/expires: the exception "CHG-81" has ended; remove the rule, or have the exception approved anew; it fits nothing any more"#
        ]
    );
    assert_eq!(
        said("2026-11-21", "2026-12-01"),
        [
            r#"/exception/approved: the exception "CHG-81" was approved on a day to come; write the day on which it was (its life is counted from then)"#
        ]
    );
    assert_eq!(said("2026-11-20", "2026-12-01"), [""; 0]);
}
