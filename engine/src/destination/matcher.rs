//! All hosts of a policy at once: one hash table for the names, tables for the addresses.
//!
//! A name is read from the right, hashed as it is read; at each dot, what was read so far may be a name under which others
//! are open, and at the end the whole may be a name itself. So one pass over a host finds every pattern that fits, each
//! at a label's edge, whatever the number of patterns. What has the same hash is compared byte by byte; the table is filled
//! by the policy alone, so that no agent can make it slow.
//!
//! An aho-corasick automaton over reversed names finds the same, and lost: of 100,000 names it takes three times the memory
//! to keep, ten times to build, and longer to build than all the rest of a policy (docs/performance.md).

use super::{CanonicalHost, Cidr, HostPattern, HostSpecificity};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// All hosts of a policy, each with the values its caller gave it.
///
/// 100,000 names of 35 bytes take 6 MB; a look-up takes some 0.2 us.
#[derive(Clone, Default)]
pub struct HostMatcher {
    /// All names, one after the other.
    text: Vec<u8>,
    names: Vec<Entry>,
    /// Numbers of entries plus one, by hash; 0 is free. A power of two long, at most half full.
    table: Vec<u32>,
    addresses: BTreeMap<IpAddr, Vec<u32>>,
    ranges: BTreeMap<Cidr, Vec<u32>>,
    /// The prefix lengths that occur in `ranges`, longest first.
    prefixes: Vec<u8>,
    any: Vec<u32>,
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

/// FNV-1a, 64 bits: fast on short names, and the table's content is no attacker's to choose.
const HASH_START: u64 = 0xcbf2_9ce4_8422_2325;
const HASH_PRIME: u64 = 0x0000_0100_0000_01b3;

const fn hash_on(hash: u64, byte: u8) -> u64 {
    (hash ^ byte as u64).wrapping_mul(HASH_PRIME)
}

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
        if self.text.len() > MOST_TEXT {
            return Err(HostMatcherError);
        }
        let start = u32::try_from(self.text.len()).map_err(|_| HostMatcherError)?;
        let length = u8::try_from(name.len()).map_err(|_| HostMatcherError)?;
        self.text.extend_from_slice(name.as_bytes());
        self.names.push(Entry { start, length, under, value });
        Ok(())
    }

    /// Makes everything that was added findable.
    #[must_use]
    pub fn finish(mut self) -> Self {
        self.prefixes.sort_unstable_by(|a, b| b.cmp(a));
        self.prefixes.dedup();
        self.text.shrink_to_fit();
        self.names.shrink_to_fit();
        self.table = vec![0; self.names.len().saturating_mul(2).next_power_of_two()];
        for (number, entry) in (1..).zip(&self.names) {
            let hash = bytes_of(&self.text, *entry).iter().rev().fold(HASH_START, |hash, byte| hash_on(hash, *byte));
            let mut slot = self.slot(hash, entry.under);
            // INVARIANT: half of the table is free.
            while self.table.get(slot).is_some_and(|number| *number != 0) {
                slot = self.next(slot);
            }
            if let Some(free) = self.table.get_mut(slot) {
                *free = number;
            }
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
        let names = self.names.capacity().saturating_mul(size_of::<Entry>());
        let table = self.table.capacity().saturating_mul(size_of::<u32>());
        self.text.capacity().saturating_add(names).saturating_add(table)
    }

    fn find_name(&self, name: &[u8], found: &mut Vec<HostMatch>) {
        push(found, HostSpecificity::Any, &self.any);
        let mut hash = HASH_START;
        for (at, byte) in name.iter().copied().enumerate().rev() {
            if byte == b'.' {
                let parent = name.get(at.saturating_add(1)..).unwrap_or_default();
                let length = u8::try_from(parent.len()).unwrap_or(u8::MAX);
                self.probe(hash, parent, true, HostSpecificity::Under(length), found);
            }
            hash = hash_on(hash, byte);
        }
        self.probe(hash, name, false, HostSpecificity::Exact, found);
        found.sort_unstable_by(|a, b| b.specificity.cmp(&a.specificity).then(a.value.cmp(&b.value)));
        found.dedup();
    }

    /// Every entry of that very name.
    fn probe(&self, hash: u64, name: &[u8], under: bool, specificity: HostSpecificity, found: &mut Vec<HostMatch>) {
        let mut slot = self.slot(hash, under);
        while let Some(number) = self.table.get(slot).and_then(|number| number.checked_sub(1)) {
            let entry = usize::try_from(number).ok().and_then(|number| self.names.get(number));
            if let Some(entry) = entry.filter(|entry| entry.under == under && bytes_of(&self.text, **entry) == name) {
                found.push(HostMatch { specificity, value: entry.value });
            }
            slot = self.next(slot);
        }
    }

    fn slot(&self, hash: u64, under: bool) -> usize {
        let mixed = hash_on(hash, u8::from(under));
        let folded = (mixed ^ mixed >> 32) & u64::from(u32::MAX);
        usize::try_from(folded).unwrap_or_default() & self.table.len().saturating_sub(1)
    }

    fn next(&self, slot: usize) -> usize {
        slot.wrapping_add(1) & self.table.len().saturating_sub(1)
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
        f.debug_struct("HostMatcher")
            .field("names", &self.names.len())
            .field("addresses", &self.addresses.len())
            .field("ranges", &self.ranges.len())
            .field("any", &self.any.len())
            .finish_non_exhaustive()
    }
}

fn push(found: &mut Vec<HostMatch>, specificity: HostSpecificity, values: &[u32]) {
    found.extend(values.iter().map(|value| HostMatch { specificity, value: *value }));
}

fn bytes_of(text: &[u8], entry: Entry) -> &[u8] {
    let start = usize::try_from(entry.start).unwrap_or(usize::MAX);
    text.get(start..start.saturating_add(entry.length.into())).unwrap_or_default()
}
