//! Component identifiers (RFC 9421 sections 2.1 and 2.2), as far as they exist for requests.

use crate::context::structured::{self, Item, Parameters};
use crate::order;
use sfv::BareItem;

/// A covered component: a derived one, or a field.
#[derive(Clone, Debug, PartialEq)]
pub struct Component {
    kind: Kind,
    /// Canonical text of the identifier; it opens the component's line in the signature base.
    text: String,
    /// The text with parameters sorted, where there are several: name and parameters make two identifiers the same,
    /// whatever their order (RFC 9421 section 2).
    sorted: Option<String>,
}

/// What a component is the value of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Method,
    Authority,
    Scheme,
    TargetUri,
    RequestTarget,
    Path,
    Query,
    /// The named query parameter; the name is percent-encoded.
    QueryParam(String),
    Field {
        name: String,
        form: FieldForm,
    },
}

/// How the value of a field is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FieldForm {
    /// The lines, joined.
    Plain,
    /// `sf`: serialized anew as a structured field.
    Structured,
    /// `key`: one member of a dictionary.
    Member(String),
    /// `bs`: each line as a byte sequence.
    Bytes,
}

impl Component {
    /// Reads an identifier as it stands in `Signature-Input`, say `"@method"` or `"cookie";bs`. A name without quotes
    /// is taken too.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if !text.starts_with('"') {
            let name = sfv::String::from_string(text.to_owned()).map_err(|_| "is no component name")?;
            return Self::from_item(&Item { value: BareItem::String(name), parameters: Parameters::new() });
        }
        let item: sfv::Item = sfv::Parser::new(text).parse().map_err(|_| "is no component identifier")?;
        Self::from_item(&Item { value: item.bare_item, parameters: item.params.into_iter().collect() })
    }

    /// Reads an identifier from the list of a signature.
    pub(crate) fn from_item(item: &Item) -> Result<Self, &'static str> {
        let BareItem::String(name) = &item.value else {
            return Err("is not a string");
        };
        if structured::duplicate_parameter(&item.parameters).is_some() {
            return Err("has a parameter twice");
        }
        let kind = match name.as_str().strip_prefix('@') {
            Some(derived) => derived_kind(derived, &item.parameters)?,
            None => field_kind(name.as_str(), &item.parameters)?,
        };
        let sorted = (item.parameters.len() > 1).then(|| {
            let mut sorted = item.clone();
            order::sort_by(&mut sorted.parameters, |(a, _), (b, _)| a.as_str().cmp(b.as_str()));
            structured::serialize_item(&sorted)
        });
        Ok(Self { kind, text: structured::serialize_item(item), sorted })
    }

    /// Canonical text of the identifier.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn kind(&self) -> &Kind {
        &self.kind
    }

    pub(crate) fn identity(&self) -> &str {
        self.sorted.as_ref().unwrap_or(&self.text)
    }
}

fn derived_kind(name: &str, parameters: &Parameters) -> Result<Kind, &'static str> {
    if name == "query-param" {
        return match parameters.as_slice() {
            [(key, BareItem::String(value))] if key.as_str() == "name" => {
                Ok(Kind::QueryParam(value.as_str().to_owned()))
            }
            _ => Err("needs the parameter name, a string, and no other"),
        };
    }
    let kind = match name {
        "method" => Kind::Method,
        "authority" => Kind::Authority,
        "scheme" => Kind::Scheme,
        "target-uri" => Kind::TargetUri,
        "request-target" => Kind::RequestTarget,
        "path" => Kind::Path,
        "query" => Kind::Query,
        _ => return Err("is no derived component of a request"),
    };
    if parameters.is_empty() { Ok(kind) } else { Err("has a parameter, which this component does not take") }
}

fn field_kind(name: &str, parameters: &Parameters) -> Result<Kind, &'static str> {
    let is_field_name = !name.is_empty() && name.bytes().all(is_lower_tchar);
    if !is_field_name {
        return Err("is no field name in lower case");
    }
    let form = match parameters.as_slice() {
        [] => FieldForm::Plain,
        [(key, BareItem::Boolean(true))] if key.as_str() == "sf" => FieldForm::Structured,
        [(key, BareItem::Boolean(true))] if key.as_str() == "bs" => FieldForm::Bytes,
        [(key, BareItem::String(member))] if key.as_str() == "key" => FieldForm::Member(member.as_str().to_owned()),
        // `key` implies `sf`; some signers write both (RFC 9421 section 2.1.2).
        [(one, BareItem::Boolean(true)), (other, BareItem::String(member))]
        | [(other, BareItem::String(member)), (one, BareItem::Boolean(true))]
            if one.as_str() == "sf" && other.as_str() == "key" =>
        {
            FieldForm::Member(member.as_str().to_owned())
        }
        _ => return Err("has parameters other than sf, key or bs, alone, on a field of the request"),
    };
    Ok(Kind::Field { name: name.to_owned(), form })
}

/// `tchar` of RFC 9110 section 5.6.2 without upper case, which component names do not have.
fn is_lower_tchar(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
