//! How much a name can say: the length of a label under a fixed code, in sixteenths of a bit.
//!
//! The code is a real one: what it spends on all labels there are fits into one (Kraft's inequality, tested below), so
//! whoever picks labels to carry a message, in whatever alphabet and from whatever word list, carries on average no more
//! bits than they cost here. Ordinary names are cheap because the code knows common words and how words are spelt; hex,
//! base32 and base64 cost what their alphabets carry.
//!
//! A label is cut into pieces (a common word, letters by their frequency after one another, digits, hex, letters and
//! digits in any order, a hyphen), the cheapest way counts. Pieces of the last three kinds look encoded.

use super::score_words::{BIGRAMS, WORDS};

/// Sixteenths of a bit in a bit.
pub const BIT: u32 = 16;

/// Bits of encoded look from which on a label counts as one that carries data: ten hex digits, eight base32 ones.
pub const ENCODED_LABEL: u32 = 40 * BIT;

/// What a text costs, and how much of that looks encoded. In sixteenths of a bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Score {
    /// All of it.
    pub bits: u32,
    /// Of it what lies in hex, in letters and digits of no word, and in long runs of digits, by their alphabets alone.
    pub encoded: u32,
}

// Costs of what comes next in a label. Their probabilities sum to less than one.
const END: u32 = 26;
const WORD: u32 = 35;
const LETTERS: u32 = 40;
const DIGITS: u32 = 56;
const HYPHEN: u32 = 51;
const HEX: u32 = 81;
const ANY: u32 = 75;
const UNDERSCORE: u32 = 107;

/// One of [`WORDS`], of which there are at most 256.
const WORD_INDEX: u32 = 8 * BIT;
/// A character of each alphabet, and whether the piece goes on after it.
const LETTERS_ON: u32 = 5;
const LETTERS_STOP: u32 = 38;
const DIGIT: u32 = 54;
const DIGITS_ON: u32 = 8;
const DIGITS_STOP: u32 = 29;
const HEX_DIGIT: u32 = 64;
const ANY_CHARACTER: u32 = 83;
const LONG_ON: u32 = 1;
const LONG_STOP: u32 = 73;

/// Digits in a row that are a number rather than data: an account, a date, a version.
const NUMBER: u32 = 12;

/// A character of letters in both cases and digits, for texts whose case counts.
const MIXED_CHARACTER: u32 = 96;

/// The most bytes of a text that are scored; what is longer costs a byte a byte. A label has at most 63.
const LONGEST: usize = 1024;

/// What a label of a host costs: canonical, so lower case. The dot before it is in it. Some 2 us for 14 bytes.
pub fn label(label: &str) -> Score {
    let score = cheapest(label.as_bytes(), ANY_CHARACTER);
    Score { bits: score.bits.saturating_add(BIT), ..score }
}

/// What a segment of a path costs. Case counts where letters of no word have both; every character but letters and
/// digits costs eight bits, and none of that looks encoded.
pub fn segment(segment: &str) -> Score {
    let mut total = Score::default();
    for part in segment.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_') {
        let mixed = part.bytes().any(|b| b.is_ascii_uppercase()) && part.bytes().any(|b| b.is_ascii_lowercase());
        let character = if mixed { MIXED_CHARACTER } else { ANY_CHARACTER };
        let score = cheapest(part.to_ascii_lowercase().as_bytes(), character);
        total.bits = total.bits.saturating_add(score.bits).saturating_add(8 * BIT);
        total.encoded = total.encoded.saturating_add(score.encoded);
    }
    total
}

/// What follows the best way to a place in a text, by the kind of the piece that is open there.
#[derive(Clone, Copy)]
struct Open {
    score: Score,
    digits: u32,
    digits_since: Score,
}

const FAR: Score = Score { bits: u32::MAX, encoded: 0 };

/// The cheapest way to cut a text into pieces (Viterbi): one pass, in each place the best score with no piece open, and
/// with each kind of run open.
fn cheapest(text: &[u8], any_character: u32) -> Score {
    if text.len() > LONGEST {
        let bits = u32::try_from(text.len()).unwrap_or(u32::MAX).saturating_mul(8 * BIT);
        return Score { bits, encoded: bits };
    }
    // `closed[n]`: the best way to the first n bytes. A word may reach several bytes ahead.
    let mut closed = vec![FAR; text.len().saturating_add(1)];
    if let Some(start) = closed.first_mut() {
        *start = Score::default();
    }
    let (mut letters, mut hex, mut any) = (FAR, FAR, FAR);
    let mut digits = Open { score: FAR, digits: 0, digits_since: FAR };
    let mut before = None;
    for (at, byte) in text.iter().copied().enumerate() {
        let start = closed.get(at).copied().unwrap_or(FAR);
        let mut reach = |end: usize, score: Score| {
            if let Some(slot) = closed.get_mut(end) {
                *slot = (*slot).min(score);
            }
        };
        let next = at.saturating_add(1);
        let rest = text.get(at..).unwrap_or_default();
        for word in words_at(rest) {
            reach(at.saturating_add(word), start.plus(WORD + WORD_INDEX, 0));
        }
        match byte {
            b'-' => reach(next, start.plus(HYPHEN, 0)),
            b'_' => reach(next, start.plus(UNDERSCORE, 0)),
            _ => {}
        }
        // Each run: begun here, or carried on from the byte before.
        letters = match bigram(None, byte) {
            Some(first) => {
                let on = before.and_then(|before| bigram(Some(before), byte)).unwrap_or(first);
                start.plus(LETTERS + first, 0).min(letters.plus(LETTERS_ON + on, 0))
            }
            None => FAR,
        };
        digits = if byte.is_ascii_digit() {
            let begun = start.plus(DIGITS + DIGIT, 0);
            let on = digits.score.plus(DIGITS_ON + DIGIT, 0);
            if begun <= on {
                Open { score: begun, digits: 1, digits_since: start }
            } else {
                Open { score: on, digits: digits.digits.saturating_add(1), ..digits }
            }
        } else {
            Open { score: FAR, ..digits }
        };
        let run = |open: Score, fits: bool, begin: u32, character: u32| {
            if fits {
                start.plus(begin + character, character).min(open.plus(LONG_ON + character, character))
            } else {
                FAR
            }
        };
        hex = run(hex, byte.is_ascii_hexdigit(), HEX, HEX_DIGIT);
        any = run(any, byte.is_ascii_alphanumeric(), ANY, any_character);
        reach(next, letters.plus(LETTERS_STOP, 0));
        let data = if digits.digits > NUMBER { digits.digits.saturating_mul(DIGIT) } else { 0 };
        let encoded = digits.digits_since.encoded.saturating_add(data);
        reach(next, Score { encoded, ..digits.score.plus(DIGITS_STOP, 0) });
        reach(next, hex.plus(LONG_STOP, 0));
        reach(next, any.plus(LONG_STOP, 0));
        // What fits no piece at all: a byte as it is, which no host has.
        if !byte.is_ascii_alphanumeric() && byte != b'-' && byte != b'_' {
            reach(next, start.plus(UNDERSCORE + 8 * BIT, 8 * BIT));
        }
        before = Some(byte);
    }
    closed.last().copied().unwrap_or_default().plus(END, 0)
}

/// The common word of a number, for whoever wants to say something in the cheapest words there are.
#[cfg(test)]
pub(crate) fn common_word(number: u8) -> &'static str {
    WORDS[usize::from(number) % WORDS.len()]
}

impl Score {
    const fn plus(self, bits: u32, encoded: u32) -> Self {
        // What is out of reach stays so.
        if self.bits == u32::MAX {
            return self;
        }
        Self { bits: self.bits.saturating_add(bits), encoded: self.encoded.saturating_add(encoded) }
    }
}

/// What a letter costs after another, or at the start.
fn bigram(before: Option<u8>, letter: u8) -> Option<u32> {
    let index = |letter: u8| letter.is_ascii_lowercase().then(|| usize::from(letter.wrapping_sub(b'a')));
    let row = match before {
        Some(before) => index(before)?.saturating_add(1),
        None => 0,
    };
    BIGRAMS.get(row)?.get(index(letter)?).copied().map(u32::from)
}

/// Lengths of the common words that a text starts with.
fn words_at(text: &[u8]) -> impl Iterator<Item = usize> {
    let first = text.first().copied().unwrap_or_default();
    let start = WORDS.partition_point(|word| word.as_bytes().first().is_some_and(|byte| *byte < first));
    WORDS
        .get(start..)
        .unwrap_or_default()
        .iter()
        .take_while(move |word| word.as_bytes().first() == Some(&first))
        .filter(move |word| text.starts_with(word.as_bytes()))
        .map(|word| word.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What codewords of these lengths take of a code.
    fn taken(costs: impl IntoIterator<Item = u32>) -> f64 {
        costs.into_iter().map(|cost| (-f64::from(cost) / 16.0).exp2()).sum()
    }

    #[test]
    fn every_choice_leaves_room_for_its_alternatives() {
        let choices = [
            taken([END, WORD, LETTERS, DIGITS, HYPHEN, HEX, ANY, UNDERSCORE]),
            taken(std::iter::repeat_n(WORD_INDEX, WORDS.len())),
            taken(std::iter::repeat_n(DIGIT, 10)),
            taken(std::iter::repeat_n(HEX_DIGIT, 16)),
            taken(std::iter::repeat_n(ANY_CHARACTER, 36)),
            taken([LETTERS_ON, LETTERS_STOP]),
            taken([DIGITS_ON, DIGITS_STOP]),
            taken([LONG_ON, LONG_STOP]),
            taken(std::iter::repeat_n(MIXED_CHARACTER, 62)),
        ];
        let rows = BIGRAMS.map(|row| taken(row.map(u32::from)));
        for (i, sum) in choices.into_iter().chain(rows).enumerate() {
            assert!((0.85..=1.0).contains(&sum), "choice {i}: {sum}");
        }
    }

    #[test]
    fn common_words_are_sorted_and_of_host_names() {
        assert!(WORDS.is_sorted() && WORDS.len() <= 256);
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        assert!(WORDS.iter().all(|word| !word.is_empty() && word.bytes().all(fits)));
    }
}
