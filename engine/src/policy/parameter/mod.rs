//! Conditions of a rule on values in the body or the query (`parameters`).
//!
//! A condition that cannot be evaluated counts as unmet in an allow rule and as met in a deny rule. So does one on a value of
//! another type than it names: what a server makes of it is its own affair. A value that is known not to be there fits
//! `absent` and nothing else: whoever wants to refuse requests that leave it out says so, and ceilings can deny one value.

mod compile;
mod operand;

pub(crate) use compile::compile_treatments;
pub(crate) use operand::Operand;

use super::condition::Purpose;
use crate::context::AgentContext;
use crate::destination::fold;
use crate::payload::inspect::Unreadable;
use crate::payload::number::Decimal;
use crate::payload::place::{Places, Pointer};
use crate::payload::query::{Queried, QueryKey};
use crate::payload::{Content, Reading, Value};
use operand::Known;
use std::fmt;

/// One condition.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parameter {
    at: At,
    test: Test,
}

/// Where the value stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum At {
    Body(Pointer),
    Query(QueryKey),
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    /// `equals` is one of one.
    OneOf(Vec<Operand>),
    Max(Decimal),
    Prefix(Operand),
    Absent,
}

/// Whether a value is as the condition says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    Yes,
    No,
    /// It cannot be told.
    Unknown,
}

/// What a condition sees of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) content: Content<'a>,
    pub(crate) places: &'a Places,
    /// Without its `?`.
    pub(crate) query: Option<&'a str>,
}

/// A value, wherever it stands.
#[derive(Clone, Copy, Debug)]
enum Seen<'a> {
    Text(&'a str),
    /// Of a query, which has no types.
    Untyped(&'a str),
    Number(&'a str),
    Bool(bool),
    Other,
}

impl At {
    /// As conditions and records name it: `parameters/customer_id`, `parameters/?limit`.
    pub(crate) fn condition(&self) -> String {
        match self {
            Self::Body(pointer) => format!("parameters{pointer}"),
            Self::Query(key) => format!("parameters/{key}"),
        }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body(pointer) => pointer.fmt(f),
            Self::Query(key) => key.fmt(f),
        }
    }
}

impl Parameter {
    pub(crate) fn at(&self) -> &At {
        &self.at
    }

    /// The place in the body that must be read for it.
    pub(crate) fn pointer(&self) -> Option<&Pointer> {
        match &self.at {
            At::Body(pointer) => Some(pointer),
            At::Query(_) => None,
        }
    }

    /// The same condition with the values that the context has.
    pub(crate) fn resolve(&self, context: &AgentContext) -> Self {
        let test = match &self.test {
            Test::OneOf(operands) => Test::OneOf(operands.iter().map(|operand| operand.resolve(context)).collect()),
            Test::Prefix(operand) => Test::Prefix(operand.resolve(context)),
            test @ (Test::Max(_) | Test::Absent) => test.clone(),
        };
        Self { at: self.at.clone(), test }
    }

    /// Whether the condition is met for this purpose; an error where the body cannot be read at all. While the body is still
    /// coming, what it will say counts for neither side.
    pub(crate) fn met(&self, view: View<'_>, purpose: Purpose) -> Result<bool, Unreadable> {
        let fit = match &self.at {
            At::Query(key) => self.fit_query(key, view, purpose),
            At::Body(pointer) => self.fit_body(pointer, view, purpose),
        };
        match (fit, purpose) {
            (Ok(fit), Purpose::Allow) => Ok(fit == Fit::Yes),
            (Ok(fit), Purpose::Deny) => Ok(fit != Fit::No),
            (Err(why), Purpose::Allow) => Err(why),
            (Err(_), Purpose::Deny) => Ok(true),
        }
    }

    fn fit_query(&self, key: &QueryKey, view: View<'_>, purpose: Purpose) -> Result<Fit, Unreadable> {
        // Of a tunnel or a WebSocket nothing can be told, for the rest of it is never seen.
        if let Content::Known(Reading::Unreadable(Unreadable::Stream)) = view.content {
            return Err(Unreadable::Stream);
        }
        Ok(match (key.read(view.query), &self.test) {
            (Queried::Doubtful, _) => Fit::Unknown,
            (Queried::Missing, Test::Absent) => Fit::Yes,
            (Queried::Missing, Test::OneOf(_) | Test::Max(_) | Test::Prefix(_)) => Fit::No,
            (Queried::Value(value), test) => test.fit(Seen::Untyped(&value), purpose),
        })
    }

    fn fit_body(&self, pointer: &Pointer, view: View<'_>, purpose: Purpose) -> Result<Fit, Unreadable> {
        let Content::Known(reading) = view.content else {
            return Ok(if purpose == Purpose::Allow { Fit::Yes } else { Fit::No });
        };
        let absent = self.test == Test::Absent;
        let Some(found) = reading.at(view.places, pointer)? else {
            return Ok(if absent { Fit::Yes } else { Fit::No });
        };
        if found.doubtful {
            return Ok(Fit::Unknown);
        }
        if absent {
            return Ok(if found.spots.is_empty() { Fit::Yes } else { Fit::No });
        }
        let mut fits: Vec<Fit> = found.spots.iter().map(|spot| self.test.fit(Seen::of(&spot.value), purpose)).collect();
        if found.missing || fits.is_empty() {
            fits.push(Fit::No);
        }
        // All of several values must be allowed; one that is denied is enough.
        let decisive = if purpose == Purpose::Allow { Fit::No } else { Fit::Yes };
        Ok(match (fits.contains(&decisive), fits.contains(&Fit::Unknown), purpose) {
            (true, ..) => decisive,
            (false, true, _) => Fit::Unknown,
            (false, false, Purpose::Allow) => Fit::Yes,
            (false, false, Purpose::Deny) => Fit::No,
        })
    }
}

impl<'a> Seen<'a> {
    fn of(value: &'a Value<'a>) -> Self {
        match value {
            Value::Text(text) => Self::Text(text),
            Value::Number(text) => Self::Number(text),
            Value::Bool(value) => Self::Bool(*value),
            Value::Null | Value::Nested => Self::Other,
        }
    }
}

impl Test {
    fn fit(&self, seen: Seen<'_>, purpose: Purpose) -> Fit {
        match self {
            Self::OneOf(operands) => {
                let fits = operands.iter().filter_map(|operand| {
                    operand.known().map_or(Some(Fit::Unknown), |known| equal(known, seen, purpose))
                });
                let fits: Vec<Fit> = fits.collect();
                match (fits.contains(&Fit::Yes), fits.contains(&Fit::Unknown) || fits.is_empty()) {
                    (true, _) => Fit::Yes,
                    (false, true) => Fit::Unknown,
                    (false, false) => Fit::No,
                }
            }
            Self::Max(most) => match seen {
                Seen::Number(text) | Seen::Untyped(text) => match Decimal::parse(text) {
                    // Below zero often means without bounds.
                    Some(number) if number.is_negative() => Fit::Unknown,
                    Some(number) if number <= *most => Fit::Yes,
                    Some(_) => Fit::No,
                    None => Fit::Unknown,
                },
                Seen::Text(_) | Seen::Bool(_) | Seen::Other => Fit::Unknown,
            },
            Self::Prefix(operand) => match (operand.known(), seen) {
                (Some(Known::Text(prefix)), Seen::Text(text) | Seen::Untyped(text)) => begins(text, prefix, purpose),
                _ => Fit::Unknown,
            },
            // A value is there.
            Self::Absent => Fit::No,
        }
    }
}

/// Whether a value is the one that is named; `None` where it has another type.
fn equal(known: &Known, seen: Seen<'_>, purpose: Purpose) -> Option<Fit> {
    let told = |equal: bool| if equal { Fit::Yes } else { Fit::No };
    match (known, seen) {
        (Known::Text(known), Seen::Text(text) | Seen::Untyped(text)) => Some(same_text(known, text, purpose)),
        (Known::Number(known), Seen::Untyped(text)) => Some(told(known == text)),
        (Known::Bool(known), Seen::Untyped(text)) => Some(told(known.to_string() == text)),
        (Known::Number(known), Seen::Number(text)) => Some(match Decimal::parse_only_form(text) {
            Some(_) => told(known == text),
            None => Fit::Unknown,
        }),
        (Known::Bool(known), Seen::Bool(value)) => Some(told(*known == value)),
        _ => None,
    }
}

/// Exact to allow. To deny, whatever a careless server takes for equal is.
fn same_text(known: &str, text: &str, purpose: Purpose) -> Fit {
    // Some readers stop there.
    if text.contains('\0') {
        return Fit::Unknown;
    }
    let equal = match purpose {
        Purpose::Allow => known == text,
        Purpose::Deny => fold(known.trim()) == fold(text.trim()),
    };
    if equal { Fit::Yes } else { Fit::No }
}

fn begins(text: &str, prefix: &str, purpose: Purpose) -> Fit {
    if text.contains('\0') || leads_back(text) {
        return Fit::Unknown;
    }
    let begins = match purpose {
        Purpose::Allow => text.starts_with(prefix),
        Purpose::Deny => fold(text.trim()).starts_with(fold(prefix.trim()).as_ref()),
    };
    if begins { Fit::Yes } else { Fit::No }
}

/// Whether a text, read as a path, may lead out of where it begins.
fn leads_back(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    // Escaped twice, or in a form that only some readers take for a dot or a slash.
    if lower.contains("%25") || lower.contains("%u") || lower.contains("%c0") || lower.contains("%e0") {
        return true;
    }
    let plain = lower.replace("%2e", ".").replace("%2f", "/").replace("%5c", "\\");
    let segment = |segment: &str| matches!(segment.split(';').next().unwrap_or_default().trim(), "." | "..");
    fold(&plain).split(['/', '\\']).chain(plain.split(['/', '\\'])).any(segment)
}
