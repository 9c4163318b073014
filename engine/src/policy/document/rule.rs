//! Rules: what they name and what they demand.

use super::budget::{BudgetList, Bytes, Hosts, Requests};
use super::exception::ExceptionDocument;
use super::parameter::ParameterDocument;
use super::values::{ByteSize, Moment, Named, OneOrMany};
use crate::context::Provenance;
use crate::policy::Mode;
use crate::policy::error::quoted;
use crate::policy::read::list_of;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// An allow rule. Every key must fit; the values of a key are alternatives.
#[derive(Clone, Debug, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AllowDocument {
    /// Name within the agent.
    pub id: String,
    /// Destinations.
    pub to: Selector,
    /// Methods. Absent: GET and HEAD.
    pub methods: Option<OneOrMany<String>>,
    /// Paths.
    pub paths: OneOrMany<String>,
    /// Members of the context.
    #[serde(default)]
    pub when: Named<OneOrMany<String>>,
    /// How the context must be bound to the request. Absent: signed with it.
    pub binding: Option<OneOrMany<BindingName>>,
    /// Sizes.
    #[serde(default)]
    pub limits: LimitsDocument,
    /// Headers.
    #[serde(default)]
    pub headers: HeadersDocument,
    /// Past it the rule fits nothing.
    pub expires: Option<Moment>,
    /// Whether refusals of what this rule covers are enforced.
    pub mode: Option<Mode>,
    /// Values that parameters must have.
    pub parameters: Option<Vec<ParameterDocument>>,
    /// Places of the body that are blanked.
    pub redact: Option<OneOrMany<String>>,
    /// Places of the body that are replaced by tokens.
    pub tokenize: Option<OneOrMany<String>>,
    /// An approved deviation.
    pub exception: Option<ExceptionDocument>,
}

/// A deny rule. Every key must fit; an absent key fits everything.
#[derive(Clone, Debug, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DenyDocument {
    /// Name within the agent.
    pub id: String,
    /// Destinations.
    pub to: Selector,
    /// Methods. Absent: all.
    pub methods: Option<OneOrMany<String>>,
    /// Paths. Absent: all.
    pub paths: Option<OneOrMany<String>>,
    /// Members of the context.
    #[serde(default)]
    pub when: Named<OneOrMany<String>>,
    /// Past it the rule fits nothing.
    pub expires: Option<Moment>,
    /// Whether it is enforced.
    pub mode: Option<Mode>,
    /// Values that parameters must have.
    pub parameters: Option<Vec<ParameterDocument>>,
}

/// A deny rule of the ceilings: it has no mode and no end.
#[derive(Clone, Debug, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CeilingDenyDocument {
    /// Name within the ceilings.
    pub id: String,
    /// Destinations.
    pub to: Selector,
    /// Methods. Absent: all.
    pub methods: Option<OneOrMany<String>>,
    /// Paths. Absent: all.
    pub paths: Option<OneOrMany<String>>,
    /// Members of the context.
    #[serde(default)]
    pub when: Named<OneOrMany<String>>,
    /// Values that parameters must have.
    pub parameters: Option<Vec<ParameterDocument>>,
}

/// How a context may be bound, as a rule names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum BindingName {
    /// Signed with the request.
    Request,
    /// A bearer token of the session.
    Session,
    /// Signed for the CONNECT around it. Not built yet.
    Tunnel,
}

/// Which destinations: a list of ids, or a map of `id`, `category`, `kind`, all of which must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Ids, as a list or under `id`.
    pub ids: Option<Vec<String>>,
    /// Categories.
    pub categories: Option<Vec<String>>,
    /// Kinds.
    pub kinds: Option<Vec<String>>,
    /// Whether ids were written as a plain list: errors point at the right place.
    pub plain: bool,
}

impl<'de> Deserialize<'de> for Selector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Keys {
            id: Option<OneOrMany<String>>,
            category: Option<OneOrMany<String>>,
            kind: Option<OneOrMany<String>>,
        }

        struct SelectorVisitor;
        impl<'de> Visitor<'de> for SelectorVisitor {
            type Value = Selector;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of destinations such as [crm], or a map such as {category: crm}")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Selector, E> {
                let (found, list) = (quoted(text), list_of(text));
                Err(E::custom(format_args!("expected a list of destinations, found the text {found}\nwrite {list}")))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Selector, A::Error> {
                let ids = OneOrMany::deserialize(de::value::SeqAccessDeserializer::new(items))?;
                Ok(Selector { ids: Some(ids.0), plain: true, ..Selector::default() })
            }
            fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Selector, A::Error> {
                let keys = Keys::deserialize(de::value::MapAccessDeserializer::new(entries))?;
                if keys.id.is_none() && keys.category.is_none() && keys.kind.is_none() {
                    return Err(de::Error::custom("an empty map names no destination\nadd id, category or kind"));
                }
                let list = |values: Option<OneOrMany<String>>| values.map(|values| values.0);
                Ok(Selector {
                    ids: list(keys.id),
                    categories: list(keys.category),
                    kinds: list(keys.kind),
                    plain: false,
                })
            }
        }
        deserializer.deserialize_any(SelectorVisitor)
    }
}

/// Sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SizesDocument {
    /// Body.
    pub body: Option<ByteSize>,
    /// Path and query.
    pub url: Option<ByteSize>,
    /// Any one header value that goes on.
    pub header: Option<ByteSize>,
    /// All header values that go on.
    pub headers: Option<ByteSize>,
    /// Path, query, headers that go on and body together.
    pub total: Option<ByteSize>,
}

/// Sizes, sizes by source, budgets.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LimitsDocument {
    /// Body.
    pub body: Option<ByteSize>,
    /// Path and query.
    pub url: Option<ByteSize>,
    /// Any one header value that goes on.
    pub header: Option<ByteSize>,
    /// All header values that go on.
    pub headers: Option<ByteSize>,
    /// Path, query, headers that go on and body together.
    pub total: Option<ByteSize>,
    /// Sizes by source.
    #[serde(default)]
    pub provenance: Named<SizesDocument, Provenance>,
    /// Budget of requests.
    pub requests: Option<BudgetList<Requests>>,
    /// Budget of bytes.
    pub bytes: Option<BudgetList<Bytes>>,
    /// Budget of distinct hosts.
    pub hosts: Option<BudgetList<Hosts>>,
}

/// Sizes and budgets where nothing nearer is said.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DefaultLimitsDocument {
    /// Body.
    pub body: Option<ByteSize>,
    /// Path and query.
    pub url: Option<ByteSize>,
    /// Any one header value that goes on.
    pub header: Option<ByteSize>,
    /// All header values that go on.
    pub headers: Option<ByteSize>,
    /// Path, query, headers that go on and body together.
    pub total: Option<ByteSize>,
    /// Budget of requests of each rule that states none.
    pub requests: Option<BudgetList<Requests>>,
    /// Budget of bytes, likewise.
    pub bytes: Option<BudgetList<Bytes>>,
    /// Budget of distinct hosts, likewise.
    pub hosts: Option<BudgetList<Hosts>>,
}

impl DefaultLimitsDocument {
    /// The sizes alone.
    pub fn sizes(&self) -> SizesDocument {
        let Self { body, url, header, headers, total, .. } = *self;
        SizesDocument { body, url, header, headers, total }
    }
}

impl LimitsDocument {
    /// The sizes alone.
    pub fn sizes(&self) -> SizesDocument {
        let Self { body, url, header, headers, total, .. } = *self;
        SizesDocument { body, url, header, headers, total }
    }
}

/// Headers of an allow rule.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct HeadersDocument {
    /// Headers of the request that go on besides the built-in ones.
    pub keep: Option<OneOrMany<String>>,
    /// Headers the gateway sets: text, or a member of the context such as `$agent`.
    #[serde(default)]
    pub set: Named<String>,
    /// Built-in headers that do not go on.
    pub remove: Option<OneOrMany<String>>,
}
