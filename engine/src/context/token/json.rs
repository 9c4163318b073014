//! JSON objects in which no name occurs twice: readers differ in which of two they take (RFC 7515 section 4, RFC 8725
//! section 2.4), and what the issuer's own software read is not known here.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// Reads one JSON object, and nothing behind it. Nested objects are held to the same.
pub(super) fn parse_object(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    match serde_json::from_slice::<Unique>(bytes) {
        Ok(Unique(Value::Object(members))) => Ok(members),
        Ok(_) => Err("is not a JSON object".to_owned()),
        // The text is the sender's; only the kind of fault and its place are told.
        Err(error) if error.is_data() => Err(format!("has a name twice (column {})", error.column())),
        Err(error) => Err(format!("is not JSON (column {})", error.column())),
    }
}

struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not finite"))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Unique(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((name, Unique(value))) = entries.next_entry::<String, _>()? {
            if map.insert(name, value).is_some() {
                return Err(A::Error::custom("a name occurs twice"));
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_are_read_whole_and_names_occur_once() {
        let text = r#"{"a": [1, -2, 1.5, null, true, {"b": "c"}], "b": {}}"#;
        assert_eq!(
            Value::Object(parse_object(text.as_bytes()).unwrap()),
            json!({"a": [1, -2, 1.5, null, true, {"b": "c"}], "b": {}})
        );
        for (text, expected) in [
            (&br#"{"a": 1, "a": 1}"#[..], "twice"),
            (br#"{"a": 1, "\u0061": 2}"#, "twice"),
            (br#"{"x": [{"a": {"b": 1, "b": 2}}]}"#, "twice"),
            (b"[]", "not a JSON object"),
            (b"\"text\"", "not a JSON object"),
            (b"", "not JSON"),
            (b"{", "not JSON"),
            (b"{} {}", "not JSON"),
            (b"{'a': 1}", "not JSON"),
            (b"{\"a\": NaN}", "not JSON"),
            (b"{\"a\": 1,}", "not JSON"),
            (b"\xef\xbb\xbf{}", "not JSON"),
            (b"{\"a\": \"\xff\"}", "not JSON"),
            (b"{\"a\": \"\\ud800\"}", "not JSON"),
            (b"{\"a\": 1e999}", "not JSON"),
        ] {
            let said = parse_object(text).unwrap_err();
            assert!(said.contains(expected), "{} gives {said}", text.escape_ascii());
        }
        let deep = [&b"{\"a\":"[..], &[b'['; 100_000]].concat();
        assert!(parse_object(&deep).unwrap_err().contains("not JSON"));
    }
}
