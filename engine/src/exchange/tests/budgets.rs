//! Budgets of rules: who pays, what is charged, and what is charged to nobody.

use super::*;
use crate::decision::Reason;
use crate::exchange::tests::names::Net;
use crate::ledger::budgets::{Account, AccountFingerprint, Charge, Charged, Cost, Counter, Kind};
use crate::ledger::{Ledger, SessionName};

/// One agent, more of them, and what their rules are.
fn configuration(change: impl FnOnce(&mut Value)) -> Arc<Configuration> {
    names::configuration(|document| {
        let policy = &mut document["policy"];
        policy["signers"][0]["provenance"] = json!(["user"]);
        policy["destinations"] = json!({
            "crm": {"hosts": ["crm.example", "*.crm.example"], "accepts": "restricted", "names": {"budget": "64KiB"}},
            "feed": {"hosts": ["feed.example"], "accepts": "restricted", "upgrade": ["websocket"]},
        });
        policy["agents"] = json!({
            "team/worker": {"allow": [{"id": "any", "to": ["crm"], "paths": ["/**"], "limits": {"requests": "3/session"}}]},
            "team/other": {"allow": [{"id": "any", "to": ["crm"], "paths": ["/**"], "limits": {"requests": "3/session"}}]},
        });
        change(policy);
    })
}

fn rule(id: &str, paths: &str, limits: Value) -> Value {
    json!({"id": id, "to": ["crm"], "paths": [paths], "limits": limits})
}

fn rules(list: Value) -> Arc<Configuration> {
    configuration(|policy| policy["agents"]["team/worker"]["allow"] = list)
}

/// How many of so many requests pass, and why the last was decided as it was.
fn press(net: &mut Net, url: &str, times: usize) -> (usize, Reason) {
    let reasons: Vec<Reason> = (0..times).map(|_| net.get(url)).collect();
    (reasons.iter().filter(|reason| **reason == Reason::Permitted).count(), *reasons.last().unwrap())
}

#[test]
fn a_budget_is_one_sessions_of_one_agent_for_one_tenant() {
    let mut net = Net::new(configuration(|_| {}));
    assert_eq!(press(&mut net, "crm.example", 5), (3, Reason::BudgetRequests));
    for (agent, tenant, session) in [
        ("team/worker", Some("acme"), "s-2"),
        ("team/other", Some("acme"), "s-1"),
        ("team/worker", None, "s-1"),
        ("team/worker", Some("globex"), "s-1"),
    ] {
        (net.agent, net.tenant, net.session) = (agent, tenant, session.into());
        assert_eq!(press(&mut net, "crm.example", 5), (3, Reason::BudgetRequests), "{agent} {tenant:?} {session}");
    }
    let records = net.world.decisions();
    let refused = records.iter().find(|record| record["outcome"] == "deny").unwrap();
    assert_eq!((&refused["rule"], &refused["reason"]), (&json!("team/worker/any"), &json!("budget-requests")));
    assert_eq!(refused["condition"], "limits/requests: 3/session");
}

#[test]
fn sessions_share_the_budgets_of_their_agent_and_their_tenant() {
    let limits = json!({"requests": ["3/session", "5/agent/1h", "8/tenant/1d"]});
    let profile = configuration(|policy| {
        policy["profiles"] = json!({"p": {"allow": [rule("any", "/**", limits)]}});
        for agent in ["team/worker", "team/other"] {
            policy["agents"][agent] = json!({"use": ["p"]});
        }
    });
    let mut net = Net::new(profile);
    assert_eq!(press(&mut net, "crm.example", 5), (3, Reason::BudgetRequests));
    net.session = "s-2".into();
    assert_eq!(press(&mut net, "crm.example", 5), (2, Reason::BudgetRequests));
    // Agents that use one profile share what it states of a tenant, and nothing else.
    net.agent = "team/other";
    assert_eq!(press(&mut net, "crm.example", 5), (3, Reason::BudgetRequests));
    net.session = "s-3".into();
    assert_eq!(press(&mut net, "crm.example", 5), (0, Reason::BudgetRequests));
    // A context without a tenant counts as one of its own.
    net.tenant = None;
    assert_eq!(press(&mut net, "crm.example", 5), (3, Reason::BudgetRequests));
    let conditions: Vec<String> =
        net.world.decisions().iter().filter_map(|r| r["condition"].as_str().map(str::to_owned)).collect();
    let distinct: std::collections::BTreeSet<_> = conditions.iter().map(String::as_str).collect();
    assert_eq!(
        distinct.into_iter().collect::<Vec<_>>(),
        ["limits/requests: 3/session", "limits/requests: 5/agent/1h", "limits/requests: 8/tenant/1d"]
    );
}

#[test]
fn windows_begin_with_their_first_charge_and_sessions_are_forgotten_after_a_day_of_silence() {
    let mut net = Net::new(rules(json!([rule("any", "/**", json!({"requests": "2/session/1h"}))])));
    let hour = 60 * 60 * 1000;
    net.now = NOW.plus_millis(5_000);
    assert_eq!(net.get("crm.example"), Reason::Permitted);
    net.now = NOW.plus_millis(40_000);
    assert_eq!(net.get("crm.example"), Reason::Permitted);
    assert_eq!(net.get("crm.example"), Reason::BudgetRequests);
    let session = SessionName { tenant: Some("acme"), agent: "team/worker", session: "s-1" };
    let share = crate::ledger::Share { key: "s-1", tenant: Some("acme") };
    let spending = crate::policy::Spending { requests: 1, bytes: 0, host: None, ask: false };
    // Signatures are too old by then; what counts is what the ledger says.
    let grant = grant_of(&net, "/");
    let charge = grant.budgets().charge(&session, share, &spending).unwrap();
    let mut at = |millis| net.world.ledger.charge_budgets(&charge, NOW.plus_millis(millis));
    assert_eq!(at(5_000 + hour - 1), Charged::Exhausted { budget: 0 });
    assert_eq!(at(5_000 + hour), Charged::Within);
    assert_eq!(at(5_000 + hour), Charged::Within);
    assert_eq!(at(5_000 + 2 * hour - 1), Charged::Exhausted { budget: 0 });
    assert_eq!(at(5_000 + 2 * hour), Charged::Within);

    let mut net = Net::new(configuration(|_| {}));
    press(&mut net, "crm.example", 3);
    let grant = grant_of(&net, "/");
    let charge = grant.budgets().charge(&session, share, &spending).unwrap();
    let mut at = |millis| net.world.ledger.charge_budgets(&charge, NOW.plus_millis(millis));
    assert_eq!(at(24 * hour - 1), Charged::Exhausted { budget: 0 });
    assert_eq!(at(24 * hour), Charged::Within);
}

/// What the policy grants a GET, payment apart.
fn grant_of(net: &Net, path: &str) -> Grant {
    let head = sign(
        RequestHead { authority: "crm.example".into(), ..head("GET", path) },
        &ContextFields { tenant: net.tenant.map(str::to_owned), ..context(net.agent, &[Provenance::User]) },
        b"",
        "grant",
    );
    let mut ledger = MemoryLedger::new(10);
    let mut world = World::new();
    let facts = Facts { now: NOW, started: Timestamp(NOW.0 - 10_000), ..Facts::default() };
    let mut around = Surroundings { now: NOW, ledger: &mut ledger, journal: &mut world.journal };
    let (request, candidates, _) = examine::examine(&net.world.configuration, &facts, &mut around, head, true).unwrap();
    match candidates.judge_payload(&request.payload(0, Content::Known(&Reading::Empty))) {
        PolicyVerdict::Allowed(grant) => grant,
        PolicyVerdict::Refused(refusal) => panic!("{refusal:?}"),
    }
}

#[test]
fn the_closest_rule_pays_until_it_cannot_then_the_next_that_fits() {
    let list = json!([
        rule("closest", "/v1/orders", json!({"requests": "2/session"})),
        rule("next", "/v1/*", json!({"requests": "3/session"})),
        rule("small", "/**", json!({"requests": "9/session", "url": "5B"})),
    ]);
    let mut net = Net::new(rules(list.clone()));
    assert_eq!(press(&mut net, "crm.example/v1/orders", 9), (5, Reason::BudgetRequests));
    let records = net.world.decisions();
    let named: Vec<&str> = records.iter().map(|record| record["rule"].as_str().unwrap()).collect();
    let (closest, next) = ("team/worker/closest", "team/worker/next");
    // A refusal names the closest.
    assert_eq!(named, [closest, closest, next, next, next, closest, closest, closest, closest]);
    assert_eq!(net.get("crm.example/v1/other"), Reason::BudgetRequests);
    assert_eq!(net.get("crm.example/v2"), Reason::Permitted);
    // Without a rule, never more.
    for removed in 0..3 {
        let mut fewer = list.clone();
        fewer.as_array_mut().unwrap().remove(removed);
        let mut net = Net::new(rules(fewer));
        assert!(press(&mut net, "crm.example/v1/orders", 9).0 <= 5);
    }
}

#[test]
fn a_refusal_charges_nothing_and_all_budgets_of_a_rule_go_together() {
    let limits = json!({"requests": "10/session", "bytes": "30B/session", "hosts": "2/session"});
    let mut net = Net::new(rules(json!([rule("any", "/**", limits)])));
    // 9 bytes each.
    for host in ["crm.example", "eu.crm.example", "crm.example"] {
        assert_eq!(net.get(&format!("{host}/12345678")), Reason::Permitted, "{host}");
    }
    for _ in 0..20 {
        assert_eq!(net.get("crm.example/12345678"), Reason::BudgetBytes);
        assert_eq!(net.get("us.crm.example/"), Reason::BudgetHosts);
        assert_eq!(net.get("crm.example/no?method"), Reason::BudgetBytes);
    }
    // Three bytes are left, and seven requests, and hosts that are known are no new ones.
    assert_eq!(press(&mut net, "eu.crm.example/", 3), (3, Reason::Permitted));
    assert_eq!(net.get("eu.crm.example/"), Reason::BudgetBytes);
    let mut net =
        Net::new(rules(json!([rule("any", "/**", json!({"requests": "2/session", "bytes": "1MiB/session"}))])));
    assert_eq!(press(&mut net, "crm.example/", 5), (2, Reason::BudgetRequests));
}

#[test]
fn bytes_are_those_of_path_query_kept_and_set_headers_and_body() {
    let limits = json!({"bytes": "100B/session"});
    let rule = json!({"id": "any", "to": ["crm"], "methods": ["GET", "POST"], "paths": ["/**"], "limits": limits,
                      "headers": {"keep": ["x-kept"], "set": {"x-set": "12345"}}});
    let mut world = World { configuration: rules(json!([rule])), ..World::new() };
    let send = |world: &mut World, nonce: &str, query: usize, kept: usize, body: usize| {
        let body = vec![b'x'; body];
        let who = ContextFields { tenant: Some("acme".into()), ..context("team/worker", &[Provenance::User]) };
        let target = format!("/?{}", "q".repeat(query));
        let request = RequestHead { authority: "crm.example".into(), ..head("POST", &target) };
        let mut request = sign(request, &who, &body, nonce);
        request.fields.push(("x-kept".into(), vec![b'k'; kept].into()));
        request.fields.push(("x-other".into(), vec![b'o'; 1_000].into()));
        world.run(request, &body, 3).reason
    };
    // 2 + 5 each besides: 7 + 33, 7 + 43, then 10 are left.
    assert_eq!(send(&mut world, "1", 11, 11, 11), Reason::Permitted);
    assert_eq!(send(&mut world, "2", 0, 0, 43), Reason::Permitted);
    assert_eq!(send(&mut world, "3", 0, 0, 4), Reason::BudgetBytes);
    assert_eq!(send(&mut world, "4", 4, 0, 0), Reason::BudgetBytes);
    assert_eq!(send(&mut world, "5", 0, 4, 0), Reason::BudgetBytes);
    assert_eq!(send(&mut world, "6", 1, 1, 1), Reason::Permitted);
    assert_eq!(send(&mut world, "7", 0, 0, 0), Reason::BudgetBytes);
}

#[test]
fn a_body_that_no_budget_has_room_for_is_refused_before_it_comes() {
    let rule =
        json!({"id": "any", "to": ["crm"], "methods": ["POST"], "paths": ["/**"], "limits": {"bytes": "50B/session"}});
    let mut world = World { configuration: rules(json!([rule])), ..World::new() };
    let start = |world: &mut World, nonce: &str, length: usize| {
        let body = vec![b'x'; length];
        let who = ContextFields { tenant: Some("acme".into()), ..context("team/worker", &[Provenance::User]) };
        let mut request =
            sign(RequestHead { authority: "crm.example".into(), ..head("POST", "/") }, &who, &body, nonce);
        request.fields.push(("content-length".into(), length.to_string().into()));
        let mut exchange = world.start();
        let step = exchange.head(&mut world.around(), Ok(request), false);
        (exchange, step, body)
    };
    // One byte of path and two digits besides.
    let (_, step, _) = start(&mut world, "1", 48);
    let Step::Decided(decision) = step else { panic!("{step:?}") };
    assert_eq!((decision.outcome, decision.reason), (Outcome::Deny, Reason::BudgetBytes));
    // To look ahead charges nothing: two that would both fit come at once, and one of them goes.
    let (mut one, first, body) = start(&mut world, "2", 40);
    let (mut two, second, _) = start(&mut world, "3", 40);
    assert!(matches!((first, second), (Step::NeedBody { .. }, Step::NeedBody { .. })));
    for (exchange, reason) in [(&mut one, Reason::Permitted), (&mut two, Reason::BudgetBytes)] {
        let Step::Decided(decision) = exchange.body(&mut world.around(), &body, true) else { panic!("undecided") };
        assert_eq!(decision.reason, reason);
    }
    let (_, step, _) = start(&mut world, "4", 8);
    assert!(matches!(step, Step::Decided(decision) if decision.reason == Reason::BudgetBytes));
    let (_, step, _) = start(&mut world, "5", 5);
    assert!(matches!(step, Step::NeedBody { .. }));
}

#[test]
fn what_was_spent_goes_on_over_updates_and_a_changed_amount_holds_at_once() {
    let with = |limits: Value| rules(json!([rule("any", "/**", limits)]));
    let mut net = Net::new(with(json!({"requests": "3/session"})));
    assert_eq!(press(&mut net, "crm.example", 5), (3, Reason::BudgetRequests));
    for (limits, passes) in [
        (json!({"requests": "5/session"}), 2),
        (json!({"requests": "4/session"}), 0),
        (json!({"requests": ["9/session", "8/session/1h"]}), 4),
        (json!({"requests": "9/session"}), 0),
        (json!({"requests": ["8/session/1h", "12/session"]}), 3),
    ] {
        net.world.configuration = with(limits.clone());
        assert_eq!(press(&mut net, "crm.example", 9).0, passes, "{limits}");
    }
    // A rule of another name is another rule.
    net.world.configuration = rules(json!([rule("renamed", "/**", json!({"requests": "3/session"}))]));
    assert_eq!(press(&mut net, "crm.example", 9).0, 3);
}

#[test]
fn defaults_hold_for_each_rule_that_states_nothing_of_the_kind() {
    let configuration = configuration(|policy| {
        policy["defaults"] = json!({"limits": {"requests": "2/session", "bytes": "8B/session"}});
        policy["agents"]["team/worker"]["allow"] = json!([
            rule("a", "/a", json!({})),
            rule("b", "/b", json!({"requests": "5/session"})),
            rule("c", "/c", json!({"bytes": "1MiB/session"})),
        ]);
    });
    let mut net = Net::new(configuration);
    assert_eq!(press(&mut net, "crm.example/a", 9), (2, Reason::BudgetRequests));
    assert_eq!(press(&mut net, "crm.example/b", 9), (4, Reason::BudgetBytes));
    assert_eq!(press(&mut net, "crm.example/c", 9), (2, Reason::BudgetRequests));
    let records = net.world.decisions();
    let told: std::collections::BTreeSet<_> =
        records.iter().filter_map(|r| Some((r["rule"].as_str()?, r["condition"].as_str()?))).collect();
    assert_eq!(
        told.into_iter().collect::<Vec<_>>(),
        [
            ("team/worker/a", "defaults/limits/requests: 2/session"),
            ("team/worker/b", "defaults/limits/bytes: 8B/session"),
            ("team/worker/c", "defaults/limits/requests: 2/session")
        ]
    );
}

#[test]
fn monitor_lets_go_what_enforce_refuses_and_counts_the_same() {
    let outcomes = |mode: &str| {
        let mut limited = rule("any", "/v1/**", json!({"requests": "2/session"}));
        limited["mode"] = json!(mode);
        let mut net = Net::new(rules(json!([limited])));
        for path in ["/v2", "/v1/a", "/v2", "/v1/b", "/v1/c", "/v1/d"] {
            net.get(&format!("crm.example{path}"));
        }
        let records = net.world.decisions();
        records.iter().map(|r| format!("{} {} {}", r["outcome"], r["reason"], r["condition"])).collect::<Vec<_>>()
    };
    let (enforced, watched) = (outcomes("enforce"), outcomes("monitor"));
    assert_eq!(enforced.iter().filter(|outcome| outcome.starts_with("\"allow\"")).count(), 2);
    assert!(enforced.last().unwrap().ends_with(r#""budget-requests" "limits/requests: 2/session""#));
    for (enforced, watched) in enforced.iter().zip(&watched) {
        let budget = enforced.contains("budget-requests");
        assert_eq!(&if budget { enforced.replace("deny", "would-deny") } else { enforced.clone() }, watched);
    }
}

#[test]
fn what_is_refused_for_another_reason_is_charged_to_nobody() {
    let mut net = Net::new(configuration(|_| {}));
    for _ in 0..9 {
        assert_eq!(net.get("crm.example/\"x\""), Reason::DestinationMalformed);
        assert_eq!(net.get("other.example/"), Reason::DestinationUnlisted);
    }
    assert_eq!(press(&mut net, "crm.example", 9).0, 3);
}

#[test]
fn what_has_no_budget_left_says_no_names_and_names_that_are_refused_cost_no_budget() {
    let configuration = configuration(|policy| {
        policy["destinations"]["crm"]["names"] = json!({"budget": "20B", "quarantine": "0s"});
        policy["agents"]["team/worker"]["allow"][0]["limits"] = json!({"requests": "2/session/1h"});
    });
    let mut net = Net::new(configuration);
    assert_eq!(net.get("d3e54v103j8qbb.crm.example"), Reason::Permitted);
    // A third name is more than the session may say; and the budget of requests is as before.
    for _ in 0..3 {
        assert_eq!(net.get("d1a3f4spazzrp4.crm.example"), Reason::DestinationForbidden);
    }
    assert_eq!(net.get("eu.crm.example"), Reason::Permitted);
    // Now there is none left, so what would be too much of a name is not even asked.
    for label in ["d1a3f4spazzrp4", "us", "ap"] {
        assert_eq!(net.get(&format!("{label}.crm.example")), Reason::BudgetRequests);
    }
    // With more of it, the names that fit are still to be had.
    net.world.configuration = self::configuration(|policy| {
        policy["destinations"]["crm"]["names"] = json!({"budget": "20B", "quarantine": "0s"});
        policy["agents"]["team/worker"]["allow"][0]["limits"] = json!({"requests": "9/session/1h"});
    });
    for label in ["us", "ap"] {
        assert_eq!(net.get(&format!("{label}.crm.example")), Reason::Permitted);
    }
}

#[test]
fn where_no_more_can_be_remembered_nothing_more_goes_on() {
    let mut net = Net::new(configuration(|_| {}));
    assert_eq!(net.get("crm.example"), Reason::Permitted);
    // Others of the same key and tenant take all the room that they may have.
    let share = crate::ledger::Share { key: "s-1", tenant: Some("acme") };
    let counter = |window| Counter { budget: 0, kind: Kind::Requests, window, amount: 9, cost: Cost::Count(1) };
    let mut fill = |counters: u32| {
        let full = |n: &u32| {
            let fingerprint = AccountFingerprint::new("others", None, None, Some(&format!("{counters}-{n}")));
            let account = Account { fingerprint, counters: (1..=counters).map(|n| counter(n * 60_000)).collect() };
            net.world.ledger.charge_budgets(&Charge { share, accounts: vec![account], ask: false }, NOW)
                == Charged::Full
        };
        (0..1_000).find(full).unwrap()
    };
    fill(255);
    fill(16);
    fill(1);
    net.session = "s-2".into();
    assert_eq!(net.get("crm.example"), Reason::InternalError);
    // Whoever is in goes on, and another tenant gets in.
    net.session = "s-1".into();
    assert_eq!(press(&mut net, "crm.example", 9), (2, Reason::BudgetRequests));
    net.tenant = Some("globex");
    assert_eq!(press(&mut net, "crm.example", 9), (3, Reason::BudgetRequests));
}

fn websocket(world: &mut World, agent: &str, nonce: &str) -> (Exchange, Decision) {
    let who = ContextFields { tenant: Some("acme".into()), ..context(agent, &[Provenance::User]) };
    let mut head = sign(RequestHead { authority: "feed.example".into(), ..head("GET", "/feed") }, &who, b"", nonce);
    for (name, value) in [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ] {
        head.fields.push((name.into(), value.into()));
    }
    let mut exchange = world.start();
    let Step::Decided(decision) = exchange.head(&mut world.around(), Ok(head), false) else { panic!("undecided") };
    exchange.response_head(101);
    (exchange, *decision)
}

#[test]
fn what_follows_a_head_is_charged_before_it_goes_on() {
    let limits = json!({"bytes": "25B/session", "requests": "3/session"});
    let rule = json!({"id": "feed", "to": ["feed"], "paths": ["/**"], "limits": limits});
    let mut world = World { configuration: rules(json!([rule])), ..World::new() };
    // The head costs 5.
    let (mut one, _) = websocket(&mut world, "team/worker", "1");
    let (mut two, _) = websocket(&mut world, "team/worker", "2");
    assert!(matches!(one.body(&mut world.around(), b"12345", false), Step::Pass));
    assert!(matches!(one.body(&mut world.around(), b"", false), Step::Pass));
    assert!(matches!(two.body(&mut world.around(), b"12345", false), Step::Pass));
    // Five are left, of which the other takes three.
    assert!(matches!(one.body(&mut world.around(), b"123456", false), Step::Abort));
    assert!(matches!(one.body(&mut world.around(), b"1", false), Step::Abort));
    assert!(matches!(two.body(&mut world.around(), b"123", false), Step::Pass));
    let (_, refused) = websocket(&mut world, "team/worker", "3");
    assert_eq!((refused.outcome, refused.reason), (Outcome::Deny, Reason::BudgetBytes));
    for mut exchange in [one, two] {
        exchange.end(&mut world.around(), end());
    }
    let records = world.records();
    let cut = records.iter().find(|record| record["follows"].is_string()).unwrap();
    assert_eq!((&cut["reason"], &cut["condition"]), (&json!("budget-bytes"), &json!("limits/bytes: 25B/session")));
    assert_eq!(cut["rule"], "team/worker/feed");
    let ends: Vec<_> = records.iter().filter(|record| record["kind"] == "completion").collect();
    assert_eq!((&ends[0]["forwarded_bytes"], &ends[0]["ending"]), (&json!(5), &json!("refused")));
    assert_eq!((&ends[1]["forwarded_bytes"], &ends[1]["ending"]), (&json!(8), &json!("complete")));
}

#[test]
fn another_rule_that_fits_takes_over_a_stream_whole() {
    let rule =
        |id: &str, paths: &str, limits: Value| json!({"id": id, "to": ["feed"], "paths": [paths], "limits": limits});
    let list = json!([
        rule("closest", "/feed", json!({"bytes": "10B/session"})),
        rule("next", "/**", json!({"bytes": "20B/session", "requests": "1/session"})),
    ]);
    let mut world = World { configuration: rules(list), ..World::new() };
    let (mut one, _) = websocket(&mut world, "team/worker", "1");
    assert!(matches!(one.body(&mut world.around(), b"12345", false), Step::Pass));
    // The second pays 5 + 5 + 5, then 5; and has no request left for another.
    assert!(matches!(one.body(&mut world.around(), b"12345", false), Step::Pass));
    assert!(matches!(one.body(&mut world.around(), b"12345", false), Step::Pass));
    assert!(matches!(one.body(&mut world.around(), b"1", false), Step::Abort));
    let cut = world.decisions().pop().unwrap();
    assert_eq!((&cut["rule"], &cut["reason"]), (&json!("team/worker/next"), &json!("budget-bytes")));
}
