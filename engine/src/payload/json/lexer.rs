//! The tokens of JSON (RFC 8259), each with its place in the text. No escape is taken on trust: what is accepted here has
//! one meaning.

use super::Fault;
use std::borrow::Cow;

/// A string as it stands in the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quoted<'a> {
    /// With its quotes.
    text: &'a str,
    escaped: bool,
}

impl<'a> Quoted<'a> {
    /// What it says.
    pub(super) fn decode(self) -> Result<Cow<'a, str>, Fault> {
        if self.escaped {
            // Its escapes were checked; a decoder that thinks otherwise is heeded.
            return serde_json::from_slice(self.text.as_bytes()).map(Cow::Owned).map_err(|_| Fault::Escape);
        }
        let inner = self.text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        inner.map(Cow::Borrowed).ok_or(Fault::Escape)
    }
}

/// Reads tokens from the front.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Bytes read so far.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// The next byte that is not white space (RFC 8259 section 2).
    pub(super) fn next_token(&mut self) -> Option<u8> {
        let rest = self.rest();
        let space = rest.iter().position(|b| !matches!(b, b' ' | b'\t' | b'\n' | b'\r')).unwrap_or(rest.len());
        self.at += space;
        rest.get(space).copied()
    }

    /// Takes one byte that was seen.
    pub(super) fn take(&mut self) {
        self.at += 1;
    }

    pub(super) fn fault(&self) -> Fault {
        Fault::Syntax { at: self.at }
    }

    /// `true`, `false`, `null`.
    pub(super) fn word(&mut self, word: &str) -> Result<(), Fault> {
        if !self.rest().starts_with(word.as_bytes()) {
            return Err(self.fault());
        }
        self.at += word.len();
        Ok(())
    }

    /// A number, as it is written. Whatever follows it is for the caller to judge.
    pub(super) fn number(&mut self) -> Result<&'a str, Fault> {
        let start = self.at;
        if self.rest().first() == Some(&b'-') {
            self.at += 1;
        }
        match self.digits() {
            0 => return Err(self.fault()),
            1 => {}
            // No number begins with a zero but zero.
            count if self.text.as_bytes().get(self.at - count) == Some(&b'0') => return Err(self.fault()),
            _ => {}
        }
        if self.rest().first() == Some(&b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(self.fault());
            }
        }
        if matches!(self.rest().first(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.rest().first(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(self.fault());
            }
        }
        self.text.get(start..self.at).ok_or_else(|| self.fault())
    }

    fn digits(&mut self) -> usize {
        let rest = self.rest();
        let count = rest.iter().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len());
        self.at += count;
        count
    }

    /// A string, from its quote on.
    pub(super) fn string(&mut self) -> Result<Quoted<'a>, Fault> {
        let start = self.at;
        if self.rest().first() != Some(&b'"') {
            return Err(self.fault());
        }
        self.at += 1;
        let mut escaped = false;
        loop {
            let rest = self.rest();
            let plain = rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f));
            self.at += plain.unwrap_or(rest.len());
            match plain.and_then(|at| rest.get(at)) {
                Some(b'"') => {
                    self.at += 1;
                    let text = self.text.get(start..self.at).ok_or_else(|| self.fault())?;
                    return Ok(Quoted { text, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return Err(self.fault()),
            }
        }
    }

    /// One escape, or the two that make one character (RFC 8259 section 7).
    fn escape(&mut self) -> Result<(), Fault> {
        match self.rest().get(1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                return Ok(());
            }
            Some(b'u') => {}
            _ => return Err(self.fault()),
        }
        match self.hex()? {
            0xd800..=0xdbff => {
                let low = self.hex().map_err(|_| Fault::Surrogate)?;
                if (0xdc00..=0xdfff).contains(&low) { Ok(()) } else { Err(Fault::Surrogate) }
            }
            0xdc00..=0xdfff => Err(Fault::Surrogate),
            _ => Ok(()),
        }
    }

    /// `\uXXXX`.
    fn hex(&mut self) -> Result<u16, Fault> {
        let digits = self.text.get(self.at..).and_then(|rest| rest.strip_prefix("\\u")).and_then(|rest| rest.get(..4));
        let hex = digits.filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let unit = hex.and_then(|hex| u16::from_str_radix(hex, 16).ok()).ok_or_else(|| self.fault())?;
        self.at += 6;
        Ok(unit)
    }
}
