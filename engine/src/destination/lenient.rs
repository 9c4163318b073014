//! How careless servers read a segment: decoding twice, cutting parameters, taking backslashes for slashes. Used to see
//! a dot segment behind any of that, and to find what else an opened path can mean.

/// Rounds of decoding after which a segment counts as hiding something.
const MAX_ROUNDS: usize = 4;

/// The byte that `%xx` at `at` stands for.
pub(super) fn escape_at(bytes: &[u8], at: usize) -> Option<u8> {
    let high = hex(bytes.get(at.checked_add(1)?)?)?;
    let low = hex(bytes.get(at.checked_add(2)?)?)?;
    (bytes.get(at) == Some(&b'%')).then_some(high << 4 | low)
}

/// Whether a segment, decoded once, is a dot segment to somebody: nothing but dots, spaces and controls, whole or
/// between separators, before parameters or after further decoding.
pub(super) fn reads_as_dots(decoded: &[u8]) -> bool {
    // Nearly every segment lacks all of these.
    if !decoded.iter().any(|b| matches!(b, b'.' | b'%' | 0xc0 | 0xe0 | 0xf0)) {
        return false;
    }
    let mut bytes = decoded.to_vec();
    for _ in 0..MAX_ROUNDS {
        bytes = overlong_ascii(&bytes);
        if bytes.split(|b| matches!(b, b'/' | b'\\')).any(is_dots) {
            return true;
        }
        let next = decode(&bytes);
        if next == bytes {
            return false;
        }
        bytes = next;
    }
    // Still something to decode after so many rounds.
    true
}

fn is_dots(part: &[u8]) -> bool {
    let name = part.split(|b| *b == b';').next().unwrap_or_default();
    let mut dots = name.iter().filter(|b| !matches!(b, 0x00..=0x20 | 0x7f)).peekable();
    dots.peek().is_some() && dots.all(|b| *b == b'.')
}

/// Decodes every well-formed escape once; leaves the others.
pub(super) fn decode(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut i = 0_usize;
    while let Some(byte) = bytes.get(i).copied() {
        match escape_at(bytes, i) {
            Some(value) => {
                decoded.push(value);
                i = i.saturating_add(3);
            }
            None => {
                decoded.push(byte);
                i = i.saturating_add(1);
            }
        }
    }
    decoded
}

/// Replaces overlong forms of ASCII (RFC 3629 section 10: `C0 AE` for `.`) by what old decoders made of them.
pub(super) fn overlong_ascii(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, tail)) = rest.split_first() {
        let (value, after) = match rest {
            [0xf0, 0x80, b @ 0x80..=0x81, c @ 0x80..=0xbf, after @ ..] => ((b & 1) << 6 | (c & 0x3f), after),
            [0xe0, b @ 0x80..=0x81, c @ 0x80..=0xbf, after @ ..] => ((b & 1) << 6 | (c & 0x3f), after),
            [b @ 0xc0..=0xc1, c @ 0x80..=0xbf, after @ ..] => ((b & 1) << 6 | (c & 0x3f), after),
            _ => (*first, tail),
        };
        out.push(value);
        rest = after;
    }
    out
}

fn hex(byte: &u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}
