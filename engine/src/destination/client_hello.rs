//! The first bytes of a tunnel: a TLS ClientHello that names the host, and nothing else (RFC 8446 section 4.1.2,
//! RFC 6066 section 3).
//!
//! Strict, because two parsers that differ are a way round: every length must be used up exactly, one server name, no
//! extension twice. What comes after the ClientHello is the agent's own and cannot be read.

use std::fmt;

/// The most bytes that are held for a ClientHello, records' heads included. Those with post-quantum key shares have some
/// 2,000.
pub const MAX_HELLO: usize = 16 * 1024;

/// The most records that it may be spread over.
const MAX_RECORDS: usize = 8;

/// Why the first bytes are not a ClientHello for the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelloFault {
    /// No TLS handshake record.
    NotTls,
    /// A record or message that is not formed as the standard says.
    Malformed,
    /// Longer than [`MAX_HELLO`], or in too many records.
    TooLong,
    /// It names no server.
    NoName,
    /// It names another server.
    OtherName,
}

impl fmt::Display for HelloFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotTls => "the tunnel does not begin with TLS",
            Self::Malformed => "the ClientHello of the tunnel is malformed",
            Self::TooLong => "the ClientHello of the tunnel is too long",
            Self::NoName => "the ClientHello of the tunnel names no server",
            Self::OtherName => "the ClientHello of the tunnel names another server",
        })
    }
}

impl std::error::Error for HelloFault {}

/// Looks at the first bytes of a tunnel to `name`, which is in canonical form: `Ok(false)` as long as more are needed,
/// `Ok(true)` once a whole ClientHello for it is there.
pub fn check_hello(bytes: &[u8], name: &str) -> Result<bool, HelloFault> {
    let Some(message) = handshake_message(bytes)? else {
        return if bytes.len() >= MAX_HELLO { Err(HelloFault::TooLong) } else { Ok(false) };
    };
    match server_name(&message).ok_or(HelloFault::Malformed)? {
        None => Err(HelloFault::NoName),
        // RFC 6066 section 3: DNS names have no case.
        Some(named) if named.eq_ignore_ascii_case(name.as_bytes()) => Ok(true),
        Some(_) => Err(HelloFault::OtherName),
    }
}

/// The body of the ClientHello, put together from its records; `None` while it is not whole.
fn handshake_message(bytes: &[u8]) -> Result<Option<Vec<u8>>, HelloFault> {
    const HANDSHAKE: u8 = 22;
    const CLIENT_HELLO: u8 = 1;
    let (mut rest, mut message) = (bytes, Vec::new());
    for _ in 0..MAX_RECORDS {
        // As soon as a byte is there, so that nothing is waited for that can never be TLS.
        if rest.first().is_some_and(|kind| *kind != HANDSHAKE) || rest.get(1).is_some_and(|major| *major != 3) {
            return Err(HelloFault::NotTls);
        }
        let Some((head, after)) = rest.split_first_chunk::<5>() else { return Ok(None) };
        let [_, _, minor, high, low] = *head;
        let length = usize::from(u16::from_be_bytes([high, low]));
        // RFC 8446 section 5.1: 3.1 or 3.3, never empty, at most 2^14 bytes; older stacks write 3.2.
        if !(1..=3).contains(&minor) {
            return Err(HelloFault::NotTls);
        }
        if length == 0 || length > 1 << 14 {
            return Err(HelloFault::Malformed);
        }
        let (fragment, after) = match after.split_at_checked(length) {
            Some((fragment, after)) => (fragment, Some(after)),
            None => (after, None),
        };
        message.extend_from_slice(fragment);
        if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Err(HelloFault::NotTls);
        }
        if let Some((head, body)) = message.split_first_chunk::<4>() {
            let [_, a, b, c] = *head;
            let announced = u32::from_be_bytes([0, a, b, c]) as usize;
            if announced > MAX_HELLO {
                return Err(HelloFault::TooLong);
            }
            // The message ends with its record: a second one in it is not sent before the server has answered.
            match (body.len().cmp(&announced), after.is_some()) {
                (std::cmp::Ordering::Greater, _) => return Err(HelloFault::Malformed),
                (std::cmp::Ordering::Equal, true) => return Ok(Some(body.to_vec())),
                _ => {}
            }
        }
        match after {
            Some(after) => rest = after,
            None => return Ok(None),
        }
    }
    Err(HelloFault::TooLong)
}

/// What `server_name` says; the outer `None` for a message that is malformed.
fn server_name(body: &[u8]) -> Option<Option<&[u8]>> {
    const SERVER_NAME: u16 = 0;
    let mut hello = Bytes(body);
    // legacy_version, random.
    let version = hello.number(2)?;
    hello.take(32)?;
    let session = hello.vector(1)?;
    let suites = hello.vector(2)?;
    let compression = hello.vector(1)?;
    let shaped = version >> 8 == 3
        && session.len() <= 32
        && suites.len() >= 2
        && suites.len().is_multiple_of(2)
        && !compression.is_empty();
    if !shaped {
        return None;
    }
    if hello.0.is_empty() {
        return Some(None);
    }
    let mut extensions = Bytes(hello.vector(2)?);
    if !hello.0.is_empty() {
        return None;
    }
    let (mut seen, mut name) = (Vec::new(), None);
    while !extensions.0.is_empty() {
        let kind = extensions.number(2)?;
        let content = extensions.vector(2)?;
        // RFC 8446 section 4.2: not more than one of a type.
        if seen.contains(&kind) {
            return None;
        }
        seen.push(kind);
        if kind == SERVER_NAME as usize {
            name = Some(host_name(content)?);
        }
    }
    Some(name)
}

/// RFC 6066 section 3: a list; servers take the first or the last of several, so that there may be one only.
fn host_name(content: &[u8]) -> Option<&[u8]> {
    let mut content = Bytes(content);
    let mut list = Bytes(content.vector(2)?);
    let kind = list.number(1)?;
    let name = list.vector(2)?;
    (content.0.is_empty() && list.0.is_empty() && kind == 0 && !name.is_empty()).then_some(name)
}

/// What is still to be read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// A big-endian number of so many bytes, at most four.
    fn number(&mut self, bytes: usize) -> Option<usize> {
        Some(self.take(bytes)?.iter().fold(0_usize, |number, byte| number << 8 | usize::from(*byte)))
    }

    /// A vector behind a length of so many bytes (RFC 8446 section 3.4).
    fn vector(&mut self, length: usize) -> Option<&'a [u8]> {
        let length = self.number(length)?;
        self.take(length)
    }
}
