//! What in a path servers read differently. Each is closed unless a destination opens that one thing.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! openings {
    ($($(#[doc = $doc:literal])+ $variant:ident $code:literal $what:literal;)+) => {
        /// One thing in a path that servers read differently.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum PathOpening { $($(#[doc = $doc])+ $variant,)+ }

        impl PathOpening {
            /// Every opening there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word that stands in a policy.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }

            /// What it is, as a phrase for messages.
            pub const fn describe(self) -> &'static str {
                match self { $(Self::$variant => $what),+ }
            }

            /// The opening with that code.
            pub fn from_code(code: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|opening| opening.code() == code)
            }
        }
    };
}

openings! {
    /// `//`: servers drop empty segments, or do not.
    EmptySegment "empty-segment" "an empty segment";
    /// `;` raw or as `%3b`: Java servers cut the segment there, before or after decoding.
    Semicolon "semicolon" "a semicolon";
    /// `.` and `..`, raw or encoded: servers resolve them, before or after decoding, or do not. Segments of nothing but
    /// dots and spaces count, because Windows drops trailing ones.
    DotSegment "dot-segment" "a dot segment";
    /// `%2f`: a separator or a part of the segment.
    EncodedSlash "encoded-slash" "an encoded slash";
    /// `%5c`: a separator on Windows.
    EncodedBackslash "encoded-backslash" "an encoded backslash";
    /// `%25`: what follows is decoded once or twice.
    EncodedPercent "encoded-percent" "an encoded percent sign";
    /// `%00` to `%1f`, `%7f` and the C1 controls: NUL ends strings, CR and LF end lines.
    EncodedControl "encoded-control" "an encoded control character";
    /// A percent sign without two hex digits: kept, dropped or refused.
    BadEscape "bad-escape" "a percent sign without two hex digits";
    /// Escapes that do not decode to UTF-8: other character sets, or overlong forms of `/` and `.`.
    InvalidUtf8 "invalid-utf8" "escapes that are not UTF-8";
    /// A character that is not `/`, `\` or `.` and becomes one when a server normalises (NFKC) or narrows its character
    /// set: `／`, `⁄`, `＼`, `¥`, and segments of `．`, `‥` or `…`.
    Lookalike "lookalike" "a character that some servers turn into a slash, a backslash or a dot";
    /// `\` raw: a separator to the URL Standard and on Windows.
    RawBackslash "raw-backslash" "a backslash";
    /// `"`, `<`, `>`, `|`, `^`, backtick, `{` or `}` raw, which RFC 3986 does not allow in a path.
    RawCharacter "raw-character" "a character that must be encoded";
    /// Bytes over 0x7e raw. They must be UTF-8.
    RawByte "raw-byte" "a raw byte over 0x7e";
}

/// A set of openings; closed by default.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PathOpenings(u16);

impl PathOpenings {
    /// Nothing is open.
    pub const CLOSED: Self = Self(0);

    /// Whether that one thing is open.
    pub const fn has(self, opening: PathOpening) -> bool {
        self.0 & Self::bit(opening) != 0
    }

    /// This set with one more.
    #[must_use]
    pub const fn with(self, opening: PathOpening) -> Self {
        Self(self.0 | Self::bit(opening))
    }

    /// What is open in both. Where a host fits several destinations, only that is open.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is open here and not in `other`.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether nothing is open.
    pub const fn is_closed(self) -> bool {
        self.0 == 0
    }

    /// What is open, in the order of [`PathOpening::ALL`].
    pub fn iter(self) -> impl Iterator<Item = PathOpening> {
        PathOpening::ALL.iter().copied().filter(move |opening| self.has(*opening))
    }

    const fn bit(opening: PathOpening) -> u16 {
        1 << opening as u16
    }
}

impl FromIterator<PathOpening> for PathOpenings {
    fn from_iter<I: IntoIterator<Item = PathOpening>>(openings: I) -> Self {
        openings.into_iter().fold(Self::CLOSED, Self::with)
    }
}

impl fmt::Debug for PathOpenings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Serialize for PathOpenings {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for PathOpenings {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<PathOpening>::deserialize(deserializer).map(|list| list.into_iter().collect())
    }
}
