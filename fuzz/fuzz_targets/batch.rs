//! What a collector takes from the network: any bytes are no batch, or one that reads as it would be written; and of batches that a
//! gateway signed and somebody changed on the way none passes that says something else.
#![no_main]

use exeat_engine::evidence::key::GatewayKey;
use exeat_engine::evidence::{BatchLimits, CheckpointKey, CompactRange, Hash, ParsedBatch};
use exeat_fuzz::world::{GATEWAY_SEED, batches};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

/// What one gateway sent, one batch after the other.
static SENT: LazyLock<Vec<Vec<u8>>> = LazyLock::new(batches);

/// All of its records, and all openings with the leaf that each is of.
static TRUE: LazyLock<(Vec<String>, Vec<String>)> = LazyLock::new(|| {
    let (mut records, mut openings) = (Vec::new(), Vec::new());
    for batch in &*SENT {
        let batch = ParsedBatch::parse(batch, &BatchLimits::default()).expect("a gateway writes batches");
        assert_eq!(batch.first, records.len() as u64);
        records.extend(batch.records.into_iter().map(str::to_owned));
        openings.extend(batch.openings.into_iter().map(|(_, line)| line.to_owned()));
    }
    (records, openings)
});

static KEYS: LazyLock<[CheckpointKey; 1]> = LazyLock::new(|| {
    let public = GatewayKey::from_seed(GATEWAY_SEED).public();
    [CheckpointKey::new("egress-test", public).expect("a key")]
});

fuzz_target!(|data: &[u8]| {
    take(data);
    let _ = changed(&mut Unstructured::new(data)).map(|batch| take(&batch));
});

/// A batch that was sent, with edits.
fn changed(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut bytes = input.choose(&SENT)?.clone();
    for _ in 0..input.int_in_range(1..=4)? {
        let from = input.choose_index(bytes.len().max(1))?.min(bytes.len());
        let to = (from + input.int_in_range(0..=80)?).min(bytes.len());
        match input.int_in_range(0..=4)? {
            0 => drop(bytes.drain(from..to)),
            1 => {
                let count = input.int_in_range(0..=16)?;
                bytes.splice(from..to, input.bytes(count)?.iter().copied());
            }
            2 => {
                let piece = bytes[from..to].to_vec();
                bytes.splice(from..from, piece);
            }
            // Whole lines, of this batch or another: moved, dropped, doubled.
            3 => {
                let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
                let other = input.choose(&SENT)?;
                let line = *input.choose(&other.split_inclusive(|byte| *byte == b'\n').collect::<Vec<_>>())?;
                let at = input.choose_index(lines.len().max(1))?.min(lines.len());
                match input.int_in_range(0..=2)? {
                    0 => lines.insert(at, line),
                    1 if at < lines.len() => drop(lines.remove(at)),
                    _ if !lines.is_empty() => {
                        let last = lines.len() - 1;
                        lines.swap(at.min(last), last / 2);
                    }
                    _ => {}
                }
                bytes = lines.concat();
            }
            _ => {
                if let Some(byte) = bytes.get_mut(from) {
                    *byte ^= 1 << input.int_in_range(0..=7)?;
                }
            }
        }
    }
    Ok(bytes)
}

fn take(bytes: &[u8]) {
    let batch = match ParsedBatch::parse(bytes, &BatchLimits::default()) {
        Ok(batch) => batch,
        Err(error) => {
            assert!(!error.to_string().chars().any(char::is_control), "more than a line: {error}");
            return;
        }
    };
    // Its parts, written out, are the bytes: nothing of them was passed over.
    let first = usize::try_from(batch.first).ok();
    let records: String = batch.records.iter().flat_map(|line| [line, "\n"]).collect();
    let openings: String = batch.openings.iter().flat_map(|(_, line)| [line, "\n"]).collect();
    let Ok(verified) = batch.checkpoint.clone().verify(&*KEYS) else { return };
    let note = verified.note();
    let end = if openings.is_empty() { String::new() } else { format!("\n{openings}") };
    assert_eq!(String::from_utf8_lossy(bytes), format!("{records}\n{note}{end}"));
    // The signature is that of the gateway: what it says is of its log, as it was or is.
    let (all, all_openings) = &*TRUE;
    let head = &verified.checkpoint().head;
    let size = usize::try_from(head.size).expect("a size that the gateway signed");
    let range_of = |lines: &mut dyn Iterator<Item = &str>| {
        let mut range = CompactRange::new();
        lines.for_each(|line| range.append(Hash::of_leaf(line.as_bytes())));
        range.root()
    };
    let log = all.iter().map(String::as_str);
    assert_eq!(range_of(&mut log.clone().take(size)), head.root, "a head that the gateway never had");
    // A collector that has the log up to there takes it only where root and records fit: then they are the gateway's.
    let first = first.expect("not more than the size");
    let root = range_of(&mut log.clone().take(first).chain(batch.records.iter().copied()));
    let fits = root == head.root;
    assert_eq!(fits, log.skip(first).take(size - first).eq(batch.records.iter().copied()));
    for (opening, line) in batch.openings.iter().filter(|_| fits) {
        let leaf = usize::try_from(opening.leaf).ok().and_then(|leaf| all.get(leaf)).expect("a leaf of the batch");
        if opening.verify(leaf.as_bytes()).is_ok() {
            let of = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("an opening is JSON");
            assert!(all_openings.iter().any(|known| of(known) == of(line)), "an opening that nobody made: {line}");
        }
    }
}
