//! `parameters` of rules: what a value in the body or the query must be.

use serde::de::{self, Deserialize, Deserializer, Visitor};
use std::fmt;

/// One condition. Exactly one of the keys beside `at`.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParameterDocument {
    /// A JSON pointer into the body, or `?key` of the query.
    pub at: String,
    /// It is this value.
    pub equals: Option<Scalar>,
    /// It is one of these values.
    pub one_of: Option<Vec<Scalar>>,
    /// It is a number from 0 to this one.
    pub max: Option<Scalar>,
    /// It is a text that begins with this one.
    pub prefix: Option<String>,
    /// `true`: it is not there.
    pub absent: Option<bool>,
}

/// A value that has no parts.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// Text, or `$member` of the context.
    Text(String),
    /// A number.
    Number(serde_json::Number),
    /// `true` or `false`.
    Bool(bool),
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, a number, true or false")
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<Scalar, E> {
                Ok(Scalar::Text(value.to_owned()))
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Scalar, E> {
                Ok(Scalar::Bool(value))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Scalar, E> {
                Ok(Scalar::Number(value.into()))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Scalar, E> {
                Ok(Scalar::Number(value.into()))
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Scalar, E> {
                let number = serde_json::Number::from_f64(value);
                number.map(Scalar::Number).ok_or_else(|| E::custom("not a finite number"))
            }
        }
        deserializer.deserialize_any(V)
    }
}
