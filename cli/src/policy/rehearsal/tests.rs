//! Test files: what is read, what is refused, and where it says so.

use super::Rehearsal;
use super::case::{Case, cases};
use super::stage::sign;
use crate::policy::diagnostic::Diagnostic;
use crate::policy::load::{Loaded, load};
use crate::policy::yaml::Source;
use exeat_engine::context::AgentContext;
use exeat_engine::facts::Timestamp;
use std::path::Path;

const POLICY: &str = r#"schema: exeat/v1
revision: r1
signers:
  - id: eu
    keys: [{id: eu-1, public: 11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=}] # a test key
    agents: ["*"]
    tenants: [acme]
    provenance: [user]
  - id: mesh
    keys: [{public: 11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURp=}]
    agents: ["*"]
    provenance: [user]
    spiffe: spiffe://acme.example/signer
  - id: idp
    keys: [{public: {kty: OKP, crv: Ed25519, kid: "2027-a", x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}}]
    agents: ["*"]
    tenants: [acme]
    provenance: [unknown]
    jwt: {issuer: "https://idp.acme.example", audiences: [check], claims: {session: sid, tenant: /org/id, agent: act}}
destinations:
  crm: {hosts: [crm.example], accepts: restricted, limits: {provenance: {user: {body: 8B}}}}
agents:
  a:
    allow:
      - {id: read, to: [crm], methods: [GET, POST], paths: [/v1/**], binding: [request, session], headers: {keep: [x-kept]}}
    deny: [{id: never, to: [crm], paths: [/v1/secret]}]
  handler: {allow: [{id: hand, to: [crm], paths: [/**]}]}
"#;

const NOW: Timestamp = Timestamp(1_800_000_000_123);

fn policy() -> Loaded {
    let folder = tempfile::tempdir().unwrap();
    // The second key must be a point of its own.
    let other = crate::key::PrivateKey::generate().unwrap().public().to_base64();
    let text = POLICY.replace("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURp=", &other);
    std::fs::write(folder.path().join("policy.yaml"), text).unwrap();
    load(folder.path(), None).unwrap_or_else(|errors| panic!("{errors:?}"))
}

fn read(text: &str) -> Result<Vec<Case>, Vec<String>> {
    let source = Source::parse(Path::new("tests.yaml"), text).map_err(|error| vec![error.to_string()])?;
    cases(&source).map_err(|errors| errors.iter().map(Diagnostic::to_string).collect())
}

/// What comes of each case, in one line each, and what differs.
fn play(text: &str) -> Vec<(String, Vec<String>)> {
    let rehearsal = Rehearsal::new(&policy()).unwrap();
    let play = |case: Case| {
        let observed = rehearsal.play(&case, NOW).unwrap();
        (observed.line(), case.expect.differences(&observed))
    };
    read(text).unwrap().into_iter().map(play).collect()
}

#[test]
fn cases_come_out_as_the_engine_decides() {
    let played = play(
        r#"
defaults: {context: {agent: a, tenant: acme, provenance: [user]}, headers: {x-kept: "1"}}
cases:
  - {name: reads, request: GET https://crm.example/v1/x?q=1, allow: a/read, upstream: {path: /v1/x?q=1, authority: crm.example, has: {x-kept: "1"}, lacks: [signature]}}
  - {name: short, request: GET https://crm.example/v1/x, headers: {x-kept: "2"}, allow: read, upstream: {has: {x-kept: "2"}}}
  - {name: secret, request: GET https://crm.example/V1/SECRET, deny: rule-denied, rule: never}
  - {name: large, request: POST https://crm.example/v1/x, json: {a: "123456"}, deny: payload-provenance, condition: limits/provenance/user/body, status: 403}
  - {name: unsigned, request: GET https://crm.example/v1/x, unsigned: true, deny: context-missing, status: 401}
  - {name: no tenant, request: GET https://crm.example/v1/x, context: {tenant: null, provenance: null}, deny: grant-denied}
  - {name: another agent, request: GET https://crm.example/v1/x, context: {agent: b}, deny: agent-unknown}
  - {name: over the mesh, request: GET https://crm.example/v1/x, signer: mesh, context: {tenant: null}, allow: read}
  - {name: on another connection, request: GET https://crm.example/v1/x, signer: mesh, peer: "spiffe://acme.example/x", context: {tenant: null}, deny: grant-denied}
  - {name: by a token, request: GET https://crm.example/v1/x, signer: idp, context: {delegated_by: [handler]}, allow: read}
"#,
    );
    let differing: Vec<_> = played.iter().filter(|(_, differences)| !differences.is_empty()).collect();
    assert!(differing.is_empty(), "{differing:?}");
    assert_eq!(played[3].0, "deny payload-provenance of a/read (limits/provenance/user/body)");
    assert_eq!(played.len(), 10);
}

#[test]
fn what_differs_is_said() {
    let played = play(
        r#"
defaults: {context: {agent: a, tenant: acme, provenance: [user]}}
cases:
  - {name: outcome, request: GET https://crm.example/v1/x, deny: path-denied}
  - {name: rule, request: GET https://crm.example/v1/x, allow: write}
  - {name: reason, request: GET https://crm.example/v1/secret, deny: path-denied}
  - {name: parts, request: GET https://crm.example/x, deny: path-denied, rule: never, condition: when/tool, status: 401}
  - {name: headers, request: GET https://crm.example/v1/x, headers: {x-kept: "1"}, allow: read, upstream: {path: /y, has: {x-other: "1"}, lacks: [x-kept]}}
"#,
    );
    let said: Vec<String> = played.into_iter().flat_map(|(_, differences)| differences).collect();
    assert_eq!(
        said,
        [
            "expected deny path-denied, got allow by a/read",
            "rule: expected write, got a/read",
            "expected deny path-denied, got deny rule-denied of a/never",
            "rule: expected never, got a/read",
            "condition: expected when/tool, got paths",
            "status: expected 401, got 403",
            "path: expected /y, got /v1/x",
            "header x-other: expected 1, got none",
            "header x-kept: expected none, got 1",
        ]
    );
}

#[test]
fn wrong_files_are_refused_where_they_are_wrong() {
    for (text, expected) in [
        (
            "cases: [{name: a, request: GET https://x.example/, alow: b}]",
            "tests.yaml:1:52: tests: /cases/0/alow: unknown key \"alow\"; did you mean \"allow\"?",
        ),
        (
            "cases: [{name: a, request: https://x.example/, deny: path-denied}]",
            "tests.yaml:1:19: tests: /cases/0/request: \"https://x.example/\" is not a request; write method and URL",
        ),
        (
            "cases: [{name: a, request: GET https://x.example/, deny: path-deny}]",
            "tests.yaml:1:52: tests: /cases/0/deny: unknown value \"path-deny\"; did you mean \"path-denied\"?",
        ),
        (
            "cases: [{name: a, request: GET https://x.example/, deny: path-denied}]",
            "tests.yaml:1:9: tests: /cases/0: the context names no agent; add agent to context",
        ),
        (
            "defaults: {context: {agnt: x}}\ncases: []",
            "tests.yaml:1:22: tests: /defaults/context/agnt: unknown key \"agnt\"; did you mean \"agent\"?",
        ),
        (
            "defaults: {context: {agent: x}}\ncases: [{name: a, request: GET https://x.example/, context: {roles: 3}, deny: path-denied}]",
            "tests.yaml:2:62: tests: /cases/0/context/roles: expected text or a list of texts, found the number 3",
        ),
        (
            "defaults: {context: {agent: x}}\ncases: [{name: a, request: GET https://x.example/, allow: b, deny: path-denied}]",
            "tests.yaml:2:9: tests: /cases/0: a case expects one thing",
        ),
        (
            "defaults: {context: {agent: x}}\ncases: [{name: a, request: GET https://x.example/, deny: path-denied, upstream: {path: /}}]",
            "tests.yaml:2:9: tests: /cases/0: what is refused does not go on",
        ),
        (
            "defaults: {context: {agent: x}}\ncases: [{name: a, request: GET https://x.example/, allow: b, body: x, body_bytes: 3}]",
            "tests.yaml:2:9: tests: /cases/0: a request has one body",
        ),
        (
            "defaults: {context: {agent: x}}\ncases: [{name: a, request: GET https://x.example/, allow: b}, {name: a, request: GET https://x.example/, allow: b}]",
            "tests.yaml:2:64: tests: /cases/1/name: the name is empty or taken",
        ),
        (
            "defaults: {context: {agent: x}}\ncases: [{name: a, request: GET https://u@x.example/, allow: b}]",
            "tests.yaml:2:19: tests: /cases/0/request: ",
        ),
        (
            "defaults: {context: {agent: x}}\ncases: [{name: a, request: GET https://x.example/, allow: b, context: {attributes: {ticket: [1]}}}]",
            "tests.yaml:2:72: tests: /cases/0/context/attributes: expected text, a number, true or false, found a list",
        ),
        ("cases: &a []", "tests.yaml:1:8: an anchor"),
    ] {
        let errors = read(text).unwrap_err();
        assert!(errors.iter().any(|error| error.starts_with(expected)), "{text}\n{errors:#?}");
    }
}

#[test]
fn no_such_key_is_said_so() {
    let text =
        "defaults: {context: {agent: a}}\ncases: [{name: a, request: GET https://crm.example/, signer: us, allow: b}]";
    let case = read(text).unwrap().pop().unwrap();
    let error = Rehearsal::new(&policy()).unwrap().play(&case, NOW).unwrap_err().to_string();
    assert_eq!(error, "no key of a signer \"us\"; there are eu-1 of eu, mesh of mesh, 2027-a of idp");
}

#[test]
fn a_request_before_it_counts() {
    // The same nonce twice would be a replay: each request is signed anew.
    let text = "defaults: {context: {agent: a, provenance: [user]}}\ncases: [{name: a, request: GET https://crm.example/v1/x, allow: read, \
                before: [{request: GET https://crm.example/v1/y, times: 3}]}]";
    assert_eq!(play(text)[0].0, "allow by a/read");
}

#[test]
fn contexts_are_those_that_are_written() {
    let text = r#"
defaults: {context: {agent: a, roles: [x], tenant: acme}}
cases:
  - name: a
    request: GET https://crm.example/v1/x
    context: {roles: [y, z], tenant: null, scope: [crm], attributes: {ticket: "T-1", level: 3, urgent: true}}
    allow: read
"#;
    let case = read(text).unwrap().pop().unwrap();
    let rehearsal = Rehearsal::new(&policy()).unwrap();
    let proof = sign(&case.sending, rehearsal.keys(), NOW).unwrap();
    let line = proof.fields.iter().find(|(name, _)| name == "agent-context").map(|(_, value)| value).unwrap();
    assert_eq!(line, r#"agent="a", session="case-0", roles=("y" "z"), scope=(crm), ticket="T-1", level=3, urgent=?1"#);
    assert!(AgentContext::parse(line.as_bytes()).is_ok());
}

/// Of every case of every policy that ships, the findings fit the decision that they explain.
#[test]
fn findings_agree_with_decisions() {
    use super::probe::{Findings, find};
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let mut explained = 0;
    for folder in std::fs::read_dir(policies).unwrap().map(|entry| entry.unwrap().path()) {
        let tests = folder.join("tests.yaml");
        if !tests.exists() {
            continue;
        }
        let loaded = load(&folder.join("policy"), Some(&folder.join("gateway.yaml"))).unwrap();
        let rehearsal = Rehearsal::new(&loaded).unwrap();
        for case in super::read_cases(&tests).unwrap() {
            let now = case.now.unwrap_or(NOW);
            let Findings { decision, standing, deny, allow, .. } = find(&rehearsal, &case.sending, now).unwrap();
            let what = format!("{}: {}: {}", folder.display(), case.name, decision.line());
            let fitting = |rules: &[super::probe::RuleFinding]| -> Vec<String> {
                rules.iter().filter(|rule| rule.misses.is_none()).map(|rule| rule.name.clone()).collect()
            };
            let (deny, allow) = (fitting(&deny), fitting(&allow));
            let rule = decision.rule.clone().unwrap_or_default();
            match decision.outcome.as_str() {
                "allow" => {
                    assert!(
                        allow.contains(&rule) && deny.is_empty() && standing.is_none(),
                        "{what}: {allow:?} {deny:?}"
                    );
                }
                _ if decision.reason == "rule-denied" => assert!(deny.contains(&rule), "{what}: {deny:?}"),
                // Nothing but what stands above the rules can refuse what a rule allows.
                "deny" => assert!(allow.is_empty() || standing.is_some(), "{what}: {allow:?}"),
                _ => assert!(allow.is_empty(), "{what}: {allow:?}"),
            }
            explained += 1;
        }
    }
    assert!(explained > 100, "{explained}");
}
