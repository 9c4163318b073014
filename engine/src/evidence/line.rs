//! One line of JSON: how records and openings become bytes.
//!
//! Text that an agent chose ends up in these lines, and lines end up in terminals. JSON escapes C0; everything else that
//! moves a cursor, reorders text or hides in it is escaped here as `\uXXXX`, which every JSON reader undoes.

use serde::Serialize;
use std::borrow::Cow;
use std::fmt::Write as _;

/// Serialises a value as one line, without the newline.
///
/// Fails only for values JSON cannot express (a map whose keys are not strings).
pub fn to_line<T: Serialize + ?Sized>(value: &T) -> Result<String, serde_json::Error> {
    serde_json::to_string(value).map(escape)
}

/// The same for people, over several lines.
pub fn to_pretty<T: Serialize + ?Sized>(value: &T) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(value).map(escape)
}

/// Whether a character may be shown to a person as it is. What may not: controls (C0, U+007F, C1), line and paragraph
/// separators, bidirectional controls (Unicode UAX #9), and characters without any visible form, tags among them, in
/// which text can hide.
pub const fn is_plain(c: char) -> bool {
    !matches!(c,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Text for a terminal: what [`is_plain`] refuses becomes `\u{...}`, and so does the backslash, so that it is plain which of
/// the two the text had.
pub fn display(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| is_plain(c) && c != '\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            _ if is_plain(c) => out.push(c),
            // Writing to a String cannot fail.
            _ => drop(write!(out, "\\u{{{:04x}}}", u32::from(c))),
        }
    }
    Cow::Owned(out)
}

/// Escapes what is not plain in JSON text. Outside of strings JSON is ASCII, and a serialiser writes no control characters but
/// newlines, so whatever is found stands in a string.
fn escape(json: String) -> String {
    if json.bytes().all(|b| b < 0x7f) {
        return json;
    }
    let mut out = String::with_capacity(json.len().saturating_add(16));
    for c in json.chars() {
        if is_plain(c) || c == '\n' {
            out.push(c);
        } else {
            // Beyond the basic plane JSON knows surrogate pairs only (RFC 8259, section 7).
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hostile_characters_are_escaped_and_survive() {
        let text = "a\u{1b}[2J\u{7f}\u{9b}31m\u{202e}\u{2066}\u{2028}\u{200b}\u{e0041}\u{feff}\"\\\n é漢😀";
        let line = to_line(text).unwrap();
        assert!(line.chars().all(is_plain), "{line}");
        assert!(line.contains("é漢😀"), "{line}");
        assert!(line.contains(r"\udb40\udc41"), "{line}");
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
        let pretty = to_pretty(&[text]).unwrap();
        assert!(pretty.chars().all(|c| is_plain(c) || c == '\n'), "{pretty}");
        assert_eq!(serde_json::from_str::<[String; 1]>(&pretty).unwrap(), [text]);
        assert_eq!(display("a\u{1b}b\\"), r"a\u{001b}b\\");
        assert!(matches!(display("plain é"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn any_text_makes_one_plain_line_that_reads_back(text in any::<String>()) {
            let line = to_line(&text).unwrap();
            prop_assert!(line.chars().all(is_plain));
            prop_assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text.clone());
            prop_assert!(display(&text).chars().all(is_plain));
        }
    }
}
