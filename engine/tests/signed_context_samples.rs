//! The samples of `examples/signed-context/` are those the program makes, and the engine says of each what it says.

#![cfg(test)]

#[path = "../examples/signed_context_samples/format.rs"]
mod format;
#[path = "../examples/signed_context_samples/samples/mod.rs"]
mod samples;

use exeat_engine::context::{DataClass, Provenance, SessionType};
use exeat_engine::decision::Reason;
use format::Sample;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

fn on_disk() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/signed-context");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(&path).unwrap()))
        .collect()
}

#[test]
fn the_samples_on_disk_are_current() {
    let made: BTreeMap<String, String> =
        samples::all().unwrap().iter().map(|sample| (sample.file_name(), sample.to_text().unwrap())).collect();
    assert!(made == on_disk(), "run: cargo run -p exeat-engine --example signed_context_samples");
}

#[test]
fn every_sample_gets_its_verdict() {
    let mut numbers = BTreeSet::new();
    for (file, text) in on_disk() {
        let sample: Sample = serde_json::from_str(&text).unwrap();
        let (verdict, detail) = sample.evaluate().unwrap();
        assert_eq!((verdict.as_str(), detail.as_str()), (sample.verdict.as_str(), sample.detail.as_str()), "{file}");
        assert_eq!(verdict == "permitted", sample.number < 100, "{file}: {detail}");
        assert!(numbers.insert(sample.number), "{file}: the number is taken");
    }
    assert!(numbers.len() >= 50);
}

/// A reason that no sample shows is one that nobody can check.
#[test]
fn every_reason_of_the_signed_context_has_a_sample() {
    let shown: BTreeSet<String> = samples::all().unwrap().into_iter().map(|sample| sample.verdict).collect();
    // Whether a nonce was used before is the ledger's to say, not that of one request.
    for reason in Reason::ALL.iter().filter(|reason| reason.status() == 401 && **reason != Reason::SignatureReplayed) {
        assert!(shown.contains(reason.code()), "{reason}");
    }
}

#[test]
fn the_documentation_shows_sample_17_and_every_word() {
    let docs = include_str!("../../docs/signed-context.md");
    let sample = samples::all().unwrap().into_iter().find(|sample| sample.number == 17).unwrap();
    let base = sample.signature_base.unwrap();
    for block in [sample.request.headers.join("\n"), base] {
        assert!(docs.contains(&format!("```\n{block}\n```")), "{block}");
    }
    let words = SessionType::WORDS.iter().map(|(_, word)| word).chain(DataClass::WORDS.iter().map(|(_, word)| word));
    for word in words.chain(Provenance::WORDS.iter().map(|(_, word)| word)) {
        assert!(docs.contains(&format!("`{word}`")), "{word}");
    }
    for reason in Reason::ALL.iter().filter(|reason| reason.status() == 401) {
        assert!(docs.contains(&format!("`{reason}`")), "{reason}");
    }
    assert!(docs.contains(&sample.request.body) && docs.contains(&sample.request.path.unwrap()));
}
