//! A tree whose first leaves are gone: of them only the roots of their complete subtrees are left. Every later leaf still has
//! its proof, for a sibling on its path either lies after the cut or is made of those roots.

use super::{CompactRange, Hash};

/// A tree from the roots of its beginning and the leaves after it.
#[derive(Clone, Copy, Debug)]
pub struct Suffix<'a> {
    /// What is left of the beginning.
    pub beginning: &'a CompactRange,
    /// Hashes of the leaves after it.
    pub leaves: &'a [Hash],
}

impl Suffix<'_> {
    /// Number of leaves, those that are gone included.
    pub fn size(&self) -> u64 {
        self.beginning.size().saturating_add(self.leaves.len() as u64)
    }

    /// The root of the tree of the first `size` leaves; `None` when it has fewer, or `size` lies before the cut.
    pub fn root(&self, size: u64) -> Option<Hash> {
        if size == 0 {
            return (self.beginning.size() == 0).then(Hash::of_empty_tree);
        }
        (size >= self.beginning.size()).then(|| self.subtree(0, size)).flatten()
    }

    /// The proof that the leaf at `index` is in the tree of the first `size` leaves, from its sibling up. `None` when that leaf is
    /// gone, or not there.
    pub fn inclusion(&self, index: u64, size: u64) -> Option<Vec<Hash>> {
        if index < self.beginning.size() || index >= size || size > self.size() {
            return None;
        }
        let (mut from, mut to, mut path) = (0, size, Vec::new());
        while to.checked_sub(from)? > 1 {
            let middle = from.checked_add(split(to.checked_sub(from)?))?;
            if index < middle {
                path.push(self.subtree(middle, to)?);
                to = middle;
            } else {
                path.push(self.subtree(from, middle)?);
                from = middle;
            }
        }
        path.reverse();
        Some(path)
    }

    /// The root over leaves `from` up to and without `to`.
    fn subtree(&self, from: u64, to: u64) -> Option<Hash> {
        if let Some(known) = self.known(from, to) {
            return Some(known);
        }
        let length = to.checked_sub(from)?;
        if length <= 1 {
            let at = from.checked_sub(self.beginning.size())?;
            return self.leaves.get(usize::try_from(at).ok()?).copied().filter(|_| length == 1);
        }
        let middle = from.checked_add(split(length))?;
        Some(Hash::of_node(&self.subtree(from, middle)?, &self.subtree(middle, to)?))
    }

    /// A root that was kept: one for each bit of the size, the largest first.
    fn known(&self, from: u64, to: u64) -> Option<Hash> {
        let size = self.beginning.size();
        let bits = (0..u64::BITS).rev().map(|bit| 1_u64 << bit).filter(|bit| size & bit != 0);
        let mut start = 0_u64;
        for (bit, node) in bits.zip(self.beginning.nodes()) {
            let end = start.checked_add(bit)?;
            if (start, end) == (from, to) {
                return Some(*node);
            }
            start = end;
        }
        None
    }
}

/// The largest power of two below a number above 1 (RFC 6962 section 2.1).
fn split(length: u64) -> u64 {
    1_u64 << length.saturating_sub(1).checked_ilog2().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::proof;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_left_proves_what_the_whole_tree_proves(all in 0_usize..70, gone in 0_usize..70, size in 0_usize..72) {
            let leaves: Vec<Hash> = (0..all).map(|n| Hash::of_leaf(&n.to_be_bytes())).collect();
            let gone = gone.min(all);
            let (before, after) = leaves.split_at(gone);
            let beginning: CompactRange = before.iter().copied().collect();
            let suffix = Suffix { beginning: &beginning, leaves: after };
            prop_assert_eq!(suffix.size(), all as u64);
            let whole = leaves.get(..size).filter(|_| size >= gone);
            prop_assert_eq!(suffix.root(size as u64), whole.map(proof::root));
            for index in 0..72 {
                let expected = whole.filter(|_| index >= gone).and_then(|whole| proof::inclusion(whole, index as u64));
                prop_assert_eq!(suffix.inclusion(index as u64, size as u64), expected, "{}", index);
            }
        }
    }
}
