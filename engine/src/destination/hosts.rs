//! Hosts as a policy names them: an exact name, `*.name`, an address, a range, or a bare `*`.
//!
//! A pattern is written in the canonical form that requests are brought to; any other spelling is an error that says the
//! canonical one, so that no pattern is in a policy that nothing can match.

use super::host::bare;
use super::{Authority, CanonicalHost, Cidr, CidrError, DestinationError, HostName};
use std::fmt;
use std::net::IpAddr;

/// A host as a policy names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// One name.
    Exact(HostName),
    /// `*.name`: one or more labels before that name, never the name itself.
    Under(HostName),
    /// One address, as a literal in the authority.
    Address(IpAddr),
    /// A range of addresses, as literals in the authority.
    Range(Cidr),
    /// `*`: every name; no address.
    Any,
}

/// How closely a pattern fits a host; greater is closer. Exact, then the longer name under `*.`, then the narrower range,
/// then `*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostSpecificity {
    /// By `*`.
    Any,
    /// By a range with that many bits of prefix.
    Range(u8),
    /// By `*.name`, the name being that long.
    Under(u8),
    /// By that very name or address.
    Exact,
}

impl HostSpecificity {
    /// Whether the policy names the host, so that special-use names and closed addresses are open: everything but `*`.
    pub const fn names(self) -> bool {
        !matches!(self, Self::Any)
    }
}

/// What a policy grants about a host that is closed to others. Nothing by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct HostGrant {
    /// A pattern names the host, see [`HostSpecificity::names`].
    pub named: bool,
    /// The destination says `metadata: true`.
    pub metadata: bool,
}

/// Why a text is no host pattern. `Display` says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostPatternError {
    /// Nothing there.
    Empty,
    /// A URL.
    Url,
    /// A path after the host.
    Path,
    /// A port after the host.
    Port,
    /// A `*` somewhere else than as the whole first label.
    Wildcard,
    /// `*.` before nothing.
    WildcardEmpty,
    /// `*.` before an address.
    WildcardAddress,
    /// `*.` before a name that leaves no room for a label.
    WildcardTooLong,
    /// Brackets around an IPv6 address.
    Brackets,
    /// Not the form that requests are brought to.
    NotCanonical {
        /// That form.
        canonical: String,
    },
    /// No valid host.
    Host(DestinationError),
    /// No valid range.
    Range(CidrError),
    /// A range of all addresses.
    RangeOfAll,
}

impl fmt::Display for HostPatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty; write a host name, `*.` and a name, an address or a range"),
            Self::Url => f.write_str("a URL; write the host alone, paths go to `paths` of a rule"),
            Self::Path => f.write_str("a path after the host; write the host alone, paths go to `paths` of a rule"),
            Self::Port => f.write_str("a port after the host; write the host alone, ports go to `ports`"),
            Self::Wildcard => {
                f.write_str("`*` can only be the whole first label, as in `*.example.com`; name the hosts one by one")
            }
            Self::WildcardEmpty => f.write_str("no name after `*.`; write `*` alone for every host, with `open: true`"),
            Self::WildcardAddress => f.write_str("an address after `*.`; write a range like 10.20.0.0/16"),
            Self::WildcardTooLong => f.write_str("no label fits before so long a name"),
            Self::Brackets => f.write_str("write the IPv6 address without brackets"),
            Self::NotCanonical { canonical } => write!(f, "not the canonical form; write `{canonical}`"),
            Self::Host(error) => write!(f, "{error}; write a host name like api.example.com"),
            Self::Range(error) => error.fmt(f),
            Self::RangeOfAll => f.write_str("a range of all addresses; name the networks that are meant"),
        }
    }
}

impl std::error::Error for HostPatternError {}

impl HostPattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, HostPatternError> {
        match text {
            "" => return Err(HostPatternError::Empty),
            "*" => return Ok(Self::Any),
            _ if text.contains("://") => return Err(HostPatternError::Url),
            _ => {}
        }
        if let Some((before, _)) = text.split_once('/') {
            return if before.parse::<IpAddr>().is_ok() { parse_range(text) } else { Err(HostPatternError::Path) };
        }
        if let Some(name) = text.strip_prefix("*.") {
            return parse_under(name);
        }
        if text.contains('*') {
            return Err(HostPatternError::Wildcard);
        }
        if text.starts_with('[') {
            return Err(HostPatternError::Brackets);
        }
        if let Ok(address @ IpAddr::V6(_)) = text.parse() {
            return same(text, &bare(address)).map(|()| Self::Address(address));
        }
        Ok(match parse_host(text)? {
            CanonicalHost::Name(name) => Self::Exact(name),
            CanonicalHost::Ipv4(address) => Self::Address(address.into()),
            CanonicalHost::Ipv6(address) => Self::Address(address.into()),
        })
    }

    /// Whether this pattern fits a host, and how closely. The definition that [`super::HostMatcher`] is tested against,
    /// and the way to try one pattern.
    pub fn matches(&self, host: &CanonicalHost) -> Option<HostSpecificity> {
        match (self, host.name(), host.address()) {
            (Self::Any, Some(_), _) => Some(HostSpecificity::Any),
            (Self::Exact(exact), Some(name), _) => (exact == name).then_some(HostSpecificity::Exact),
            (Self::Under(parent), Some(name), _) => name
                .as_str()
                .strip_suffix(parent.as_str())
                .is_some_and(|before| before.ends_with('.'))
                .then(|| HostSpecificity::Under(name_length(parent))),
            (Self::Address(exact), _, Some(address)) => (*exact == address).then_some(HostSpecificity::Exact),
            (Self::Range(range), _, Some(address)) => {
                range.contains(address).then_some(HostSpecificity::Range(range.prefix()))
            }
            _ => None,
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => name.fmt(f),
            Self::Under(name) => write!(f, "*.{name}"),
            Self::Address(address) => f.write_str(&bare(*address)),
            Self::Range(range) => range.fmt(f),
            Self::Any => f.write_str("*"),
        }
    }
}

impl std::str::FromStr for HostPattern {
    type Err = HostPatternError;

    fn from_str(text: &str) -> Result<Self, HostPatternError> {
        Self::parse(text)
    }
}

/// The length of a name as it stands in a specificity: at most 253.
pub(super) fn name_length(name: &HostName) -> u8 {
    u8::try_from(name.as_str().len()).unwrap_or(u8::MAX)
}

fn parse_range(text: &str) -> Result<HostPattern, HostPatternError> {
    let range = Cidr::parse(text).map_err(HostPatternError::Range)?;
    if range.prefix() == 0 {
        return Err(HostPatternError::RangeOfAll);
    }
    same(text, &range.to_string()).map(|()| HostPattern::Range(range))
}

fn parse_under(name: &str) -> Result<HostPattern, HostPatternError> {
    if name.is_empty() {
        return Err(HostPatternError::WildcardEmpty);
    }
    if name.contains('*') {
        return Err(HostPatternError::Wildcard);
    }
    match parse_host(name) {
        // One character and a dot must fit before it.
        Ok(CanonicalHost::Name(name)) if name.as_str().len() > super::host::MAX_NAME - 2 => {
            Err(HostPatternError::WildcardTooLong)
        }
        Ok(CanonicalHost::Name(name)) => Ok(HostPattern::Under(name)),
        Ok(_) => Err(HostPatternError::WildcardAddress),
        Err(HostPatternError::NotCanonical { canonical }) => {
            Err(HostPatternError::NotCanonical { canonical: format!("*.{canonical}") })
        }
        Err(error) => Err(error),
    }
}

fn parse_host(text: &str) -> Result<CanonicalHost, HostPatternError> {
    let authority = Authority::parse(text.as_bytes()).map_err(|error| match error {
        DestinationError::PortEmpty
        | DestinationError::PortLeadingZero
        | DestinationError::PortOutOfRange
        | DestinationError::PortCharacter { .. } => HostPatternError::Port,
        error => HostPatternError::Host(error),
    })?;
    if authority.port.is_some() {
        return Err(HostPatternError::Port);
    }
    same(text, &authority.host.to_string()).map(|()| authority.host)
}

fn same(text: &str, canonical: &str) -> Result<(), HostPatternError> {
    if text == canonical { Ok(()) } else { Err(HostPatternError::NotCanonical { canonical: canonical.to_owned() }) }
}
