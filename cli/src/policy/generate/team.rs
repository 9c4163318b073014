//! A team's file: its profile and its agents.

use super::platform::{CATEGORIES, OPEN_TO_ALL};
use super::random::Random;
use super::text::{Entry, list};
use super::words::{self, REGIONS, ROLES, TENANTS, THINGS};

/// Where a team stands among others.
pub(super) struct Surroundings<'a> {
    pub(super) teams: &'a [String],
    pub(super) index: usize,
}

/// The file of a team with so many rules for each of its agents.
pub(super) fn file(team: &str, around: &Surroundings<'_>, rules: &[usize], random: &mut Random) -> String {
    let service = format!("{team}-service");
    let mut text = format!("team: {team}\n\nprofiles:\n  house:\n    allow:\n");
    let health = Entry::default()
        .with("id", "health-of-our-service")
        .with("to", list([&service]))
        .with("paths", "[/health, /v1/version]");
    text.push_str(&health.item(6));
    text.push_str("    deny:\n");
    let secrets = Entry::default()
        .with("id", "no-secrets-of-our-service")
        .with("to", list([&service]))
        .with("paths", "[/v1/secrets/**]")
        .with_some("when", random.percent(50).then(|| format!("{{roles: [{team}, contractor]}}")));
    text.push_str(&secrets.item(6));
    text.push_str("\nagents:\n");
    for (index, rules) in rules.iter().enumerate() {
        text.push_str(&agent(team, around, index, *rules, random));
    }
    text
}

fn agent(team: &str, around: &Surroundings<'_>, index: usize, rules: usize, random: &mut Random) -> String {
    let mut text = format!("  {}:\n", words::agent(index));
    let count = random.below(3);
    let profiles = random.some(&["models", "facts", "reading"], count);
    let house = format!("{team}/house");
    let profiles = profiles.into_iter().chain(random.percent(60).then_some(house.as_str()));
    let profiles: Vec<&str> = profiles.collect();
    if !profiles.is_empty() {
        text.push_str(&format!("    use: {}\n", list(profiles)));
    }
    if random.percent(4) {
        text.push_str("    mode: monitor\n");
    }
    let denials = (0..rules).filter(|_| random.percent(12)).count().min(rules.saturating_sub(1));
    text.push_str("    allow:\n");
    for number in 1..=rules.saturating_sub(denials) {
        text.push_str(&allow(team, around, number, random).item(6));
    }
    if denials > 0 {
        text.push_str("    deny:\n");
    }
    for number in 1..=denials {
        text.push_str(&deny(team, number, random).item(6));
    }
    text
}

/// Destinations, and a word for them.
fn target(team: &str, random: &mut Random) -> (String, &'static str) {
    let own = [format!("{team}-service"), format!("{team}-partner")];
    match random.below(20) {
        0..5 => (list([&own[0]]), "service"),
        5..7 => (list([&own[1]]), "partner"),
        7..15 => {
            let id = random.pick(&OPEN_TO_ALL);
            (list([id]), id)
        }
        15 => {
            let (id, count) = (random.pick(&OPEN_TO_ALL), random.below(2).saturating_add(1));
            let more = random.some(&OPEN_TO_ALL, count);
            let more = more.into_iter().filter(|other| *other != id);
            (list(std::iter::once(id).chain(more)), id)
        }
        16 | 17 => {
            let category = random.pick(&CATEGORIES);
            (Entry::default().with("category", category).flow(), category)
        }
        18 => {
            let categories = random.some(&CATEGORIES, 2);
            let word = categories.first().copied().unwrap_or("some");
            (Entry::default().with("category", list(categories)).with("kind", "[internal, saas]").flow(), word)
        }
        _ => {
            let id = random.pick(&OPEN_TO_ALL);
            (Entry::default().with("id", list([id])).flow(), id)
        }
    }
}

fn paths(random: &mut Random) -> String {
    let count = random.below(3).saturating_add(1);
    let things = random.some(&THINGS, count);
    list(things.into_iter().map(|thing| {
        let version = random.pick(&["v1", "v1", "v2"]);
        match random.below(8) {
            0 => format!("/{version}/{thing}"),
            1..4 => format!("/{version}/{thing}/*"),
            4 | 5 => format!("/{version}/{thing}/**"),
            6 => format!("/{version}/{thing}/*/notes"),
            _ => format!("/{version}/*/{thing}"),
        }
    }))
}

/// Members of the context, some of the time.
fn when(team: &str, around: &Surroundings<'_>, random: &mut Random) -> Option<String> {
    if random.percent(40) {
        return None;
    }
    let mut when = Entry::default();
    if random.percent(35) {
        let role = random.pick(&ROLES);
        when = when.with("roles", list(if random.percent(50) { vec![team] } else { vec![team, role] }));
    }
    if random.percent(30) {
        when = when
            .with("session_type", random.pick(&["[interactive]", "[interactive, scheduled]", "[batch, scheduled]"]));
    }
    if random.percent(25) {
        when = when
            .with("tool", random.pick(&["[crm.lookup]", "[\"crm.*\"]", "[\"http.*\", \"files.*\"]", "[\"model.*\"]"]));
    }
    if random.percent(15) {
        when = when.with("region", list(random.some(&REGIONS, 2)));
    }
    if random.percent(10) {
        when = when.with("tenant", list(random.some(&TENANTS, 4)));
    }
    if random.percent(10) {
        when = when.with("provenance", "[user, system, internal]");
    }
    if random.percent(8) {
        when = when.with("data_class", "[public, internal]");
    }
    if random.percent(5) {
        let next = around.teams.get(around.index.saturating_add(1)).map_or(team, String::as_str);
        when = when.with("delegated_by", list([format!("{team}/*"), format!("{next}/planner")]));
    }
    (!when.is_empty()).then(|| when.flow())
}

fn limits(random: &mut Random) -> Option<String> {
    const LIMITS: [&str; 6] = [
        "{body: 64KiB}",
        "{body: 4KiB, url: 512B}",
        "{url: 256B, provenance: {third-party: {body: 1KiB, url: 128B}}}",
        "{body: 16KiB, total: 24KiB, requests: 600/session}",
        "{body: 2MiB, provenance: {third-party: {body: 0B, url: 64B}, internal: {body: 256KiB}}}",
        "{headers: 2KiB, bytes: 10MiB/agent/1d}",
    ];
    random.percent(35).then(|| random.pick(&LIMITS).to_owned())
}

fn headers(random: &mut Random) -> Option<String> {
    const HEADERS: [&str; 4] = [
        "{keep: [x-api-version], set: {x-agent: $agent}}",
        "{set: {x-tenant: $tenant, x-tool: $tool}}",
        "{keep: [idempotency-key, if-match]}",
        "{remove: [accept-encoding, range]}",
    ];
    random.percent(15).then(|| random.pick(&HEADERS).to_owned())
}

fn allow(team: &str, around: &Surroundings<'_>, number: usize, random: &mut Random) -> Entry {
    const VERBS: [(&str, Option<&str>); 6] = [
        ("read", None),
        ("read", None),
        ("list", Some("[GET]")),
        ("write", Some("[POST, PUT]")),
        ("search", Some("[POST]")),
        ("remove", Some("[DELETE]")),
    ];
    let (to, word) = target(team, random);
    let exception = random.percent(2).then(|| {
        let ticket = format!("CHG-{}", random.below(900).saturating_add(100));
        format!("{{ticket: {ticket}, approver: {team}@corp.example, approved: 2026-11-02}}")
    });
    let expires = match &exception {
        Some(_) => Some("2036-10-30"),
        None => random.percent(6).then(|| random.pick(&["2099-06-30", "2099-12-31"])),
    };
    let (verb, methods) = VERBS.get(random.below(VERBS.len())).copied().unwrap_or(("read", None));
    Entry::default()
        .with("id", format!("{verb}-{word}-{number}"))
        .with("to", to)
        .with_some("methods", methods)
        .with("paths", paths(random))
        .with_some("when", when(team, around, random))
        .with_some("binding", random.percent(4).then_some("[request, session]"))
        .with_some("limits", limits(random))
        .with_some("headers", headers(random))
        .with_some("expires", expires)
        .with_some("exception", exception)
        .with_some("mode", random.percent(2).then_some("monitor"))
}

fn deny(team: &str, number: usize, random: &mut Random) -> Entry {
    const WHEN: [&str; 3] = ["{roles: [contractor]}", "{provenance: [third-party]}", "{session_type: [batch]}"];
    let (to, word) = target(team, random);
    Entry::default()
        .with("id", format!("no-{word}-{number}"))
        .with("to", to)
        .with_some("methods", random.percent(30).then_some("[DELETE, PUT]"))
        .with_some("paths", random.percent(70).then(|| paths(random)))
        .with_some("when", random.percent(70).then(|| random.pick(&WHEN).to_owned()))
        .with_some("mode", random.percent(4).then_some("monitor"))
}
