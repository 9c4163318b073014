//! Checkpoints (<https://c2sp.org/tlog-checkpoint>): what a gateway signs about a log.
//!
//! ```text
//! <origin>
//! <size>
//! <root>
//! time <milliseconds since the Unix epoch>
//! vm <origin> <size> <root>        (for each other VM of the process)
//!
//! — <gateway id> <base64 of key id and Ed25519 signature>
//! ```

use super::key::{CheckpointKey, GatewayKey};
use super::merkle::Hash;
use super::note::{self, NoteError, UnverifiedNote};
use super::origin::{Origin, OriginError};
use crate::facts::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fmt::Write as _;

/// Most other VMs a checkpoint names.
pub const MAX_OTHERS: usize = 1024;

/// A log at a size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogHead {
    /// The log.
    pub origin: Origin,
    /// Number of leaves.
    pub size: u64,
    /// Root over them.
    pub root: Hash,
}

/// The last checkpoints of a gateway's previous boot, as a collector reports them: one for each of its logs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastHeads {
    /// That boot; absent when the collector knows none.
    pub boot: Option<String>,
    /// Its logs.
    pub logs: Vec<LogHead>,
}

/// What a checkpoint states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log it is of.
    pub head: LogHead,
    /// When it was signed.
    pub time: Timestamp,
    /// The other logs of the process, as far as each had come.
    pub others: Vec<LogHead>,
}

/// Why bytes are not a checkpoint, or not one to trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The note around it.
    Note(NoteError),
    /// The bytes are not UTF-8.
    Utf8,
    /// Fewer than three lines, or an empty one.
    Lines,
    /// The first line.
    Origin(OriginError),
    /// The size is not a decimal number without leading zeros, below 2^64.
    Size,
    /// The root is not the base64 of 32 bytes.
    Root,
    /// Not exactly one `time` line that holds milliseconds in decimal.
    Time,
    /// A `vm` line that is not `vm <origin> <size> <root>`, names a log twice, or its own.
    Vm,
    /// More than 1,024 `vm` lines.
    TooManyVms,
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note(error) => return error.fmt(f),
            Self::Origin(error) => return error.fmt(f),
            Self::Utf8 => "a checkpoint is not UTF-8",
            Self::Lines => "a checkpoint has at least three lines, none of them empty",
            Self::Size => "the size is not a decimal number without leading zeros",
            Self::Root => "the root is not the base64 of 32 bytes",
            Self::Time => "a checkpoint has exactly one line `time <milliseconds>`",
            Self::Vm => "a line is not `vm <origin> <size> <root>` of one other log",
            Self::TooManyVms => "a checkpoint names more than 1024 other logs",
        })
    }
}

impl std::error::Error for CheckpointError {}

impl From<NoteError> for CheckpointError {
    fn from(error: NoteError) -> Self {
        Self::Note(error)
    }
}

impl Checkpoint {
    /// The signed note. The key's name is the gateway id.
    pub fn sign(&self, key: &GatewayKey) -> String {
        note::sign(&self.to_text(), self.head.origin.gateway(), key)
    }

    /// The note text, with its last newline.
    fn to_text(&self) -> String {
        let LogHead { origin, size, root } = &self.head;
        let mut text = format!("{origin}\n{size}\n{root}\ntime {}\n", self.time.millis());
        for LogHead { origin, size, root } in &self.others {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "vm {origin} {size} {root}");
        }
        text
    }

    fn parse(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.strip_suffix('\n').ok_or(CheckpointError::Lines)?.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(CheckpointError::Lines);
        };
        let head = LogHead {
            origin: Origin::parse(origin).map_err(CheckpointError::Origin)?,
            size: decimal(size).ok_or(CheckpointError::Size)?,
            root: Hash::parse(root).ok_or(CheckpointError::Root)?,
        };
        let (mut time, mut others) = (None, Vec::new());
        let mut named = std::collections::BTreeSet::from([head.origin.clone()]);
        for line in lines {
            match line.split_once(' ') {
                _ if line.is_empty() => return Err(CheckpointError::Lines),
                Some(("time", value)) => {
                    let value = decimal(value).ok_or(CheckpointError::Time)?;
                    if time.replace(Timestamp(value)).is_some() {
                        return Err(CheckpointError::Time);
                    }
                }
                Some(("vm", rest)) => {
                    let other = LogHead::parse(rest).ok_or(CheckpointError::Vm)?;
                    if others.len() == MAX_OTHERS {
                        return Err(CheckpointError::TooManyVms);
                    }
                    if !named.insert(other.origin.clone()) {
                        return Err(CheckpointError::Vm);
                    }
                    others.push(other);
                }
                // tlog-checkpoint: extension lines that one does not know are opaque.
                _ => {}
            }
        }
        Ok(Self { head, time: time.ok_or(CheckpointError::Time)?, others })
    }
}

impl LogHead {
    /// From `<origin> <size> <root>`.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let head = Self {
            origin: Origin::parse(parts.next()?).ok()?,
            size: decimal(parts.next()?)?,
            root: Hash::parse(parts.next()?)?,
        };
        parts.next().is_none().then_some(head)
    }
}

/// A checkpoint that was read but not verified. It shows what it claims; only [`verify`](Self::verify) lets that out as a
/// [`Checkpoint`] to rely on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnverifiedCheckpoint<'a> {
    note: UnverifiedNote<'a>,
    bytes: &'a str,
    claimed: Checkpoint,
}

impl<'a> UnverifiedCheckpoint<'a> {
    /// Reads a signed note whose text is a checkpoint.
    pub fn parse(note: &'a [u8]) -> Result<Self, CheckpointError> {
        let bytes = std::str::from_utf8(note).map_err(|_| CheckpointError::Utf8)?;
        let note = UnverifiedNote::parse(bytes)?;
        let claimed = Checkpoint::parse(note.text())?;
        Ok(Self { note, bytes, claimed })
    }

    /// What it claims, and nobody vouches for yet.
    pub fn claimed(&self) -> &Checkpoint {
        &self.claimed
    }

    /// Checks the signature of the gateway that the origin names. Keys of other gateways do not count, even where they
    /// signed.
    pub fn verify(self, keys: &[CheckpointKey]) -> Result<VerifiedCheckpoint, CheckpointError> {
        let gateway = self.claimed.head.origin.gateway();
        let own: Vec<CheckpointKey> = keys.iter().filter(|key| key.name() == gateway).cloned().collect();
        self.note.verify(&own)?;
        Ok(VerifiedCheckpoint { checkpoint: self.claimed, note: self.bytes.to_owned() })
    }
}

/// A checkpoint that the gateway it names has signed. Made only by [`UnverifiedCheckpoint::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCheckpoint {
    checkpoint: Checkpoint,
    note: String,
}

impl VerifiedCheckpoint {
    /// What it states.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The exact bytes of the signed note.
    pub fn note(&self) -> &str {
        &self.note
    }
}

/// A decimal number as checkpoints write it: digits only, no leading zero.
pub(super) fn decimal(text: &str) -> Option<u64> {
    if !text.bytes().all(|b| b.is_ascii_digit()) || (text.len() > 1 && text.starts_with('0')) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secret() -> GatewayKey {
        GatewayKey::from_seed([7; 32])
    }

    fn keys() -> Vec<CheckpointKey> {
        vec![CheckpointKey::new("egress-eu-1", secret().public()).unwrap()]
    }

    fn head(vm: &str, size: u64) -> LogHead {
        let origin = Origin::new("egress-eu-1", "b1", vm).unwrap();
        LogHead { origin, size, root: Hash::of_leaf(&size.to_be_bytes()) }
    }

    fn verify(note: &str) -> Result<Checkpoint, CheckpointError> {
        Ok(UnverifiedCheckpoint::parse(note.as_bytes())?.verify(&keys())?.checkpoint)
    }

    #[test]
    fn reads_back_what_it_signed() {
        let checkpoint = Checkpoint {
            head: head("w0", 5),
            time: Timestamp(1_763_600_000_123),
            others: vec![head("w1", 0), head("w2", 9)],
        };
        let note = checkpoint.sign(&secret());
        assert!(note.starts_with("egress-eu-1/b1/w0\n5\n"), "{note}");
        assert!(note.contains("\ntime 1763600000123\nvm egress-eu-1/b1/w1 0 "), "{note}");
        assert_eq!(verify(&note), Ok(checkpoint));
    }

    #[test]
    fn a_gateway_cannot_sign_for_another() {
        let mallory = GatewayKey::from_seed([9; 32]);
        let checkpoint = Checkpoint { head: head("w0", 5), time: Timestamp(1), others: vec![] };
        let note = note::sign(&checkpoint.to_text(), "mallory", &mallory);
        let mut all = keys();
        all.push(CheckpointKey::new("mallory", mallory.public()).unwrap());
        let result = UnverifiedCheckpoint::parse(note.as_bytes()).unwrap().verify(&all);
        assert_eq!(result, Err(CheckpointError::Note(NoteError::UnknownKey)));
    }

    #[test]
    fn refuses_malformed_text() {
        let root = Hash::of_empty_tree();
        let signed = |text: &str| note::sign(text, "egress-eu-1", &secret());
        let vm = format!("vm egress-eu-1/b1/w1 1 {root}\n");
        for (text, expected) in [
            ("egress-eu-1/b1/w0\n5\n".to_owned(), CheckpointError::Lines),
            (format!("egress-eu-1/b1/w0\n5\n{root}\n"), CheckpointError::Time),
            (format!("egress-eu-1/b1/w0\n05\n{root}\ntime 1\n"), CheckpointError::Size),
            (format!("egress-eu-1/b1/w0\n+5\n{root}\ntime 1\n"), CheckpointError::Size),
            (format!("egress-eu-1/b1/w0\n\n{root}\ntime 1\n"), CheckpointError::Size),
            (format!("egress-eu-1/b1/w0\n18446744073709551616\n{root}\ntime 1\n"), CheckpointError::Size),
            (format!("egress-eu-1\n5\n{root}\ntime 1\n"), CheckpointError::Origin(OriginError::Parts)),
            ("egress-eu-1/b1/w0\n5\nAAAA\ntime 1\n".to_owned(), CheckpointError::Root),
            (format!("egress-eu-1/b1/w0\n5\n{root}\ntime -1\n"), CheckpointError::Time),
            (format!("egress-eu-1/b1/w0\n5\n{root}\ntime 1\ntime 1\n"), CheckpointError::Time),
            (format!("egress-eu-1/b1/w0\n5\n{root}\n\ntime 1\n"), CheckpointError::Lines),
            (format!("egress-eu-1/b1/w0\n5\n{root}\ntime 1\n{vm}{vm}"), CheckpointError::Vm),
            (format!("egress-eu-1/b1/w0\n5\n{root}\ntime 1\nvm egress-eu-1/b1/w0 1 {root}\n"), CheckpointError::Vm),
            (format!("egress-eu-1/b1/w0\n5\n{root}\ntime 1\nvm egress-eu-1/b1/w1 1 {root} x\n"), CheckpointError::Vm),
        ] {
            assert_eq!(verify(&signed(&text)), Err(expected), "{text}");
        }
        assert_eq!(UnverifiedCheckpoint::parse(b"\xff\n\n").unwrap_err(), CheckpointError::Utf8);
        // Unknown extension lines are somebody else's business.
        assert!(verify(&signed(&format!("egress-eu-1/b1/w0\n0\n{root}\ntime 1\nhint x y\n"))).is_ok());
    }

    proptest! {
        #[test]
        fn changing_any_byte_breaks_it(at: prop::sample::Index, flip in 1_u8..) {
            let checkpoint = Checkpoint { head: head("w0", 5), time: Timestamp(17), others: vec![head("w1", 3)] };
            let mut note = checkpoint.sign(&secret()).into_bytes();
            let at = at.index(note.len());
            note[at] ^= flip;
            let result = UnverifiedCheckpoint::parse(&note).and_then(|read| read.verify(&keys()));
            prop_assert!(result.is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            prop_assert!(UnverifiedCheckpoint::parse(&bytes).is_err());
        }
    }
}
