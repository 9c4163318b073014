//! Multiples of a point known beforehand: a fixed-base comb of signed 6-bit windows.
//!
//! Whoever verifies many signatures with few keys can spend memory on doublings never made again: one verification
//! becomes 86 additions at most. Variable time throughout; everything here is public (RFC 8032 section 8.1 speaks of
//! signing). Wider windows gain little for three times the memory (DESIGN section 8).

use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity as _;

/// Bits of a window.
const WIDTH: u32 = 6;
/// Windows that cover 253 bits, the length of the group order, with the carry of the last.
const WINDOWS: usize = 43;
/// Multiples kept of each window's base: digits are at most this, negative ones are subtracted.
const DIGITS: usize = 1 << (WIDTH - 1);

/// Bytes of one table.
pub(crate) const TABLE_BYTES: usize = WINDOWS * DIGITS * size_of::<EdwardsPoint>();

/// The multiples of one point.
pub(crate) struct Comb {
    /// At window `w`, digit `d`: `d * 64^w` times the point, `d` from 1.
    windows: Box<[[EdwardsPoint; DIGITS]]>,
}

impl Comb {
    /// Makes the table: 1,376 additions, [`TABLE_BYTES`] bytes.
    pub(crate) fn new(point: &EdwardsPoint) -> Self {
        let mut base = *point;
        let windows = (0..WINDOWS)
            .map(|_| {
                let mut multiple = EdwardsPoint::identity();
                let multiples = [(); DIGITS].map(|()| {
                    multiple += base;
                    multiple
                });
                // `multiple` is 32 times the base of this window now.
                base = multiple + multiple;
                multiples
            })
            .collect();
        Self { windows }
    }

    /// `sum` plus `scalar` times the point.
    pub(crate) fn add_multiple(&self, sum: EdwardsPoint, scalar: &Scalar) -> EdwardsPoint {
        self.fold(sum, scalar, |sum, multiple| sum + multiple, |sum, multiple| sum - multiple)
    }

    /// `sum` less `scalar` times the point.
    pub(crate) fn subtract_multiple(&self, sum: EdwardsPoint, scalar: &Scalar) -> EdwardsPoint {
        self.fold(sum, scalar, |sum, multiple| sum - multiple, |sum, multiple| sum + multiple)
    }

    fn fold(
        &self,
        sum: EdwardsPoint,
        scalar: &Scalar,
        positive: impl Fn(EdwardsPoint, &EdwardsPoint) -> EdwardsPoint,
        negative: impl Fn(EdwardsPoint, &EdwardsPoint) -> EdwardsPoint,
    ) -> EdwardsPoint {
        self.windows.iter().zip(signed_digits(scalar.as_bytes())).fold(sum, |sum, (multiples, digit)| {
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

impl std::fmt::Debug for Comb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Comb").finish_non_exhaustive()
    }
}

/// A scalar in radix 64 with digits from -31 to 32, least first.
///
/// INVARIANT: the scalar is reduced, hence below 2^253, so that the last digit is at most 2 and carries nothing on.
fn signed_digits(scalar: &[u8; 32]) -> [i32; WINDOWS] {
    let mut digits = [0; WINDOWS];
    let mut bytes = scalar.iter();
    let (mut buffer, mut bits, mut carry) = (0_u32, 0_u32, 0);
    for digit in &mut digits {
        if bits < WIDTH {
            buffer |= u32::from(bytes.next().copied().unwrap_or_default()) << bits;
            bits += 8;
        }
        let value = (buffer & ((1 << WIDTH) - 1)) as i32 + carry;
        carry = i32::from(value > DIGITS as i32);
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

    #[test]
    fn a_table_has_the_size_the_documentation_states() {
        assert_eq!(TABLE_BYTES, 220_160);
    }

    #[test]
    fn edges_of_the_digits_are_multiplied_rightly() {
        let comb = Comb::new(&ED25519_BASEPOINT_POINT);
        let edges = (0..=70_u64).chain([2079, 2080, 2081, 4095, 4096, 4097, u64::MAX]).map(Scalar::from);
        let edges = edges.flat_map(|scalar| [scalar, -scalar, scalar * Scalar::from(1_u128 << 127)]);
        for scalar in edges {
            let expected = ED25519_BASEPOINT_POINT * scalar;
            assert_eq!(comb.add_multiple(EdwardsPoint::identity(), &scalar), expected);
            assert_eq!(comb.subtract_multiple(EdwardsPoint::identity(), &scalar), -expected);
        }
    }

    proptest! {
        #[test]
        fn digits_are_small_and_add_up(bytes: [u8; 32]) {
            let scalar = Scalar::from_bytes_mod_order(bytes);
            let digits = signed_digits(scalar.as_bytes());
            prop_assert!(digits.iter().all(|digit| (-31..=32).contains(digit)));
            prop_assert!((0..=2).contains(&digits[WINDOWS - 1]));
            let sum = digits.iter().rev().fold(Scalar::ZERO, |sum, digit| {
                let magnitude = Scalar::from(digit.unsigned_abs());
                sum * Scalar::from(64_u8) + if *digit < 0 { -magnitude } else { magnitude }
            });
            prop_assert_eq!(sum, scalar);
        }

        #[test]
        fn multiples_are_those_of_the_library(base: [u8; 32], by: [u8; 32], other: [u8; 32]) {
            let point = ED25519_BASEPOINT_POINT * Scalar::from_bytes_mod_order(base);
            let sum = ED25519_BASEPOINT_POINT * Scalar::from_bytes_mod_order(other);
            let by = Scalar::from_bytes_mod_order(by);
            let comb = Comb::new(&point);
            prop_assert_eq!(comb.add_multiple(sum, &by), sum + point * by);
            prop_assert_eq!(comb.subtract_multiple(sum, &by), sum - point * by);
        }
    }
}
