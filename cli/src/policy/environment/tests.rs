//! Environments from the command line: which one holds, what it changes, and where its errors stand.

use crate::policy::load::{load, load_all, load_for};
use exeat_engine::facts::Timestamp;
use std::path::PathBuf;

const PLATFORM: &str = r#"schema: exeat/v1
revision: r1
signers:
  - id: s
    keys: [{public: 11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=}] # a test key
    agents: ["*"]
destinations:
  crm: {hosts: [crm.example], owner: o@acme.example}
agents:
  a: {allow: [{id: r, to: [crm], paths: [/**]}]}
"#;

const STAGING: &str = r#"environments:
  staging:
    mode: monitor
    destinations:
      crm: {hosts: [crm.staging.example]}
"#;

const GATEWAY: &str = "gateway:\n  id: g\n  key: {env: K}\n  collector: {cluster: c}\n";

/// A policy folder and a gateway document beside it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn of(files: &[(&str, &str)], gateway: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("policy")).unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join("policy").join(name), text).unwrap();
        }
        std::fs::write(folder.path().join("gateway.yaml"), gateway).unwrap();
        Self(folder)
    }

    fn policy(&self) -> PathBuf {
        self.0.path().join("policy")
    }

    fn gateway(&self) -> PathBuf {
        self.0.path().join("gateway.yaml")
    }

    /// The environment and the mode of what is compiled, or the errors, without the folder.
    fn compiled(&self, env: Option<&str>) -> Result<String, String> {
        match load_for(&self.policy(), Some(&self.gateway()), env) {
            Ok(loaded) => {
                let gateway = loaded.configuration.gateway().environment().unwrap_or("-").to_owned();
                let environment = loaded.environment.as_deref().unwrap_or("-");
                Ok(format!("{environment} {gateway} {}", loaded.configuration.policy().mode().as_str()))
            }
            Err(errors) => Err(self.relative(&errors)),
        }
    }

    fn relative(&self, errors: &[crate::policy::diagnostic::Diagnostic]) -> String {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        lines.join("\n").replace(&format!("{}/", self.0.path().display()), "")
    }
}

#[test]
fn the_environment_is_that_of_the_command_line_or_of_the_gateway() {
    let of_staging = GATEWAY.replace("  id: g\n", "  id: g\n  environment: staging\n");
    let of_prod = of_staging.replace("staging", "prod");
    let both = [("a.yaml", PLATFORM), ("b.yaml", STAGING), ("c.yaml", "environments: {prod: {}}\n")];
    let one = [("a.yaml", PLATFORM), ("b.yaml", STAGING)];
    let none = [("a.yaml", PLATFORM)];
    for (files, gateway, env, expected) in [
        (&both[..], GATEWAY, Some("staging"), Ok("staging staging monitor")),
        (&both, GATEWAY, Some("prod"), Ok("prod prod enforce")),
        (&both, &of_prod, None, Ok("prod prod enforce")),
        (&both, &of_staging, None, Ok("staging staging monitor")),
        (&both, &of_staging, Some("staging"), Ok("staging staging monitor")),
        // A name for records, no more.
        (&none, &of_prod, None, Ok("- prod enforce")),
        (&none, GATEWAY, None, Ok("- - enforce")),
        (
            &both,
            &of_prod,
            Some("staging"),
            Err(
                r#"gateway.yaml:3:3: gateway: /environment: this gateway is of the environment "prod", and --env says "staging"; leave --env out, or name a gateway of "staging""#,
            ),
        ),
        (
            &both,
            GATEWAY,
            None,
            Err(
                "policy: the policy has the environments staging, prod, and nothing says which; give --env, or write environment into the gateway document",
            ),
        ),
        (&both, GATEWAY, Some("stagin"), Err(r#"policy: no environment "stagin"; did you mean "staging"?"#)),
        (
            &one,
            &of_prod,
            None,
            Err(
                r#"gateway.yaml:3:3: gateway: /environment: no environment "prod"; name one of staging, or add `prod: {}` to the environments of the policy"#,
            ),
        ),
        (
            &none,
            GATEWAY,
            Some("staging"),
            Err("policy: the policy has no environments; leave --env out, or add `environments: {staging: {}}`"),
        ),
    ] {
        let folder = Folder::of(files, gateway);
        assert_eq!(folder.compiled(env), expected.map(str::to_owned).map_err(str::to_owned), "{gateway} {env:?}");
    }
}

#[test]
fn a_gateway_gets_one_environment_and_nothing_that_is_for_people() {
    let folder = Folder::of(&[("a.yaml", PLATFORM), ("b.yaml", STAGING)], GATEWAY);
    let loaded = load_for(&folder.policy(), Some(&folder.gateway()), Some("staging")).unwrap();
    let document = serde_json::to_value(&loaded.document).unwrap();
    let policy = &document["policy"];
    assert_eq!(policy["destinations"], serde_json::json!({"crm": {"hosts": ["crm.staging.example"]}}));
    assert_eq!(policy["environments"], serde_json::Value::Null);
    assert_eq!(document["gateway"]["environment"], "staging");
    // Its digest is that of what it reads.
    let read = exeat_engine::policy::Configuration::accept(&serde_json::to_vec(&document).unwrap()).unwrap();
    assert_eq!(read.policy().digest(), loaded.configuration.policy().digest());
    assert_eq!(loaded.left_out.to_string(), "owner, purpose, change, review of 1 destination");
    let whole = serde_json::to_value(&loaded.policy).unwrap();
    assert_eq!(whole["destinations"]["crm"]["owner"], "o@acme.example");
}

#[test]
fn what_is_wrong_with_an_overlay_is_said_where_it_stands() {
    let wrong = r#"environments:
  staging:
    destinations:
      crm: {hosts: [CRM.staging.example]}
      crn: {}
    signers:
      s: {keys: [{public: c2VjcmV0}]}
  prod:
    destinations:
      crm: {hosts: ["*.com"]}
"#;
    let folder = Folder::of(&[("a.yaml", PLATFORM), ("b.yaml", wrong)], GATEWAY);
    let expected = [
        r#"policy/b.yaml:4:21: policy: /environments/staging/destinations/crm/hosts/0: not the canonical form; write `crm.staging.example`"#,
        r#"policy/b.yaml:5:7: policy: /environments/staging/destinations/crn: no destination "crn"; did you mean "crm"? (an environment says where things are; what there is, all of them share)"#,
        r#"policy/b.yaml:7:19: policy: /environments/staging/signers/s/keys/0/public: not an Ed25519 public key; write base64 of the 32 bytes of the public half, or its JWK"#,
        r#"policy/b.yaml:10:21: policy: /environments/prod/destinations/crm/hosts/0: `*.` before "com", a public suffix; name the domains that are meant; for the open web write `*` with `open: true` (anybody can register a name there)"#,
    ];
    assert_eq!(folder.relative(&load_all(&folder.policy(), None).unwrap_err()), expected.join("\n"));
    // One environment: what is wrong with its overlay, and with what all overlays name.
    assert_eq!(folder.compiled(Some("staging")).unwrap_err(), expected[..3].join("\n"));
    assert_eq!(folder.compiled(Some("prod")).unwrap_err(), [expected[1], expected[3]].join("\n"));
}

#[test]
fn all_environments_are_checked_and_what_they_share_is_said_once() {
    let broken = PLATFORM.replace("to: [crm]", "to: [crn]");
    let both = "environments: {staging: {}, prod: {}}\n";
    let folder = Folder::of(&[("a.yaml", &broken), ("b.yaml", both)], GATEWAY);
    let errors = load_all(&folder.policy(), Some(&folder.gateway())).unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:?}");
    let folder = Folder::of(&[("a.yaml", PLATFORM), ("b.yaml", both)], GATEWAY);
    let loaded = load_all(&folder.policy(), Some(&folder.gateway())).unwrap();
    let names: Vec<_> = loaded.iter().map(|loaded| loaded.environment.as_deref()).collect();
    assert_eq!(names, [Some("staging"), Some("prod")]);
    // The gateway's own must be among them.
    let of_test = GATEWAY.replace("  id: g\n", "  id: g\n  environment: test\n");
    let folder = Folder::of(&[("a.yaml", PLATFORM), ("b.yaml", both)], &of_test);
    let errors = load_all(&folder.policy(), Some(&folder.gateway())).unwrap_err();
    assert!(folder.relative(&errors).starts_with("gateway.yaml:3:3: gateway: /environment: no environment \"test\""));
}

#[test]
fn dates_for_people_are_warned_of_although_a_gateway_has_none() {
    let dated = PLATFORM.replace("owner: o@acme.example", "owner: o@acme.example, review: 2026-01-31");
    let folder = Folder::of(&[("a.yaml", &dated)], GATEWAY);
    let loaded = load(&folder.policy(), Some(&folder.gateway())).unwrap();
    let warnings = loaded.warnings(Timestamp(1_795_176_000_000));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        folder
            .relative(&warnings)
            .starts_with("policy/a.yaml:8:54: policy: /destinations/crm/review: the review is overdue")
    );
}
