//! The canonical host: by the host parser of the WHATWG URL Standard, and stricter where the standard lets through what no
//! web server is called.
//!
//! The result is always the standard's host without its trailing dot, or a refusal. What the standard cleans up instead
//! of refusing (escapes, tabs, newlines) is refused: a value that needs cleaning is read differently by somebody.

use super::{DestinationError, SpecialUse};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use url::Host;

/// The most bytes of a label (RFC 1035 section 2.3.4).
pub const MAX_LABEL: usize = 63;

/// The most bytes of a name without its trailing dot (RFC 1035 section 2.3.4).
pub const MAX_NAME: usize = 253;

/// A DNS name in canonical form.
///
/// INVARIANT: one or more labels of 1 to 63 bytes of `a-z`, `0-9`, `-` and `_`, joined by single dots, at most 253
/// bytes, the last label not a number. Made only by [`CanonicalHost::parse`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(String);

impl HostName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A host in canonical form: lower case, punycode, no trailing dot; every IPv4 spelling recognised.
///
/// `Display` is the form that stands in an authority: IPv6 in brackets, compressed as the URL Standard says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CanonicalHost {
    /// A name.
    Name(HostName),
    /// An IPv4 literal.
    Ipv4(Ipv4Addr),
    /// An IPv6 literal. It stays one when it contains an IPv4 address: `[::ffff:127.0.0.1]` is not `127.0.0.1`.
    Ipv6(Ipv6Addr),
}

impl CanonicalHost {
    /// Reads a host as it stands in an authority, without port.
    pub fn parse(text: &str) -> Result<Self, DestinationError> {
        if text.is_empty() {
            return Err(DestinationError::HostEmpty);
        }
        // The standard decodes escapes and so accepts `%31%32%37.1`; a client that sends one wants to be misread.
        if let Some(at) = text.find('%') {
            let zone = text.starts_with('[');
            return Err(if zone { DestinationError::Ipv6Zone } else { DestinationError::HostEscape { at } });
        }
        if text.starts_with('[') {
            return match Host::parse(text) {
                Ok(Host::Ipv6(address)) => Ok(Self::Ipv6(address)),
                _ => Err(DestinationError::Ipv6Invalid),
            };
        }
        match Host::parse(text) {
            Ok(Host::Domain(name)) => canonical_name(name),
            Ok(Host::Ipv4(address)) => Ok(Self::Ipv4(address)),
            Ok(Host::Ipv6(_)) => Err(DestinationError::Ipv6Invalid),
            Err(url::ParseError::InvalidIpv4Address) => Err(DestinationError::Ipv4Invalid),
            Err(url::ParseError::EmptyHost) => Err(DestinationError::HostEmpty),
            Err(_) => Err(DestinationError::HostIdna),
        }
    }

    /// The name, unless the host is an address.
    pub fn name(&self) -> Option<&HostName> {
        match self {
            Self::Name(name) => Some(name),
            Self::Ipv4(_) | Self::Ipv6(_) => None,
        }
    }

    /// The address, unless the host is a name.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Name(_) => None,
            Self::Ipv4(address) => Some((*address).into()),
            Self::Ipv6(address) => Some((*address).into()),
        }
    }

    /// What a name is closed for unless the policy names it; `None` for ordinary names and for addresses.
    pub fn special_use(&self) -> Option<SpecialUse> {
        self.name().and_then(SpecialUse::of)
    }
}

impl fmt::Display for CanonicalHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Ipv4(address) => address.fmt(f),
            Self::Ipv6(address) => Host::<&str>::Ipv6(*address).fmt(f),
        }
    }
}

/// An address as it stands outside an authority: IPv6 in the form of the URL Standard, without brackets.
pub(super) fn bare(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => CanonicalHost::Ipv6(v6).to_string().trim_matches(['[', ']']).to_owned(),
    }
}

fn canonical_name(mut name: String) -> Result<CanonicalHost, DestinationError> {
    // `example.com.` is the same name to DNS, and another one to certificates and to every matcher that compares text.
    if name.ends_with('.') {
        name.pop();
    }
    if name.len() > MAX_NAME {
        return Err(DestinationError::HostTooLong { bytes: name.len() });
    }
    for label in name.split('.') {
        if label.is_empty() {
            return Err(DestinationError::LabelEmpty);
        }
        if label.len() > MAX_LABEL {
            return Err(DestinationError::LabelTooLong { bytes: label.len() });
        }
        // The standard allows `!"$&'()*+,;=` and more in a domain. No name of a web server has them; commas, `*` and
        // quotes have a meaning to proxies and logs. Underscores do occur.
        if let Some(byte) = label.bytes().find(|b| !matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_')) {
            return Err(DestinationError::HostCharacter { byte });
        }
    }
    Ok(CanonicalHost::Name(HostName(name)))
}
