//! At start, and on the command line.

use crate::cases::{EDITS, KEYS, RAW};
use crate::documents::{edit, path, plugin, with_plugin};
use exeat_e2e::scenario::gateway::{Gateway, exeat};
use exeat_e2e::stage::envoy::Setup;
use exeat_e2e::stage::{Error, artefacts, ports};
use serde_json::Value;

const REFUSED: &str = "exeat: configuration refused, nothing changes: ";

fn gateway() -> Gateway {
    Gateway::prepare("configuration", 18_080).unwrap()
}

/// A bootstrap with the listener in it.
fn bootstrap(gateway: &Gateway) -> Value {
    let text =
        exeat(&["render", "envoy", "--json", "--admin", "127.0.0.1:0", "--collector", "127.0.0.1:1"], |command| {
            command.arg("--gateway").arg(gateway.document()).arg("--policy").arg(gateway.policy());
            command.arg("--module").arg(artefacts::module().unwrap());
            command.args(["--listen", &format!("127.0.0.1:{}", ports::free().unwrap())]);
        });
    serde_json::from_str(&text.unwrap()).unwrap()
}

/// What Envoy says as it ends.
fn last_words(bootstrap: String, key: Option<&str>) -> String {
    let mut setup = Setup::new(bootstrap);
    if let Some(key) = key {
        setup = setup.env("EXEAT_GATEWAY_KEY", key);
    }
    match setup.start() {
        Err(Error::Exited { status, log, .. }) => {
            assert!(!status.success(), "{log}");
            log
        }
        other => panic!("Envoy was to end: {other:?}"),
    }
}

/// The one line of ours in a log.
fn our_line(log: &str) -> &str {
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("exeat: ")).collect();
    let [line] = lines.as_slice() else { panic!("not one line of ours: {lines:?} in\n{log}") };
    let (_, said) = line.split_once(REFUSED).unwrap_or_else(|| panic!("{line}"));
    said
}

#[test]
fn envoy_ends_with_one_line_that_says_where_and_what_to_do() {
    let gateway = gateway();
    let rendered = bootstrap(&gateway);
    // Updates try them all; a start takes long.
    for case in EDITS.iter().step_by(3) {
        let (before, _) = edit(&gateway, case);
        let log = last_words(with_plugin(rendered.clone(), &plugin(&gateway)), Some(&gateway.evidence_key));
        assert!(our_line(&log).starts_with(case.says), "{}: {}", case.name, our_line(&log));
        std::fs::write(path(&gateway, case.file), before).unwrap();
    }
    for (name, plugin, says) in RAW {
        let log = last_words(with_plugin(rendered.clone(), plugin), Some(&gateway.evidence_key));
        let said = our_line(&log);
        assert!(said.starts_with(says) && said.contains("; "), "{name}: {said}");
    }
    for (name, key, says) in KEYS {
        let log = last_words(rendered.to_string(), key);
        assert!(our_line(&log).starts_with(says), "{name}: {}", our_line(&log));
        let secret = key.filter(|key| !key.is_empty());
        assert!(secret.is_none_or(|secret| !log.contains(secret)), "{name}: the key is in the log:\n{log}");
    }
}

#[test]
fn the_command_line_points_at_file_line_and_column() {
    let gateway = gateway();
    let check = || {
        exeat(&["policy", "check"], |command| {
            command.arg(gateway.policy()).arg("--gateway").arg(gateway.document());
        })
    };
    assert!(check().unwrap().starts_with("ok: 1 destinations, 1 agents, 1 rules, digest sha256:"));
    for case in &EDITS {
        let (before, after) = edit(&gateway, case);
        let said = format!("{:#}", check().unwrap_err());
        let expected = match case.at {
            // What is wrong there is wrong by what stands elsewhere.
            "" => format!(": {}", case.says),
            at => {
                let (line, text) = after.lines().enumerate().find(|(_, text)| text.contains(at)).unwrap();
                let column = text.chars().count() - text.split_once(at).unwrap().1.chars().count() - at.chars().count();
                let file = path(&gateway, case.file);
                format!("{}:{}:{}: {}", file.display(), line + 1, column + 1, case.says)
            }
        };
        assert!(said.contains(&expected), "{}: not {expected} in\n{said}", case.name);
        assert!(said.contains("the policy has an error"), "{}: {said}", case.name);
        std::fs::write(path(&gateway, case.file), before).unwrap();
    }
}
