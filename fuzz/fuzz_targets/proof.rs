//! Proofs of decisions that somebody hands over: what is read is written as it was, and one that was changed proves nothing but what
//! is true.
#![no_main]

use exeat_engine::evidence::key::GatewayKey;
use exeat_engine::evidence::merkle::proof::inclusion;
use exeat_engine::evidence::{BatchLimits, CheckpointKey, Hash, ParsedBatch, TlogProof};
use exeat_fuzz::world::{GATEWAY_SEED, batches};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

/// The records of a log, and its last checkpoint.
static LOG: LazyLock<(Vec<String>, String)> = LazyLock::new(|| {
    let (mut records, mut note) = (Vec::new(), String::new());
    for batch in batches() {
        let batch = ParsedBatch::parse(&batch, &BatchLimits::default()).expect("a gateway writes batches");
        records.extend(batch.records.into_iter().map(str::to_owned));
        note = batch.checkpoint.verify(&*KEYS).expect("its own key").note().to_owned();
    }
    (records, note)
});

static KEYS: LazyLock<[CheckpointKey; 1]> = LazyLock::new(|| {
    let public = GatewayKey::from_seed(GATEWAY_SEED).public();
    [CheckpointKey::new("egress-test", public).expect("a key")]
});

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        read(text, b"{}");
    }
    let _ = changed(&mut Unstructured::new(data));
});

fn read(text: &str, leaf: &[u8]) {
    let proof = match TlogProof::parse(text) {
        Ok(proof) => proof,
        Err(error) => {
            assert!(!error.to_string().chars().any(char::is_control), "more than a line: {error}");
            return;
        }
    };
    let written = proof.to_string();
    assert_eq!(TlogProof::parse(&written).as_ref(), Ok(&proof));
    // Extra data is the one thing that is passed over.
    assert!(written == text || text.contains("\nextra "), "{text:?}");
    if proof.verify(leaf, &*KEYS).is_ok() {
        let (records, _) = &*LOG;
        let at = usize::try_from(proof.index).ok().and_then(|index| records.get(index));
        assert_eq!(at.map(String::as_bytes), Some(leaf), "a leaf that does not stand there");
    }
}

/// A proof that holds, for a leaf that is there; then either with edits.
fn changed(input: &mut Unstructured<'_>) -> Result<()> {
    let (records, note) = &*LOG;
    let hashes: Vec<Hash> = records.iter().map(|line| Hash::of_leaf(line.as_bytes())).collect();
    let index = input.choose_index(records.len())?;
    let path = inclusion(&hashes, index as u64).expect("a leaf of the log");
    let text = TlogProof { index: index as u64, path, checkpoint: note }.to_string();
    let proof = TlogProof::parse(&text).expect("a proof");
    assert!(proof.verify(records[index].as_bytes(), &*KEYS).is_ok());
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    for _ in 0..input.int_in_range(0..=3)? {
        let at = input.choose_index(lines.len().max(1))?.min(lines.len().saturating_sub(1));
        match input.int_in_range(0..=3)? {
            0 if !lines.is_empty() => drop(lines.remove(at)),
            1 => lines.insert(at, format!("{}\n", input.choose(&hashes)?)),
            2 if !lines.is_empty() => lines.swap(0, at),
            _ => lines.insert(at, format!("index {}\n", input.int_in_range(0..=9)?)),
        }
    }
    read(&lines.concat(), records[input.choose_index(records.len())?].as_bytes());
    Ok(())
}
