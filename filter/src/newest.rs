//! The newest configuration of a filter, for the VMs that Envoy does not bring it to.
//!
//! A listener with another module is served by VMs of its own, and connections that were open before stay with the old ones until they have
//! drained. What comes after that comes to the new VMs alone. So a VM that has had a configuration for a moment keeps it in shared data, and the
//! others take it from there, as if Envoy had brought it. One that cannot be taken, for an older module does not know all that it
//! says, is newer all the same: without it nothing is let go any more by the one before.
//!
//! | value, one of each for a plugin | |
//! |---|---|
//! | `configuration/<plugin>` | when it was taken into use (8), digests of those before (8 each, the last first, 64 at most; their number is one byte), the configuration |
//! | `newest/<plugin>` | the same time (8), digest of the configuration (32): all that is looked at again and again |
//!
//! What is kept is what came last. Its time is later than that of what was kept when it came, whatever the clock does. Envoy brings the same one to
//! each worker at about the same time, and a worker may be late; so a VM keeps only what it has had for a moment. In a VM that was built anew after it died Envoy may
//! bring what an old listener had: what was replaced before is not kept by such a one.

use crate::shared::{SharedData, SharedError};
use crate::vm::{NotInUse, Plugin, Vm};
use crate::{host, root};
use exeat_engine::facts::Timestamp;
use exeat_engine::hex::hex;
use exeat_engine::policy::Role;
use proxy_wasm::types::LogLevel;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;

/// Milliseconds after which a configuration is kept for others.
const SETTLED: u64 = 500;

/// Bytes beyond which a configuration is not kept for others: to hold it and write it would take a VM, whose memory never shrinks,
/// three times as much again. Connections that a module before still has are then judged by what that has, until they have drained.
const LARGEST: usize = 1024 * 1024;

/// Milliseconds after which one is tried again that cannot be taken yet: there is no room for the record of it.
const AGAIN: u64 = 5_000;

/// Digests of configurations that were replaced.
const BEFORE: usize = 64;

type Digest = [u8; 32];
type Short = [u8; 8];

/// What filters of this VM are configured with.
#[derive(Default)]
pub(crate) struct Newest(HashMap<Plugin, Own>);

struct Own {
    /// Its place in the order of all: when it came from Envoy, or later than what was kept then.
    at: Timestamp,
    /// When this VM took it into use.
    since: Timestamp,
    /// Nothing but zeros for one that is too large to be kept.
    digest: Digest,
    /// As long as it may have to be kept for others.
    bytes: Option<Vec<u8>>,
    /// A newer one that cannot be taken.
    untakable: Option<Digest>,
    /// When a newer one was found that cannot be taken yet.
    put_off: Timestamp,
}

impl Newest {
    /// This one came from Envoy and is in use.
    pub(crate) fn came(&mut self, shared: &SharedData, plugin: &Plugin, now: Timestamp, bytes: Vec<u8>) {
        let kept = Place::of(shared, plugin).newest().ok().flatten();
        let at = kept.map_or(now, |(at, _)| now.max(at.plus_millis(1)));
        let bytes = Some(bytes).filter(|bytes| bytes.len() <= LARGEST);
        let own = Own {
            at,
            since: now,
            digest: bytes.as_ref().map_or([0; 32], |bytes| Sha256::digest(bytes).into()),
            bytes,
            untakable: None,
            put_off: Timestamp::default(),
        };
        self.0.insert(plugin.clone(), own);
    }

    /// Nobody asks for it any more.
    pub(crate) fn went(&mut self, plugin: &Plugin) {
        self.0.remove(plugin);
    }

    /// Whether there is a newer one than this VM can judge by.
    pub(crate) fn is_outdated(&self, plugin: &Plugin) -> bool {
        self.0.get(plugin).is_some_and(|own| own.untakable.is_some())
    }
}

/// Keeps what this VM has for others, and takes what they have.
pub(crate) fn exchange(vm: &mut Vm, now: Timestamp) {
    let Some(shared) = vm.shared() else { return };
    let mut all = std::mem::take(&mut vm.newest_known.0);
    let rebuilt = all.values().any(|own| own.bytes.is_some()) && vm.is_rebuilt(now);
    for (plugin, own) in &mut all {
        let place = Place::of(&shared, plugin);
        // Where shared data cannot be used no request is let go either.
        let _ = place.keep(own, rebuilt, now);
        if now.millis().abs_diff(own.put_off.millis()) >= AGAIN
            && let Ok(Some(newer)) = place.newer(own)
        {
            take(vm, plugin, own, newer, now);
        }
    }
    vm.newest_known.0 = all;
}

fn take(vm: &mut Vm, plugin: &Plugin, own: &mut Own, newer: Kept, now: Timestamp) {
    let digest: Digest = Sha256::digest(&newer.bytes).into();
    if own.untakable == Some(digest) {
        return;
    }
    let taken = root::read(&newer.bytes).map_err(NotInUse::Never).and_then(|(role, part, secrets)| match role {
        Role::Filter => vm.take_over(plugin, part, &secrets, now),
        Role::Guard => Err(NotInUse::Never("it is that of a guard".to_owned())),
    });
    match taken {
        Ok(()) => *own = Own { at: newer.at, since: now, digest, bytes: None, untakable: None, ..*own },
        Err(NotInUse::Yet(_)) => own.put_off = now,
        Err(NotInUse::Never(why)) => {
            own.untakable = Some(digest);
            let rest = "requests on connections from before are refused until those have drained";
            host::log(
                LogLevel::Error,
                &format!("exeat: a newer configuration cannot be used by this module, {rest}: {why}"),
            );
        }
    }
}

/// What stands under `configuration/<plugin>`.
#[derive(Debug, PartialEq, Eq)]
struct Kept {
    at: Timestamp,
    before: Vec<Short>,
    bytes: Vec<u8>,
}

impl Kept {
    fn write(&self) -> Vec<u8> {
        let mut value = self.at.millis().to_le_bytes().to_vec();
        // INVARIANT: at most 64.
        value.push(u8::try_from(self.before.len()).unwrap_or(0));
        value.extend_from_slice(self.before.as_flattened());
        value.extend_from_slice(&self.bytes);
        value
    }

    fn read(value: &[u8]) -> Option<Self> {
        let (at, rest) = value.split_first_chunk::<8>()?;
        let (count, rest) = rest.split_first()?;
        let (before, bytes) = rest.split_at_checked(usize::from(*count).saturating_mul(8))?;
        let (before, []) = before.as_chunks::<8>() else { return None };
        Some(Self { at: Timestamp(u64::from_le_bytes(*at)), before: before.to_vec(), bytes: bytes.to_vec() })
    }
}

fn short(digest: &Digest) -> Short {
    let [a, b, c, d, e, f, g, h, ..] = *digest;
    [a, b, c, d, e, f, g, h]
}

/// What comes of a configuration that a VM has had for a moment.
#[derive(Debug, PartialEq, Eq)]
enum Keeping {
    /// It is kept from now on.
    Replace(Kept),
    /// What is kept is newer, or the same.
    Stays,
    /// It was replaced before: this VM has it from a listener that is on its way out.
    Past,
}

fn keep(kept: Option<&Kept>, at: Timestamp, digest: &Digest, bytes: &[u8], rebuilt: bool) -> Keeping {
    let Some(kept) = kept else {
        return Keeping::Replace(Kept { at, before: Vec::new(), bytes: bytes.to_vec() });
    };
    let last: Digest = Sha256::digest(&kept.bytes).into();
    if last == *digest || kept.at >= at {
        return Keeping::Stays;
    }
    if rebuilt && kept.before.contains(&short(digest)) {
        return Keeping::Past;
    }
    let before = std::iter::once(short(&last)).chain(kept.before.iter().copied());
    Keeping::Replace(Kept { at, before: before.take(BEFORE).collect(), bytes: bytes.to_vec() })
}

/// Where the newest configuration of a plugin stands.
struct Place<'a> {
    shared: &'a SharedData,
    configuration: String,
    newest: String,
}

impl<'a> Place<'a> {
    fn of(shared: &'a SharedData, (plugin, _): &Plugin) -> Self {
        let digest: Digest = Sha256::digest(plugin).into();
        let name = hex(&short(&digest));
        let prefix = shared.prefix();
        Self {
            shared,
            configuration: format!("{prefix}configuration/{name}"),
            newest: format!("{prefix}newest/{name}"),
        }
    }

    /// The time and digest that stand beside the newest.
    fn newest(&self) -> Result<Option<(Timestamp, Digest)>, SharedError> {
        let Some(content) = self.shared.value(&self.newest)? else { return Ok(None) };
        let parsed = content
            .split_first_chunk::<8>()
            .and_then(|(at, digest)| Some((Timestamp(u64::from_le_bytes(*at)), Digest::try_from(digest).ok()?)));
        parsed.map(Some).ok_or(SharedError::NotAuthentic)
    }

    fn keep(&self, own: &mut Own, rebuilt: bool, now: Timestamp) -> Result<(), SharedError> {
        let Some(bytes) = own.bytes.as_ref().filter(|_| now.millis().abs_diff(own.since.millis()) >= SETTLED) else {
            return Ok(());
        };
        // Most often another VM was quicker.
        if self.newest()?.is_some_and(|(_, digest)| digest == own.digest) {
            own.bytes = None;
            return Ok(());
        }
        let (at, digest) = (own.at, own.digest);
        let (past, standing) = self.shared.update(&self.configuration, |content| {
            let kept = content.map(|content| Kept::read(content).ok_or(SharedError::NotAuthentic)).transpose()?;
            Ok(match keep(kept.as_ref(), at, &digest, bytes, rebuilt) {
                Keeping::Replace(new) => (Some(new.write()), (false, (at, digest))),
                which => {
                    let kept = kept.map_or((at, digest), |kept| (kept.at, Sha256::digest(&kept.bytes).into()));
                    (None, (which == Keeping::Past, kept))
                }
            })
        })?;
        if past {
            own.at = Timestamp::default();
        }
        self.shared.update(&self.newest, |content| {
            let before = content.and_then(|content| content.first_chunk::<8>()).map_or(0, |at| u64::from_le_bytes(*at));
            let (at, digest) = standing;
            let new = [&at.millis().to_le_bytes()[..], &digest].concat();
            Ok(((at.millis() > before).then_some(new), ()))
        })?;
        own.bytes = None;
        Ok(())
    }

    /// The newest one, where that is not one's own.
    fn newer(&self, own: &Own) -> Result<Option<Kept>, SharedError> {
        let is_newer = |(at, digest): &(Timestamp, Digest)| *at > own.at && *digest != own.digest;
        if !self.newest()?.is_some_and(|newest| is_newer(&newest) && own.untakable != Some(newest.1)) {
            return Ok(None);
        }
        let Some(content) = self.shared.value(&self.configuration)? else { return Ok(None) };
        let kept = Kept::read(&content).ok_or(SharedError::NotAuthentic)?;
        Ok(Some(kept).filter(|kept| kept.at > own.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(bytes: &[u8]) -> Digest {
        Sha256::digest(bytes).into()
    }

    fn replaced(kept: Option<&Kept>, at: u64, bytes: &[u8], rebuilt: bool) -> Option<Kept> {
        match keep(kept, Timestamp(at), &digest(bytes), bytes, rebuilt) {
            Keeping::Replace(new) => Some(new),
            Keeping::Stays | Keeping::Past => None,
        }
    }

    #[test]
    fn the_last_one_is_kept_with_those_before() {
        let first = replaced(None, 10, b"one", false).unwrap();
        assert_eq!(replaced(Some(&first), 20, b"one", false), None, "the same");
        assert_eq!(replaced(Some(&first), 10, b"two", false), None, "as old");
        let second = replaced(Some(&first), 20, b"two", false).unwrap();
        assert_eq!(replaced(Some(&second), 15, b"one", false), None, "a worker that was late");
        // The operator goes back, and a VM that died does not.
        assert!(replaced(Some(&second), 30, b"one", false).is_some());
        assert_eq!(keep(Some(&second), Timestamp(30), &digest(b"one"), b"one", true), Keeping::Past);
        assert!(replaced(Some(&second), 30, b"three", true).is_some());
        let mut kept = second;
        for n in 0..100_u64 {
            kept = replaced(Some(&kept), 100 + n, format!("{n}").as_bytes(), true).unwrap();
        }
        assert_eq!((kept.before.len(), kept.before[0]), (BEFORE, short(&digest(b"98"))));
        assert_eq!(Kept::read(&kept.write()), Some(kept));
    }

    #[test]
    fn nothing_else_is_read() {
        let kept = Kept { at: Timestamp(7), before: vec![[1; 8], [2; 8]], bytes: b"xyz".to_vec() };
        let value = kept.write();
        for end in 0..value.len() - 3 {
            assert_eq!(Kept::read(&value[..end]), None);
        }
        assert_eq!(Kept::read(&value), Some(kept));
    }
}
