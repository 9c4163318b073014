//! Paths as a policy names them: segments, `*` for one, `**` at the end for the rest.
//!
//! Patterns and paths are compared segment by segment after decoding. A pattern is written in canonical form: what needs no
//! escape has none, what needs one has it in upper case.

use super::fold::fold;
use super::opening::{PathOpening, PathOpenings};
use super::{CanonicalPath, DestinationError, RequestTarget};
use std::fmt;

/// A path as a policy names it.
///
/// `*` fits one segment that is not empty; `**`, only as the last, fits zero or more of any kind, so that `/a/**` fits
/// `/a`, `/a/` and `/a/b/`. A trailing slash is part of the path: `/a/` is not `/a`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathPattern {
    text: String,
    segments: Vec<Segment>,
    rest: bool,
    needs: PathOpenings,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Segment {
    Literal { text: String, folded: String },
    One,
}

/// How closely a pattern fits a path; greater is closer. Longer, then with fewer wildcards, then without `**`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathSpecificity {
    segments: usize,
    literals: usize,
    whole: bool,
}

/// Why a text is no path pattern. `Display` says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathPatternError {
    /// Does not start with `/`.
    NotAbsolute,
    /// A query or fragment.
    Query,
    /// `**` before the end.
    RestInside,
    /// A `*` that is only part of a segment.
    StarInSegment,
    /// A `{` or `}`: a template.
    Template,
    /// Not the form that segments are compared in.
    NotCanonical {
        /// That form.
        canonical: String,
    },
    /// Something that no path can have.
    Path(DestinationError),
}

impl fmt::Display for PathPatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAbsolute => f.write_str("does not start with `/`; write the whole path, or `/**` for every path"),
            Self::Query => f.write_str("`?` or `#` in a path; queries go to `parameters` of the rule"),
            Self::RestInside => f.write_str("`**` can only be the last segment; write `*` for one segment"),
            Self::StarInSegment => f.write_str(
                "`*` can only be a whole segment; name the values one by one, write `%2A` for the character",
            ),
            Self::Template => f.write_str("a template; write `*` for a segment that varies"),
            Self::NotCanonical { canonical } => write!(f, "not the canonical form; write `{canonical}`"),
            Self::Path(error) => write!(f, "{error}; no request can have such a path"),
        }
    }
}

impl std::error::Error for PathPatternError {}

/// What a pattern may contain literally. Whether requests may is for the destination to open, see
/// [`PathPattern::needs`]. Raw bytes and characters are let in to be told their escaped form.
const IN_PATTERNS: &[PathOpening] = &[
    PathOpening::EmptySegment,
    PathOpening::Semicolon,
    PathOpening::EncodedSlash,
    PathOpening::EncodedBackslash,
    PathOpening::EncodedPercent,
    PathOpening::Lookalike,
    PathOpening::RawByte,
    PathOpening::RawCharacter,
    PathOpening::RawBackslash,
];

impl PathPattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, PathPatternError> {
        if !text.starts_with('/') {
            return Err(PathPatternError::NotAbsolute);
        }
        if text.contains(['?', '#']) {
            return Err(PathPatternError::Query);
        }
        if text.contains(['{', '}']) {
            return Err(PathPatternError::Template);
        }
        let openings = IN_PATTERNS.iter().copied().collect();
        let path = RequestTarget::parse(text.as_bytes(), openings).map_err(PathPatternError::Path)?.path;
        let mut raw: Vec<&str> = text.split('/').skip(1).collect();
        let rest = raw.last() == Some(&"**");
        if rest {
            raw.pop();
        }
        let mut segments = Vec::with_capacity(raw.len());
        let mut canonical = String::with_capacity(text.len());
        for (raw, decoded) in raw.into_iter().zip(path.segments()) {
            canonical.push('/');
            match raw {
                "*" => {
                    canonical.push('*');
                    segments.push(Segment::One);
                }
                "**" => return Err(PathPatternError::RestInside),
                _ if raw.contains('*') => return Err(PathPatternError::StarInSegment),
                _ => {
                    push_encoded(&mut canonical, decoded);
                    segments.push(Segment::Literal { text: decoded.clone(), folded: fold(decoded).into_owned() });
                }
            }
        }
        if rest {
            canonical.push_str("/**");
        }
        if canonical != text {
            return Err(PathPatternError::NotCanonical { canonical });
        }
        Ok(Self { text: canonical, segments, rest, needs: path.used() })
    }

    /// The pattern as it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What a destination must open for this pattern to fit anything. Closed for nearly every pattern.
    pub fn needs(&self) -> PathOpenings {
        self.needs
    }

    /// Whether the pattern fits, and how closely. For allow rules: letters in their case, and where dot segments are
    /// open every reading of the path, so that `/public/../admin` is not under `/public/**`.
    pub fn matches(&self, path: &CanonicalPath) -> Option<PathSpecificity> {
        let same = |text: &str, _: &str, segment: &str| text == segment;
        let readings = if path.used().has(PathOpening::DotSegment) { path.other_readings() } else { &[] };
        let fits = self.fits(path.segments(), same) && readings.iter().all(|reading| self.fits(reading, same));
        fits.then(|| self.specificity())
    }

    /// How closely the pattern fits whatever path there is; only `/**` does.
    pub fn matches_everything(&self) -> Option<PathSpecificity> {
        (self.rest && self.segments.is_empty()).then(|| self.specificity())
    }

    /// Whether the pattern fits when case is ignored. For deny rules: servers that ignore case, fold compatible characters
    /// or read an open path in another way must not be a way round.
    ///
    /// Text is compared after NFKC and case folding in both directions: `ｅ`, `ⓔ` and `E` are `e`, `ſ` is `s`, the Kelvin
    /// sign `k`, `ß` is `ss`. Any reading of the path counts.
    pub fn matches_ignoring_case(&self, path: &CanonicalPath) -> bool {
        let same = |_: &str, folded: &str, segment: &str| fold(segment) == folded;
        self.fits(path.segments(), same) || path.other_readings().iter().any(|reading| self.fits(reading, same))
    }

    fn specificity(&self) -> PathSpecificity {
        let literals = self.segments.iter().filter(|segment| matches!(segment, Segment::Literal { .. })).count();
        PathSpecificity { segments: self.segments.len(), literals, whole: !self.rest }
    }

    fn fits(&self, path: &[String], same: impl Fn(&str, &str, &str) -> bool) -> bool {
        let length = if self.rest { path.len() >= self.segments.len() } else { path.len() == self.segments.len() };
        length
            && self.segments.iter().zip(path).all(|(pattern, segment)| match pattern {
                Segment::Literal { text, folded } => same(text, folded, segment),
                Segment::One => !segment.is_empty(),
            })
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::str::FromStr for PathPattern {
    type Err = PathPatternError;

    fn from_str(text: &str) -> Result<Self, PathPatternError> {
        Self::parse(text)
    }
}

/// Appends a segment with the escapes it needs: all but `pchar` (RFC 3986 section 3.3) and brackets, and `*`, which is
/// the wildcard here.
fn push_encoded(out: &mut String, segment: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in segment.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => out.push(char::from(byte)),
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'+' | b',' | b';' | b'=' => {
                out.push(char::from(byte));
            }
            b':' | b'@' | b'[' | b']' => out.push(char::from(byte)),
            _ => {
                out.push('%');
                for nibble in [byte >> 4, byte & 0xf] {
                    out.push(HEX.get(usize::from(nibble)).copied().map_or('0', char::from));
                }
            }
        }
    }
}
