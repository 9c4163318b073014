//! The signing key, and the change from one to the next.

use ed25519_compact::{KeyPair, Seed};
use exeat_engine::context::PublicKey;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use zeroize::Zeroizing;

/// A private key with the name under which policies know its public half. `Debug` does not show it.
///
/// Its memory is locked where the system lets it be, so that it is not swapped out, and overwritten when the last user lets go.
pub struct SigningKey {
    keyid: String,
    pair: Box<KeyPair>,
    public: PublicKey,
    lock: Option<region::LockGuard>,
}

impl SigningKey {
    /// The key of a seed (RFC 8032 section 5.1.5).
    ///
    /// # Errors
    /// An all-zero seed, or a key id that no signature can carry.
    pub fn new(keyid: &str, seed: &Zeroizing<[u8; 32]>) -> Result<Self, KeyError> {
        if keyid.is_empty() || keyid.len() > 256 || !keyid.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(KeyError::Keyid(keyid.to_owned()));
        }
        let mut seed = Seed::new(**seed);
        let pair = KeyPair::try_from_seed(seed).map(Box::new);
        seed.wipe_mut();
        let pair = pair.map_err(|_| KeyError::Zero)?;
        let public = PublicKey::from_bytes(*pair.pk).map_err(|_| KeyError::Zero)?;
        let lock = region::lock(std::ptr::from_ref(&*pair), size_of::<KeyPair>()).ok();
        Ok(Self { keyid: keyid.to_owned(), pair, public, lock })
    }

    /// The name.
    pub fn keyid(&self) -> &str {
        &self.keyid
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Whether the system keeps its memory out of swap.
    pub fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    /// Signs (RFC 8032, deterministic).
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        *self.pair.sk.sign(message, None)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("keyid", &self.keyid).finish_non_exhaustive()
    }
}

/// Why a key cannot be signed with, or not be changed to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No seed.
    #[error("the key is all zeros, which is no key (`exeat key new` makes one)")]
    Zero,
    /// The name cannot stand in a signature.
    #[error("{0:?} cannot be a key id: it must be 1 to 256 characters of printable ASCII")]
    Keyid(String),
    /// Another key under the same name: a gateway would refuse every signature of one of them.
    #[error("the new key has the same key id, {0:?}, as the one in use, and is another key; give it an id of its own")]
    SameName(String),
}

/// The key in use. Whoever signs holds the key it began with to the end, so that a change loses no request.
#[derive(Debug)]
pub(crate) struct KeyHolder(RwLock<Arc<SigningKey>>);

impl KeyHolder {
    pub(crate) fn new(key: SigningKey) -> Self {
        Self(RwLock::new(Arc::new(key)))
    }

    pub(crate) fn current(&self) -> Arc<SigningKey> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Signs with another key from now on, and says whether it is another.
    pub(crate) fn change(&self, key: SigningKey) -> Result<bool, KeyError> {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if current.keyid == key.keyid {
            return if current.public == key.public { Ok(false) } else { Err(KeyError::SameName(key.keyid.clone())) };
        }
        *current = Arc::new(key);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(keyid: &str, byte: u8) -> SigningKey {
        SigningKey::new(keyid, &Zeroizing::new([byte; 32])).unwrap()
    }

    #[test]
    fn keys_that_cannot_be_used_are_refused() {
        for keyid in ["", "a\nb", "ä", &"x".repeat(257)] {
            assert!(matches!(SigningKey::new(keyid, &Zeroizing::new([1; 32])), Err(KeyError::Keyid(_))), "{keyid:?}");
        }
        assert_eq!(SigningKey::new("k", &Zeroizing::new([0; 32])).err(), Some(KeyError::Zero));
        assert!(!format!("{:?}", key("k", 7)).contains('7'));
    }

    #[test]
    fn a_name_stands_for_one_key() {
        let holder = KeyHolder::new(key("a", 1));
        let before = holder.current();
        assert_eq!(holder.change(key("a", 1)), Ok(false));
        assert_eq!(holder.change(key("a", 2)), Err(KeyError::SameName("a".to_owned())));
        assert_eq!(holder.change(key("b", 2)), Ok(true));
        assert_eq!((before.keyid(), holder.current().keyid()), ("a", "b"));
    }
}
