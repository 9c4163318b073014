//! All hosts of a policy at once: one aho-corasick automaton for the names, tables for the addresses.
//!
//! Names are stored from the right, `api.example.com` as `⊢moc.elpmaxe.ipa⊣` and `*.example.com` as `⊢moc.elpmaxe.`, and
//! a host is read from the right. Every pattern that fits is then a prefix of the text, so that one walk from the anchor
//! finds them all, and the dot or `⊣` at the end keeps each at a label's edge. `⊢` occurs nowhere but at the start: no
//! pattern is a suffix of another's prefix, the automaton has no failure links worth following and no copied matches, and
//! is a compact trie that is built in linear time.

use super::{CanonicalHost, Cidr, HostPattern, HostSpecificity};
use aho_corasick::Anchored;
use aho_corasick::automaton::Automaton;
use aho_corasick::nfa::contiguous;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// `⊢`. Not a byte of a host name.
const START: u8 = 0x01;

/// `⊣`. Not a byte of a host name.
const END: u8 = 0x02;

/// All hosts of a policy, each with the values its caller gave it.
///
/// 100,000 names take some 20 MB and a third of a second to build; a look-up takes some 0.2 us.
#[derive(Clone, Default)]
pub struct HostMatcher {
    names: Option<contiguous::NFA>,
    /// The values of each pattern of `names`, by its number.
    values: Vec<Vec<u32>>,
    addresses: BTreeMap<IpAddr, Vec<u32>>,
    ranges: BTreeMap<Cidr, Vec<u32>>,
    /// The prefix lengths that occur in `ranges`, longest first.
    prefixes: Vec<u8>,
    any: Vec<u32>,
}

/// A pattern that fits a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostMatch {
    /// How closely it fits.
    pub specificity: HostSpecificity,
    /// What the caller gave with the pattern.
    pub value: u32,
}

/// Why no matcher can be built: the names need more states than an automaton can have.
#[derive(Clone, Debug)]
pub struct HostMatcherError(aho_corasick::BuildError);

impl fmt::Display for HostMatcherError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "too many host names for one automaton: {}", self.0)
    }
}

impl std::error::Error for HostMatcherError {}

impl HostMatcher {
    /// Builds the matcher. A pattern may occur several times with different values.
    pub fn build(patterns: impl IntoIterator<Item = (HostPattern, u32)>) -> Result<Self, HostMatcherError> {
        let mut matcher = Self::default();
        let mut names: BTreeMap<Vec<u8>, Vec<u32>> = BTreeMap::new();
        for (pattern, value) in patterns {
            let values = match &pattern {
                HostPattern::Exact(name) => names.entry(reversed(name.as_str(), END)).or_default(),
                HostPattern::Under(name) => names.entry(reversed(name.as_str(), b'.')).or_default(),
                HostPattern::Address(address) => matcher.addresses.entry(*address).or_default(),
                HostPattern::Range(range) => {
                    matcher.prefixes.push(range.prefix());
                    matcher.ranges.entry(*range).or_default()
                }
                HostPattern::Any => &mut matcher.any,
            };
            // Once a value, and in ascending order.
            if let Err(place) = values.binary_search(&value) {
                values.insert(place, value);
            }
        }
        matcher.prefixes.sort_unstable_by(|a, b| b.cmp(a));
        matcher.prefixes.dedup();
        if !names.is_empty() {
            let automaton =
                contiguous::NFA::builder().prefilter(false).build(names.keys()).map_err(HostMatcherError)?;
            matcher.names = Some(automaton);
            matcher.values = names.into_values().collect();
        }
        Ok(matcher)
    }

    /// Every pattern that fits, the closest first; those that fit equally in ascending order of their values.
    pub fn find(&self, host: &CanonicalHost) -> Vec<HostMatch> {
        let mut found = Vec::new();
        match host {
            CanonicalHost::Name(name) => self.find_name(name.as_str(), &mut found),
            CanonicalHost::Ipv4(address) => self.find_address((*address).into(), &mut found),
            CanonicalHost::Ipv6(address) => self.find_address((*address).into(), &mut found),
        }
        found
    }

    /// Bytes on the heap, without the tables of addresses.
    pub fn memory_usage(&self) -> usize {
        let values: usize = self
            .values
            .iter()
            .map(|v| size_of::<Vec<u32>>().saturating_add(v.capacity().saturating_mul(size_of::<u32>())))
            .fold(0, usize::saturating_add);
        self.names.as_ref().map_or(0, |names| names.memory_usage()).saturating_add(values)
    }

    fn find_name(&self, name: &str, found: &mut Vec<HostMatch>) {
        push(found, HostSpecificity::Any, &self.any);
        if let Some(automaton) = &self.names {
            self.walk(automaton, name, found);
        }
        // The walk meets the shortest first. Values of one pattern are in ascending order, so the sort must be by
        // specificity alone, and stable.
        found.sort_by_key(|found| std::cmp::Reverse(found.specificity));
    }

    fn walk(&self, automaton: &contiguous::NFA, name: &str, found: &mut Vec<HostMatch>) {
        // A contiguous NFA supports anchored searches always.
        let Ok(start) = automaton.start_state(Anchored::Yes) else { return };
        let mut state = automaton.next_state(Anchored::Yes, start, START);
        let mut read = 0_u8;
        for byte in name.bytes().rev() {
            state = automaton.next_state(Anchored::Yes, state, byte);
            if automaton.is_dead(state) {
                return;
            }
            if byte == b'.' && automaton.is_match(state) {
                // The dot was read too; the name before it has `read` bytes.
                self.collect(automaton, state, HostSpecificity::Under(read), found);
            }
            read = read.saturating_add(1);
        }
        state = automaton.next_state(Anchored::Yes, state, END);
        if automaton.is_match(state) {
            self.collect(automaton, state, HostSpecificity::Exact, found);
        }
    }

    fn collect(
        &self,
        automaton: &contiguous::NFA,
        state: aho_corasick::automaton::StateID,
        specificity: HostSpecificity,
        found: &mut Vec<HostMatch>,
    ) {
        for index in 0..automaton.match_len(state) {
            let pattern = automaton.match_pattern(state, index);
            if let Some(values) = self.values.get(pattern.as_usize()) {
                push(found, specificity, values);
            }
        }
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
            .field("names", &self.values.len())
            .field("addresses", &self.addresses.len())
            .field("ranges", &self.ranges.len())
            .field("any", &self.any.len())
            .finish_non_exhaustive()
    }
}

fn push(found: &mut Vec<HostMatch>, specificity: HostSpecificity, values: &[u32]) {
    found.extend(values.iter().map(|value| HostMatch { specificity, value: *value }));
}

fn reversed(name: &str, end: u8) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len().saturating_add(2));
    bytes.push(START);
    bytes.extend(name.bytes().rev());
    bytes.push(end);
    bytes
}
