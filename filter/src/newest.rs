//! The newest configuration of a filter, for the VMs that Envoy does not bring it to.
//!
//! A listener with another module is served by VMs of its own, and connections that were open before stay with the old ones until they have
//! drained. What comes after that comes to the new VMs alone. So a VM that Envoy brings a configuration to keeps it in shared data, and the
//! others take it from there before they judge the next request, as if Envoy had brought it. One that cannot be taken, for an older module
//! does not know all that it says, is newer all the same: without it nothing is let go any more by the one before.
//!
//! | value, for each plugin | |
//! |---|---|
//! | `newest/<plugin>` | when Envoy brought the newest last (8), since when a VM writes the next (8), since when it is the newest and how many VMs it came to (8, 2), digest and slot of the newest (32, 1) and of what it replaced (32, 1), how many were replaced (2), those (8 of each digest, the last first, 256 at most). All that is looked at again and again |
//! | `configuration/<plugin>/<slot>` | as it came, in three slots. Its digest stands for it |
//!
//! What is kept is what came last. Its time is later than that of what was kept when it came, whatever the clock does. It is kept at once,
//! or with the first tick or request of the VM: those in which Envoy only tries a configuration have neither.
//!
//! Envoy brings the same one to each worker at about the same time, and a worker may be late; and into a VM that was built anew after it
//! died Envoy brings what old listeners have, too. So what was replaced before is not taken for new, unless it comes to a VM that judges by the very
//! one that it replaces, or nothing newer comes for a while. Until then that VM judges by what is kept.
//!
//! Envoy brings a configuration before it has read the rest of the listener. Where it refuses that for something else, the root context is to go
//! again at once, and what was replaced is put back: once it is to go from all VMs that it came to, for those of another listener have it, too.

mod kept;

use crate::shared::{SharedData, SharedError};
use crate::vm::{NotInUse, Plugin, Vm};
use crate::{host, root};
use exeat_engine::facts::Timestamp;
use exeat_engine::policy::Role;
pub(crate) use kept::{Digest, digest};
use kept::{Keeping, Mark, Offered, Origin, Place};
use proxy_wasm::types::LogLevel;
use std::collections::HashMap;

/// Milliseconds after which it is known whether a VM may stand in the place of one that died, and whether a worker was late.
const CERTAIN: u64 = 5_000;

/// Milliseconds after which what could not be done is tried again: there is no room for the record of it, say.
const AGAIN: u64 = 5_000;

/// Milliseconds for which something else may stand in the place of the newest: another VM is just writing.
const TORN: u64 = 1_000;

/// What filters of this VM are configured with.
#[derive(Default)]
pub(crate) struct Newest(HashMap<Plugin, Own>);

struct Own {
    place: Place,
    /// What this VM judges by, and its place in the order of all: nothing older is taken.
    digest: Digest,
    at: Timestamp,
    /// Whether another VM brought it, and Envoy did not.
    passed_on: bool,
    /// What Envoy brought and others may not have yet.
    offered: Option<Offer>,
    /// How what Envoy brought is marked, once others have it.
    brought: Option<Mark>,
    /// Whether that it brought it is to be marked, others having it already.
    confirmed: bool,
    /// A newer one that cannot be taken.
    untakable: Option<Digest>,
    /// What is kept cannot be read: another plugin writes there.
    unreadable: bool,
    /// When a newer one is tried again.
    again: Timestamp,
    /// Since when another one is marked than is kept.
    torn: Option<Timestamp>,
    /// The mark that was looked at.
    seen: Vec<u8>,
}

struct Offer {
    offered: Offered,
    since: Timestamp,
    /// When it is offered next.
    due: Timestamp,
}

impl Newest {
    /// This one came from Envoy and is in use. Whether there may be others to tell of it.
    pub(crate) fn came(
        &mut self,
        shared: &SharedData,
        plugin: &Plugin,
        (at, now): (Timestamp, Timestamp),
        (digest, bytes): (Digest, Vec<u8>),
    ) -> bool {
        let place = Place::of(shared, &plugin.0);
        let mark = place.kept(shared).ok().flatten().map(|kept| kept.mark());
        let last = self.0.get(plugin);
        let offered = Offered { at, digest, bytes, before: last.map(|own| own.digest), alone: false };
        let brought = last.and_then(|own| own.brought).filter(|mark| mark.digest == digest);
        let own = Own {
            place,
            digest,
            at: offered.at,
            passed_on: false,
            offered: Some(Offer { offered, since: now, due: Timestamp::default() }),
            brought,
            confirmed: false,
            untakable: None,
            unreadable: false,
            again: Timestamp::default(),
            torn: None,
            seen: Vec::new(),
        };
        self.0.insert(plugin.clone(), own);
        mark.is_some_and(|mark| mark.digest != digest)
    }

    /// Whether Envoy brings what another VM passed on, and this one judges by.
    pub(crate) fn confirms(&mut self, plugin: &Plugin, digest: &Digest) -> bool {
        let Some(own) = self.0.get_mut(plugin).filter(|own| own.passed_on) else { return false };
        let same = *digest == own.digest;
        if same {
            (own.passed_on, own.confirmed, own.offered) = (false, true, None);
        }
        same
    }

    /// Nobody asks for it any more.
    pub(crate) fn went(&mut self, plugin: &Plugin) {
        self.0.remove(plugin);
    }

    /// Whether there is a newer one than this VM can judge by.
    pub(crate) fn is_outdated(&self, plugin: &Plugin) -> bool {
        self.0.get(plugin).is_some_and(|own| own.untakable.is_some() || own.unreadable)
    }
}

/// The place in the order of all that a configuration has which comes now.
pub(crate) fn order(shared: &SharedData, plugin: &Plugin, now: Timestamp) -> Timestamp {
    let kept = Place::of(shared, &plugin.0).kept(shared).ok().flatten();
    kept.map_or(now, |kept| now.max(kept.at.plus_millis(1)))
}

/// Whether something newer came since to another VM, while it could not be taken into use here.
pub(crate) fn is_overtaken(shared: &SharedData, plugin: &Plugin, at: Timestamp, digest: Digest) -> bool {
    let kept = Place::of(shared, &plugin.0).kept(shared).ok().flatten();
    kept.is_some_and(|kept| kept.overtakes(Mark { at, digest }))
}

/// Before a request is judged: takes what has come since.
pub(crate) fn look(vm: &mut Vm, plugin: &Plugin, now: Timestamp) {
    let news = |own: &Own| {
        let offers = own.offered.as_ref().is_some_and(|offer| now >= offer.due);
        offers || own.confirmed || own.unreadable || own.place.glance() != own.seen
    };
    vm.serves = true;
    if vm.newest_known.0.get(plugin).is_some_and(news) {
        exchange(vm, now);
    }
}

/// Keeps what this VM has for others, and takes what they have.
pub(crate) fn exchange(vm: &mut Vm, now: Timestamp) {
    let Some(shared) = vm.shared() else { return };
    let mut all = std::mem::take(&mut vm.newest_known.0);
    let offers = all.values().any(|own| own.offered.as_ref().is_some_and(|offer| now >= offer.due));
    let origin = if offers { origin(vm, now) } else { Origin::Unsure };
    for (plugin, own) in &mut all {
        // Where shared data cannot be used at all, no request is let go either.
        let results = [own.offer(&shared, origin, now), take(vm, &shared, plugin, own, now)];
        own.unreadable = results.contains(&Err(SharedError::NotAuthentic));
    }
    vm.newest_known.0 = all;
}

/// The root context is to go that Envoy brought this one with, and no request has met it there: the listener was refused.
pub(crate) fn withdraw(vm: &mut Vm, plugin: &Plugin, digest: &Digest, now: Timestamp) {
    let (Some(shared), Some(own)) = (vm.shared(), vm.newest_known.0.get_mut(plugin)) else { return };
    own.offered.take_if(|offer| offer.offered.digest == *digest);
    if let Some(brought) = own.brought.take_if(|mark| mark.digest == *digest) {
        // What cannot be put back stays, as where there was nothing before.
        let _ = own.place.put_back(&shared, brought, now);
    }
    if own.digest == *digest {
        own.at = Timestamp::default();
        own.seen.clear();
    }
}

fn origin(vm: &mut Vm, now: Timestamp) -> Origin {
    if vm.is_rebuilt(now) {
        return Origin::Rebuilt;
    }
    let old = vm.begun_log().is_some_and(|log| now.millis_since(log.begun) >= CERTAIN);
    if old { Origin::First } else { Origin::Unsure }
}

impl Own {
    fn offer(&mut self, shared: &SharedData, origin: Origin, now: Timestamp) -> Result<(), SharedError> {
        if self.confirmed {
            let own = Mark { at: now, digest: self.digest };
            self.brought = self.place.mark_again(shared, own, self.brought)?;
            self.confirmed = false;
        }
        let Some(offer) = self.offered.as_mut().filter(|offer| now >= offer.due) else { return Ok(()) };
        offer.offered.alone = now.millis_since(offer.since) >= CERTAIN;
        let (keeping, mark) = self.place.offer(shared, &offer.offered, origin, self.brought, now)?;
        match keeping {
            Keeping::Replace(_) | Keeping::Stays => {
                self.brought = (mark.digest == offer.offered.digest).then_some(mark);
                self.offered = None;
            }
            Keeping::Past => (self.at, self.offered) = (Timestamp::default(), None),
            Keeping::Unclear => (self.at, offer.due) = (Timestamp::default(), now.plus_millis(CERTAIN)),
        }
        Ok(())
    }
}

/// Takes what is kept into use, where that is another one.
fn take(vm: &mut Vm, shared: &SharedData, plugin: &Plugin, own: &mut Own, now: Timestamp) -> Result<(), SharedError> {
    let seen = own.place.glance();
    // What this VM has to offer comes first.
    let offers = own.offered.as_ref().is_some_and(|offer| now >= offer.due);
    if offers || !own.unreadable && seen == own.seen || now < own.again && own.again.millis_since(now) <= AGAIN {
        return Ok(());
    }
    let Some(kept) = own.place.kept(shared)? else { return Ok(()) };
    let Mark { at, digest } = kept.mark();
    if digest == own.digest {
        (own.at, own.untakable, own.torn, own.seen) = (own.at.max(at), None, None, seen);
        return Ok(());
    }
    if at < own.at {
        // Somebody put it back. Of those that write here each is later than the one before.
        return Err(SharedError::NotAuthentic);
    }
    if own.untakable == Some(digest) {
        own.seen = seen;
        return Ok(());
    }
    let Some(bytes) = own.place.configuration(&kept)? else {
        // Perhaps something newer is just written in its place.
        let since = *own.torn.get_or_insert(now);
        return if now.millis().abs_diff(since.millis()) > TORN { Err(SharedError::NotAuthentic) } else { Ok(()) };
    };
    own.torn = None;
    let taken = root::read(&bytes).map_err(NotInUse::Never).and_then(|(role, part, secrets)| match role {
        Role::Filter => vm.take_over(plugin, part, &secrets, now),
        Role::Guard => Err(NotInUse::Never("it is that of a guard".to_owned())),
    });
    match taken {
        Ok(()) => {
            (own.digest, own.at, own.passed_on, own.untakable, own.seen) = (digest, at, true, None, seen);
        }
        Err(NotInUse::Yet(_)) => own.again = now.plus_millis(AGAIN),
        Err(NotInUse::Never(why)) => {
            (own.untakable, own.seen) = (Some(digest), seen);
            let rest = "requests on connections from before are refused until those have drained";
            host::log(
                LogLevel::Error,
                &format!("exeat: a newer configuration cannot be used by this module, {rest}: {why}"),
            );
        }
    }
    Ok(())
}
