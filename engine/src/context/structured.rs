//! Structured-field dictionaries (RFC 9651) with nothing lost: duplicates stay visible.
//!
//! RFC 9651 section 4.2.2 lets the last of several members of one name win. Two readers that disagree on that disagree
//! on what was signed, so everything Exeat reads itself refuses duplicates. `sfv` parses; its visitors show every
//! occurrence, which its own `Dictionary` does not.

use crate::order;
use sfv::visitor::{DictionaryVisitor, EntryVisitor, InnerListVisitor, ItemVisitor, ParameterVisitor};
use sfv::{BareItem, BareItemFromInput, Key, KeyRef, Parser};
use std::convert::Infallible;
use std::fmt;

/// Parameters in the order received, duplicates included.
pub(crate) type Parameters = Vec<(Key, BareItem)>;

/// A bare item with its parameters.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item {
    pub(crate) value: BareItem,
    pub(crate) parameters: Parameters,
}

/// An inner list with its parameters.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct InnerList {
    pub(crate) items: Vec<Item>,
    pub(crate) parameters: Parameters,
}

/// The value of a dictionary member.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Member {
    Item(Item),
    InnerList(InnerList),
}

/// How much of a field is read before it is refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Bytes of the whole field.
    pub(crate) bytes: usize,
    /// Members of the dictionary.
    pub(crate) members: usize,
    /// Items of one inner list.
    pub(crate) items: usize,
    /// Parameters of one item or inner list.
    pub(crate) parameters: usize,
}

/// Why a field is not a dictionary without duplicates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DictionaryError {
    /// The member at fault, where it is known.
    pub(crate) member: Option<String>,
    /// What is wrong with it.
    pub(crate) problem: String,
}

/// Parses a dictionary whose members are distinct.
pub(crate) fn parse_dictionary(field: &[u8], bounds: Bounds) -> Result<Vec<(Key, Member)>, DictionaryError> {
    if field.len() > bounds.bytes {
        let problem = format!("{} bytes, where at most {} are read", field.len(), bounds.bytes);
        return Err(DictionaryError { member: None, problem });
    }
    let members = Parser::new(field)
        .parse_dictionary_with_visitor(Collect { members: Vec::new(), bounds })
        .map_err(|error| DictionaryError { member: None, problem: error.to_string() })?;
    let mut names: Vec<&str> = members.iter().map(|(key, _)| key.as_str()).collect();
    match first_duplicate(&mut names) {
        Some(name) => Err(DictionaryError { member: Some(name.to_owned()), problem: "occurs twice".to_owned() }),
        None => Ok(members),
    }
}

/// Some name that occurs more than once. Sorts the names.
pub(crate) fn first_duplicate<'a>(names: &mut [&'a str]) -> Option<&'a str> {
    order::sort(names);
    names.array_windows().find(|[a, b]| a == b).map(|[a, _]| *a)
}

/// Some parameter name that occurs more than once.
pub(crate) fn duplicate_parameter(parameters: &Parameters) -> Option<&str> {
    let mut names: Vec<&str> = parameters.iter().map(|(key, _)| key.as_str()).collect();
    first_duplicate(&mut names)
}

/// Canonical text of an item (RFC 9651 section 4.1.3).
pub(crate) fn serialize_item(item: &Item) -> String {
    sfv::ItemSerializer::new().bare_item(&item.value).parameters(borrowed(&item.parameters)).finish()
}

/// Canonical text of an inner list (RFC 9651 section 4.1.1.1).
pub(crate) fn serialize_inner_list(list: &InnerList) -> String {
    let mut serializer = sfv::ListSerializer::new();
    let mut inner = serializer.inner_list();
    for item in &list.items {
        inner.bare_item(&item.value).parameters(borrowed(&item.parameters));
    }
    inner.finish().parameters(borrowed(&list.parameters));
    // `None` stands for a list without members; this one has one.
    serializer.finish().unwrap_or_default()
}

fn borrowed(parameters: &Parameters) -> impl Iterator<Item = (&KeyRef, &BareItem)> {
    parameters.iter().map(|(key, value)| (&**key, value))
}

/// A bound of [`Bounds`] was exceeded.
#[derive(Clone, Copy, Debug)]
enum TooMany {
    Members(usize),
    Items(usize),
    Parameters(usize),
}

impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Members(most) => write!(f, "more than {most} members"),
            Self::Items(most) => write!(f, "more than {most} items in a list"),
            Self::Parameters(most) => write!(f, "more than {most} parameters in one place"),
        }
    }
}

impl std::error::Error for TooMany {}

struct Collect {
    members: Vec<(Key, Member)>,
    bounds: Bounds,
}

impl<'de> DictionaryVisitor<'de> for Collect {
    type Out = Vec<(Key, Member)>;
    type Error = TooMany;

    fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, TooMany> {
        if self.members.len() >= self.bounds.members {
            return Err(TooMany::Members(self.bounds.members));
        }
        Ok(CollectEntry { key: key.to_owned(), collect: self })
    }

    fn finish(self) -> Result<Self::Out, TooMany> {
        Ok(self.members)
    }
}

struct CollectEntry<'a> {
    key: Key,
    collect: &'a mut Collect,
}

impl<'de> EntryVisitor<'de> for CollectEntry<'_> {
    type Error = Infallible;

    fn item(self) -> Result<impl ItemVisitor<'de>, Infallible> {
        let bounds = self.collect.bounds;
        let done = |item| self.collect.members.push((self.key, Member::Item(item)));
        Ok(CollectItem { bounds, done })
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Infallible> {
        Ok(CollectInnerList { entry: self, items: Vec::new() })
    }
}

struct CollectItem<F> {
    bounds: Bounds,
    done: F,
}

impl<'de, F: FnOnce(Item)> ItemVisitor<'de> for CollectItem<F> {
    type Out = ();
    type Error = Infallible;

    fn bare_item(self, value: BareItemFromInput<'de>) -> Result<impl ParameterVisitor<'de, Out = ()>, Infallible> {
        let value = BareItem::from(value);
        let done = |parameters| (self.done)(Item { value, parameters });
        Ok(CollectParameters { parameters: Vec::new(), most: self.bounds.parameters, done })
    }
}

struct CollectInnerList<'a> {
    entry: CollectEntry<'a>,
    items: Vec<Item>,
}

impl<'de> InnerListVisitor<'de> for CollectInnerList<'_> {
    type Error = TooMany;

    fn item(&mut self) -> Result<impl ItemVisitor<'de>, TooMany> {
        let bounds = self.entry.collect.bounds;
        if self.items.len() >= bounds.items {
            return Err(TooMany::Items(bounds.items));
        }
        Ok(CollectItem { bounds, done: |item| self.items.push(item) })
    }

    fn finish(self) -> Result<impl ParameterVisitor<'de>, TooMany> {
        let (CollectEntry { key, collect }, items) = (self.entry, self.items);
        let most = collect.bounds.parameters;
        let done = |parameters| collect.members.push((key, Member::InnerList(InnerList { items, parameters })));
        Ok(CollectParameters { parameters: Vec::new(), most, done })
    }
}

struct CollectParameters<F> {
    parameters: Parameters,
    most: usize,
    done: F,
}

impl<'de, F: FnOnce(Parameters)> ParameterVisitor<'de> for CollectParameters<F> {
    type Out = ();
    type Error = TooMany;

    fn parameter(&mut self, key: &'de KeyRef, value: BareItemFromInput<'de>) -> Result<(), TooMany> {
        if self.parameters.len() >= self.most {
            return Err(TooMany::Parameters(self.most));
        }
        self.parameters.push((key.to_owned(), BareItem::from(value)));
        Ok(())
    }

    fn finish(self) -> Result<(), TooMany> {
        (self.done)(self.parameters);
        Ok(())
    }
}
