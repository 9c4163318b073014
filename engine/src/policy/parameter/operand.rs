//! What values are compared with: written in the policy, or members of the context.

use super::super::condition::{bare_value, own_member};
use super::super::error::{Place, PolicyError, quoted};
use super::super::member::TextMember;
use crate::context::{AgentContext, DataClass, SessionType};
use crate::payload::number::Decimal;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Text(String),
    /// In its only form.
    Number(String),
    Bool(bool),
}

/// A value, or where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operand {
    Known(Known),
    /// A member of the context, and what follows it.
    Member(Member, String),
    /// A member that the context lacks, or that cannot be compared.
    Lacking,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Member {
    Text(TextMember),
    SessionType,
    DataClass,
    Attribute(String),
}

impl Operand {
    /// The value, where it is known.
    pub(super) fn known(&self) -> Option<&Known> {
        match self {
            Self::Known(known) => Some(known),
            Self::Member(..) | Self::Lacking => None,
        }
    }

    pub(super) fn resolve(&self, context: &AgentContext) -> Self {
        let Self::Member(member, rest) = self else { return self.clone() };
        match member.value(context) {
            Some(Known::Text(value)) => Self::Known(Known::Text(value + rest)),
            Some(known) if rest.is_empty() => Self::Known(known),
            _ => Self::Lacking,
        }
    }

    /// Text of the policy. `$user` is a member, `$$user` is the text `$user`.
    pub(super) fn parse(text: &str, place: &Place<'_>) -> Result<Self, PolicyError> {
        match text.strip_prefix('$') {
            None => literal(text, place),
            Some(rest) if rest.starts_with('$') => literal(rest, place),
            Some(name) => Ok(Self::Member(member(name, place)?, String::new())),
        }
    }

    /// The same for the beginning of a text, in which something follows the member, such as `$tenant/`.
    pub(super) fn parse_prefix(text: &str, place: &Place<'_>) -> Result<Self, PolicyError> {
        let Some(rest) = text.strip_prefix('$').filter(|rest| !rest.starts_with('$')) else {
            return Self::parse(text, place);
        };
        let end = rest.find(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
        match end.and_then(|end| rest.split_at_checked(end)) {
            Some((name, rest)) => {
                let Self::Known(Known::Text(rest)) = literal(rest, place)? else { return Ok(Self::Lacking) };
                Ok(Self::Member(member(name, place)?, rest))
            }
            None => Err(place.error(
                format!("{} ends where another name may go on", quoted(text)),
                format!("end it, such as \"{text}/\", or use equals"),
                "u-1 is the beginning of u-10",
            )),
        }
    }
}

fn literal(text: &str, place: &Place<'_>) -> Result<Operand, PolicyError> {
    if text.len() > 1_024 || text.chars().any(char::is_control) {
        return Err(place.error(
            format!("{} is not a value", quoted(text)),
            "write up to 1024 bytes without controls",
            "",
        ));
    }
    Ok(Operand::Known(Known::Text(text.to_owned())))
}

fn member(name: &str, place: &Place<'_>) -> Result<Member, PolicyError> {
    if let Some(member) = TextMember::of(name) {
        return Ok(Member::Text(member));
    }
    match name {
        "session_type" => Ok(Member::SessionType),
        "data_class" => Ok(Member::DataClass),
        "roles" | "delegated_by" | "provenance" | "scope" => {
            Err(place.error(format!("${name} has several values"), "compare with a member that has one", ""))
        }
        _ => own_member(name, place).map(Member::Attribute),
    }
}

impl Member {
    fn value(&self, context: &AgentContext) -> Option<Known> {
        let text = match self {
            Self::Text(member) => member.value(context),
            Self::SessionType => context.session_type.map(SessionType::word),
            Self::DataClass => context.data_class.map(DataClass::word),
            Self::Attribute(name) => return context.attributes.get(name).and_then(|text| attribute(text)),
        };
        text.map(|text| Known::Text(text.to_owned()))
    }
}

/// A member of one's own, by its type (RFC 9651 section 3.3). Lists, bytes, dates and display strings are not compared.
fn attribute(text: &str) -> Option<Known> {
    match text.as_bytes().first()? {
        b'?' => Some(Known::Bool(text == "?1")),
        b'@' => None,
        b'-' | b'0'..=b'9' => number(text).map(Known::Number),
        _ => bare_value(text).map(|text| Known::Text(text.into_owned())),
    }
}

/// A number in its only form; `None` where it has none.
pub(super) fn number(text: &str) -> Option<String> {
    let form = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => text,
    };
    Decimal::parse_only_form(form).map(|_| form.to_owned())
}
