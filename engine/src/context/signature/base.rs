//! The signature base (RFC 9421 section 2.5) of a request: the exact bytes that are signed.
//!
//! INVARIANT: no component's value holds a line feed, so that one component cannot pose as two; outside `bs` only
//! visible ASCII, space and tab go in.

use super::component::{Component, FieldForm, Kind};
use crate::request::{Bytes, RequestHead};
use base64::Engine as _;
use sfv::{FieldType as _, Parser};
use std::borrow::Cow;
use url::form_urlencoded;

/// Bytes of a request that are read for all components of one signature together. Nothing is proven yet at that time, and
/// one large field can be named in many components, each of which would parse it anew.
const READ_BYTES: usize = 128 * 1024;

/// Builds the signature base: a line for each component, then `@signature-params`. On failure names the component.
pub(crate) fn signature_base(
    head: &RequestHead,
    components: &[Component],
    parameters: &str,
) -> Result<Vec<u8>, (String, &'static str)> {
    let mut base = Vec::with_capacity(512);
    let mut read = 0_usize;
    for component in components {
        read = read.saturating_add(source_bytes(head, component.kind()));
        if read > READ_BYTES {
            return Err((component.as_str().to_owned(), "takes more of the request than is read for a signature"));
        }
        let value = component_value(head, component.kind()).map_err(|why| (component.as_str().to_owned(), why))?;
        base.extend_from_slice(component.as_str().as_bytes());
        base.extend_from_slice(b": ");
        base.extend_from_slice(&value);
        base.push(b'\n');
    }
    base.extend_from_slice(b"\"@signature-params\": ");
    base.extend_from_slice(parameters.as_bytes());
    Ok(base)
}

/// An upper bound of what has to be read for a component.
fn source_bytes(head: &RequestHead, kind: &Kind) -> usize {
    match kind {
        Kind::Field { name, .. } => {
            head.values(name).fold(0, |sum, line| sum.saturating_add(line.len()).saturating_add(2))
        }
        _ => head.method.len() + head.authority.len() + head.path.as_ref().map_or(0, Bytes::len),
    }
}

fn component_value<'a>(head: &'a RequestHead, kind: &Kind) -> Result<Cow<'a, [u8]>, &'static str> {
    let value = match kind {
        Kind::Field { name, form } => return field_value(head, name, form),
        Kind::Method => Cow::Borrowed(head.method.as_ref()),
        Kind::Authority => Cow::Owned(authority(head)),
        Kind::Scheme => Cow::Owned(scheme(head)?),
        Kind::TargetUri => {
            let (path, query) = path_and_query(head)?;
            Cow::Owned([&scheme(head)?, b"://".as_slice(), &head.authority, path, query.unwrap_or_default()].concat())
        }
        Kind::RequestTarget => Cow::Borrowed(head.path.as_deref().unwrap_or(&head.authority)),
        Kind::Path => Cow::Borrowed(path_and_query(head)?.0),
        // An absent query has the value of an empty one (RFC 9421 section 2.2.7).
        Kind::Query => Cow::Borrowed(path_and_query(head)?.1.unwrap_or(b"?")),
        Kind::QueryParam(name) => Cow::Owned(query_param(head, name)?),
    };
    let may_be_empty = matches!(kind, Kind::QueryParam(_));
    if value.iter().all(u8::is_ascii_graphic) && (may_be_empty || !value.is_empty()) {
        Ok(value)
    } else {
        Err("has no value of visible ASCII in this request")
    }
}

fn scheme(head: &RequestHead) -> Result<Vec<u8>, &'static str> {
    head.scheme.as_ref().map(|scheme| scheme.to_ascii_lowercase()).ok_or("the request has no scheme")
}

/// `@authority` (RFC 9421 section 2.2.3): lower case, without the default port of the scheme on the wire. The target
/// of CONNECT always has a port (RFC 9110 section 9.3.6), which stays.
fn authority(head: &RequestHead) -> Vec<u8> {
    let authority = head.authority.to_ascii_lowercase();
    let default_port: &[u8] = match head.scheme.as_deref() {
        _ if head.path.is_none() => return authority,
        Some(scheme) if scheme.eq_ignore_ascii_case(b"https") => b"443",
        Some(scheme) if scheme.eq_ignore_ascii_case(b"http") => b"80",
        _ => return authority,
    };
    let Some(host) = authority.strip_suffix(default_port).unwrap_or(&authority).strip_suffix(b":") else {
        return authority;
    };
    // An address of version 6 without brackets ends in digits that are no port.
    if host.contains(&b':') && !host.ends_with(b"]") { authority } else { host.to_vec() }
}

/// The path without the query, and the query with its question mark.
pub(crate) fn path_and_query(head: &RequestHead) -> Result<(&[u8], Option<&[u8]>), &'static str> {
    let target = head.path.as_deref().ok_or("the request has no path")?;
    let (path, query) = match target.iter().position(|byte| *byte == b'?') {
        Some(position) => (target.get(..position), target.get(position..)),
        None => (Some(target), None),
    };
    match path {
        // An empty path is that of the root (RFC 9421 section 2.2.6).
        Some([]) => Ok((b"/", query)),
        Some(path @ [b'/', ..]) => Ok((path, query)),
        _ => Err("the request target is not in origin form"),
    }
}

/// `@query-param` (RFC 9421 section 2.2.8).
fn query_param(head: &RequestHead, name: &str) -> Result<Vec<u8>, &'static str> {
    let query = path_and_query(head)?.1.and_then(|query| query.get(1..)).unwrap_or_default();
    let decoded = form_urlencoded::parse(name.as_bytes()).next().map(|(decoded, _)| decoded).unwrap_or_default();
    if encode_param(&decoded) != name {
        return Err("has a name that is not percent-encoded as RFC 9421 section 2.2.8 says");
    }
    let mut values = form_urlencoded::parse(query).filter(|(other, _)| *other == decoded);
    match (values.next(), values.next()) {
        (Some((_, value)), None) => Ok(encode_param(&value).into_bytes()),
        (None, _) => Err("the query has no such parameter"),
        (Some(_), Some(_)) => Err("the query has that parameter more than once"),
    }
}

/// Percent-encoding of the form encoding, but with a space as `%20` (RFC 9421 section 2.2.8).
fn encode_param(text: &str) -> String {
    let encoded: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
    encoded.replace('+', "%20")
}

fn field_value<'a>(head: &'a RequestHead, name: &str, form: &FieldForm) -> Result<Cow<'a, [u8]>, &'static str> {
    let mut lines = head.fields.iter().filter(|(other, _)| other == name).map(|(_, value)| unfold(value)).peekable();
    if lines.peek().is_none() {
        return Err("the request has no such field");
    }
    if *form == FieldForm::Bytes {
        let encoded: Vec<String> =
            lines.map(|line| format!(":{}:", base64::engine::general_purpose::STANDARD.encode(line))).collect();
        return Ok(Cow::Owned(encoded.join(", ").into_bytes()));
    }
    let joined = match (lines.next(), lines.peek()) {
        (Some(only), None) => only,
        (first, _) => Cow::Owned(first.into_iter().chain(lines).collect::<Vec<_>>().join(&b", "[..])),
    };
    if !joined.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
        return Err("the field holds bytes other than visible ASCII, space and tab, which only bs covers");
    }
    match form {
        FieldForm::Plain | FieldForm::Bytes => Ok(joined),
        FieldForm::Structured => reserialize(name, &joined).map(|text| Cow::Owned(text.into_bytes())),
        FieldForm::Member(key) => dictionary_member(&joined, key).map(|text| Cow::Owned(text.into_bytes())),
    }
}

/// A field line without white space around it and with line folding, where an intermediary left any, replaced by a
/// space (RFC 9421 section 2.1, RFC 9112 section 5.2). CR and LF that fold nothing stay, to be refused.
pub(crate) fn unfold(line: &[u8]) -> Cow<'_, [u8]> {
    let line = trim(line);
    if !line.contains(&b'\r') {
        return Cow::Borrowed(line);
    }
    let mut unfolded: Vec<u8> = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some((first, tail)) = rest.split_first() {
        match rest.strip_prefix(b"\r\n") {
            Some(after @ [b' ' | b'\t', ..]) => {
                unfolded.truncate(trim_end(&unfolded).len());
                unfolded.push(b' ');
                rest = trim_start(after);
            }
            _ => {
                unfolded.push(*first);
                rest = tail;
            }
        }
    }
    Cow::Owned(trim(&unfolded).to_vec())
}

fn trim(line: &[u8]) -> &[u8] {
    trim_end(trim_start(line))
}

fn trim_start(mut line: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = line {
        line = rest;
    }
    line
}

fn trim_end(mut line: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t'] = line {
        line = rest;
    }
    line
}

/// Fields of requests that are structured fields, by the type their specification gives them. Signer and verifier must
/// agree on the type, so others are refused (RFC 9421 section 2.1.1).
const DICTIONARIES: &[&str] = &[
    "agent-context",
    "content-digest",
    "priority",
    "repr-digest",
    "signature",
    "signature-input",
    "want-content-digest",
    "want-repr-digest",
];
const LISTS: &[&str] = &["accept-ch", "client-cert-chain", "sec-ch-ua"];
const ITEMS: &[&str] = &["client-cert", "idempotency-key", "sec-ch-ua-mobile", "sec-ch-ua-platform", "signature-agent"];

fn reserialize(name: &str, value: &[u8]) -> Result<String, &'static str> {
    let parser = Parser::new(value);
    let text = if DICTIONARIES.contains(&name) {
        parser.parse::<sfv::Dictionary>().map(|field| field.serialize().unwrap_or_default())
    } else if LISTS.contains(&name) {
        parser.parse::<sfv::List>().map(|field| field.serialize().unwrap_or_default())
    } else if ITEMS.contains(&name) {
        parser.parse::<sfv::Item>().map(|field| field.serialize())
    } else {
        return Err("the field is not known as a structured field");
    };
    text.map_err(|_| "the field is no structured field of its type")
}

fn dictionary_member(value: &[u8], key: &str) -> Result<String, &'static str> {
    let dictionary: sfv::Dictionary = Parser::new(value).parse().map_err(|_| "the field is no dictionary")?;
    let member = dictionary.get(key).ok_or("the dictionary has no such member")?;
    // A list of one member is serialized as that member (RFC 9651 sections 4.1.1 and 4.1.2).
    Ok(vec![member.clone()].serialize().unwrap_or_default())
}
