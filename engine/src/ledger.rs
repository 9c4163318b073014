//! What outlives a request: nonces now; budgets and quarantine when they come.
//!
//! Rules for every implementation: state is made only after a signature verified; it is bounded; at the bound a new
//! entry is refused and a live one never evicted; contents that others can write to are authenticated.

use crate::facts::Timestamp;
use std::collections::HashMap;

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
}

/// A ledger in memory, for the command line and native tests: one process, no shares.
#[derive(Debug)]
pub struct MemoryLedger {
    nonces: HashMap<NonceFingerprint, Timestamp>,
    capacity: usize,
}

impl MemoryLedger {
    /// At most `capacity` live nonces.
    pub fn new(capacity: usize) -> Self {
        Self { nonces: HashMap::new(), capacity }
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
