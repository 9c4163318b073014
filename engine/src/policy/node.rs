//! A JSON document as it was written: order kept, duplicate keys kept until they are refused.
//!
//! `serde_json` lets the last of two equal keys win in maps; a second `deny` in a policy would silently replace the
//! first. So a document is read into this tree, checked for duplicates, and only then given a type.

use super::error::{Document, Place, PolicyError, quoted};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use std::collections::HashSet;
use std::fmt;

/// Keys of a map that are compared each with each.
const FEW: usize = 16;

/// A JSON value that remembers the order of its keys.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(serde_json::Number),
    /// A string.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of the document.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// Reads JSON and refuses duplicate keys.
    pub fn parse(json: &[u8]) -> Result<Self, PolicyError> {
        let root = Place::root(Document::Configuration);
        let node: Self = serde_json::from_slice(json).map_err(|error| {
            root.error(
                format!("not JSON: {}", quoted(&error.to_string())),
                "give one JSON object as `exeat policy compile` writes it",
                "",
            )
        })?;
        node.refuse_duplicates(&root)?;
        Ok(node)
    }

    /// The value of a key, where this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// As [`Node::get`], to change it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        match self {
            Self::Map(entries) => entries.iter_mut().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// What kind of value this is, for people.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing (null)",
            Self::Bool(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }

    /// Where a JSON pointer leads, as ordinals of children: these compare in document order.
    pub(crate) fn position(&self, pointer: &str) -> Vec<usize> {
        let mut position = Vec::new();
        let mut node = self;
        for token in pointer.split('/').skip(1) {
            let child = match node {
                Self::List(items) => token.parse().ok().and_then(|i: usize| Some((i, items.get(i)?))),
                Self::Map(entries) => {
                    let key = token.replace("~1", "/").replace("~0", "~");
                    entries.iter().enumerate().find(|(_, (name, _))| *name == key).map(|(i, (_, value))| (i, value))
                }
                _ => None,
            };
            let Some((ordinal, value)) = child else { break };
            position.push(ordinal);
            node = value;
        }
        position
    }

    /// Refuses maps in which a key occurs twice.
    pub(super) fn refuse_duplicates(&self, place: &Place<'_>) -> Result<(), PolicyError> {
        match self {
            Self::List(items) => {
                items.iter().enumerate().try_for_each(|(i, item)| item.refuse_duplicates(&place.index(i)))
            }
            Self::Map(entries) => {
                // Most maps have few keys: comparing them all takes less than a set.
                let mut seen = HashSet::new();
                let few = entries.len() <= FEW;
                for (i, (key, value)) in entries.iter().enumerate() {
                    let here = place.key(key);
                    let twice = match few {
                        true => entries.iter().take(i).any(|(other, _)| other == key),
                        false => !seen.insert(key),
                    };
                    if twice {
                        return Err(here.error(
                            format!("the key {} occurs twice", quoted(key)),
                            "keep one of the two",
                            "readers of JSON differ in which of them they take",
                        ));
                    }
                    value.refuse_duplicates(&here)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NodeVisitor;
        impl<'de> Visitor<'de> for NodeVisitor {
            type Value = Node;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }
            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Null)
            }
            fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
                Ok(Node::Bool(value))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
                Ok(Node::Number(value.into()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
                Ok(Node::Number(value.into()))
            }
            fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Node, E> {
                serde_json::Number::from_f64(value).map(Node::Number).ok_or_else(|| E::custom("not a finite number"))
            }
            fn visit_str<E>(self, value: &str) -> Result<Node, E> {
                Ok(Node::Text(value.to_owned()))
            }
            fn visit_string<E>(self, value: String) -> Result<Node, E> {
                Ok(Node::Text(value))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Node::List(list))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
                let mut map = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    map.push(entry);
                }
                Ok(Node::Map(map))
            }
        }
        deserializer.deserialize_any(NodeVisitor)
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(value) => value.serialize(serializer),
            Self::Text(value) => serializer.serialize_str(value),
            Self::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| list.serialize_element(item))?;
                list.end()
            }
            Self::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                entries.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_and_refuses_duplicates_at_any_depth() {
        let node = Node::parse(br#"{"b": [1, {"z": null, "a": true}], "a": -1.5}"#).unwrap();
        assert_eq!(serde_json::to_string(&node).unwrap(), r#"{"b":[1,{"z":null,"a":true}],"a":-1.5}"#);
        assert_eq!(node.position("/b/1/a"), [0, 1, 1]);
        assert!(node.position("/a") > node.position("/b/1/z"));
        let error = Node::parse(br#"{"a": [{}, {"x/y": 1, "x\u002fy": 2}]}"#).unwrap_err();
        assert_eq!(error.place, "/a/1/x~1y");
        let many: Vec<String> = (0..40).map(|n| format!(r#""k{}": 0"#, n % 39)).collect();
        assert_eq!(Node::parse(format!("{{{}}}", many.join(",")).as_bytes()).unwrap_err().place, "/k0");
    }

    #[test]
    fn refuses_what_is_not_json_and_what_is_nested_without_end() {
        for text in ["", "{", "{} {}", "[1,]", "{\"a\": NaN}", "\u{feff}{}"] {
            assert!(Node::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Node::parse(b"\"\xff\"").is_err());
        assert!(Node::parse(&vec![b'['; 100_000]).is_err());
    }
}
