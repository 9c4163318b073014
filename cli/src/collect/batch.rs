//! From the bytes of a request to a batch that its gateway signed and whose openings open.

use super::keyring::Keyring;
use super::problem::Problem;
use exeat_engine::evidence::checkpoint::CheckpointError;
use exeat_engine::evidence::note::NoteError;
use exeat_engine::evidence::{BatchLimits, Hash, LogHead, ParsedBatch, VerifiedCheckpoint};

/// A record: its line and its leaf hash.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// The line.
    pub line: String,
    /// Its hash.
    pub hash: Hash,
}

/// An opening that opens its leaf.
#[derive(Clone, Debug)]
pub struct StoredOpening {
    /// Index of the leaf.
    pub leaf: u64,
    /// Field.
    pub field: String,
    /// The line.
    pub line: String,
}

/// A batch whose checkpoint is signed by the gateway that it names. Whether its records give the root is the store's to
/// find out: that takes the leaves before them.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The checkpoint.
    pub checkpoint: VerifiedCheckpoint,
    /// Index of the first record.
    pub first: u64,
    /// Records.
    pub leaves: Vec<Leaf>,
    /// Openings.
    pub openings: Vec<StoredOpening>,
}

impl Submission {
    /// Checks a body. Cost: a signature, and a hash over each record.
    pub fn check(body: &[u8], keys: &Keyring) -> Result<Self, Problem> {
        let batch = ParsedBatch::parse(body, &BatchLimits::default()).map_err(|error| Problem::unreadable(&error))?;
        let gateway = batch.checkpoint.claimed().head.origin.gateway().to_owned();
        let checkpoint = batch.checkpoint.verify(keys.keys()).map_err(|error| match error {
            CheckpointError::Note(NoteError::UnknownKey) => Problem::key_unknown(&gateway, keys.knows(&gateway)),
            _ => Problem::signature_invalid(&gateway),
        })?;
        // SQLite counts to 2^63; no log comes near it.
        if i64::try_from(checkpoint.checkpoint().head.size).is_err()
            || i64::try_from(checkpoint.checkpoint().time.millis()).is_err()
        {
            return Err(Problem::unreadable(&"size or time is beyond 2^63"));
        }
        let leaves: Vec<Leaf> = batch
            .records
            .iter()
            .map(|line| Leaf { line: (*line).to_owned(), hash: Hash::of_leaf(line.as_bytes()) })
            .collect();
        let mut openings = Vec::with_capacity(batch.openings.len());
        for (opening, line) in batch.openings {
            let leaf = opening.leaf.checked_sub(batch.first).and_then(|n| leaves.get(usize::try_from(n).ok()?));
            let leaf = leaf.ok_or_else(|| Problem::unreadable(&"an opening is of a leaf outside the batch"))?;
            opening.verify(leaf.line.as_bytes()).map_err(|error| {
                Problem::unreadable(&format!("the opening of {:?} of leaf {}: {error}", opening.field, opening.leaf))
            })?;
            openings.push(StoredOpening { leaf: opening.leaf, field: opening.field, line: line.to_owned() });
        }
        Ok(Self { checkpoint, first: batch.first, leaves, openings })
    }

    /// The log at the size that the checkpoint seals.
    pub fn head(&self) -> &LogHead {
        &self.checkpoint.checkpoint().head
    }
}
