//! Which destinations a rule names: by id, category or kind.

use super::document::rule::Selector;
use super::error::{Place, PolicyError, Problems, did_you_mean, quoted};
use crate::destination::PathOpenings;
use crate::order;
use std::collections::HashMap;

/// Categories and kinds as numbers, so that a look-up compares no text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Words {
    numbers: HashMap<String, u32>,
}

impl Words {
    pub(crate) fn number(&mut self, word: &str) -> u32 {
        let next = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
        *self.numbers.entry(word.to_owned()).or_insert(next)
    }

    fn find(&self, word: &str, what: &str) -> Found {
        self.numbers.get(word).copied().ok_or_else(|| {
            let remedy = nearest_key(word, &self.numbers)
                .unwrap_or_else(|| format!("give a destination this {what}, or remove it here"));
            (format!("no destination has the {what} {}", quoted(word)), remedy)
        })
    }
}

/// Sorted first, so that a message never depends on the order of a hash map.
fn nearest_key<K: AsRef<str>>(given: &str, known: &HashMap<K, u32>) -> Option<String> {
    let mut known: Vec<&str> = known.keys().map(AsRef::as_ref).collect();
    order::sort(&mut known);
    did_you_mean(given, known.into_iter())
}

/// What selectors can refer to.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    /// Ids of all destinations, compiled or not, with their index.
    pub(crate) ids: HashMap<Box<str>, u32>,
    pub(crate) categories: Words,
    pub(crate) kinds: Words,
    /// What each compiled destination opens in paths.
    pub(crate) opened: Vec<(Label, PathOpenings)>,
}

impl Directory {
    fn id(&self, id: &str) -> Found {
        self.ids.get(id).copied().ok_or_else(|| {
            let remedy =
                nearest_key(id, &self.ids).unwrap_or_else(|| "add it to destinations, or remove it here".to_owned());
            (format!("no destination {}", quoted(id)), remedy)
        })
    }
}

/// A set of destinations: what every stated key names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DestinationSet {
    /// Sorted.
    ids: Option<Vec<u32>>,
    categories: Option<Vec<u32>>,
    kinds: Option<Vec<u32>>,
}

/// How a destination is named by selectors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Label {
    pub(crate) index: u32,
    pub(crate) category: Option<u32>,
    pub(crate) kind: Option<u32>,
}

impl DestinationSet {
    pub(crate) fn contains(&self, label: Label) -> bool {
        let named = |set: &Option<Vec<u32>>, word: Option<u32>| {
            set.as_ref().is_none_or(|set| word.is_some_and(|word| set.contains(&word)))
        };
        self.ids.as_ref().is_none_or(|ids| ids.binary_search(&label.index).is_ok())
            && named(&self.categories, label.category)
            && named(&self.kinds, label.kind)
    }

    /// The destinations named one by one; none where the selector speaks of categories or kinds alone.
    pub(crate) fn ids(&self) -> &[u32] {
        self.ids.as_deref().unwrap_or_default()
    }

    /// Notes every name that no destination has.
    pub(crate) fn compile(
        selector: &Selector,
        directory: &Directory,
        place: &Place<'_>,
        problems: &mut Problems,
    ) -> Self {
        let mut list = |texts: &Option<Vec<String>>, place: &Place<'_>, find: &dyn Fn(&str) -> Found| {
            texts.as_ref().map(|texts| {
                let mut numbers = Vec::with_capacity(texts.len());
                for (i, text) in texts.iter().enumerate() {
                    match find(text) {
                        Ok(number) => numbers.push(number),
                        Err((problem, remedy)) => problems.note(place.index(i).error(problem, remedy, "")),
                    }
                }
                order::sort(&mut numbers);
                numbers.dedup();
                numbers
            })
        };
        let ids = if selector.plain { *place } else { place.key("id") };
        Self {
            ids: list(&selector.ids, &ids, &|id| directory.id(id)),
            categories: list(&selector.categories, &place.key("category"), &|word| {
                directory.categories.find(word, "category")
            }),
            kinds: list(&selector.kinds, &place.key("kind"), &|word| directory.kinds.find(word, "kind")),
        }
    }

    /// As [`DestinationSet::compile`], but a category or kind that no destination has yet is let be: a ceiling may
    /// stand before what it forbids.
    pub(crate) fn compile_ceiling(
        selector: &Selector,
        directory: &mut Directory,
        place: &Place<'_>,
        problems: &mut Problems,
    ) -> Self {
        for word in selector.categories.iter().flatten() {
            directory.categories.number(word);
        }
        for word in selector.kinds.iter().flatten() {
            directory.kinds.number(word);
        }
        Self::compile(selector, directory, place, problems)
    }
}

/// A number, or problem and remedy.
type Found = Result<u32, (String, String)>;

/// Names of things people define: short, and safe in pointers, records and logs.
pub(crate) fn check_id(text: &str, what: &str, place: &Place<'_>) -> Result<(), PolicyError> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/');
    if (1..=128).contains(&text.len()) && text.bytes().all(fits) && !text.starts_with('/') && !text.ends_with('/') {
        return Ok(());
    }
    Err(place.error(
        format!("{} is not a name of {what}", quoted(text)),
        "write 1 to 128 letters, digits, dots, underscores, hyphens or inner slashes",
        "",
    ))
}
