//! Inclusion and consistency proofs: made as RFC 6962, section 2.1 defines them, checked as RFC 9162, sections 2.1.3.2 and
//! 2.1.4.2 say.

use super::Hash;
use std::fmt;

/// Why a proof does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProofError {
    /// The leaf's index is not below the size of the tree.
    Index,
    /// The older tree is larger than the newer one, or empty: that everything begins with nothing needs no proof, and
    /// RFC 6962 defines none.
    Sizes,
    /// The proof has too few or too many hashes for these sizes.
    Length,
    /// The hashes do not lead to the root of the older tree.
    OldRoot,
    /// The hashes do not lead to the root.
    Root,
}

impl fmt::Display for ProofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Index => "the leaf's index is not below the size of the tree",
            Self::Sizes => "the older tree is empty or larger than the newer one",
            Self::Length => "the proof has too few or too many hashes",
            Self::OldRoot => "the proof does not lead to the root of the older tree",
            Self::Root => "the proof does not lead to the root",
        })
    }
}

impl std::error::Error for ProofError {}

/// The root over a list of leaf hashes.
pub fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::of_empty_tree(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = split(leaves);
            Hash::of_node(&root(left), &root(right))
        }
    }
}

/// The proof that the leaf at `index` is in the tree; `None` when there is no such leaf. Cost: one pass over the leaves.
pub fn inclusion(leaves: &[Hash], index: u64) -> Option<Vec<Hash>> {
    let mut index = usize::try_from(index).ok().filter(|index| *index < leaves.len())?;
    let mut rest = leaves;
    let mut proof = Vec::new();
    while rest.len() > 1 {
        let (left, right) = split(rest);
        if index < left.len() {
            proof.push(root(right));
            rest = left;
        } else {
            proof.push(root(left));
            index -= left.len();
            rest = right;
        }
    }
    proof.reverse();
    Some(proof)
}

/// The proof that the tree of the first `old` leaves is the start of the tree; `None` when it has fewer leaves, and for
/// `old == 0`, which RFC 6962 leaves undefined.
pub fn consistency(leaves: &[Hash], old: u64) -> Option<Vec<Hash>> {
    let mut old = usize::try_from(old).ok().filter(|old| (1..=leaves.len()).contains(old))?;
    let mut rest = leaves;
    let mut proof = Vec::new();
    // Whether the old tree's part of `rest` is the whole old tree, whose root the verifier has.
    let mut whole = true;
    while old < rest.len() {
        let (left, right) = split(rest);
        if old <= left.len() {
            proof.push(root(right));
            rest = left;
        } else {
            proof.push(root(left));
            old -= left.len();
            rest = right;
            whole = false;
        }
    }
    if !whole {
        proof.push(root(rest));
    }
    proof.reverse();
    Some(proof)
}

/// Checks that a leaf is at `index` of the tree of `size` leaves with this root.
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], expected: &Hash) -> Result<(), ProofError> {
    let mut last = size.checked_sub(1).filter(|last| index <= *last).ok_or(ProofError::Index)?;
    let (mut node, mut hash) = (index, *leaf);
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if node & 1 == 1 || node == last {
            hash = Hash::of_node(sibling, &hash);
            // A right edge without sibling rises until it has one.
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = Hash::of_node(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    match (last, hash == *expected) {
        (0, true) => Ok(()),
        (0, false) => Err(ProofError::Root),
        _ => Err(ProofError::Length),
    }
}

/// Checks that the tree of `old_size` leaves is the start of that of `size` leaves.
pub fn verify_consistency(
    old_size: u64,
    size: u64,
    old_root: &Hash,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old_size == 0 || old_size > size {
        return Err(ProofError::Sizes);
    }
    if old_size == size {
        return match (proof.is_empty(), old_root == new_root) {
            (false, _) => Err(ProofError::Length),
            (true, false) => Err(ProofError::Root),
            (true, true) => Ok(()),
        };
    }
    let (mut node, mut last) = (old_size - 1, size - 1);
    let shift = node.trailing_ones();
    node >>= shift;
    last >>= shift;
    // A complete old tree is itself the first hash, which the proof then leaves out.
    let (start, rest) = match proof.split_first() {
        _ if node == 0 => (*old_root, proof),
        Some((first, rest)) => (*first, rest),
        None => return Err(ProofError::Length),
    };
    let (mut old_hash, mut new_hash) = (start, start);
    for sibling in rest {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if node & 1 == 1 || node == last {
            old_hash = Hash::of_node(sibling, &old_hash);
            new_hash = Hash::of_node(sibling, &new_hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = Hash::of_node(&new_hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    if old_hash != *old_root {
        return Err(ProofError::OldRoot);
    }
    if new_hash != *new_root { Err(ProofError::Root) } else { Ok(()) }
}

/// At the largest power of two below the length (RFC 6962, section 2.1). Needs two leaves or more.
fn split(leaves: &[Hash]) -> (&[Hash], &[Hash]) {
    let half = leaves.len().next_power_of_two() / 2;
    leaves.split_at_checked(half).unwrap_or((leaves, &[]))
}

#[cfg(test)]
mod tests {
    use super::super::CompactRange;
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// transparency-dev/merkle, Apache-2.0; see tests/vectors/README.md.
    const VECTORS: &str = include_str!("../../../../tests/vectors/merkle/rfc6962_proofs.json");

    #[derive(Deserialize)]
    struct Vectors {
        inclusion: Vec<Inclusion>,
        consistency: Vec<Consistency>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Inclusion {
        leaf_idx: u64,
        tree_size: u64,
        root: String,
        leaf_hash: String,
        proof: Option<Vec<String>>,
        want_err: bool,
        file: String,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Consistency {
        size1: u64,
        size2: u64,
        root1: Option<String>,
        root2: Option<String>,
        proof: Option<Vec<String>>,
        want_err: bool,
        file: String,
    }

    /// `None` when some hash is not 32 bytes long: such a proof cannot even be expressed here.
    fn hashes(proof: Option<&Vec<String>>) -> Option<Vec<Hash>> {
        proof.map_or(Some(Vec::new()), |list| list.iter().map(|text| Hash::parse(text)).collect())
    }

    #[test]
    fn others_inclusion_proofs_get_the_expected_answer() {
        let vectors: Vectors = serde_json::from_str(VECTORS).unwrap();
        assert_eq!(vectors.inclusion.len(), 98);
        for case in vectors.inclusion {
            let result = (|| {
                let (root, leaf) = (Hash::parse(&case.root)?, Hash::parse(&case.leaf_hash)?);
                verify_inclusion(&leaf, case.leaf_idx, case.tree_size, &hashes(case.proof.as_ref())?, &root).ok()
            })();
            assert_eq!(result.is_none(), case.want_err, "{}", case.file);
        }
    }

    #[test]
    fn others_consistency_proofs_get_the_expected_answer() {
        // Some roots are words instead of hashes. A hash of the word keeps what is equal equal and the rest apart.
        let root = |text: &str| Hash::parse(text).unwrap_or_else(|| Hash::of_leaf(text.as_bytes()));
        let vectors: Vectors = serde_json::from_str(VECTORS).unwrap();
        assert_eq!(vectors.consistency.len(), 98);
        for case in vectors.consistency {
            let result = (|| {
                let (old, new) = (root(case.root1.as_ref()?), root(case.root2.as_ref()?));
                verify_consistency(case.size1, case.size2, &old, &new, &hashes(case.proof.as_ref())?).ok()
            })();
            assert_eq!(result.is_none(), case.want_err, "{}", case.file);
        }
    }

    fn leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|i| Hash::of_leaf(&i.to_be_bytes())).collect()
    }

    #[test]
    fn every_proof_over_small_trees_holds_and_no_other_root_does() {
        for size in 1..=33_u64 {
            let all = leaves(size);
            let whole = root(&all);
            assert_eq!(CompactRange::from_iter(all.iter().copied()).root(), whole);
            for index in 0..size {
                let at = usize::try_from(index).unwrap();
                let proof = inclusion(&all, index).unwrap();
                assert_eq!(verify_inclusion(&all[at], index, size, &proof, &whole), Ok(()));
                assert!(verify_inclusion(&all[at], index ^ 1, size, &proof, &whole).is_err() || size == 1);
                let old = index + 1;
                let old_root = root(&all[..=at]);
                let proof = consistency(&all, old).unwrap();
                assert_eq!(verify_consistency(old, size, &old_root, &whole, &proof), Ok(()));
                if old < size {
                    assert!(verify_consistency(old, size, &whole, &whole, &proof).is_err());
                    assert!(verify_consistency(old, size, &old_root, &old_root, &proof).is_err());
                }
            }
            assert_eq!(inclusion(&all, size), None);
            assert_eq!(consistency(&all, size + 1), None);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_proofs_never_panic(index: u64, size: u64, old: u64, count in 0_u64..70, root: [u8; 32]) {
            let proof = leaves(count);
            let root = Hash(root);
            prop_assert!(verify_inclusion(&root, index, size, &proof, &Hash::of_empty_tree()).is_err());
            let _ = verify_consistency(old, size, &root, &Hash::of_empty_tree(), &proof);
        }
    }
}
