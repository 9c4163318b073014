//! What the contexts of one worker VM share: the newest configurations, and the one log.
//!
//! A listener update adds a root context to the VM and leaves the old one to its open connections. Every request is judged
//! by the newest configuration accepted for its plugin, whichever root context its connection arrived on.

use crate::delivery::Delivery;
use crate::metrics::{Counts, Metrics};
use crate::passes::Passes;
use crate::previous::Previous;
use crate::sessions::Known;
use crate::shared::{Boot, SharedData};
use crate::starving::Starving;
use crate::waiting::Waiting;
use crate::{host, stamp, wasi};
use exeat_engine::destination::Exit;
use exeat_engine::evidence::key::{GatewayKey, SHARED_STATE};
use exeat_engine::evidence::{Capacity, ConfigRecord, GenesisRecord, Journal, LogHead, Origin};
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
    guards: HashMap<Plugin, Arc<GuardConfiguration>>,
    /// That of the configuration that came last of them all.
    newest: Option<Arc<Gateway>>,
    /// When each filter's configuration was taken into use.
    accepted: HashMap<Plugin, Timestamp>,
    pub(crate) passes: Passes,
    /// Whether a request left that no guard saw.
    pub(crate) unguarded: bool,
    /// Bytes of bodies whose heads have gone and that are kept back.
    pub(crate) kept: usize,
    /// Tunnels and WebSockets by their context, and when each must end.
    pub(crate) streams: HashMap<u32, Timestamp>,
    /// Valid in themselves, and not in use yet.
    offers: HashMap<Plugin, Offer>,
    identity: Option<Identity>,
    log: Option<Log>,
    /// Accepted and not yet in the log, for the log begins with the first tick or request.
    unrecorded: Vec<ConfigRecord>,
    /// Whether the operator was told why there is no log.
    told: bool,
    roots: u32,
    /// The host's counter of first meetings, once there was one.
    first_seen: Option<u32>,
    pub(crate) delivery: Delivery,
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
    secrets: Secrets,
    /// Whether the operator was told that it is not in use.
    told: bool,
}

/// Why a configuration is not taken into use.
enum NotInUse {
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

/// The log of this VM.
pub(crate) struct Log {
    pub(crate) journal: Journal,
    pub(crate) shared: SharedData,
    pub(crate) started: Timestamp,
    /// What this worker need not ask the others.
    pub(crate) known: Known,
    pub(crate) number: u32,
    /// When this VM began it.
    pub(crate) begun: Timestamp,
    /// Leaves when the head was last published.
    published: u64,
    /// Whether the newest checkpoint was put beside a request.
    witnessed: bool,
}

impl Vm {
    /// Brings a configuration that is valid in itself. Whether it is in use afterwards depends on the state of this VM:
    /// where it is not, the one before stays, and the next [`Vm::settle`] tries again.
    pub(crate) fn offer(&mut self, plugin: Plugin, part: Part, secrets: Secrets) {
        self.offers.insert(plugin, Offer { part, secrets, told: false });
    }

    /// Takes into use what was offered.
    pub(crate) fn settle(&mut self, now: Timestamp) {
        for (plugin, mut offer) in std::mem::take(&mut self.offers) {
            let why = match self.accept(&plugin, &offer, now) {
                Ok(()) => {
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
                    offer.told = true;
                    self.offers.insert(plugin, offer);
                    format!("{why}; it is tried again")
                }
            };
            let rest = "the configuration before stays, without one requests are refused";
            host::log(LogLevel::Error, &format!("exeat: configuration not in use, {rest}: {why}"));
        }
    }

    fn accept(&mut self, plugin: &Plugin, offer: &Offer, now: Timestamp) -> Result<(), NotInUse> {
        let (gateway, policy) = (offer.part.gateway(), offer.part.policy());
        self.identify(gateway, &offer.secrets.key, now)?;
        let record = ConfigRecord {
            time: now,
            plugin: plugin.0.clone(),
            role: offer.part.role().as_str().to_owned(),
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
        self.token.clone_from(&offer.secrets.token);
        match &offer.part {
            Part::Filter(configuration) => {
                self.configurations.insert(plugin.clone(), Arc::clone(configuration));
                self.accepted.insert(plugin.clone(), now);
            }
            Part::Guard(configuration) => {
                for exit in configuration.exits() {
                    if let Some(identity) = &self.identity {
                        let _ = identity.shared.publish_guarded(exit.word());
                    }
                }
                self.guards.insert(plugin.clone(), Arc::clone(configuration));
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
        self.guards.get(plugin).map(Arc::clone)
    }

    /// Whether a guard of this VM stands in a way out. One that Envoy left out, or could not configure, is not here.
    ///
    /// Envoy builds a VM that died anew for the plugin whose request finds it dead, and brings each other plugin into it with the
    /// next request that meets that one: for the guard, where the request leaves. So in a VM that took a dead one's place, the
    /// guard that the dead one had is as good as its own: it comes with the request, or Envoy answers in its stead. Should a
    /// request leave without one all the same, it is the last.
    pub(crate) fn is_guarded(&mut self, exit: Exit, now: Timestamp) -> bool {
        if self.guards.values().any(|guard| guard.exits().contains(&exit)) {
            return true;
        }
        let unguarded = self.unguarded;
        let Some(log) = self.begun_log().filter(|_| !unguarded) else { return false };
        log.shared.guarded(exit.word()).unwrap_or(false) && crate::metrics::has_dead(log, now)
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

/// What the configuration names and does not hold. It comes from the environment, which is the same for every VM of the plugin.
pub(crate) struct Secrets {
    key: GatewayKey,
    token: Option<String>,
}

impl Secrets {
    pub(crate) fn load(gateway: &Gateway) -> Result<Self, String> {
        let key = gateway.key_env();
        let text = variable("/gateway/key/env", key)?;
        let key = GatewayKey::parse(&text).map_err(|error| {
            format!(
                "gateway: /gateway/key/env: {key} does not hold a key: {error}; `exeat key new` makes one, its base64 \
                 goes into the variable"
            )
        })?;
        let token = gateway.collector().token_env.as_deref().map(|name| token("/gateway/collector/token/env", name));
        Ok(Self { key, token: token.transpose()? })
    }
}

fn variable(place: &str, name: &str) -> Result<String, String> {
    wasi::variable(name).ok_or_else(|| {
        format!(
            "gateway: {place}: the environment variable {name} is not set in the VM; set it for the gateway process and \
             name it under vm_config.environment_variables.host_env_keys, which a VM reads when it starts"
        )
    })
}

/// As `exeat collect --token` reads it.
fn token(place: &str, name: &str) -> Result<String, String> {
    let text = variable(place, name)?;
    let token = text.trim();
    if token.len() < 16 || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("gateway: {place}: {name} does not hold 16 or more visible ASCII characters"));
    }
    Ok(token.to_owned())
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

impl Log {
    fn record_config(&mut self, record: &ConfigRecord) -> Result<(), String> {
        self.journal.append_config(record).map(|_| ()).map_err(|error| error.to_string())
    }

    /// Tells the other VMs how far this log has come, for their checkpoints to cite. What cannot be published is not
    /// cited; the log itself is none the worse.
    pub(crate) fn publish(&mut self) {
        let tree = self.journal.tree();
        if tree.size() != self.published {
            self.published = tree.size();
            let _ = self.shared.publish_log(self.number, tree);
        }
    }

    /// A batch was sealed with a checkpoint that nobody but the collector has seen.
    pub(crate) fn sealed(&mut self) {
        self.witnessed = false;
    }

    /// The newest checkpoint, once: it goes beside a request into the host's access log, a second place that the
    /// collector cannot take it back from.
    pub(crate) fn unwitnessed_checkpoint(&mut self) -> Option<String> {
        let checkpoint = self.journal.last_checkpoint();
        (!std::mem::replace(&mut self.witnessed, true) && !checkpoint.is_empty()).then(|| checkpoint.to_owned())
    }

    /// The heads of the other VMs' logs.
    pub(crate) fn others(&self) -> Vec<LogHead> {
        let own = self.journal.origin();
        let heard = |number| {
            let tree = self.shared.log(number).ok().flatten()?;
            let origin = Origin::new(own.gateway(), own.boot(), &number.to_string()).ok()?;
            Some(LogHead { origin, size: tree.size(), root: tree.root() })
        };
        let count = self.shared.vms().unwrap_or(0);
        (1..=count).filter(|number| *number != self.number).filter_map(heard).collect()
    }
}
