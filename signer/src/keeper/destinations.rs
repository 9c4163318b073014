//! Where a session may at most go: host patterns with ports. What the gateway's policy allows of it is the gateway's.

use exeat_engine::destination::{Authority, CanonicalHost, HostPattern, HostPatternError};
use std::fmt;

/// Port of plain HTTP, which an authority leaves out.
pub(crate) const HTTP: u16 = 80;
const HTTPS: u16 = 443;

/// One entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Destination {
    host: HostPattern,
    /// Absent: 80 and 443.
    port: Option<u16>,
}

/// What a session may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destinations(Option<Vec<Destination>>);

/// An entry that names no destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationsError {
    entry: String,
    why: String,
}

impl fmt::Display for DestinationsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.entry, self.why)
    }
}

impl std::error::Error for DestinationsError {}

impl Destinations {
    /// Reads the entries: `name`, `*.name` or an address, IPv6 in brackets, each with `:port` or, for the ports 80 and 443,
    /// without. No list: everything.
    pub(crate) fn parse(entries: Option<&[String]>) -> Result<Self, DestinationsError> {
        let parse =
            |entry: &String| Destination::parse(entry).map_err(|why| DestinationsError { entry: entry.clone(), why });
        Ok(Self(entries.map(|entries| entries.iter().map(parse).collect()).transpose()?))
    }

    /// Whether the session may go there. `port` is that which the agent dials.
    pub(crate) fn allow(&self, host: &CanonicalHost, port: u16) -> bool {
        let Some(list) = &self.0 else { return true };
        list.iter().any(|entry| {
            let port_fits = entry.port.map_or(matches!(port, HTTP | HTTPS), |only| only == port);
            port_fits && entry.host.matches(host).is_some()
        })
    }
}

impl Destination {
    fn parse(text: &str) -> Result<Self, String> {
        let (host, port) = split_port(text)?;
        let pattern = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) if address.contains(':') => HostPattern::parse(address),
            Some(_) => return Err("brackets stand around IPv6 addresses only".to_owned()),
            None => HostPattern::parse(host),
        };
        match pattern.map_err(|error: HostPatternError| error.to_string())? {
            HostPattern::Any => Err("`*` is everything; leave `destinations` out instead".to_owned()),
            HostPattern::Range(_) => {
                Err("a range of addresses; name the addresses, or leave it to the policy".to_owned())
            }
            host => Ok(Self { host, port }),
        }
    }
}

/// Splits off a port. What follows the last colon of an IPv6 address without brackets is none.
fn split_port(text: &str) -> Result<(&str, Option<u16>), String> {
    match text.rsplit_once(':') {
        Some((host, digits)) if !host.contains(':') || host.ends_with(']') => {
            let canonical = digits.parse::<u16>().ok().filter(|port| *port > 0 && port.to_string() == digits);
            canonical.map(|port| (host, Some(port))).ok_or_else(|| format!("{digits:?} is no port (1 to 65535)"))
        }
        Some(_) if !text.starts_with('[') => Err("write an IPv6 address in brackets".to_owned()),
        _ => Ok((text, None)),
    }
}

/// Reads the authority of a tunnel: `host:port` in canonical form.
pub(crate) fn tunnel(text: &str) -> Result<Authority, DestinationsError> {
    let unfit = |why: String| DestinationsError { entry: text.to_owned(), why };
    let authority = Authority::parse(text.as_bytes()).map_err(|error| unfit(error.to_string()))?;
    if authority.port.is_none() {
        return Err(unfit("has no port; write host:port".to_owned()));
    }
    let canonical = authority.to_string();
    if canonical == text { Ok(authority) } else { Err(unfit(format!("not the canonical form; write {canonical:?}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[&str]) -> Result<Destinations, DestinationsError> {
        let entries: Vec<String> = entries.iter().map(|entry| (*entry).to_owned()).collect();
        Destinations::parse(Some(&entries))
    }

    fn host(text: &str) -> CanonicalHost {
        CanonicalHost::parse(text).unwrap()
    }

    #[test]
    fn entries_fit_hosts_and_ports() {
        let some =
            list(&["api.acme.example", "*.crm.example:8443", "192.0.2.7:9000", "[2001:db8::1]", "[2001:db8::2]:1"]);
        let some = some.unwrap();
        for (name, port, fits) in [
            ("api.acme.example", 80, true),
            ("api.acme.example", 443, true),
            ("api.acme.example", 8080, false),
            ("x.api.acme.example", 443, false),
            ("API.ACME.example.", 443, true),
            ("a.crm.example", 8443, true),
            ("a.crm.example", 443, false),
            ("crm.example", 8443, false),
            ("evilcrm.example", 8443, false),
            ("192.0.2.7", 9000, true),
            ("0xc0000207", 9000, true),
            ("192.0.2.7", 80, false),
            ("[2001:db8::1]", 443, true),
            ("[2001:0db8::1]", 80, true),
            ("[2001:db8::2]", 1, true),
            ("[2001:db8::2]", 443, false),
        ] {
            assert_eq!(some.allow(&host(name), port), fits, "{name} {port}");
        }
        assert!(Destinations::parse(None).unwrap().allow(&host("anything.example"), 1));
        assert!(!list(&[]).unwrap().allow(&host("anything.example"), 443));
    }

    #[test]
    fn what_names_no_destination_is_refused_with_advice() {
        for (entry, advice) in [
            ("", "empty"),
            ("*", "leave `destinations` out"),
            ("10.0.0.0/8", "range"),
            ("Acme.example", "write `acme.example`"),
            ("acme.example.", "write `acme.example`"),
            ("https://acme.example", "no port"),
            ("acme.example/v1", "path"),
            ("acme.example:", "no port"),
            ("acme.example:0", "no port"),
            ("acme.example:080", "no port"),
            ("acme.example:+80", "no port"),
            ("acme.example:65536", "no port"),
            ("2001:db8::1", "brackets"),
            ("[acme.example]", "brackets"),
            ("[2001:db8:0::1]", "2001:db8::1"),
            ("api.*.example", "whole first label"),
            ("a b.example", "host name"),
        ] {
            let error = list(&[entry]).unwrap_err().to_string();
            assert!(error.contains(advice), "{entry}: {error}");
        }
        for (text, advice) in [
            ("acme.example", "no port"),
            ("ACME.example:443", "write \"acme.example:443\""),
            ("u@acme.example:443", "@"),
            ("acme.example:443\r\nx", "0x0d"),
        ] {
            let error = tunnel(text).unwrap_err().to_string();
            assert!(error.contains(advice), "{text}: {error}");
        }
        assert_eq!(tunnel("[2001:db8::1]:22").unwrap().port, Some(22));
    }
}
