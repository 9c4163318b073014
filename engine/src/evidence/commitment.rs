//! Salted commitments: personal values stand in the leaf as a hash, and in clear beside it as an opening. Deleting the
//! opening erases the person; every proof over the leaf stays.
//!
//! The bytes hashed are the 16 salt bytes, raw, followed by the value in UTF-8, with nothing between or after:
//! `sha256:<standard base64, padded, of SHA-256(salt || value)>`. The salt has a fixed length, so the two cannot be moved
//! against each other.

use super::line::to_line;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// Bytes of a salt.
pub const SALT_BYTES: usize = 16;

/// A value, committed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commitment {
    /// What stands in the leaf.
    pub text: String,
    /// What opens it.
    pub opening: FieldOpening,
}

impl Commitment {
    /// Commits to a value. The salt must be fresh and unpredictable: values are short and could else be guessed.
    pub fn new(field: &'static str, value: &str, salt: [u8; SALT_BYTES]) -> Self {
        let text = commit(&salt, value);
        Self { text, opening: FieldOpening { field, salt, value: value.to_owned() } }
    }
}

/// The opening of a field of a record that has no place in a log yet.
#[derive(Clone, PartialEq, Eq)]
pub struct FieldOpening {
    field: &'static str,
    salt: [u8; SALT_BYTES],
    value: String,
}

impl FieldOpening {
    /// The opening, once the record is leaf `leaf`.
    pub fn at(self, leaf: u64) -> Opening {
        Opening { leaf, field: self.field.to_owned(), salt: STANDARD.encode(self.salt), value: self.value }
    }
}

impl fmt::Debug for FieldOpening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FieldOpening({})", self.field)
    }
}

/// An opening as it is sent and stored: one line of JSON.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// Index of the leaf.
    pub leaf: u64,
    /// Member of the leaf that holds the commitment.
    pub field: String,
    /// Base64 of the 16 salt bytes.
    pub salt: String,
    /// The value.
    pub value: String,
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opening({} of leaf {})", self.field, self.leaf)
    }
}

/// Why an opening does not open its leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpeningError {
    /// It is not one line of JSON with exactly the four members.
    Form,
    /// The salt is not the base64 of 16 bytes.
    Salt,
    /// The leaf is not a JSON object, or has no such member of type string.
    Field,
    /// Salt and value do not give the commitment in the leaf.
    Commitment,
}

impl fmt::Display for OpeningError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => "not a JSON object of leaf, field, salt and value",
            Self::Salt => "the salt is not the base64 of 16 bytes",
            Self::Field => "the leaf has no such member",
            Self::Commitment => "salt and value do not give the commitment in the leaf",
        })
    }
}

impl std::error::Error for OpeningError {}

impl Opening {
    /// From its line.
    pub fn parse(line: &str) -> Result<Self, OpeningError> {
        let opening: Self = serde_json::from_str(line).map_err(|_| OpeningError::Form)?;
        opening.salt_bytes()?;
        Ok(opening)
    }

    /// Its line.
    pub fn to_line(&self) -> Result<String, serde_json::Error> {
        to_line(self)
    }

    /// Whether it opens its field of this leaf.
    pub fn verify(&self, leaf: &[u8]) -> Result<(), OpeningError> {
        let record: serde_json::Value = serde_json::from_slice(leaf).map_err(|_| OpeningError::Field)?;
        let committed = record.get(&self.field).and_then(|value| value.as_str()).ok_or(OpeningError::Field)?;
        if commit(&self.salt_bytes()?, &self.value) == committed { Ok(()) } else { Err(OpeningError::Commitment) }
    }

    fn salt_bytes(&self) -> Result<[u8; SALT_BYTES], OpeningError> {
        let bytes = STANDARD.decode(&self.salt).map_err(|_| OpeningError::Salt)?;
        bytes.try_into().map_err(|_| OpeningError::Salt)
    }
}

fn commit(salt: &[u8; SALT_BYTES], value: &str) -> String {
    let digest = Sha256::new().chain_update(salt).chain_update(value).finalize();
    format!("sha256:{}", STANDARD.encode(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_its_leaf_and_no_other() {
        let Commitment { text, opening } = Commitment::new("user", "u-1042", *b"0123456789abcdef");
        // Computed apart: printf 0123456789abcdefu-1042 | sha256sum | xxd -r -p | base64
        assert_eq!(text, "sha256:cIDFtGquZyZHpf5udDxYaLOqGiHhadyjMVEw6NBuXQo=");
        let opening = opening.at(7);
        let line = opening.to_line().unwrap();
        assert_eq!(line, r#"{"leaf":7,"field":"user","salt":"MDEyMzQ1Njc4OWFiY2RlZg==","value":"u-1042"}"#);
        assert_eq!(Opening::parse(&line), Ok(opening.clone()));
        let leaf = format!(r#"{{"kind":"decision","user":"{text}","n":1}}"#);
        assert_eq!(opening.verify(leaf.as_bytes()), Ok(()));
        for (change, expected) in [
            (Opening { value: "u-1043".into(), ..opening.clone() }, OpeningError::Commitment),
            (Opening { salt: STANDARD.encode([0; 16]), ..opening.clone() }, OpeningError::Commitment),
            (Opening { salt: STANDARD.encode([0; 15]), ..opening.clone() }, OpeningError::Salt),
            (Opening { field: "stated_reason".into(), ..opening.clone() }, OpeningError::Field),
            (Opening { field: "n".into(), ..opening.clone() }, OpeningError::Field),
        ] {
            assert_eq!(change.verify(leaf.as_bytes()), Err(expected));
        }
        assert_eq!(opening.verify(b"\xff"), Err(OpeningError::Field));
    }

    #[test]
    fn refuses_other_shapes() {
        for line in [
            "",
            "[]",
            r#"{"leaf":7,"field":"user","salt":"MDEyMzQ1Njc4OWFiY2RlZg=="}"#,
            r#"{"leaf":-1,"field":"user","salt":"MDEyMzQ1Njc4OWFiY2RlZg==","value":""}"#,
            r#"{"leaf":7,"field":"user","salt":"MDEyMzQ1Njc4OWFiY2RlZg==","value":"","more":1}"#,
            r#"{"leaf":7,"leaf":7,"field":"user","salt":"MDEyMzQ1Njc4OWFiY2RlZg==","value":""}"#,
        ] {
            assert_eq!(Opening::parse(line), Err(OpeningError::Form), "{line}");
        }
    }

    #[test]
    fn debug_output_names_no_person() {
        let opening = Commitment::new("user", "u-1042", [0; 16]).opening;
        assert!(!format!("{opening:?} {:?}", opening.clone().at(1)).contains("1042"));
    }
}
