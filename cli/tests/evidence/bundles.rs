//! `audit prove` and `audit check`, and the numbered samples of `examples/bundles/`: what a checker in any language must say
//! of each. `EXEAT_WRITE_SAMPLES=1 cargo test -p exeat --test evidence bundles` writes them anew; without it the test fails
//! while they are not current.

use crate::audit::sql;
use crate::support::{Collector, GATEWAY, Vm, audit, key, key_option};
use exeat_engine::evidence::record::{Outcome, PolicyReference};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Sample {
    number: u32,
    name: String,
    about: String,
    /// Public keys, by gateway.
    keys: BTreeMap<String, String>,
    bundle: Value,
    /// `proven` or `refused`.
    verdict: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/bundles")
}

fn check(bundle: &[u8], more: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bundle.json");
    std::fs::write(&file, bundle).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_exeat"));
    command.args(["audit", "check"]).arg(&file).args(more).output().unwrap()
}

fn prove(dir: &Path, arguments: &[&str]) -> Value {
    let output = audit(dir, &[&["prove"], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Ids of decisions in a store of two logs: one that was let go and ended, one refused, one still open; one of the other log.
struct Stored {
    dir: tempfile::TempDir,
    ended: String,
    refused: String,
    open: String,
    other: String,
}

fn stored() -> Stored {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let (mut vm, mut other) = (Vm::new("b1", "w0"), Vm::new("b1", "w1"));
    let policy = |digest: &str| Some(PolicyReference { revision: "r1".into(), digest: digest.into(), change: None });
    let allow = |vm: &mut Vm| {
        let mut record = vm.record(Outcome::Allow);
        record.policy = policy("sha256:00");
        vm.decide(record, Some("u-1042"))
    };
    vm.configure_with("sha256:ff");
    vm.configure();
    vm.exchange();
    let ended = allow(&mut vm);
    let mut deny = vm.record(Outcome::Deny);
    deny.policy = policy("sha256:00");
    let refused = vm.decide(deny, None);
    vm.complete(&ended);
    let open = allow(&mut vm);
    vm.exchange();
    vm.deliver(collector.address, 4);
    other.configure();
    let elsewhere = allow(&mut other);
    other.complete(&elsewhere);
    other.deliver(collector.address, 100);
    assert!(collector.terminate());
    Stored { dir, ended, refused, open, other: elsewhere }
}

fn samples() -> Vec<Sample> {
    let Stored { dir, ended, refused, open, other } = stored();
    let dir = dir.path();
    let whole = prove(dir, &[&ended]);
    let foreign = prove(dir, &[&other]);
    let denied = prove(dir, &[&refused]);
    let keys = BTreeMap::from([(GATEWAY.to_owned(), key().public_base64())]);
    let mut all: Vec<Sample> = Vec::new();
    let mut add = |number: u32, name: &str, about: &str, bundle: Value| {
        let verdict = if number < 100 { "proven" } else { "refused" };
        let (name, about, verdict) = (name.to_owned(), about.to_owned(), verdict.to_owned());
        all.push(Sample { number, name, about, keys: keys.clone(), bundle, verdict });
    };
    let with = |change: &dyn Fn(&mut Value)| {
        let mut bundle = whole.clone();
        change(&mut bundle);
        bundle
    };
    // Leaves of the whole bundle: genesis, configuration, decision, completion.
    let replace = |leaf: usize, part: &str, from: &str, to: &str| {
        with(&|bundle| {
            let text = bundle["leaves"][leaf][part].as_str().unwrap();
            let changed = text.replacen(from, to, 1);
            assert_ne!(text, changed, "{from} is not there");
            bundle["leaves"][leaf][part] = changed.into();
        })
    };
    add(1, "allowed", "Genesis, configuration, decision, completion, and who the person was.", whole.clone());
    add(2, "refused", "A decision that let nothing go has no completion.", denied.clone());
    add(
        3,
        "sealed",
        "Without openings: that there was a person is proven, not who.",
        prove(dir, &[&ended, "--sealed"]),
    );
    add(4, "open", "Something was let go, and the exchange had not ended.", prove(dir, &[&open]));
    let bare = with(&|bundle| bundle["leaves"] = json!([bundle["leaves"][2]]));
    add(5, "decision-alone", "The decision and nothing else is proof of the decision.", bare);
    add(6, "extra", "Extra data in a proof means nothing.", replace(2, "proof", "\nindex", "\nextra AAAA\nindex"));

    add(101, "altered-decision", "A word of the decision.", replace(2, "line", "summarizer", "summarized"));
    add(
        102,
        "altered-completion",
        "A digit of the completion.",
        replace(3, "line", "\"status\":200", "\"status\":201"),
    );
    add(103, "altered-index", "A proof of another place.", replace(2, "proof", "index 5", "index 6"));
    let first = |bundle: &mut Value| {
        let proof = bundle["leaves"][2]["proof"].as_str().unwrap().to_owned();
        let lines: Vec<&str> = proof.split('\n').collect();
        bundle["leaves"][2]["proof"] = [&lines[..2], &lines[3..]].concat().join("\n").into();
    };
    add(104, "short-path", "The first hash of the path is missing.", with(&first));
    add(105, "altered-size", "The checkpoint speaks of another size.", replace(2, "proof", "\n8\n", "\n9\n"));
    add(106, "altered-time", "The checkpoint's time was moved.", replace(2, "proof", "\ntime 1", "\ntime 2"));
    let mut forged = whole.clone();
    forged["leaves"][0]["line"] = foreign["leaves"][0]["line"].clone();
    add(107, "foreign-line", "The genesis of another log under the proof of this one.", forged);
    let mixed = with(&|bundle| bundle["leaves"][0] = foreign["leaves"][0].clone());
    add(108, "other-log", "The genesis of another log, proven there.", mixed);
    let completion = with(&|bundle| bundle["leaves"][2] = denied["leaves"][2].clone());
    add(109, "other-completion", "A completion of another decision, and no decision of the name.", completion);
    let swapped = with(&|bundle| {
        bundle["leaves"][2] = denied["leaves"][2].clone();
        bundle["decision"] = denied["decision"].clone();
        bundle["openings"] = json!([]);
    });
    add(110, "completion-of-another", "The completion of one decision beside another.", swapped);
    let none = with(&|bundle| {
        bundle["leaves"].as_array_mut().unwrap().remove(2);
    });
    add(111, "no-decision", "No decision at all.", none);
    let two = with(&|bundle| {
        let decision = denied["leaves"][2].clone();
        bundle["leaves"].as_array_mut().unwrap().push(decision);
    });
    add(112, "two-decisions", "Two decisions.", two);
    let opening = |field: &str, value: Value| with(&|bundle| bundle["openings"][0][field] = value.clone());
    add(113, "altered-opening", "Another person.", opening("value", "u-1043".into()));
    add(114, "altered-salt", "Another salt.", opening("salt", "AAAAAAAAAAAAAAAAAAAAAA==".into()));
    add(115, "moved-opening", "An opening of another leaf.", opening("leaf", 6.into()));
    add(116, "renamed-opening", "An opening of another field.", opening("field", "stated_reason".into()));
    add(117, "other-id", "Another decision is named.", with(&|bundle| bundle["decision"] = refused.clone().into()));
    add(
        118,
        "other-format",
        "A format that nobody knows.",
        with(&|bundle| bundle["format"] = "exeat-bundle/v2".into()),
    );
    add(119, "further-member", "A member that nobody knows.", with(&|bundle| bundle["note"] = "trust me".into()));
    add(120, "altered-header", "A proof of another format.", replace(2, "proof", "@v1", "@v2"));
    let mut stranger = whole.clone();
    let (other_config, own) = (prove_config(dir), 1);
    stranger["leaves"][own] = other_config;
    add(121, "other-policy", "A configuration of the log whose policy is not the decision's.", stranger);
    let mut unknown = Sample {
        number: 122,
        name: "other-key".to_owned(),
        about: "The gateway's key is another.".to_owned(),
        keys: BTreeMap::new(),
        bundle: whole.clone(),
        verdict: "refused".to_owned(),
    };
    let wrong = exeat_engine::evidence::GatewayKey::from_seed([43; 32]).public_base64();
    unknown.keys.insert(GATEWAY.to_owned(), wrong);
    all.push(unknown);
    all
}

/// The configuration of the log that no decision names, with its proof: found by asking for a decision that names it.
fn prove_config(dir: &Path) -> Value {
    let db = rusqlite::Connection::open(dir.join("evidence.db")).unwrap();
    let lines: Vec<Vec<u8>> = db
        .prepare("SELECT line FROM leaves WHERE log = 1 ORDER BY position")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let note: Vec<u8> = db
        .query_row("SELECT note FROM checkpoints WHERE log = 1 ORDER BY size DESC LIMIT 1", [], |row| row.get(0))
        .unwrap();
    let note = String::from_utf8(note).unwrap();
    let hashes: Vec<_> = lines.iter().map(|line| exeat_engine::evidence::Hash::of_leaf(line)).collect();
    let path = exeat_engine::evidence::merkle::proof::inclusion(&hashes, 1).unwrap();
    let proof = exeat_engine::evidence::TlogProof { index: 1, path, checkpoint: &note };
    json!({"line": String::from_utf8(lines[1].clone()).unwrap(), "proof": proof.to_string()})
}

#[test]
fn samples_are_current_and_the_checker_says_what_they_say() {
    let samples = samples();
    if std::env::var_os("EXEAT_WRITE_SAMPLES").is_some() {
        std::fs::create_dir_all(folder()).unwrap();
        for file in std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()) {
            if file.extension().is_some_and(|extension| extension == "json") {
                std::fs::remove_file(file).unwrap();
            }
        }
        for sample in &samples {
            let text = serde_json::to_string_pretty(sample).unwrap() + "\n";
            std::fs::write(folder().join(format!("{:03}-{}.json", sample.number, sample.name)), text).unwrap();
        }
    }
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|file| file.extension().is_some_and(|e| e == "json")).collect();
    files.sort();
    assert_eq!(files.len(), samples.len());
    for (file, sample) in files.iter().zip(samples) {
        let stored: Sample = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        assert_eq!(stored, sample, "{} is not current: see the head of this file", file.display());
        let key = format!("{GATEWAY}={}", sample.keys[GATEWAY]);
        let output = check(&serde_json::to_vec(&sample.bundle).unwrap(), &["--key", &key]);
        let verdict = if output.status.success() { "proven" } else { "refused" };
        assert_eq!(verdict, sample.verdict, "{}: {output:?}", sample.name);
        assert_eq!(output.stdout.is_empty(), verdict == "refused", "{output:?}");
        if verdict == "refused" {
            assert!(String::from_utf8(output.stderr).unwrap().contains("proves nothing"), "{}", sample.name);
        }
    }
}

#[test]
fn a_bundle_tells_a_person_what_happened_and_takes_no_byte_on_trust() {
    let Stored { dir, ended, refused, .. } = stored();
    let (dir, key) = (dir.path(), key_option());
    let bundle = serde_json::to_vec(&prove(dir, &[&ended])).unwrap();
    let output = check(&bundle, &["--key", &key]);
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "proven      leaf 5 of log egress-eu-1/b1/w0\n",
        "signed by   gateway egress-eu-1, ",
        "\"kind\": \"genesis\"",
        "\"policy\": \"sha256:00\"",
        "\"outcome\": \"allow\"",
        "\"status\": 200",
        "opening     user = u-1042\n",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    let facts: Value = serde_json::from_slice(&check(&bundle, &["--json", "--key", &key]).stdout).unwrap();
    assert_eq!((&facts["openings"]["user"], &facts["decision"]["id"]), (&"u-1042".into(), &ended.clone().into()));
    let denied = serde_json::to_vec(&prove(dir, &[&refused])).unwrap();
    let text = String::from_utf8(check(&denied, &["--key", &key]).stdout).unwrap();
    assert!(text.contains("completion  none: nothing was let go"), "{text}");

    // No bit of line or proof can be turned: each stands for itself or is signed for.
    let whole: Value = serde_json::from_slice(&bundle).unwrap();
    let keys = [exeat_engine::evidence::CheckpointKey::parse(GATEWAY, &self::key().public_base64()).unwrap()];
    let mut turned = 0_u32;
    for leaf in 0..whole["leaves"].as_array().unwrap().len() {
        for part in ["line", "proof"] {
            let text = whole["leaves"][leaf][part].as_str().unwrap().to_owned();
            for at in 0..text.len() {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= 1;
                let Ok(changed) = String::from_utf8(bytes) else { continue };
                let mut bundle = whole.clone();
                bundle["leaves"][leaf][part] = changed.into();
                let bundle = exeat_cli::audit::bundle::Bundle::parse(bundle.to_string().as_bytes()).unwrap();
                assert!(bundle.check(&keys).is_err(), "leaf {leaf}, byte {at} of {part}");
                turned += 1;
            }
        }
    }
    assert!(turned > 2_000, "{turned}");
}

#[test]
fn what_cannot_be_proven_is_said() {
    let Stored { dir, ended, .. } = stored();
    let dir = dir.path();
    let said = |arguments: &[&str]| {
        let output = audit(dir, &[&["prove"], arguments].concat());
        assert!(!output.status.success() && output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    };
    let kept = dir.join("kept.json");
    std::fs::write(&kept, "mine").unwrap();
    assert!(said(&[&ended, "--output", kept.to_str().unwrap()]).contains("kept.json exists and is not overwritten"));
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), "mine");
    assert!(said(&["00000000000000ff"]).contains("no decision 00000000000000ff in"));
    sql(dir, "UPDATE openings SET line = CAST(replace(CAST(line AS TEXT), 'u-1042', 'u-1043') AS BLOB)");
    assert!(said(&[&ended]).contains("--sealed"));
    assert!(audit(dir, &["prove", &ended, "--sealed"]).status.success());
    sql(dir, "UPDATE leaves SET line = CAST(replace(CAST(line AS TEXT), 'path-denied', 'rule-denied') AS BLOB)");
    assert!(said(&[&ended]).contains("the store was changed"));
    sql(dir, "DELETE FROM leaves WHERE position = 2");
    assert!(said(&[&ended, "--sealed"]).contains("leaf 2 of egress-eu-1/b1/w0 is missing"));
    sql(dir, "DELETE FROM checkpoints");
    for text in ["", "{}", "[]", "{\"format\": \"exeat-bundle/v1\", \"decision\": \"a\", \"leaves\": []}"] {
        let output = check(text.as_bytes(), &["--key", &key_option()]);
        assert!(!output.status.success(), "{text}");
        assert!(String::from_utf8(output.stderr).unwrap().contains("proves nothing"), "{text}");
    }
    let output = check(b"{}", &[]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("--key GATEWAY=KEY"));
}
