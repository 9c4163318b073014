//! The head of a request as the host handed it over: pseudo-headers apart from fields, duplicates found, names in
//! lower case. Values stay bytes; nobody may assume UTF-8.

pub use bytes::Bytes;
pub use bytestring::ByteString;
use std::fmt;

/// A header field, or a pseudo-header: parts of the one piece of memory that the host handed over, or text that is there anyway.
pub type Field = (ByteString, Bytes);

/// The head of a request.
///
/// INVARIANT: names of `fields` are non-empty, lower-case ASCII and do not start with `:`; their order is that of the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// `:method`.
    pub method: Bytes,
    /// `:scheme`, as the client or the host set it. Never trusted for the destination.
    pub scheme: Option<Bytes>,
    /// `:authority`.
    pub authority: Bytes,
    /// `:path`, with the query; absent for CONNECT.
    pub path: Option<Bytes>,
    /// All other fields, in order.
    pub fields: Vec<Field>,
}

/// Why a header map is not the head of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MalformedHead {
    /// The host handed over no headers: it does so above 1,024 pairs or 1 MiB.
    Empty,
    /// A pseudo-header is missing.
    Missing(&'static str),
    /// A pseudo-header occurs twice.
    Duplicate(&'static str),
    /// A pseudo-header nobody knows.
    UnknownPseudoHeader,
    /// A field name is empty or not lower-case ASCII.
    FieldName,
}

impl fmt::Display for MalformedHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the request has no headers, or more than the gateway can read"),
            Self::Missing(name) => write!(f, "{name} is missing"),
            Self::Duplicate(name) => write!(f, "{name} occurs twice"),
            Self::UnknownPseudoHeader => f.write_str("an unknown pseudo-header"),
            Self::FieldName => f.write_str("a field name that is empty or not lower-case ASCII"),
        }
    }
}

impl std::error::Error for MalformedHead {}

impl RequestHead {
    /// Splits a header map. Pseudo-headers may stand anywhere in it, each once.
    pub fn from_pairs(pairs: Vec<Field>) -> Result<Self, MalformedHead> {
        if pairs.is_empty() {
            return Err(MalformedHead::Empty);
        }
        let (mut method, mut scheme, mut authority, mut path) = (None, None, None, None);
        let mut fields = Vec::with_capacity(pairs.len());
        for (name, value) in pairs {
            let (slot, label) = match &*name {
                ":method" => (&mut method, ":method"),
                ":scheme" => (&mut scheme, ":scheme"),
                ":authority" => (&mut authority, ":authority"),
                ":path" => (&mut path, ":path"),
                // Extended CONNECT (RFC 8441); the host turns it into a GET upgrade before the filter sees it.
                _ if name.starts_with(':') => return Err(MalformedHead::UnknownPseudoHeader),
                _ => {
                    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase()) {
                        return Err(MalformedHead::FieldName);
                    }
                    fields.push((name, value));
                    continue;
                }
            };
            if slot.replace(value).is_some() {
                return Err(MalformedHead::Duplicate(label));
            }
        }
        Ok(Self {
            method: method.ok_or(MalformedHead::Missing(":method"))?,
            scheme,
            authority: authority.ok_or(MalformedHead::Missing(":authority"))?,
            path,
            fields,
        })
    }

    /// All values of a field, in order. `name` is lower case.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + 'a {
        self.fields.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_ref())
    }

    /// The value of a field that occurs exactly once; `None` when it is absent or occurs more often.
    pub fn single(&self, name: &str) -> Option<&[u8]> {
        let mut values = self.fields.iter().filter(|(n, _)| n == name);
        match (values.next(), values.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }

    /// Whether a field occurs at all.
    pub fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(n, _)| n == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[(&str, &str)]) -> Vec<Field> {
        list.iter().map(|(n, v)| ((*n).into(), (*v).to_owned().into())).collect()
    }

    const GOOD: [(&str, &str); 3] = [(":method", "GET"), (":authority", "a.example"), (":path", "/")];

    #[test]
    fn splits_pseudo_headers_from_fields() {
        let mut list = GOOD.to_vec();
        list.push(("accept", "*/*"));
        list.push(("accept", "text/plain"));
        let head = RequestHead::from_pairs(pairs(&list)).unwrap();
        assert_eq!(head.method, "GET");
        assert_eq!(head.values("accept").count(), 2);
        assert_eq!(head.single("accept"), None);
    }

    #[test]
    fn refuses_what_is_not_a_head() {
        assert_eq!(RequestHead::from_pairs(Vec::new()), Err(MalformedHead::Empty));
        for (extra, expected) in [
            ((":authority", "b.example"), MalformedHead::Duplicate(":authority")),
            ((":protocol", "websocket"), MalformedHead::UnknownPseudoHeader),
            (("Agent-Context", "x"), MalformedHead::FieldName),
            (("", "x"), MalformedHead::FieldName),
        ] {
            let mut list = GOOD.to_vec();
            list.push(extra);
            assert_eq!(RequestHead::from_pairs(pairs(&list)), Err(expected));
        }
        assert_eq!(RequestHead::from_pairs(pairs(&GOOD[..2])).unwrap().path, None);
        assert_eq!(RequestHead::from_pairs(pairs(&GOOD[1..])), Err(MalformedHead::Missing(":method")));
    }
}
