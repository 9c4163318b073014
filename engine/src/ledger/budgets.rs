//! What was spent of budgets: one value of the ledger, read, judged and written back.
//!
//! An account is that of a session, an agent or a tenant under one rule. It has a counter for each budget, known by what it
//! counts and its window; a changed amount therefore holds at once for what was spent before. A window begins with its first
//! charge and is over when its time is; a counter without one lives until a day after its last charge,
//! or, of hosts, half a day longer at most.
//!
//! This is pure: the same code judges over shared data in the filter and in memory elsewhere.

use super::names::holder;
use super::{Share, ended, seconds_up};
use crate::facts::Timestamp;
use sha2::{Digest, Sha256};

/// Milliseconds after its last charge for which what a session spent without a window is remembered at least.
pub const REMEMBERED: u64 = 24 * 60 * 60 * 1000;

/// So many times the free room of a value one key and tenant may hold together.
const SHARE: usize = 3;

/// Counters that one account can have at a time: those of the policy, and of policies before it whose windows still last.
const MOST_COUNTERS: usize = 255;

/// An account: the first 16 bytes of SHA-256 over the place that states the rule and whose account it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountFingerprint(pub [u8; 16]);

impl AccountFingerprint {
    /// Of a session, or without one of an agent, or without that of a tenant. Contexts without a tenant are one of their own.
    pub fn new(origin: &str, tenant: Option<&str>, agent: Option<&str>, session: Option<&str>) -> Self {
        Self(fingerprint(b'b', &[Some(origin), tenant, agent, session]))
    }
}

/// A canonical host. No two that anybody could find have the same: an agent chooses names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostMark(pub [u8; 16]);

impl HostMark {
    /// Of a canonical host.
    pub fn new(host: &str) -> Self {
        Self(fingerprint(b'h', &[Some(host)]))
    }
}

/// Absent and empty differ; lengths keep parts apart.
fn fingerprint(kind: u8, parts: &[Option<&str>]) -> [u8; 16] {
    let mut hash = Sha256::new_with_prefix([kind]);
    for part in parts {
        hash.update(part.map_or(u64::MAX, |part| part.len() as u64).to_le_bytes());
        hash.update(part.unwrap_or_default());
    }
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = <[u8; 32]>::from(hash.finalize());
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}

/// What a budget counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Requests.
    Requests,
    /// Bytes.
    Bytes,
    /// Distinct hosts.
    Hosts,
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Requests => 1,
            Self::Bytes => 2,
            Self::Hosts => 3,
        }
    }
}

/// What is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// So many.
    Count(u64),
    /// One, unless it was there before.
    Host(HostMark),
}

/// One budget that is to be charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Which, for the answer.
    pub budget: usize,
    /// What it counts.
    pub kind: Kind,
    /// Milliseconds; 0: as long as it is remembered.
    pub window: u32,
    /// The most that may be spent.
    pub amount: u64,
    /// What is spent now.
    pub cost: Cost,
}

/// Budgets of one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Whose, under which rule.
    pub fingerprint: AccountFingerprint,
    /// Each of another kind or window.
    pub counters: Vec<Counter>,
}

/// All that one request, or one piece of a tunnel, is charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge<'a> {
    /// In whose share accounts that come to be are remembered.
    pub share: Share<'a>,
    /// At most one each of session, agent and tenant.
    pub accounts: Vec<Account>,
    /// Only whether it would be charged; nothing changes.
    pub ask: bool,
}

/// What became of a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charged {
    /// All of it was charged, or would be.
    Within,
    /// This budget would be exceeded. Nothing was charged.
    Exhausted {
        /// [`Counter::budget`] of the first.
        budget: usize,
    },
    /// There is no room for another account, or for more in this one. Nothing was charged.
    Full,
    /// The state cannot be read or does not authenticate; refuse.
    Unavailable,
}

/// One counter as it is remembered.
struct Slot {
    kind: u8,
    window: u32,
    /// The moment from which on it is over.
    end: u64,
    spent: u64,
    /// Of hosts, those that `spent` counts.
    hosts: Vec<[u8; 16]>,
}

/// Kind, window, end, spent.
const SLOT: usize = 1 + 4 + 8 + 8;

/// Length of what follows, fingerprint, holder, and the second after which all of it is over.
const HEAD: usize = 4 + 16 + 4 + 4;

/// An account as it is remembered.
struct Entry<'a> {
    whole: &'a [u8],
    fingerprint: [u8; 16],
    holder: [u8; 4],
    until: u32,
    slots: &'a [u8],
}

impl<'a> Entry<'a> {
    fn read(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (whole, after) = bytes.split_at_checked(length.checked_add(4)?)?;
        let (fingerprint, rest) = rest.get(..length)?.split_first_chunk::<16>()?;
        let (holder, rest) = rest.split_first_chunk::<4>()?;
        let (until, slots) = rest.split_first_chunk::<4>()?;
        let entry =
            Self { whole, fingerprint: *fingerprint, holder: *holder, until: u32::from_le_bytes(*until), slots };
        Some((entry, after))
    }

    fn slots(&self) -> Option<Vec<Slot>> {
        let (mut slots, mut rest) = (Vec::new(), self.slots);
        while !rest.is_empty() {
            let (slot, after) = Slot::read(rest)?;
            slots.push(slot);
            rest = after;
        }
        Some(slots)
    }
}

impl Slot {
    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (kind, rest) = bytes.split_first()?;
        let (window, rest) = rest.split_first_chunk::<4>()?;
        let (end, rest) = rest.split_first_chunk::<8>()?;
        let (spent, rest) = rest.split_first_chunk::<8>()?;
        let spent = u64::from_le_bytes(*spent);
        let marks = if *kind == Kind::Hosts.code() { usize::try_from(spent).ok()?.checked_mul(16)? } else { 0 };
        let (hosts, rest) = rest.split_at_checked(marks)?;
        let slot = Self {
            kind: *kind,
            window: u32::from_le_bytes(*window),
            end: u64::from_le_bytes(*end),
            spent,
            hosts: hosts.as_chunks::<16>().0.to_vec(),
        };
        Some((slot, rest))
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(self.kind);
        out.extend_from_slice(&self.window.to_le_bytes());
        out.extend_from_slice(&self.end.to_le_bytes());
        out.extend_from_slice(&self.spent.to_le_bytes());
        self.hosts.iter().for_each(|host| out.extend_from_slice(host));
    }

    fn size(&self) -> usize {
        SLOT.saturating_add(self.hosts.len().saturating_mul(16))
    }

    /// Spends, where the amount leaves it; whether that changed anything.
    fn spend(&mut self, counter: &Counter, now: Timestamp) -> Result<bool, Charged> {
        let exhausted = Charged::Exhausted { budget: counter.budget };
        let mut lasts = now.plus_millis(REMEMBERED);
        match counter.cost {
            Cost::Count(count) => {
                let spent = self.spent.checked_add(count).filter(|spent| *spent <= counter.amount);
                self.spent = spent.ok_or(exhausted)?;
            }
            Cost::Host(HostMark(host)) if self.hosts.contains(&host) => {
                if self.window != 0 || lasts.millis() <= self.end {
                    return Ok(false);
                }
            }
            Cost::Host(_) if self.spent >= counter.amount => return Err(exhausted),
            Cost::Host(HostMark(host)) => {
                self.hosts.push(host);
                self.spent = self.spent.saturating_add(1);
            }
        }
        // Hosts by half a day more, so that most requests to known ones write nothing.
        if matches!(counter.cost, Cost::Host(_)) {
            lasts = lasts.plus_millis(REMEMBERED / 2);
        }
        if self.window == 0 {
            self.end = lasts.millis();
        }
        Ok(true)
    }
}

/// Judges a charge against the accounts that `content` holds, and gives back the content that is to stand there instead, of
/// at most `room` bytes; `None`: nothing changes. Of accounts that stand elsewhere, nothing is said here. What is over is left
/// out of it; what is not never is.
///
/// INVARIANT: `content` is empty or was written here; what cannot be read of it counts as unavailable.
pub fn charge<'a>(
    content: &[u8],
    accounts: impl Iterator<Item = &'a Account>,
    share: Share<'_>,
    now: Timestamp,
    room: usize,
) -> (Option<Vec<u8>>, Charged) {
    let (holder, mut new) = (holder(share), None);
    for account in accounts {
        match charge_one(new.as_deref().unwrap_or(content), account, holder, now, room) {
            Ok(changed) => new = changed.or(new),
            Err(refused) => return (None, refused),
        }
    }
    (new, Charged::Within)
}

fn charge_one(
    content: &[u8],
    account: &Account,
    holder: [u8; 4],
    now: Timestamp,
    room: usize,
) -> Result<Option<Vec<u8>>, Charged> {
    let (mut others, mut own) = (Vec::with_capacity(content.len()), None);
    let (mut held, mut rest) = (0_usize, content);
    while !rest.is_empty() {
        let (entry, after) = Entry::read(rest).ok_or(Charged::Unavailable)?;
        rest = after;
        if entry.fingerprint == account.fingerprint.0 {
            own = Some(entry);
        } else if ended(entry.until).is_none_or(|end| end > now) {
            held = held.saturating_add(if entry.holder == holder { entry.whole.len() } else { 0 });
            others.extend_from_slice(entry.whole);
        }
    }
    let mut slots = own.as_ref().map_or(Some(Vec::new()), Entry::slots).ok_or(Charged::Unavailable)?;
    slots.retain(|slot| now.millis() < slot.end);
    let mut changed = false;
    for counter in &account.counters {
        let at = slots.iter().position(|slot| slot.kind == counter.kind.code() && slot.window == counter.window);
        let slot = match at {
            Some(at) => slots.get_mut(at),
            None if slots.len() >= MOST_COUNTERS => return Err(Charged::Full),
            None => {
                let end = now.plus_millis(u64::from(counter.window)).millis();
                let (kind, window) = (counter.kind.code(), counter.window);
                slots.push(Slot { kind, window, end, spent: 0, hosts: Vec::new() });
                slots.last_mut()
            }
        };
        changed |= slot.ok_or(Charged::Unavailable)?.spend(counter, now)?;
    }
    if !changed {
        return Ok(None);
    }
    let size = slots.iter().fold(HEAD, |sum, slot| sum.saturating_add(slot.size()));
    let free = room.saturating_sub(others.len());
    // What does not grow stays whatever came beside it. What grows leaves others the room to get in, as names do.
    if size > own.as_ref().map_or(0, |own| own.whole.len()) {
        let left = free.saturating_sub(size).saturating_mul(SHARE);
        if size > free || held.saturating_add(size) > left {
            return Err(Charged::Full);
        }
    }
    let end = slots.iter().map(|slot| slot.end).max().unwrap_or(0);
    let length = u32::try_from(size.saturating_sub(4)).map_err(|_| Charged::Full)?;
    others.extend_from_slice(&length.to_le_bytes());
    others.extend_from_slice(&account.fingerprint.0);
    others.extend_from_slice(&own.as_ref().map_or(holder, |own| own.holder));
    others.extend_from_slice(&seconds_up(Timestamp(end)).to_le_bytes());
    slots.iter().for_each(|slot| slot.write(&mut others));
    Ok(Some(others))
}

#[cfg(test)]
mod tests;
