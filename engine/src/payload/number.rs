//! Numbers as they are written in JSON, compared without ever being rounded.
//!
//! Readers of JSON differ on numbers (RFC 8259 section 6): some round to a double, some to 32 bits, some refuse an exponent
//! or a fraction. Only what all of them read as the same number is read here.

use std::cmp::Ordering;

/// Above it a double skips whole numbers (RFC 8259 section 6).
pub const LARGEST: u64 = (1 << 53) - 1;

/// Digits that every double keeps.
const EXACT_DIGITS: usize = 15;

/// Digits that are compared at most; what languages print of a double has 17.
const MOST_DIGITS: usize = 18;

/// A decimal number: `digits` with the point `scale` places from the right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    negative: bool,
    digits: u64,
    scale: u32,
}

impl Decimal {
    /// Reads `-?digits(.digits)?` of at most 18 digits, its magnitude at most 2^53 - 1, without superfluous zeros in front.
    /// No exponent, and no `-0`, which some readers take for a number of its own.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (whole, fraction) = match rest.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return None,
            None => (rest, ""),
        };
        let plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || (whole.len() > 1 && whole.starts_with('0')) || !plain(whole) || !plain(fraction) {
            return None;
        }
        if whole.len().checked_add(fraction.len())? > MOST_DIGITS || whole.parse::<u64>().ok()? > LARGEST {
            return None;
        }
        // At most 18 digits: less than 2^63.
        let digits: u64 = [whole, fraction].concat().parse().ok()?;
        let scale = u32::try_from(fraction.len()).ok()?;
        (digits > 0 || !negative).then_some(Self { negative, digits, scale })
    }

    /// Reads the one form that has no other: no zeros at the end of a fraction, no digits that a double would lose.
    pub fn parse_only_form(text: &str) -> Option<Self> {
        let decimal = Self::parse(text)?;
        let fraction = text.contains('.');
        let exact =
            !fraction || (text.bytes().filter(u8::is_ascii_digit).count() <= EXACT_DIGITS && !text.ends_with('0'));
        exact.then_some(decimal)
    }

    /// Whether it is below zero.
    pub fn is_negative(self) -> bool {
        self.negative
    }

    /// Scaled to so many places; both at most 18 digits and 18 places, so 128 bits hold it.
    fn scaled(self, scale: u32) -> i128 {
        let factor = 10_i128.checked_pow(scale.saturating_sub(self.scale)).unwrap_or(i128::MAX);
        let magnitude = i128::from(self.digits).saturating_mul(factor);
        if self.negative { magnitude.saturating_neg() } else { magnitude }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let scale = self.scale.max(other.scale);
        Some(self.scaled(scale).cmp(&other.scaled(scale)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_decimals_are_read() {
        for text in ["0", "7", "-7", "0.5", "-0.25", "1.0", "100", "9007199254740991", "0.30000000000000004"] {
            assert!(Decimal::parse(text).is_some(), "{text}");
        }
        for text in [
            "",
            "-",
            "+1",
            "01",
            "00",
            "1.",
            ".5",
            "1e2",
            "1E2",
            "-0",
            "-0.0",
            "0x1",
            " 1",
            "1 ",
            "1_000",
            "9007199254740992",
            "-9007199254740992",
            "1.0000000000000000001",
            "NaN",
            "Infinity",
            "٣",
            "1.2.3",
            "--1",
        ] {
            assert!(Decimal::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn one_form_of_each_number() {
        for (text, only) in [
            ("1", true),
            ("10", true),
            ("0", true),
            ("-5", true),
            ("0.5", true),
            ("1.25", true),
            ("1.0", false),
            ("1.50", false),
            ("0.123456789012345", false),
            ("0.12345678901234", true),
            ("9007199254740991", true),
        ] {
            assert_eq!(Decimal::parse_only_form(text).is_some(), only, "{text}");
        }
    }

    #[test]
    fn compared_as_numbers() {
        let decimal = |text: &str| Decimal::parse(text).unwrap();
        for (a, order, b) in [
            ("1", Ordering::Equal, "1.0"),
            ("99.99", Ordering::Less, "100"),
            ("100.000000000000001", Ordering::Greater, "100"),
            ("-1", Ordering::Less, "0"),
            ("-1", Ordering::Greater, "-1.5"),
            ("9007199254740991", Ordering::Greater, "0.1"),
            ("0.1", Ordering::Less, "0.11"),
        ] {
            assert_eq!(decimal(a).partial_cmp(&decimal(b)), Some(order), "{a} {b}");
        }
    }
}
