//! Random bytes for the module: from the operating system, or repeatable from a seed.

/// A source of bytes; the repeatable one is SplitMix64 and fit for nothing but tests.
#[derive(Debug)]
pub(crate) struct Random(Option<u64>);

impl Random {
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self(seed)
    }

    /// Fills the buffer; false when the operating system gives nothing.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) -> bool {
        let Some(state) = &mut self.0 else { return getrandom::fill(buffer).is_ok() };
        for chunk in buffer.chunks_mut(8) {
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = *state;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^= word >> 31;
            for (to, from) in chunk.iter_mut().zip(word.to_le_bytes()) {
                *to = from;
            }
        }
        true
    }
}
