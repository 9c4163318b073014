//! Keys of a query, read only where every server reads the same.
//!
//! There is no standard for queries. Servers split them at `&`, some at `;` too; they take the first, the last or all of
//! several equal keys; PHP, Rails and others make `limit[]` and `limit[0]` part of `limit`, PHP turns dots and spaces into
//! underscores, some take no heed of case. A key that occurs in any second form cannot be told.

use super::place::variant;
use std::fmt;

/// Bytes of a key.
const MOST_BYTES: usize = 128;

/// A key of a query that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueryKey {
    name: String,
}

/// What a query has under one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Queried {
    /// No such key.
    Missing,
    /// Once, with this value.
    Value(String),
    /// It cannot be told.
    Doubtful,
}

impl QueryKey {
    /// A key of printable ASCII without `&`, `;`, `=`, `+`, `%`, `#` and spaces. `None` otherwise.
    pub fn new(name: &str) -> Option<Self> {
        let plain = |b: u8| b.is_ascii_graphic() && !b"&;=+%#\"<>\\^`{|}".contains(&b);
        let parts = !parts(name).concat().is_empty();
        ((1..=MOST_BYTES).contains(&name.len()) && name.bytes().all(plain) && parts)
            .then(|| Self { name: name.to_owned() })
    }

    /// What a query has under this key. `query` is without its `?`.
    pub fn read(&self, query: Option<&str>) -> Queried {
        let mut found = Queried::Missing;
        let wanted = parts(&self.name);
        for pair in query.unwrap_or_default().split('&') {
            let (key, value) = pair.split_once('=').map_or((pair, None), |(key, value)| (key, Some(value)));
            // Split at `;` as well, its parts are further pairs to some servers.
            let hidden = pair.split(';').skip(1).map(|part| part.split_once('=').map_or(part, |(key, _)| key));
            for (key, hidden) in std::iter::once((key, false)).chain(hidden.map(|key| (key, true))) {
                let Some(decoded) = decode(key) else { return Queried::Doubtful };
                if !alike(&wanted, &parts(&decoded)) {
                    continue;
                }
                // Clients write a plain key as it is; brackets they may escape.
                let exact = !hidden && decoded == self.name && (key == self.name || self.name.contains(['[', ']']));
                let value = value.filter(|value| exact && !value.contains(['+', ';'])).and_then(decode);
                found = match (value, found) {
                    (Some(value), Queried::Missing) => Queried::Value(value),
                    _ => return Queried::Doubtful,
                };
            }
        }
        found
    }
}

impl fmt::Display for QueryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "?{}", self.name)
    }
}

/// Percent-decoded; `None` for what servers decode differently.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                digit()? << 4 | digit()?
            }
            byte => byte,
        });
    }
    let text = String::from_utf8(bytes).ok()?;
    (!text.contains('\0')).then_some(text)
}

/// What a key is made of, as lenient servers see it: `page[size]` and `page.size` are two parts, `+` a space.
fn parts(key: &str) -> Vec<String> {
    let spaced = key.replace('+', " ");
    let parts = spaced.split(['[', ']', '.']).map(|part| variant(part).into_owned());
    parts.filter(|part| !part.is_empty()).collect()
}

/// Whether a server may take one for the other, or for a part of it.
fn alike(wanted: &[String], other: &[String]) -> bool {
    let shorter = wanted.len().min(other.len());
    // A key of nothing but brackets or spaces is nobody's.
    let prefix = !other.is_empty() && wanted.iter().take(shorter).eq(other.iter().take(shorter));
    prefix || wanted.concat() == other.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: &str, query: &str) -> Queried {
        QueryKey::new(key).unwrap().read(Some(query))
    }

    #[test]
    fn a_key_that_occurs_once_is_read() {
        let value = |text: &str| Queried::Value(text.to_owned());
        for (key, query, expected) in [
            ("limit", "limit=5", value("5")),
            ("limit", "a=1&limit=5&b=2", value("5")),
            ("limit", "limit=%35", value("5")),
            ("limit", "limit=", value("")),
            ("limit", "limit=a=b", value("a=b")),
            ("limit", "q=caf%C3%A9&limit=%C3%A9", value("é")),
            ("limit", "", Queried::Missing),
            ("limit", "limits=5", Queried::Missing),
            ("limit", "q=limit=5", Queried::Missing),
            ("limit", "&&", Queried::Missing),
            ("page[size]", "page[size]=5", value("5")),
            ("page[size]", "page%5Bsize%5D=5&page[number]=2", value("5")),
        ] {
            assert_eq!(read(key, query), expected, "{key} {query}");
        }
        assert_eq!(QueryKey::new("limit").unwrap().read(None), Queried::Missing);
    }

    #[test]
    fn a_key_that_a_server_may_see_twice_or_elsewhere_cannot_be_told() {
        for query in [
            "limit=5&limit=5",
            "limit=5&limit",
            "limit=5&Limit=500",
            "limit=5&%6cimit=500",
            "%6cimit=5",
            "limit=5&limit[]=500",
            "limit=5&limit%5b0%5d=500",
            "limit=5&limit.x=500",
            "limit=5&li_mit=500",
            "limit=5&+limit=500",
            "limit=5&%20limit=500",
            "limit=5;limit=500",
            "a=1;limit=500",
            "limit=5;a=1",
            "limit",
            "limit=1+1",
            "limit=%",
            "limit=%4",
            "limit=%zz",
            "limit=%ff",
            "limit=5%00",
            "limit=5&%zz=1",
            "limit=5&a%00=1",
            "limit=5&limit%E2%80%8B=500",
            "LIMIT=500",
        ] {
            assert_eq!(read("limit", query), Queried::Doubtful, "{query}");
        }
        for query in [
            "page[size]=5&page.size=500",
            "page[size]=5&page=x",
            "page[size]=5&page[size][]=6",
            "page[size]=5&page_size=6",
        ] {
            assert_eq!(read("page[size]", query), Queried::Doubtful, "{query}");
        }
    }

    #[test]
    fn keys_are_plain() {
        for name in ["limit", "page[size]", "a.b", "$top", "user_id"] {
            assert!(QueryKey::new(name).is_some(), "{name}");
        }
        for name in ["", "a b", "a&b", "a=b", "a%41", "a+b", "a;b", "é", "[]", "_"] {
            assert!(QueryKey::new(name).is_none(), "{name}");
        }
    }
}
