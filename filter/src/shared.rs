//! What all worker VMs of a gateway process share, kept in the host's shared data.
//!
//! Other plugins can write there, so every value carries a MAC under a key derived from the gateway's, over the name
//! it stands under and its content: what does not authenticate counts as unavailable, and the request is refused. A
//! plugin that puts an older value back, or deletes one, is not detected; docs/threat-model.md says so.
//!
//! The host never forgets a key, so the set of keys is bounded: one for the boot, two counters, one a way out, four a plugin, a few a VM,
//! the places of `left.rs`, and the shards of `nonces.rs`, `sessions.rs` and `budgets.rs`.

use crate::elsewhere::Word;
use crate::together::Values;
use exeat_engine::evidence::{CompactRange, Hash};
use exeat_engine::exchange::handover::LAYOUT;
use exeat_engine::facts::Timestamp;
use exeat_engine::hex::hex;
use hmac::{Hmac, KeyInit, Mac};
use proxy_wasm::hostcalls;
use proxy_wasm::types::Status;
use sha2::Sha256;

const TAG: usize = 16;

/// How often a write is tried again when another worker was quicker.
const CAS_ATTEMPTS: usize = 64;

/// A compare-and-swap number that no stored value has: with it the host writes only where nothing stands yet.
pub(crate) const ONLY_IF_ABSENT: u32 = u32::MAX;

/// Where the boot stands. Not below a gateway's id: a process is that of one gateway, whatever a later configuration says.
const BOOT: &str = "exeat/2/boot";

/// Authenticated access to the shared data of one gateway.
#[derive(Clone)]
pub(crate) struct SharedData {
    gateway: String,
    prefix: String,
    /// With the key taken in already: half of what a MAC over little costs. INVARIANT: HMAC takes keys of any length.
    mac: Option<Hmac<Sha256>>,
}

/// Why shared state cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SharedError {
    /// The host refused.
    Host(Status),
    /// A value does not authenticate: somebody else wrote it.
    NotAuthentic,
    /// The process is that of another gateway.
    OtherGateway,
    /// Other workers were quicker every time.
    Contended,
}

impl SharedData {
    pub(crate) fn new(gateway: &str, key: [u8; 32]) -> Self {
        // The number is that of the layout. Another one begins another boot, before which no signature counts: nonces that
        // were spent under the layout before cannot be spent again.
        Self {
            gateway: gateway.to_owned(),
            prefix: format!("exeat/2/{gateway}/"),
            mac: Hmac::new_from_slice(&key).ok(),
        }
    }

    /// What every name of this gateway begins with.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    fn tag(&self, name: &str, content: &[u8]) -> [u8; TAG] {
        let mut tag = [0u8; TAG];
        if let Some(mut mac) = self.mac.clone() {
            mac.update(&(name.len() as u64).to_le_bytes());
            mac.update(name.as_bytes());
            mac.update(content);
            for (to, from) in tag.iter_mut().zip(mac.finalize().into_bytes()) {
                *to = from;
            }
        }
        tag
    }

    /// A value of this content that [`SharedData::open`] takes under the same name, wherever it is kept.
    pub(crate) fn seal(&self, name: &str, content: &[u8]) -> Vec<u8> {
        let mut value = Vec::with_capacity(TAG.saturating_add(content.len()));
        value.extend_from_slice(&self.tag(name, content));
        value.extend_from_slice(content);
        value
    }

    /// The content of a value; `None` where it does not authenticate.
    pub(crate) fn open<'a>(&self, name: &str, value: &'a [u8]) -> Option<&'a [u8]> {
        value.split_at_checked(TAG).filter(|(tag, content)| *tag == self.tag(name, content)).map(|(_, content)| content)
    }

    /// The content under `name` and its compare-and-swap number; `None` where nothing stands.
    fn read(&self, name: &str) -> Result<Option<(Vec<u8>, u32)>, SharedError> {
        let (mut value, cas) = match hostcalls::get_shared_data(name) {
            Ok((Some(value), cas)) => (value, cas.unwrap_or(0)),
            Ok((None, None)) | Err(Status::NotFound) => return Ok(None),
            // A key that exists with an empty value was not written here.
            Ok((None, Some(_))) => return Err(SharedError::NotAuthentic),
            Err(status) => return Err(SharedError::Host(status)),
        };
        self.open(name, &value).ok_or(SharedError::NotAuthentic)?;
        value.drain(..TAG);
        Ok(Some((value, cas)))
    }

    /// The content under `name`.
    pub(crate) fn value(&self, name: &str) -> Result<Option<Vec<u8>>, SharedError> {
        Ok(self.read(name)?.map(|(content, _)| content))
    }

    /// Writes; with a number, only unless somebody else wrote in between: `Ok(false)` then.
    fn write(&self, name: &str, content: &[u8], cas: Option<u32>) -> Result<bool, SharedError> {
        match hostcalls::set_shared_data(name, Some(&self.seal(name, content)), cas) {
            Ok(()) => Ok(true),
            Err(Status::CasMismatch) => Ok(false),
            Err(status) => Err(SharedError::Host(status)),
        }
    }

    /// Reads, changes and writes until no other worker came in between.
    pub(crate) fn update<T>(
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
        self.update(BOOT, |content| match content {
            Some(content) => match Boot::decode(content) {
                Some((boot, gateway)) if gateway == self.gateway.as_bytes() => Ok((None, boot)),
                Some(_) => Err(SharedError::OtherGateway),
                None => Err(SharedError::NotAuthentic),
            },
            None => {
                let mut id = [0u8; 8];
                for (to, from) in id.iter_mut().zip(random) {
                    *to = *from;
                }
                let boot = Boot { started: now, id };
                Ok((Some(boot.encode(&self.gateway)), boot))
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

    /// Publishes how far a VM's log has come, for the others to cite. Only that VM writes there. The root is left to those who
    /// read it: they do so once a batch, and this is done with every record.
    pub(crate) fn publish_log(&self, vm: u32, log: &CompactRange) -> Result<(), SharedError> {
        let mut content = Vec::with_capacity(log.nodes().len().saturating_mul(32).saturating_add(8));
        content.extend_from_slice(&log.size().to_le_bytes());
        log.nodes().iter().for_each(|node| content.extend_from_slice(&node.0));
        self.write(&format!("{}log/{vm}", self.prefix), &content, None).map(|_| ())
    }

    /// How far a VM's log has come.
    pub(crate) fn log(&self, vm: u32) -> Result<Option<CompactRange>, SharedError> {
        let Some((content, _)) = self.read(&format!("{}log/{vm}", self.prefix))? else { return Ok(None) };
        let parsed = content.split_first_chunk::<8>().and_then(|(size, nodes)| {
            let (nodes, []) = nodes.as_chunks::<32>() else { return None };
            CompactRange::from_nodes(u64::from_le_bytes(*size), nodes.iter().copied().map(Hash).collect())
        });
        parsed.map(Some).ok_or(SharedError::NotAuthentic)
    }

    /// Where guards say that they stand in a way out, who can read what is handed over in this layout.
    fn guards_name(&self, exit: &str) -> String {
        format!("{}guards/{LAYOUT}/{exit}", self.prefix)
    }

    /// Says that a guard stands in a way out.
    pub(crate) fn publish_guard(&self, exit: &str, own: Word) -> Result<(), SharedError> {
        self.update(&self.guards_name(exit), |content| {
            let newest = content.and_then(read_word).map_or(own.newest, |word| word.newest.max(own.newest));
            let times = [own.said, newest].map(|time| time.millis().to_le_bytes());
            Ok((Some(times.as_flattened().to_vec()), ()))
        })
    }

    /// What guards say of a way out.
    pub(crate) fn guards(&self, exit: &str) -> Result<Option<Word>, SharedError> {
        Ok(self.value(&self.guards_name(exit))?.as_deref().and_then(read_word))
    }

    /// Publishes how a VM stands.
    pub(crate) fn publish_status(&self, vm: u32, status: &[u8]) -> Result<(), SharedError> {
        self.write(&format!("{}status/{vm}", self.prefix), status, None).map(|_| ())
    }

    /// How a VM said that it stands.
    pub(crate) fn status(&self, vm: u32) -> Result<Option<Vec<u8>>, SharedError> {
        self.value(&format!("{}status/{vm}", self.prefix))
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

impl Values for SharedData {
    fn read(&self, name: &str) -> Result<Option<(Vec<u8>, u32)>, SharedError> {
        Self::read(self, name)
    }

    fn write(&self, name: &str, value: &[u8], cas: Option<u32>) -> Result<bool, SharedError> {
        Self::write(self, name, value, cas)
    }

    fn prefix(&self) -> &str {
        Self::prefix(self)
    }
}

fn read_word(content: &[u8]) -> Option<Word> {
    let (times, []) = content.as_chunks::<8>() else { return None };
    let [said, newest] = times else { return None };
    let time = |bytes: &[u8; 8]| Timestamp(u64::from_le_bytes(*bytes));
    Some(Word { said: time(said), newest: time(newest) })
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
    /// As origins of logs name it.
    pub(crate) fn name(&self) -> String {
        hex(&self.id)
    }

    fn encode(self, gateway: &str) -> Vec<u8> {
        let mut bytes = self.started.millis().to_le_bytes().to_vec();
        bytes.extend_from_slice(&self.id);
        bytes.extend_from_slice(gateway.as_bytes());
        bytes
    }

    /// The boot, and the id of its gateway.
    fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (started, rest) = bytes.split_first_chunk::<8>()?;
        let (id, gateway) = rest.split_first_chunk::<8>()?;
        Some((Self { started: Timestamp(u64::from_le_bytes(*started)), id: *id }, gateway))
    }
}
