//! Names in a hash table. An aho-corasick automaton takes as long to find a name, and of 100,000 names three times the memory
//! and ten times the time to build.
//!
//! A name is read from the right, hashed as it is read; at each dot, what was read so far may be a name under which others
//! are open, and at the end the whole may be a name itself. What has the same hash is compared byte by byte; the table is
//! filled by the policy alone, so that no agent can make it slow.

use super::{Entry, HostMatch, HostSpecificity, Names};

/// Numbers of entries plus one, by hash; 0 is free. A power of two long, at most half full.
#[derive(Clone, Default)]
pub(super) struct Table {
    names: Names,
    slots: Vec<u32>,
}

/// FNV-1a, 64 bits: fast on short names, and the table's content is no attacker's to choose.
const HASH_START: u64 = 0xcbf2_9ce4_8422_2325;
const HASH_PRIME: u64 = 0x0000_0100_0000_01b3;

const fn hash_on(hash: u64, byte: u8) -> u64 {
    (hash ^ byte as u64).wrapping_mul(HASH_PRIME)
}

impl Table {
    pub(super) fn build(names: Names) -> Self {
        let slots = vec![0; names.entries.len().saturating_mul(2).next_power_of_two()];
        let mut table = Self { names, slots };
        for number in 0..table.names.entries.len() {
            let Some(entry) = table.names.entries.get(number).copied() else { continue };
            let name = table.names.bytes_of(entry).iter().rev();
            let mut slot = table.slot(name.fold(HASH_START, |hash, byte| hash_on(hash, *byte)), entry.under);
            // INVARIANT: half of the table is free.
            while table.slots.get(slot).is_some_and(|number| *number != 0) {
                slot = table.next(slot);
            }
            if let Some(free) = table.slots.get_mut(slot) {
                *free = u32::try_from(number.saturating_add(1)).unwrap_or(u32::MAX);
            }
        }
        table
    }

    pub(super) fn memory_usage(&self) -> usize {
        self.slots.capacity().saturating_mul(size_of::<u32>()).saturating_add(self.names.memory_usage())
    }

    pub(super) fn len(&self) -> usize {
        self.names.entries.len()
    }

    /// Every entry that fits, in no order.
    pub(super) fn find(&self, name: &[u8], found: &mut Vec<HostMatch>) {
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
    }

    /// Every entry of that very name.
    fn probe(&self, hash: u64, name: &[u8], under: bool, specificity: HostSpecificity, found: &mut Vec<HostMatch>) {
        let mut slot = self.slot(hash, under);
        while let Some(number) = self.slots.get(slot).and_then(|number| number.checked_sub(1)) {
            let entry = usize::try_from(number).ok().and_then(|number| self.names.entries.get(number));
            let fits = |entry: &&Entry| entry.under == under && self.names.bytes_of(**entry) == name;
            if let Some(entry) = entry.filter(fits) {
                found.push(HostMatch { specificity, value: entry.value });
            }
            slot = self.next(slot);
        }
    }

    fn slot(&self, hash: u64, under: bool) -> usize {
        let mixed = hash_on(hash, u8::from(under));
        let folded = (mixed ^ mixed >> 32) & u64::from(u32::MAX);
        usize::try_from(folded).unwrap_or_default() & self.slots.len().saturating_sub(1)
    }

    fn next(&self, slot: usize) -> usize {
        slot.wrapping_add(1) & self.slots.len().saturating_sub(1)
    }
}
