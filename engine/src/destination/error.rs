//! Why a destination is refused. One variant a cause; none carries text that a client chose, only places and bytes.

use super::{AddressClass, PathOpening, SpecialUse};
use crate::decision::Reason;
use std::fmt;

/// Why a destination is refused.
///
/// Positions (`at`) are byte offsets into the value as it was received. Bytes are shown in hex, so that the text is safe
/// wherever it is printed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DestinationError {
    /// `:authority` is empty.
    AuthorityEmpty,
    /// `:authority` is longer than [`super::authority::MAX_AUTHORITY`].
    AuthorityTooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// `:authority` is not UTF-8.
    AuthorityNotUtf8 {
        /// Where it stops being so.
        at: usize,
    },
    /// A space, a control or a character that ends an authority.
    AuthorityCharacter {
        /// The byte.
        byte: u8,
        /// Where.
        at: usize,
    },
    /// A user or password before `@`.
    Userinfo {
        /// Where the `@` stands.
        at: usize,
    },
    /// A comma: two Host lines that a proxy joined.
    SeveralHosts {
        /// Where the comma stands.
        at: usize,
    },
    /// A percent sign in the host: an escape, or the zone of an IPv6 address.
    HostEscape {
        /// Where the percent sign stands.
        at: usize,
    },
    /// No host before the port.
    HostEmpty,
    /// The host does not survive IDNA (UTS #46), or maps to characters that a host cannot have.
    HostIdna,
    /// A character that DNS names of web servers do not have (letters, digits, `-`, `_`).
    HostCharacter {
        /// The byte, after IDNA.
        byte: u8,
    },
    /// Two dots in a row, or one at the start.
    LabelEmpty,
    /// A label over 63 bytes (RFC 1035 section 2.3.4).
    LabelTooLong {
        /// Its length after IDNA.
        bytes: usize,
    },
    /// A name over 253 bytes (RFC 1035 section 2.3.4, without the trailing dot).
    HostTooLong {
        /// Its length after IDNA.
        bytes: usize,
    },
    /// The last label is a number, but the whole is no IPv4 address.
    Ipv4Invalid,
    /// Brackets without an IPv6 address in them.
    Ipv6Invalid,
    /// An IPv6 address with a zone (`%eth0`).
    Ipv6Zone,
    /// A second colon outside brackets.
    ColonRepeated {
        /// Where it stands.
        at: usize,
    },
    /// A colon with nothing after it.
    PortEmpty,
    /// CONNECT without a port.
    PortMissing,
    /// Something else than digits after the colon.
    PortCharacter {
        /// The byte.
        byte: u8,
        /// Where.
        at: usize,
    },
    /// A port with a leading zero.
    PortLeadingZero,
    /// A port that is 0 or over 65535.
    PortOutOfRange,
    /// The target is `*`.
    TargetAsterisk,
    /// The target does not start with `/`.
    TargetNotOrigin,
    /// The target is longer than [`super::path::MAX_TARGET`].
    TargetTooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// The path has more segments than [`super::path::MAX_SEGMENTS`].
    SegmentsTooMany,
    /// A space, a control or a `#` in the path.
    PathCharacter {
        /// The byte.
        byte: u8,
        /// Where.
        at: usize,
    },
    /// Raw bytes that are not UTF-8 in the path.
    PathNotUtf8 {
        /// Where.
        at: usize,
    },
    /// Something servers read differently, which the destination does not open.
    PathClosed {
        /// What.
        opening: PathOpening,
        /// Where.
        at: usize,
    },
    /// What is open in the path can be read in more ways than deny rules can be tried on.
    ReadingsTooMany,
    /// A space, a control, a `#` or a byte over 0x7e in the query.
    QueryCharacter {
        /// The byte.
        byte: u8,
        /// Where.
        at: usize,
    },
    /// An address of a closed class.
    AddressForbidden(AddressClass),
    /// A name that is not for the open internet.
    NameForbidden(SpecialUse),
}

impl DestinationError {
    /// The reason that stands in record and answer.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::AddressForbidden(_) | Self::NameForbidden(_) => Reason::DestinationForbidden,
            _ => Reason::DestinationMalformed,
        }
    }
}

impl fmt::Display for DestinationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AuthorityEmpty => f.write_str("the authority is empty"),
            Self::AuthorityTooLong { bytes } => write!(f, "the authority has {bytes} bytes"),
            Self::AuthorityNotUtf8 { at } => write!(f, "the authority is not UTF-8 at byte {at}"),
            Self::AuthorityCharacter { byte, at } => write!(f, "byte 0x{byte:02x} in the authority at byte {at}"),
            Self::Userinfo { at } => write!(f, "a user before `@` in the authority at byte {at}"),
            Self::SeveralHosts { at } => write!(f, "a comma in the authority at byte {at}: two Host lines"),
            Self::HostEscape { at } => write!(f, "a percent sign in the host at byte {at}"),
            Self::HostEmpty => f.write_str("the host is empty"),
            Self::HostIdna => f.write_str("the host is not a valid internationalised name"),
            Self::HostCharacter { byte } => write!(f, "byte 0x{byte:02x} in the host name"),
            Self::LabelEmpty => f.write_str("an empty label in the host name"),
            Self::LabelTooLong { bytes } => write!(f, "a label of {bytes} bytes in the host name, 63 are the most"),
            Self::HostTooLong { bytes } => write!(f, "a host name of {bytes} bytes, 253 are the most"),
            Self::Ipv4Invalid => f.write_str("the host ends in a number but is no IPv4 address"),
            Self::Ipv6Invalid => f.write_str("the host is no IPv6 address in brackets"),
            Self::Ipv6Zone => f.write_str("an IPv6 address with a zone"),
            Self::ColonRepeated { at } => write!(f, "a second colon in the authority at byte {at}"),
            Self::PortEmpty => f.write_str("a colon without a port"),
            Self::PortMissing => f.write_str("CONNECT names no port"),
            Self::PortCharacter { byte, at } => write!(f, "byte 0x{byte:02x} in the port at byte {at}"),
            Self::PortLeadingZero => f.write_str("a port with a leading zero"),
            Self::PortOutOfRange => f.write_str("a port that is not between 1 and 65535"),
            Self::TargetAsterisk => f.write_str("the target is `*`"),
            Self::TargetNotOrigin => f.write_str("the target does not start with `/`"),
            Self::TargetTooLong { bytes } => write!(f, "path and query have {bytes} bytes"),
            Self::SegmentsTooMany => f.write_str("the path has too many segments"),
            Self::PathCharacter { byte, at } => write!(f, "byte 0x{byte:02x} in the path at byte {at}"),
            Self::PathNotUtf8 { at } => write!(f, "the path is not UTF-8 at byte {at}"),
            Self::PathClosed { opening, at } => write!(f, "{} in the path at byte {at}", opening.describe()),
            Self::ReadingsTooMany => f.write_str("the path can be read in too many ways"),
            Self::QueryCharacter { byte, at } => write!(f, "byte 0x{byte:02x} in the query at byte {at}"),
            Self::AddressForbidden(class) => write!(f, "the host is an address of class {}", class.code()),
            Self::NameForbidden(special) => write!(f, "the host is a special-use name ({})", special.code()),
        }
    }
}

impl std::error::Error for DestinationError {}
