//! Files that pass for an evidence store: none brings the collector or the auditor down, and of a store that a gateway filled and somebody
//! changed none verifies that tells something else. What verified still does after the collector has written into it.
#![no_main]

use exeat_cli::audit::coverage::Window;
use exeat_cli::audit::store::EvidenceStore;
use exeat_cli::audit::verify::verify;
use exeat_cli::collect::batch::Submission;
use exeat_cli::collect::keyring::Keyring;
use exeat_cli::collect::store::Store;
use exeat_fuzz::store::{Folder, keyring, stored};
use exeat_fuzz::world::batches;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::new);
static KEYS: LazyLock<Keyring> = LazyLock::new(keyring);

/// What a collector wrote of what one gateway sent.
static STORED: LazyLock<Vec<u8>> = LazyLock::new(|| stored(&FOLDER, 2));

/// All that it sent.
static SENT: LazyLock<Vec<Submission>> =
    LazyLock::new(|| batches().iter().map(|batch| Submission::check(batch, &KEYS).expect("a batch")).collect());

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    let file = match first {
        0 => rest.to_vec(),
        _ => changed(&mut Unstructured::new(rest)).unwrap_or_default(),
    };
    let path = FOLDER.write(&file);
    let Some(whole) = verifies(&path) else { return };
    let Ok(mut store) = Store::open(&path) else { return };
    let taken = store.write(&SENT).iter().all(std::result::Result::is_ok);
    drop(store);
    if whole && taken {
        assert_eq!(verifies(&path), Some(true), "the collector broke a store that was whole");
    }
});

/// The store, with edits: bytes, and numbers as the format has them.
fn changed(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut bytes = STORED.clone();
    for _ in 0..input.int_in_range(1..=6)? {
        let at = input.choose_index(bytes.len().max(1))?.min(bytes.len());
        let new = match input.int_in_range(0..=4)? {
            0 => vec![input.arbitrary()?],
            1 => input.arbitrary::<u16>()?.to_be_bytes().to_vec(),
            2 => input.arbitrary::<u32>()?.to_be_bytes().to_vec(),
            3 => {
                let count = input.int_in_range(0..=24)?;
                input.bytes(count)?.to_vec()
            }
            // A piece from elsewhere.
            _ => {
                let from = input.choose_index(bytes.len().max(1))?.min(bytes.len());
                let to = (from + input.int_in_range(0..=4096)?).min(bytes.len());
                bytes[from..to].to_vec()
            }
        };
        let to = (at + new.len()).min(bytes.len());
        bytes[at..to].copy_from_slice(&new[..to - at]);
    }
    Ok(bytes)
}

/// Whether the auditor finds nothing; `None` where it cannot read the file. What it finds nothing wrong with is what the gateway sent.
fn verifies(path: &std::path::Path) -> Option<bool> {
    let store = EvidenceStore::open(path).ok()?;
    let report = verify(&store, &KEYS, &Window::default(), &[]).ok()?;
    if !report.findings.is_empty() {
        for finding in &report.findings {
            assert!(!finding.to_string().chars().any(char::is_control), "more than a line: {finding}");
        }
        return Some(false);
    }
    let sent: Vec<&str> = SENT.iter().flat_map(|batch| &batch.leaves).map(|leaf| leaf.line.as_str()).collect();
    for log in store.logs().expect("it was read just now") {
        assert_eq!(log.origin, "egress-test/b/1");
        let each = |position: i64, line: &[u8]| {
            let expected = usize::try_from(position).ok().and_then(|at| sent.get(at)).map(|line| line.as_bytes());
            assert_eq!(Some(line), expected, "leaf {position} is another, and nothing was found");
            Ok::<_, anyhow::Error>(true)
        };
        store.leaves(log.id, each).expect("it was read just now");
    }
    Some(true)
}
