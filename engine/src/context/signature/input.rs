//! `Signature-Input` and `Signature`: the one signature with `tag="exeat"`, its parameters and its bytes.

use super::base::unfold;
use super::component::Component;
use super::{ALGORITHM, TAG};
use crate::context::error::ContextError;
use crate::context::structured::{self, Bounds, DictionaryError, InnerList, Item, Member, Parameters};
use crate::request::RequestHead;
use sfv::{BareItem, Key};
use std::borrow::Cow;

const INPUT: &str = "signature-input";
const VALUE: &str = "signature";

/// What is read of each of the two fields, all lines together. Other parties' signatures stand there too.
const BOUNDS: Bounds = Bounds { bytes: 16 * 1024, members: 16, items: 64, parameters: 16 };

/// Bytes of a nonce.
const NONCE_BYTES: std::ops::RangeInclusive<usize> = 1..=128;

/// The signature that counts, parsed but not verified.
#[derive(Clone, Debug)]
pub(crate) struct TaggedSignature {
    pub(crate) components: Vec<Component>,
    /// Canonical text of components and parameters: the value of `@signature-params`.
    pub(crate) parameters: String,
    pub(crate) created: i64,
    pub(crate) expires: Option<i64>,
    pub(crate) nonce: String,
    pub(crate) keyid: String,
    pub(crate) signature: [u8; 64],
}

/// Finds and reads the one signature with `tag="exeat"`; others are ignored.
pub(crate) fn tagged_signature(head: &RequestHead) -> Result<TaggedSignature, ContextError> {
    let mut tagged = members(head, INPUT)?.into_iter().filter_map(|(label, member)| match member {
        Member::InnerList(list) if is_tagged(&list.parameters) => Some((label, list)),
        _ => None,
    });
    let (label, list) = tagged.next().ok_or(ContextError::SignatureMissing)?;
    let others = tagged.count();
    if others > 0 {
        return Err(ContextError::SeveralSignatures { count: others.saturating_add(1) });
    }
    let signature = signature_value(head, &label)?;
    read(&list, &signature)
}

fn members(head: &RequestHead, field: &'static str) -> Result<Vec<(Key, Member)>, ContextError> {
    let Some(joined) = join_lines(head, field, BOUNDS.bytes)? else {
        return Ok(Vec::new());
    };
    structured::parse_dictionary(&joined, BOUNDS)
        .map_err(|DictionaryError { member, problem }| ContextError::Malformed { field, member, problem })
}

/// The lines of a dictionary field as one (RFC 9110 section 5.3); `None` when there are none.
pub(crate) fn join_lines(
    head: &RequestHead,
    field: &'static str,
    most: usize,
) -> Result<Option<Vec<u8>>, ContextError> {
    let length = head.values(field).map(|line| line.len().saturating_add(2)).fold(0, usize::saturating_add);
    if length > most.saturating_add(2) {
        let problem = format!("more than {most} bytes");
        return Err(ContextError::Malformed { field, member: None, problem });
    }
    let lines: Vec<Cow<'_, [u8]>> = head.values(field).map(unfold).collect();
    Ok(if lines.is_empty() { None } else { Some(lines.join(&b", "[..])) })
}

// A tag that is written twice counts as ours whichever of the two another reader would take.
fn is_tagged(parameters: &Parameters) -> bool {
    parameters
        .iter()
        .any(|(key, value)| key.as_str() == "tag" && matches!(value, BareItem::String(tag) if tag.as_str() == TAG))
}

fn signature_value(head: &RequestHead, label: &Key) -> Result<Vec<u8>, ContextError> {
    match members(head, VALUE)?.into_iter().find(|(key, _)| key == label) {
        Some((_, Member::Item(Item { value: BareItem::ByteSequence(bytes), .. }))) => Ok(bytes),
        Some(_) => Err(malformed(VALUE, label.as_str(), "is not a byte sequence")),
        None => Err(ContextError::SignatureValueMissing { label: label.as_str().to_owned() }),
    }
}

fn read(list: &InnerList, signature: &[u8]) -> Result<TaggedSignature, ContextError> {
    let parameters = &list.parameters;
    if let Some(name) = structured::duplicate_parameter(parameters) {
        return Err(malformed(INPUT, name, "occurs twice"));
    }
    let components = components(&list.items)?;
    let created = integer(parameters, "created")?.ok_or(ContextError::SignatureIncomplete { missing: "created" })?;
    let expires = integer(parameters, "expires")?;
    let nonce = string(parameters, "nonce")?.ok_or(ContextError::SignatureIncomplete { missing: "nonce" })?;
    if !NONCE_BYTES.contains(&nonce.len()) {
        let problem = format!("has {} bytes, where 1 to 128 are allowed", nonce.len());
        return Err(malformed(INPUT, "nonce", problem));
    }
    let keyid = string(parameters, "keyid")?.ok_or(ContextError::SignatureIncomplete { missing: "keyid" })?;
    if let Some(got) = string(parameters, "alg")?.filter(|alg| alg != ALGORITHM) {
        return Err(ContextError::Algorithm { got });
    }
    let signature = signature.try_into().map_err(|_| ContextError::SignatureLength { got: signature.len() })?;
    let parameters = structured::serialize_inner_list(list);
    Ok(TaggedSignature { components, parameters, created, expires, nonce, keyid, signature })
}

fn components(items: &[Item]) -> Result<Vec<Component>, ContextError> {
    let mut components: Vec<Component> = Vec::with_capacity(items.len());
    for item in items {
        let refused = |problem| ContextError::Component { component: structured::serialize_item(item), problem };
        let component = Component::from_item(item).map_err(refused)?;
        if components.iter().any(|other| other.identity() == component.identity()) {
            return Err(refused("is listed twice"));
        }
        components.push(component);
    }
    Ok(components)
}

fn parameter<'a>(parameters: &'a Parameters, name: &str) -> Option<&'a BareItem> {
    parameters.iter().find(|(key, _)| key.as_str() == name).map(|(_, value)| value)
}

fn integer(parameters: &Parameters, name: &str) -> Result<Option<i64>, ContextError> {
    match parameter(parameters, name) {
        None => Ok(None),
        Some(BareItem::Integer(value)) => Ok(Some(i64::from(*value))),
        Some(_) => Err(malformed(INPUT, name, "is not an integer")),
    }
}

fn string(parameters: &Parameters, name: &str) -> Result<Option<String>, ContextError> {
    match parameter(parameters, name) {
        None => Ok(None),
        Some(BareItem::String(value)) => Ok(Some(value.as_str().to_owned())),
        Some(_) => Err(malformed(INPUT, name, "is not a string")),
    }
}

fn malformed(field: &'static str, member: &str, problem: impl Into<String>) -> ContextError {
    ContextError::Malformed { field, member: Some(member.to_owned()), problem: problem.into() }
}
