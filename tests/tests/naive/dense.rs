//! Small policies in which everything has to do with everything else.

use fastrand::Rng;
use serde_json::{Map, Value, json};

const HOSTS: [&str; 9] = [
    "x.example",
    "*.x.example",
    "a.x.example",
    "*.a.x.example",
    "b.x.example",
    "y.example",
    "10.0.0.1",
    "10.0.0.0/24",
    "10.0.0.0/8",
];
const IDS: [&str; 5] = ["a", "b", "c", "d", "z"];
const CATEGORIES: [&str; 3] = ["crm", "model", "paste"];
const KINDS: [&str; 2] = ["internal", "saas"];
const AGENTS: [&str; 4] = ["red/one", "red/two", "blue/one", "solo"];
const PATHS: [&str; 9] = ["/**", "/a", "/a/*", "/a/**", "/a/b", "/a/b/", "/b/**", "/*/b", "/caf%C3%A9/*"];
const SOURCES: [&str; 5] = ["user", "system", "internal", "third-party", "unknown"];
const SIZES: [&str; 7] = ["0B", "2B", "4B", "10B", "1KiB", "64KiB", "2MiB"];
const DATES: [&str; 3] = ["2099-12-31", "2026-12-31", "2027-01-14"];
/// SHA-256 of `Bearer right`.
const PIN: &str = "7dbb3cf79f4178a308d1b9aa7304156799a4bfc943df67ed5891f1eea6c20ea3";
/// A test key (RFC 8032 section 7.1, test 1).
const KEY: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

fn chance(random: &mut Rng, percent: u8) -> bool {
    random.u8(..100) < percent
}

fn some<'w>(random: &mut Rng, words: &[&'w str]) -> Vec<&'w str> {
    let count = random.usize(1..=words.len().min(3));
    let mut words = words.to_vec();
    random.shuffle(&mut words);
    words.truncate(count);
    words
}

fn one<'w>(random: &mut Rng, words: &[&'w str]) -> &'w str {
    words[random.usize(..words.len())]
}

/// Ids that a team may name: `z` is of team blue.
fn ids(team: Option<&str>) -> &'static [&'static str] {
    if matches!(team, None | Some("blue")) { &IDS } else { &IDS[..4] }
}

fn selector(random: &mut Rng, team: Option<&str>) -> Value {
    match random.u8(..6) {
        0 => json!({"category": some(random, &CATEGORIES)}),
        1 => json!({"id": some(random, ids(team)), "kind": some(random, &KINDS)}),
        2 => json!({"category": one(random, &CATEGORIES), "kind": one(random, &KINDS)}),
        _ => json!(some(random, ids(team))),
    }
}

fn sizes(random: &mut Rng) -> Value {
    let mut sizes = Map::new();
    for key in ["url", "headers", "body", "total"] {
        if chance(random, 20) {
            sizes.insert(key.to_owned(), json!(one(random, &SIZES[2..])));
        }
    }
    Value::Object(sizes)
}

fn by_source(random: &mut Rng) -> Value {
    let mut all = Map::new();
    for source in some(random, &SOURCES) {
        let mut sizes = Map::new();
        for key in ["url", "body"] {
            if chance(random, 50) {
                sizes.insert(key.to_owned(), json!(one(random, &SIZES)));
            }
        }
        all.insert(source.to_owned(), Value::Object(sizes));
    }
    Value::Object(all)
}

fn limits(random: &mut Rng) -> Value {
    let mut limits = sizes(random);
    if chance(random, 40) {
        limits["provenance"] = by_source(random);
    }
    limits
}

fn when(random: &mut Rng) -> Value {
    let mut when = Map::new();
    let members: [(&str, Vec<&str>); 10] = [
        ("roles", vec!["boss", "adm*"]),
        ("region", vec!["eu*", "us"]),
        ("tool", vec!["crm.lookup", "crm.*"]),
        ("session_type", vec!["batch", "interactive"]),
        ("provenance", SOURCES.to_vec()),
        ("delegated_by", AGENTS.to_vec()),
        ("data_class", vec!["public", "internal"]),
        ("tenant", vec!["acme", "g*"]),
        ("ticket", vec!["INC-*", "CHG-1"]),
        ("level", vec!["2", "3"]),
    ];
    for (member, values) in members {
        if chance(random, 12) {
            when.insert(member.to_owned(), json!(some(random, &values)));
        }
    }
    Value::Object(when)
}

fn put(map: &mut Value, key: &str, value: Value) {
    map[key] = value;
}

fn allow(random: &mut Rng, team: Option<&str>, id: String) -> Value {
    let mut rule = json!({"id": id, "to": selector(random, team), "paths": some(random, &PATHS), "when": when(random)});
    if chance(random, 40) {
        put(&mut rule, "methods", json!(some(random, &["GET", "POST", "PUT", "DELETE"])));
    }
    if chance(random, 40) {
        put(&mut rule, "limits", limits(random));
    }
    if chance(random, 15) {
        put(&mut rule, "binding", json!(some(random, &["request", "session"])));
    }
    if chance(random, 10) {
        put(&mut rule, "expires", json!(one(random, &DATES)));
    }
    if chance(random, 15) {
        put(&mut rule, "mode", json!(one(random, &["monitor", "monitor", "enforce"])));
    }
    if chance(random, 30) {
        put(
            &mut rule,
            "headers",
            match random.u8(..3) {
                0 => json!({"keep": ["x-api-version", "x-debug"]}),
                1 => json!({"set": {"x-agent": "$agent", "x-user": "$user", "x-via": "exeat"}}),
                _ => json!({"keep": ["x-api-version"], "remove": ["accept", "x-debug"]}),
            },
        );
    }
    rule
}

fn deny(random: &mut Rng, team: Option<&str>, id: String, ceiling: bool) -> Value {
    let mut rule = json!({"id": id, "to": selector(random, team), "when": when(random)});
    if chance(random, 40) {
        put(&mut rule, "methods", json!(some(random, &["GET", "POST", "DELETE"])));
    }
    if chance(random, 60) {
        put(&mut rule, "paths", json!(some(random, &PATHS[1..])));
    }
    if !ceiling && chance(random, 15) {
        put(&mut rule, "expires", json!(one(random, &DATES)));
    }
    if !ceiling && chance(random, 30) {
        put(&mut rule, "mode", json!(one(random, &["monitor", "enforce"])));
    }
    rule
}

fn destination(random: &mut Rng, index: usize) -> Value {
    // All categories and kinds occur, so that no selector is an error.
    let mut destination = json!({
        "hosts": some(random, &HOSTS), "category": CATEGORIES[index % 3], "kind": KINDS[index % 2],
        "accepts": one(random, &["internal", "confidential", "restricted", "restricted"]),
    });
    if chance(random, 20) {
        put(&mut destination, "ports", json!([443, 8443]));
    }
    if chance(random, 15) {
        put(&mut destination, "tenants", json!(some(random, &["acme", "globex"])));
    }
    if chance(random, 30) {
        put(&mut destination, "limits", limits(random));
    }
    if chance(random, 8) {
        put(&mut destination, "expires", json!(one(random, &DATES)));
    }
    if chance(random, 30) {
        put(
            &mut destination,
            "credentials",
            match random.bool() {
                true => json!({"keep": ["authorization", "cookie"]}),
                false => json!({"keep": ["authorization"], "sha256": [PIN]}),
            },
        );
    }
    if index == 4 {
        put(&mut destination, "teams", json!(["blue"]));
    }
    destination
}

fn agent(random: &mut Rng, name: &str) -> Value {
    let team = name.split_once('/').map(|(team, _)| team);
    let mut agent = json!({});
    if let Some(team) = team {
        put(&mut agent, "team", json!(team));
    }
    if chance(random, 40) {
        put(&mut agent, "use", json!(["shared"]));
    }
    if chance(random, 20) {
        put(&mut agent, "mode", json!(one(random, &["monitor", "enforce"])));
    }
    let count = random.usize(1..6);
    put(&mut agent, "allow", (0..count).map(|n| allow(random, team, format!("a{n}"))).collect());
    let count = random.usize(..2);
    put(&mut agent, "deny", (0..count).map(|n| deny(random, team, format!("d{n}"), false)).collect());
    agent
}

/// A whole configuration.
pub(crate) fn policy(random: &mut Rng) -> Value {
    let destinations: Map<String, Value> =
        IDS.iter().enumerate().map(|(index, id)| ((*id).to_owned(), destination(random, index))).collect();
    let mut policy = json!({
        "schema": "exeat/v1", "revision": "r",
        "signers": [
            {"id": "s", "keys": [{"public": KEY}], "agents": ["red/*", "solo"], "tenants": ["acme", "g*"], "users": ["u-*"],
             "tools": ["crm.*"], "provenance": ["user", "system", "internal", "third-party"]},
            {"id": "t", "keys": [{"public": KEY}], "agents": ["*"], "tenants": ["acme"], "users": ["u-1"], "tools": ["*"],
             "provenance": SOURCES},
        ],
        "destinations": destinations,
        "profiles": {"shared": {"allow": [allow(random, Some("red"), "p0".to_owned())], "deny": []}},
    });
    let agents: Map<String, Value> = AGENTS.iter().map(|name| ((*name).to_owned(), agent(random, name))).collect();
    put(&mut policy, "agents", Value::Object(agents));
    if chance(random, 50) {
        put(
            &mut policy["destinations"],
            "web",
            json!({
                "hosts": ["*"], "open": true, "category": "crm", "accepts": "restricted",
                "limits": {"provenance": {"third-party": {"body": "1B", "url": "64B"}, "unknown": {"body": "0B", "url": "0B"}}},
            }),
        );
    }
    if chance(random, 40) {
        let (acme, globex) = (selector(random, None), selector(random, None));
        put(
            &mut policy,
            "tenants",
            json!({"acme": {"destinations": acme}, "globex": {"destinations": globex}, "g1": {}}),
        );
    }
    if chance(random, 40) {
        put(&mut policy, "defaults", json!({"limits": sizes(random), "provenance": by_source(random)}));
    }
    if chance(random, 30) {
        put(&mut policy, "ceilings", json!({"limits": limits(random)}));
    }
    if chance(random, 30) {
        let rules: Vec<Value> = (0..random.usize(1..3)).map(|n| deny(random, None, format!("c{n}"), true)).collect();
        policy["ceilings"]["deny"] = json!(rules);
    }
    if chance(random, 10) {
        put(&mut policy, "mode", json!("monitor"));
    }
    json!({
        "role": "filter",
        "gateway": {"id": "egress-test", "key": {"env": "KEY"}, "collector": {"cluster": "c"}, "context": {"prepared_keys": 0}},
        "policy": policy,
    })
}
