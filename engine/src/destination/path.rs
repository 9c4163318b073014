//! The canonical path: never rewritten, refused when servers could read it differently (RFC 3986 section 3.3, RFC 9110
//! section 4.2.3).
//!
//! What the bytes decode to is decided here once: rules, parameters and records all use [`CanonicalPath::segments`].

use super::opening::{PathOpening, PathOpenings};
use super::{DestinationError, fold, lenient, readings};

/// The most bytes of path and query. Policies set smaller limits (`url`); this one bounds the work of reading.
pub const MAX_TARGET: usize = 65_536;

/// The most segments of a path.
pub const MAX_SEGMENTS: usize = 256;

/// A path that every server reads the same way, but for what the destination opened.
///
/// INVARIANT: `raw` starts with `/`, is printable ASCII without space, `#` and `?` unless `raw-byte` was opened, and
/// `segments` are its decoded parts between slashes. Made only by [`RequestTarget::parse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanonicalPath {
    raw: String,
    segments: Vec<String>,
    used: PathOpenings,
    other_readings: Vec<Vec<String>>,
}

impl CanonicalPath {
    /// As it was sent, and goes on.
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// Decoded segments between slashes; a trailing slash gives a last empty one. `/` is one empty segment.
    pub fn segments(&self) -> &[String] {
        &self.segments
    }

    /// What the path contains that had to be open. Closed for nearly every path.
    pub fn used(&self) -> PathOpenings {
        self.used
    }

    /// The segments as other servers may see them. Empty unless something that had to be open was used.
    pub(super) fn other_readings(&self) -> &[Vec<String>] {
        &self.other_readings
    }
}

/// `:path` in origin form (RFC 9112 section 3.2.1): a path and perhaps a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestTarget {
    /// The path.
    pub path: CanonicalPath,
    /// The query without its `?`, as it was sent; `Some("")` for a lone `?`.
    pub query: Option<String>,
}

impl RequestTarget {
    /// Reads the bytes that the host handed over.
    pub fn parse(bytes: &[u8], openings: PathOpenings) -> Result<Self, DestinationError> {
        if bytes.len() > MAX_TARGET {
            return Err(DestinationError::TargetTooLong { bytes: bytes.len() });
        }
        match bytes.first() {
            Some(b'/') => {}
            Some(b'*') if bytes.len() == 1 => return Err(DestinationError::TargetAsterisk),
            _ => return Err(DestinationError::TargetNotOrigin),
        }
        let (path, query) = match bytes.iter().position(|b| *b == b'?') {
            Some(at) => {
                let (path, rest) = bytes.split_at(at);
                (path, rest.split_first().map(|(_, query)| (query, at.saturating_add(1))))
            }
            None => (bytes, None),
        };
        let path = parse_path(path, openings)?;
        let query = query.map(|(query, start)| parse_query(query, start)).transpose()?;
        Ok(Self { path, query })
    }
}

fn parse_query(query: &[u8], start: usize) -> Result<String, DestinationError> {
    for (offset, byte) in query.iter().copied().enumerate() {
        if !matches!(byte, 0x21..=0x7e) || byte == b'#' {
            return Err(DestinationError::QueryCharacter { byte, at: start.saturating_add(offset) });
        }
    }
    // Printable ASCII was just checked; the fallback is never taken.
    String::from_utf8(query.to_vec()).map_err(|_| DestinationError::QueryCharacter { byte: 0, at: start })
}

fn parse_path(bytes: &[u8], openings: PathOpenings) -> Result<CanonicalPath, DestinationError> {
    let text = std::str::from_utf8(bytes).map_err(|error| DestinationError::PathNotUtf8 { at: error.valid_up_to() })?;
    let mut scan = Scan { allowed: openings, used: PathOpenings::CLOSED };
    for (at, byte) in bytes.iter().copied().enumerate() {
        scan.raw_byte(byte, at)?;
    }
    let rest = text.strip_prefix('/').ok_or(DestinationError::TargetNotOrigin)?;
    let count = rest.bytes().filter(|b| *b == b'/').count().saturating_add(1);
    if count > MAX_SEGMENTS {
        return Err(DestinationError::SegmentsTooMany);
    }
    let mut segments = Vec::with_capacity(count);
    let mut at = 1_usize;
    for (index, segment) in rest.split('/').enumerate() {
        if segment.is_empty() && index.saturating_add(1) < count {
            scan.need(PathOpening::EmptySegment, at)?;
        }
        segments.push(scan.segment(segment, at)?);
        at = at.saturating_add(segment.len()).saturating_add(1);
    }
    let other_readings = if scan.used.is_closed() {
        Vec::new()
    } else {
        readings::others(text, &segments).ok_or(DestinationError::ReadingsTooMany)?
    };
    Ok(CanonicalPath { raw: text.to_owned(), segments, used: scan.used, other_readings })
}

struct Scan {
    allowed: PathOpenings,
    used: PathOpenings,
}

impl Scan {
    fn need(&mut self, opening: PathOpening, at: usize) -> Result<(), DestinationError> {
        if !self.allowed.has(opening) {
            return Err(DestinationError::PathClosed { opening, at });
        }
        self.used = self.used.with(opening);
        Ok(())
    }

    fn raw_byte(&mut self, byte: u8, at: usize) -> Result<(), DestinationError> {
        match byte {
            0x00..=0x20 | 0x7f | b'#' | b'?' => Err(DestinationError::PathCharacter { byte, at }),
            b';' => self.need(PathOpening::Semicolon, at),
            b'\\' => self.need(PathOpening::RawBackslash, at),
            b'"' | b'<' | b'>' | b'|' | b'^' | b'`' | b'{' | b'}' => self.need(PathOpening::RawCharacter, at),
            0x80.. => self.need(PathOpening::RawByte, at),
            // `[` and `]` are not in RFC 3986's path either, but the URL Standard leaves them raw, so every client
            // that follows it sends them, and no server is known to read them as anything else.
            _ => Ok(()),
        }
    }

    /// Decodes one segment that starts at byte `start` of the path.
    fn segment(&mut self, segment: &str, start: usize) -> Result<String, DestinationError> {
        let mut decoded = Vec::with_capacity(segment.len());
        let bytes = segment.as_bytes();
        let mut i = 0_usize;
        while let Some(byte) = bytes.get(i).copied() {
            let at = start.saturating_add(i);
            if byte != b'%' {
                decoded.push(byte);
                i = i.saturating_add(1);
                continue;
            }
            let Some(value) = lenient::escape_at(bytes, i) else {
                self.need(PathOpening::BadEscape, at)?;
                decoded.push(byte);
                i = i.saturating_add(1);
                continue;
            };
            match value {
                b'/' => self.need(PathOpening::EncodedSlash, at)?,
                b'\\' => self.need(PathOpening::EncodedBackslash, at)?,
                b'%' => self.need(PathOpening::EncodedPercent, at)?,
                b';' => self.need(PathOpening::Semicolon, at)?,
                0x00..=0x1f | 0x7f => self.need(PathOpening::EncodedControl, at)?,
                _ => {}
            }
            decoded.push(value);
            i = i.saturating_add(3);
        }
        if lenient::reads_as_dots(&decoded) {
            self.need(PathOpening::DotSegment, start)?;
        }
        let text = match String::from_utf8(decoded) {
            Ok(text) => text,
            Err(error) => {
                self.need(PathOpening::InvalidUtf8, start)?;
                String::from_utf8_lossy(error.as_bytes()).into_owned()
            }
        };
        if let Some(narrowed) = fold::narrow(&text) {
            let separators = |text: &str| text.bytes().filter(|b| matches!(b, b'/' | b'\\')).count();
            let dots = lenient::reads_as_dots(narrowed.as_bytes());
            if separators(&narrowed) > separators(&text) || dots {
                self.need(PathOpening::Lookalike, start)?;
            }
            if dots {
                self.need(PathOpening::DotSegment, start)?;
            }
        }
        // C1 controls (U+0080 to U+009F): NEL among them ends a line for some readers.
        if text.chars().any(|c| matches!(c, '\u{80}'..='\u{9f}')) {
            self.need(PathOpening::EncodedControl, start)?;
        }
        Ok(text)
    }
}
