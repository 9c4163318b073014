//! What the contexts of one worker VM share: the newest configurations, and the one log.
//!
//! A listener update adds a root context to the VM and leaves the old one to its open connections. Every request is judged
//! by the newest configuration accepted for its plugin, whichever root context its connection arrived on.

use crate::delivery::Delivery;
use crate::elsewhere::{self, Heard, Standing, Word};
use crate::left::Left;
use crate::log::Log;
use crate::metrics::{self, Counts, Metrics};
use crate::newest::{self, Digest, Newest};
use crate::passes::Passes;
use crate::previous::Previous;
use crate::secrets::Secrets;
use crate::sessions::Known;
use crate::shared::{Boot, SharedData};
use crate::starving::Starving;
use crate::waiting::Waiting;
use crate::{host, stamp, wasi};
use exeat_engine::destination::Exit;
use exeat_engine::evidence::key::{GatewayKey, SHARED_STATE};
use exeat_engine::evidence::{Capacity, ConfigRecord, GenesisRecord, Journal, Origin};
use exeat_engine::facts::Timestamp;
use exeat_engine::policy::{CompiledPolicy, Configuration, Gateway, GuardConfiguration, Role};
use proxy_wasm::hostcalls;
use proxy_wasm::types::{LogLevel, MetricType};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

/// Bytes that may wait for the collector, beside the configured number of records.
const QUEUE_BYTES: u64 = 32 * 1024 * 1024;

/// Bytes of bodies that are kept back at a time, where heads go before them: a VM's memory never shrinks.
const KEPT_BYTES: usize = 64 * 1024 * 1024;

/// How often an agent met a host for the first time in the life of the process, over all workers.
const FIRST_SEEN: &str = "exeat.first_seen";

thread_local! {
    static VM: RefCell<Vm> = RefCell::new(Vm::default());
}

/// Works with the state of this VM. Host calls that call back into the VM must not be made inside.
pub(crate) fn with<T>(work: impl FnOnce(&mut Vm) -> T) -> T {
    VM.with_borrow_mut(work)
}

/// A plugin: its configured name and its role.
pub(crate) type Plugin = (String, Role);

/// The state of one VM.
#[derive(Default)]
pub(crate) struct Vm {
    configurations: HashMap<Plugin, Arc<Configuration>>,
    guards: HashMap<Plugin, (Arc<GuardConfiguration>, Timestamp)>,
    /// That of the configuration that came last of them all.
    newest: Option<Arc<Gateway>>,
    /// When each filter's configuration was taken into use.
    accepted: HashMap<Plugin, Timestamp>,
    pub(crate) passes: Passes,
    /// Whether a request left that no guard saw.
    pub(crate) unguarded: bool,
    /// What guards of other VMs say.
    pub(crate) heard: Heard,
    /// Bytes of bodies whose heads have gone and that are kept back.
    pub(crate) kept: usize,
    /// Tunnels and WebSockets by their context, and when each must end.
    pub(crate) streams: HashMap<u32, Timestamp>,
    /// What filters of all VMs are configured with.
    pub(crate) newest_known: Newest,
    /// Valid in themselves, and not in use yet.
    offers: HashMap<Plugin, Offer>,
    identity: Option<Identity>,
    log: Option<Log>,
    /// Accepted and not yet in the log, for the log begins with the first tick or request.
    unrecorded: Vec<ConfigRecord>,
    /// Whether the operator was told why there is no log.
    told: bool,
    roots: u32,
    /// Whether there was a tick or a request: the host does not only try a configuration in this VM.
    pub(crate) serves: bool,
    /// Root contexts of each plugin, by what each was configured with.
    plugins: HashMap<Plugin, Vec<Digest>>,
    /// The host's counter of first meetings, once there was one.
    first_seen: Option<u32>,
    pub(crate) delivery: Delivery,
    pub(crate) left: Left,
    pub(crate) waiting: Waiting,
    pub(crate) starving: Starving,
    pub(crate) previous: Previous,
    pub(crate) counts: Counts,
    pub(crate) metrics: Metrics,
    /// What the collector asks for.
    pub(crate) token: Option<String>,
}

/// What a plugin is configured with.
#[derive(Clone)]
pub(crate) enum Part {
    Filter(Arc<Configuration>),
    Guard(Arc<GuardConfiguration>),
}

impl Part {
    fn gateway(&self) -> &Gateway {
        match self {
            Self::Filter(configuration) => configuration.gateway(),
            Self::Guard(configuration) => configuration.gateway(),
        }
    }

    fn role(&self) -> Role {
        match self {
            Self::Filter(_) => Role::Filter,
            Self::Guard(_) => Role::Guard,
        }
    }

    fn policy(&self) -> Option<&CompiledPolicy> {
        match self {
            Self::Filter(configuration) => Some(configuration.policy()),
            Self::Guard(_) => None,
        }
    }
}

/// A configuration that is valid in itself.
struct Offer {
    part: Part,
    /// As it came.
    bytes: (Digest, Vec<u8>),
    secrets: Secrets,
    /// Its place in the order of all that Envoy brought, where it was not taken into use at once.
    at: Option<Timestamp>,
    /// Whether the operator was told that it is not in use.
    told: bool,
}

/// Why a configuration is not taken into use.
pub(crate) enum NotInUse {
    /// It never will be in this VM.
    Never(String),
    /// It will be once the state of the VM or the process allows it.
    Yet(String),
}

/// What the first configuration fixed for the life of the VM.
struct Identity {
    gateway: String,
    public: [u8; 32],
    key: GatewayKey,
    shared: SharedData,
    boot: Boot,
}

impl Vm {
    /// Brings a configuration that is valid in itself. Whether it is in use afterwards depends on the state of this VM:
    /// where it is not, the one before stays, and the next [`Vm::settle`] tries again.
    pub(crate) fn offer(&mut self, plugin: Plugin, bytes: (Digest, Vec<u8>), part: Part, secrets: Secrets) {
        self.offers.insert(plugin, Offer { part, bytes, secrets, at: None, told: false });
    }

    /// Takes into use what was offered. Whether there are other VMs to tell of it.
    pub(crate) fn settle(&mut self, now: Timestamp) -> bool {
        let mut news = false;
        for (plugin, mut offer) in std::mem::take(&mut self.offers) {
            let overtaken = |at: Timestamp| {
                self.shared().is_some_and(|shared| newest::is_overtaken(&shared, &plugin, at, offer.bytes.0))
            };
            if offer.part.role() == Role::Filter && offer.at.is_some_and(overtaken) {
                continue;
            }
            let why = match self.accept(&plugin, &offer.part, &offer.secrets, now) {
                Ok(()) => {
                    if let (Role::Filter, Some(shared)) = (offer.part.role(), self.shared()) {
                        let at = offer.at.unwrap_or_else(|| newest::order(&shared, &plugin, now));
                        news |= self.newest_known.came(&shared, &plugin, (at, now), offer.bytes);
                    }
                    // Guards say nothing that the rendered configuration does not, and there is one for each way out.
                    let level = if offer.part.role() == Role::Guard { LogLevel::Debug } else { LogLevel::Info };
                    host::log(level, &accepted(&offer.part));
                    continue;
                }
                Err(NotInUse::Never(why)) => why,
                Err(NotInUse::Yet(_)) if offer.told => {
                    self.offers.insert(plugin, offer);
                    continue;
                }
                Err(NotInUse::Yet(why)) => {
                    offer.at = Some(self.shared().map_or(now, |shared| newest::order(&shared, &plugin, now)));
                    offer.told = true;
                    self.offers.insert(plugin, offer);
                    format!("{why}; it is tried again")
                }
            };
            let rest = "the configuration before stays, without one requests are refused";
            host::log(LogLevel::Error, &format!("exeat: configuration not in use, {rest}: {why}"));
        }
        news
    }

    /// Whether Envoy brings what is in use already, for another VM was told of it before.
    pub(crate) fn confirm(&mut self, plugin: &Plugin, digest: &Digest) -> bool {
        let Some(configuration) = self.configuration(plugin) else { return false };
        if !self.newest_known.confirms(plugin, digest) {
            return false;
        }
        self.offers.remove(plugin);
        host::log(LogLevel::Info, &accepted(&Part::Filter(configuration)));
        true
    }

    /// Takes into use what another VM of this process was configured with.
    pub(crate) fn take_over(
        &mut self,
        plugin: &Plugin,
        part: Part,
        secrets: &Secrets,
        now: Timestamp,
    ) -> Result<(), NotInUse> {
        self.accept(plugin, &part, secrets, now)?;
        host::log(LogLevel::Info, &format!("{}, from another VM", accepted(&part)));
        Ok(())
    }

    fn accept(&mut self, plugin: &Plugin, part: &Part, secrets: &Secrets, now: Timestamp) -> Result<(), NotInUse> {
        let (gateway, policy) = (part.gateway(), part.policy());
        self.identify(gateway, &secrets.key, now)?;
        let record = ConfigRecord {
            time: now,
            plugin: plugin.0.clone(),
            role: part.role().as_str().to_owned(),
            mode: gateway.mode(),
            delivery: gateway.delivery(),
            when_full: gateway.when_full(),
            mask: gateway.mask().clone(),
            revision: policy.map(|policy| policy.revision().to_owned()),
            policy: policy.map(|policy| policy.digest().to_owned()),
        };
        match &mut self.log {
            Some(log) => log
                .record_config(&record)
                .map_err(|error| NotInUse::Yet(format!("its acceptance cannot be recorded: {error}")))?,
            None => self.unrecorded.push(record),
        }
        self.newest = Some(Arc::new(gateway.clone()));
        self.token.clone_from(&secrets.token);
        match part {
            Part::Filter(configuration) => {
                self.configurations.insert(plugin.clone(), Arc::clone(configuration));
                self.accepted.insert(plugin.clone(), now);
            }
            Part::Guard(configuration) => {
                self.guards.insert(plugin.clone(), (Arc::clone(configuration), now));
            }
        }
        Ok(())
    }

    /// Key and shared state. They cannot change under a log that is signed with them.
    fn identify(&mut self, gateway: &Gateway, key: &GatewayKey, now: Timestamp) -> Result<(), NotInUse> {
        let gateway = gateway.id();
        if let Some(identity) = &self.identity {
            if identity.gateway == gateway && identity.public == key.public() {
                return Ok(());
            }
            return Err(NotInUse::Never(format!(
                "gateway: /gateway/id: this VM writes the log of {:?} under another id or key; give the plugin a new \
                 vm_id, or restart the gateway",
                identity.gateway
            )));
        }
        let random = wasi::random().ok_or_else(|| NotInUse::Yet("the host gives no random bytes".to_owned()))?;
        let shared = SharedData::new(gateway, key.derive(SHARED_STATE));
        let boot = shared.boot(now, &random).map_err(|error| {
            NotInUse::Yet(format!(
                "the state that the workers share cannot be used: {error:?}; a gateway of another id or key, or another \
                 plugin, writes there under the same vm_id: give this one its own, or restart the gateway"
            ))
        })?;
        let (key, public) = (key.clone(), key.public());
        self.identity = Some(Identity { gateway: gateway.to_owned(), public, key, shared, boot });
        Ok(())
    }

    /// The newest configuration of a plugin.
    pub(crate) fn configuration(&self, plugin: &Plugin) -> Option<Arc<Configuration>> {
        self.configurations.get(plugin).map(Arc::clone)
    }

    /// When the configuration was taken into use that is the oldest of those that filters of this VM judge by.
    pub(crate) fn accepted_at(&self) -> Option<Timestamp> {
        self.accepted.values().min().copied()
    }

    /// The newest configuration of a guard.
    pub(crate) fn guard(&self, plugin: &Plugin) -> Option<Arc<GuardConfiguration>> {
        self.guards.get(plugin).map(|(configuration, _)| Arc::clone(configuration))
    }

    /// Where the guard of a way out stands. One that Envoy left out, or could not configure, is not here.
    pub(crate) fn guard_of(&mut self, exit: Exit, now: Timestamp) -> Standing {
        let own = self.guarded_since(exit);
        elsewhere::standing(self, exit, own, now)
    }

    /// When the newest guard of this VM in a way out was taken into use.
    fn guarded_since(&self, exit: Exit) -> Option<Timestamp> {
        let of = self.guards.values().filter(|(guard, _)| guard.exits().contains(&exit));
        of.map(|(_, since)| *since).max()
    }

    /// Tells filters of other VMs where guards of this one stand.
    pub(crate) fn tell_guards(&self, now: Timestamp) {
        let Some(identity) = &self.identity else { return };
        for exit in Exit::ALL {
            if let Some(newest) = self.guarded_since(exit) {
                let _ = identity.shared.publish_guard(exit.word(), Word { said: now, newest });
            }
        }
    }

    /// Hears what guards of other VMs say, where that may be asked.
    pub(crate) fn listen(&mut self, now: Timestamp) {
        if !self.configurations.is_empty() {
            elsewhere::listen(self, now);
        }
    }

    /// What the VMs of this process share.
    pub(crate) fn shared(&self) -> Option<SharedData> {
        self.identity.as_ref().map(|identity| identity.shared.clone())
    }

    /// The gateway as the newest configuration of any plugin says it, for what concerns the VM as a whole.
    pub(crate) fn gateway(&self) -> Option<Arc<Gateway>> {
        self.newest.as_ref().map(Arc::clone)
    }

    /// Id of the gateway, and name of the boot.
    pub(crate) fn boot(&self) -> Option<(String, String)> {
        self.identity.as_ref().map(|identity| (identity.gateway.clone(), identity.boot.name()))
    }

    /// The log, begun where it is not yet. Not at configuration: the host configures VMs that never serve.
    pub(crate) fn log(&mut self, now: Timestamp) -> Option<&mut Log> {
        if self.log.is_none() {
            match self.begin_log(now) {
                Ok(log) => self.log = log,
                // Once: it is tried again on every tick and for every request.
                Err(why) if !self.told => {
                    self.told = true;
                    host::log(LogLevel::Error, &format!("exeat: no evidence log, requests are refused: {why}"));
                }
                Err(_) => {}
            }
        }
        self.log.as_mut()
    }

    /// The log where there is one.
    pub(crate) fn begun_log(&mut self) -> Option<&mut Log> {
        self.log.as_mut()
    }

    /// `None` as long as no configuration is in use.
    fn begin_log(&mut self, now: Timestamp) -> Result<Option<Log>, String> {
        let (Some(gateway), Some(identity)) = (&self.newest, &self.identity) else { return Ok(None) };
        let shared = identity.shared.clone();
        let number = shared.next_vm().map_err(|error| format!("shared state: {error:?}"))?;
        let origin = Origin::new(&identity.gateway, &identity.boot.name(), &number.to_string())
            .map_err(|error| error.to_string())?;
        let genesis = GenesisRecord {
            origin,
            time: now,
            start: identity.boot.started,
            environment: gateway.environment().map(str::to_owned),
            deployment: gateway.deployment().map(str::to_owned),
            module: stamp::module(),
            previous: self.previous.take(),
        };
        let capacity = Capacity { records: u64::from(gateway.queue()), bytes: QUEUE_BYTES };
        let journal = Journal::new(&genesis, identity.key.clone(), capacity).map_err(|error| error.to_string())?;
        let started = identity.boot.started;
        let mut log = Log {
            journal,
            shared,
            started,
            known: Known::new(number),
            number,
            begun: now,
            published: 0,
            witnessed: true,
        };
        for record in &self.unrecorded {
            log.record_config(record).map_err(|error| error.to_string())?;
        }
        self.unrecorded.clear();
        log.publish();
        Ok(Some(log))
    }

    /// Makes room for so many bytes of a body that is kept back; `false` where there is none.
    pub(crate) fn keep(&mut self, bytes: usize) -> bool {
        let kept = self.kept.saturating_add(bytes);
        let fits = kept <= KEPT_BYTES;
        if fits {
            self.kept = kept;
        }
        fits
    }

    /// Counts a first meeting of an agent and a host. A host without metrics is none the worse.
    pub(crate) fn count_first_seen(&mut self) {
        if self.first_seen.is_none() {
            self.first_seen = hostcalls::define_metric(MetricType::Counter, FIRST_SEEN).ok();
        }
        if let Some(counter) = self.first_seen {
            let _ = hostcalls::increment_metric(counter, 1);
        }
    }

    /// Tunnels and WebSockets that have outlived their time, each once.
    pub(crate) fn overdue(&mut self, now: Timestamp) -> Vec<u32> {
        let overdue: Vec<u32> = self.streams.iter().filter(|(_, until)| now > **until).map(|(id, _)| *id).collect();
        overdue.iter().for_each(|id| _ = self.streams.remove(id));
        overdue
    }

    pub(crate) fn root_created(&mut self) {
        self.roots = self.roots.saturating_add(1);
    }

    /// A root context was configured as this plugin.
    pub(crate) fn plugin_came(&mut self, plugin: &Plugin, digest: Digest) {
        self.plugins.entry(plugin.clone()).or_default().push(digest);
    }

    /// A root context is to go that was configured as this plugin. With the last one what it was configured with goes, and the VM
    /// says of itself no longer that it judges by it, or that a guard stands there. `refused`: now, where its listener was refused.
    pub(crate) fn plugin_went(&mut self, plugin: &Plugin, digest: &Digest, refused: Option<Timestamp>) {
        let roots = self.plugins.entry(plugin.clone()).or_default();
        // Oldest first. What came before something else was not refused: that has come in its place.
        let last = roots.last() == Some(digest);
        if let Some(at) = roots.iter().rposition(|of| of == digest) {
            roots.remove(at);
        }
        let (is_last, others) = (roots.is_empty(), roots.contains(digest));
        if let Some(now) = refused.filter(|_| last && !others) {
            if self.offers.get(plugin).is_some_and(|offer| offer.bytes.0 == *digest) {
                self.offers.remove(plugin);
            }
            newest::withdraw(self, plugin, digest, now);
            if !is_last {
                newest::exchange(self, now);
            }
        }
        if !is_last {
            return;
        }
        self.plugins.remove(plugin);
        self.offers.remove(plugin);
        self.configurations.remove(plugin);
        self.accepted.remove(plugin);
        self.guards.remove(plugin);
        self.newest_known.went(plugin);
    }

    /// Whether this VM may stand in the place of one that died.
    pub(crate) fn is_rebuilt(&self, now: Timestamp) -> bool {
        self.log.as_ref().is_some_and(|log| metrics::has_dead(log, now))
    }

    /// Whether another VM has a newer configuration of a filter, which this one cannot judge by.
    pub(crate) fn is_outdated(&self, plugin: &Plugin) -> bool {
        self.newest_known.is_outdated(plugin)
    }

    /// Whether no root context is left but those that are to go.
    pub(crate) fn is_ending(&self) -> bool {
        self.roots == 0
    }

    /// Whether the last root context of the VM is gone.
    pub(crate) fn root_done(&mut self) -> bool {
        self.roots = self.roots.saturating_sub(1);
        self.roots == 0
    }
}

fn accepted(part: &Part) -> String {
    let gateway = part.gateway();
    let what = match part {
        Part::Filter(configuration) => {
            let policy = configuration.policy();
            format!("policy {} {}, mode {}", policy.revision(), policy.digest(), gateway.mode().as_str())
        }
        Part::Guard(configuration) => {
            let exits: Vec<_> = configuration.exits().iter().map(|exit| exit.word()).collect();
            format!("guard of {}", exits.join(", "))
        }
    };
    format!("{}: configuration accepted: gateway {}, {what}", stamp::line(), gateway.id())
}
