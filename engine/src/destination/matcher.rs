//! All hosts of a policy at once: names in one hash table, addresses in tables of their own.
//!
//! One pass over a host, from the right, finds every pattern that fits, each at a label's edge, whatever the number of
//! patterns.

mod table;

use super::{CanonicalHost, Cidr, HostPattern, HostSpecificity};
use crate::order;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use table::Table;

/// All hosts of a policy, each with the values its caller gave it. A look-up takes some 0.2 us.
#[derive(Clone, Default)]
pub struct HostMatcher {
    names: Index,
    addresses: BTreeMap<IpAddr, Vec<u32>>,
    ranges: BTreeMap<Cidr, Vec<u32>>,
    /// The prefix lengths that occur in `ranges`, longest first.
    prefixes: Vec<u8>,
    any: Vec<u32>,
}

/// How names are found.
#[derive(Clone)]
enum Index {
    /// Not yet: what was added.
    Collected(Names),
    Table(Table),
}

impl Default for Index {
    fn default() -> Self {
        Self::Collected(Names::default())
    }
}

/// Names as they were added.
#[derive(Clone, Default)]
struct Names {
    /// All names, one after the other.
    text: Vec<u8>,
    entries: Vec<Entry>,
}

impl Names {
    fn bytes_of(&self, entry: Entry) -> &[u8] {
        let start = usize::try_from(entry.start).unwrap_or(usize::MAX);
        self.text.get(start..start.saturating_add(entry.length.into())).unwrap_or_default()
    }

    fn memory_usage(&self) -> usize {
        self.text.capacity().saturating_add(self.entries.capacity().saturating_mul(size_of::<Entry>()))
    }
}

/// A name, alone or with all under it, and one value.
#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u32,
    length: u8,
    under: bool,
    value: u32,
}

/// A pattern that fits a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostMatch {
    /// How closely it fits.
    pub specificity: HostSpecificity,
    /// What the caller gave with the pattern.
    pub value: u32,
}

/// Why no matcher can be built: the names together have more bytes than are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostMatcherError;

impl fmt::Display for HostMatcherError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many host names for one matcher")
    }
}

impl std::error::Error for HostMatcherError {}

/// The most bytes of all names together, so that every offset and number fits.
const MOST_TEXT: usize = 1 << 30;

impl HostMatcher {
    /// Builds the matcher. A pattern may occur several times with different values.
    pub fn build(patterns: impl IntoIterator<Item = (HostPattern, u32)>) -> Result<Self, HostMatcherError> {
        let mut matcher = Self::default();
        patterns.into_iter().try_for_each(|(pattern, value)| matcher.add(&pattern, value))?;
        Ok(matcher.finish())
    }

    /// Adds a pattern. It is found once [`HostMatcher::finish`] was called.
    pub fn add(&mut self, pattern: &HostPattern, value: u32) -> Result<(), HostMatcherError> {
        let values = match pattern {
            HostPattern::Exact(name) => return self.add_name(name.as_str(), false, value),
            HostPattern::Under(name) => return self.add_name(name.as_str(), true, value),
            HostPattern::Address(address) => self.addresses.entry(*address).or_default(),
            HostPattern::Range(range) => {
                self.prefixes.push(range.prefix());
                self.ranges.entry(*range).or_default()
            }
            HostPattern::Any => &mut self.any,
        };
        // Once a value, and in ascending order.
        if let Err(place) = values.binary_search(&value) {
            values.insert(place, value);
        }
        Ok(())
    }

    fn add_name(&mut self, name: &str, under: bool, value: u32) -> Result<(), HostMatcherError> {
        let Index::Collected(names) = &mut self.names else { return Err(HostMatcherError) };
        if names.text.len() > MOST_TEXT {
            return Err(HostMatcherError);
        }
        let start = u32::try_from(names.text.len()).map_err(|_| HostMatcherError)?;
        let length = u8::try_from(name.len()).map_err(|_| HostMatcherError)?;
        names.text.extend_from_slice(name.as_bytes());
        names.entries.push(Entry { start, length, under, value });
        Ok(())
    }

    /// Makes everything that was added findable. Nothing is added afterwards.
    #[must_use]
    pub fn finish(mut self) -> Self {
        order::sort_by(&mut self.prefixes, |a, b| b.cmp(a));
        self.prefixes.dedup();
        if let Index::Collected(names) = &mut self.names {
            let mut names = std::mem::take(names);
            names.text.shrink_to_fit();
            names.entries.shrink_to_fit();
            self.names = Index::Table(Table::build(names));
        }
        self
    }

    /// Every pattern that fits, the closest first; those that fit equally in ascending order of their values.
    pub fn find(&self, host: &CanonicalHost) -> Vec<HostMatch> {
        let mut found = Vec::new();
        match host {
            CanonicalHost::Name(name) => self.find_name(name.as_str().as_bytes(), &mut found),
            CanonicalHost::Ipv4(address) => self.find_address((*address).into(), &mut found),
            CanonicalHost::Ipv6(address) => self.find_address((*address).into(), &mut found),
        }
        found
    }

    /// Bytes on the heap, without the tables of addresses.
    pub fn memory_usage(&self) -> usize {
        match &self.names {
            Index::Collected(names) => names.memory_usage(),
            Index::Table(table) => table.memory_usage(),
        }
    }

    fn find_name(&self, name: &[u8], found: &mut Vec<HostMatch>) {
        push(found, HostSpecificity::Any, &self.any);
        match &self.names {
            Index::Collected(_) => {}
            Index::Table(table) => table.find(name, found),
        }
        order::sort_by(found, |a, b| b.specificity.cmp(&a.specificity).then(a.value.cmp(&b.value)));
        found.dedup();
    }

    fn find_address(&self, address: IpAddr, found: &mut Vec<HostMatch>) {
        if let Some(values) = self.addresses.get(&address) {
            push(found, HostSpecificity::Exact, values);
        }
        for prefix in self.prefixes.iter().copied() {
            let range = Cidr::around(address, prefix);
            // A longer prefix than the address has bits is one of the other family.
            if range.prefix() == prefix
                && let Some(values) = self.ranges.get(&range)
            {
                push(found, HostSpecificity::Range(prefix), values);
            }
        }
    }
}

impl fmt::Debug for HostMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, names) = match &self.names {
            Index::Collected(names) => ("collected", names.entries.len()),
            Index::Table(table) => ("table", table.len()),
        };
        f.debug_struct("HostMatcher")
            .field(kind, &names)
            .field("addresses", &self.addresses.len())
            .field("ranges", &self.ranges.len())
            .field("any", &self.any.len())
            .finish_non_exhaustive()
    }
}

fn push(found: &mut Vec<HostMatch>, specificity: HostSpecificity, values: &[u32]) {
    found.extend(values.iter().map(|value| HostMatch { specificity, value: *value }));
}
