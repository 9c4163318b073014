//! What an operator does not want in clear stands in no record, whichever way a request takes.

use super::*;
use crate::destination::Leaving;
use crate::policy::MaskMember;

/// In all values that are masked here, and nowhere else.
const MARK: &str = "zq-";
const AGENT: &str = "team/zq-agent";
const SOURCE: &str = "192.0.2.77:40123";
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const HASHED: [&str; 13] = [
    "peer",
    "source",
    "agent",
    "session",
    "tenant",
    "roles",
    "region",
    "delegated_by",
    "tool",
    "attributes",
    "path",
    "request_id",
    "traceparent",
];

fn mask(drop: &[&str], hash: &[&str]) -> Value {
    json!({"drop": drop, "hash": hash})
}

/// Everything hashed; and all left out but the agent, who cannot be.
fn masks() -> [Value; 2] {
    let dropped: Vec<_> = HASHED.into_iter().filter(|member| *member != "agent").collect();
    [mask(&[], &HASHED), mask(&dropped, &["agent"])]
}

fn world(mask: Value, change: impl FnOnce(&mut Value)) -> World {
    let mut world = World::new();
    let mut document = document();
    document["gateway"]["audit"] = json!({"queue": 64, "mask": mask});
    let policy = &mut document["policy"];
    policy["signers"][0]["tenants"] = json!(["zq-*"]);
    policy["signers"][0]["tools"] = json!(["zq-*"]);
    policy["destinations"]["crm"]["tunnel"] = json!(true);
    policy["destinations"]["crm"]["life"] = json!("1m");
    let rule = json!({"id": "read", "to": ["crm"], "methods": ["GET", "CONNECT"], "paths": ["/**"]});
    policy["agents"] = json!({AGENT: {"allow": [rule]}, "team/zq-chief": {"allow": [rule]}});
    change(&mut document);
    world.configuration = Arc::new(Configuration::accept(document.to_string().as_bytes()).unwrap());
    world
}

impl World {
    fn start_marked(&mut self) -> Exchange {
        let mut exchange = self.start();
        exchange.facts.peer = Some("spiffe://zq-mesh.example/agent".to_owned());
        exchange.facts.source = Some(SOURCE.to_owned());
        exchange.facts.request_id = Some("zq-request".to_owned());
        exchange
    }

    /// The decision on a request that is all there.
    fn decided(&mut self, head: RequestHead) -> (Exchange, Decision) {
        let mut exchange = self.start_marked();
        match exchange.head(&mut self.around(), Ok(head), true) {
            Step::Decided(decision) => (exchange, *decision),
            other => panic!("undecided: {other:?}"),
        }
    }

    /// All records, after none was found to tell anything.
    fn silent_records(&mut self, ways: &str) -> Vec<Value> {
        let records = self.records();
        for record in &records {
            let text = record.to_string();
            for told in [MARK, SOURCE, "192.0.2.77", TRACE] {
                assert!(!text.contains(told), "{ways}: {told}: {text}");
            }
        }
        records
    }
}

fn traced(mut head: RequestHead) -> RequestHead {
    head.fields.push(("traceparent".into(), TRACE.into()));
    head
}

fn marked(head: RequestHead, nonce: &str) -> RequestHead {
    let fields = ContextFields {
        session: "zq-session".into(),
        tenant: Some("zq-tenant".into()),
        region: Some("zq-region".into()),
        roles: vec!["zq-lead".into(), "zq-second".into()],
        delegated_by: vec!["team/zq-chief".into()],
        tool: Some("zq-tool".into()),
        attributes: vec![("ticket".into(), "\"zq-7\"".into())],
        ..context(AGENT, &[Provenance::User])
    };
    traced(sign(head, &fields, b"", nonce))
}

fn of<'a>(records: &'a [Value], kind: &str) -> Vec<&'a Value> {
    records.iter().filter(|record| record["kind"] == kind).collect()
}

#[test]
fn an_allowed_request_tells_hashes_of_what_it_was() {
    let mut world = world(mask(&[], &HASHED), |_| {});
    let (mut exchange, decision) = world.decided(marked(head("GET", "/v1/zq-1?q=zq-2"), "a"));
    assert_eq!(decision.outcome, Outcome::Allow, "{decision:?}");
    exchange.end(&mut world.around(), end());
    let records = world.silent_records("allow");
    let hash = |value: &str| json!(GatewayKey::from_seed([1; 32]).keyed_hash(value.as_bytes()));
    let record = of(&records, "decision")[0];
    for (member, value) in [
        ("peer", "spiffe://zq-mesh.example/agent"),
        ("source", SOURCE),
        ("agent", AGENT),
        ("session", "zq-session"),
        ("tenant", "zq-tenant"),
        ("region", "zq-region"),
        ("tool", "zq-tool"),
        ("request_id", "zq-request"),
        ("traceparent", TRACE),
    ] {
        assert_eq!(record[member], hash(value), "{member}");
    }
    assert_eq!(record["roles"], json!([hash("zq-lead"), hash("zq-second")]));
    assert_eq!(record["delegated_by"], json!([hash("team/zq-chief")]));
    assert_eq!(record["attributes"], json!({"ticket": hash("\"zq-7\"")}));
    assert_eq!(record["destination"]["path"], hash("/v1/zq-1"));
    assert_eq!(record["rule"], format!("{}/read", hash(AGENT).as_str().unwrap()));
    // All else is as it was, and the person can still be named and forgotten.
    assert_eq!((&record["id"], &record["destination"]["host"]), (&json!(decision.id), &json!("eu.crm.example")));
    assert!(record["user"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(of(&records, "completion").len(), 1);
}

#[test]
fn what_is_left_out_is_absent_and_lists_are_empty() {
    let [_, drop] = masks();
    let mut world = world(drop, |_| {});
    let (_, decision) = world.decided(marked(head("GET", "/v1/zq-1"), "a"));
    assert_eq!(decision.outcome, Outcome::Allow);
    let records = world.silent_records("allow");
    let record = of(&records, "decision")[0];
    for member in ["peer", "source", "session", "tenant", "region", "tool", "request_id", "traceparent"] {
        assert!(record.get(member).is_none(), "{member}");
    }
    assert!(record["destination"].get("path").is_none());
    let empty = (&json!([]), &json!([]), &json!({}));
    assert_eq!((&record["roles"], &record["delegated_by"], &record["attributes"]), empty);
    assert!(record["rule"].as_str().unwrap().ends_with("=/read"), "{}", record["rule"]);
}

#[test]
fn refusals_tell_no_more() {
    let spiffe = |document: &mut Value| {
        document["policy"]["signers"][0]["spiffe"] = json!("spiffe://acme.example/other");
    };
    let as_is = |_: &mut Value| {};
    let deny = |document: &mut Value| {
        let rule = json!({"id": "none", "to": ["crm"], "methods": ["GET"], "paths": ["/v1/**"]});
        document["policy"]["agents"][AGENT]["deny"] = json!([rule]);
    };
    let ceiling = |document: &mut Value| {
        document["policy"]["ceilings"] = json!({"deny": [{"id": "none", "to": ["crm"], "methods": ["GET"]}]});
    };
    type Change<'a> = &'a dyn Fn(&mut Value);
    let cases: [(&str, RequestHead, Change<'_>, Reason, Option<&str>); 7] = [
        ("method", marked(head("PUT", "/v1/zq-1"), "a"), &as_is, Reason::MethodDenied, Some("/read")),
        ("rule", marked(head("GET", "/v1/zq-1"), "a"), &deny, Reason::RuleDenied, Some("/none")),
        ("ceiling", marked(head("GET", "/v1/zq-1"), "a"), &ceiling, Reason::RuleDenied, Some("ceilings/none")),
        ("peer", marked(head("GET", "/v1/zq-1"), "a"), &spiffe, Reason::GrantDenied, None),
        ("unread", marked(head("GET", "/v1/%2e%2e/zq-1"), "a"), &as_is, Reason::DestinationMalformed, None),
        ("unsigned", traced(head("GET", "/v1/zq-1")), &as_is, Reason::ContextMissing, None),
        (
            "claimed",
            {
                let mut claimed = marked(head("GET", "/v1/zq-1"), "a");
                claimed.fields.retain(|(name, _)| name != "agent-context");
                claimed.fields.push(("agent-context".into(), "agent=\"x\", zq-member=?zq".into()));
                claimed
            },
            &as_is,
            Reason::ContextMalformed,
            None,
        ),
    ];
    for (name, request, change, reason, rule) in cases {
        for mask in masks() {
            let mut world = world(mask, change);
            let (_, decision) = world.decided(request.clone());
            assert_eq!((decision.outcome, decision.reason), (Outcome::Deny, reason), "{name}");
            let records = world.silent_records(name);
            let record = of(&records, "decision")[0];
            let told = record["rule"].as_str();
            assert!(rule.map_or(told.is_none(), |rule| told.is_some_and(|told| told.ends_with(rule))), "{record}");
            if name == "peer" {
                let why = "signers/s/spiffe: expected a certificate for spiffe://acme.example/other, the connection has \"(masked)\"";
                assert_eq!(record["condition"], why);
                // The agent is told of its own request, not of the evidence.
                assert!(problem(&decision)["condition"].as_str().unwrap().contains("zq-mesh.example"));
            }
        }
    }
}

#[test]
fn the_guard_tells_no_more_than_the_decision_before_whichever_configuration_it_has() {
    for (of_filter, of_guard) in
        masks().into_iter().flat_map(|mask| [(mask.clone(), json!({})), (mask.clone(), mask.clone())])
    {
        let mut world = world(of_filter, |_| {});
        let (mut exchange, decision) = world.decided(marked(head("GET", "/v1/zq-1"), "a"));
        let clearance = decision.clearance.unwrap();
        let leaving = Leaving {
            exits: &[Exit::Https],
            method: Some(b"GET"),
            authority: Some(b"eu.crm.example"),
            path: Some(b"/v1/zq-1"),
            upstream: Some("127.0.0.1:443"),
        };
        let objection = clearance.admit(&leaving).unwrap_err();
        let other = super::mask::world(of_guard, |_| {}).configuration;
        let journal = &mut world.journal;
        let refusal = guard::refuse(other.gateway(), journal, NOW, &[9; 32], Some(&clearance), &leaving, objection);
        exchange.end(
            &mut world.around(),
            End { guard: Some(GuardVerdict::Refused { decision: refusal.id.clone() }), ..end() },
        );
        let records = world.silent_records("guard");
        let decisions = of(&records, "decision");
        assert_eq!((decisions.len(), of(&records, "completion").len()), (2, 1));
        // Still the same agent to whoever reads.
        assert_eq!((&decisions[1]["agent"], &decisions[1]["follows"]), (&decisions[0]["agent"], &decisions[0]["id"]));
        assert_eq!(decisions[1]["session"], decisions[0]["session"]);
    }
    // A guard without a decision before tells what it sees as its own configuration says.
    let mut world = world(mask(&["path"], &[]), |_| {});
    let leaving = Leaving { exits: &[], method: None, authority: None, path: Some(b"/zq-1"), upstream: None };
    let configuration = Arc::clone(&world.configuration);
    let objection = crate::destination::Objection::Undecided;
    guard::refuse(configuration.gateway(), &mut world.journal, NOW, &[9; 32], None, &leaving, objection);
    assert_eq!(of(&world.silent_records("guard alone"), "decision").len(), 1);
}

#[test]
fn what_is_given_up_and_what_is_cut_tells_no_more() {
    for mask in masks() {
        let mut waits = world(mask.clone(), |document| document["gateway"]["audit"]["delivery"] = json!("write-ahead"));
        let mut exchange = waits.start_marked();
        let step = exchange.head(&mut waits.around(), Ok(marked(head("GET", "/v1/zq-1"), "a")), true);
        assert!(matches!(step, Step::Wait(_)), "{step:?}");
        let World { ledger, journal, .. } = &mut waits;
        let late = &mut Surroundings { now: NOW.plus_millis(60_000), ledger, journal };
        assert!(matches!(exchange.resume(late), Step::Decided(d) if d.reason == Reason::AuditUnavailable));
        exchange.end(&mut waits.around(), end());
        let records = waits.silent_records("given up");
        let decisions = of(&records, "decision");
        assert_eq!((decisions.len(), &decisions[1]["rule"]), (2, &decisions[0]["rule"]));

        let mut tunnels = world(mask, |_| {});
        let mut connect = RequestHead { path: None, scheme: None, ..head("CONNECT", "") };
        connect.authority = "eu.crm.example:443".into();
        let mut exchange = tunnels.start_marked();
        let step = exchange.head(&mut tunnels.around(), Ok(marked(connect, "a")), false);
        assert!(matches!(step, Step::Decided(d) if d.outcome == Outcome::Allow));
        assert!(matches!(exchange.body(&mut tunnels.around(), b"no zq-hello", false), Step::Abort));
        exchange.end(&mut tunnels.around(), end());
        let records = tunnels.silent_records("cut");
        let decisions = of(&records, "decision");
        assert_eq!((decisions.len(), &decisions[1]["reason"]), (2, &json!("tunnel-denied")));
        assert_eq!(decisions[1]["rule"], decisions[0]["rule"]);
    }
}

/// What counts agents counts them by their names: were all of them nobody, one could keep the queue from the others.
#[test]
fn masked_agents_and_tenants_have_shares_of_their_own() {
    let mut world = world(mask(&["tenant"], &["agent"]), |document| {
        document["policy"]["signers"][0]["tenants"] = json!(["*"]);
    });
    let mut kept = Vec::new();
    let mut outcomes = Vec::new();
    for (n, tenant) in std::iter::repeat_n("a", 33).chain(["b"]).enumerate() {
        let fields = ContextFields { tenant: Some(tenant.into()), ..context(AGENT, &[Provenance::User]) };
        let (exchange, decision) = world.decided(sign(head("GET", "/v1/x"), &fields, b"", &format!("n{n}")));
        world.records();
        kept.push(exchange);
        outcomes.push(decision.outcome);
    }
    assert_eq!(outcomes[..32], [Outcome::Allow; 32]);
    assert_eq!(outcomes[32..], [Outcome::Deny, Outcome::Allow]);
}

#[test]
fn a_mask_names_members_as_records_do_and_keeps_delegators_with_agents() {
    let world = world(mask(&["source"], &["path", "agent"]), |_| {});
    let gateway = world.configuration.gateway();
    assert_eq!(gateway.mask().dropped(), [MaskMember::Source]);
    assert_eq!(gateway.mask().hashed(), [MaskMember::Agent, MaskMember::DelegatedBy, MaskMember::Path]);
    let both = gateway.mask().with(super::mask::world(mask(&["path"], &[]), |_| {}).configuration.gateway().mask());
    assert_eq!(serde_json::to_value(&both).unwrap(), mask(&["source", "path"], &["agent", "delegated_by"]));
    for word in HASHED {
        let member: MaskMember = serde_json::from_value(json!(word)).unwrap();
        assert_eq!((member.word(), serde_json::to_value(member).unwrap()), (word, json!(word)));
    }
}
