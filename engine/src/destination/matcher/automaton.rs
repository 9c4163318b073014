//! Names in one aho-corasick automaton.
//!
//! They are stored from the right, `api.example.com` as `⊢moc.elpmaxe.ipa⊣` and `*.example.com` as `⊢moc.elpmaxe.`, and
//! a host is read from the right. Every pattern that fits is then a prefix of the text, so that one walk from the anchor
//! finds them all, and the dot or `⊣` at the end keeps each at a label's edge. `⊢` occurs nowhere but at the start: no
//! pattern is a suffix of another's prefix, the automaton has no failure links worth following and no copied matches, and
//! is a compact trie that is built in linear time.

use super::{HostMatch, HostSpecificity, Names};
use aho_corasick::Anchored;
use aho_corasick::automaton::{Automaton as _, StateID};
use aho_corasick::nfa::contiguous;
use std::collections::BTreeMap;

/// `⊢`. Not a byte of a host name.
const START: u8 = 0x01;

/// `⊣`. Not a byte of a host name.
const END: u8 = 0x02;

#[derive(Clone)]
pub(super) struct Automaton {
    names: contiguous::NFA,
    /// The values of each pattern, by its number.
    values: Vec<Vec<u32>>,
}

impl Automaton {
    /// `None` where the names need more states than an automaton can have.
    pub(super) fn build(names: &Names) -> Option<Self> {
        let mut patterns: BTreeMap<Vec<u8>, Vec<u32>> = BTreeMap::new();
        for entry in &names.entries {
            let end = if entry.under { b'.' } else { END };
            let reversed = names.bytes_of(*entry).iter().rev().copied();
            let pattern = [START].into_iter().chain(reversed).chain([end]).collect();
            patterns.entry(pattern).or_default().push(entry.value);
        }
        let automaton = contiguous::NFA::builder().prefilter(false).build(patterns.keys()).ok()?;
        Some(Self { names: automaton, values: patterns.into_values().collect() })
    }

    pub(super) fn memory_usage(&self) -> usize {
        let of = |values: &Vec<u32>| values.capacity().saturating_mul(size_of::<u32>());
        let values = self.values.iter().map(of).fold(0, usize::saturating_add);
        let lists = self.values.capacity().saturating_mul(size_of::<Vec<u32>>());
        self.names.memory_usage().saturating_add(values).saturating_add(lists)
    }

    pub(super) fn len(&self) -> usize {
        self.values.iter().map(Vec::len).sum()
    }

    /// Every entry that fits, in no order.
    pub(super) fn find(&self, name: &[u8], found: &mut Vec<HostMatch>) {
        // A contiguous NFA supports anchored searches always.
        let Ok(start) = self.names.start_state(Anchored::Yes) else { return };
        let mut state = self.names.next_state(Anchored::Yes, start, START);
        let mut read = 0_u8;
        for byte in name.iter().rev() {
            state = self.names.next_state(Anchored::Yes, state, *byte);
            if self.names.is_dead(state) {
                return;
            }
            if *byte == b'.' && self.names.is_match(state) {
                // The dot was read too; the name before it has `read` bytes.
                self.collect(state, HostSpecificity::Under(read), found);
            }
            read = read.saturating_add(1);
        }
        state = self.names.next_state(Anchored::Yes, state, END);
        if self.names.is_match(state) {
            self.collect(state, HostSpecificity::Exact, found);
        }
    }

    fn collect(&self, state: StateID, specificity: HostSpecificity, found: &mut Vec<HostMatch>) {
        for index in 0..self.names.match_len(state) {
            let values = self.values.get(self.names.match_pattern(state, index).as_usize());
            found.extend(values.into_iter().flatten().map(|value| HostMatch { specificity, value: *value }));
        }
    }
}
