//! Conditions of a rule on members of the context (`when`).
//!
//! A condition that cannot be evaluated counts as unmet in an allow rule and as met in a deny rule. Members with several
//! values differ by what they mean: one role of the person is enough to allow, but every source of the content and every
//! agent that handed on the work must be among those an allow rule names.

use super::document::values::{Named, OneOrMany};
use super::error::{Place, PolicyError, did_you_mean, quoted};
use super::member::TextMember;
use super::pattern::{ValuePattern, any_fits};
use crate::context::{AgentContext, DataClass, Provenance, SessionType};
use crate::order;
use std::borrow::Cow;

/// What a rule does with a request that it fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Allow,
    Deny,
}

/// One key of `when`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    member: Member,
    values: Vec<ValuePattern>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Member {
    Text(TextMember),
    Roles,
    DelegatedBy,
    SessionType,
    DataClass,
    Provenance,
    /// A member without a meaning of its own.
    Attribute(String),
}

/// Members that a rule can name, besides texts and attributes.
const OTHERS: [(&str, Member); 5] = [
    ("roles", Member::Roles),
    ("delegated_by", Member::DelegatedBy),
    ("session_type", Member::SessionType),
    ("data_class", Member::DataClass),
    ("provenance", Member::Provenance),
];

impl Condition {
    pub(crate) fn compile_all(
        document: &Named<OneOrMany<String>>,
        place: &Place<'_>,
    ) -> Result<Vec<Self>, PolicyError> {
        let conditions = document.iter().map(|(name, values)| Self::compile(name, &values.0, &place.key(name)));
        let mut conditions = conditions.collect::<Result<Vec<_>, _>>()?;
        // The first that fails is named, whatever the order in which they were written.
        order::sort_by(&mut conditions, |a, b| a.name().cmp(b.name()));
        Ok(conditions)
    }

    fn compile(name: &str, values: &[String], place: &Place<'_>) -> Result<Self, PolicyError> {
        let other = || OTHERS.iter().find(|(known, _)| *known == name).map(|(_, member)| member.clone());
        let member = match TextMember::of(name).map(Member::Text).or_else(other) {
            Some(member) => member,
            None => Member::Attribute(own_member(name, place)?),
        };
        match member {
            Member::SessionType => closed(values, SessionType::WORDS, place)?,
            Member::DataClass => closed(values, DataClass::WORDS, place)?,
            Member::Provenance => closed(values, Provenance::WORDS, place)?,
            _ => {}
        }
        Ok(Self { member, values: ValuePattern::parse_all(values, place)? })
    }

    /// The member, as the schema calls it.
    pub(crate) fn name(&self) -> &str {
        match &self.member {
            Member::Attribute(name) => name,
            Member::Text(member) => member.name(),
            member => OTHERS.iter().find(|(_, known)| known == member).map_or("", |(name, _)| name),
        }
    }

    /// Whether the condition is met for this purpose.
    pub(crate) fn met(&self, context: &AgentContext, purpose: Purpose) -> bool {
        let one = |value: Option<&str>| match value {
            Some(value) => any_fits(&self.values, value),
            None => purpose == Purpose::Deny,
        };
        let each = |values: Vec<&str>| match purpose {
            Purpose::Allow => !values.is_empty() && values.iter().all(|value| any_fits(&self.values, value)),
            Purpose::Deny => values.iter().any(|value| any_fits(&self.values, value)),
        };
        match &self.member {
            Member::Text(member) => one(member.value(context)),
            Member::Roles if context.roles.is_empty() => purpose == Purpose::Deny,
            Member::Roles => context.roles.iter().any(|role| any_fits(&self.values, role)),
            Member::DelegatedBy => each(context.delegated_by.iter().map(String::as_str).collect()),
            Member::SessionType => one(context.session_type.map(SessionType::word)),
            Member::DataClass => one(Some(context.effective_data_class().word())),
            Member::Provenance => each(context.provenance.iter().map(|source| source.word()).collect()),
            Member::Attribute(name) => one(context.attributes.get(name).and_then(|text| bare_value(text)).as_deref()),
        }
    }
}

/// A member without a meaning of its own. Refuses known members that a rule cannot name, and names that no member can have.
pub(super) fn own_member(name: &str, place: &Place<'_>) -> Result<String, PolicyError> {
    let refused = match name {
        "reason" => Some("the stated reason is recorded, never matched"),
        "binding" => Some("how a context is bound is said beside when, not in it"),
        "gateway" => Some("the audience is checked by itself"),
        "scope" => Some("the scope is checked against the destination's category by itself"),
        _ => None,
    };
    if let Some(problem) = refused {
        return Err(place.error(problem, "remove this key", ""));
    }
    // RFC 9651 section 3.1.2: a key of a dictionary.
    let first = |b: u8| b.is_ascii_lowercase() || b == b'*';
    let other = |b: u8| first(b) || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'.');
    let key = name.bytes().next().is_some_and(first) && name.bytes().all(other);
    let known = TextMember::ALL.iter().map(|member| member.name()).chain(OTHERS.iter().map(|(known, _)| *known));
    let near = known.clone().find(|known| strsim::damerau_levenshtein(name, known) <= 1);
    if let (true, None) = (key, near) {
        return Ok(name.to_owned());
    }
    let list = format!("Known here: {}, and members of your own", known.clone().collect::<Vec<_>>().join(", "));
    let remedy = did_you_mean(name, known).map_or(list.clone(), |hint| format!("{hint} {list}"));
    let problem = format!("{} is no member of a context", quoted(name));
    Err(place.error(problem, remedy, "a condition on a member that is never sent is never met"))
}

/// Values of a closed vocabulary are words of it.
fn closed<T>(values: &[String], words: &[(T, &str)], place: &Place<'_>) -> Result<(), PolicyError> {
    let words: Vec<&str> = words.iter().map(|(_, word)| *word).collect();
    match values.iter().enumerate().find(|(_, value)| !words.contains(&value.as_str())) {
        None => Ok(()),
        Some((i, value)) => {
            let list = format!("Known here: {}", words.join(", "));
            let hint = did_you_mean(value, words.iter().copied());
            let remedy = hint.map_or(list.clone(), |hint| format!("{hint} {list}"));
            Err(place.index(i).error(format!("unknown value {}", quoted(value)), remedy, ""))
        }
    }
}

/// The value of an attribute as a policy writes it: text without its quotes; tokens, numbers and booleans as they
/// stand. Lists, bytes and display strings cannot be compared.
pub(super) fn bare_value(text: &str) -> Option<Cow<'_, str>> {
    match text.as_bytes().first()? {
        b'(' | b':' | b'%' => None,
        b'"' => {
            let inner = text.strip_prefix('"')?.strip_suffix('"')?;
            if !inner.contains('\\') {
                return Some(Cow::Borrowed(inner));
            }
            let (mut value, mut characters) = (String::with_capacity(inner.len()), inner.chars());
            while let Some(character) = characters.next() {
                value.push(if character == '\\' { characters.next()? } else { character });
            }
            Some(Cow::Owned(value))
        }
        _ => Some(Cow::Borrowed(text)),
    }
}
