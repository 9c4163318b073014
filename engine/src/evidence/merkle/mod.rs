//! The Merkle tree of RFC 6962, section 2.1, over SHA-256: hashes, and a tree that keeps only its right edge.

pub mod proof;
pub mod suffix;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::fmt;

/// A SHA-256 hash: of a leaf, a node, a root. Its text is standard base64 with padding.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The root of the tree without leaves: SHA-256 of nothing.
    pub fn of_empty_tree() -> Self {
        Self(Sha256::digest([]).into())
    }

    /// The hash of a leaf: SHA-256 of `0x00` and its bytes.
    pub fn of_leaf(leaf: &[u8]) -> Self {
        Self(Sha256::new().chain_update([0]).chain_update(leaf).finalize().into())
    }

    /// The hash of a node: SHA-256 of `0x01` and the hashes of its children.
    pub fn of_node(left: &Self, right: &Self) -> Self {
        Self(Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0).finalize().into())
    }

    /// From canonical standard base64 of exactly 32 bytes.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        // 44 characters hold at most 33 bytes; anything longer must not reach the decoder's buffer check.
        if text.len() != 44 || STANDARD.decode_slice(text, &mut bytes).ok()? != 32 {
            return None;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not the base64 of 32 bytes"))
    }
}

/// A tree of which only the roots of its complete subtrees are kept: enough to append and to know the root.
///
/// INVARIANT: `nodes` holds one hash for each bit that is set in `size`, that of the largest subtree first. So it never
/// holds more than 64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompactRange {
    size: u64,
    nodes: Vec<Hash>,
}

impl CompactRange {
    /// The tree without leaves.
    pub const fn new() -> Self {
        Self { size: 0, nodes: Vec::new() }
    }

    /// Number of leaves.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// A tree from the roots of its complete subtrees, largest first; `None` when there are not as many as its size takes.
    /// Whether they are the right ones shows when the root is compared with one that is signed.
    pub fn from_nodes(size: u64, nodes: Vec<Hash>) -> Option<Self> {
        (nodes.len() == size.count_ones() as usize).then_some(Self { size, nodes })
    }

    /// The roots of its complete subtrees, largest first.
    pub fn nodes(&self) -> &[Hash] {
        &self.nodes
    }

    /// Appends a leaf by its hash. One node hash on average, 64 at most.
    pub fn append(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.nodes.pop() {
                hash = Hash::of_node(&left, &hash);
            }
        }
        self.nodes.push(hash);
        self.size = self.size.saturating_add(1);
    }

    /// The root. One node hash for each bit set in the size, less one.
    pub fn root(&self) -> Hash {
        let mut nodes = self.nodes.iter().rev();
        let Some(last) = nodes.next() else { return Hash::of_empty_tree() };
        nodes.fold(*last, |right, left| Hash::of_node(left, &right))
    }
}

impl FromIterator<Hash> for CompactRange {
    fn from_iter<I: IntoIterator<Item = Hash>>(leaves: I) -> Self {
        let mut range = Self::new();
        leaves.into_iter().for_each(|leaf| range.append(leaf));
        range
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_text_is_canonical_base64_of_32_bytes() {
        let hash = Hash::of_empty_tree();
        assert_eq!(hash.to_string(), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        assert_eq!(Hash::parse(&hash.to_string()), Some(hash));
        for text in [
            "",
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
            // The same bytes with other trailing bits.
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=",
            "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=",
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFUA",
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFUAAA==",
        ] {
            assert_eq!(Hash::parse(text), None, "{text}");
        }
    }

    #[test]
    fn keeps_one_node_for_each_bit_of_its_size() {
        let mut range = CompactRange::new();
        for i in 0..200_u64 {
            range.append(Hash::of_leaf(&i.to_be_bytes()));
            assert_eq!(range.nodes.len(), range.size.count_ones() as usize);
            assert_eq!(CompactRange::from_nodes(range.size(), range.nodes().to_vec()), Some(range.clone()));
            assert_eq!(CompactRange::from_nodes(range.size() + 1, vec![]), None);
        }
    }
}
