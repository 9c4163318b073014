//! Folding of text, so that what careless servers take for equal is equal: case, width, ligatures, marks.

use icu_normalizer::uts46::Uts46MapperBorrowed;
use std::borrow::Cow;

/// NFKC, case folding and the removal of what cannot be seen, in one pass (UTS #46 section 4, step 1). IDNA uses the same
/// tables for hosts.
const MAPPER: Uts46MapperBorrowed<'static> = Uts46MapperBorrowed::new();

/// All characters beyond ASCII in whose NFKC, which some servers apply to paths, there is a separator or a dot; and that
/// form. The tables for all the others would take 58 KB of module. A test holds this one against them.
const NFKC: [(char, &str); 38] = [
    ('\u{2024}', "."),
    ('\u{2025}', ".."),
    ('\u{2026}', "..."),
    ('\u{2100}', "a/c"),
    ('\u{2101}', "a/s"),
    ('\u{2105}', "c/o"),
    ('\u{2106}', "c/u"),
    ('\u{2488}', "1."),
    ('\u{2489}', "2."),
    ('\u{248a}', "3."),
    ('\u{248b}', "4."),
    ('\u{248c}', "5."),
    ('\u{248d}', "6."),
    ('\u{248e}', "7."),
    ('\u{248f}', "8."),
    ('\u{2490}', "9."),
    ('\u{2491}', "10."),
    ('\u{2492}', "11."),
    ('\u{2493}', "12."),
    ('\u{2494}', "13."),
    ('\u{2495}', "14."),
    ('\u{2496}', "15."),
    ('\u{2497}', "16."),
    ('\u{2498}', "17."),
    ('\u{2499}', "18."),
    ('\u{249a}', "19."),
    ('\u{249b}', "20."),
    ('\u{33c2}', "a.m."),
    ('\u{33c7}', "Co."),
    ('\u{33d8}', "p.m."),
    ('\u{fe19}', "..."),
    ('\u{fe30}', ".."),
    ('\u{fe52}', "."),
    ('\u{fe68}', "\\"),
    ('\u{ff0e}', "."),
    ('\u{ff0f}', "/"),
    ('\u{ff3c}', "\\"),
    ('\u{1f100}', "0."),
];

/// The form in which deny rules compare text.
///
/// On top of the mapping letters are brought to upper case and back, so that all are equal that either direction makes
/// equal: `ß` is `ss`, `ı` is `i`; and a dot over an `i` counts for nothing, because Turkish servers lose it.
/// Dots and spaces at the end count for nothing, because Windows drops them.
pub(crate) fn fold(text: &str) -> Cow<'_, str> {
    let text = text.trim_end_matches(['.', ' ']);
    if text.is_ascii() {
        return if text.bytes().any(|b| b.is_ascii_uppercase()) {
            Cow::Owned(text.to_ascii_lowercase())
        } else {
            Cow::Borrowed(text)
        };
    }
    MAPPER
        .map_normalize(text.chars())
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .filter(|c| *c != '\u{307}')
        .collect()
}

/// What servers that normalise or narrow their character set make of text, as far as it concerns separators and dots.
/// `None` when that is the text itself.
pub(super) fn narrow(text: &str) -> Option<String> {
    if text.is_ascii() {
        return None;
    }
    let mut narrowed = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // Windows' best fit: fraction slash, division slash, big solidus; set minus, yen and won signs.
            '\u{2044}' | '\u{2215}' | '\u{29f8}' => narrowed.push('/'),
            '\u{2216}' | '\u{29f5}' | '\u{29f9}' | '\u{a5}' | '\u{20a9}' | '\u{ffe5}' | '\u{ffe6}' => {
                narrowed.push('\\')
            }
            _ if c.is_ascii() => narrowed.push(c),
            _ => match NFKC.iter().find(|(from, _)| *from == c) {
                Some((_, form)) => narrowed.push_str(form),
                None => narrowed.push(c),
            },
        }
    }
    (narrowed != text).then_some(narrowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use icu_normalizer::ComposingNormalizerBorrowed;

    #[test]
    fn no_character_that_becomes_a_separator_or_a_dot_is_forgotten() {
        let library = ComposingNormalizerBorrowed::new_nfkc();
        let all = ('\u{80}'..=char::MAX).map(|c| (c, library.normalize(c.encode_utf8(&mut [0; 4])).into_owned()));
        let separating: Vec<_> = all.filter(|(_, form)| form.contains(['/', '\\', '.'])).collect();
        let ours: Vec<_> = NFKC.iter().map(|(c, form)| (*c, (*form).to_owned())).collect();
        assert_eq!(ours, separating);
    }
}
