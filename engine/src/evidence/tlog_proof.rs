//! A leaf's place in a log, as a file that can be checked offline: <https://c2sp.org/tlog-proof>.
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! index <decimal>
//! <hash, base64>                   (from the leaf's sibling up to the root's child)
//!
//! <signed checkpoint>
//! ```

use super::checkpoint::{CheckpointError, UnverifiedCheckpoint, VerifiedCheckpoint, decimal};
use super::key::CheckpointKey;
use super::merkle::Hash;
use super::merkle::proof::{ProofError, verify_inclusion};
use std::fmt;

/// The first line.
pub const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// The longest path in a tree whose size has 64 bits.
const MAX_HASHES: usize = 64;

/// A proof that was read but not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof<'a> {
    /// Index of the leaf.
    pub index: u64,
    /// The path, from the leaf's sibling up.
    pub path: Vec<Hash>,
    /// The signed note.
    pub checkpoint: &'a str,
}

/// Why text is no proof, or none to rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlogProofError {
    /// The first line is another.
    Header,
    /// No `index` line with a decimal number follows.
    Index,
    /// A line of the path is not the base64 of 32 bytes, or there are more than 64.
    Path,
    /// No empty line divides path and checkpoint.
    Divider,
    /// The checkpoint.
    Checkpoint(CheckpointError),
    /// The path does not lead from the leaf to the root that is signed.
    Inclusion(ProofError),
}

impl fmt::Display for TlogProofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => write!(f, "the first line is not {HEADER}"),
            Self::Index => f.write_str("there is no line `index <decimal>` where it must be"),
            Self::Path => f.write_str("the path is not up to 64 lines of the base64 of 32 bytes"),
            Self::Divider => f.write_str("no empty line comes before the checkpoint"),
            Self::Checkpoint(error) => error.fmt(f),
            Self::Inclusion(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TlogProofError {}

impl<'a> TlogProof<'a> {
    /// Reads a proof. Extra data is passed over: nothing vouches for it.
    pub fn parse(text: &'a str) -> Result<Self, TlogProofError> {
        let (header, rest) = text.split_once('\n').ok_or(TlogProofError::Header)?;
        if header != HEADER {
            return Err(TlogProofError::Header);
        }
        let (mut line, mut rest) = rest.split_once('\n').ok_or(TlogProofError::Index)?;
        if line.starts_with("extra ") {
            (line, rest) = rest.split_once('\n').ok_or(TlogProofError::Index)?;
        }
        let index = line.strip_prefix("index ").filter(|number| !number.is_empty()).and_then(decimal);
        let index = index.ok_or(TlogProofError::Index)?;
        let mut path = Vec::new();
        loop {
            let (line, after) = rest.split_once('\n').ok_or(TlogProofError::Divider)?;
            rest = after;
            if line.is_empty() {
                return Ok(Self { index, path, checkpoint: rest });
            }
            let hash = Hash::parse(line).filter(|_| path.len() < MAX_HASHES).ok_or(TlogProofError::Path)?;
            path.push(hash);
        }
    }

    /// Checks that the leaf stands at the index of a tree whose root a gateway signed with one of these keys.
    pub fn verify(&self, leaf: &[u8], keys: &[CheckpointKey]) -> Result<VerifiedCheckpoint, TlogProofError> {
        let checkpoint = UnverifiedCheckpoint::parse(self.checkpoint.as_bytes()).map_err(TlogProofError::Checkpoint)?;
        let verified = checkpoint.verify(keys).map_err(TlogProofError::Checkpoint)?;
        let head = &verified.checkpoint().head;
        verify_inclusion(&Hash::of_leaf(leaf), self.index, head.size, &self.path, &head.root)
            .map_err(TlogProofError::Inclusion)?;
        Ok(verified)
    }
}

impl fmt::Display for TlogProof<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}\nindex {}", self.index)?;
        for hash in &self.path {
            writeln!(f, "{hash}")?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::merkle::proof::{inclusion, root};
    use crate::evidence::{Checkpoint, GatewayKey, LogHead, Origin};
    use crate::facts::Timestamp;
    use proptest::prelude::*;

    fn keys(seed: u8) -> (GatewayKey, Vec<CheckpointKey>) {
        let key = GatewayKey::from_seed([seed; 32]);
        let public = CheckpointKey::parse("gw", &key.public_base64()).unwrap();
        (key, vec![public])
    }

    fn note(leaves: &[Hash], key: &GatewayKey) -> String {
        let origin = Origin::new("gw", "boot", "vm").unwrap();
        let head = LogHead { origin, size: leaves.len() as u64, root: root(leaves) };
        Checkpoint { head, time: Timestamp(7), others: Vec::new() }.sign(key)
    }

    proptest! {
        #[test]
        fn every_leaf_of_every_tree_has_a_proof_that_is_its_own(size in 1_usize..40, at in any::<prop::sample::Index>()) {
            let leaves: Vec<String> = (0..size).map(|n| format!("leaf {n}")).collect();
            let hashes: Vec<Hash> = leaves.iter().map(|leaf| Hash::of_leaf(leaf.as_bytes())).collect();
            let (key, known) = keys(1);
            let note = note(&hashes, &key);
            let index = at.index(size);
            let path = inclusion(&hashes, index as u64).unwrap();
            let text = TlogProof { index: index as u64, path, checkpoint: &note }.to_string();
            let proof = TlogProof::parse(&text).unwrap();
            prop_assert_eq!(proof.to_string(), text.clone());
            let leaf = leaves[index].as_bytes();
            let verified = proof.verify(leaf, &known).unwrap();
            prop_assert_eq!(verified.note(), note.as_str());
            for (other, line) in leaves.iter().enumerate() {
                prop_assert_eq!(proof.verify(line.as_bytes(), &known).is_ok(), other == index);
            }
            prop_assert!(proof.verify(leaf, &keys(2).1).is_err());
            // Extra data changes nothing.
            let extra = text.replacen("\nindex", "\nextra AAAA\nindex", 1);
            prop_assert_eq!(TlogProof::parse(&extra).unwrap(), proof);
        }

        #[test]
        fn no_text_makes_it_panic(text in "(c2sp.org/tlog-proof@v1\n)?(extra [A-Za-z=]{0,8}\n)?(index [0-9]{0,21}\n)?([A-Za-z0-9+/=]{43,45}\n){0,3}\n?(.|\n){0,80}") {
            if let Ok(proof) = TlogProof::parse(&text) {
                let _ = proof.verify(b"x", &keys(1).1);
            }
        }
    }

    #[test]
    fn what_is_no_proof_is_refused_with_the_reason() {
        let hash = Hash::of_leaf(b"a").to_string();
        let long = format!("c2sp.org/tlog-proof@v1\nindex 0\n{}\n", format!("{hash}\n").repeat(65));
        for (text, expected) in [
            ("", TlogProofError::Header),
            ("c2sp.org/tlog-proof@v2\nindex 0\n\n", TlogProofError::Header),
            ("c2sp.org/tlog-proof@v1\nindex\n\n", TlogProofError::Index),
            ("c2sp.org/tlog-proof@v1\nindex \n\n", TlogProofError::Index),
            ("c2sp.org/tlog-proof@v1\nindex 01\n\n", TlogProofError::Index),
            ("c2sp.org/tlog-proof@v1\nindex -1\n\n", TlogProofError::Index),
            ("c2sp.org/tlog-proof@v1\nindex 18446744073709551616\n\n", TlogProofError::Index),
            ("c2sp.org/tlog-proof@v1\nextra AA\nextra AA\nindex 0\n\n", TlogProofError::Index),
            ("c2sp.org/tlog-proof@v1\nindex 0\nAAAA\n\n", TlogProofError::Path),
            ("c2sp.org/tlog-proof@v1\nindex 0\n", TlogProofError::Divider),
            (&long, TlogProofError::Path),
        ] {
            assert_eq!(TlogProof::parse(text), Err(expected), "{text:?}");
        }
    }
}
