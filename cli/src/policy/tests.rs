//! `exeat policy` on folders of files: what is merged, what is refused, and where it says so.

use super::diagnostic::Diagnostic;
use super::load::{Loaded, load};
use exeat_engine::facts::Timestamp;
use std::path::Path;

const PLATFORM: &str = r#"schema: exeat/v1
revision: r1
signers:
  - id: s
    keys: [{public: 11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=}] # a test key
    agents: ["*"]
destinations:
  crm: {hosts: [crm.example], category: crm, teams: [support]}
  status: {hosts: [status.example]}
profiles:
  look: {allow: [{id: look, to: [status], paths: [/**]}]}
"#;

const TEAM: &str = r#"team: support
agents:
  summarizer:
    use: [look, support/own]
    allow:
      - id: read
        to: [crm]
        paths: [/v1/**]
profiles:
  own: {deny: [{id: never, to: [crm], paths: [/v1/secret]}]}
"#;

/// Loads files from a folder of their own. Messages name them relative to it.
fn load_files(files: &[(&str, &str)]) -> Result<Loaded, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    load(folder.path(), None).map_err(|errors| relative(&errors, folder.path()))
}

fn relative(errors: &[Diagnostic], folder: &Path) -> Vec<String> {
    let folder = format!("{}/", folder.display());
    errors.iter().map(|error| error.to_string().replace(&folder, "")).collect()
}

#[test]
fn files_merge_into_one_policy() {
    let loaded = load_files(&[("platform.yaml", PLATFORM), ("teams/support.yaml", TEAM)]).unwrap();
    let policy = loaded.configuration.policy();
    assert_eq!((policy.destinations(), policy.agents(), policy.rules()), (2, 1, 3));
    let digest = policy.digest().to_owned();
    let document = serde_json::to_value(&loaded.document).unwrap();
    let agent = &document["policy"]["agents"]["support/summarizer"];
    assert_eq!(agent["team"], "support");
    assert_eq!(document["policy"]["profiles"]["support/own"]["team"], "support");
    // Neither the names of files nor how content is spread over them counts.
    let (head, destinations) = PLATFORM.split_at(PLATFORM.find("destinations:").unwrap());
    let (agents, profiles) = TEAM.split_at(TEAM.find("profiles:").unwrap());
    let split = [
        ("z.yml", head.to_owned()),
        ("a/b/c.yaml", format!("schema: exeat/v1\n{destinations}")),
        ("agents.yaml", agents.to_owned()),
        ("0.yaml", format!("team: support\n{profiles}")),
    ];
    let split: Vec<(&str, &str)> = split.iter().map(|(name, text)| (*name, text.as_str())).collect();
    assert_eq!(load_files(&split).unwrap().configuration.policy().digest(), digest);
    // JSON is as good as YAML.
    let json = serde_json::to_string_pretty(&document["policy"]["signers"]).unwrap();
    let json = format!(r#"{{"schema": "exeat/v1", "revision": "r1", "signers": {json}}}"#);
    let files = [("a.json", json.as_str()), ("b.yaml", destinations), ("c.yaml", TEAM)];
    assert_eq!(load_files(&files).unwrap().configuration.policy().digest(), digest);
}

#[test]
fn what_does_not_fit_together_names_both_places() {
    let team = |text: &str| format!("team: support\n{text}");
    for (files, expected) in [
        (
            vec![
                ("a.yaml", PLATFORM.to_owned()),
                ("b.yaml", "destinations:\n  x: {hosts: [x.example]}\n  crm: {hosts: [x.example]}\n".to_owned()),
            ],
            vec![
                r#"b.yaml:3:3: policy: /destinations/crm: "crm" is defined twice, first at a.yaml:8:3; keep one of the two: no file overrides another"#,
            ],
        ),
        (
            vec![("a.yaml", PLATFORM.to_owned()), ("b.yaml", "revision: r2\n".to_owned())],
            vec![
                r#"b.yaml:1:1: policy: /revision: "revision" is defined twice, first at a.yaml:2:1; keep one of the two: no file overrides another"#,
            ],
        ),
        (
            vec![("a.yaml", PLATFORM.to_owned()), ("b.yaml", "signers:\n  - {id: s, keys: []}\n".to_owned())],
            vec![
                r#"b.yaml:2:5: policy: /signers/0: "signer" is defined twice, first at a.yaml:4:5; keep one of the two: no file overrides another"#,
            ],
        ),
        (
            vec![("a.yaml", PLATFORM.to_owned()), ("b.yaml", "schema: exeat/v2\n".to_owned())],
            vec![
                r#"b.yaml:1:1: policy: /schema: "schema" is defined twice, first at a.yaml:1:1; keep one of the two: no file overrides another"#,
            ],
        ),
        // The platform and a team name the same agent.
        (
            vec![
                ("a.yaml", format!("{PLATFORM}agents: {{support/summarizer: {{}}}}\n")),
                ("t.yaml", team("agents:\n  summarizer: {}\n")),
            ],
            vec![
                r#"t.yaml:3:3: policy: /agents/support~1summarizer: "support/summarizer" is defined twice, first at a.yaml:12:10; keep one of the two: no file overrides another"#,
            ],
        ),
        (
            vec![
                ("a.yaml", PLATFORM.to_owned()),
                ("t.yaml", team("destinations: {mine: {hosts: [m.example]}}\nceilings: {}\n")),
            ],
            vec![
                r#"t.yaml:2:1: policy: /destinations: a team cannot define "destinations"; move it to a file of the platform; a team's file has team, agents and profiles"#,
                r#"t.yaml:3:1: policy: /ceilings: a team cannot define "ceilings"; move it to a file of the platform; a team's file has team, agents and profiles"#,
            ],
        ),
        (
            vec![("a.yaml", format!("{PLATFORM}agents: {{x: {{team: support}}}}\n"))],
            vec![
                "a.yaml:12:14: policy: /agents/x/team: an entry has the team of its file; remove it; a team has a file of its own with `team` at the top",
            ],
        ),
        (
            vec![("a.yaml", PLATFORM.to_owned()), ("t.yaml", "team: a/b\n".to_owned())],
            vec![
                "t.yaml:1:1: policy: /team: not a name of a team; write 1 to 64 letters, digits, dots, underscores or hyphens",
            ],
        ),
        (
            vec![("a.yaml", PLATFORM.to_owned()), ("t.yaml", team("agents: [x]\n"))],
            vec!["t.yaml:2:1: policy: /agents: expected a map, found a list; write a map of names"],
        ),
        (
            vec![("a.yaml", "- a\n".to_owned())],
            vec!["a.yaml:1:1: policy: expected a map, found a list; write keys such as schema, destinations, agents"],
        ),
        // What the engine says is brought back to the file.
        (
            vec![("a.yaml", PLATFORM.to_owned()), ("t.yaml", TEAM.replace("to: [crm]", "to: [status, crn]"))],
            vec![
                r#"t.yaml:7:22: policy: /agents/support~1summarizer/allow/0/to/1: no destination "crn"; did you mean "crm"?"#,
                r#"t.yaml:10:41: policy: /profiles/support~1own/deny/0/to/1: no destination "crn"; did you mean "crm"?"#,
            ],
        ),
        (
            vec![
                ("a.yaml", PLATFORM.to_owned()),
                ("t.yaml", TEAM.replace("        paths: [/v1/**]", "        path: [/v1/**]")),
            ],
            vec![
                r#"t.yaml:8:9: policy: /agents/support~1summarizer/allow/0/path: unknown key "path"; did you mean "paths"? Known here: id, to, methods, paths, when, binding, limits, headers, expires, mode, parameters, redact, tokenize, exception (a key that nobody reads would be taken for one that holds)"#,
            ],
        ),
        (
            vec![
                ("a.yaml", PLATFORM.to_owned()),
                ("t.yaml", TEAM.replace("team: support", "team: billing").replace("support/own", "billing/own")),
            ],
            vec![
                r#"t.yaml:4:17: policy: /agents/billing~1summarizer/use/1: the destination "crm" is not open to the team "billing"; ask its owner to add the team to its teams"#,
                r#"t.yaml:7:14: policy: /agents/billing~1summarizer/allow/0/to/0: the destination "crm" is not open to the team "billing"; ask its owner to add the team to its teams"#,
                r#"t.yaml:10:33: policy: /profiles/billing~1own/deny/0/to/0: the destination "crm" is not open to the team "billing"; ask its owner to add the team to its teams"#,
            ],
        ),
        // A key that is missing everywhere.
        (
            vec![("a.yaml", PLATFORM.replace("revision: r1\n", ""))],
            vec![r#"a.yaml: policy: the key "revision" is missing; add "revision""#],
        ),
    ] {
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        assert_eq!(load_files(&files).err().unwrap_or_default(), expected, "{files:?}");
    }
}

#[test]
fn yaml_that_two_readers_may_read_differently_is_refused() {
    for (text, expected) in [
        ("a: 1\na: 2\n", r#"x.yaml:2:1: /a: the key "a" occurs twice, first in line 1; keep one of the two"#),
        (
            "a:\n  \"b\": 1\n  b: 2\n",
            r#"x.yaml:3:3: /a/b: the key "b" occurs twice, first in line 2; keep one of the two"#,
        ),
        ("a: &x 1\n", "x.yaml:1:4: an anchor; remove it, or share rules by a profile"),
        (
            "a: *x\n",
            "x.yaml:1:4: not YAML: while parsing node, found unknown anchor; text that begins with `*` stands in quotes, such as \"*.example.com\"",
        ),
        ("a: !secret b\n", "x.yaml:1:4: a tag; remove it, the schema knows the types"),
        ("a: !!str 5\n", "x.yaml:1:4: a tag; remove it, the schema knows the types"),
        ("<<: {a: 1}\n", "x.yaml:1:1: /<<: a merge key; write the keys out, or share rules by a profile"),
        ("a: 1\n---\nb: 1\n", "x.yaml:2:1: a second document in one file; put it into a file of its own"),
        ("443: {}\n", "x.yaml:1:1: /443: a key that is not text; put it in quotes"),
        ("true: {}\n", "x.yaml:1:1: /true: a key that is not text; put it in quotes"),
        ("{a: 1}: b\n", "x.yaml:1:1: a key that is not text; put it in quotes"),
        ("a: .nan\n", "x.yaml:1:4: not a finite number; put it in quotes if it is text"),
        (
            "a: [1, 2\n",
            "x.yaml:2:1: not YAML: while parsing a flow sequence, expected ',' or ']'; look at quotes, brackets and indentation here and in the line before",
        ),
        ("", "x.yaml: an empty file; remove it, or write a map of keys"),
        ("# nothing\n", "x.yaml: an empty file; remove it, or write a map of keys"),
    ] {
        assert_eq!(load_files(&[("x.yaml", text)]).err().unwrap(), [expected], "{text:?}");
    }
    let deep = |levels: usize| {
        let text = format!("a: {}{}\n", "[".repeat(levels), "]".repeat(levels));
        load_files(&[("x.yaml", &text)]).err().unwrap()
    };
    assert_eq!(deep(64), ["x.yaml:1:67: nested deeper than 64 levels; no policy needs that"]);
    // Here the parser itself gives up.
    assert_eq!(
        deep(100_000),
        ["x.yaml:1:259: not YAML: recursion limit exceeded; no policy needs lists and maps that deep"]
    );
    let json = load_files(&[("x.json", "{\"a\": 1,}")]).err().unwrap();
    assert_eq!(json, ["x.json:1:9: not JSON: key must be a string; correct it here, or just before"]);
}

#[test]
fn aliases_of_anchors_are_refused_before_they_expand() {
    let bomb = "a: [x]\nb: &b [x, x]\nc: [*b, *b]\n";
    assert_eq!(
        load_files(&[("x.yaml", bomb)]).err().unwrap(),
        ["x.yaml:2:4: an anchor; remove it, or share rules by a profile"]
    );
}

#[test]
fn folders_are_read_whole_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    assert!(load(folder.path(), None).unwrap_err()[0].to_string().contains("no policy files here"));
    assert!(load(&at("nowhere"), None).unwrap_err()[0].to_string().contains("cannot be read"));
    std::fs::create_dir(at("teams")).unwrap();
    std::fs::write(at("platform.yaml"), PLATFORM).unwrap();
    std::fs::write(at("teams/support.yml"), TEAM).unwrap();
    // Neither of these is policy.
    std::fs::write(at("README.md"), "notes").unwrap();
    std::fs::create_dir(at(".git")).unwrap();
    std::fs::write(at(".git/x.yaml"), "- no policy").unwrap();
    std::fs::write(at(".platform.yaml.swp.yaml"), "- no policy").unwrap();
    // A loop, and a second way to the same folder.
    std::os::unix::fs::symlink(folder.path(), at("teams/loop")).unwrap();
    std::os::unix::fs::symlink(at("teams"), at("again")).unwrap();
    let loaded = load(folder.path(), None).unwrap();
    assert_eq!(loaded.configuration.policy().agents(), 1);
    // A link that leads nowhere is said, not skipped: it could have been a deny.
    std::os::unix::fs::symlink(at("gone.yaml"), at("teams/dangling.yaml")).unwrap();
    assert!(load(folder.path(), None).unwrap_err()[0].to_string().contains("dangling.yaml: cannot be read"));
    std::fs::remove_file(at("teams/dangling.yaml")).unwrap();
    // So is what looks like a policy file and would be passed over.
    std::fs::write(at("ceilings.YAML"), "ceilings: {deny: []}").unwrap();
    assert!(load(folder.path(), None).unwrap_err()[0].to_string().contains("ceilings.YAML: it would not be read"));
    std::fs::remove_file(at("ceilings.YAML")).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(at("ceilings.yaml")).unwrap();
    assert!(load(folder.path(), None).unwrap_err()[0].to_string().contains("ceilings.yaml: it is no file"));
}

#[test]
fn a_gateway_document_is_one_key() {
    let folder = tempfile::tempdir().unwrap();
    let (policy, gateway) = (folder.path().join("policy"), folder.path().join("gateway.yaml"));
    std::fs::create_dir(&policy).unwrap();
    std::fs::write(policy.join("platform.yaml"), PLATFORM).unwrap();
    std::fs::write(policy.join("team.yaml"), TEAM).unwrap();
    let good = "gateway:\n  id: g\n  key: {env: K}\n  collector: {cluster: c}\n";
    for (text, expected) in [
        (good.to_owned(), ""),
        (
            format!("{good}policy: {{}}\n"),
            "gateway.yaml:5:1: gateway: unknown key \"policy\"; this file has the one key gateway",
        ),
        (
            "{}\n".to_owned(),
            "gateway.yaml:1:1: gateway: the key \"gateway\" is missing; write gateway: and everything below it",
        ),
        (
            good.replace("{cluster: c}", "{cluster: c, timeout: 2}"),
            "gateway.yaml:4:27: gateway: /collector/timeout: expected a duration such as 5m, found the number 2; write a duration such as 5m",
        ),
        (
            format!("{good}  upstream: {{sheme: http}}\n"),
            "gateway.yaml:5:14: gateway: /upstream/sheme: unknown key \"sheme\"; did you mean \"scheme\"? Known here: scheme (a key that nobody reads would be taken for one that holds)",
        ),
    ] {
        std::fs::write(&gateway, text).unwrap();
        let errors = load(&policy, Some(&gateway)).err().unwrap_or_default();
        assert_eq!(relative(&errors, folder.path()).join("\n"), expected);
    }
}

#[test]
fn warnings_are_told_where_they_are_written() {
    let platform = PLATFORM.replace("category: crm,", "category: crm, review: 2026-01-31, owner: crm-team,");
    let loaded = load_files(&[("platform.yaml", &platform), ("team.yaml", TEAM)]).unwrap();
    let january = |day: u64| Timestamp(1_767_225_600_000 + (day - 1) * 86_400_000);
    assert_eq!(loaded.warnings(january(31)), []);
    let warnings: Vec<String> = loaded.warnings(january(32)).iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].ends_with(r#"platform.yaml:8:46: policy: /destinations/crm/review: the review is overdue; let its owner "crm-team" look at it and set a new date"#),
        "{warnings:?}"
    );
}

#[test]
fn the_policies_that_ship_are_accepted_without_warnings() {
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let mut seen = 0;
    for entry in std::fs::read_dir(policies).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.join("gateway.yaml").exists() {
            continue;
        }
        let loaded = load(&folder.join("policy"), Some(&folder.join("gateway.yaml"))).unwrap();
        // 2027-01-01: whoever reads this later must look at the examples again only when their dates have passed.
        assert_eq!(loaded.warnings(Timestamp(1_798_761_600_000)), []);
        seen += 1;
    }
    assert!(seen > 0);
}

#[test]
fn wildcards_over_public_suffixes_are_refused_where_they_stand() {
    let files = [
        ("a.yaml", PLATFORM.to_owned()),
        ("b.yaml", "destinations:\n  all:\n    hosts:\n      - \"*.acme.example\"\n      - \"*.com\"\n      - \"*.co.uk\"\n  one: {hosts: \"*.org\"}\n".to_owned()),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let rest = "name the domains that are meant; for the open web write `*` with `open: true` (anybody can register a name there)";
    let errors = load_files(&files).unwrap_err();
    assert_eq!(
        errors,
        [
            format!(r#"b.yaml:5:9: policy: /destinations/all/hosts/1: `*.` before "com", a public suffix; {rest}"#),
            format!(r#"b.yaml:6:9: policy: /destinations/all/hosts/2: `*.` before "co.uk", a public suffix; {rest}"#),
            format!(r#"b.yaml:7:9: policy: /destinations/one/hosts: `*.` before "org", a public suffix; {rest}"#),
        ]
    );
    // Together with what the engine finds, and in the order of the file.
    let wrong = files[1].1.replace("*.acme.example", "a.*.b");
    let errors = load_files(&[files[0], ("b.yaml", &wrong)]).unwrap_err();
    assert_eq!(errors.len(), 4);
    assert!(errors[0].starts_with("b.yaml:4:9: policy: /destinations/all/hosts/0: `*` can only be"), "{}", errors[0]);
    // A company's suffix is worth a look, no more.
    let loaded = load_files(&[files[0], ("b.yaml", "destinations: {pages: {hosts: [\"*.github.io\"]}}\n")]).unwrap();
    let warnings = loaded.warnings(Timestamp(0));
    assert!(
        warnings.iter().any(|warning| warning.message.contains("under which anybody can have a name")),
        "{warnings:?}"
    );
}

#[test]
fn what_hosts_cannot_be_is_said_where_it_stands() {
    let name = "a.".repeat(124) + "example";
    for (host, expected) in [
        ("*", "`*` stands for every host there is; add `open: true`"),
        ("*.", "no name after `*.`; write `*` alone for every host, with `open: true`"),
        ("a.*.b", "`*` can only be the whole first label"),
        ("a..b.example", "an empty label in the host name; write a host name"),
        (&name, "a host name of 255 bytes, 253 are the most; write a host name"),
        ("xn--a.example", "the host is not a valid internationalised name; write a host name"),
        ("10.20.0.1/16", "bits are set after the prefix; write 10.20.0.0/16"),
        ("crm.example:70000", "a port after the host; write the host alone, ports go to `ports`"),
    ] {
        let text = format!("destinations:\n  x:\n    hosts: [ \"{host}\" ]\n");
        let errors = load_files(&[("a.yaml", PLATFORM), ("b.yaml", &text)]).unwrap_err();
        let start = format!("b.yaml:3:14: policy: /destinations/x/hosts/0: {expected}");
        assert!(errors.len() == 1 && errors[0].starts_with(&start), "{errors:?}");
    }
    for (port, expected) in
        [("0", "0 is not a port; write 1 to 65535"), ("65536", "expected a whole number from 0 to 65535")]
    {
        let text = format!("destinations:\n  x: {{hosts: x.example, ports: [443, {port}]}}\n");
        let errors = load_files(&[("a.yaml", PLATFORM), ("b.yaml", &text)]).unwrap_err();
        let start = format!("b.yaml:2:38: policy: /destinations/x/ports/1: {expected}");
        assert!(errors.len() == 1 && errors[0].starts_with(&start), "{errors:?}");
    }
}
