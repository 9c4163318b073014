//! Gives a [`Node`] its type, with the place of whatever does not fit.
//!
//! A serde deserializer of our own, because the errors of others are one string: here they keep what was found, what
//! was expected and where, so that a message can name the nearest known key and say what to write.

use super::error::{Document, Place, PolicyError, did_you_mean, quoted};
use super::node::Node;
use serde::de::{self, DeserializeOwned, DeserializeSeed, Expected, IntoDeserializer, Unexpected, Visitor};
use std::fmt;

/// Reads one document. The place of an error starts at `node`.
///
/// # Errors
/// The first thing that does not fit the type.
pub fn read<T: DeserializeOwned>(node: &Node, document: Document) -> Result<T, PolicyError> {
    T::deserialize(Reader { node }).map_err(|fault| fault.into_error(document))
}

/// An error of a value: two lines, the problem and the remedy. [`Fault`] takes them apart again, since
/// [`de::Error::custom`] carries only text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueError {
    /// What is wrong.
    pub problem: String,
    /// What to write.
    pub remedy: String,
}

impl ValueError {
    pub(crate) fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { problem: problem.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.problem, self.remedy)
    }
}

impl std::error::Error for ValueError {}

/// Why a node does not fit its type. Boxed, because every function that reads a type moves one through its result.
#[derive(Debug)]
struct Fault(Box<Details>);

/// `path` grows from the inside out.
#[derive(Debug)]
struct Details {
    path: Vec<Step>,
    problem: String,
    remedy: String,
    why: &'static str,
}

#[derive(Debug)]
enum Step {
    Key(String),
    Index(usize),
}

impl Fault {
    fn new(problem: String, remedy: String, why: &'static str) -> Self {
        Self(Box::new(Details { path: Vec::new(), problem, remedy, why }))
    }

    fn under(mut self, step: Step) -> Self {
        self.0.path.push(step);
        self
    }

    fn into_error(self, document: Document) -> PolicyError {
        fn place_of(place: &Place<'_>, path: &[Step], then: &mut dyn FnMut(&Place<'_>) -> PolicyError) -> PolicyError {
            match path.split_last() {
                None => then(place),
                Some((Step::Key(key), rest)) => place_of(&place.key(key), rest, then),
                Some((Step::Index(index), rest)) => place_of(&place.index(*index), rest, then),
            }
        }
        let Details { path, problem, remedy, why } = *self.0;
        place_of(&Place::root(document), &path, &mut |place| place.error(problem.as_str(), remedy.as_str(), why))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.problem)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let text = message.to_string();
        let (problem, remedy) = text.split_once('\n').unwrap_or((&text, "correct it"));
        Self::new(problem.to_owned(), remedy.to_owned(), "")
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = match expected.to_string() {
            // As serde calls it.
            boolean if boolean == "a boolean" => "true or false".to_owned(),
            other => other,
        };
        Self::new(format!("expected {expected}, found {}", found(&unexpected)), format!("write {expected}"), "")
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("unknown value {}", quoted(variant)), suggestion(variant, "Known here", expected), "")
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new(
            format!("unknown key {}", quoted(field)),
            suggestion(field, "Known here", expected),
            "a key that nobody reads would be taken for one that holds",
        )
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("the key {} is missing", quoted(field)), format!("add {}", quoted(field)), "")
    }
}

fn suggestion(given: &str, label: &str, expected: &[&str]) -> String {
    let list = format!("{label}: {}", expected.join(", "));
    match did_you_mean(given, expected.iter().copied()) {
        Some(hint) => format!("{hint} {list}"),
        None => list,
    }
}

fn found(unexpected: &Unexpected<'_>) -> String {
    match unexpected {
        Unexpected::Str(text) => format!("the text {}", quoted(text)),
        Unexpected::Bool(value) => value.to_string(),
        Unexpected::Unsigned(value) => format!("the number {value}"),
        Unexpected::Signed(value) => format!("the number {value}"),
        Unexpected::Float(value) => format!("the number {value}"),
        Unexpected::Unit => "nothing (null)".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a map".to_owned(),
        other => other.to_string(),
    }
}

/// `[text]`, in quotes where YAML could take it for something else.
pub(crate) fn list_of(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/');
    let bare = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'/') && text.bytes().all(plain);
    if bare { format!("[{text}]") } else { format!("[{}]", quoted(text)) }
}

/// Deserializes one node.
#[derive(Clone, Copy)]
struct Reader<'n> {
    node: &'n Node,
}

impl Reader<'_> {
    fn mismatch(&self, expected: &str) -> Fault {
        let remedy = match self.node {
            Node::Null => format!("write {expected}, or remove the key"),
            _ => format!("write {expected}"),
        };
        Fault::new(format!("expected {expected}, found {}", self.node.kind()), remedy, "")
    }

    fn whole_number<'v, V: Visitor<'v>>(self, most: u64, visitor: V) -> Result<V::Value, Fault> {
        match self.node {
            Node::Number(number) if number.as_u64().is_some_and(|number| number <= most) => {
                visitor.visit_u64(number.as_u64().unwrap_or_default())
            }
            Node::Number(number) => {
                let expected = format!("a whole number from 0 to {most}");
                Err(Fault::new(format!("expected {expected}, found {number}"), format!("write {expected}"), ""))
            }
            Node::Text(text) if text.parse::<u64>().is_ok_and(|number| number <= most) => {
                let found = format!("expected a number, found the text {}", quoted(text));
                Err(Fault::new(found, "write it without quotes".to_owned(), ""))
            }
            _ => Err(self.mismatch(&format!("a whole number from 0 to {most}"))),
        }
    }
}

impl<'de> de::Deserializer<'de> for Reader<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node {
            Node::Null => visitor.visit_unit(),
            Node::Bool(value) => visitor.visit_bool(*value),
            Node::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(value), _, _) => visitor.visit_u64(value),
                (_, Some(value), _) => visitor.visit_i64(value),
                (_, _, Some(value)) => visitor.visit_f64(value),
                _ => Err(self.mismatch("a number in range")),
            },
            Node::Text(text) => visitor.visit_borrowed_str(text),
            Node::List(items) => visitor.visit_seq(Items { items: items.iter().enumerate() }),
            Node::Map(entries) => visitor.visit_map(Entries { entries: entries.iter(), value: None }),
        }
    }

    /// A key that is there has a value: `key: null` is an error of the type inside, not an absent key.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.node {
            Node::Text(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            _ => Err(self.mismatch(&format!("one of {}", known.join(", ")))),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node {
            Node::Text(text) => visitor.visit_borrowed_str(text),
            Node::Number(_) | Node::Bool(_) => {
                Err(Fault::new(format!("expected text, found {}", self.node.kind()), "put it in quotes".to_owned(), ""))
            }
            _ => Err(self.mismatch("text")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_string(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node {
            Node::List(items) => visitor.visit_seq(Items { items: items.iter().enumerate() }),
            Node::Text(text) => {
                let found = format!("expected a list, found the text {}", quoted(text));
                Err(Fault::new(found, format!("write {}", list_of(text)), ""))
            }
            Node::Map(_) => {
                let remedy = "begin each entry with `- `, or put brackets around it";
                Err(Fault::new("expected a list, found a map".to_owned(), remedy.to_owned(), ""))
            }
            _ => Err(self.mismatch("a list")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node {
            Node::Map(entries) => visitor.visit_map(Entries { entries: entries.iter(), value: None }),
            _ => Err(self.mismatch("a map")),
        }
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.whole_number(u8::MAX.into(), visitor)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.whole_number(u16::MAX.into(), visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.whole_number(u32::MAX.into(), visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct
        identifier ignored_any
    }
}

struct Items<'n> {
    items: std::iter::Enumerate<std::slice::Iter<'n, Node>>,
}

impl<'de> de::SeqAccess<'de> for Items<'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some((index, node)) = self.items.next() else { return Ok(None) };
        seed.deserialize(Reader { node }).map(Some).map_err(|fault| fault.under(Step::Index(index)))
    }
}

struct Entries<'n> {
    entries: std::slice::Iter<'n, (String, Node)>,
    value: Option<(&'n str, &'n Node)>,
}

impl<'de> de::MapAccess<'de> for Entries<'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some((key, node)) = self.entries.next() else { return Ok(None) };
        self.value = Some((key, node));
        let reader = de::value::BorrowedStrDeserializer::<Fault>::new(key);
        seed.deserialize(reader).map(Some).map_err(|fault| fault.under(Step::Key(key.clone())))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let Some((key, node)) = self.value.take() else { return Err(de::Error::custom("a value without a key")) };
        seed.deserialize(Reader { node }).map_err(|fault| fault.under(Step::Key(key.to_owned())))
    }
}
