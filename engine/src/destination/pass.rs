//! A pass: what a decision let go, as the guard must find it where the connection is.
//!
//! The filter judges a name; what it resolves to shows only where the request leaves. There the guard holds the pass
//! against the request in hand and the address that was chosen for it.

use super::address::check_resolved;
use super::{AddressClass, Cidr, Exit};
use crate::request::Bytes;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// What was let go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    /// The way out.
    pub exit: Exit,
    /// `:method`.
    pub method: String,
    /// `:authority`.
    pub authority: String,
    /// `:path`; absent for a tunnel.
    pub path: Option<Bytes>,
    /// The port that is dialled.
    pub port: u16,
    /// The host, where it is an address: nothing else may then be dialled.
    pub literal: Option<IpAddr>,
    /// Closed addresses that the name may resolve to: each list must name the address.
    pub addresses: Vec<Arc<[Cidr]>>,
    /// Whether those may be of a cloud's metadata service.
    pub metadata: bool,
}

/// A request as the guard sees it.
#[derive(Clone, Copy, Debug)]
pub struct Leaving<'a> {
    /// The ways out that the guard stands in.
    pub exits: &'a [Exit],
    /// `:method`.
    pub method: Option<&'a [u8]>,
    /// `:authority`.
    pub authority: Option<&'a [u8]>,
    /// `:path`.
    pub path: Option<&'a [u8]>,
    /// Address and port that the host chose, as it writes them.
    pub upstream: Option<&'a str>,
}

/// Why a request may not leave after all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objection {
    /// No decision is known that let it go.
    Undecided,
    /// The decision let one request go, and that has been here.
    Used,
    /// This is not what was let go.
    Differs(&'static str),
    /// The way out is not the one that was chosen.
    Exit,
    /// The host does not say where the request goes.
    Nowhere,
    /// Another port than the one that was judged.
    Port(u16),
    /// Another address than the one that was judged.
    OtherAddress,
    /// A closed address.
    Closed(AddressClass),
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undecided => f.write_str("guard: no decision let this request go"),
            Self::Used => f.write_str("guard: the decision was used before"),
            Self::Differs(what) => write!(f, "guard: the {what} is not the one that was judged"),
            Self::Exit => f.write_str("guard: the connection is of another kind than was chosen"),
            Self::Nowhere => f.write_str("guard: the upstream has no address"),
            Self::Port(port) => write!(f, "guard: port {port} would be dialled"),
            Self::OtherAddress => f.write_str("guard: another address would be dialled"),
            Self::Closed(class) => write!(f, "guard: the name resolved to an address of class {}", class.code()),
        }
    }
}

impl std::error::Error for Objection {}

impl Pass {
    /// Whether the request may leave; the class of the address then.
    pub fn admit(&self, leaving: &Leaving<'_>) -> Result<AddressClass, Objection> {
        if !leaving.exits.contains(&self.exit) {
            return Err(Objection::Exit);
        }
        if leaving.method != Some(self.method.as_bytes()) {
            return Err(Objection::Differs("method"));
        }
        if leaving.authority != Some(self.authority.as_bytes()) {
            return Err(Objection::Differs("authority"));
        }
        if leaving.path != self.path.as_deref() {
            return Err(Objection::Differs("path"));
        }
        // A socket of the file system, or of another process, has no address and is nobody's destination.
        let upstream: SocketAddr = leaving.upstream.and_then(|text| text.parse().ok()).ok_or(Objection::Nowhere)?;
        if upstream.port() != self.port {
            return Err(Objection::Port(upstream.port()));
        }
        let address = upstream.ip();
        if let Some(literal) = self.literal {
            // The filter judged its class already.
            return if address == literal { Ok(super::classify(address)) } else { Err(Objection::OtherAddress) };
        }
        let none: [&[Cidr]; 1] = [&[]];
        let lists = self.addresses.iter().map(AsRef::as_ref);
        let empty = none.into_iter().filter(|_| self.addresses.is_empty());
        let mut class = AddressClass::Public;
        for list in lists.chain(empty) {
            class = check_resolved(address, list, self.metadata).map_err(Objection::Closed)?;
        }
        Ok(class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HTTPS: [Exit; 1] = [Exit::Https];

    fn pass() -> Pass {
        Pass {
            exit: Exit::Https,
            method: "GET".into(),
            authority: "api.example".into(),
            path: Some("/a?b".into()),
            port: 443,
            literal: None,
            addresses: vec![vec!["10.20.0.0/16".parse().unwrap(), "169.254.169.254".parse().unwrap()].into()],
            metadata: false,
        }
    }

    fn leaving(upstream: &str) -> Leaving<'_> {
        Leaving {
            exits: &HTTPS,
            method: Some(b"GET"),
            authority: Some(b"api.example"),
            path: Some(b"/a?b"),
            upstream: Some(upstream),
        }
    }

    #[test]
    fn only_public_and_named_addresses_are_dialled() {
        use AddressClass::{CloudMetadata, Loopback, Private, Public};
        for (upstream, expected) in [
            ("93.184.216.34:443", Ok(Public)),
            ("[2606:4700::1]:443", Ok(Public)),
            ("10.20.1.1:443", Ok(Private)),
            ("10.21.1.1:443", Err(Objection::Closed(Private))),
            ("127.0.0.1:443", Err(Objection::Closed(Loopback))),
            ("[::ffff:127.0.0.1]:443", Err(Objection::Closed(Loopback))),
            ("[::ffff:10.20.1.1]:443", Err(Objection::Closed(Private))),
            ("[64:ff9b::a9fe:a9fe]:443", Err(Objection::Closed(CloudMetadata))),
            // Named, but a metadata service needs more.
            ("169.254.169.254:443", Err(Objection::Closed(CloudMetadata))),
            ("93.184.216.34:80", Err(Objection::Port(80))),
            ("93.184.216.34", Err(Objection::Nowhere)),
            ("/run/socket", Err(Objection::Nowhere)),
            ("envoy://internal_client_address/", Err(Objection::Nowhere)),
            ("", Err(Objection::Nowhere)),
        ] {
            assert_eq!(pass().admit(&leaving(upstream)), expected, "{upstream}");
        }
        let metadata = Pass { metadata: true, ..pass() };
        assert_eq!(metadata.admit(&leaving("169.254.169.254:443")), Ok(CloudMetadata));
        // Where two destinations are equally close, both must name it.
        let mut two = pass();
        two.addresses.push(vec!["10.0.0.0/24".parse().unwrap()].into());
        assert_eq!(two.admit(&leaving("10.20.1.1:443")), Err(Objection::Closed(Private)));
        let nothing = Pass { addresses: Vec::new(), ..pass() };
        assert_eq!(nothing.admit(&leaving("10.20.1.1:443")), Err(Objection::Closed(Private)));
    }

    #[test]
    fn a_literal_is_dialled_and_nothing_else() {
        let literal = Pass { literal: Some("10.1.2.3".parse().unwrap()), ..pass() };
        assert_eq!(literal.admit(&leaving("10.1.2.3:443")), Ok(AddressClass::Private));
        assert_eq!(literal.admit(&leaving("93.184.216.34:443")), Err(Objection::OtherAddress));
        assert_eq!(literal.admit(&leaving("[::ffff:10.1.2.3]:443")), Err(Objection::OtherAddress));
    }

    #[test]
    fn what_leaves_is_what_was_judged() {
        let good = leaving("93.184.216.34:443");
        for (changed, objection) in [
            (Leaving { method: Some(b"POST"), ..good }, Objection::Differs("method")),
            (Leaving { method: None, ..good }, Objection::Differs("method")),
            (Leaving { authority: Some(b"api.example:443"), ..good }, Objection::Differs("authority")),
            (Leaving { path: Some(b"/a"), ..good }, Objection::Differs("path")),
            (Leaving { path: None, ..good }, Objection::Differs("path")),
            (Leaving { upstream: None, ..good }, Objection::Nowhere),
            (Leaving { exits: &[Exit::Http, Exit::Tunnel], ..good }, Objection::Exit),
            (Leaving { exits: &[], ..good }, Objection::Exit),
        ] {
            assert_eq!(pass().admit(&changed), Err(objection));
        }
    }
}
