//! Multiples of a point known beforehand: a fixed-base comb of signed windows.
//!
//! Whoever verifies many signatures with few keys can spend memory on doublings never made again: one multiplication
//! becomes an addition a window. Variable time throughout; everything here is public (RFC 8032 section 8.1 speaks of
//! signing). What each width costs stands in docs/performance.md.

use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity as _;

/// Bits of a reduced scalar: the group order is a little above 2^252 (RFC 8032 section 5.1).
const SCALAR_BITS: u32 = 253;

/// Windows of the narrowest comb, with room to spare.
const MOST_WINDOWS: usize = 64;

/// The multiples of one point, for windows of so many bits, 4 to 10.
pub struct Comb<const WIDTH: u32> {
    /// At window `w`, digit `d`: `d * 2^(WIDTH * w)` times the point, `d` from 1, [`Self::DIGITS`] to a window.
    multiples: Box<[EdwardsPoint]>,
}

impl<const WIDTH: u32> Comb<WIDTH> {
    /// Windows that cover a reduced scalar. The last has bits to spare for the carry of the one before.
    const WINDOWS: usize = {
        assert!(WIDTH >= 4 && WIDTH <= 10, "the last window must have room for a carry");
        SCALAR_BITS.div_ceil(WIDTH) as usize
    };

    /// Multiples kept of each window's base: digits are at most this, negative ones are subtracted.
    const DIGITS: usize = 1 << (WIDTH - 1);

    /// Bytes of one table.
    pub const BYTES: usize = Self::WINDOWS * Self::DIGITS * size_of::<EdwardsPoint>();

    /// Makes the table: an addition for each entry.
    pub fn new(point: &EdwardsPoint) -> Self {
        let mut base = *point;
        let mut multiples = Vec::with_capacity(Self::WINDOWS * Self::DIGITS);
        for _ in 0..Self::WINDOWS {
            let mut multiple = EdwardsPoint::identity();
            for _ in 0..Self::DIGITS {
                multiple += base;
                multiples.push(multiple);
            }
            // `multiple` is half of the next window's base.
            base = multiple + multiple;
        }
        Self { multiples: multiples.into_boxed_slice() }
    }

    /// `sum` plus `scalar` times the point. The scalar must be reduced, as all but clamped ones are.
    pub fn add_multiple(&self, sum: EdwardsPoint, scalar: &Scalar) -> EdwardsPoint {
        self.fold(sum, scalar, |sum, multiple| sum + multiple, |sum, multiple| sum - multiple)
    }

    /// `sum` less `scalar` times the point. The scalar must be reduced.
    pub fn subtract_multiple(&self, sum: EdwardsPoint, scalar: &Scalar) -> EdwardsPoint {
        self.fold(sum, scalar, |sum, multiple| sum - multiple, |sum, multiple| sum + multiple)
    }

    fn fold(
        &self,
        sum: EdwardsPoint,
        scalar: &Scalar,
        positive: impl Fn(EdwardsPoint, &EdwardsPoint) -> EdwardsPoint,
        negative: impl Fn(EdwardsPoint, &EdwardsPoint) -> EdwardsPoint,
    ) -> EdwardsPoint {
        let digits = signed_digits::<WIDTH>(scalar.as_bytes());
        self.multiples.chunks_exact(Self::DIGITS).zip(digits).fold(sum, |sum, (multiples, digit)| {
            let magnitude = digit.unsigned_abs() as usize;
            // The digit 0 has no multiple, and none has to be added.
            match magnitude.checked_sub(1).and_then(|at| multiples.get(at)) {
                Some(multiple) if digit > 0 => positive(sum, multiple),
                Some(multiple) => negative(sum, multiple),
                None => sum,
            }
        })
    }
}

impl<const WIDTH: u32> std::fmt::Debug for Comb<WIDTH> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Comb").finish_non_exhaustive()
    }
}

/// A scalar in radix `2^WIDTH` with digits above `-2^(WIDTH-1)` and up to `2^(WIDTH-1)`, least first; zeros follow.
///
/// INVARIANT: the scalar is reduced, so that the last window of a comb holds what is left of it and carries nothing on.
fn signed_digits<const WIDTH: u32>(scalar: &[u8; 32]) -> [i32; MOST_WINDOWS] {
    let mut digits = [0; MOST_WINDOWS];
    let mut bytes = scalar.iter();
    let (mut buffer, mut bits, mut carry) = (0_u32, 0_u32, 0);
    for digit in &mut digits {
        while bits < WIDTH {
            buffer |= u32::from(bytes.next().copied().unwrap_or_default()) << bits;
            bits += 8;
        }
        let value = (buffer & ((1 << WIDTH) - 1)) as i32 + carry;
        carry = i32::from(value > 1 << (WIDTH - 1));
        *digit = value - (carry << WIDTH);
        buffer >>= WIDTH;
        bits -= WIDTH;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
    use proptest::prelude::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn tables_have_the_sizes_the_documentation_states() {
        assert_eq!([Comb::<5>::BYTES, Comb::<6>::BYTES, Comb::<7>::BYTES], [130_560, 220_160, 378_880]);
        assert_eq!(Comb::<8>::BYTES, 655_360);
        assert_eq!(Comb::<6>::new(&ED25519_BASEPOINT_POINT).multiples.len() * 160, Comb::<6>::BYTES);
    }

    fn edges<const WIDTH: u32>() {
        let comb = Comb::<WIDTH>::new(&ED25519_BASEPOINT_POINT);
        let around = (0..64).flat_map(|bit| [1_u64 << bit, (1_u64 << bit) - 1, (1_u64 << bit) + 1]);
        let edges = around.chain((0..=70).chain([2079, 2080, 2081, u64::MAX])).map(Scalar::from);
        let edges = edges.flat_map(|scalar| [scalar, -scalar, scalar * Scalar::from(1_u128 << 127)]);
        for scalar in edges {
            let expected = ED25519_BASEPOINT_POINT * scalar;
            assert_eq!(comb.add_multiple(EdwardsPoint::identity(), &scalar), expected);
            assert_eq!(comb.subtract_multiple(EdwardsPoint::identity(), &scalar), -expected);
        }
    }

    #[test]
    fn edges_of_the_digits_are_multiplied_rightly() {
        edges::<4>();
        edges::<5>();
        edges::<6>();
        edges::<7>();
        edges::<8>();
        edges::<9>();
        edges::<10>();
    }

    fn digits_add_up<const WIDTH: u32>(scalar: &Scalar) {
        let digits = signed_digits::<WIDTH>(scalar.as_bytes());
        let half = 1 << (WIDTH - 1);
        assert!(digits.iter().all(|digit| (1 - half..=half).contains(digit)));
        assert!(digits[Comb::<WIDTH>::WINDOWS..].iter().all(|digit| *digit == 0));
        let sum = digits.iter().rev().fold(Scalar::ZERO, |sum, digit| {
            let magnitude = Scalar::from(digit.unsigned_abs());
            sum * Scalar::from(1_u64 << WIDTH) + if *digit < 0 { -magnitude } else { magnitude }
        });
        assert_eq!(sum, *scalar);
    }

    proptest! {
        #[test]
        fn digits_are_small_and_add_up(bytes: [u8; 32]) {
            for scalar in [Scalar::from_bytes_mod_order(bytes), -Scalar::from(u64::from(bytes[0]))] {
                digits_add_up::<4>(&scalar);
                digits_add_up::<6>(&scalar);
                digits_add_up::<7>(&scalar);
                digits_add_up::<8>(&scalar);
                digits_add_up::<10>(&scalar);
            }
        }

        #[test]
        fn multiples_are_those_of_the_library(base: [u8; 32], by: [u8; 32], other: [u8; 32]) {
            let point = ED25519_BASEPOINT_POINT * Scalar::from_bytes_mod_order(base);
            let sum = ED25519_BASEPOINT_POINT * Scalar::from_bytes_mod_order(other);
            let by = Scalar::from_bytes_mod_order(by);
            let (narrow, wide) = (Comb::<6>::new(&point), Comb::<8>::new(&point));
            prop_assert_eq!(narrow.add_multiple(sum, &by), sum + point * by);
            prop_assert_eq!(narrow.subtract_multiple(sum, &by), sum - point * by);
            prop_assert_eq!(wide.add_multiple(sum, &by), sum + point * by);
            prop_assert_eq!(wide.subtract_multiple(sum, &by), sum - point * by);
        }
    }
}
