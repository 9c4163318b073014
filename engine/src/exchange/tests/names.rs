//! Names that a session chose: budgets, quarantine, release, first meetings. What leaks in the end is in `leaks`.

use super::*;
use crate::decision::Reason;
use crate::ledger::MemoryLedger;

/// One wildcard and the open web, with whatever else the policy says.
pub(super) fn configuration(change: impl FnOnce(&mut Value)) -> Arc<Configuration> {
    use base64::Engine as _;
    let public = base64::engine::general_purpose::STANDARD.encode(*signer().pk);
    let rules = json!([{"id": "any", "to": ["tenants", "web", "crm"], "paths": ["/**"]}]);
    let mut document = json!({
        "role": "filter",
        "gateway": {"id": "egress-test", "key": {"env": "KEY"}, "collector": {"cluster": "c"}, "feedback": "full"},
        "policy": {
            "schema": "exeat/v1", "revision": "1",
            "signers": [{"id": "s", "keys": [{"id": "s-1", "public": public}], "agents": ["team/*"], "tenants": ["acme", "globex"],
                         "users": ["u-*"], "provenance": ["user", "third-party", "unknown"]}],
            "destinations": {
                "crm": {"hosts": ["crm.example"], "accepts": "restricted"},
                "tenants": {"hosts": ["*.tenants.example"], "accepts": "restricted"},
                "web": {"hosts": ["*"], "open": true, "accepts": "restricted",
                        "limits": {"provenance": {"third-party": {"body": "0B", "url": "128B"}, "unknown": {"body": "0B", "url": "0B"}}}},
            },
            "agents": {
                "team/worker": {"allow": rules}, "team/other": {"allow": rules},
                "team/watched": {"mode": "monitor", "allow": rules},
            }
        }
    });
    change(&mut document);
    Arc::new(Configuration::accept(document.to_string().as_bytes()).unwrap_or_else(|error| panic!("{error}")))
}

/// A gateway, an agent on it, and a clock.
pub(super) struct Net {
    pub(super) world: World,
    pub(super) now: Timestamp,
    pub(super) agent: &'static str,
    pub(super) tenant: Option<&'static str>,
    pub(super) session: String,
    pub(super) sent: u64,
}

impl Net {
    pub(super) fn new(configuration: Arc<Configuration>) -> Self {
        let world = World { configuration, ledger: MemoryLedger::new(1 << 20), ..World::with_queue(1 << 20) };
        Self { world, now: NOW, agent: "team/worker", tenant: Some("acme"), session: "s-1".into(), sent: 0 }
    }

    /// Sends a GET; why it was decided as it was.
    pub(super) fn get(&mut self, url: &str) -> Reason {
        let (authority, path) = url.split_once('/').map_or((url, "/".to_owned()), |(a, p)| (a, format!("/{p}")));
        self.sent += 1;
        let who = ContextFields {
            session: self.session.clone(),
            tenant: self.tenant.map(str::to_owned),
            ..context(self.agent, &[Provenance::User])
        };
        let head = RequestHead { authority: authority.to_owned().into(), ..head("GET", &path) };
        let head = sign(head, &who, b"", &format!("n{}", self.sent));
        let mut exchange = self.world.start_numbered(self.sent);
        let mut around =
            Surroundings { now: self.now, ledger: &mut self.world.ledger, journal: &mut self.world.journal };
        let step = exchange.head(&mut around, Ok(head), true);
        exchange.end(&mut around, end());
        let Step::Decided(decision) = step else { panic!("undecided: {step:?}") };
        assert_eq!(matches!(decision.verdict, Verdict::Forward(_)), decision.outcome != Outcome::Deny);
        decision.reason
    }

    /// Spends the budget under one parent, and one more.
    fn overspend(&mut self, parent: &str) {
        for label in ["d3e54v103j8qbb", "d1a3f4spazzrp4", "dnn506yrbagrg5", "d36mpcpuzc4ztk", "d2wy8f7a9ursnm"] {
            assert_eq!(self.get(&format!("{label}.{parent}")), Reason::Permitted);
        }
        assert_eq!(self.get(&format!("d9x1kqv7ybzm2e.{parent}")), Reason::DestinationForbidden);
    }
}

#[test]
fn a_budget_is_one_parents_and_one_sessions() {
    for parent in ["tenants.example", "evil.test"] {
        let mut net =
            Net::new(configuration(|document| document["policy"]["defaults"] = json!({"names": {"quarantine": "0s"}})));
        net.overspend(parent);
        // What it used before costs nothing, and words still fit in; what else looks encoded does not.
        assert_eq!(net.get(&format!("d3e54v103j8qbb.{parent}/again")), Reason::Permitted);
        assert_eq!(net.get(&format!("d9x1kqv7ybzm2e.{parent}")), Reason::DestinationForbidden);
        assert_eq!(net.get("crm.example"), Reason::Permitted);
        assert_eq!(net.get("d9x1kqv7ybzm2e.other.test"), Reason::Permitted);
        // Neither another session, nor the same name of another agent or tenant, pays for it.
        for (agent, tenant, session) in [
            ("team/worker", Some("acme"), "s-2"),
            ("team/other", Some("acme"), "s-1"),
            ("team/worker", None, "s-1"),
            ("team/worker", Some("globex"), "s-1"),
        ] {
            (net.agent, net.tenant, net.session) = (agent, tenant, session.into());
            net.overspend(parent);
        }
    }
}

#[test]
fn a_quarantine_holds_everything_of_its_session_for_its_time() {
    let mut net = Net::new(configuration(|_| {}));
    net.overspend("tenants.example");
    for url in ["crm.example", "d3e54v103j8qbb.tenants.example", "other.test"] {
        assert_eq!(net.get(url), Reason::SessionQuarantined, "{url}");
    }
    net.session = "s-2".into();
    assert_eq!(net.get("crm.example"), Reason::Permitted);
    net.session = "s-1".into();
    let hour = 60 * 60 * 1000;
    let records = net.world.decisions();
    let of = |reason: &str| records.iter().find(|record| record["reason"] == reason).unwrap();
    let until = of("destination-forbidden")["quarantined_until"].as_u64().unwrap();
    assert_eq!(until, NOW.0 + hour);
    assert!(of("session-quarantined")["quarantined_until"].as_u64().unwrap().abs_diff(until) < 1_000);
    let condition = of("destination-forbidden")["condition"].as_str().unwrap();
    assert!(
        condition.starts_with("destinations/tenants/names/budget: the names under one parent would come to "),
        "{condition}"
    );
}

#[test]
fn a_release_lets_a_session_go_on_with_what_it_used() {
    let release = |document: &mut Value| {
        document["policy"]["quarantine"] =
            json!({"release": [{"tenant": "acme", "agent": "team/worker", "session": "s-1"}]});
    };
    let mut net = Net::new(configuration(|_| {}));
    net.overspend("evil.test");
    assert_eq!(net.get("crm.example"), Reason::SessionQuarantined);
    net.world.configuration = configuration(release);
    assert_eq!(net.get("crm.example"), Reason::Permitted);
    assert_eq!(net.get("d3e54v103j8qbb.evil.test"), Reason::Permitted);
    // Its budget stays spent.
    assert_eq!(net.get("d9x1kqv7ybzm2e.evil.test"), Reason::DestinationForbidden);
    assert_eq!(net.get("crm.example"), Reason::Permitted);
    // Only that session of that agent of that tenant is released.
    (net.agent, net.session) = ("team/other", "s-1".into());
    net.overspend("evil.test");
    assert_eq!(net.get("crm.example"), Reason::SessionQuarantined);
}

#[test]
fn monitor_only_says_what_it_would_do() {
    let mut net = Net::new(configuration(|_| {}));
    net.agent = "team/watched";
    net.overspend("evil.test");
    assert_eq!(net.get("crm.example"), Reason::Permitted);
    let records = net.world.decisions();
    let would: Vec<_> = records.iter().filter(|record| record["outcome"] == "would-deny").collect();
    assert!(would.len() == 1 && would[0]["quarantined_until"].is_null() && would[0]["released"] == "head+body");
}

#[test]
fn single_names_and_segments_can_be_too_much() {
    for (url, expected) in [
        ("4a6f686e446f65.53656372657431.exfil.evil.example.com/ping", Reason::DestinationForbidden),
        ("4a6f686e446f65.exfil.evil.example.com/ping", Reason::Permitted),
        ("evil.example.com/api/x7Kp2mQ9vR4sL8nW1bY6cT3fA0jH5dE/status", Reason::DestinationForbidden),
        ("api.github.com/repos/golang/go/commits/d670460b4b4aece5915caf5c68d12f560a9fe3e4", Reason::Permitted),
        // Paths are the open web's to watch; where a host is named, its rules are.
        ("a.tenants.example/api/x7Kp2mQ9vR4sL8nW1bY6cT3fA0jH5dE/status", Reason::Permitted),
        ("crm.example/api/x7Kp2mQ9vR4sL8nW1bY6cT3fA0jH5dE/status", Reason::Permitted),
    ] {
        let mut net = Net::new(configuration(|_| {}));
        assert_eq!(net.get(url), expected, "{url}");
        let next = if expected == Reason::Permitted { expected } else { Reason::SessionQuarantined };
        assert_eq!(net.get("crm.example"), next, "{url}");
    }
}

#[test]
fn paths_under_one_parent_have_a_budget() {
    let mut net = Net::new(configuration(|_| {}));
    let sha = |n: u64| {
        let digest = Sha256::digest(n.to_le_bytes());
        digest.iter().take(20).map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let allowed = (0..100).take_while(|n| net.get(&format!("git.test/c/{}", sha(*n))) == Reason::Permitted).count();
    assert!((24..=27).contains(&allowed), "{allowed}");
}

#[test]
fn what_does_not_leave_costs_nothing() {
    // Refused by its method, every name; then all of the budget is still there.
    let mut net = Net::new(configuration(|document| {
        document["policy"]["agents"]["team/worker"]["allow"][0]["paths"] = json!(["/ok"]);
    }));
    for n in 0..50 {
        assert_eq!(net.get(&format!("d{n}e54v103j8qbb.evil.test/no")), Reason::PathDenied);
    }
    for n in 0..5 {
        assert_eq!(net.get(&format!("d{n}e54v103j8qbb.evil.test/ok")), Reason::Permitted);
    }
}

#[test]
fn the_first_meeting_is_recorded_once_for_each_agent_and_host() {
    let mut net = Net::new(configuration(|_| {}));
    for url in ["crm.example", "crm.example/2", "a.tenants.example"] {
        assert_eq!(net.get(url), Reason::Permitted);
    }
    (net.agent, net.session) = ("team/other", "s-2".into());
    for url in ["crm.example", "unlisted.internal"] {
        net.get(url);
    }
    let seen: Vec<_> = net.world.decisions().iter().map(|record| record["first_seen"].clone()).collect();
    assert_eq!(seen, [json!(true), json!(false), json!(true), json!(true), json!(null)]);
}
