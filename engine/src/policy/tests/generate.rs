//! Random policies and requests, small enough that they often have to do with each other.

use super::{NOW, Request, TEST_KEY};
use crate::evidence::record::Binding;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Map, Value, json};

const DESTINATIONS: [&str; 4] = ["a", "b", "c", "d"];
const CATEGORIES: [&str; 3] = ["crm", "model", "paste"];
const KINDS: [&str; 2] = ["internal", "saas"];
pub(super) const AGENTS: [&str; 3] = ["red/one", "red/two", "solo"];
const HOSTS: [&str; 7] =
    ["x.example", "*.x.example", "a.x.example", "*.a.x.example", "b.x.example", "y.example", "10.0.0.1"];
const PATHS: [&str; 8] = ["/**", "/a", "/a/*", "/a/**", "/a/b", "/a/b/", "/b/**", "/*/b"];
const CLASSES: [&str; 4] = ["public", "internal", "confidential", "restricted"];
const SOURCES: [&str; 5] = ["user", "system", "internal", "third-party", "unknown"];
const SIZES: [&str; 6] = ["0B", "2B", "4B", "10B", "1KiB", "2MiB"];

fn some_of(values: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
    subsequence(values, 1..=values.len())
}

/// A map of those keys that have a value.
fn object(entries: Vec<(&'static str, Option<Value>)>) -> Value {
    entries.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect::<Map<_, _>>().into()
}

fn maybe(strategy: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Option<Value>> {
    prop::option::weighted(0.3, strategy)
}

fn list(values: &'static [&'static str]) -> impl Strategy<Value = Value> {
    some_of(values).prop_map(|values| json!(values))
}

fn selector() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => list(&DESTINATIONS),
        1 => list(&CATEGORIES).prop_map(|categories| json!({"category": categories})),
        1 => (list(&DESTINATIONS), list(&KINDS)).prop_map(|(ids, kinds)| json!({"id": ids, "kind": kinds})),
    ]
}

fn limits() -> impl Strategy<Value = Value> {
    let source = (select(&SOURCES[..]), select(&["body", "url"][..]), select(&SIZES[..]));
    (
        maybe(select(&SIZES[..]).prop_map(|size| json!(size))),
        maybe(select(&SIZES[1..]).prop_map(|size| json!(size))),
        prop::option::weighted(0.3, source),
    )
        .prop_map(|(body, url, source)| {
            let source = source.map(|(source, key, size)| json!({source: {key: size}}));
            object(vec![("body", body), ("url", url), ("provenance", source)])
        })
}

fn conditions() -> impl Strategy<Value = Value> {
    (
        maybe(Just(json!(["boss", "adm*"]))),
        maybe(Just(json!(["eu*"]))),
        maybe(Just(json!(["crm.lookup"]))),
        maybe(Just(json!(["batch"]))),
        maybe(list(&SOURCES)),
        maybe(list(&AGENTS)),
    )
        .prop_map(|(roles, region, tool, session_type, provenance, delegated_by)| {
            object(vec![
                ("roles", roles),
                ("region", region),
                ("tool", tool),
                ("session_type", session_type),
                ("provenance", provenance),
                ("delegated_by", delegated_by),
            ])
        })
}

fn when() -> impl Strategy<Value = Option<Value>> {
    prop::option::weighted(0.25, conditions())
}

/// Sometimes `monitor`. `enforce` inside of it is left out: there, less to enforce lets more go, as it should.
fn mode() -> impl Strategy<Value = Option<Value>> {
    prop::option::weighted(0.1, Just(json!("monitor")))
}

/// An allow rule; its id comes later.
pub(super) fn allow() -> impl Strategy<Value = Value> {
    let binding = prop::option::weighted(0.2, list(&["request", "session"]));
    (selector(), maybe(list(&["GET", "POST"])), list(&PATHS), when(), maybe(limits()), mode(), binding).prop_map(
        |(to, methods, paths, when, limits, mode, binding)| {
            object(vec![
                ("to", Some(to)),
                ("methods", methods),
                ("paths", Some(paths)),
                ("when", when),
                ("limits", limits),
                ("mode", mode),
                ("binding", binding),
            ])
        },
    )
}

pub(super) fn deny() -> impl Strategy<Value = Value> {
    (selector(), maybe(list(&["GET", "POST"])), maybe(list(&PATHS[1..])), when()).prop_map(
        |(to, methods, paths, when)| {
            object(vec![("to", Some(to)), ("methods", methods), ("paths", paths), ("when", when)])
        },
    )
}

/// Gives each rule an id.
pub(super) fn rules(rules: Vec<Value>, prefix: &str) -> Value {
    let numbered = rules.into_iter().enumerate().map(|(i, mut rule)| {
        rule["id"] = json!(format!("{prefix}{i}"));
        rule
    });
    numbered.collect()
}

fn destination(id: &'static str) -> impl Strategy<Value = (String, Value)> {
    // All categories and kinds occur, so that no selector is an error.
    let index = DESTINATIONS.iter().position(|known| *known == id).unwrap();
    let (category, kind) = (CATEGORIES[index % 3], KINDS[index % 2]);
    (
        some_of(&HOSTS),
        maybe(Just(json!([443, 8443]))),
        select(&CLASSES[..]),
        maybe(list(&["acme", "globex"])),
        maybe(limits()),
    )
        .prop_map(move |(hosts, ports, accepts, tenants, limits)| {
            let value = object(vec![
                ("hosts", Some(json!(hosts))),
                ("ports", ports),
                ("accepts", Some(json!(accepts))),
                ("tenants", tenants),
                ("limits", limits),
                ("category", Some(json!(category))),
                ("kind", Some(json!(kind))),
            ]);
            (id.to_owned(), value)
        })
}

pub(super) fn agent(name: &'static str) -> impl Strategy<Value = (String, Value)> {
    let observed = (deny(), mode()).prop_map(|(mut rule, mode)| {
        rule.as_object_mut().unwrap().extend(mode.map(|mode| ("mode".to_owned(), mode)));
        rule
    });
    let deny = prop::collection::vec(observed, 0..=1);
    let parts = (prop::collection::vec(allow(), 0..5), deny, any::<bool>(), mode());
    parts.prop_map(move |(allow, deny, profile, mode)| {
        let team = name.split_once('/').map(|(team, _)| json!(team));
        let value = object(vec![
            ("team", team),
            ("use", profile.then(|| json!(["shared"]))),
            ("allow", Some(rules(allow, "a"))),
            ("deny", Some(rules(deny, "d"))),
            ("mode", mode),
        ]);
        (name.to_owned(), value)
    })
}

pub(super) fn policy() -> impl Strategy<Value = Value> {
    let destinations = DESTINATIONS.map(destination);
    let agents = AGENTS.map(agent);
    let ceilings = (maybe(deny()).prop_map(|rule| rule.into_iter().collect::<Vec<_>>()), maybe(limits()));
    let tenants = maybe(
        (selector(), selector()).prop_map(|(a, b)| json!({"acme": {"destinations": a}, "globex": {"destinations": b}})),
    );
    // A destination that only the team `blue` may use, reached by category alone.
    let closed = any::<bool>();
    // The open web, for all that has no name here.
    let open = any::<bool>();
    let closed = (closed, open);
    (destinations, agents, ceilings, tenants, prop::collection::vec(allow(), 0..3), maybe(limits()), closed).prop_map(
        |(destinations, agents, (ceiling_deny, ceiling_limits), tenants, shared, defaults, (closed, open))| {
            let mut destinations: Map<String, Value> = destinations.into_iter().collect();
            if closed {
                destinations.insert(
                    "z".into(),
                    json!({"hosts": ["*.x.example"], "category": "crm", "teams": ["blue"], "accepts": "restricted"}),
                );
            }
            if open {
                let limits = json!({"provenance": {"third-party": {"body": "1B", "url": "4B"}, "unknown": {"body": "0B", "url": "0B"}}});
                destinations.insert(
                    "web".into(),
                    json!({"hosts": ["*"], "open": true, "category": "crm", "accepts": "restricted", "limits": limits}),
                );
            }
            let agents: Map<String, Value> = agents.into_iter().collect();
            let mut ceilings = json!({"deny": rules(ceiling_deny, "c")});
            if let Some(limits) = ceiling_limits {
                ceilings["limits"] = limits;
            }
            let defaults = defaults.map(|mut limits| {
                let provenance = limits.as_object_mut().unwrap().remove("provenance").unwrap_or(json!({}));
                json!({"limits": limits, "provenance": provenance})
            });
            let mut policy = json!({
                "schema": "exeat/v1", "revision": "r",
                "signers": [{
                    "id": "s", "keys": [{"public": TEST_KEY}], "agents": ["red/*", "solo"], "tenants": ["acme", "g*"],
                    "users": ["u-*"], "tools": ["crm.*"], "provenance": ["user", "system", "internal", "third-party"],
                }],
                "ceilings": ceilings, "destinations": destinations, "agents": agents,
                "profiles": {"shared": {"allow": rules(shared, "p")}},
            });
            for (key, value) in [("tenants", tenants), ("defaults", defaults)] {
                if let Some(value) = value {
                    policy[key] = value;
                }
            }
            policy
        },
    )
}

pub(super) fn request() -> impl Strategy<Value = Request> {
    let place = (
        prop_oneof![6 => Just("GET"), 3 => Just("POST"), 1 => Just("DELETE")],
        select(
            &[
                "x.example",
                "a.x.example",
                "b.a.x.example",
                "b.x.example",
                "y.example",
                "10.0.0.1",
                "a.x.example:8443",
                "other.example",
            ][..],
        ),
        select(&["/a", "/a/b", "/A/B", "/a/b/", "/b/c?q=1", "/", "/a/c/d"][..]),
        select(&[0_u64, 1, 3, 5, 600, 1 << 20, 3 << 20][..]),
    );
    let who = (
        prop_oneof![12 => select(&AGENTS[..]), 1 => Just("ghost")],
        prop::option::weighted(0.8, prop_oneof![10 => Just("acme"), 4 => Just("globex"), 1 => Just("initech")]),
        prop::option::weighted(0.95, prop_oneof![5 => Just("public"), 2 => select(&CLASSES[..])]),
        prop::option::weighted(0.15, subsequence(&CATEGORIES[..], 0..=3)),
        prop::option::weighted(0.2, subsequence(&AGENTS[..], 1..=2)),
        prop::option::weighted(0.97, subsequence(&SOURCES[..4], 1..=2)),
        (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()),
    );
    let binding = prop_oneof![6 => Just(Binding::Request), 2 => Just(Binding::Session), 1 => Just(Binding::Tunnel)];
    (place, who, binding).prop_map(|((method, authority, target, body), who, binding)| {
        let (agent, tenant, class, scope, delegated, sources, (role, region, tool, batch)) = who;
        let quoted = |list: Vec<&str>| list.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(" ");
        let members = [
            Some(format!("agent=\"{agent}\", session=\"s\"")),
            tenant.map(|tenant| format!("tenant=\"{tenant}\"")),
            class.map(|class| format!("data_class={class}")),
            scope.map(|scope| format!("scope=({})", scope.join(" "))),
            delegated.map(|agents| format!("delegated_by=({})", quoted(agents))),
            sources.map(|sources| format!("provenance=({})", sources.join(" "))),
            role.then(|| "roles=(\"admin\" \"x\")".to_owned()),
            region.then(|| "region=\"eu-1\"".to_owned()),
            tool.then(|| "tool=\"crm.lookup\"".to_owned()),
            batch.then(|| "session_type=batch".to_owned()),
        ];
        let context = members.into_iter().flatten().collect::<Vec<_>>().join(", ");
        Request {
            method,
            authority,
            target: target.into(),
            context,
            binding,
            peer: None,
            body,
            fields: Vec::new(),
            content: None,
            now: NOW,
        }
    })
}
