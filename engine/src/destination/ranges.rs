//! The ranges behind [`super::AddressClass`], each with its source: the IANA special-purpose registries whole, the IANA
//! address space registries for what is not allocated, and the documentation of the clouds.
//!
//! The narrowest range wins, so that order does not matter here.

use super::{AddressClass, Cidr};
use AddressClass::{
    Benchmarking, Broadcast, CarrierGradeNat, CloudMetadata, Documentation, Ipv4InIpv6, LinkLocal, Loopback, Multicast,
    Private, ProtocolAssignment, Public, Reserved, UniqueLocal, Unspecified,
};

/// One range of addresses.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// Which addresses.
    pub cidr: Cidr,
    /// Their class.
    pub class: AddressClass,
    /// What the source calls them.
    pub name: &'static str,
    /// Who says so.
    pub source: &'static str,
}

const fn v4(octets: [u8; 4], prefix: u8, class: AddressClass, name: &'static str, source: &'static str) -> Range {
    Range { cidr: Cidr::table_v4(octets, prefix), class, name, source }
}

const fn v6(segments: [u16; 8], prefix: u8, class: AddressClass, name: &'static str, source: &'static str) -> Range {
    Range { cidr: Cidr::table_v6(segments, prefix), class, name, source }
}

/// Every range with a meaning. Holds `0.0.0.0/0` and `::/0`.
#[rustfmt::skip]
pub const RANGES: &[Range] = &[
    // IPv4: IANA IPv4 Special-Purpose Address Registry.
    v4([0, 0, 0, 0], 0, Public, "Global unicast", "IANA IPv4 Address Space Registry"),
    v4([0, 0, 0, 0], 8, Unspecified, "This network", "RFC 791 section 3.2"),
    v4([0, 0, 0, 0], 32, Unspecified, "This host on this network", "RFC 1122 section 3.2.1.3"),
    v4([10, 0, 0, 0], 8, Private, "Private-Use", "RFC 1918"),
    v4([100, 64, 0, 0], 10, CarrierGradeNat, "Shared Address Space", "RFC 6598"),
    v4([127, 0, 0, 0], 8, Loopback, "Loopback", "RFC 1122 section 3.2.1.3"),
    v4([169, 254, 0, 0], 16, LinkLocal, "Link Local", "RFC 3927"),
    v4([172, 16, 0, 0], 12, Private, "Private-Use", "RFC 1918"),
    v4([192, 0, 0, 0], 24, ProtocolAssignment, "IETF Protocol Assignments", "RFC 6890 section 2.1"),
    v4([192, 0, 0, 0], 29, ProtocolAssignment, "IPv4 Service Continuity Prefix", "RFC 7335"),
    v4([192, 0, 0, 8], 32, ProtocolAssignment, "IPv4 dummy address", "RFC 7600"),
    v4([192, 0, 0, 9], 32, ProtocolAssignment, "Port Control Protocol Anycast", "RFC 7723"),
    v4([192, 0, 0, 10], 32, ProtocolAssignment, "TURN Anycast", "RFC 8155"),
    v4([192, 0, 0, 170], 32, ProtocolAssignment, "NAT64/DNS64 Discovery", "RFC 7050 section 2.2"),
    v4([192, 0, 0, 171], 32, ProtocolAssignment, "NAT64/DNS64 Discovery", "RFC 7050 section 2.2"),
    v4([192, 0, 2, 0], 24, Documentation, "TEST-NET-1", "RFC 5737"),
    v4([192, 31, 196, 0], 24, ProtocolAssignment, "AS112-v4", "RFC 7535"),
    v4([192, 52, 193, 0], 24, ProtocolAssignment, "AMT", "RFC 7450"),
    v4([192, 88, 99, 0], 24, Reserved, "Deprecated (6to4 Relay Anycast)", "RFC 7526"),
    v4([192, 88, 99, 2], 32, Reserved, "6a44-relay anycast address", "RFC 6751"),
    v4([192, 168, 0, 0], 16, Private, "Private-Use", "RFC 1918"),
    v4([192, 175, 48, 0], 24, ProtocolAssignment, "Direct Delegation AS112 Service", "RFC 7534"),
    v4([198, 18, 0, 0], 15, Benchmarking, "Benchmarking", "RFC 2544"),
    v4([198, 51, 100, 0], 24, Documentation, "TEST-NET-2", "RFC 5737"),
    v4([203, 0, 113, 0], 24, Documentation, "TEST-NET-3", "RFC 5737"),
    v4([224, 0, 0, 0], 4, Multicast, "Multicast", "RFC 5771"),
    v4([240, 0, 0, 0], 4, Reserved, "Reserved", "RFC 1112 section 4"),
    v4([255, 255, 255, 255], 32, Broadcast, "Limited Broadcast", "RFC 919 section 7"),

    // IPv6: IANA IPv6 Special-Purpose Address Registry, and the address space around it.
    v6([0; 8], 0, Reserved, "Not allocated", "IANA IPv6 Address Space Registry"),
    v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3, Public, "Global Unicast", "RFC 4291 section 2.5.4"),
    v6([0; 8], 128, Unspecified, "Unspecified Address", "RFC 4291 section 2.5.2"),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, Loopback, "Loopback Address", "RFC 4291 section 2.5.3"),
    v6([0; 8], 96, Ipv4InIpv6, "IPv4-compatible (deprecated)", "RFC 4291 section 2.5.5.1"),
    v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, Ipv4InIpv6, "IPv4-mapped Address", "RFC 4291 section 2.5.5.2"),
    v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96, Ipv4InIpv6, "IPv4-translated", "RFC 2765 section 2.1"),
    v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, Ipv4InIpv6, "IPv4-IPv6 Translation (NAT64)", "RFC 6052 section 2.1"),
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, Ipv4InIpv6, "IPv4-IPv6 Translation, local use", "RFC 8215"),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, Reserved, "Discard-Only Address Block", "RFC 6666"),
    v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64, Reserved, "Dummy IPv6 Prefix", "RFC 9780"),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, ProtocolAssignment, "IETF Protocol Assignments", "RFC 2928"),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, Ipv4InIpv6, "TEREDO", "RFC 4380"),
    v6([0x2001, 1, 0, 0, 0, 0, 0, 1], 128, ProtocolAssignment, "Port Control Protocol Anycast", "RFC 7723"),
    v6([0x2001, 1, 0, 0, 0, 0, 0, 2], 128, ProtocolAssignment, "TURN Anycast", "RFC 8155"),
    v6([0x2001, 1, 0, 0, 0, 0, 0, 3], 128, ProtocolAssignment, "DNS-SD SRP Anycast", "RFC 9665"),
    v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, Benchmarking, "Benchmarking", "RFC 5180"),
    v6([0x2001, 3, 0, 0, 0, 0, 0, 0], 32, ProtocolAssignment, "AMT", "RFC 7450"),
    v6([0x2001, 4, 0x112, 0, 0, 0, 0, 0], 48, ProtocolAssignment, "AS112-v6", "RFC 7535"),
    v6([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28, ProtocolAssignment, "Deprecated (ORCHID)", "RFC 4843"),
    v6([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28, ProtocolAssignment, "ORCHIDv2", "RFC 7343"),
    v6([0x2001, 0x30, 0, 0, 0, 0, 0, 0], 28, ProtocolAssignment, "Drone Remote ID (DETs)", "RFC 9374"),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, Documentation, "Documentation", "RFC 3849"),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, Ipv4InIpv6, "6to4", "RFC 3056"),
    v6([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48, ProtocolAssignment, "Direct Delegation AS112 Service", "RFC 7534"),
    v6([0x3ffe, 0, 0, 0, 0, 0, 0, 0], 16, Reserved, "6bone (returned)", "RFC 3701"),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, Documentation, "Documentation", "RFC 9637"),
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, ProtocolAssignment, "Segment Routing (SRv6) SIDs", "RFC 9602"),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, UniqueLocal, "Unique-Local", "RFC 4193"),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, LinkLocal, "Link-Local Unicast", "RFC 4291 section 2.5.6"),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, UniqueLocal, "Site-Local Unicast (deprecated)", "RFC 3879"),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, Multicast, "Multicast", "RFC 4291 section 2.7"),

    // Metadata services. All but Azure's lie in ranges that are closed anyway; the class tells them apart.
    v4([100, 100, 100, 200], 32, CloudMetadata, "Alibaba Cloud", "Alibaba Cloud ECS, View instance metadata"),
    v4([168, 63, 129, 16], 32, CloudMetadata, "Azure WireServer", "Azure Virtual Network, What is IP address 168.63.129.16"),
    v4([169, 254, 0, 23], 32, CloudMetadata, "Tencent Cloud", "Tencent Cloud CVM, Instance metadata"),
    v4([169, 254, 42, 42], 32, CloudMetadata, "Scaleway", "Scaleway Instances, cloud-init data source"),
    v4([169, 254, 169, 254], 32, CloudMetadata, "AWS, Azure, Google, Oracle, OpenStack and others", "Amazon EC2 User Guide, Instance metadata"),
    v4([169, 254, 170, 2], 32, CloudMetadata, "AWS container credentials", "Amazon ECS Developer Guide, Task metadata and IAM roles"),
    v4([169, 254, 170, 23], 32, CloudMetadata, "AWS EKS Pod Identity", "Amazon EKS User Guide, Pod Identity Agent"),
    v4([192, 0, 0, 192], 32, CloudMetadata, "Oracle Cloud Classic", "Oracle Compute Cloud Classic, Instance metadata"),
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23], 128, CloudMetadata, "AWS EKS Pod Identity", "Amazon EKS User Guide, Pod Identity Agent"),
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128, CloudMetadata, "AWS", "Amazon EC2 User Guide, Instance metadata"),
    v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128, CloudMetadata, "Google Cloud", "Google Compute Engine, About VM metadata"),
    v6([0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe], 128, CloudMetadata, "Oracle Cloud", "Oracle Cloud Infrastructure SDK, instance principals"),
    v6([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42], 128, CloudMetadata, "Scaleway", "Scaleway Instances, cloud-init data source"),
    v6([0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1], 128, CloudMetadata, "Akamai (Linode)", "Akamai Cloud, Metadata service"),
    v6([0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe], 128, CloudMetadata, "OpenStack", "OpenStack Neutron, IPv6 metadata"),
];
