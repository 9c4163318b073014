//! What the platform states: signers, tenants, destinations, ceilings, profiles.

use super::Shape;
use super::random::Random;
use super::text::{Entry, list};
use super::words::TENANTS;
use sha2::{Digest as _, Sha256};

/// Destinations that are everybody's, or of the teams named: id, hosts, the rest.
const SHARED: [(&str, &[&str], &str); 26] = [
    ("crm", &["*.crm.corp.example"], "kind: internal, category: crm, accepts: confidential, addresses: [10.20.0.0/16]"),
    (
        "crm-archive",
        &["archive.crm.corp.example"],
        "kind: internal, category: archive, accepts: confidential, addresses: [10.20.0.0/16]",
    ),
    (
        "ledger",
        &["ledger.corp.example"],
        "kind: internal, category: finance, accepts: restricted, addresses: [10.21.0.0/16]",
    ),
    (
        "warehouse",
        &["warehouse.corp.example", "*.warehouse.corp.example"],
        "ports: [443, 8443], kind: internal, category: data, accepts: confidential, addresses: [10.22.0.0/16]",
    ),
    (
        "reports",
        &["reports.corp.example"],
        "kind: internal, category: data, accepts: internal, addresses: [10.22.0.0/16]",
    ),
    (
        "directory",
        &["directory.corp.example"],
        "kind: internal, category: people, accepts: confidential, addresses: [10.23.0.0/16]",
    ),
    (
        "calendar",
        &["calendar.corp.example"],
        "kind: internal, category: people, accepts: internal, addresses: [10.23.0.0/16]",
    ),
    (
        "wiki",
        &["wiki.corp.example"],
        "kind: internal, category: documents, accepts: internal, addresses: [10.23.0.0/16]",
    ),
    (
        "files",
        &["*.files.corp.example"],
        "kind: internal, category: documents, accepts: confidential, addresses: [10.24.0.0/16]",
    ),
    (
        "status",
        &["status.corp.example"],
        "scheme: http, kind: internal, category: status, accepts: internal, addresses: [10.23.0.0/16]",
    ),
    ("machines", &["10.30.0.0/16"], "kind: internal, category: status, accepts: internal, addresses: [10.30.0.0/16]"),
    (
        "tickets",
        &["acme.tickets.example"],
        "kind: saas, category: tickets, accepts: internal, credentials: {keep: [authorization]}",
    ),
    (
        "mail",
        &["api.mail.example"],
        "kind: saas, category: messages, accepts: confidential, credentials: {keep: [authorization]}, limits: {body: 256KiB}",
    ),
    (
        "chat",
        &["hooks.chat.example"],
        "kind: saas, category: messages, accepts: internal, limits: {body: 16KiB}, upgrade: [websocket]",
    ),
    (
        "texts",
        &["api.texts.example"],
        "kind: saas, category: messages, accepts: confidential, limits: {body: 2KiB, url: 512B}",
    ),
    (
        "source",
        &["code.example", "*.code.example"],
        "kind: saas, category: code, accepts: confidential, paths_allow: [encoded-slash], credentials: {keep: [private-token]}",
    ),
    (
        "packages",
        &["registry.packages.example"],
        "kind: saas, category: code, accepts: public, paths_allow: [encoded-slash]",
    ),
    ("storage", &["*.storage.example"], "kind: saas, category: documents, accepts: confidential, names: {budget: 40B}"),
    ("maps", &["maps.example", "*.maps.example"], "kind: saas, category: facts, accepts: public, limits: {url: 1KiB}"),
    ("rates", &["rates.example"], "kind: saas, category: facts, accepts: public, limits: {url: 1KiB}"),
    (
        "find",
        &["api.find.example"],
        "kind: saas, category: facts, accepts: public, limits: {url: 1KiB, provenance: {third-party: {body: 0B, url: 128B}}}",
    ),
    (
        "model-small",
        &["api.small.model.example"],
        "kind: model, category: model, accepts: confidential, credentials: {keep: [authorization]}, limits: {body: 256KiB}",
    ),
    (
        "model-large",
        &["api.large.model.example"],
        "kind: model, category: model, accepts: internal, credentials: {keep: [authorization, x-api-key]}, limits: {body: 1MiB}",
    ),
    ("model-any", &["*.model.example"], "kind: model, category: model, accepts: internal"),
    ("paste", &["paste.example", "*.paste.example"], "kind: saas, category: paste"),
    (
        "web",
        &["*"],
        "open: true, kind: web, category: web, accepts: public, limits: {url: 2KiB, provenance: {third-party: {body: 0B, url: 128B}, unknown: {body: 0B, url: 0B}}}",
    ),
];

/// Ids that rules of every team may name, the open web and what the ceilings close aside.
pub(super) const OPEN_TO_ALL: [&str; 20] = [
    "crm",
    "crm-archive",
    "warehouse",
    "reports",
    "directory",
    "calendar",
    "wiki",
    "files",
    "status",
    "tickets",
    "mail",
    "chat",
    "texts",
    "source",
    "packages",
    "storage",
    "maps",
    "rates",
    "find",
    "model-any",
];

/// Categories of those.
pub(super) const CATEGORIES: [&str; 10] =
    ["crm", "archive", "data", "people", "documents", "status", "messages", "code", "facts", "service"];

/// Signers, each of a region, and the teams of which each speaks: every so many.
pub(super) const SIGNERS: [&str; 4] = ["eu", "us", "ap", "latam"];

/// The seed of a signer's key. Everybody can make it: it is a test key.
pub fn signing_seed(signer: &str) -> [u8; 32] {
    Sha256::digest(format!("exeat generated policy, test key of {signer}")).into()
}

fn quoted_key(signer: &str) -> String {
    use base64::Engine as _;
    let pair = ed25519_compact::KeyPair::from_seed(ed25519_compact::Seed::new(signing_seed(signer)));
    format!("\"{}\"", base64::engine::general_purpose::STANDARD.encode(pair.pk.as_ref()))
}

pub(super) fn gateway() -> String {
    "gateway:
  id: egress-eu-1
  environment: prod
  key: {env: EXEAT_GATEWAY_KEY}
  collector: {cluster: exeat-collector}
"
    .to_owned()
}

/// The platform's files.
pub(super) fn files(shape: Shape, teams: &[String], random: &mut Random) -> Vec<(String, String)> {
    let named = |name: &str, text: String| (format!("policy/platform/{name}.yaml"), text);
    vec![
        named("destinations", destinations()),
        named("environments", environments()),
        named("limits", LIMITS.to_owned()),
        named("policy", head(shape)),
        named("profiles", PROFILES.to_owned()),
        named("services", services(teams, random)),
        named("signers", signers(teams)),
        named("tenants", tenants(random)),
    ]
}

fn head(shape: Shape) -> String {
    let Shape { teams, agents, rules, seed } = shape;
    let command = format!("exeat policy generate --teams {teams} --agents {agents} --rules {rules} --seed {seed}");
    format!(
        "# Made by `{command}`.
schema: exeat/v1
revision: \"2026-11-20.1\"
change: CHG-1
"
    )
}

const LIMITS: &str = r#"# What holds where nothing nearer is said, and what nobody can exceed.
defaults:
  limits: {body: 512KiB}
  provenance:
    third-party: {body: 0B, url: 256B}
    unknown: {body: 0B, url: 0B}

ceilings:
  deny:
    - {id: no-paste-sites, to: {category: paste}}
    - {id: no-batch-to-the-web, to: {kind: web}, when: {session_type: [batch, scheduled]}}
    - {id: no-administration, to: {kind: [internal, service]}, paths: [/admin/**, /v1/admin/**]}
    - {id: no-contractors-in-finance, to: {category: finance}, when: {roles: [contractor]}}
    - {id: only-reading-from-outside, to: {kind: internal}, methods: [POST, PUT, PATCH, DELETE], when: {provenance: [unknown]}}
  limits: {body: 8MiB, url: 4KiB, provenance: {unknown: {body: 1KiB}}}
  # An example must not end next month; 30d is more like it.
  exceptions: {life: 3650d}
"#;

const PROFILES: &str = r#"# Rules that teams share.
profiles:
  models:
    allow:
      - id: chat
        to: [model-small, model-large]
        methods: [POST]
        paths: [/v1/responses, /v1/chat/completions]
        limits: {provenance: {third-party: {body: 64KiB, url: 256B}}}
      - {id: list-models, to: {category: model}, paths: [/v1/models, /v1/models/*]}
  facts:
    allow:
      - {id: look-up, to: {category: facts}, paths: [/v1/**], limits: {url: 512B}}
      - {id: health, to: [status], paths: [/**]}
  reading:
    allow:
      - id: read-pages
        to: [web]
        paths: [/**]
        when: {session_type: [interactive], provenance: [user, system, internal]}
    deny:
      - {id: no-exports, to: {kind: [internal, saas]}, paths: [/v1/export/**, /v1/*/export]}
"#;

fn signers(teams: &[String]) -> String {
    let mut text =
        "# Test keys, made of their names: everybody can sign with them. Put your own in their place.\nsigners:\n"
            .to_owned();
    for (index, region) in SIGNERS.iter().enumerate() {
        let of = teams.iter().skip(index).step_by(SIGNERS.len()).map(|team| format!("{team}/*"));
        let keys = Entry::default().with("id", format!("signer-{region}-1")).with("public", quoted_key(region));
        text.push_str(&format!("  - id: signer-{region}\n    keys: [{}]\n", keys.flow()));
        text.push_str(&format!("    agents: {}\n", list(of)));
        text.push_str(&format!("    tenants: {}\n    users: [\"u-*\"]\n", list(TENANTS)));
        text.push_str("    tools: [\"http.*\", \"crm.*\", \"files.*\", \"model.*\"]\n");
        text.push_str("    provenance: [user, system, internal, third-party]\n");
    }
    text
}

/// Staging is elsewhere, with other keys, and only watches.
fn environments() -> String {
    let mut text = "environments:\n  prod: {}\n  staging:\n    mode: monitor\n    destinations:\n".to_owned();
    for (id, hosts, rest) in SHARED {
        if keys(rest).contains(&("kind", "internal")) && hosts.iter().all(|host| host.ends_with(".corp.example")) {
            let hosts = hosts.iter().map(|host| host.replace(".corp.example", ".staging.example"));
            let place = Entry::default().with("hosts", list(hosts)).with("addresses", "[10.200.0.0/16]");
            text.push_str(&place.value(6, id));
        }
    }
    text.push_str("    signers:\n");
    for region in SIGNERS {
        let staging = format!("{region}-staging");
        let key = Entry::default().with("id", format!("signer-{staging}-1")).with("public", quoted_key(&staging));
        let identity = Entry::default().with("keys", format!("[{}]", key.flow()));
        text.push_str(&identity.value(6, &format!("signer-{region}")));
    }
    text
}

fn tenants(random: &mut Random) -> String {
    let mut text = "tenants:\n".to_owned();
    for (index, tenant) in TENANTS.iter().enumerate() {
        let categories: Vec<&str> = match index % 4 {
            0 => random.some(&CATEGORIES, 8),
            _ => CATEGORIES.to_vec(),
        };
        let more = random.some(&["tickets", "finance", "web", "partner"], 3);
        let categories = categories.into_iter().chain(["model"]).chain(more);
        let selector = Entry::default().with("category", list(categories));
        text.push_str(&Entry::default().with("destinations", selector.flow()).value(2, tenant));
    }
    text
}

fn destinations() -> String {
    let mut text = "# Open to every team. What rules may do there, teams say.\ndestinations:\n".to_owned();
    for (id, hosts, rest) in SHARED {
        text.push_str(&format!("  {id}:\n    hosts: {}\n", list(hosts)));
        for (key, value) in keys(rest) {
            text.push_str(&format!("    {key}: {value}\n"));
        }
        text.push_str(&format!("    owner: {id}@corp.example\n    review: 2099-03-01\n"));
    }
    text
}

/// `a: 1, b: {c: 2, d: 3}` as keys and values.
fn keys(flow: &str) -> Vec<(&str, &str)> {
    let (mut depth, mut start, mut keys) = (0_usize, 0, Vec::new());
    let mut take = |range: std::ops::Range<usize>| {
        let entry = flow.get(range).unwrap_or_default().trim();
        keys.extend(entry.split_once(": "));
    };
    for (place, byte) in flow.bytes().enumerate() {
        match byte {
            b'{' | b'[' => depth = depth.saturating_add(1),
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                take(start..place);
                start = place.saturating_add(1);
            }
            _ => {}
        }
    }
    take(start..flow.len());
    keys
}

/// What each team runs itself, and with whom it works.
fn services(teams: &[String], random: &mut Random) -> String {
    let mut text = "# A service and a partner of each team.\ndestinations:\n".to_owned();
    let names: Vec<&str> = teams.iter().map(String::as_str).collect();
    for (index, team) in teams.iter().enumerate() {
        let others = random.some(&names, 2);
        let open = std::iter::once(team.as_str()).chain(others.into_iter().filter(|other| other != team));
        let service = Entry::default()
            .with("hosts", list([format!("{team}.svc.corp.example"), format!("*.{team}.svc.corp.example")]))
            .with("kind", "service")
            .with("category", "service")
            .with("accepts", random.pick(&["internal", "confidential", "restricted"]))
            .with("addresses", format!("[10.40.{}.0/24]", index % 256))
            .with("teams", list(open))
            .with_some("tenants", random.percent(25).then(|| list(random.some(&TENANTS, 5))))
            .with_some("limits", random.percent(30).then(|| "{body: 128KiB, url: 2KiB}".to_owned()))
            .with("owner", format!("{team}@corp.example"))
            .with("review", "2099-03-01");
        text.push_str(&service.value(2, &format!("{team}-service")));
        let partner = Entry::default()
            .with("hosts", list([format!("api.{team}-partner.example")]))
            .with("kind", "partner")
            .with("category", "partner")
            .with("accepts", random.pick(&["public", "internal", "confidential"]))
            .with("teams", list([team]))
            .with_some(
                "limits",
                random.percent(30).then_some("{body: 64KiB, provenance: {third-party: {body: 256B, url: 256B}}}"),
            )
            .with("owner", format!("{team}@corp.example"))
            .with("purpose", format!("partner of {team}"));
        text.push_str(&partner.value(2, &format!("{team}-partner")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_taken_apart() {
        assert_eq!(keys("a: 1, b: {c: [2, 3], d: 4}"), [("a", "1"), ("b", "{c: [2, 3], d: 4}")]);
        let known = |id: &&str| SHARED.iter().any(|(known, ..)| known == id);
        assert!(OPEN_TO_ALL.iter().all(known));
    }
}
