//! Ranges of addresses in CIDR notation (RFC 4632 section 3.1, RFC 4291 section 2.3).

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A range of addresses.
///
/// INVARIANT: the bits after the prefix are zero, and the prefix is at most 32 or 128. An IPv4 range holds IPv4 addresses
/// only, an IPv6 range IPv6 addresses only: `::ffff:10.0.0.1` is not in `10.0.0.0/8`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

/// Why a text is no range.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CidrError {
    /// The part before the slash is no address.
    Address,
    /// The part after the slash is no number, or has a sign or leading zero.
    Prefix,
    /// The prefix is longer than the address.
    PrefixTooLong {
        /// The longest there is for that family.
        most: u8,
    },
    /// Bits are set after the prefix.
    HostBits {
        /// The range that was probably meant.
        canonical: Cidr,
    },
}

impl fmt::Display for CidrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("not an IP address; write a range like 10.20.0.0/16 or fd00:1::/32"),
            Self::Prefix => f.write_str("the prefix length after `/` must be a plain number"),
            Self::PrefixTooLong { most } => write!(f, "the prefix length is at most {most}"),
            Self::HostBits { canonical } => write!(f, "bits are set after the prefix; write {canonical}"),
        }
    }
}

impl std::error::Error for CidrError {}

impl Cidr {
    /// The range of `prefix` bits that `network` starts.
    pub fn new(network: IpAddr, prefix: u8) -> Result<Self, CidrError> {
        let most = width(network);
        if prefix > most {
            return Err(CidrError::PrefixTooLong { most });
        }
        let canonical = Self { network: mask(network, prefix), prefix };
        if canonical.network == network { Ok(canonical) } else { Err(CidrError::HostBits { canonical }) }
    }

    /// The range of one address.
    pub fn single(address: IpAddr) -> Self {
        Self { network: address, prefix: width(address) }
    }

    /// Reads a range; an address without prefix is the range of that one address.
    pub fn parse(text: &str) -> Result<Self, CidrError> {
        let Some((address, prefix)) = text.split_once('/') else {
            return Ok(Self::single(text.parse().map_err(|_| CidrError::Address)?));
        };
        let address: IpAddr = address.parse().map_err(|_| CidrError::Address)?;
        let plain = !prefix.is_empty()
            && prefix.len() <= 3
            && prefix.bytes().all(|b| b.is_ascii_digit())
            && (prefix.len() == 1 || !prefix.starts_with('0'));
        if !plain {
            return Err(CidrError::Prefix);
        }
        Self::new(address, prefix.parse().map_err(|_| CidrError::PrefixTooLong { most: width(address) })?)
    }

    /// Whether the address is in the range. Addresses of the other family never are.
    pub fn contains(&self, address: IpAddr) -> bool {
        mask(address, self.prefix) == self.network
    }

    /// Whether every address of `other` is in this range.
    pub fn covers(&self, other: &Self) -> bool {
        self.prefix <= other.prefix && self.contains(other.network)
    }

    /// The first address.
    pub fn network(&self) -> IpAddr {
        self.network
    }

    /// The number of leading bits that all addresses share.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// For [`super::ranges::RANGES`], whose entries a test checks.
    pub(super) const fn table_v4([a, b, c, d]: [u8; 4], prefix: u8) -> Self {
        Self { network: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix }
    }

    /// For [`super::ranges::RANGES`], whose entries a test checks.
    pub(super) const fn table_v6([a, b, c, d, e, f, g, h]: [u16; 8], prefix: u8) -> Self {
        Self { network: IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)), prefix }
    }

    /// The range of `prefix` bits around an address, for look-ups; `prefix` beyond the width gives the address alone.
    pub(super) fn around(address: IpAddr, prefix: u8) -> Self {
        let prefix = prefix.min(width(address));
        Self { network: mask(address, prefix), prefix }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", super::host::bare(self.network), self.prefix)
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        Self::parse(text)
    }
}

impl Serialize for Cidr {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

const fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn mask(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(prefix.into())).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(prefix.into())).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}
