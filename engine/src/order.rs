//! Sorting in little code. The standard library's sorts are compiled anew for every type, 5 to 10 KB of module each; here
//! the order is found once, over indexes, and what is left for each type is the exchange of its elements.

use std::cmp::Ordering;

/// As [`slice::sort`]: stable.
pub(crate) fn sort<T: Ord>(items: &mut [T]) {
    sort_by(items, T::cmp);
}

/// As [`slice::sort_by`]: stable.
pub(crate) fn sort_by<T>(items: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    if items.len() <= FEW {
        return insert(items, &compare);
    }
    let mut sources = permutation(items.len(), &|a, b| match (items.get(a), items.get(b)) {
        (Some(a), Some(b)) => compare(a, b),
        _ => Ordering::Equal,
    });
    for start in 0..sources.len() {
        // One cycle of the permutation; what is in its place already is a cycle of one.
        let mut at = start;
        while let Some(source) = sources.get_mut(at).map(|source| std::mem::replace(source, at)) {
            if source == start {
                break;
            }
            items.swap(at, source);
            at = source;
        }
    }
}

/// Elements up to which they are sorted in place: all that a request sorts, which then takes no memory for it.
const FEW: usize = 20;

/// Each in its place among those before it.
fn insert<T>(items: &mut [T], compare: &impl Fn(&T, &T) -> Ordering) {
    for end in 1..items.len() {
        let mut at = end;
        while let Some(before) = at.checked_sub(1)
            && let (Some(left), Some(right)) = (items.get(before), items.get(at))
            && compare(left, right).is_gt()
        {
            items.swap(before, at);
            at = before;
        }
    }
}

/// Where each element comes from. One function for all types.
#[inline(never)]
fn permutation(length: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut sources: Vec<usize> = (0..length).collect();
    sources.sort_by(|a, b| compare(*a, *b));
    sources
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_sorts_as_the_library_does(items in prop::collection::vec((0_u8..8, any::<u16>()), 0..80)) {
            let (mut ours, mut theirs) = (items.clone(), items.clone());
            // Only half of it is compared, so that stability shows.
            sort_by(&mut ours, |a, b| b.0.cmp(&a.0));
            theirs.sort_by_key(|item| std::cmp::Reverse(item.0));
            prop_assert_eq!(ours, theirs);
            let mut ours: Vec<String> = items.iter().map(|item| item.1.to_string()).collect();
            let mut theirs = ours.clone();
            sort(&mut ours);
            theirs.sort();
            prop_assert_eq!(ours, theirs);
        }
    }
}
