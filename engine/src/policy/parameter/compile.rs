//! `parameters` as they are written, checked.

use super::super::document::parameter::{ParameterDocument, Scalar};
use super::super::document::rule::AllowDocument;
use super::super::error::{Place, PolicyError, quoted};
use super::operand::{Known, Operand, number};
use super::{At, Parameter, Test};
use crate::order;
use crate::payload::number::{Decimal, LARGEST};
use crate::payload::query::QueryKey;
use crate::payload::{Pointer, Treatment};

/// Conditions of one rule.
const MOST: usize = 32;

/// Values of one condition.
const MOST_VALUES: usize = 256;

impl Parameter {
    /// All conditions of a rule; an absent list demands nothing.
    pub(crate) fn compile_all(
        documents: Option<&Vec<ParameterDocument>>,
        place: &Place<'_>,
    ) -> Result<Vec<Self>, PolicyError> {
        let Some(documents) = documents else { return Ok(Vec::new()) };
        if documents.is_empty() || documents.len() > MOST {
            let problem = if documents.is_empty() { "an empty list demands nothing" } else { "too many conditions" };
            return Err(place.error(problem, format!("write 1 to {MOST} conditions, or leave the key out"), ""));
        }
        let parameters = documents.iter().enumerate().map(|(i, document)| Self::compile(document, &place.index(i)));
        let mut parameters = parameters.collect::<Result<Vec<_>, _>>()?;
        // The first that fails is named, whatever the order in which they were written.
        order::sort_by(&mut parameters, |a, b| a.at.cmp(&b.at));
        Ok(parameters)
    }

    fn compile(document: &ParameterDocument, place: &Place<'_>) -> Result<Self, PolicyError> {
        let at = at(&document.at, &place.key("at"))?;
        let ParameterDocument { at: _, equals, one_of, max, prefix, absent } = document;
        let tests = [equals.is_some(), one_of.is_some(), max.is_some(), prefix.is_some(), absent.is_some()];
        match tests.iter().filter(|stated| **stated).count() {
            1 => {}
            0 => {
                let remedy = "add one of equals, one_of, max, prefix, absent";
                return Err(place.error("it says nothing of the value", remedy, ""));
            }
            _ => return Err(place.error("two conditions in one", "write an entry of the list for each", "")),
        }
        let query = matches!(at, At::Query(_));
        let test = if let Some(value) = equals {
            Test::OneOf(vec![operand(value, query, &place.key("equals"))?])
        } else if let Some(values) = one_of {
            let place = place.key("one_of");
            if values.is_empty() || values.len() > MOST_VALUES {
                let problem = if values.is_empty() { "an empty list fits nothing" } else { "too many values" };
                return Err(place.error(problem, format!("name 1 to {MOST_VALUES} values"), ""));
            }
            let operands = values.iter().enumerate().map(|(i, value)| operand(value, query, &place.index(i)));
            Test::OneOf(operands.collect::<Result<_, _>>()?)
        } else if let Some(value) = max {
            Test::Max(most(value, &place.key("max"))?)
        } else if let Some(text) = prefix {
            Test::Prefix(beginning(text, &place.key("prefix"))?)
        } else {
            if *absent != Some(true) {
                let remedy = "write true, or another condition";
                return Err(place.key("absent").error("that a value is there says nothing of it", remedy, ""));
            }
            Test::Absent
        };
        Ok(Self { at, test })
    }
}

fn at(text: &str, place: &Place<'_>) -> Result<At, PolicyError> {
    if let Some(key) = text.strip_prefix('?') {
        return QueryKey::new(key).map(At::Query).ok_or_else(|| {
            place.error(
                format!("{} is not a key of a query", quoted(key)),
                "write it decoded: letters, digits and signs such as ?limit or ?page[size], without & ; = + % and spaces",
                "",
            )
        });
    }
    pointer(text, place).map(At::Body)
}

/// `redact` and `tokenize` of a rule.
pub(crate) fn compile_treatments(
    document: &AllowDocument,
    place: &Place<'_>,
) -> Result<Vec<(Pointer, Treatment)>, PolicyError> {
    let mut treatments: Vec<(Pointer, Treatment)> = Vec::new();
    let lists = [(Treatment::Redact, &document.redact), (Treatment::Tokenize, &document.tokenize)];
    for (treatment, list) in lists.into_iter().filter_map(|(treatment, list)| Some((treatment, list.as_ref()?))) {
        let place = place.key(treatment.as_str());
        if list.0.len() > MOST {
            return Err(place.error("too many places", format!("name at most {MOST}"), ""));
        }
        for (i, text) in list.0.iter().enumerate() {
            let place = place.index(i);
            let pointer = pointer(text, &place)?;
            if treatments.iter().any(|(known, _)| *known == pointer) {
                let problem = format!("{} is named twice", quoted(text));
                return Err(place.error(problem, "name it once, under redact or under tokenize", ""));
            }
            treatments.push((pointer, treatment));
        }
    }
    Ok(treatments)
}

fn pointer(text: &str, place: &Place<'_>) -> Result<Pointer, PolicyError> {
    Pointer::parse(text).map_err(|error| {
        place.error(
            format!("{} is not a place: {error}", quoted(text)),
            "write a JSON pointer such as /customer/id or /items/*/id",
            "",
        )
    })
}

fn operand(value: &Scalar, query: bool, place: &Place<'_>) -> Result<Operand, PolicyError> {
    let wrong = |value: String| {
        let remedy = format!("put it in quotes: \"{value}\"");
        place.error("values of a query are text", remedy, "")
    };
    match value {
        Scalar::Text(text) => Operand::parse(text, place),
        Scalar::Number(value) if query => Err(wrong(value.to_string())),
        Scalar::Bool(value) if query => Err(wrong(value.to_string())),
        Scalar::Bool(value) => Ok(Operand::Known(Known::Bool(*value))),
        Scalar::Number(value) => {
            number(&written(value)).map(|text| Operand::Known(Known::Number(text))).ok_or_else(|| {
                place.error(
                    format!("{value} is a number that readers of JSON read differently"),
                    format!("write a whole number up to {LARGEST}, or a decimal of at most 15 digits"),
                    "",
                )
            })
        }
    }
}

fn most(value: &Scalar, place: &Place<'_>) -> Result<Decimal, PolicyError> {
    let number = match value {
        Scalar::Number(value) => number(&written(value)).and_then(|text| Decimal::parse(&text)),
        Scalar::Text(_) | Scalar::Bool(_) => None,
    };
    number.filter(|number| !number.is_negative()).ok_or_else(|| {
        let remedy =
            format!("write a number from 0 to {LARGEST}, without quotes and with at most 15 digits if it is not whole");
        place.error("not a number that can be a bound", remedy, "")
    })
}

/// Without an exponent.
fn written(number: &serde_json::Number) -> String {
    match (number.as_u64(), number.as_i64(), number.as_f64()) {
        (Some(value), ..) => value.to_string(),
        (_, Some(value), _) => value.to_string(),
        (_, _, Some(value)) => value.to_string(),
        _ => number.to_string(),
    }
}

fn beginning(text: &str, place: &Place<'_>) -> Result<Operand, PolicyError> {
    if text.is_empty() {
        return Err(place.error("every text begins with this", "write what it must begin with", ""));
    }
    let after_scheme = text.split_once("://").map(|(_, rest)| rest);
    if after_scheme.is_some_and(|rest| !rest.contains('/')) {
        return Err(place.error(
            format!("{} ends inside the name of a host", quoted(text)),
            format!("end the name, such as \"{text}/\""),
            "https://a.example is the beginning of https://a.example.evil",
        ));
    }
    Operand::parse_prefix(text, place)
}
