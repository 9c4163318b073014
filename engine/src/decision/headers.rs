//! What holds for header fields whatever the policy says. Which of them go on is for [`crate::policy::headers`].

pub use crate::policy::headers::is_reserved;
use crate::request::RequestHead;

/// What the gateway calls itself where a rule does not keep the agent's `user-agent`.
pub const USER_AGENT: &str = concat!("exeat/", env!("CARGO_PKG_VERSION"));

/// Fields that servers read differently when they come twice: the first, the last or both joined. Envoy joins lines of
/// some fields itself, with a comma, before a filter sees them: [`joined`] finds those that would go on.
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
            return Err(HeaderFault::Value(name.to_string()));
        }
    }
    for name in SINGLE {
        if head.values(name).nth(1).is_some() {
            return Err(HeaderFault::Repeated(name));
        }
        if head.single(name).is_some_and(|value| joined(name, value)) {
            return Err(HeaderFault::Repeated(name));
        }
    }
    Ok(())
}

/// Whether this cannot be one value of the field, but two with a comma between them.
fn joined(name: &str, value: &[u8]) -> bool {
    match name {
        // RFC 9110 section 8.3: one media type; a comma stands only in a quoted parameter.
        "content-type" => members(value).nth(1).is_some(),
        // Section 11.4: after a comma comes another parameter, never a scheme.
        "authorization" => members(value).skip(1).any(|member| !is_parameter(member)),
        // Section 5.6.7: every form of a date has one comma at most.
        "if-modified-since" => value.iter().filter(|byte| **byte == b',').nth(1).is_some(),
        _ => false,
    }
}

/// What stands between the commas outside of quoted strings (RFC 9110 section 5.6.4).
fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    value.split(move |byte| {
        if std::mem::take(&mut escaped) {
            return false;
        }
        match byte {
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' => return !quoted,
            _ => {}
        }
        false
    })
}

/// `token BWS "=" ...`, or nothing at all, as lists may have empty members.
fn is_parameter(member: &[u8]) -> bool {
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let member = member.trim_ascii();
    let rest = member.iter().skip_while(|byte| token(byte)).skip_while(|byte| matches!(byte, b' ' | b'\t'));
    member.is_empty() || (member.first().is_some_and(token) && rest.take(1).eq([&b'=']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &[(&str, &[u8])]) -> RequestHead {
        RequestHead {
            method: "GET".into(),
            scheme: None,
            authority: "a.example".into(),
            path: Some("/".into()),
            fields: fields.iter().map(|(n, v)| ((*n).into(), v.to_vec().into())).collect(),
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

    #[test]
    fn two_lines_that_the_host_joined_are_found() {
        for (name, value, fits) in [
            ("content-type", "text/plain", true),
            ("content-type", "multipart/form-data; boundary=\"a,\\\",b\"", true),
            ("content-type", "text/plain,text/html", false),
            ("content-type", "text/plain;a=\"b\",text/html", false),
            ("content-type", ",text/plain", false),
            ("authorization", "Bearer YS5iLmM=", true),
            ("authorization", "Digest username=\"a, b\", realm = \"r\",, nc=00000001", true),
            ("authorization", "Bearer a,Bearer b", false),
            ("authorization", "Bearer a,Basic YQ==", false),
            ("authorization", "Digest username=\"a\", realm=\"r\",Bearer b", false),
            ("authorization", "Bearer a,=b", false),
            ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT", true),
            ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT,Sun, 06 Nov 1994 08:49:38 GMT", false),
            ("range", "bytes=0-1,2-3", true),
            ("content-encoding", "gzip, br", true),
        ] {
            let expected = if fits {
                Ok(())
            } else {
                Err(HeaderFault::Repeated(SINGLE.iter().find(|single| **single == name).unwrap()))
            };
            assert_eq!(check_hygiene(&head(&[(name, value.as_bytes())])), expected, "{name}: {value}");
        }
    }
}
