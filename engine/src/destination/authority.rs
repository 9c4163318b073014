//! `:authority` and `Host`: one host and at most one port (RFC 9110 section 7.2), nothing else.

use super::{CanonicalHost, DestinationError};
use std::fmt;

/// The most bytes of an authority: a name of 253 bytes after IDNA has at most four times as many before.
pub const MAX_AUTHORITY: usize = 1024;

/// The host and the port that an authority names.
///
/// `Display` is the canonical form with the port where one was written; see
/// [`super::CanonicalDestination::authority`] for the form that goes on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authority {
    /// The host.
    pub host: CanonicalHost,
    /// The port, when one was written. Never 0.
    pub port: Option<u16>,
}

impl Authority {
    /// Reads the bytes that the host handed over.
    pub fn parse(bytes: &[u8]) -> Result<Self, DestinationError> {
        if bytes.is_empty() {
            return Err(DestinationError::AuthorityEmpty);
        }
        if bytes.len() > MAX_AUTHORITY {
            return Err(DestinationError::AuthorityTooLong { bytes: bytes.len() });
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|error| DestinationError::AuthorityNotUtf8 { at: error.valid_up_to() })?;
        // Before anything else, so that no later step can clean up or misread them.
        for (at, byte) in bytes.iter().copied().enumerate() {
            match byte {
                b'@' => return Err(DestinationError::Userinfo { at }),
                b',' => return Err(DestinationError::SeveralHosts { at }),
                0x00..=0x20 | 0x7f | b'/' | b'\\' | b'?' | b'#' => {
                    return Err(DestinationError::AuthorityCharacter { byte, at });
                }
                _ => {}
            }
        }
        let host_end = if text.starts_with('[') {
            text.find(']').map(|at| at.saturating_add(1)).ok_or(DestinationError::Ipv6Invalid)?
        } else {
            text.find(':').unwrap_or(text.len())
        };
        // `host_end` follows an ASCII character or is the end, so that it lies between characters.
        let (host, rest) = text.split_at_checked(host_end).ok_or(DestinationError::HostIdna)?;
        let port = match rest.strip_prefix(':') {
            Some(digits) => Some(parse_port(digits, host_end.saturating_add(1))?),
            None => match rest.bytes().next() {
                Some(byte) => return Err(DestinationError::AuthorityCharacter { byte, at: host_end }),
                None => None,
            },
        };
        Ok(Self { host: CanonicalHost::parse(host)?, port })
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => self.host.fmt(f),
        }
    }
}

/// Digits only, no leading zero, 1 to 65535. An empty port is legal in RFC 3986 and read as 0, as the default or as an
/// error; leading zeros are read as octal or dropped.
fn parse_port(digits: &str, start: usize) -> Result<u16, DestinationError> {
    if digits.is_empty() {
        return Err(DestinationError::PortEmpty);
    }
    for (offset, byte) in digits.bytes().enumerate() {
        let at = start.saturating_add(offset);
        match byte {
            b'0'..=b'9' => {}
            b':' => return Err(DestinationError::ColonRepeated { at }),
            _ => return Err(DestinationError::PortCharacter { byte, at }),
        }
    }
    if digits.len() > 1 && digits.starts_with('0') {
        return Err(DestinationError::PortLeadingZero);
    }
    match digits.parse() {
        Ok(port @ 1..) => Ok(port),
        _ => Err(DestinationError::PortOutOfRange),
    }
}
