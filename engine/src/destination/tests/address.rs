//! Classes of addresses. The tables here are written by hand from the registries, not from `RANGES`.

use crate::destination::AddressClass as C;
use crate::destination::DestinationError as E;
use crate::destination::address::check_resolved;
use crate::destination::ranges::RANGES;
use crate::destination::{Authority, CanonicalDestination, Cidr, CidrError, HostGrant, PathOpenings, Scheme, classify};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// First and last address of a range with its class, and the neighbours on both sides with theirs.
const EDGES: &[(&str, C)] = &[
    ("0.0.0.0", C::Unspecified),
    ("0.255.255.255", C::Unspecified),
    ("1.0.0.0", C::Public),
    ("9.255.255.255", C::Public),
    ("10.0.0.0", C::Private),
    ("10.255.255.255", C::Private),
    ("11.0.0.0", C::Public),
    ("100.63.255.255", C::Public),
    ("100.64.0.0", C::CarrierGradeNat),
    ("100.127.255.255", C::CarrierGradeNat),
    ("100.128.0.0", C::Public),
    ("126.255.255.255", C::Public),
    ("127.0.0.0", C::Loopback),
    ("127.255.255.255", C::Loopback),
    ("128.0.0.0", C::Public),
    ("169.253.255.255", C::Public),
    ("169.254.0.0", C::LinkLocal),
    ("169.254.255.255", C::LinkLocal),
    ("169.255.0.0", C::Public),
    ("172.15.255.255", C::Public),
    ("172.16.0.0", C::Private),
    ("172.31.255.255", C::Private),
    ("172.32.0.0", C::Public),
    ("191.255.255.255", C::Public),
    ("192.0.0.0", C::ProtocolAssignment),
    ("192.0.0.9", C::ProtocolAssignment),
    ("192.0.0.170", C::ProtocolAssignment),
    ("192.0.0.255", C::ProtocolAssignment),
    ("192.0.1.0", C::Public),
    ("192.0.2.0", C::Documentation),
    ("192.0.2.255", C::Documentation),
    ("192.0.3.0", C::Public),
    ("192.31.195.255", C::Public),
    ("192.31.196.0", C::ProtocolAssignment),
    ("192.31.197.0", C::Public),
    ("192.52.193.255", C::ProtocolAssignment),
    ("192.52.194.0", C::Public),
    ("192.88.98.255", C::Public),
    ("192.88.99.0", C::Reserved),
    ("192.88.99.2", C::Reserved),
    ("192.88.100.0", C::Public),
    ("192.167.255.255", C::Public),
    ("192.168.0.0", C::Private),
    ("192.168.255.255", C::Private),
    ("192.169.0.0", C::Public),
    ("192.175.48.1", C::ProtocolAssignment),
    ("192.175.49.0", C::Public),
    ("198.17.255.255", C::Public),
    ("198.18.0.0", C::Benchmarking),
    ("198.19.255.255", C::Benchmarking),
    ("198.20.0.0", C::Public),
    ("198.51.99.255", C::Public),
    ("198.51.100.0", C::Documentation),
    ("198.51.101.0", C::Public),
    ("203.0.112.255", C::Public),
    ("203.0.113.0", C::Documentation),
    ("203.0.114.0", C::Public),
    ("223.255.255.255", C::Public),
    ("224.0.0.0", C::Multicast),
    ("239.255.255.255", C::Multicast),
    ("240.0.0.0", C::Reserved),
    ("255.255.255.254", C::Reserved),
    ("255.255.255.255", C::Broadcast),
    ("8.8.8.8", C::Public),
    ("::", C::Unspecified),
    ("::1", C::Loopback),
    ("100::", C::Reserved),
    ("100::ffff:ffff:ffff:ffff", C::Reserved),
    ("100:0:0:1::", C::Reserved),
    ("200::1", C::Reserved),
    ("400::1", C::Reserved),
    ("1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", C::Reserved),
    ("2000::", C::Public),
    ("2001:1::1", C::ProtocolAssignment),
    ("2001:1::3", C::ProtocolAssignment),
    ("2001:2::", C::Benchmarking),
    ("2001:2:1::", C::ProtocolAssignment),
    ("2001:3::1", C::ProtocolAssignment),
    ("2001:4:112::1", C::ProtocolAssignment),
    ("2001:10::1", C::ProtocolAssignment),
    ("2001:20::1", C::ProtocolAssignment),
    ("2001:3f:ffff::1", C::ProtocolAssignment),
    ("2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", C::ProtocolAssignment),
    ("2001:200::", C::Public),
    ("2001:db7:ffff::", C::Public),
    ("2001:db8::", C::Documentation),
    ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", C::Documentation),
    ("2001:db9::", C::Public),
    ("2606:4700:4700::1111", C::Public),
    ("2620:4f:8000::1", C::ProtocolAssignment),
    ("3ffd:ffff::1", C::Public),
    ("3ffe::1", C::Reserved),
    ("3fff::1", C::Documentation),
    ("3fff:fff:ffff::1", C::Documentation),
    ("3fff:1000::1", C::Public),
    ("4000::1", C::Reserved),
    ("5f00::1", C::ProtocolAssignment),
    ("fbff::1", C::Reserved),
    ("fc00::", C::UniqueLocal),
    ("fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", C::UniqueLocal),
    ("fe00::1", C::Reserved),
    ("fe7f::1", C::Reserved),
    ("fe80::", C::LinkLocal),
    ("febf:ffff::1", C::LinkLocal),
    ("fec0::1", C::UniqueLocal),
    ("feff:ffff::1", C::UniqueLocal),
    ("ff00::", C::Multicast),
    ("ff02::1", C::Multicast),
    ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", C::Multicast),
];

/// Metadata services.
const METADATA: &[&str] = &[
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "169.254.0.23",
    "169.254.42.42",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "fd00:c1::a9fe:a9fe",
    "fd00:42::42",
    "fd00:a9fe:a9fe::1",
    "fe80::a9fe:a9fe",
];

/// IPv4 inside IPv6: what stands in for `127.0.0.1` in every form, and for a public address.
const EMBEDDED: &[(&str, C)] = &[
    ("::127.0.0.1", C::Loopback),
    ("::7f00:1", C::Loopback),
    ("::8.8.8.8", C::Ipv4InIpv6),
    ("::2", C::Unspecified),
    ("::ffff", C::Unspecified),
    ("::ffff:127.0.0.1", C::Loopback),
    ("::ffff:10.0.0.1", C::Private),
    ("::ffff:0.0.0.0", C::Unspecified),
    ("::ffff:255.255.255.255", C::Broadcast),
    ("::ffff:169.254.169.254", C::CloudMetadata),
    ("::ffff:168.63.129.16", C::CloudMetadata),
    ("::ffff:8.8.8.8", C::Ipv4InIpv6),
    ("::ffff:0:127.0.0.1", C::Loopback),
    ("::ffff:0:8.8.8.8", C::Ipv4InIpv6),
    ("::1:0:0:1", C::Reserved),
    ("64:ff9b::127.0.0.1", C::Loopback),
    ("64:ff9b::a9fe:a9fe", C::CloudMetadata),
    ("64:ff9b::8.8.8.8", C::Ipv4InIpv6),
    ("64:ff9b::1:0:0", C::Reserved),
    // RFC 6052 section 2.2: after 48 bits as 7f00:0000:0100, after 56 and 64 bits likewise, after 96 whole.
    ("64:ff9b:1:7f00:0:100::", C::Loopback),
    ("64:ff9b:1:87f:0:1:808:808", C::Loopback),
    ("64:ff9b:1:808:7f:0:108:808", C::Loopback),
    ("64:ff9b:1:808:8:808:127.0.0.1", C::Loopback),
    ("64:ff9b:1:808:8:808:808:808", C::Ipv4InIpv6),
    // Read as 48 bits it is private, read as 96 it is a metadata service.
    ("64:ff9b:1:a00:0:100:a9fe:a9fe", C::CloudMetadata),
    ("2001:0:a00:1:0:0:5601:5601", C::CloudMetadata),
    ("2002:7f00:1::", C::Loopback),
    ("2002:a9fe:a9fe::1", C::CloudMetadata),
    ("2002:c0a8:1::1", C::Private),
    ("2002:808:808::1", C::Ipv4InIpv6),
    // Teredo: a closed server, a closed client (bits flipped), neither.
    ("2001:0:7f00:1:0:0:f7f7:f7f7", C::Loopback),
    ("2001:0:808:808:0:0:80ff:fffe", C::Loopback),
    ("2001:0:808:808:0:0:f7f7:f7f7", C::Ipv4InIpv6),
    ("2606:4700::5efe:127.0.0.1", C::Loopback),
    ("2606:4700::200:5efe:10.0.0.1", C::Private),
    ("2606:4700::200:5efe:8.8.8.8", C::Ipv4InIpv6),
    ("fe80::5efe:8.8.8.8", C::LinkLocal),
    ("fe80::5efe:169.254.169.254", C::CloudMetadata),
    ("2606:4700::5eff:127.0.0.1", C::Public),
];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|_| panic!("{text} is no address"))
}

#[test]
fn classes() {
    for (text, class) in EDGES.iter().chain(EMBEDDED) {
        assert_eq!(classify(ip(text)), *class, "{text}");
        assert_eq!(class.refused(), *class != C::Public);
    }
    for text in METADATA {
        assert_eq!(classify(ip(text)), C::CloudMetadata, "{text}");
    }
    for class in C::ALL {
        let known = EDGES.iter().chain(EMBEDDED).any(|(_, c)| c == class);
        assert!(known, "{class:?} is not in the tables");
        assert!(RANGES.iter().any(|range| range.class == *class), "{class:?} has no range");
        assert_eq!(serde_json::to_string(class).unwrap(), format!("\"{}\"", class.code()));
        assert!(class.describe().ends_with('.'));
    }
}

#[test]
fn the_table_of_ranges_is_sound() {
    for (index, range) in RANGES.iter().enumerate() {
        let text = range.cidr.to_string();
        assert_eq!(Cidr::parse(&text).unwrap(), range.cidr, "{text}");
        assert!(!range.name.is_empty() && !range.source.is_empty(), "{text}");
        let twice = RANGES.iter().skip(index + 1).any(|other| other.cidr == range.cidr);
        assert!(!twice, "{text} stands there twice");
    }
    assert!(RANGES.iter().any(|r| r.cidr == Cidr::parse("0.0.0.0/0").unwrap()));
    assert!(RANGES.iter().any(|r| r.cidr == Cidr::parse("::/0").unwrap()));
}

#[test]
fn literals_are_closed_unless_named() {
    let check = |text: &str, named: bool, metadata: bool| {
        let destination =
            CanonicalDestination::parse(text.as_bytes(), Some(b"/"), Scheme::Https, PathOpenings::CLOSED).unwrap();
        destination.check_host(HostGrant { named, metadata })
    };
    assert_eq!(check("8.8.8.8", false, false), Ok(()));
    assert_eq!(check("[2606:4700:4700::1111]", false, false), Ok(()));
    for (text, class) in [("127.1", C::Loopback), ("[::ffff:a00:1]", C::Private), ("[fd00::1]", C::UniqueLocal)] {
        assert_eq!(check(text, false, false), Err(E::AddressForbidden(class)), "{text}");
        assert_eq!(check(text, false, true), Err(E::AddressForbidden(class)), "{text}");
        assert_eq!(check(text, true, false), Ok(()), "{text}");
    }
    for text in ["169.254.169.254", "[fd00:ec2::254]", "[::ffff:169.254.169.254]", "168.63.129.16"] {
        assert_eq!(check(text, true, false), Err(E::AddressForbidden(C::CloudMetadata)), "{text}");
        assert_eq!(check(text, false, true), Err(E::AddressForbidden(C::CloudMetadata)), "{text}");
        assert_eq!(check(text, true, true), Ok(()), "{text}");
    }
}

#[test]
fn resolved_addresses() {
    let named = [Cidr::parse("10.20.0.0/16").unwrap(), Cidr::parse("169.254.0.0/16").unwrap()];
    for (text, metadata, open) in [
        ("8.8.8.8", false, true),
        ("10.20.3.4", false, true),
        ("10.21.3.4", false, false),
        ("::ffff:10.20.3.4", false, false),
        ("169.254.1.1", false, true),
        ("169.254.169.254", false, false),
        ("169.254.169.254", true, true),
        ("100.100.100.200", true, false),
        ("127.0.0.1", true, false),
    ] {
        assert_eq!(check_resolved(ip(text), &named, metadata).is_ok(), open, "{text}");
    }
}

#[test]
fn ranges_in_text() {
    for (text, contained, outside) in [
        ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
        ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
        ("192.0.2.7/32", "192.0.2.7", "192.0.2.6"),
        ("0.0.0.0/0", "255.255.255.255", "::"),
        ("fd00:1::/32", "fd00:1:ffff::", "fd00:2::"),
        ("::/0", "ffff::", "0.0.0.0"),
        ("::1/128", "::1", "::2"),
        ("0.0.0.0/0", "0.0.0.0", "::ffff:0.0.0.0"),
    ] {
        let range = Cidr::parse(text).unwrap();
        assert!(range.contains(ip(contained)) && !range.contains(ip(outside)), "{text}");
        assert_eq!(Cidr::parse(&range.to_string()).unwrap(), range);
        assert_eq!(serde_json::from_str::<Cidr>(&serde_json::to_string(&range).unwrap()).unwrap(), range);
    }
    for (text, error) in [
        ("", CidrError::Address),
        ("/8", CidrError::Address),
        ("10.0.0/8", CidrError::Address),
        ("10.0.0.0.0/8", CidrError::Address),
        ("010.0.0.0/8", CidrError::Address),
        ("[::1]/128", CidrError::Address),
        ("fe80::1%eth0/64", CidrError::Address),
        (" 10.0.0.0/8", CidrError::Address),
        ("a.example/8", CidrError::Address),
        ("10.0.0.0/", CidrError::Prefix),
        ("10.0.0.0/08", CidrError::Prefix),
        ("10.0.0.0/+8", CidrError::Prefix),
        ("10.0.0.0/ 8", CidrError::Prefix),
        ("10.0.0.0/8/8", CidrError::Prefix),
        ("10.0.0.0/255.0.0.0", CidrError::Prefix),
        ("10.0.0.0/33", CidrError::PrefixTooLong { most: 32 }),
        ("10.0.0.0/999", CidrError::PrefixTooLong { most: 32 }),
        ("::/129", CidrError::PrefixTooLong { most: 128 }),
        ("10.1.0.0/8", CidrError::HostBits { canonical: Cidr::parse("10.0.0.0/8").unwrap() }),
        ("::1/64", CidrError::HostBits { canonical: Cidr::parse("::/64").unwrap() }),
        ("1.0.0.0/0", CidrError::HostBits { canonical: Cidr::parse("0.0.0.0/0").unwrap() }),
    ] {
        assert_eq!(Cidr::parse(text), Err(error), "{text}");
    }
    let wide = Cidr::parse("10.0.0.0/8").unwrap();
    assert!(wide.covers(&Cidr::parse("10.1.0.0/16").unwrap()) && wide.covers(&wide));
    assert!(!Cidr::parse("10.1.0.0/16").unwrap().covers(&wide));
    assert!(!Cidr::parse("::/0").unwrap().covers(&wide));
}

/// REGRESSION and folklore: hosts from published attacks on request filters. None may come out as a public address or an
/// ordinary name that was closed before.
#[test]
fn known_tricks() {
    for text in [
        "127.1",
        "0",
        "0.0.0.0",
        "0x7f.1",
        "017700000001",
        "2130706433",
        "[::]",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:7f00:1]",
        "[::ffff:127.0.0.1]",
        "[0:0:0:0:0:ffff:127.0.0.1]",
        "[::ffff:0:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "①②⑦.⓪.⓪.①",
        "１２７。１",
        "⑯⑨。②⑤④。⑯⑨｡②⑤④",
        "0xA9.0xFE.0xA9.0xFE",
        "0251.254.0xa9fe",
        "425.510.425.510",
        "7147006462",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "[FD00:0EC2:0:0:0:0:0:0254]",
        "255.255.255.255",
        "224.0.0.1",
        "localhost.",
        "ｌocalhoſt",
        "metadata.google.internal.",
        "169.254.169.254.",
    ] {
        let Ok(authority) = Authority::parse(text.as_bytes()) else { continue };
        let destination = CanonicalDestination::new(authority, Scheme::Http, Some(b"/"), PathOpenings::CLOSED).unwrap();
        assert!(destination.check_host(HostGrant::default()).is_err(), "{text} is open as {}", destination.host);
    }
}

#[test]
fn narrow_addresses_agree_with_the_standard_library() {
    // An independent reading of the same RFCs, over a stride that meets every /12 and every /16 of IPv6's first group.
    for step in 0..=u16::MAX {
        let v4 = Ipv4Addr::from([(step >> 8) as u8, step as u8, 3, 4]);
        let closed = v4.is_private()
            || v4.is_loopback()
            || v4.is_link_local()
            || v4.is_multicast()
            || v4.is_broadcast()
            || v4.is_documentation()
            || v4.octets()[0] == 0;
        assert!(!closed || classify(v4.into()).refused(), "{v4}");
        let v6 = Ipv6Addr::new(step, 1, 2, 3, 4, 5, 6, 7);
        let closed = v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_multicast() || step & 0xe000 != 0x2000;
        assert!(!closed || classify(v6.into()).refused(), "{v6}");
    }
}
