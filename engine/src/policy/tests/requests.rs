//! What requests meet: the order of refusals, what denies, what is closest.

use super::{GOOD, NOW, Request, accept, edited, policy};
use crate::evidence::record::Binding;
use crate::facts::Timestamp;
use crate::policy::Verdict;
use serde_json::{Value, json};

const RULE: &str = "/agents/support~1summarizer/allow/0";
const CRM: &str = "eu.crm.acme.example";

/// [`GOOD`] with one member replaced; an empty text leaves it out.
fn with(member: &str, text: &str) -> String {
    let others = GOOD.split(", ").filter(|part| !part.starts_with(&format!("{member}=")));
    others
        .map(str::to_owned)
        .chain((!text.is_empty()).then(|| format!("{member}={text}")))
        .collect::<Vec<_>>()
        .join(", ")
}

#[test]
fn every_condition_has_its_refusal() {
    let configuration = accept(&policy());
    for (method, authority, target, context, expected) in [
        ("GET", CRM, "/v1/orders/7?x=1", GOOD.to_owned(), "allow support/summarizer/read-orders by crm"),
        ("POST", CRM, "/v1/search", GOOD.to_owned(), "allow support/summarizer/read-orders by crm"),
        // Grant of the signer.
        ("GET", CRM, "/v1/orders/7", with("agent", r#""billing/bot""#), "deny grant-denied signers/signer-eu/agent"),
        ("GET", CRM, "/v1/orders/7", with("tenant", r#""initech""#), "deny grant-denied signers/signer-eu/tenant"),
        ("GET", CRM, "/v1/orders/7", with("user", r#""root""#), "deny grant-denied signers/signer-eu/user"),
        ("GET", CRM, "/v1/orders/7", with("tool", r#""shell""#), "deny grant-denied signers/signer-eu/tool"),
        ("GET", CRM, "/v1/orders/7", with("provenance", ""), "deny grant-denied signers/signer-eu/provenance"),
        (
            "GET",
            CRM,
            "/v1/orders/7",
            with("provenance", "(user unknown)"),
            "deny grant-denied signers/signer-eu/provenance",
        ),
        ("GET", CRM, "/v1/orders/7", with("agent", r#""support/ghost""#), "deny agent-unknown"),
        // Destination.
        ("GET", "attacker.example", "/", GOOD.to_owned(), "deny destination-unlisted"),
        ("GET", "crm.acme.example", "/v1/orders/7", GOOD.to_owned(), "deny destination-unlisted"),
        ("GET", "eu.crm.acme.example:8443", "/v1/orders/7", GOOD.to_owned(), "deny destination-unlisted"),
        ("GET", "status.example:8443", "/", GOOD.to_owned(), "deny destination-unlisted"),
        ("GET", "EU.CRM.acme.example.", "/v1/orders/7", GOOD.to_owned(), "allow support/summarizer/read-orders by crm"),
        // Deny wins.
        ("GET", "paste.example", "/", GOOD.to_owned(), "deny rule-denied ceilings/relays"),
        ("GET", CRM, "/v1/orders/export", GOOD.to_owned(), "deny rule-denied support/summarizer/no-exports"),
        ("DELETE", CRM, "/V1/Orders/EXPORT", GOOD.to_owned(), "deny rule-denied support/summarizer/no-exports"),
        // Tenant, scope, delegation.
        ("GET", CRM, "/v1/orders/7", with("tenant", ""), "deny tenant-denied tenants"),
        ("GET", CRM, "/v1/orders/7", with("tenant", r#""globex""#), "deny tenant-denied tenants"),
        ("POST", "api.openai.com", "/v1/responses", with("tenant", r#""globex""#), "deny tenant-denied tenants"),
        ("GET", CRM, "/v1/orders/7", with("scope", "(payments)"), "deny scope-denied scope"),
        ("GET", CRM, "/v1/orders/7", with("scope", "()"), "deny scope-denied scope"),
        ("GET", CRM, "/v1/orders/7", with("scope", "(payments crm)"), "allow support/summarizer/read-orders by crm"),
        (
            "GET",
            CRM,
            "/v1/orders/7",
            with("delegated_by", r#"("support/planner")"#),
            "allow support/summarizer/read-orders by crm",
        ),
        (
            "GET",
            CRM,
            "/v1/orders/7",
            with("delegated_by", r#"("support/planner" "ops")"#),
            "deny delegation-denied delegated_by",
        ),
        ("GET", CRM, "/v1/orders/7", with("delegated_by", r#"("ghost")"#), "deny delegation-denied delegated_by"),
        // Method, path, conditions, class.
        ("DELETE", CRM, "/v1/orders/7", GOOD.to_owned(), "deny method-denied support/summarizer/read-orders methods"),
        ("get", CRM, "/v1/orders/7", GOOD.to_owned(), "deny method-denied support/summarizer/read-orders methods"),
        ("GET", CRM, "/v1/customers", GOOD.to_owned(), "deny path-denied support/summarizer/read-orders paths"),
        ("GET", CRM, "/v1/orders/7/notes", GOOD.to_owned(), "deny path-denied support/summarizer/read-orders paths"),
        ("GET", CRM, "/V1/orders/7", GOOD.to_owned(), "deny path-denied support/summarizer/read-orders paths"),
        (
            "GET",
            CRM,
            "/v1/orders/7",
            with("roles", ""),
            "deny condition-denied support/summarizer/read-orders when/roles",
        ),
        (
            "GET",
            CRM,
            "/v1/orders/7",
            with("session_type", "batch"),
            "deny condition-denied support/summarizer/read-orders when/session_type",
        ),
        (
            "GET",
            CRM,
            "/v1/orders/7",
            with("tool", ""),
            "deny condition-denied support/summarizer/read-orders when/tool",
        ),
        (
            "GET",
            CRM,
            "/v1/orders/7",
            with("data_class", "restricted"),
            "deny class-denied support/summarizer/read-orders accepts",
        ),
        (
            "GET",
            CRM,
            "/v1/orders/7",
            with("data_class", ""),
            "deny class-denied support/summarizer/read-orders accepts",
        ),
        (
            "POST",
            "api.openai.com",
            "/v1/responses",
            with("data_class", "internal"),
            "allow support/summarizer/chat by openai",
        ),
        (
            "POST",
            "api.openai.com",
            "/v1/responses",
            GOOD.to_owned(),
            "deny class-denied support/summarizer/chat accepts",
        ),
    ] {
        let request = Request { method, ..Request::get(authority, target, &context) };
        assert_eq!(request.outcome(&configuration), expected, "{method} {authority} {target} {context}");
    }
}

#[test]
fn only_a_signature_of_the_request_itself_is_accepted() {
    let configuration = accept(&policy());
    for binding in [Binding::Session, Binding::Tunnel] {
        let request = Request { binding, ..Request::get(CRM, "/v1/orders/7", GOOD) };
        assert_eq!(request.outcome(&configuration), "deny binding-denied support/summarizer/read-orders binding");
    }
}

#[test]
fn absent_methods_are_get_and_head_for_allow_and_all_for_deny() {
    let open = edited(policy(), &format!("{RULE}/methods"), Value::Null);
    let configuration = accept(&open);
    for (method, expected) in [
        ("GET", "allow support/summarizer/read-orders by crm"),
        ("HEAD", "allow support/summarizer/read-orders by crm"),
        ("POST", "deny method-denied support/summarizer/read-orders methods"),
        ("OPTIONS", "deny method-denied support/summarizer/read-orders methods"),
    ] {
        let request = Request { method, ..Request::get(CRM, "/v1/orders/7", GOOD) };
        assert_eq!(request.outcome(&configuration), expected);
        let denied = Request { method, ..Request::get(CRM, "/v1/orders/export", GOOD) };
        assert_eq!(denied.outcome(&configuration), "deny rule-denied support/summarizer/no-exports");
    }
}

#[test]
fn what_expired_refuses() {
    let noon = "2026-11-20T12:00:00Z";
    let before = |request: Request| Request { now: Timestamp(NOW.0 - 1), ..request };
    let after = |request: Request| Request { now: Timestamp(NOW.0 + 1), ..request };
    let request = || Request::get(CRM, "/v1/orders/7", GOOD);
    let rule = accept(&edited(policy(), &format!("{RULE}/expires"), json!(noon)));
    assert_eq!(before(request()).outcome(&rule), "allow support/summarizer/read-orders by crm");
    assert_eq!(request().outcome(&rule), "allow support/summarizer/read-orders by crm");
    assert_eq!(after(request()).outcome(&rule), "deny destination-unlisted");
    let destination = accept(&edited(policy(), "/destinations/crm/expires", json!(noon)));
    assert_eq!(request().outcome(&destination), "allow support/summarizer/read-orders by crm");
    assert_eq!(after(request()).outcome(&destination), "deny destination-unlisted expires");
    // A day ends with its last millisecond.
    let day = accept(&edited(policy(), "/destinations/crm/expires", json!("2026-11-20")));
    let last = Timestamp(NOW.0 + 12 * 3_600_000 - 1);
    assert_eq!(Request { now: last, ..request() }.outcome(&day), "allow support/summarizer/read-orders by crm");
    assert_eq!(Request { now: last.plus_millis(1), ..request() }.outcome(&day), "deny destination-unlisted expires");
    // A deny rule that expired fits nothing; a delegator's rule that expired is none.
    let deny = accept(&edited(policy(), "/agents/support~1summarizer/deny/0/expires", json!(noon)));
    let export = || Request::get(CRM, "/v1/orders/export", GOOD);
    assert_eq!(export().outcome(&deny), "deny rule-denied support/summarizer/no-exports");
    assert_eq!(after(export()).outcome(&deny), "allow support/summarizer/read-orders by crm");
    let planner = accept(&edited(policy(), "/agents/support~1planner/allow/0/expires", json!(noon)));
    let delegated = || Request::get(CRM, "/v1/orders/7", &with("delegated_by", r#"("support/planner")"#));
    assert_eq!(delegated().outcome(&planner), "allow support/summarizer/read-orders by crm");
    assert_eq!(after(delegated()).outcome(&planner), "deny delegation-denied delegated_by");
}

/// A host that fits several destinations: what any of them closes is closed.
#[test]
fn a_denial_of_any_destination_holds() {
    let vault = |edit: Value| {
        let mut vault = json!({"hosts": ["eu.crm.acme.example"], "category": "crm", "accepts": "restricted"});
        vault.as_object_mut().unwrap().extend(edit.as_object().unwrap().clone());
        accept(&edited(policy(), "/destinations/vault", vault))
    };
    let request = Request::get(CRM, "/v1/orders/7", GOOD);
    assert_eq!(request.outcome(&vault(json!({}))), "allow support/summarizer/read-orders by crm");
    for (edit, expected) in [
        (json!({"accepts": "internal"}), "deny class-denied support/summarizer/read-orders accepts"),
        (json!({"tenants": ["globex"]}), "deny tenant-denied tenants"),
        (json!({"category": "status"}), "deny tenant-denied tenants"),
        (json!({"expires": "2026-11-19"}), "deny destination-unlisted expires"),
        (json!({"category": "paste"}), "deny rule-denied ceilings/relays"),
        (json!({"limits": {"url": "4B"}}), "deny payload-too-large support/summarizer/read-orders limits/url"),
    ] {
        assert_eq!(request.outcome(&vault(edit.clone())), expected, "{edit}");
    }
    // On another port it is not there.
    let elsewhere = vault(json!({"ports": [8443], "accepts": "internal"}));
    assert_eq!(request.outcome(&elsewhere), "allow support/summarizer/read-orders by crm");
}

#[test]
fn the_closest_rule_sets_and_removals_are_of_all() {
    let rules = json!([
        {"id": "wide", "to": {"category": "crm", "id": "crm"}, "paths": ["/v1/**"], "headers": {"set": {"x-rule": "wide"}, "keep": ["x-wide"]}},
        {"id": "long", "to": ["crm"], "paths": ["/v1/orders/*"], "headers": {"set": {"x-rule": "long"}, "remove": ["traceparent"]}},
        {"id": "exact-b", "to": ["vault"], "paths": ["/**"], "headers": {"set": {"x-rule": "exact-b"}}},
        {"id": "exact-a", "to": ["vault"], "paths": ["/**"], "headers": {"set": {"x-rule": "exact-a"}}},
        {"id": "exact-c", "to": ["vault"], "paths": ["/v1/orders/7"], "when": {"tool": ["never"]}, "headers": {"remove": ["accept"]}},
        {"id": "exact-d", "to": ["vault"], "paths": ["/v1/elsewhere"], "headers": {"remove": ["range"]}},
    ]);
    let open = edited(policy(), "/agents/support~1summarizer/allow", rules);
    let open = edited(open, "/destinations/vault", json!({"hosts": [CRM], "category": "crm", "accepts": "restricted"}));
    let configuration = accept(&open);
    let grant = |authority, target| match Request::get(authority, target, GOOD).judge(&configuration) {
        Verdict::Allowed(grant) => grant,
        Verdict::Refused(refusal) => panic!("{refusal:?}"),
    };
    // Exact host over wildcard, whatever the path; then the longer path; then the first id.
    let exact = grant(CRM, "/v1/orders/7");
    assert_eq!((exact.rule(), exact.destination().id()), ("support/summarizer/exact-a", "vault"));
    assert_eq!(exact.set().collect::<Vec<_>>(), [("x-rule", "exact-a")]);
    // `exact-c` is not met, but it matches destination, method and path: its removal counts.
    assert!(!exact.keeps("accept") && !exact.keeps("traceparent") && exact.keeps("range"));
    let wildcard = grant("us.crm.acme.example", "/v1/orders/7");
    assert_eq!(wildcard.rule(), "support/summarizer/long");
    assert!(!wildcard.keeps("x-wide"), "what another rule keeps is not kept");
    assert_eq!(grant("us.crm.acme.example", "/v1/x").rule(), "support/summarizer/wide");
}

#[test]
fn headers_go_on_only_by_name() {
    let configuration = accept(&edited(policy(), &format!("{RULE}/headers/set/x-user"), json!("$user")));
    let Verdict::Allowed(grant) = Request::get(CRM, "/v1/orders/7", GOOD).judge(&configuration) else { panic!() };
    for (name, keeps) in [
        ("accept", true),
        ("content-type", true),
        ("traceparent", true),
        ("x-api-version", true),
        ("x-other", false),
        ("user-agent", false),
        ("authorization", false),
        ("cookie", false),
        ("x-agent", false),
        ("agent-context", false),
        ("x-forwarded-for", false),
        ("x-envoy-max-retries", false),
        ("connection", false),
    ] {
        assert_eq!(grant.keeps(name), keeps, "{name}");
    }
    assert_eq!(grant.set().collect::<Vec<_>>(), [("x-agent", "support/summarizer"), ("x-user", "u-1")]);
    // A member that is absent sets nothing, and the client's own value does not stand in.
    let without = with("user", "");
    let Verdict::Allowed(grant) = Request::get(CRM, "/v1/orders/7", &without).judge(&configuration) else { panic!() };
    assert_eq!(grant.set().count(), 1);
    assert!(!grant.keeps("x-user"));
}

#[test]
fn credentials_go_only_where_they_are_kept_and_pinned() {
    // SHA-256 of `Bearer good`.
    let pin = "2cb80a6b1ef4ad4c1ec1ff1c79d1b5b2a1c0f4ec9a6b5d8cbeee5d7f6c1a3a35";
    let hash = {
        use sha2::Digest;
        sha2::Sha256::digest(b"Bearer good").iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    assert_ne!(hash, pin);
    let pinned = accept(&edited(policy(), "/destinations/openai/credentials/sha256", json!([pin, hash])));
    let request = |value: Option<&str>| {
        let request = Request::get("api.openai.com", "/v1/responses", &with("data_class", "internal"));
        let request = Request { method: "POST", ..request };
        value.into_iter().fold(request, |request, value| request.field("authorization", value))
    };
    let denied = "deny credential-denied support/summarizer/chat destinations/openai/credentials/authorization";
    assert_eq!(request(Some("Bearer good")).outcome(&pinned), "allow support/summarizer/chat by openai");
    assert_eq!(request(None).outcome(&pinned), "allow support/summarizer/chat by openai");
    assert_eq!(request(Some("Bearer stolen")).outcome(&pinned), denied);
    assert_eq!(request(Some("Bearer good ")).outcome(&pinned), denied);
    assert_eq!(request(Some("Bearer good")).field("authorization", "Bearer x").outcome(&pinned), denied);
    // Without pins any goes on; where no destination keeps it, none does.
    let free = accept(&policy());
    let Verdict::Allowed(grant) = request(Some("Bearer any")).judge(&free) else { panic!() };
    assert!(grant.keeps("authorization"));
}

#[test]
fn conditions_mean_what_they_should() {
    // Condition, context, whether an allow rule with it fits, whether a deny rule with it does.
    let table = [
        (json!({"roles": ["support"]}), r#"roles=("a" "support")"#, true, true),
        (json!({"roles": ["support"]}), r#"roles=("a")"#, false, false),
        (json!({"roles": ["support"]}), "", false, true),
        (json!({"region": ["eu*"]}), r#"region="eu-west""#, true, true),
        (json!({"region": ["eu*"]}), "", false, true),
        (json!({"provenance": ["user"]}), "provenance=(user)", true, true),
        // Every source must be named to allow, any is enough to deny.
        (json!({"provenance": ["user"]}), "provenance=(user third-party)", false, true),
        (json!({"provenance": ["user", "third-party"]}), "provenance=(user third-party)", true, true),
        (json!({"provenance": ["internal"]}), "provenance=(user)", false, false),
        (json!({"data_class": ["restricted"]}), "", true, true),
        (json!({"data_class": ["public"]}), "", false, false),
        (json!({"session_type": ["batch", "scheduled"]}), "session_type=batch", true, true),
        (json!({"delegated_by": ["support/planner"]}), r#"delegated_by=("support/planner")"#, true, true),
        (json!({"delegated_by": ["support/planner"]}), "", false, false),
        (json!({"delegated_by": ["support/planner"]}), r#"delegated_by=("support/planner" "ops")"#, false, true),
        (json!({"project": ["apollo"]}), r#"project="apollo""#, true, true),
        (json!({"project": ["apollo"]}), "project=apollo", true, true),
        (json!({"project": ["a\"b"]}), r#"project="a\"b""#, true, true),
        (json!({"project": ["apollo"]}), r#"project="apollo2""#, false, false),
        (json!({"level": ["5"]}), "level=5", true, true),
        (json!({"flag": ["?1"]}), "flag", true, true),
        // A list cannot be compared: unmet to allow, met to deny.
        (json!({"project": ["apollo"]}), r#"project=("apollo")"#, false, true),
        (json!({"project": ["apollo"]}), "", false, true),
        (json!({"agent": ["ops"]}), "", true, true),
        (json!({"roles": ["a"], "region": ["eu"]}), r#"roles=("a"), region="us""#, false, false),
        (json!({"roles": ["a"], "region": ["eu"]}), r#"roles=("a"), region="eu""#, true, true),
    ];
    for (when, members, allows, denies) in table {
        let context = format!(
            r#"agent="ops", session="s", tenant="globex"{}{members}"#,
            if members.is_empty() { "" } else { ", " }
        );
        let context = if members.contains("provenance") { context } else { format!("{context}, provenance=(user)") };
        let base = edited(policy(), "/destinations/crm/teams", Value::Null);
        let base = edited(base, "/destinations/status/hosts", json!(["status.example"]));
        // Delegation is not what is tested here.
        let base =
            edited(base, "/agents/support~1planner/allow/-", json!({"id": "s", "to": ["status"], "paths": ["/**"]}));
        let base = edited(base, "/destinations/status/accepts", json!("restricted"));
        let request = Request::get("status.example", "/", &context);
        let allow = edited(base.clone(), "/agents/ops/allow/0/when", when.clone());
        assert_eq!(request.outcome(&accept(&allow)).starts_with("allow"), allows, "allow {when} {members}");
        let deny = edited(base, "/agents/ops/deny", json!([{"id": "no", "to": ["status"], "when": when}]));
        assert_eq!(request.outcome(&accept(&deny)) == "deny rule-denied ops/no", denies, "deny {when} {members}");
    }
}

#[test]
fn without_a_tenant_section_destinations_alone_bound_tenants() {
    let open = edited(policy(), "/tenants", Value::Null);
    let configuration = accept(&open);
    let globex = with("tenant", r#""globex""#).replace("confidential", "internal");
    let request = Request { method: "POST", ..Request::get("api.openai.com", "/v1/responses", &globex) };
    assert_eq!(request.outcome(&configuration), "allow support/summarizer/chat by openai");
    assert_eq!(Request::get(CRM, "/v1/orders/7", &globex).outcome(&configuration), "deny tenant-denied tenants");
    // A tenant that the section does not know, or that has no destinations, may use none.
    let closed = edited(policy(), "/tenants/globex", json!({}));
    assert_eq!(request.outcome(&accept(&closed)), "deny tenant-denied tenants");
    let unknown = edited(policy(), "/tenants/globex", Value::Null);
    assert_eq!(request.outcome(&accept(&unknown)), "deny tenant-denied tenants");
}

#[test]
fn a_team_gets_no_further_than_what_is_open_to_it() {
    // Named by category, the destination is not an error, and not open.
    let closed = edited(policy(), &format!("{RULE}/to"), json!({"category": "crm"}));
    let closed = edited(closed, "/agents/support~1planner/allow", json!([]));
    let closed = edited(closed, "/agents/support~1summarizer/deny", json!([]));
    let closed = edited(closed, "/destinations/crm/teams", json!(["billing"]));
    let request = Request::get(CRM, "/v1/orders/7", GOOD);
    assert_eq!(request.outcome(&accept(&closed)), "deny destination-unlisted teams");
    // The platform's own agents are bound by no team.
    let platform = edited(closed, "/agents/support~1summarizer/team", Value::Null);
    assert_eq!(request.outcome(&accept(&platform)), "allow support/summarizer/read-orders by crm");
}
