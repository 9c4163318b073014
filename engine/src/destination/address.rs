//! Classes of addresses. A request leaves only for public ones, unless the policy names the address.

use super::Cidr;
use super::ranges::RANGES;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

macro_rules! classes {
    ($($(#[doc = $doc:literal])+ $variant:ident $code:literal;)+) => {
        /// What an address is for. The ranges of each class, with their sources, are [`RANGES`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum AddressClass {
            $($(#[doc = $doc])+ #[serde(rename = $code)] $variant,)+
        }

        impl AddressClass {
            /// Every class there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word that stands in records.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }

            /// What the class holds, in a sentence.
            pub const fn describe(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+)),+ }
            }
        }
    };
}

classes! {
    /// Global unicast, open to everyone.
    Public "public";
    /// The machine itself.
    Loopback "loopback";
    /// Private networks.
    Private "private";
    /// The link: never routed.
    LinkLocal "link-local";
    /// Private networks of IPv6, and their site-local predecessor.
    UniqueLocal "unique-local";
    /// Shared by carriers behind their NAT; clouds put services there.
    CarrierGradeNat "cgnat";
    /// Groups, not hosts.
    Multicast "multicast";
    /// No address, or this network: many systems take it for the machine itself.
    Unspecified "unspecified";
    /// Every host of the link.
    Broadcast "broadcast";
    /// Set aside, not allocated, or for discarding.
    Reserved "reserved";
    /// For examples in text.
    Documentation "documentation";
    /// For measuring devices.
    Benchmarking "benchmarking";
    /// Assigned to a protocol rather than to a network.
    ProtocolAssignment "protocol-assignment";
    /// An IPv6 address that stands for a public IPv4 address; one that stands for a closed address has that one's class.
    Ipv4InIpv6 "ipv4-in-ipv6";
    /// Where a cloud hands credentials to whoever asks from the instance.
    CloudMetadata "cloud-metadata";
}

impl AddressClass {
    /// Whether addresses of this class are closed unless the policy names them.
    pub const fn refused(self) -> bool {
        !matches!(self, Self::Public)
    }

    /// Whether a destination needs `metadata: true` besides naming the address.
    pub const fn is_metadata(self) -> bool {
        matches!(self, Self::CloudMetadata)
    }
}

/// The class of an address: that of the narrowest range it is in; for an IPv6 address that contains an IPv4 address, the
/// class of the inner one where that is closed. Some 200 ns.
pub fn classify(address: IpAddr) -> AddressClass {
    let outer = narrowest(address);
    let IpAddr::V6(v6) = address else {
        return outer;
    };
    // The inner address is what the packet, or its last leg, goes to. Some forms can be read in several ways; a metadata
    // service behind any of them counts first, because it needs a grant of its own.
    let mut inner = inner_addresses(v6).map(|inner| narrowest(inner.into())).filter(|class| class.refused());
    match inner.next() {
        Some(first) => inner.find(|class| class.is_metadata()).unwrap_or(first),
        None if outer == AddressClass::Public && isatap(v6).is_some() => AddressClass::Ipv4InIpv6,
        None => outer,
    }
}

/// Whether a connection to an address that a name resolved to may be made: it is public, or the destination's
/// `addresses` name it, with `metadata: true` besides where it is one of a metadata service. Gives the class either way.
pub fn check_resolved(address: IpAddr, named: &[Cidr], metadata: bool) -> Result<AddressClass, AddressClass> {
    let class = classify(address);
    let open =
        !class.refused() || (named.iter().any(|range| range.contains(address)) && (metadata || !class.is_metadata()));
    if open { Ok(class) } else { Err(class) }
}

fn narrowest(address: IpAddr) -> AddressClass {
    RANGES
        .iter()
        .filter(|range| range.cidr.contains(address))
        .max_by_key(|range| range.cidr.prefix())
        // `RANGES` holds 0.0.0.0/0 and ::/0, so that this is never taken.
        .map_or(AddressClass::Reserved, |range| range.class)
}

/// Every IPv4 address that an IPv6 address may stand for.
fn inner_addresses(v6: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let bits = v6.to_bits();
    let low = Ipv4Addr::from_bits(bits as u32);
    let forms: [Option<Ipv4Addr>; 4] = match v6.segments() {
        // `::` and `::1` are no IPv4-compatible addresses.
        _ if bits <= 1 => [None; 4],
        // IPv4-compatible (RFC 4291 section 2.5.5.1), IPv4-mapped (2.5.5.2), IPv4-translated (RFC 2765 section 2.1).
        [0, 0, 0, 0, 0, 0 | 0xffff, _, _] | [0, 0, 0, 0, 0xffff, 0, _, _] => [Some(low), None, None, None],
        // NAT64, well-known prefix (RFC 6052 section 2.1).
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] => [Some(low), None, None, None],
        // NAT64, local-use prefix (RFC 8215): any length from 48 to 96 bits (RFC 6052 section 2.2). Bits 64 to 71 are
        // skipped by the embedding.
        [0x64, 0xff9b, 1, _, _, _, _, _] => [
            Some(around_octet_64(bits, 48)),
            Some(around_octet_64(bits, 56)),
            Some(around_octet_64(bits, 64)),
            Some(low),
        ],
        // 6to4 (RFC 3056 section 2).
        [0x2002, ..] => [Some(Ipv4Addr::from_bits((bits >> 80) as u32)), None, None, None],
        // Teredo (RFC 4380 section 4): the server, and the client with its bits flipped.
        [0x2001, 0, ..] => {
            [Some(Ipv4Addr::from_bits((bits >> 64) as u32)), Some(Ipv4Addr::from_bits(!(bits as u32))), None, None]
        }
        _ => [isatap(v6), None, None, None],
    };
    forms.into_iter().flatten()
}

/// The address in an ISATAP interface identifier (RFC 5214 section 6.1), under whatever prefix.
fn isatap(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    match v6.segments() {
        [_, _, _, _, 0 | 0x200, 0x5efe, _, _] => Some(Ipv4Addr::from_bits(v6.to_bits() as u32)),
        _ => None,
    }
}

/// The IPv4 address that follows a prefix of 48, 56 or 64 bits, with octet 8 left out (RFC 6052 section 2.2).
fn around_octet_64(bits: u128, prefix: u32) -> Ipv4Addr {
    // The top 64 bits, then the low 56: the 120 bits without octet 8.
    let squeezed = (bits >> 64) << 56 | (bits & ((1 << 56) - 1));
    Ipv4Addr::from_bits((squeezed >> (120_u32.saturating_sub(prefix).saturating_sub(32))) as u32)
}
