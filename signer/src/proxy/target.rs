//! Where a request goes: read once, by the engine's own code, before anything is asked for or sent.

use super::problem::{Problem, Refusal};
use exeat_engine::destination::{Authority, CanonicalHost};
use http::Uri;
use http::uri::PathAndQuery;

/// Scheme that the agent speaks to the upstream, as far as it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// Plain.
    Http,
    /// Over TLS that ends here, or asked for with an absolute target.
    Https,
}

impl Scheme {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Host and port, canonical.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) host: CanonicalHost,
    pub(crate) port: u16,
}

impl Place {
    /// Reads what stands in a request; `default` is the port where none is written.
    fn read(text: &[u8], default: Option<u16>) -> Result<Self, Problem> {
        let authority = Authority::parse(text).map_err(|error| {
            Problem::new(
                Refusal::DestinationMalformed,
                format!("The destination cannot be read in one way only: {error}."),
            )
        })?;
        let port = authority
            .port
            .or(default)
            .ok_or_else(|| Problem::new(Refusal::DestinationMalformed, "CONNECT takes a host and a port."))?;
        Ok(Self { host: authority.host, port })
    }

    /// The target of CONNECT (RFC 9110 section 9.3.6): host and port, nothing else.
    pub(crate) fn of_connect(uri: &Uri) -> Result<Self, Problem> {
        match (uri.scheme(), uri.authority(), uri.path_and_query()) {
            (None, Some(authority), None) => Self::read(authority.as_str().as_bytes(), None),
            _ => Err(Problem::new(Refusal::DestinationMalformed, "CONNECT takes a host and a port.")),
        }
    }

    /// A `Host` or `:authority` of a request of this scheme.
    pub(crate) fn of_host(text: &[u8], scheme: Scheme) -> Result<Self, Problem> {
        Self::read(text, Some(scheme.port()))
    }

    /// With the port always.
    pub(crate) fn with_port(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// As it goes to the gateway and is signed: only the port of plain HTTP is left out.
    pub(crate) fn authority(&self, scheme: Scheme) -> String {
        if scheme == Scheme::Http && self.port == Scheme::Http.port() {
            self.host.to_string()
        } else {
            self.with_port()
        }
    }
}

/// A target in absolute form (RFC 9112 section 3.2.2).
pub(crate) fn absolute(uri: &Uri) -> Result<(Scheme, Place), Problem> {
    let scheme = match uri.scheme_str() {
        Some(scheme) if scheme.eq_ignore_ascii_case("http") => Scheme::Http,
        Some(scheme) if scheme.eq_ignore_ascii_case("https") => Scheme::Https,
        Some(_) => {
            return Err(Problem::new(Refusal::RequestMalformed, "Only http and https are carried."));
        }
        None => {
            return Err(Problem::new(
                Refusal::RequestMalformed,
                "This is a forward proxy: it takes CONNECT, and targets in absolute form.",
            ));
        }
    };
    let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
    Ok((scheme, Place::of_host(authority.as_bytes(), scheme)?))
}

/// Path and query as they will be sent. The engine's rules for paths are the gateway's to apply; here it only matters that what
/// is signed is what is sent.
pub(crate) fn path(uri: &Uri) -> Result<PathAndQuery, Problem> {
    let text = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let text = match text.as_bytes().first() {
        None => "/".to_owned(),
        Some(b'?') => format!("/{text}"),
        Some(b'/') => text.to_owned(),
        Some(_) => return Err(Problem::new(Refusal::RequestMalformed, "The target is no path of a server.")),
    };
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Problem::new(Refusal::RequestMalformed, "The target has bytes that must be percent-encoded."));
    }
    text.parse().map_err(|_| Problem::new(Refusal::RequestMalformed, "The target is no path of a server."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, scheme: Scheme) -> String {
        Place::of_host(text.as_bytes(), scheme).unwrap().authority(scheme)
    }

    #[test]
    fn only_the_port_of_plain_http_is_left_out() {
        assert_eq!(place("a.example", Scheme::Http), "a.example");
        assert_eq!(place("A.Example.:80", Scheme::Http), "a.example");
        assert_eq!(place("a.example:443", Scheme::Http), "a.example:443");
        assert_eq!(place("a.example", Scheme::Https), "a.example:443");
        assert_eq!(place("a.example:80", Scheme::Https), "a.example:80");
        assert_eq!(place("0x7f.1", Scheme::Https), "127.0.0.1:443");
        assert_eq!(place("[::1]:8443", Scheme::Https), "[::1]:8443");
    }

    #[test]
    fn connect_takes_host_and_port_only() {
        let read = |text: &str| Place::of_connect(&text.parse().unwrap()).map(|place| place.with_port()).ok();
        assert_eq!(read("a.example:443").as_deref(), Some("a.example:443"));
        for text in ["a.example", "http://a.example:443/", "/a.example:443", "u@a.example:443", "a.example:0"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_target_is_sent_as_it_came() {
        let read = |text: &str| path(&text.parse().unwrap()).map(|path| path.to_string()).ok();
        for (text, sent) in [
            ("http://a.example", Some("/")),
            ("http://a.example?x=1", Some("/?x=1")),
            ("http://a.example/%2e%2E//b;c?", Some("/%2e%2E//b;c?")),
            ("/a#b", Some("/a")),
            ("*", None),
        ] {
            assert_eq!(read(text).as_deref(), sent, "{text}");
        }
    }
}
