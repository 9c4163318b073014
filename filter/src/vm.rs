//! What the contexts of one worker VM share: the newest configurations, and the one log.
//!
//! A listener update adds a root context to the VM and leaves the old one to its open connections. Every request is judged
//! by the newest configuration accepted for its plugin, whichever root context its connection arrived on.

use crate::shared::{Boot, SharedData};
use crate::{host, wasi};
use exeat_engine::evidence::key::{GatewayKey, SHARED_STATE};
use exeat_engine::evidence::{Capacity, ConfigRecord, GenesisRecord, Hash, Journal, LogHead, ModuleReference, Origin};
use exeat_engine::facts::Timestamp;
use exeat_engine::policy::{Configuration, Role};
use proxy_wasm::types::LogLevel;
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Bytes that may wait for the collector, beside the configured number of records.
const QUEUE_BYTES: u64 = 32 * 1024 * 1024;

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
    identity: Option<Identity>,
    log: Option<Log>,
    /// Accepted and not yet in the log: it begins with the first tick or request, and has little room for such records while
    /// the collector is away.
    unrecorded: VecDeque<ConfigRecord>,
    roots: u32,
    pub(crate) delivery: crate::root::Delivery,
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
    number: u32,
    /// Leaves when the head was last published.
    published: u64,
    /// Whether the newest checkpoint was put beside a request.
    witnessed: bool,
}

impl Vm {
    /// Takes a configuration into use. Refused, the one before stays.
    pub(crate) fn accept(&mut self, plugin: &str, configuration: Configuration, now: Timestamp) -> Result<(), String> {
        self.identify(&configuration, now)?;
        let policy = configuration.policy();
        let record = ConfigRecord {
            time: now,
            plugin: plugin.to_owned(),
            role: configuration.role().as_str().to_owned(),
            mode: configuration.gateway().mode(),
            revision: Some(policy.revision().to_owned()),
            policy: Some(policy.digest().to_owned()),
        };
        self.unrecorded.push_back(record);
        self.record_configurations();
        let key = (plugin.to_owned(), configuration.role());
        self.configurations.insert(key, Arc::new(configuration));
        Ok(())
    }

    /// Whether a configuration was accepted here.
    pub(crate) fn serves(&self) -> bool {
        self.identity.is_some()
    }

    /// Puts into the log what was accepted, as far as there is room. Every decision names its policy besides.
    pub(crate) fn record_configurations(&mut self) {
        let Some(log) = &mut self.log else { return };
        while let Some(record) = self.unrecorded.front() {
            if log.journal.append_config(record).is_err() {
                return;
            }
            self.unrecorded.pop_front();
        }
    }

    /// Key and shared state. They cannot change under a log that is signed with them.
    fn identify(&mut self, configuration: &Configuration, now: Timestamp) -> Result<(), String> {
        let gateway = configuration.gateway();
        let variable = gateway.key_env();
        let text = wasi::variable(variable).ok_or_else(|| {
            format!(
                "gateway: /gateway/key/env: the environment variable {variable} is not set in the VM; set it for the \
                 gateway process and name it under vm_config.environment_variables.host_env_keys"
            )
        })?;
        let key = GatewayKey::parse(&text).map_err(|error| {
            format!(
                "gateway: /gateway/key/env: {variable} does not hold a key: {error}; `exeat key new` makes one, its \
                 base64 goes into the variable"
            )
        })?;
        if let Some(identity) = &self.identity {
            if identity.gateway != gateway.id() || identity.public != key.public() {
                return Err(format!(
                    "gateway: /gateway/id: this VM writes the log of {:?} under another id or key; give the plugin a \
                     new vm_id, or restart the gateway",
                    identity.gateway
                ));
            }
            return Ok(());
        }
        let random = wasi::random().ok_or("the host gives no random bytes")?;
        let shared = SharedData::new(gateway.id(), key.derive(SHARED_STATE));
        let unusable = |error| {
            format!(
                "the state that the workers share cannot be used: {error:?}; under the same vm_id another plugin may write \
                 there, or one with another key has: give this one its own vm_id"
            )
        };
        if !shared.claim(gateway.id()).map_err(unusable)? {
            return Err(
                "gateway: /gateway/id: this process writes the log of another gateway under the same vm_id; give \
                 the plugin a new vm_id, or restart the gateway"
                    .to_owned(),
            );
        }
        let boot = shared.boot(now, &random).map_err(unusable)?;
        let public = key.public();
        self.identity = Some(Identity { gateway: gateway.id().to_owned(), public, key, shared, boot });
        Ok(())
    }

    /// The newest configuration of a plugin.
    pub(crate) fn configuration(&self, plugin: &Plugin) -> Option<Arc<Configuration>> {
        self.configurations.get(plugin).map(Arc::clone)
    }

    /// The newest configuration of any plugin, for what concerns the VM as a whole.
    pub(crate) fn any_configuration(&self) -> Option<Arc<Configuration>> {
        self.configurations.values().next().map(Arc::clone)
    }

    /// The log, begun where it is not yet. Not at configuration: the host configures VMs that never serve.
    pub(crate) fn log(&mut self, now: Timestamp) -> Option<&mut Log> {
        if self.log.is_none() {
            match self.begin_log(now) {
                Ok(log) => {
                    self.log = Some(log);
                    self.record_configurations();
                }
                Err(why) => host::log(LogLevel::Error, &format!("exeat: no evidence log, requests are refused: {why}")),
            }
        }
        self.log.as_mut()
    }

    /// The log where there is one.
    pub(crate) fn begun_log(&mut self) -> Option<&mut Log> {
        self.log.as_mut()
    }

    fn begin_log(&mut self, now: Timestamp) -> Result<Log, String> {
        let configuration = self.any_configuration().ok_or("no configuration was accepted")?;
        let identity = self.identity.as_ref().ok_or("no configuration was accepted")?;
        let shared = identity.shared.clone();
        let number = shared.next_vm().map_err(|error| format!("shared state: {error:?}"))?;
        let boot: String = identity.boot.id.iter().map(|byte| format!("{byte:02x}")).collect();
        let origin = Origin::new(&identity.gateway, &boot, &number.to_string()).map_err(|error| error.to_string())?;
        let gateway = configuration.gateway();
        let genesis = GenesisRecord {
            origin,
            time: now,
            start: identity.boot.started,
            environment: gateway.environment().map(str::to_owned),
            deployment: gateway.deployment().map(str::to_owned),
            module: ModuleReference {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                git: option_env!("EXEAT_GIT_HASH").map(str::to_owned),
                digest: None,
            },
            previous: None,
        };
        let capacity = Capacity { records: u64::from(gateway.queue()), bytes: QUEUE_BYTES };
        let journal = Journal::new(&genesis, identity.key.clone(), capacity).map_err(|error| error.to_string())?;
        let started = identity.boot.started;
        let mut log = Log { journal, shared, started, number, published: 0, witnessed: true };
        log.publish();
        Ok(log)
    }

    pub(crate) fn root_created(&mut self) {
        self.roots = self.roots.saturating_add(1);
    }

    /// Whether the last root context of the VM is gone.
    pub(crate) fn root_done(&mut self) -> bool {
        self.roots = self.roots.saturating_sub(1);
        self.roots == 0
    }
}

impl Log {
    /// Tells the other VMs how far this log has come, for their checkpoints to cite. What cannot be published is not
    /// cited; the log itself is none the worse.
    pub(crate) fn publish(&mut self) {
        if self.journal.size() != self.published {
            let head = self.journal.head();
            self.published = head.size;
            let _ = self.shared.publish_head(self.number, head.size, &head.root.0);
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
            let (size, root) = self.shared.head(number).ok().flatten()?;
            let origin = Origin::new(own.gateway(), own.boot(), &number.to_string()).ok()?;
            Some(LogHead { origin, size, root: Hash(root) })
        };
        let count = self.shared.vms().unwrap_or(0);
        (1..=count).filter(|number| *number != self.number).filter_map(heard).collect()
    }
}
