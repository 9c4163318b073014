//! What outlives a request: nonces, budgets, names that sessions used, quarantine, first meetings.
//!
//! Rules for every implementation: state is made only after a signature verified; it is bounded; at the bound a new
//! entry is refused and a live one never evicted; contents that others can write to are authenticated.

pub mod budgets;
pub mod names;
pub mod quarantine;

use crate::facts::Timestamp;
use names::{Charge, Charged, Mark, SessionFingerprint};
use std::collections::{HashMap, HashSet};

/// A nonce under its key: the first 16 bytes of SHA-256 over both, so that its size is fixed whatever the agent sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NonceFingerprint(pub [u8; 16]);

/// In whose share a nonce is remembered. Shares keep one signer, or one tenant, from taking the room of the others.
///
/// The key stands for its signer, because a nonce counts once per key: a policy update that moves a key to another
/// signer must not make its nonces count again. Both are what a verified signature says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share<'a> {
    /// `keyid`.
    pub key: &'a str,
    /// `tenant` of the context; contexts without one share as a tenant of their own.
    pub tenant: Option<&'a str>,
}

/// What became of an attempt to use a nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spend {
    /// It had not been used: it is now.
    Fresh,
    /// It was used before.
    Replayed,
    /// There is no room for another live nonce; refuse.
    Full,
    /// The state cannot be read or does not authenticate; refuse.
    Unavailable,
}

/// State that is shared by all requests of a gateway process.
pub trait Ledger {
    /// Uses a nonce once. The entry is kept until `until`, after which the signature that carried it is too old anyway.
    fn spend_nonce(&mut self, share: Share<'_>, nonce: NonceFingerprint, now: Timestamp, until: Timestamp) -> Spend;

    /// Adds the names of a request that is about to leave to those of its session.
    fn charge_names(&mut self, charge: &Charge<'_>, now: Timestamp) -> Charged;

    /// Charges all the budgets of a rule for what is about to leave, or none of them; or only says which it would be.
    fn charge_budgets(&mut self, charge: &budgets::Charge<'_>, now: Timestamp) -> budgets::Charged;

    /// Until when a session is quarantined; `Err` where that cannot be told.
    fn quarantined(&mut self, session: &SessionName<'_>, now: Timestamp) -> Result<Option<Timestamp>, Unavailable>;

    /// Quarantines a session until then, across all workers. Where there is no room, `Err`.
    fn quarantine(&mut self, session: &SessionName<'_>, until: Timestamp, now: Timestamp) -> Result<(), Unavailable>;

    /// Whether this meeting of an agent and a destination is the first in the life of the process; `None` where that cannot
    /// be told, because there is no room to remember more.
    fn meet(&mut self, share: Share<'_>, meeting: Mark) -> Option<bool>;
}

/// A session by its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionName<'a> {
    /// Tenant.
    pub tenant: Option<&'a str>,
    /// Agent.
    pub agent: &'a str,
    /// Session.
    pub session: &'a str,
}

impl SessionName<'_> {
    /// What stands for it.
    pub fn fingerprint(&self) -> SessionFingerprint {
        SessionFingerprint::new(self.tenant, self.agent, self.session)
    }
}

/// The state cannot be read, does not authenticate, or has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable;

/// Bytes that the memory ledger gives to names, to budgets, and to quarantine.
const MEMORY_ROOM: usize = 1 << 20;

/// A ledger in memory, for the command line and native tests: one process, no shares.
#[derive(Debug)]
pub struct MemoryLedger {
    nonces: HashMap<NonceFingerprint, Timestamp>,
    capacity: usize,
    names: Vec<u8>,
    budgets: Vec<u8>,
    quarantine: Vec<u8>,
    met: HashSet<Mark>,
}

impl MemoryLedger {
    /// At most `capacity` live nonces.
    pub fn new(capacity: usize) -> Self {
        Self {
            nonces: HashMap::new(),
            capacity,
            names: Vec::new(),
            budgets: Vec::new(),
            quarantine: Vec::new(),
            met: HashSet::new(),
        }
    }
}

impl Ledger for MemoryLedger {
    fn spend_nonce(&mut self, _: Share<'_>, nonce: NonceFingerprint, now: Timestamp, until: Timestamp) -> Spend {
        if self.nonces.get(&nonce).is_some_and(|live| *live >= now) {
            return Spend::Replayed;
        }
        if self.nonces.len() >= self.capacity {
            self.nonces.retain(|_, live| *live >= now);
            if self.nonces.len() >= self.capacity {
                return Spend::Full;
            }
        }
        self.nonces.insert(nonce, until);
        Spend::Fresh
    }

    fn charge_names(&mut self, charge: &Charge<'_>, now: Timestamp) -> Charged {
        let (content, charged) = names::charge(&self.names, charge, now, MEMORY_ROOM);
        self.names = content.unwrap_or(std::mem::take(&mut self.names));
        charged
    }

    fn charge_budgets(&mut self, charge: &budgets::Charge<'_>, now: Timestamp) -> budgets::Charged {
        let (content, charged) = budgets::charge(&self.budgets, charge.accounts.iter(), charge.share, now, MEMORY_ROOM);
        if let Some(content) = content.filter(|_| !charge.ask) {
            self.budgets = content;
        }
        charged
    }

    fn quarantined(&mut self, session: &SessionName<'_>, now: Timestamp) -> Result<Option<Timestamp>, Unavailable> {
        Ok(quarantine::quarantined(&self.quarantine, session.fingerprint(), now))
    }

    fn quarantine(&mut self, session: &SessionName<'_>, until: Timestamp, now: Timestamp) -> Result<(), Unavailable> {
        self.quarantine =
            quarantine::with(&self.quarantine, session.fingerprint(), until, now, MEMORY_ROOM).ok_or(Unavailable)?;
        Ok(())
    }

    fn meet(&mut self, _: Share<'_>, meeting: Mark) -> Option<bool> {
        if self.met.len() >= self.capacity {
            return self.met.contains(&meeting).then_some(false);
        }
        Some(self.met.insert(meeting))
    }
}

/// An end as values of a ledger keep it, in seconds: rounded up, so that nothing is forgotten early; beyond 2106 never.
pub fn seconds_up(time: Timestamp) -> u32 {
    u32::try_from(time.millis().div_ceil(1000)).unwrap_or(u32::MAX)
}

/// The end that [`seconds_up`] wrote; `None`: never.
pub fn ended(until: u32) -> Option<Timestamp> {
    (until != u32::MAX).then(|| Timestamp::from_seconds(u64::from(until)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_counts_once_and_a_full_ledger_refuses() {
        let mut ledger = MemoryLedger::new(2);
        let share = Share { key: "k", tenant: None };
        let (now, until) = (Timestamp(0), Timestamp(10));
        let nonce = |n: u8| NonceFingerprint([n; 16]);
        assert_eq!(ledger.spend_nonce(share, nonce(1), now, until), Spend::Fresh);
        assert_eq!(ledger.spend_nonce(share, nonce(1), now, until), Spend::Replayed);
        assert_eq!(ledger.spend_nonce(share, nonce(1), until, until), Spend::Replayed);
        assert_eq!(ledger.spend_nonce(share, nonce(2), now, until), Spend::Fresh);
        assert_eq!(ledger.spend_nonce(share, nonce(3), now, until), Spend::Full);
        assert_eq!(ledger.spend_nonce(share, nonce(3), Timestamp(11), Timestamp(20)), Spend::Fresh);
    }
}
