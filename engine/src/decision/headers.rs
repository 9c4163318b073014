//! What holds for header fields whatever the policy says. Which of them go on is for [`crate::policy::headers`].

pub use crate::policy::headers::is_reserved;
use crate::request::RequestHead;

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
