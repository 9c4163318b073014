//! The numbered samples of `examples/evidence/`: batches, and what a collector must say of each. Collectors and auditors in
//! other languages check themselves against them. `EXEAT_WRITE_SAMPLES=1 cargo test -p exeat --test evidence samples`
//! writes them anew; without it the test fails while they are not current.

use crate::support::{Collector, GATEWAY, Vm, key, post, seed};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use exeat_engine::evidence::note::key_id;
use exeat_engine::evidence::record::Outcome;
use exeat_engine::evidence::{Checkpoint, CompactRange, GatewayKey, Hash, LogHead};
use exeat_engine::facts::Timestamp;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Sample {
    /// Below 100: to be accepted.
    number: u32,
    name: String,
    about: String,
    /// Public keys, by gateway.
    keys: std::collections::BTreeMap<String, String>,
    /// Batches that were accepted before, in order.
    before: Vec<String>,
    /// The batch.
    batch: String,
    /// `accepted`, or the last part of the problem's type.
    verdict: String,
    /// With `accepted`: what is acknowledged.
    acknowledgement: Option<LogHead>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/evidence")
}

#[test]
fn samples_are_current_and_the_collector_says_what_they_say() {
    let samples = all();
    if std::env::var_os("EXEAT_WRITE_SAMPLES").is_some() {
        let _ = std::fs::remove_dir_all(folder());
        std::fs::create_dir_all(folder()).unwrap();
        for sample in &samples {
            let text = serde_json::to_string_pretty(sample).unwrap() + "\n";
            std::fs::write(folder().join(format!("{:03}-{}.json", sample.number, sample.name)), text).unwrap();
        }
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), samples.len());
    for (file, sample) in files.iter().zip(samples) {
        let stored: Sample = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        assert_eq!(stored, sample, "{} is not current: see the head of this file", file.display());
        let dir = tempfile::tempdir().unwrap();
        let collector = Collector::start(dir.path());
        for batch in &sample.before {
            assert_eq!(post(collector.address, batch.as_bytes()).status, 200, "{}", sample.name);
        }
        let answer = post(collector.address, sample.batch.as_bytes());
        let verdict = if answer.status == 200 { "accepted".to_owned() } else { answer.problem() };
        assert_eq!(verdict, sample.verdict, "{}: {}", sample.name, answer.body);
        assert_eq!(verdict == "accepted", sample.number < 100, "{}", sample.name);
        assert_eq!((verdict == "accepted").then(|| answer.json()), sample.acknowledgement, "{}", sample.name);
    }
}

/// Collects samples, numbering them.
struct Samples {
    all: Vec<Sample>,
    number: u32,
}

impl Samples {
    fn add(&mut self, name: &str, about: &str, before: &[&str], batch: &str, verdict: &str, head: Option<LogHead>) {
        self.number += 1;
        self.all.push(Sample {
            number: self.number,
            name: name.to_owned(),
            about: about.to_owned(),
            keys: [(GATEWAY.to_owned(), key().public_base64())].into(),
            before: before.iter().map(|batch| (*batch).to_owned()).collect(),
            batch: batch.to_owned(),
            verdict: verdict.to_owned(),
            acknowledgement: head,
        });
    }
}

fn next(vm: &mut Vm) -> (String, LogHead) {
    let batch = vm.batch(100).unwrap();
    vm.journal.acknowledged(batch.head()).unwrap();
    (String::from_utf8(batch.bytes().to_vec()).unwrap(), batch.head().clone())
}

/// A batch over lines that no journal would write.
fn signed(lines: &[&str], head: LogHead) -> String {
    let note = Checkpoint { head, time: Timestamp(crate::support::START), others: vec![] }.sign(&key());
    let records: String = lines.iter().map(|line| format!("{line}\n")).collect();
    format!("{records}\n{note}")
}

/// A note over text that no gateway would sign.
fn note(text: &str) -> String {
    let pair = ed25519_compact::KeyPair::from_seed(ed25519_compact::Seed::new(seed()));
    let mut bytes = key_id(GATEWAY, &key().public()).to_vec();
    bytes.extend_from_slice(pair.sk.sign(text, None).as_ref());
    format!("{text}\n\u{2014} {GATEWAY} {}\n", STANDARD.encode(bytes))
}

fn all() -> Vec<Sample> {
    let mut vm = Vm::new("b1", "w0");
    vm.configure();
    let (first, first_head) = next(&mut vm);
    let id = vm.allow();
    vm.deny();
    vm.complete(&id);
    let (second, second_head) = next(&mut vm);
    let heartbeat = vm.heartbeat();
    vm.journal.acknowledged(heartbeat.head()).unwrap();
    let third = String::from_utf8(heartbeat.bytes().to_vec()).unwrap();
    let mut other = Vm::new("b1", "w1");
    other.exchange();
    vm.others = vec![other.journal.head()];
    vm.decide(vm.record(Outcome::WouldDeny), None);
    vm.close();
    let (last, last_head) = next(&mut vm);

    let mut samples = Samples { all: Vec::new(), number: 0 };
    good(&mut samples, [&first, &second, &third, &last], [&first_head, &second_head, &last_head]);
    samples.number = 100;
    changed(&mut samples, &first, &second);
    histories(&mut samples, [&first, &second, &last], &first_head);
    malformed(&mut samples, &first, &first_head);
    samples.all
}

fn good(samples: &mut Samples, batches: [&str; 4], heads: [&LogHead; 3]) {
    let ([first, second, third, last], [first_head, second_head, last_head]) = (batches, heads);
    let accepted = |head: &LogHead| Some(head.clone());
    samples.add("genesis", "The first batch of a log", &[], first, "accepted", accepted(first_head));
    let about = "A decision, a denial and a completion; the opening of a user";
    samples.add("exchange", about, &[first], second, "accepted", accepted(second_head));
    samples.add(
        "heartbeat",
        "A checkpoint without records",
        &[first, second],
        third,
        "accepted",
        accepted(second_head),
    );
    samples.add("again", "What is stored already", &[first, second, third], second, "accepted", accepted(second_head));
    let about = "The last batch of a log; its checkpoint names another VM";
    samples.add("closed", about, &[first, second, third], last, "accepted", accepted(last_head));
    let late = "A batch that begins before the end of what is stored";
    let lines: Vec<&str> = first.lines().take_while(|line| !line.is_empty()).collect();
    let joined = format!("{}\n{second}", lines.join("\n"));
    samples.add("overlap", late, &[first], &joined, "accepted", accepted(second_head));
}

fn changed(samples: &mut Samples, first: &str, second: &str) {
    let mut bad = |name: &str, about: &str, batch: &str, verdict: &str| {
        assert_ne!(batch, second, "{name}");
        samples.add(name, about, &[first], batch, verdict, None);
    };
    let lines: Vec<&str> = second.lines().collect();
    let without = |gone: usize| {
        let kept: Vec<&str> = lines.iter().enumerate().filter(|(n, _)| *n != gone).map(|(_, line)| *line).collect();
        kept.join("\n") + "\n"
    };
    let mut swapped = lines.clone();
    swapped.swap(0, 1);
    let swapped = swapped.join("\n") + "\n";
    let altered = second.replace("path-denied", "rule-denied");
    bad("altered-leaf", "A byte of a leaf was changed", &altered, "root-mismatch");
    let about = "A leaf was left out: the indexes shift, and the opened leaf is no longer in the batch";
    bad("dropped-leaf", about, &without(1), "unreadable");
    // The opening is of the leaf whose place another took.
    bad("swapped-leaves", "Two leaves changed places, so that an opening is of the wrong one", &swapped, "unreadable");
    bad(
        "altered-time",
        "The checkpoint says another time",
        &second.replace("\ntime 17", "\ntime 18"),
        "signature-invalid",
    );
    bad("altered-opening", "The opening says another value", &second.replace("u-1042", "u-1043"), "unreadable");
    bad("moved-opening", "The opening is of another leaf", &second.replace("\"leaf\":2", "\"leaf\":3"), "unreadable");
    bad(
        "foreign-opening",
        "The opening is of a leaf outside the batch",
        &second.replace("\"leaf\":2", "\"leaf\":1"),
        "unreadable",
    );
    bad("carriage-return", "Lines end in CR LF", &second.replace('\n', "\r\n"), "unreadable");
    bad("control", "A raw control character in a record", &second.replacen('{', "{\t", 1), "unreadable");
    bad("no-divider", "No empty line before the checkpoint", &second.replacen("\n\n", "\n", 1), "unreadable");
    bad("empty-end", "An empty line at the end", &format!("{second}\n"), "unreadable");
    bad("cut", "The last newline is missing", second.trim_end(), "unreadable");
}

fn histories(samples: &mut Samples, batches: [&str; 3], first_head: &LogHead) {
    let [first, second, last] = batches;
    samples.add("gap", "Records are missing before these", &[first], last, "gap", None);
    let mut vm = Vm::new("b1", "w0");
    vm.configure();
    next(&mut vm);
    vm.deny();
    let (forked, _) = next(&mut vm);
    let about = "The gateway signed other leaves where it had signed some before";
    samples.add("fork", about, &[first, second], &forked, "fork", None);
    let head = LogHead { root: Hash::of_leaf(b"another history"), ..first_head.clone() };
    samples.add(
        "forked-heartbeat",
        "Another root at a size that is stored",
        &[first],
        &signed(&[], head),
        "fork",
        None,
    );
    let mallory = GatewayKey::from_seed([1; 32]);
    let checkpoint = Checkpoint { head: first_head.clone(), time: Timestamp(crate::support::START), others: vec![] };
    let (records, _) = first.split_once("\n\n").unwrap();
    let forged = format!("{records}\n\n{}", checkpoint.sign(&mallory));
    samples.add("other-key", "Signed in the gateway's name with another key", &[], &forged, "key-unknown", None);
    let renamed = first.replace(GATEWAY, "egress-us-1");
    samples.add("other-gateway", "Of a gateway whose key is not known", &[], &renamed, "key-unknown", None);
}

fn malformed(samples: &mut Samples, first: &str, first_head: &LogHead) {
    let head = |lines: &[&str]| {
        let tree: CompactRange = lines.iter().map(|line| Hash::of_leaf(line.as_bytes())).collect();
        LogHead { size: tree.size(), root: tree.root(), ..first_head.clone() }
    };
    let begun = ["{\"kind\":\"config\",\"time\":1}"];
    let batch = signed(&begun, head(&begun));
    samples.add("no-genesis", "The first leaf is of another kind", &[], &batch, "not-genesis", None);
    let foreign = ["{\"kind\":\"genesis\",\"origin\":\"egress-eu-1/b1/w1\",\"time\":1}"];
    let batch = signed(&foreign, head(&foreign));
    samples.add("foreign-genesis", "The genesis names another log", &[], &batch, "not-genesis", None);
    let (records, _) = first.split_once("\n\n").unwrap();
    let LogHead { origin, size, root } = first_head;
    let vm = format!("vm egress-eu-1/b1/w1 1 {root}\n");
    for (name, about, text) in [
        ("leading-zero", "The size has a leading zero", format!("{origin}\n0{size}\n{root}\ntime 1\n")),
        ("short-root", "The root is too short", format!("{origin}\n{size}\nAAAA\ntime 1\n")),
        ("no-time", "The checkpoint has no time", format!("{origin}\n{size}\n{root}\n")),
        ("two-times", "The checkpoint has two times", format!("{origin}\n{size}\n{root}\ntime 1\ntime 1\n")),
        ("doubled-vm", "The checkpoint names another VM twice", format!("{origin}\n{size}\n{root}\ntime 1\n{vm}{vm}")),
        (
            "own-vm",
            "The checkpoint names its own log as another",
            format!("{origin}\n{size}\n{root}\ntime 1\nvm {origin} {size} {root}\n"),
        ),
        ("small-size", "The size is smaller than the number of records", format!("{origin}\n1\n{root}\ntime 1\n")),
    ] {
        samples.add(name, about, &[], &format!("{records}\n\n{}", note(&text)), "unreadable", None);
    }
}
