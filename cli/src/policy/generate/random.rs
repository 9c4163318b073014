//! Random numbers that a seed repeats: SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
//! Written out because committed files depend on every number of it.

/// A sequence of numbers.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 where that is 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let number = self.next().checked_rem(u64::try_from(end).unwrap_or(u64::MAX)).unwrap_or(0);
        usize::try_from(number).unwrap_or(0)
    }

    /// True in so many of a hundred cases.
    pub(super) fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of several words; the empty one where there is none.
    pub(super) fn pick<'w>(&mut self, words: &[&'w str]) -> &'w str {
        words.get(self.below(words.len())).copied().unwrap_or("")
    }

    /// So many different words of several, in the order of those.
    pub(super) fn some<'w>(&mut self, words: &[&'w str], count: usize) -> Vec<&'w str> {
        let (mut left, mut wanted, mut some) = (words.len(), count.min(words.len()), Vec::new());
        for word in words {
            if self.below(left) < wanted {
                some.push(*word);
                wanted = wanted.saturating_sub(1);
            }
            left = left.saturating_sub(1);
        }
        some
    }

    /// A sum as so many parts of at least one each, none more than about twice another.
    pub(super) fn shares(&mut self, sum: usize, parts: usize) -> Vec<usize> {
        let (mut left, mut shares) = (sum, Vec::with_capacity(parts));
        for part in (1..=parts).rev() {
            let even = left.checked_div(part).unwrap_or(0);
            let lean = even.saturating_sub(even / 3);
            let most = left.saturating_sub(part.saturating_sub(1));
            let share = match part {
                1 => left,
                _ => lean
                    .saturating_add(self.below((even / 3).saturating_mul(2).saturating_add(1)))
                    .clamp(1, most.max(1)),
            };
            shares.push(share);
            left = left.saturating_sub(share);
        }
        shares
    }
}
