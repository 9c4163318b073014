//! The examples of the documentation: every block of YAML is a policy that is accepted, or refused as the block after it
//! says, and every table of requests comes out as it says.
//!
//! A block is a file of the policy, or of the gateway where it starts with `gateway:`; a first line `# name.yaml` names it. What
//! an example leaves out is in [`FRAME`]. A table whose first column is `request` belongs to the blocks before it; its
//! columns are keys of test files, but for `comes out`: `allow <rule>`, `deny <reason> [<condition>]`, `would-deny <reason>`.

#![cfg(test)]

use exeat_cli::policy::diagnostic::Diagnostic;
use exeat_cli::policy::load::{Loaded, load};
use exeat_cli::policy::rehearsal::Rehearsal;
use exeat_cli::policy::rehearsal::case::cases;
use exeat_cli::policy::yaml::Source;
use exeat_engine::facts::Timestamp;
use exeat_engine::policy::node::Node;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What stands around an example that says nothing else. Each top-level key of an example takes the place of the frame's.
const FRAME: [(&str, &str); 4] = [
    ("schema", "schema: exeat/v1\n"),
    ("revision", "revision: example\n"),
    (
        "signers",
        "signers:\n  - id: eu\n    keys: [{id: eu-1, public: 11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=}] # a test key\n    \
         agents: [\"*\"]\n    tenants: [\"*\"]\n    users: [\"*\"]\n    tools: [\"*\"]\n    \
         provenance: [user, system, internal, third-party, unknown]\n",
    ),
    (
        "destinations",
        "destinations:\n  crm: {hosts: [crm.example], kind: internal, category: crm, accepts: confidential}\n  \
         model: {hosts: [model.example], kind: model, category: model, accepts: internal}\n  \
         paste: {hosts: [paste.example], kind: saas, category: paste, accepts: public}\n",
    ),
];

const GATEWAY: &str =
    "gateway: {id: egress-eu-1, key: {env: EXEAT_GATEWAY_KEY}, collector: {cluster: exeat-collector}}\n";

/// What the requests of an example are sent with unless they say otherwise.
const DEFAULTS: &str = "defaults: {context: {agent: support/bot, tenant: acme, user: u-1, tool: crm.lookup, \
                        session_type: interactive, data_class: internal, provenance: [user]}}\n";

/// The day on which the examples play, unless they say otherwise.
const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// Blocks that belong together, and what must come of them.
#[derive(Debug)]
struct Example {
    /// `page:line` of the first block.
    at: String,
    /// Name and text.
    files: Vec<(String, String)>,
    then: Then,
}

#[derive(Debug)]
enum Then {
    /// Cells of the header, and rows with their lines.
    Requests(Vec<String>, Vec<(usize, Vec<String>)>),
    /// The policy is refused with these lines.
    Refused(String),
    Nothing,
}

/// The examples of a page.
fn examples(page: &str, text: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut files: Vec<(String, String)> = Vec::new();
    let mut at = String::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        let mut finish = |files: &mut Vec<(String, String)>, then: Then| {
            if !files.is_empty() {
                examples.push(Example { at: at.clone(), files: std::mem::take(files), then });
            }
        };
        if line == "```yaml" || line == "```text" {
            let block: Vec<&str> = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
            if line == "```text" {
                finish(&mut files, Then::Refused(block.join("\n")));
                continue;
            }
            if files.is_empty() {
                at = format!("{page}:{}", number + 1);
            }
            let named = block.first().and_then(|first| first.strip_prefix("# ")).filter(|name| name.ends_with(".yaml"));
            let name = match (named, block.iter().any(|line| line.starts_with("gateway:"))) {
                (Some(name), _) => name.to_owned(),
                (None, true) => "gateway.yaml".to_owned(),
                (None, false) => "policy.yaml".to_owned(),
            };
            assert!(files.iter().all(|(known, _)| *known != name), "{page}:{}: a second {name}", number + 1);
            files.push((name, format!("{}\n", block.join("\n"))));
        } else if line.starts_with("| request ") {
            let cells = |line: &str| -> Vec<String> {
                let line = line.trim().trim_start_matches('|').trim_end_matches('|');
                line.split('|').map(|cell| cell.trim().to_owned()).collect()
            };
            let header = cells(line);
            let mut rows = Vec::new();
            lines.next();
            while let Some((row, line)) = lines.next_if(|(_, line)| line.starts_with('|')) {
                rows.push((row + 1, cells(line)));
            }
            finish(&mut files, Then::Requests(header, rows));
        } else if line.starts_with('#') {
            finish(&mut files, Then::Nothing);
        }
    }
    if !files.is_empty() {
        examples.push(Example { at, files, then: Then::Nothing });
    }
    examples
}

impl Example {
    /// Writes the files, completed by the frame, and loads them.
    fn load(&self, folder: &Path) -> Result<Loaded, Vec<Diagnostic>> {
        let policy = folder.join("policy");
        let mut gateway = GATEWAY.to_owned();
        let mut stated = String::new();
        for (name, text) in &self.files {
            if name == "gateway.yaml" {
                gateway.clone_from(text);
                continue;
            }
            let path = policy.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
            stated.push_str(text);
        }
        let states = |key: &str| stated.lines().any(|line| line.starts_with(&format!("{key}:")));
        let mut frame: String = FRAME.iter().filter(|(key, _)| !states(key)).map(|(_, text)| *text).collect();
        if !states("agents") {
            // One agent that may do anything anywhere, so that only the example refuses.
            let ids = self.destinations();
            let to = if ids.is_empty() { "crm, model".to_owned() } else { ids.join(", ") };
            let _ = writeln!(
                frame,
                "agents:\n  support/bot:\n    allow: [{{id: any, to: [{to}], methods: [GET, HEAD, POST, PUT, DELETE], paths: [/**]}}]"
            );
        }
        std::fs::create_dir_all(&policy).unwrap();
        std::fs::write(policy.join("frame.yaml"), if frame.is_empty() { "schema: exeat/v1\n" } else { &frame })
            .unwrap();
        let gateway_file = folder.join("gateway.yaml");
        std::fs::write(&gateway_file, gateway).unwrap();
        load(&policy, Some(&gateway_file))
    }

    /// Ids of the destinations that the example states.
    fn destinations(&self) -> Vec<String> {
        let texts = self.files.iter().filter(|(name, _)| name != "gateway.yaml");
        let nodes = texts.filter_map(|(name, text)| Source::parse(Path::new(name), text).ok());
        let all = nodes.filter_map(|source| match source.node.get("destinations") {
            Some(Node::Map(entries)) => Some(entries.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>()),
            _ => None,
        });
        all.flatten().collect()
    }

    /// Everything that does not come out as the page says.
    fn run(&self) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let relative = |error: &Diagnostic| error.to_string().replace(&format!("{}/", folder.path().display()), "");
        let at = &self.at;
        match (self.load(folder.path()), &self.then) {
            (Ok(loaded), Then::Requests(header, rows)) => {
                let rehearsal = Rehearsal::new(&loaded).unwrap();
                rows.iter().flat_map(|(line, row)| play(&rehearsal, at, *line, header, row)).collect()
            }
            (Ok(_), Then::Nothing) => vec![format!("{at}: an example that shows nothing: add a table of requests")],
            (Ok(_), Then::Refused(text)) => vec![format!("{at}: expected an error, {text}")],
            (Err(errors), Then::Refused(text)) => {
                let said: Vec<_> = errors.iter().map(relative).collect();
                let said = said.join("\n");
                if said == *text { Vec::new() } else { vec![format!("{at}: expected\n{text}\ngot\n{said}")] }
            }
            (Err(errors), _) => errors.iter().map(|error| format!("{at}: {}", relative(error))).collect(),
        }
    }
}

fn play(rehearsal: &Rehearsal, at: &str, line: usize, header: &[String], row: &[String]) -> Vec<String> {
    let page = at.rsplit_once(':').map_or(at, |(page, _)| page);
    let text = case(header, row);
    let told = |why: String| vec![format!("{page}:{line}: {why}")];
    let case = match Source::parse(Path::new("row"), &text).map_err(|error| vec![error]).and_then(|s| cases(&s)) {
        Ok(mut cases) => cases.remove(0),
        Err(errors) => return told(format!("{}\n{text}", errors[0])),
    };
    match rehearsal.play(&case, NOW) {
        Ok(observed) => {
            let differences = case.expect.differences(&observed);
            differences.into_iter().flat_map(told).collect()
        }
        Err(error) => told(format!("{error:#}")),
    }
}

/// A row as a test file of one case.
fn case(header: &[String], row: &[String]) -> String {
    let mut text = format!("{DEFAULTS}cases:\n  - name: row\n");
    let mut upstream = String::new();
    for (key, cell) in header.iter().zip(row).filter(|(_, cell)| !cell.is_empty()) {
        let cell = cell.replace('`', "");
        let _ = match key.as_str() {
            "comes out" => {
                let mut words = cell.splitn(3, ' ');
                let outcome = words.next().unwrap().replace('-', "_");
                let what = words.next().unwrap_or_default();
                writeln!(text, "    {outcome}: {what}").and_then(|()| {
                    words.next().map_or(Ok(()), |condition| writeln!(text, "    condition: {condition:?}"))
                })
            }
            "goes on with" => write!(upstream, "has: {{{cell}}}, "),
            "goes on as" => write!(upstream, "json: {cell}, "),
            "goes on without" => write!(upstream, "lacks: [{cell}], "),
            "headers" | "context" => writeln!(text, "    {key}: {{{cell}}}"),
            "after" => writeln!(text, "    before: [{{{cell}}}]"),
            "bytes" => writeln!(text, "    body_bytes: {cell}"),
            key => writeln!(text, "    {key}: {cell}"),
        };
    }
    if !upstream.is_empty() {
        let _ = writeln!(text, "    upstream: {{{}}}", upstream.trim_end_matches(", "));
    }
    text
}

fn pages() -> Vec<(String, String)> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let pages: Vec<PathBuf> = ["policy.md", "coming-from.md"].iter().map(|page| docs.join(page)).collect();
    let read = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, std::fs::read_to_string(path).unwrap())
    };
    pages.iter().filter(|path| path.exists()).map(read).collect()
}

#[test]
fn every_example_comes_out_as_its_page_says() {
    let mut failures = Vec::new();
    let mut requests = 0;
    for (page, text) in pages() {
        for example in examples(&page, &text) {
            failures.extend(example.run());
            if let Then::Requests(_, rows) = &example.then {
                requests += rows.len();
            }
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    assert!(requests > 0);
}

/// The runner would be worth nothing if it took whatever comes.
#[test]
fn an_example_that_is_wrong_is_found() {
    let page = |block: &str, table: &str| format!("```yaml\n{block}\n```\n\n{table}\n");
    let table = |row: &str| format!("| request | context | comes out |\n|---|---|---|\n{row}");
    let good = "agents: {support/bot: {allow: [{id: read, to: [crm], paths: [/v1/*]}]}}";
    for (block, rest, expected) in [
        (good, table("| `GET https://crm.example/v1/a` | `roles: [x]` | allow `read` |"), None),
        (good, table("| `GET https://crm.example/v2/a` | | deny `path-denied` `paths` |"), None),
        (
            good,
            table("| `GET https://crm.example/v2/a` | | allow `read` |"),
            Some("expected allow permitted, got deny path-denied"),
        ),
        (good, table("| `GET https://crm.example/v1/a` | | allow `write` |"), Some("rule: expected write")),
        (
            good,
            table("| `GET https://crm.example/v2/a` | | deny `path-denied` `methods` |"),
            Some("condition: expected methods"),
        ),
        (
            good,
            table("| `GET https://crm.example/v1/a` | `rolls: [x]` | allow `read` |"),
            Some("unknown key \"rolls\""),
        ),
        (good, String::new(), Some("shows nothing")),
        (
            "agents: {support/bot: {alow: []}}",
            table("| `GET https://crm.example/v1/a` | | allow `read` |"),
            Some("unknown key \"alow\""),
        ),
        (
            "agents: {support/bot: {alow: []}}",
            "```text\nwrong\n```".to_owned(),
            Some("expected\nwrong\ngot\npolicy/policy.yaml:1:24"),
        ),
        (good, "```text\nwrong\n```".to_owned(), Some("expected an error")),
    ] {
        let found = examples("page", &page(block, &rest));
        assert_eq!(found.len(), 1);
        let failures = found[0].run();
        match expected {
            None => assert!(failures.is_empty(), "{failures:?}"),
            Some(text) => assert!(failures.iter().any(|failure| failure.contains(text)), "{text}: {failures:?}"),
        }
    }
}

/// Keys of the documents that no example can show: a JWK that has it is a private key, and refused for it.
const SHOWN_NOWHERE: [&str; 1] = ["d"];

/// The schemas are those of the types, so a key that is added without an example is found here.
#[test]
fn every_key_of_the_documents_has_an_example() {
    fn keys(schema: &serde_json::Value, found: &mut std::collections::BTreeSet<String>) {
        if let Some(properties) = schema.get("properties").and_then(serde_json::Value::as_object) {
            found.extend(properties.keys().cloned());
        }
        schema.as_object().into_iter().flatten().for_each(|(_, value)| keys(value, found));
        schema.as_array().into_iter().flatten().for_each(|value| keys(value, found));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = std::collections::BTreeSet::new();
    for name in ["gateway", "policy", "team"] {
        let text = std::fs::read(root.join(format!("policies/schema/{name}.schema.json"))).unwrap();
        keys(&serde_json::from_slice(&text).unwrap(), &mut found);
    }
    assert!(found.len() > 100, "{found:?}");
    let page = std::fs::read_to_string(root.join("docs/policy.md")).unwrap();
    let mut shown = String::new();
    for example in examples("policy.md", &page) {
        example.files.iter().for_each(|(_, text)| shown.push_str(text));
    }
    let is_shown = |key: &String| {
        shown.match_indices(&format!("{key}:")).any(|(at, _)| {
            let before = shown.get(..at).and_then(|text| text.chars().next_back());
            before.is_none_or(|c| !(c.is_alphanumeric() || c == '_' || c == '-'))
        })
    };
    let missing: Vec<_> = found.iter().filter(|key| !is_shown(key)).collect();
    assert_eq!(missing, SHOWN_NOWHERE, "docs/policy.md shows these keys in no example");
}
