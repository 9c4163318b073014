//! Values that must not leave: blanked (`redact`), or replaced by tokens (`tokenize`). All other bytes stay as they are.

use super::inspect::{Reading, Unreadable};
use super::json::{Spot, Value};
use super::place::{Places, Pointer};
use crate::order;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// What stands in the place of a value that was blanked.
pub const REDACTED: &str = "\"[redacted]\"";

/// Bytes of a token's hash: enough that no two values of a tenant ever meet.
const TOKEN_BYTES: usize = 16;

/// What is done to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Treatment {
    /// A fixed text takes its place. Stronger than a token.
    Redact,
    /// A token takes its place: the same for the same value, tenant and gateway key, and without the key nothing can be told
    /// from it.
    Tokenize,
}

impl Treatment {
    /// The key of the schema, and the detector in findings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Redact => "redact",
            Self::Tokenize => "tokenize",
        }
    }
}

/// What is done where: the union of what several rules ask. Of two treatments of one place the stronger holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Treatments(Vec<(Pointer, Treatment)>);

impl Extend<(Pointer, Treatment)> for Treatments {
    fn extend<I: IntoIterator<Item = (Pointer, Treatment)>>(&mut self, more: I) {
        for (pointer, treatment) in more {
            // In the order of the pointers. Rules name a few.
            match self.0.binary_search_by(|(known, _)| known.cmp(&pointer)) {
                Ok(at) => {
                    if let Some((_, known)) = self.0.get_mut(at) {
                        *known = treatment.min(*known);
                    }
                }
                Err(at) => self.0.insert(at, (pointer, treatment)),
            }
        }
    }
}

/// A body that goes on in the place of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Treated {
    /// The body.
    pub body: Vec<u8>,
    /// What was done, and where the rule says it.
    pub done: Vec<(Treatment, Pointer)>,
}

/// Why a body cannot be treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untreatable {
    /// What cannot be done.
    pub treatment: Treatment,
    /// Where.
    pub pointer: Pointer,
    /// Why; `None`: what a server finds there cannot be told.
    pub why: Option<Unreadable>,
}

impl Treatments {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Places that must be read for it.
    pub fn pointers(&self) -> impl Iterator<Item = &Pointer> {
        self.0.iter().map(|(pointer, _)| pointer)
    }

    /// Whether it can be told of a body what must be done to it.
    pub fn check(&self, places: &Places, reading: &Reading<'_>) -> Result<(), Untreatable> {
        for (pointer, treatment) in &self.0 {
            let why = match reading.at(places, pointer) {
                Ok(Some(found)) if found.doubtful => None,
                Ok(_) => continue,
                Err(why) => Some(why),
            };
            return Err(Untreatable { treatment: *treatment, pointer: pointer.clone(), why });
        }
        Ok(())
    }

    /// The body with everything done to it; `None` where nothing is to be done. What cannot be told is left as it is: whoever
    /// must not let it go checks that first.
    pub fn apply(&self, places: &Places, reading: &Reading<'_>, body: &[u8], tokens: &Tokenizer) -> Option<Treated> {
        let mut spots: Vec<(&Spot<'_>, Treatment, &Pointer)> = Vec::new();
        for (pointer, treatment) in &self.0 {
            let Ok(Some(found)) = reading.at(places, pointer) else { continue };
            // Nothing hides in a null, and servers tell it from a text.
            let there = found.spots.iter().filter(|spot| spot.value != Value::Null);
            spots.extend(there.map(|spot| (spot, *treatment, pointer)));
        }
        // Of values inside one another the outermost is replaced; of one value at two places, by the stronger treatment.
        let key = |(spot, treatment, _): &(&Spot<'_>, Treatment, &Pointer)| {
            (spot.span.start, std::cmp::Reverse(spot.span.end), *treatment)
        };
        order::sort_by(&mut spots, |a, b| key(a).cmp(&key(b)));
        let (mut out, mut copied) = (Vec::with_capacity(body.len()), 0);
        let mut done = Vec::new();
        for (spot, treatment, pointer) in spots {
            if spot.span.start < copied {
                continue;
            }
            out.extend_from_slice(body.get(copied..spot.span.start)?);
            match treatment {
                Treatment::Redact => out.extend_from_slice(REDACTED.as_bytes()),
                Treatment::Tokenize => {
                    let token = tokens.token(&spot.value, body.get(spot.span.clone())?);
                    out.extend_from_slice(format!("\"{token}\"").as_bytes());
                }
            }
            copied = spot.span.end;
            if !done.iter().any(|(_, known)| known == pointer) {
                done.push((treatment, pointer.clone()));
            }
        }
        out.extend_from_slice(body.get(copied..)?);
        // In the order of the rules' places, not in one that whoever wrote the body chose.
        order::sort_by(&mut done, |a, b| a.1.cmp(&b.1));
        (!done.is_empty()).then_some(Treated { body: out, done })
    }
}

/// Makes the tokens of one tenant.
#[derive(Clone)]
pub struct Tokenizer(Hmac<Sha256>);

impl Tokenizer {
    /// Label of the secret that the gateway's key yields for tokens.
    pub const LABEL: &'static str = "exeat/v1 tokens";

    /// A key of its own for each tenant, so that tokens of two tenants cannot be compared. No tenant is none of them.
    pub fn new(secret: &[u8; 32], tenant: Option<&str>) -> Self {
        let marked = match tenant {
            Some(tenant) => [b"t", tenant.as_bytes()].concat(),
            None => Vec::new(),
        };
        let key: [u8; 32] = keyed(secret).chain_update(marked).finalize().into_bytes().into();
        Self(keyed(&key))
    }

    /// `tok_` and 22 characters of base64url: HMAC-SHA-256, its first 128 bits.
    fn token(&self, value: &Value<'_>, source: &[u8]) -> String {
        let hash = self.0.clone().chain_update(canonical(value, source)).finalize().into_bytes();
        format!("tok_{}", URL_SAFE_NO_PAD.encode(hash.get(..TOKEN_BYTES).unwrap_or(&hash)))
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokenizer")
    }
}

/// RFC 8785, but numbers as they are written: a canonical number is a double, and two long ids can be the same double.
fn canonical(value: &Value<'_>, source: &[u8]) -> Vec<u8> {
    let canonical = match value {
        Value::Text(text) => serde_json::to_vec(text).ok(),
        Value::Number(_) | Value::Bool(_) | Value::Null => None,
        Value::Nested => serde_json::from_slice(source).ok().and_then(|node| crate::policy::canonical::to_bytes(&node)),
    };
    canonical.unwrap_or_else(|| source.to_vec())
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    // A block of SHA-256 is 64 bytes; HMAC (RFC 2104) pads a shorter key with zeros.
    let mut block = [0; 64];
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    Hmac::new(&block.into())
}

#[cfg(test)]
mod tests;
