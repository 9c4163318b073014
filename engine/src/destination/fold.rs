//! Folding of text, so that what careless servers take for equal is equal: case, width, ligatures, marks.

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_normalizer::uts46::Uts46MapperBorrowed;
use std::borrow::Cow;

/// NFKC, case folding and the removal of what cannot be seen, in one pass (UTS #46 section 4, step 1). IDNA uses the same
/// tables for hosts.
const MAPPER: Uts46MapperBorrowed<'static> = Uts46MapperBorrowed::new();

/// NFKC alone, which some servers apply to paths.
const NFKC: ComposingNormalizerBorrowed<'static> = ComposingNormalizerBorrowed::new_nfkc();

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
            _ => {
                let start = narrowed.len();
                narrowed.extend(NFKC.normalize_iter(std::iter::once(c)));
                let separates = narrowed.get(start..).is_some_and(|mapped| mapped.contains(['/', '\\', '.']));
                if !separates {
                    narrowed.truncate(start);
                    narrowed.push(c);
                }
            }
        }
    }
    (narrowed != text).then_some(narrowed)
}
