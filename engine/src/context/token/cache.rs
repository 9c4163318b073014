//! Tokens that verified, by the digest of their bytes: an agent sends the same one with every request.
//!
//! A cache belongs to one accepted configuration, so a key or issuer that is gone takes what it vouched for along. Only what
//! time changes is left out of it and looked at anew with each request. So it decides nothing: it only saves work.

use super::claims::Times;
use crate::context::agent_context::AgentContext;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Tokens remembered at most: those of as many sessions at once, some 2 MB.
const MOST_TOKENS: usize = 1024;

/// The field it came in, by its place among the issuers' headers, and SHA-256 of the token.
pub(super) type Fingerprint = (usize, [u8; 32]);

/// What a token proved.
#[derive(Clone, Debug)]
pub(super) struct Proven {
    /// Index of the issuer.
    pub(super) issuer: usize,
    /// Index of its key.
    pub(super) key: usize,
    pub(super) times: Times,
    pub(super) context: Arc<AgentContext>,
}

#[derive(Debug, Default)]
pub(super) struct TokenCache(Mutex<HashMap<Fingerprint, Proven>>);

impl TokenCache {
    pub(super) fn get(&self, fingerprint: &Fingerprint) -> Option<Proven> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(fingerprint).cloned()
    }

    /// Remembers a token that verified just now. Where there is no room, what has ended goes, then what ends first.
    pub(super) fn put(&self, fingerprint: Fingerprint, proven: Proven, now_seconds: u64) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= MOST_TOKENS {
            tokens.retain(|_, token| token.times.exp >= now_seconds);
        }
        if tokens.len() >= MOST_TOKENS
            && let Some(first) = tokens.iter().min_by_key(|(_, token)| token.times.exp).map(|(print, _)| *print)
        {
            tokens.remove(&first);
        }
        tokens.insert(fingerprint, proven);
    }

    #[cfg(all(test, not(target_arch = "wasm32")))]
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// A copy of a configuration remembers nothing of its own yet.
impl Clone for TokenCache {
    fn clone(&self) -> Self {
        Self::default()
    }
}
