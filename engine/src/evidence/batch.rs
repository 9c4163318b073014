//! A batch: what goes to a collector in one request. Bytes, with LF as the only line end:
//!
//! ```text
//! batch    = *(record LF) LF note [LF 1*(opening LF)]
//! note     = 1*(text LF) LF 1*(signature LF)
//! ```
//!
//! A heartbeat has no records and so begins with the empty line. The first record is leaf `size - records` of the log,
//! where `size` is that of the checkpoint. No line holds control characters, so the empty lines divide without doubt.

use super::checkpoint::{CheckpointError, UnverifiedCheckpoint};
use super::commitment::{Opening, OpeningError};
use std::fmt;

/// Longest record or opening, in bytes.
pub const MAX_LINE: usize = 256 * 1024;

/// Most openings of one leaf. With their order this bounds the work of opening: each leaf is read that often at most.
pub const MAX_OPENINGS_OF_LEAF: usize = 16;

/// What a reader takes. Bytes of the whole batch are the caller's to bound, before it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Most records.
    pub records: usize,
    /// Most openings.
    pub openings: usize,
    /// Longest record or opening, in bytes.
    pub line: usize,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { records: 65_536, openings: 4 * 65_536, line: MAX_LINE }
    }
}

/// Why bytes are not a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BatchError {
    /// Not UTF-8.
    Utf8,
    /// No empty line that ends the records, or the last line does not end.
    Form,
    /// Record number n (from 0) is empty of JSON: it does not begin with `{` and end with `}`.
    Record(usize),
    /// A control character other than LF.
    Control,
    /// A line longer than allowed.
    LineTooLong,
    /// More records than allowed.
    TooManyRecords,
    /// More openings than allowed.
    TooManyOpenings,
    /// More records than the checkpoint's size.
    Size,
    /// The checkpoint.
    Checkpoint(CheckpointError),
    /// An opening: its number (from 0), and why.
    Opening(usize, OpeningError),
    /// Opening number n is of a leaf that is not in this batch.
    OpeningLeaf(usize),
    /// Opening number n is of an earlier leaf than the one before it, or one too many of its leaf.
    OpeningOrder(usize),
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Utf8 => f.write_str("the batch is not UTF-8"),
            Self::Form => {
                f.write_str("a batch is records, an empty line, a checkpoint, and openings after another empty line")
            }
            Self::Record(n) => write!(f, "record {n} of the batch is not a JSON object"),
            Self::Control => f.write_str("the batch holds control characters other than newline"),
            Self::LineTooLong => f.write_str("a line of the batch is too long"),
            Self::TooManyRecords => f.write_str("the batch has too many records"),
            Self::TooManyOpenings => f.write_str("the batch has too many openings"),
            Self::Size => f.write_str("the batch has more records than its checkpoint has leaves"),
            Self::Checkpoint(error) => write!(f, "checkpoint: {error}"),
            Self::Opening(n, error) => write!(f, "opening {n} of the batch: {error}"),
            Self::OpeningLeaf(n) => write!(f, "opening {n} of the batch is of a leaf that the batch does not hold"),
            Self::OpeningOrder(n) => {
                write!(f, "opening {n} of the batch is out of order, or its leaf has more than {MAX_OPENINGS_OF_LEAF}")
            }
        }
    }
}

impl std::error::Error for BatchError {}

/// A batch that was read. Nothing in it is verified: not the signature, not that the records give the root, not that the
/// openings open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedBatch<'a> {
    /// Records, in the order of their leaves.
    pub records: Vec<&'a str>,
    /// The checkpoint.
    pub checkpoint: UnverifiedCheckpoint<'a>,
    /// Index of the first record's leaf; for a heartbeat, the size.
    pub first: u64,
    /// Openings, with their lines, in the order of their leaves. Each is of a leaf of this batch.
    pub openings: Vec<(Opening, &'a str)>,
}

impl<'a> ParsedBatch<'a> {
    /// Takes a batch apart. Memory: a pointer for each record beyond the bytes themselves, and the openings.
    pub fn parse(bytes: &'a [u8], limits: &BatchLimits) -> Result<Self, BatchError> {
        let text = std::str::from_utf8(bytes).map_err(|_| BatchError::Utf8)?;
        if text.bytes().any(|b| (b < 0x20 && b != b'\n') || b == 0x7f) {
            return Err(BatchError::Control);
        }
        let (records, rest) = split_records(text, limits)?;
        let (note, openings) = split_note(rest).ok_or(BatchError::Form)?;
        let checkpoint = UnverifiedCheckpoint::parse(note.as_bytes()).map_err(BatchError::Checkpoint)?;
        let size = checkpoint.claimed().head.size;
        let first = u64::try_from(records.len()).ok().and_then(|n| size.checked_sub(n)).ok_or(BatchError::Size)?;
        let openings = match openings {
            Some(openings) => parse_openings(openings, limits, first..size)?,
            None => Vec::new(),
        };
        Ok(Self { records, checkpoint, first, openings })
    }
}

/// Writes a batch. `records` and `openings` are lines without newline, `note` a signed note.
pub(super) fn write<'a>(
    records: impl Iterator<Item = &'a str>,
    note: &str,
    openings: impl Iterator<Item = &'a str>,
    capacity: usize,
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(capacity);
    let mut line = |text: &str| {
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(b'\n');
    };
    records.for_each(&mut line);
    line("");
    line(note.strip_suffix('\n').unwrap_or(note));
    let mut openings = openings.peekable();
    if openings.peek().is_some() {
        line("");
        openings.for_each(&mut line);
    }
    bytes
}

fn split_records<'a>(text: &'a str, limits: &BatchLimits) -> Result<(Vec<&'a str>, &'a str), BatchError> {
    let mut records = Vec::new();
    let mut rest = text;
    loop {
        let (line, after) = rest.split_once('\n').ok_or(BatchError::Form)?;
        rest = after;
        if line.is_empty() {
            return Ok((records, rest));
        }
        if records.len() >= limits.records {
            return Err(BatchError::TooManyRecords);
        }
        if line.len() > limits.line {
            return Err(BatchError::LineTooLong);
        }
        if !line.starts_with('{') || !line.ends_with('}') {
            return Err(BatchError::Record(records.len()));
        }
        records.push(line);
    }
}

/// The note, and what follows the empty line after it. A checkpoint's text has no empty lines, so the first one divides
/// text and signatures and the second, if any, ends the note.
fn split_note(rest: &str) -> Option<(&str, Option<&str>)> {
    let text_end = rest.find("\n\n")?;
    let (text, signatures) = rest.split_at_checked(text_end.checked_add(2)?)?;
    let Some(end) = signatures.find("\n\n") else { return Some((rest, None)) };
    let note_end = text.len().checked_add(end)?.checked_add(1)?;
    let (note, openings) = rest.split_at_checked(note_end)?;
    Some((note, Some(openings.strip_prefix('\n')?)))
}

fn parse_openings<'a>(
    text: &'a str,
    limits: &BatchLimits,
    leaves: std::ops::Range<u64>,
) -> Result<Vec<(Opening, &'a str)>, BatchError> {
    let lines = text.strip_suffix('\n').ok_or(BatchError::Form)?;
    let mut openings: Vec<(Opening, &str)> = Vec::new();
    let mut of_leaf = 0;
    for (n, line) in lines.split('\n').enumerate() {
        if n >= limits.openings {
            return Err(BatchError::TooManyOpenings);
        }
        if line.len() > limits.line {
            return Err(BatchError::LineTooLong);
        }
        let opening = Opening::parse(line).map_err(|error| BatchError::Opening(n, error))?;
        if !leaves.contains(&opening.leaf) {
            return Err(BatchError::OpeningLeaf(n));
        }
        let before = openings.last().map(|(opening, _)| opening.leaf);
        of_leaf = if before == Some(opening.leaf) { of_leaf + 1 } else { 1 };
        if before.is_some_and(|before| opening.leaf < before) || of_leaf > MAX_OPENINGS_OF_LEAF {
            return Err(BatchError::OpeningOrder(n));
        }
        openings.push((opening, line));
    }
    Ok(openings)
}

#[cfg(test)]
mod tests {
    use super::super::checkpoint::{Checkpoint, LogHead};
    use super::super::key::GatewayKey;
    use super::super::merkle::Hash;
    use super::super::origin::Origin;
    use super::*;
    use crate::facts::Timestamp;
    use proptest::prelude::*;

    fn note(size: u64) -> String {
        let head = LogHead { origin: Origin::new("g", "b", "v").unwrap(), size, root: Hash::of_empty_tree() };
        Checkpoint { head, time: Timestamp(1), others: vec![] }.sign(&GatewayKey::from_seed([1; 32]))
    }

    fn opening(leaf: u64) -> String {
        Opening { leaf, field: "user".into(), salt: "AAAAAAAAAAAAAAAAAAAAAA==".into(), value: "u".into() }
            .to_line()
            .unwrap()
    }

    fn batch(records: &[&str], size: u64, openings: &[&str]) -> Vec<u8> {
        write(records.iter().copied(), &note(size), openings.iter().copied(), 0)
    }

    fn parse(bytes: &[u8]) -> Result<ParsedBatch<'_>, BatchError> {
        ParsedBatch::parse(bytes, &BatchLimits::default())
    }

    #[test]
    fn reads_back_what_was_written() {
        let bytes = batch(&["{\"a\":1}", "{\"b\":2}"], 7, &[&opening(5), &opening(6)]);
        let read = parse(&bytes).unwrap();
        assert_eq!(read.records, ["{\"a\":1}", "{\"b\":2}"]);
        assert_eq!((read.first, read.checkpoint.claimed().head.size), (5, 7));
        assert_eq!(read.openings.iter().map(|(opening, _)| opening.leaf).collect::<Vec<_>>(), [5, 6]);

        let bytes = batch(&["{}"], 1, &[]);
        assert_eq!(bytes, format!("{{}}\n\n{}", note(1)).as_bytes());
        assert_eq!(parse(&bytes).unwrap().openings, []);
    }

    #[test]
    fn a_heartbeat_begins_with_the_empty_line() {
        let bytes = batch(&[], 4, &[]);
        assert_eq!(bytes, format!("\n{}", note(4)).as_bytes());
        let read = parse(&bytes).unwrap();
        assert_eq!((read.records.len(), read.first), (0, 4));
    }

    #[test]
    fn refuses_what_is_not_a_batch() {
        let good = String::from_utf8(batch(&["{}"], 1, &[&opening(0)])).unwrap();
        assert!(parse(good.as_bytes()).is_ok());
        let n = note(1);
        for (text, expected) in [
            (String::new(), BatchError::Form),
            ("{}\n".into(), BatchError::Form),
            ("{}\n\n".into(), BatchError::Form),
            (format!("{{}}\n{n}"), BatchError::Record(1)),
            (good.trim_end().into(), BatchError::Form),
            (format!("{good}\n"), BatchError::Opening(1, OpeningError::Form)),
            (good.replace("{}\n", "{}\r\n"), BatchError::Control),
            (good.replace("{}\n", "{\t}\n"), BatchError::Control),
            (good.replace("{}\n", "{\u{7f}}\n"), BatchError::Control),
            (good.replace("{}\n", "[]\n"), BatchError::Record(0)),
            (good.replace("{}\n", "{}\n{}\n"), BatchError::Size),
            (good.replace("\"leaf\":0", "\"leaf\":1"), BatchError::OpeningLeaf(0)),
            (format!("{{}}\n\n{n}\n"), BatchError::Form),
            (format!("{{}}\n\n{n}\n\n"), BatchError::Opening(0, OpeningError::Form)),
            (format!("{{}}\n\n\n{n}"), BatchError::Form),
        ] {
            let result = parse(text.as_bytes());
            assert!(
                result == Err(expected) || (expected == BatchError::Form && result.is_err()),
                "{text:?}: {result:?}"
            );
        }
        assert_eq!(parse(b"\xff").unwrap_err(), BatchError::Utf8);
        let of_one = opening(0);
        let (most, more) = (vec![of_one.as_str(); 16], vec![of_one.as_str(); 17]);
        assert!(parse(&batch(&["{}"], 1, &most)).is_ok());
        assert_eq!(parse(&batch(&["{}"], 1, &more)).unwrap_err(), BatchError::OpeningOrder(16));
        let back = batch(&["{}", "{}"], 2, &[&opening(1), &of_one]);
        assert_eq!(parse(&back).unwrap_err(), BatchError::OpeningOrder(1));
        let limits = BatchLimits { records: 1, openings: 1, line: 300 };
        let long = format!("{{{}}}", " ".repeat(300));
        for (bytes, expected) in [
            (batch(&["{}", "{}"], 2, &[]), BatchError::TooManyRecords),
            (batch(&["{}"], 1, &[&opening(0), &opening(0)]), BatchError::TooManyOpenings),
            (batch(&[&long], 1, &[]), BatchError::LineTooLong),
        ] {
            assert_eq!(ParsedBatch::parse(&bytes, &limits).unwrap_err(), expected);
        }
    }

    proptest! {
        #[test]
        fn every_batch_reads_back(
            records in prop::collection::vec("\\{[ -~é]{0,20}\\}", 0..8),
            before in 0_u64..1000,
            opened in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        ) {
            let size = before + records.len() as u64;
            let opened = if records.is_empty() { vec![] } else { opened };
            let mut opened: Vec<u64> = opened.iter().map(|i| before + i.index(records.len()) as u64).collect();
            opened.sort_unstable();
            let openings: Vec<String> = opened.into_iter().map(opening).collect();
            let bytes = write(records.iter().map(String::as_str), &note(size), openings.iter().map(String::as_str), 0);
            let read = parse(&bytes).unwrap();
            prop_assert_eq!(read.first, before);
            prop_assert_eq!(read.records, records);
            prop_assert_eq!(read.openings.iter().map(|(_, line)| (*line).to_owned()).collect::<Vec<_>>(), openings);
        }

        #[test]
        fn damaged_batches_never_panic(at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
            let mut bytes = batch(&["{\"a\":1}"], 7, &[&opening(6)]);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes.truncate(cut.index(bytes.len() + 1));
            let _ = parse(&bytes);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            prop_assert!(parse(&bytes).is_err());
        }
    }
}
