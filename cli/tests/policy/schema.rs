//! The JSON Schemas that ship: they are those of the types, they accept every policy there is, and they refuse what has not the
//! shape of one.

use exeat_cli::policy::yaml::Source;
use exeat_engine::policy::document::schema::SchemaKind;
use serde_json::Value;
use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn validator(kind: SchemaKind) -> jsonschema::Validator {
    jsonschema::draft7::new(&kind.schema()).unwrap()
}

fn read(name: &str, text: &str) -> Value {
    serde_json::to_value(&Source::parse(Path::new(name), text).unwrap().node).unwrap()
}

#[test]
fn the_files_that_ship_are_those_of_the_types() {
    for kind in SchemaKind::ALL {
        let name = format!("policies/schema/{}.schema.json", kind.word());
        let shipped = std::fs::read_to_string(repository().join(&name)).unwrap_or_default();
        let fresh = exeat_cli::policy::schema(kind).unwrap();
        assert!(shipped == fresh, "{name} is stale; write it with `exeat policy schema {}`", kind.word());
    }
}

fn below(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            below(&path, files);
        } else if path.extension().is_some_and(|ext| ext == "yaml") {
            files.push(path);
        }
    }
}

#[test]
fn every_policy_of_the_repository_fits() {
    let (gateway, policy, team) =
        (validator(SchemaKind::Gateway), validator(SchemaKind::Policy), validator(SchemaKind::Team));
    let mut seen = [0; 3];
    for root in ["policies", "tests/policies", "cli/tests/policy/base"] {
        let mut files = Vec::new();
        below(&repository().join(root), &mut files);
        for file in files {
            // What tests fill in.
            let fill = [("@UPSTREAM_PORT@", "443"), ("@TLS_PORT@", "443"), ("@SIGNER_KEY@", "AAAA")];
            let text = std::fs::read_to_string(&file).unwrap();
            let text = fill.into_iter().fold(text, |text, (name, value)| text.replace(name, value));
            let document = read("x.yaml", &text);
            let (validator, kind) = match document.get("gateway") {
                Some(_) => (&gateway, 0),
                None if document.get("team").is_some() => (&team, 2),
                None if document.get("schema").or(document.get("destinations")).is_some() => (&policy, 1),
                // Tests of policies, and other files.
                None if !file.components().any(|part| part.as_os_str() == "policy") => continue,
                None => (&policy, 1),
            };
            let errors: Vec<String> =
                validator.iter_errors(&document).map(|error| format!("{}: {error}", error.instance_path())).collect();
            assert!(errors.is_empty(), "{}: {}", file.display(), errors.join("\n"));
            seen[kind] += 1;
        }
    }
    assert!(seen.iter().all(|count| *count >= 5), "{seen:?}");
}

#[test]
fn what_has_not_the_shape_of_a_document_is_refused() {
    let rule = |key: &str| format!("agents: {{ops: {{allow: [{{id: a, to: [crm], paths: [/**], {key}}}]}}}}");
    let destination = |key: &str| format!("destinations: {{x: {{hosts: [x.example], {key}}}}}");
    let of_platform = [
        "destinatons: {}".to_owned(),
        "mode: monitr".to_owned(),
        "revision: 7".to_owned(),
        "schema: null".to_owned(),
        "signers: {}".to_owned(),
        "signers: [{id: a}]".to_owned(),
        "signers: [{id: a, keys: [{public: 5}]}]".to_owned(),
        "signers: [{id: a, keys: [{public: {kty: OKP, crv: Ed25519, x: a, d: b}}]}]".to_owned(),
        "signers: [{id: a, keys: [], provenance: [users]}]".to_owned(),
        "defaults: {limits: {body: 64KB}}".to_owned(),
        "defaults: {limits: {body: 65536}}".to_owned(),
        "defaults: {provenance: {thirdparty: {body: 0B}}}".to_owned(),
        "ceilings: {deny: [{id: a, to: [x], mode: monitor}]}".to_owned(),
        "destinations: {x: {}}".to_owned(),
        "destinations: {x: {hosts: []}}".to_owned(),
        "environments: {staging: {destinations: {crm: {accepts: public}}}}".to_owned(),
        "agents: {ops: {team: support}}".to_owned(),
        "agents: {ops: {allow: {id: a}}}".to_owned(),
        "agents: {ops: {use: look}}".to_owned(),
        "agents: {ops: {allow: [{id: a, to: crm, paths: [/**]}]}}".to_owned(),
        "agents: {ops: {allow: [{id: a, to: {}, paths: [/**]}]}}".to_owned(),
        "agents: {ops: {allow: [{id: a, to: {owner: x}, paths: [/**]}]}}".to_owned(),
        "agents: {ops: {allow: [{id: a, to: [crm]}]}}".to_owned(),
        destination("ports: [70000]"),
        destination("ports: ['443']"),
        destination("accepts: secret"),
        destination("scheme: wss"),
        destination("tunnel: yes"),
        destination("upgrade: [h2c]"),
        destination("paths_allow: [slash]"),
        destination("review: next year"),
        destination("paths: [/**]"),
        rule("path: [/v1]"),
        rule("when: [roles]"),
        rule("when: {roles: [7]}"),
        rule("expires: 31.12.2026"),
        rule("binding: [token]"),
        rule("exception: CHG-81"),
        rule("exception: {ticket: CHG-81}"),
        rule("limits: {body: null}"),
    ];
    let validator = validator(SchemaKind::Policy);
    let good = [rule("methods: GET"), destination("ports: [443], names: {budget: 1KiB}")];
    assert!(good.iter().all(|text| validator.is_valid(&read("x.yaml", text))));
    for text in of_platform {
        assert!(!validator.is_valid(&read("x.yaml", &text)), "{text}");
    }
    let of_teams = self::validator(SchemaKind::Team);
    assert!(of_teams.is_valid(&read("x.yaml", "team: support\nagents: {a: {use: [look]}}")));
    for text in ["agents: {}", "team: support\ndestinations: {}", "team: [a]", "team: support\nagents: []"] {
        assert!(!of_teams.is_valid(&read("x.yaml", text)), "{text}");
    }
    let of_gateways = self::validator(SchemaKind::Gateway);
    let gateway = |more: &str| format!("gateway: {{id: g, key: {{env: K}}, collector: {{cluster: c}}{more}}}");
    assert!(of_gateways.is_valid(&read("x.yaml", &gateway(""))));
    for text in [
        "{}".to_owned(),
        gateway("") + "\npolicy: {}",
        gateway(", colour: red"),
        gateway(", feedback: ful"),
        gateway(", context: {max_age: 60}"),
        gateway(", upstream: {scheme: ftp}"),
        gateway(", hold: null"),
    ] {
        assert!(!of_gateways.is_valid(&read("x.yaml", &text)), "{text}");
    }
}

/// Keys are described where editors show it.
#[test]
fn every_key_is_described() {
    fn walk(value: &Value, place: &str, bare: &mut Vec<String>) {
        match value {
            Value::Object(keys) => {
                if let Some(Value::Object(properties)) = keys.get("properties") {
                    for (key, schema) in properties {
                        let described = schema.get("description").is_some() || schema.get("not").is_some();
                        // Of selectors and JWKs the map says it.
                        if !described && !["id", "category", "kind", "kty"].contains(&key.as_str()) {
                            bare.push(format!("{place}/{key}"));
                        }
                    }
                }
                keys.iter().for_each(|(key, value)| walk(value, &format!("{place}/{key}"), bare));
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, place, bare)),
            _ => {}
        }
    }
    for kind in SchemaKind::ALL {
        let mut bare = Vec::new();
        walk(&kind.schema(), "", &mut bare);
        assert!(bare.is_empty(), "{bare:?}");
    }
}
