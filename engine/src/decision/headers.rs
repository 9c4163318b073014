//! Which headers go on: an allow-list (DESIGN section 4), and a short list of what never does.

use crate::request::RequestHead;

/// The names that go on without a rule naming them.
pub const BUILT_IN: &[&str] = &[
    "accept",
    "accept-encoding",
    "content-encoding",
    "content-length",
    "content-type",
    "if-modified-since",
    "if-none-match",
    "range",
    "te",
    "traceparent",
    "tracestate",
];

/// What the gateway calls itself where a rule does not keep the agent's `user-agent`.
pub const USER_AGENT: &str = concat!("exeat/", env!("CARGO_PKG_VERSION"));

/// Fields that servers read differently when they come twice: the first, the last or both joined.
const SINGLE: &[&str] = &[
    "authorization",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "if-modified-since",
    "range",
    "te",
    "traceparent",
    "user-agent",
];

/// Hop-by-hop fields (RFC 9110 section 7.6.1), identity, and fields by which a client could change what a server or
/// proxy takes the request for. Sorted.
const RESERVED: &[&str] = &[
    "agent-context",
    "connection",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "signature",
    "signature-input",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-host",
    "x-http-host-override",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-method",
    "x-original-url",
    "x-real-ip",
    "x-request-id",
    "x-rewrite-url",
];

/// Prefixes of reserved names.
const RESERVED_PREFIXES: &[&str] = &["x-envoy-", "x-forwarded-", "exeat-", "proxy-", "x-exeat-"];

/// Whether a field never goes on, whatever rule or mode. `name` is lower case.
pub fn is_reserved(name: &str) -> bool {
    RESERVED.binary_search(&name).is_ok() || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// What a request's fields must not be, whatever the policy says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderFault {
    /// A value that is not UTF-8, or holds a control character.
    Value(String),
    /// A field that must come once came twice.
    Repeated(&'static str),
}

impl std::fmt::Display for HeaderFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Value(name) => write!(f, "the value of {} is not plain text", name.escape_debug()),
            Self::Repeated(name) => write!(f, "{name} occurs twice"),
        }
    }
}

/// Refuses fields that servers, or the next proxy, would read differently from the gateway.
pub fn check_hygiene(head: &RequestHead) -> Result<(), HeaderFault> {
    for (name, value) in &head.fields {
        let plain = match std::str::from_utf8(value) {
            Ok(text) => !text.chars().any(|c| c.is_control() && c != '\t'),
            Err(_) => false,
        };
        if !plain {
            return Err(HeaderFault::Value(name.clone()));
        }
    }
    for name in SINGLE {
        if head.values(name).nth(1).is_some() {
            return Err(HeaderFault::Repeated(name));
        }
    }
    Ok(())
}

/// What a rule says about headers.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeaderRules<'a> {
    /// Names that go on besides the built-in ones; lower case.
    pub keep: &'a [String],
    /// Fields the gateway sets; they replace what the agent sent under that name.
    pub set: &'a [(String, String)],
    /// Names that do not go on although built in or kept.
    pub remove: &'a [String],
}

/// The agent's fields that go on under `rules`, in their order.
pub fn kept<'a>(head: &'a RequestHead, rules: &HeaderRules<'_>) -> Vec<(&'a str, &'a [u8])> {
    let listed = |list: &[String], name: &str| list.iter().any(|n| n == name);
    head.fields
        .iter()
        .filter(|(name, value)| {
            if is_reserved(name) || listed(rules.remove, name) || rules.set.iter().any(|(n, _)| n == name) {
                return false;
            }
            if name == "te" {
                return value == b"trailers";
            }
            BUILT_IN.binary_search(&name.as_str()).is_ok() || listed(rules.keep, name)
        })
        .map(|(name, value)| (name.as_str(), value.as_slice()))
        .collect()
}

/// The agent's own fields less the reserved ones: what goes on in monitor mode when a request would be refused.
pub fn own(head: &RequestHead) -> Vec<(&str, &[u8])> {
    head.fields
        .iter()
        .filter(|(name, value)| !is_reserved(name) && (name != "te" || value == b"trailers"))
        .map(|(name, value)| (name.as_str(), value.as_slice()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &[(&str, &[u8])]) -> RequestHead {
        RequestHead {
            method: b"GET".to_vec(),
            scheme: None,
            authority: b"a.example".to_vec(),
            path: Some(b"/".to_vec()),
            fields: fields.iter().map(|(n, v)| ((*n).to_owned(), v.to_vec())).collect(),
        }
    }

    #[test]
    fn the_tables_are_sorted() {
        assert!(RESERVED.is_sorted());
        assert!(BUILT_IN.is_sorted());
    }

    #[test]
    fn only_listed_fields_go_on() {
        let head = head(&[
            ("accept", b"*/*"),
            ("cookie", b"a=b"),
            ("x-api-version", b"2"),
            ("x-envoy-retry-on", b"5xx"),
            ("te", b"gzip"),
            ("range", b"bytes=0-1"),
            ("x-agent", b"forged"),
        ]);
        let keep = ["x-api-version".to_owned(), "x-envoy-retry-on".to_owned()];
        let set = [("x-agent".to_owned(), "support/summarizer".to_owned())];
        let remove = ["range".to_owned()];
        let rules = HeaderRules { keep: &keep, set: &set, remove: &remove };
        let names: Vec<_> = kept(&head, &rules).into_iter().map(|(n, _)| n).collect();
        assert_eq!(names, ["accept", "x-api-version"]);
    }

    #[test]
    fn own_headers_lose_only_reserved_ones() {
        let head = head(&[("cookie", b"a=b"), ("signature", b"x"), ("x-forwarded-for", b"1.2.3.4"), ("Exeat-x", b"")]);
        let names: Vec<_> = own(&head).into_iter().map(|(n, _)| n).collect();
        assert_eq!(names, ["cookie", "Exeat-x"], "names are lower case by the invariant of RequestHead");
    }

    #[test]
    fn hygiene() {
        assert_eq!(check_hygiene(&head(&[("accept", "caf\u{e9}".as_bytes()), ("x", b"a\tb")])), Ok(()));
        for value in [&b"\xff"[..], b"a\x00b", b"\x7f", "\u{85}".as_bytes()] {
            assert_eq!(check_hygiene(&head(&[("x", value)])), Err(HeaderFault::Value("x".into())));
        }
        assert_eq!(
            check_hygiene(&head(&[("content-type", b"a/b"), ("content-type", b"c/d")])),
            Err(HeaderFault::Repeated("content-type"))
        );
    }
}
