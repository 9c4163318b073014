//! Files of a policy: how it is spread over them changes nothing, and a team's file changes nothing for another team. On policies
//! of several teams as `exeat policy generate` makes them, with requests made of what stands in them.

use exeat_cli::policy::generate::{Generated, Shape, generate};
use exeat_cli::policy::load::{Loaded, load};
use exeat_engine::context::AgentContext;
use exeat_engine::destination::{CanonicalDestination, PathOpenings, Scheme};
use exeat_engine::evidence::record::Binding;
use exeat_engine::facts::Timestamp;
use exeat_engine::payload::{Content, Reading};
use exeat_engine::policy::{HeadVerdict, Mode, Payload, Subject, Verdict};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// 2026-11-20, noon.
const NOW: Timestamp = Timestamp(1_795_176_000_000);

const SHAPE: Shape = Shape { teams: 6, agents: 18, rules: 150, seed: 11 };

/// A policy, and what it says.
struct Policy {
    loaded: Loaded,
    document: Value,
}

fn loaded(generated: &Generated) -> Policy {
    let folder = tempfile::tempdir().unwrap();
    generated.write(folder.path()).unwrap();
    let loaded = load(&folder.path().join("policy"), Some(&folder.path().join("gateway.yaml"))).unwrap();
    let document = serde_json::to_value(&loaded.policy).unwrap();
    Policy { loaded, document }
}

/// Numbers that a seed repeats (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(end).unwrap()).unwrap()
    }

    fn pick<'t, T>(&mut self, items: &'t [T]) -> &'t T {
        &items[self.below(items.len())]
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.below(end + 1));
        }
    }
}

/// A request that often has to do with a rule of its agent.
#[derive(Debug)]
struct Request {
    agent: String,
    method: &'static str,
    authority: String,
    target: String,
    context: String,
    body: u64,
}

/// Requests of the agents of some teams; others are never named.
fn requests(policy: &Value, teams: &[&str], count: usize, random: &mut Random) -> Vec<Request> {
    let agents: Vec<(&String, &Value)> = policy["agents"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, agent)| teams.contains(&agent["team"].as_str().unwrap()))
        .collect();
    let destinations = policy["destinations"].as_object().unwrap();
    let host = |destination: &Value, random: &mut Random| {
        let hosts = destination["hosts"].as_array().unwrap();
        let host = random.pick(hosts).as_str().unwrap();
        match host {
            "*" => "somewhere.else.example".to_owned(),
            "10.30.0.0/16" => "10.30.1.2".to_owned(),
            host => host.replace('*', "eu"),
        }
    };
    let one = |random: &mut Random| {
        let (agent, value) = *random.pick(&agents);
        let rules = value["allow"].as_array().unwrap();
        let rule = random.pick(rules);
        let named: Vec<&str> = rule["to"].as_array().into_iter().flatten().map(|id| id.as_str().unwrap()).collect();
        let all: Vec<&Value> = destinations.values().collect();
        let destination = match (random.below(10), named.first()) {
            (1.., Some(id)) => &destinations[*id],
            _ => *random.pick(&all),
        };
        let path = random.pick(rule["paths"].as_array().unwrap()).as_str().unwrap();
        let target = path.replace("**", "7/notes").replace('*', "7");
        let team = value["team"].as_str().unwrap();
        let handed_on = match random.below(5) {
            0 => format!(", delegated_by=(\"{}\")", random.pick(&agents).0),
            _ => String::new(),
        };
        let context = format!(
            "agent=\"{agent}\", session=\"s\", tenant=\"{}\", user=\"u-1\", roles=(\"{team}\" \"lead\"), region=\"eu\", tool=\"{}\", session_type={}, data_class={}, provenance=({}){handed_on}",
            random.pick(&["alder", "birch", "cedar", "oak"]),
            random.pick(&["crm.lookup", "http.get", "files.read", "model.chat"]),
            random.pick(&["interactive", "batch", "scheduled"]),
            random.pick(&["public", "public", "internal", "confidential"]),
            random.pick(&["user", "user internal", "third-party", "system"]),
        );
        let method = *random.pick(&["GET", "GET", "POST", "PUT", "DELETE"]);
        let body = if method == "GET" { 0 } else { *random.pick(&[0, 100, 3_000, 100_000]) };
        Request { agent: agent.clone(), method, authority: host(destination, random), target, context, body }
    };
    (0..count).map(|_| one(random)).collect()
}

/// The decision in one line, whatever the order of signers.
fn decide(Policy { loaded, document }: &Policy, request: &Request) -> String {
    let policy = loaded.configuration.policy();
    let team = request.agent.split('/').next().unwrap();
    let grants = |signer: &Value| {
        let agents = signer["agents"].as_array().unwrap();
        agents.iter().any(|pattern| pattern.as_str().unwrap() == format!("{team}/*"))
    };
    let signer = document["signers"].as_array().unwrap().iter().position(grants).unwrap();
    let context = AgentContext::parse(request.context.as_bytes()).unwrap();
    let subject = Subject { context: &context, signer, binding: Binding::Request, peer: None };
    let scheme = if request.authority == "status.corp.example" { Scheme::Http } else { Scheme::Https };
    let target = Some(request.target.as_bytes());
    let destination =
        CanonicalDestination::parse(request.authority.as_bytes(), target, scheme, PathOpenings::CLOSED).unwrap();
    let verdict = match policy.judge_head(&subject, &destination, request.method, NOW) {
        HeadVerdict::Refused(refusal) => Verdict::Refused(refusal),
        HeadVerdict::Open(candidates) => candidates.judge_payload(&Payload {
            body: request.body,
            url: request.target.len().try_into().unwrap(),
            fields: &[],
            query: request.target.split_once('?').map(|(_, query)| query),
            content: Content::Known(&Reading::Empty),
        }),
    };
    match verdict {
        Verdict::Allowed(grant) => {
            format!("allow {} {} {:?}", grant.rule(), grant.destination().id(), grant.set().collect::<Vec<_>>())
        }
        Verdict::Refused(refusal) => {
            let word = if refusal.mode == Mode::Enforce { "deny" } else { "would-deny" };
            let destination = refusal.destination.as_ref().map(|destination| destination.id().to_owned());
            format!("{word} {} {:?} {:?} {destination:?}", refusal.reason, refusal.rule, refusal.condition)
        }
    }
}

/// Both sides of the properties are reached.
fn assert_mixed(decisions: &[String]) {
    let allowed = decisions.iter().filter(|decision| decision.starts_with("allow")).count();
    assert!(allowed * 20 > decisions.len() && allowed * 20 < decisions.len() * 19, "{allowed} of {}", decisions.len());
    let reasons: std::collections::BTreeSet<_> = decisions.iter().filter_map(|text| text.split(' ').nth(1)).collect();
    assert!(reasons.len() > 8, "{reasons:?}");
}

/// Every entry of every map and list that files share, in a file of its own or with others, in any order.
fn spread(generated: &Generated, random: &mut Random) -> Generated {
    let mut pieces: BTreeMap<Option<String>, Vec<(String, Value)>> = BTreeMap::new();
    let mut files = Vec::new();
    for (name, text) in &generated.files {
        if name == "gateway.yaml" {
            files.push((name.clone(), text.clone()));
            continue;
        }
        let source = exeat_cli::policy::yaml::Source::parse(name.as_ref(), text).unwrap();
        let Value::Object(mut keys) = serde_json::to_value(&source.node).unwrap() else { panic!() };
        let team = keys.remove("team").map(|team| team.as_str().unwrap().to_owned());
        let pieces = pieces.entry(team).or_default();
        for (key, value) in keys {
            match (key.as_str(), value) {
                ("destinations" | "agents" | "profiles" | "tenants" | "environments", Value::Object(entries)) => {
                    pieces.extend(entries.into_iter().map(|(name, entry)| (key.clone(), json!({name: entry}))));
                }
                ("signers", Value::Array(signers)) => {
                    pieces.extend(signers.into_iter().map(|signer| (key.clone(), json!([signer]))));
                }
                (_, value) => pieces.push((key, value)),
            }
        }
    }
    for (team, mut pieces) in pieces {
        random.shuffle(&mut pieces);
        let mut left = pieces.into_iter().peekable();
        while left.peek().is_some() {
            let count = random.below(12) + 1;
            let mut document = Map::new();
            document.extend(team.as_ref().map(|team| ("team".to_owned(), json!(team))));
            for (key, value) in left.by_ref().take(count) {
                match (document.get_mut(&key), value) {
                    (Some(Value::Object(there)), Value::Object(more)) => there.extend(more),
                    (Some(Value::Array(there)), Value::Array(more)) => there.extend(more),
                    (_, value) => _ = document.insert(key, value),
                }
            }
            let name = format!("policy/{}/{:08x}.json", random.below(5), random.below(1 << 30));
            files.push((name, Value::Object(document).to_string()));
        }
    }
    Generated { files }
}

#[test]
fn how_a_policy_is_spread_over_files_changes_no_decision() {
    let (generated, mut random) = (generate(SHAPE), Random(1));
    let before = loaded(&generated);
    let teams = ["support", "billing", "payments", "research", "legal", "sales"];
    let requests = requests(&before.document, &teams, 600, &mut random);
    let expected: Vec<String> = requests.iter().map(|request| decide(&before, request)).collect();
    assert_mixed(&expected);
    for _ in 0..3 {
        let after = loaded(&spread(&generated, &mut random));
        assert_eq!(after.loaded.configuration.policy().rules(), before.loaded.configuration.policy().rules());
        for (request, expected) in requests.iter().zip(&expected) {
            assert_eq!(decide(&after, request), *expected, "{request:?}");
        }
    }
}

#[test]
fn a_file_of_a_team_changes_nothing_for_other_teams() {
    let whole = generate(SHAPE);
    let after = loaded(&whole);
    let all = ["support", "billing", "payments", "research", "legal", "sales"];
    let mut decisions = Vec::new();
    for newcomer in all {
        let file = format!("policy/teams/{newcomer}.yaml");
        let files = whole.files.iter().filter(|(name, _)| *name != file).cloned().collect();
        let before = loaded(&Generated { files });
        let others: Vec<&str> = all.into_iter().filter(|team| *team != newcomer).collect();
        for request in requests(&after.document, &others, 150, &mut Random(7)) {
            let decision = decide(&after, &request);
            assert_eq!(decide(&before, &request), decision, "without {newcomer}: {request:?}");
            decisions.push(decision);
        }
    }
    assert_mixed(&decisions);
}
