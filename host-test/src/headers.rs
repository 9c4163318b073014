//! Header maps with the semantics of Envoy's `HeaderMapImpl`.
//!
//! Three rules matter to a filter: names are lower case; fields that Envoy keeps in a fixed slot exist once, and a
//! second value is joined to the first with a comma; `host` in a request is another name of `:authority`.

use std::borrow::Cow;
use std::fmt;

/// A list of fields in order. Names are lower case, values are bytes.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, Vec<u8>)>);

/// Which of Envoy's header maps: they differ in the fields that have a fixed slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Response,
    Trailers,
}

impl Headers {
    /// An empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// First value of the field.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_slice())
    }

    /// First value of the field as text; bytes that are not UTF-8 are replaced.
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.get(name).map(String::from_utf8_lossy)
    }

    /// Every value of the field, in order.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + 'a {
        self.0.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_slice())
    }

    /// Whether the field is there.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Number of fields, as Envoy counts them for `num_headers`.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All fields in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_slice()))
    }

    /// Names in order, duplicates included.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(n, _)| n.as_str())
    }

    /// Appends a field as it is, without joining.
    pub fn push(&mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) {
        self.0.push((name.as_ref().to_ascii_lowercase(), value.as_ref().to_vec()));
    }

    /// Bytes of all names and values, what `proxy_get_header_map_size` reports.
    pub fn byte_size(&self) -> usize {
        self.0.iter().map(|(n, v)| n.len() + v.len()).sum()
    }

    /// The map that Envoy's codec would build from these fields.
    pub(crate) fn canonical(&self, kind: Kind) -> Self {
        let mut map = Self::new();
        for (name, value) in self.iter() {
            map.add(kind, name, value);
        }
        map
    }

    pub(crate) fn lookup(&self, kind: Kind, name: &str) -> Option<&[u8]> {
        self.get(alias(kind, &name.to_ascii_lowercase()))
    }

    pub(crate) fn add(&mut self, kind: Kind, name: &str, value: &[u8]) {
        let lower = name.to_ascii_lowercase();
        let name = alias(kind, &lower);
        if has_slot(kind, name)
            && let Some((_, existing)) = self.0.iter_mut().find(|(n, _)| n == name)
        {
            join(existing, value);
            return;
        }
        let field = (name.to_owned(), value.to_vec());
        if name.starts_with(':') {
            let end = self.0.iter().take_while(|(n, _)| n.starts_with(':')).count();
            self.0.insert(end, field);
        } else {
            self.0.push(field);
        }
    }

    pub(crate) fn remove(&mut self, kind: Kind, name: &str) {
        let lower = name.to_ascii_lowercase();
        let name = alias(kind, &lower);
        self.0.retain(|(n, _)| n != name);
    }

    /// Replaces all values of the field by one.
    pub(crate) fn replace(&mut self, kind: Kind, name: &str, value: &[u8]) {
        self.remove(kind, name);
        self.add(kind, name, value);
    }
}

fn join(existing: &mut Vec<u8>, value: &[u8]) {
    if value.is_empty() {
        return;
    }
    if !existing.is_empty() {
        existing.push(b',');
    }
    existing.extend_from_slice(value);
}

fn alias(kind: Kind, name: &str) -> &str {
    if kind == Kind::Request && name == "host" { ":authority" } else { name }
}

/// The fields with a slot of their own: those of envoy/http/header_map.h, and those that extensions of the default
/// build register (`CustomInlineHeaderRegistry`). Which of two equal fields are joined was measured on Envoy 1.40.
fn has_slot(kind: Kind, name: &str) -> bool {
    const BOTH: &[&str] = &[
        "cache-control",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "keep-alive",
        "proxy-connection",
        "proxy-status",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-envoy-decorator-operation",
        "x-request-id",
    ];
    const REQUEST: &[&str] = &[
        ":authority",
        ":method",
        ":path",
        ":protocol",
        ":scheme",
        "accept",
        "accept-encoding",
        "access-control-request-headers",
        "access-control-request-method",
        "authorization",
        "cdn-loop",
        "expect",
        "grpc-accept-encoding",
        "grpc-timeout",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "origin",
        "pragma",
        "referer",
        "te",
        "user-agent",
        "x-client-trace-id",
        "x-envoy-downstream-service-cluster",
        "x-envoy-downstream-service-node",
        "x-envoy-expected-rq-timeout-ms",
        "x-envoy-external-address",
        "x-envoy-force-trace",
        "x-envoy-internal",
        "x-envoy-ip-tags",
        "x-envoy-max-retries",
        "x-envoy-original-host",
        "x-envoy-original-path",
        "x-envoy-retry-grpc-on",
        "x-envoy-retry-on",
        "x-envoy-upstream-rq-timeout-ms",
        "x-forwarded-client-cert",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-proto",
    ];
    const RESPONSE: &[&str] = &[
        ":status",
        "access-control-allow-credentials",
        "access-control-allow-headers",
        "access-control-allow-methods",
        "access-control-allow-origin",
        "access-control-expose-headers",
        "access-control-max-age",
        "age",
        "date",
        "etag",
        "expires",
        "grpc-message",
        "grpc-status",
        "last-modified",
        "location",
        "server",
        "vary",
        "x-envoy-attempt-count",
        "x-envoy-degraded",
        "x-envoy-upstream-service-time",
    ];
    match kind {
        Kind::Request => BOTH.contains(&name) || REQUEST.contains(&name),
        Kind::Response => BOTH.contains(&name) || RESPONSE.contains(&name),
        Kind::Trailers => false,
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut headers = Self::new();
        for (name, value) in pairs {
            headers.push(name, value);
        }
        headers
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>, const LEN: usize> From<[(N, V); LEN]> for Headers {
    fn from(pairs: [(N, V); LEN]) -> Self {
        pairs.into_iter().collect()
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> From<Vec<(N, V)>> for Headers {
    fn from(pairs: Vec<(N, V)>) -> Self {
        pairs.into_iter().collect()
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> From<&[(N, V)]> for Headers {
    fn from(pairs: &[(N, V)]) -> Self {
        pairs.iter().map(|(n, v)| (n, v)).collect()
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(n, v)| format!("{n}: {}", v.escape_ascii()))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_fields_that_have_a_slot_and_keeps_others_apart() {
        let sent = Headers::from([
            ("Host", "a"),
            ("host", "b"),
            ("Content-Type", "x"),
            ("content-type", "y"),
            ("k", "1"),
            ("K", "2"),
        ]);
        let map = sent.canonical(Kind::Request);
        assert_eq!(map, Headers::from([(":authority", "a,b"), ("content-type", "x,y"), ("k", "1"), ("k", "2")]));
        assert_eq!(map.lookup(Kind::Request, "HOST"), Some(b"a,b".as_slice()));
        assert_eq!(map.get_all("k").count(), 2);
    }

    #[test]
    fn replace_drops_every_duplicate() {
        let mut map = Headers::from([("k", "1"), ("j", "x"), ("k", "2")]);
        map.replace(Kind::Request, "K", b"3");
        assert_eq!(map, Headers::from([("j", "x"), ("k", "3")]));
    }

    #[test]
    fn pseudo_headers_stay_in_front() {
        let mut map = Headers::from([(":method", "GET"), ("k", "1")]);
        map.add(Kind::Request, ":path", b"/");
        assert_eq!(map.names().collect::<Vec<_>>(), [":method", ":path", "k"]);
    }
}
