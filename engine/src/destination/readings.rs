//! What else a path can mean that uses an opening. A deny rule fits when it fits any reading: what is opened for one server
//! must not become a way round the rule at another.
//!
//! Readings are made from the decoded path by what careless servers do, each step applied and not applied.

use super::fold::narrow;
use super::lenient::{decode, overlong_ascii};

/// The most readings of a path, and the most bytes that they have together. A path with more is refused.
const MAX_READINGS: usize = 64;
const MAX_BYTES: usize = 512 * 1024;

type Segments = Vec<Vec<u8>>;

/// In the order in which a server would do them: decoding, then splitting, then cutting, then resolving.
const STEPS: &[fn(&Segments) -> Segments] = &[
    unicode_escapes,
    stray_percents,
    decode_again,
    overlong,
    narrowed,
    split_backslashes,
    split_slashes,
    end_at_nul,
    drop_controls,
    cut_parameters,
    drop_empty,
    resolve_dots,
];

/// Every reading of a path but the one that `primary` is; `None` when there are too many to tell.
pub(super) fn others(raw: &str, primary: &[String]) -> Option<Vec<Vec<String>>> {
    let decoded: Segments = raw.split('/').skip(1).map(|segment| decode(segment.as_bytes())).collect();
    let mut readings = vec![decoded];
    for step in STEPS {
        for reading in readings.clone() {
            let next = step(&reading);
            if !readings.contains(&next) {
                readings.push(next);
            }
        }
        let bytes: usize = readings.iter().flatten().map(Vec::len).fold(0, usize::saturating_add);
        if readings.len() > MAX_READINGS || bytes > MAX_BYTES {
            return None;
        }
    }
    let mut texts: Vec<Vec<String>> = Vec::with_capacity(readings.len());
    for reading in &readings {
        for text in [in_utf8(reading), in_latin1(reading)] {
            if text != primary && !texts.contains(&text) {
                texts.push(text);
            }
        }
    }
    Some(texts)
}

fn in_utf8(segments: &Segments) -> Vec<String> {
    segments.iter().map(|segment| String::from_utf8_lossy(segment).into_owned()).collect()
}

/// Bytes as ISO 8859-1, but only where they are not UTF-8: a server that takes valid UTF-8 for Latin-1 has other troubles.
fn in_latin1(segments: &Segments) -> Vec<String> {
    segments
        .iter()
        .map(|segment| match std::str::from_utf8(segment) {
            Ok(text) => text.to_owned(),
            Err(_) => segment.iter().map(|b| char::from(*b)).collect(),
        })
        .collect()
}

fn each(segments: &Segments, change: impl Fn(&[u8]) -> Vec<u8>) -> Segments {
    segments.iter().map(|segment| change(segment)).collect()
}

/// `%u0061`, which IIS decodes.
fn unicode_escapes(segments: &Segments) -> Segments {
    each(segments, |segment| {
        let mut out = Vec::with_capacity(segment.len());
        let mut rest = segment;
        while let Some((first, tail)) = rest.split_first() {
            rest = match rest {
                [b'%', b'u' | b'U', a, b, c, d, after @ ..] => match unicode([*a, *b, *c, *d]) {
                    Some(c) => {
                        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                        after
                    }
                    None => {
                        out.push(*first);
                        tail
                    }
                },
                _ => {
                    out.push(*first);
                    tail
                }
            };
        }
        out
    })
}

fn unicode(digits: [u8; 4]) -> Option<char> {
    let digits = std::str::from_utf8(&digits).ok()?;
    let hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
    if hex { u32::from_str_radix(digits, 16).ok().and_then(char::from_u32) } else { None }
}

/// Percent signs that start no escape, dropped.
fn stray_percents(segments: &Segments) -> Segments {
    each(segments, |segment| segment.iter().copied().filter(|b| *b != b'%').collect())
}

/// Decoded until nothing changes, or four times.
fn decode_again(segments: &Segments) -> Segments {
    each(segments, |segment| {
        let mut bytes = segment.to_vec();
        for _ in 0..4 {
            bytes = decode(&bytes);
        }
        bytes
    })
}

fn overlong(segments: &Segments) -> Segments {
    each(segments, overlong_ascii)
}

fn narrowed(segments: &Segments) -> Segments {
    each(segments, |segment| match std::str::from_utf8(segment).ok().and_then(narrow) {
        Some(text) => text.into_bytes(),
        None => segment.to_vec(),
    })
}

fn split_backslashes(segments: &Segments) -> Segments {
    segments.iter().flat_map(|segment| segment.split(|b| *b == b'\\').map(<[u8]>::to_vec)).collect()
}

fn split_slashes(segments: &Segments) -> Segments {
    segments.iter().flat_map(|segment| segment.split(|b| *b == b'/').map(<[u8]>::to_vec)).collect()
}

fn end_at_nul(segments: &Segments) -> Segments {
    let mut out = Vec::with_capacity(segments.len());
    for segment in segments {
        match segment.iter().position(|b| *b == 0) {
            Some(at) => {
                out.push(segment.get(..at).unwrap_or_default().to_vec());
                return out;
            }
            None => out.push(segment.clone()),
        }
    }
    out
}

fn drop_controls(segments: &Segments) -> Segments {
    each(segments, |segment| segment.iter().copied().filter(|b| !b.is_ascii_control()).collect())
}

fn cut_parameters(segments: &Segments) -> Segments {
    each(segments, |segment| segment.split(|b| *b == b';').next().unwrap_or_default().to_vec())
}

/// Inner empty segments, dropped; the last one is a trailing slash.
fn drop_empty(segments: &Segments) -> Segments {
    let Some((last, inner)) = segments.split_last() else { return Vec::new() };
    inner.iter().filter(|segment| !segment.is_empty()).chain(std::iter::once(last)).cloned().collect()
}

/// RFC 3986 section 5.2.4; spaces around dots count for nothing, as on Windows.
fn resolve_dots(segments: &Segments) -> Segments {
    let mut out: Segments = Vec::with_capacity(segments.len());
    let last = segments.len().saturating_sub(1);
    for (index, segment) in segments.iter().enumerate() {
        match segment.trim_ascii() {
            b"." => {}
            b".." => {
                out.pop();
            }
            _ => {
                out.push(segment.clone());
                continue;
            }
        }
        // A dot segment at the end leaves a trailing slash.
        if index == last {
            out.push(Vec::new());
        }
    }
    out
}
