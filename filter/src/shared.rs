//! What all worker VMs of a gateway process share, kept in the host's shared data.
//!
//! Other plugins can write there, so every value carries a MAC under a key derived from the gateway's, over the name
//! it stands under and its content: what does not authenticate counts as unavailable, and the request is refused. A
//! plugin that puts an older value back, or deletes one, is not detected; docs/threat-model.md says so.
//!
//! The host never forgets a key, so the set of keys is bounded: one for the gateway, one for the boot, one counter, and
//! [`SHARDS`] a signer.

use exeat_engine::facts::Timestamp;
use exeat_engine::ledger::{Ledger, NonceFingerprint, Spend};
use hmac::{Hmac, KeyInit, Mac};
use proxy_wasm::hostcalls;
use proxy_wasm::types::Status;
use sha2::Sha256;

const TAG: usize = 16;

/// Shards of the nonces of one signer. With [`SHARD_CAPACITY`] this bounds the live nonces of a signer to 524,288
/// (10.5 MB for the process), which is 8,000 requests a second at the default `max_age` and skew.
pub(crate) const SHARDS: u16 = 8192;

/// Live nonces in one shard; when it is full, a further one is refused.
pub(crate) const SHARD_CAPACITY: usize = 64;

/// Fingerprint, then expiry in seconds.
const ENTRY: usize = 16 + 8;

/// How often a write is tried again when another worker was quicker.
const CAS_ATTEMPTS: usize = 64;

/// A compare-and-swap number that no stored value has: with it the host writes only where nothing stands yet.
const ONLY_IF_ABSENT: u32 = u32::MAX;

/// Authenticated access to the shared data of one gateway.
#[derive(Clone)]
pub(crate) struct SharedData {
    prefix: String,
    key: [u8; 32],
}

/// Why shared state cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SharedError {
    /// The host refused.
    Host(Status),
    /// A value does not authenticate: somebody else wrote it.
    NotAuthentic,
    /// Other workers were quicker every time.
    Contended,
}

impl SharedData {
    pub(crate) fn new(gateway: &str, key: [u8; 32]) -> Self {
        Self { prefix: format!("exeat/1/{gateway}/"), key }
    }

    fn tag(&self, name: &str, content: &[u8]) -> [u8; TAG] {
        let mut tag = [0u8; TAG];
        // INVARIANT: HMAC takes keys of any length, so this never leaves the tag at zero.
        if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) {
            mac.update(&(name.len() as u64).to_le_bytes());
            mac.update(name.as_bytes());
            mac.update(content);
            for (to, from) in tag.iter_mut().zip(mac.finalize().into_bytes()) {
                *to = from;
            }
        }
        tag
    }

    /// The content under `name` and its compare-and-swap number; `None` where nothing stands.
    fn read(&self, name: &str) -> Result<Option<(Vec<u8>, u32)>, SharedError> {
        let (value, cas) = match hostcalls::get_shared_data(name) {
            Ok((Some(value), cas)) => (value, cas.unwrap_or(0)),
            Ok((None, None)) | Err(Status::NotFound) => return Ok(None),
            // A key that exists with an empty value was not written here.
            Ok((None, Some(_))) => return Err(SharedError::NotAuthentic),
            Err(status) => return Err(SharedError::Host(status)),
        };
        match value.split_at_checked(TAG) {
            Some((tag, content)) if tag == self.tag(name, content) => Ok(Some((content.to_vec(), cas))),
            _ => Err(SharedError::NotAuthentic),
        }
    }

    /// Writes; with a number, only unless somebody else wrote in between: `Ok(false)` then.
    fn write(&self, name: &str, content: &[u8], cas: Option<u32>) -> Result<bool, SharedError> {
        let mut value = Vec::with_capacity(TAG + content.len());
        value.extend_from_slice(&self.tag(name, content));
        value.extend_from_slice(content);
        match hostcalls::set_shared_data(name, Some(&value), cas) {
            Ok(()) => Ok(true),
            Err(Status::CasMismatch) => Ok(false),
            Err(status) => Err(SharedError::Host(status)),
        }
    }

    /// Reads, changes and writes until no other worker came in between.
    fn update<T>(
        &self,
        name: &str,
        mut change: impl FnMut(Option<&[u8]>) -> Result<(Option<Vec<u8>>, T), SharedError>,
    ) -> Result<T, SharedError> {
        for _ in 0..CAS_ATTEMPTS {
            let current = self.read(name)?;
            let (content, cas) = match &current {
                Some((content, cas)) => (Some(content.as_slice()), *cas),
                None => (None, ONLY_IF_ABSENT),
            };
            let (new, answer) = change(content)?;
            match new {
                None => return Ok(answer),
                Some(new) => {
                    if self.write(name, &new, Some(cas))? {
                        return Ok(answer);
                    }
                }
            }
        }
        Err(SharedError::Contended)
    }

    /// The boot that all VMs of this process belong to: made by whichever comes first.
    pub(crate) fn boot(&self, now: Timestamp, random: &[u8; 32]) -> Result<Boot, SharedError> {
        let name = format!("{}boot", self.prefix);
        self.update(&name, |content| match content {
            Some(content) => Boot::decode(content).map(|boot| (None, boot)).ok_or(SharedError::NotAuthentic),
            None => {
                let mut id = [0u8; 8];
                for (to, from) in id.iter_mut().zip(random) {
                    *to = *from;
                }
                let boot = Boot { started: now, id };
                Ok((Some(boot.encode()), boot))
            }
        })
    }

    /// A number that no other VM of this process has.
    pub(crate) fn next_vm(&self) -> Result<u32, SharedError> {
        let name = format!("{}vms", self.prefix);
        self.update(&name, |content| {
            let last = match content {
                Some(bytes) => u32::from_le_bytes(bytes.try_into().map_err(|_| SharedError::NotAuthentic)?),
                None => 0,
            };
            let next = last.saturating_add(1);
            Ok((Some(next.to_le_bytes().to_vec()), next))
        })
    }

    /// Publishes the head of a VM's log for the others to cite. Only that VM writes there.
    pub(crate) fn publish_head(&self, vm: u32, size: u64, root: &[u8; 32]) -> Result<(), SharedError> {
        let mut content = size.to_le_bytes().to_vec();
        content.extend_from_slice(root);
        self.write(&format!("{}head/{vm}", self.prefix), &content, None).map(|_| ())
    }

    /// The published head of a VM's log.
    pub(crate) fn head(&self, vm: u32) -> Result<Option<(u64, [u8; 32])>, SharedError> {
        let Some((content, _)) = self.read(&format!("{}head/{vm}", self.prefix))? else { return Ok(None) };
        let parsed = content
            .split_first_chunk::<8>()
            .and_then(|(size, root)| Some((u64::from_le_bytes(*size), <[u8; 32]>::try_from(root).ok()?)));
        parsed.map(Some).ok_or(SharedError::NotAuthentic)
    }

    /// Claims the process for a gateway; false where it belongs to another. Under another key that is not authentic. All
    /// VMs see the claim, one that the host makes only to try a configuration too.
    pub(crate) fn claim(&self, gateway: &str) -> Result<bool, SharedError> {
        self.update("exeat/1/gateway", |owner| match owner {
            None => Ok((Some(gateway.as_bytes().to_vec()), true)),
            Some(owner) => Ok((None, owner == gateway.as_bytes())),
        })
    }

    /// How many VM numbers were given out.
    pub(crate) fn vms(&self) -> Result<u32, SharedError> {
        match self.read(&format!("{}vms", self.prefix))? {
            None => Ok(0),
            Some((content, _)) => {
                content.as_slice().try_into().map(u32::from_le_bytes).map_err(|_| SharedError::NotAuthentic)
            }
        }
    }
}

/// One life of the gateway process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Boot {
    /// When its first VM was configured.
    pub(crate) started: Timestamp,
    /// Random.
    pub(crate) id: [u8; 8],
}

impl Boot {
    fn encode(self) -> Vec<u8> {
        let mut bytes = self.started.millis().to_le_bytes().to_vec();
        bytes.extend_from_slice(&self.id);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (started, id) = bytes.split_first_chunk::<8>()?;
        Some(Self { started: Timestamp(u64::from_le_bytes(*started)), id: id.try_into().ok()? })
    }
}

/// The ledger over shared data.
pub(crate) struct SharedLedger<'a>(pub(crate) &'a SharedData);

impl Ledger for SharedLedger<'_> {
    fn spend_nonce(&mut self, nonce: NonceFingerprint, now: Timestamp, until: Timestamp) -> Spend {
        let [a, b, ..] = nonce.0;
        let shard = u16::from_le_bytes([a, b]) % SHARDS;
        let name = format!("{}nonce/{shard}", self.0.prefix);
        let spent = self.0.update(&name, |content| Ok(spend(content.unwrap_or_default(), nonce, now, until)));
        match spent {
            Ok(spend) => spend,
            Err(_) => Spend::Unavailable,
        }
    }
}

/// One shard: the live entries, and `nonce` added to them when it is new and there is room.
fn spend(content: &[u8], nonce: NonceFingerprint, now: Timestamp, until: Timestamp) -> (Option<Vec<u8>>, Spend) {
    let mut live = Vec::with_capacity(content.len() + ENTRY);
    for entry in content.chunks_exact(ENTRY) {
        let Some((fingerprint, expiry)) = entry.split_first_chunk::<16>() else { continue };
        let expiry = expiry.try_into().map_or(u64::MAX, u64::from_le_bytes);
        if expiry < now.millis() {
            continue;
        }
        if *fingerprint == nonce.0 {
            return (None, Spend::Replayed);
        }
        live.extend_from_slice(entry);
    }
    if live.len() >= SHARD_CAPACITY * ENTRY {
        return (None, Spend::Full);
    }
    live.extend_from_slice(&nonce.0);
    live.extend_from_slice(&until.millis().to_le_bytes());
    (Some(live), Spend::Fresh)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_bounded_and_forgets_only_what_expired() {
        let nonce = |n: u8| NonceFingerprint([n; 16]);
        let mut content = Vec::new();
        for n in 0..SHARD_CAPACITY as u8 {
            let (new, answer) = spend(&content, nonce(n), Timestamp(0), Timestamp(u64::from(n)));
            assert_eq!(answer, Spend::Fresh);
            content = new.unwrap();
        }
        assert_eq!(spend(&content, nonce(200), Timestamp(0), Timestamp(9)), (None, Spend::Full));
        assert_eq!(spend(&content, nonce(5), Timestamp(5), Timestamp(9)), (None, Spend::Replayed));
        let (new, answer) = spend(&content, nonce(5), Timestamp(6), Timestamp(9));
        assert_eq!(answer, Spend::Fresh);
        assert_eq!(new.unwrap().len(), (SHARD_CAPACITY - 5) * ENTRY);
    }
}
