//! The wire form in which header maps cross the ABI: count, sizes, then NUL-terminated names and values.
//!
//! proxy-wasm-cpp-host bounds what it parses, not what it hands over: Envoy 1.40 gave a filter 1,107 fields, and a map
//! of 1.1 MB, whole.

use crate::headers::Headers;

/// Above this many pairs a map from the module counts as an empty one (`PROXY_WASM_HOST_PAIRS_MAX_COUNT`).
pub const MAX_PAIRS: usize = 1024;
/// Above this many serialised bytes a map from the module counts as an empty one (`PROXY_WASM_HOST_PAIRS_MAX_BYTES`).
pub const MAX_PAIRS_BYTES: usize = 1024 * 1024;

/// Whether a map is over a limit.
pub(crate) fn is_over(headers: &Headers) -> bool {
    headers.len() > MAX_PAIRS || encoded_len(headers) > MAX_PAIRS_BYTES
}

fn encoded_len(headers: &Headers) -> usize {
    4 + headers.byte_size() + 10 * headers.len()
}

/// Serialises a map; an empty one is no bytes at all.
pub(crate) fn encode(headers: &Headers) -> Vec<u8> {
    if headers.is_empty() {
        return Vec::new();
    }
    let word = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes();
    let mut out = Vec::with_capacity(encoded_len(headers));
    out.extend_from_slice(&word(headers.len()));
    for (name, value) in headers.iter() {
        out.extend_from_slice(&word(name.len()));
        out.extend_from_slice(&word(value.len()));
    }
    for (name, value) in headers.iter() {
        out.extend_from_slice(name.as_bytes());
        out.push(0);
        out.extend_from_slice(value);
        out.push(0);
    }
    out
}

/// Parses a map that the module made; anything malformed or over a limit is an empty list without a word, as in Envoy.
pub(crate) fn decode(bytes: &[u8]) -> Headers {
    parse(bytes).unwrap_or_default()
}

fn parse(bytes: &[u8]) -> Option<Headers> {
    if bytes.len() > MAX_PAIRS_BYTES {
        return None;
    }
    let mut rest = bytes;
    let count = usize::try_from(word(&mut rest)?).ok()?;
    if count > MAX_PAIRS {
        return None;
    }
    let mut sizes = Vec::with_capacity(count);
    for _ in 0..count {
        sizes.push((word(&mut rest)?, word(&mut rest)?));
    }
    let mut headers = Headers::new();
    for (name, value) in sizes {
        let name = text(&mut rest, name)?;
        let value = text(&mut rest, value)?;
        headers.push(String::from_utf8_lossy(name), value);
    }
    rest.is_empty().then_some(headers)
}

fn word(rest: &mut &[u8]) -> Option<u32> {
    let (head, tail) = rest.split_first_chunk::<4>()?;
    *rest = tail;
    Some(u32::from_le_bytes(*head))
}

fn text<'a>(rest: &mut &'a [u8], len: u32) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    *rest = tail.strip_prefix(&[0])?;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_round_trip() {
        let map = Headers::from([(":path", b"/\xff".as_slice()), ("a", b""), ("a", b"2")]);
        assert_eq!(decode(&encode(&map)), map);
    }

    #[test]
    fn the_layout_is_that_of_the_abi() {
        let bytes = encode(&Headers::from([("ab", "c")]));
        assert_eq!(bytes, [1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, b'a', b'b', 0, b'c', 0]);
    }

    #[test]
    fn malformed_maps_are_empty() {
        let good = encode(&Headers::from([("ab", "c")]));
        for cut in 0..good.len() {
            assert!(decode(&good[..cut]).is_empty(), "cut at {cut}");
        }
        let mut long = good.clone();
        long.push(0);
        assert!(decode(&long).is_empty());
        let mut unterminated = good;
        unterminated[14] = b'x';
        assert!(decode(&unterminated).is_empty());
    }

    #[test]
    fn maps_over_a_limit_are_empty() {
        let fields = |n: usize| (0..n).map(|i| (format!("h{i}"), "v")).collect::<Headers>();
        assert_eq!(decode(&encode(&fields(MAX_PAIRS))).len(), MAX_PAIRS);
        assert!(decode(&encode(&fields(MAX_PAIRS + 1))).is_empty());
        let value = |len: usize| Headers::from([("a", vec![b'v'; len])]);
        let overhead = 4 + 8 + 2 + 1;
        for (len, fits) in [(MAX_PAIRS_BYTES - overhead, true), (MAX_PAIRS_BYTES - overhead + 1, false)] {
            assert_eq!(decode(&encode(&value(len))).is_empty(), !fits, "{len}");
            assert_eq!(is_over(&value(len)), !fits, "{len}");
        }
        assert!(is_over(&fields(MAX_PAIRS + 1)) && !is_over(&fields(MAX_PAIRS)));
    }
}
