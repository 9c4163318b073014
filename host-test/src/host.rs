//! A gateway's configuration of one VM: module, plugin, clusters, environment; from it come workers.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::clock::Clock;
use crate::error::{Error, Status};
use crate::message::join_path;
use crate::module::Module;
use crate::plugin::{FailPolicy, Plugin};
use crate::process::{Level, LogEntry, Metric, Process, lock};
use crate::state::{ForeignCall, Settings};
use crate::vm::Vm;
use crate::worker::Worker;

/// What a gateway was configured with. Cheap to clone, and to send to the threads of its workers.
#[derive(Debug, Clone)]
pub struct Host(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    module: Module,
    process: Process,
    clock: Clock,
    settings: Arc<Settings>,
    plugin: Arc<Plugin>,
    canary: bool,
    canaries: Mutex<HashMap<[u8; 32], Result<(), Error>>>,
}

impl Host {
    /// Starts describing a host.
    pub fn builder() -> HostBuilder {
        HostBuilder::default()
    }

    /// A worker thread's VM with a root context for the plugin. Before the first one a canary VM tries the
    /// configuration, as Envoy does.
    ///
    /// # Errors
    ///
    /// Whatever keeps the VM from starting, [`Error::ConfigureRefused`] above all.
    pub fn worker(&self) -> Result<Worker, Error> {
        self.try_configuration(&self.0.plugin)?;
        Worker::new(self.clone())
    }

    /// The plugin with which workers start.
    pub fn plugin(&self) -> &Arc<Plugin> {
        &self.0.plugin
    }

    /// What all VMs share.
    pub fn process(&self) -> &Process {
        &self.0.process
    }

    /// The module's time.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// The module.
    pub fn module(&self) -> &Module {
        &self.0.module
    }

    /// The id that separates its shared data from that of others.
    pub fn vm_id(&self) -> &str {
        &self.0.settings.vm_id
    }

    /// Everything logged in the process so far, canaries included.
    pub fn log(&self) -> Vec<LogEntry> {
        self.0.process.log()
    }

    /// Shared data of this host's `vm_id`.
    pub fn shared_data(&self, key: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        self.0.process.shared_data(self.vm_id(), key).map(|(value, _)| value)
    }

    /// Writes shared data of this host's `vm_id` behind the module's back, as another plugin can.
    pub fn set_shared_data(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        // Without a CAS number a write always succeeds.
        let _ = self.0.process.set_shared_data(self.vm_id(), key, value, 0);
    }

    /// A metric by the name that the module gave it.
    pub fn metric(&self, name: &str) -> Option<Metric> {
        self.0.process.metric(name)
    }

    pub(crate) fn new_vm(&self) -> Result<Vm, Error> {
        Vm::new(&self.0.module, &self.0.process, &self.0.clock, &self.0.settings)
    }

    /// Starts and configures a VM that is thrown away, once for each configuration: what it says is kept, so that a
    /// configuration refused once stays refused for the life of the process (Envoy's `plugin_canary_cache_`).
    pub(crate) fn try_configuration(&self, plugin: &Arc<Plugin>) -> Result<(), Error> {
        if !self.0.canary {
            return Ok(());
        }
        let mut canaries = lock(&self.0.canaries);
        if let Some(known) = canaries.get(&plugin.key()) {
            return known.clone();
        }
        let result = self.new_vm()?.start_root(plugin).map(drop);
        // Only a refused configuration is remembered: after a trap Envoy starts afresh.
        if matches!(result, Ok(()) | Err(Error::ConfigureRefused { .. })) {
            canaries.insert(plugin.key(), result.clone());
        }
        result
    }
}

/// Describes a [`Host`]. Everything but the module has a default.
pub struct HostBuilder {
    module: Option<Result<Module, Error>>,
    process: Process,
    clock: Clock,
    plugin: Plugin,
    canary: bool,
    settings: Settings,
}

impl Default for HostBuilder {
    fn default() -> Self {
        Self {
            module: None,
            process: Process::new(),
            clock: Clock::default(),
            plugin: Plugin::new("filter", ""),
            canary: true,
            settings: Settings {
                vm_id: String::new(),
                vm_configuration: Vec::new(),
                env: Vec::new(),
                clusters: Vec::new(),
                foreign: HashMap::from([("clear_route_cache".to_owned(), clear_route_cache())]),
                properties: std::collections::BTreeMap::new(),
                log_level: Level::Trace,
                // Envoy's own limits: PROXY_WASM_HOST_MAX_WASM_MEMORY_SIZE_BYTES, per_connection_buffer_limit_bytes.
                memory_limit: 1 << 30,
                buffer_limit: 1 << 20,
                capped_maps: false,
                call_timeout: Duration::from_secs(60),
                seed: None,
            },
        }
    }
}

fn clear_route_cache() -> crate::state::ForeignFunction {
    Arc::new(|_| Ok(Vec::new()))
}

impl HostBuilder {
    /// The module, binary or WAT, compiled once in this test process.
    #[must_use]
    pub fn module(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.module = Some(Module::new(bytes));
        self
    }

    /// The module from a file.
    #[must_use]
    pub fn module_file(mut self, path: impl AsRef<Path>) -> Self {
        self.module = Some(Module::from_file(path));
        self
    }

    /// A module that is compiled already.
    #[must_use]
    pub fn compiled(mut self, module: &Module) -> Self {
        self.module = Some(Ok(module.clone()));
        self
    }

    /// The process to live in; a fresh one unless given.
    #[must_use]
    pub fn process(mut self, process: &Process) -> Self {
        self.process = process.clone();
        self
    }

    /// The clock; a virtual one unless given.
    #[must_use]
    pub fn clock(mut self, clock: &Clock) -> Self {
        self.clock = clock.clone();
        self
    }

    /// `vm_config.vm_id`. Empty unless given.
    #[must_use]
    pub fn vm_id(mut self, vm_id: &str) -> Self {
        self.settings.vm_id = vm_id.to_owned();
        self
    }

    /// `vm_config.configuration`, buffer 6.
    #[must_use]
    pub fn vm_configuration(mut self, configuration: impl Into<Vec<u8>>) -> Self {
        self.settings.vm_configuration = configuration.into();
        self
    }

    /// One of `vm_config.environment_variables`.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.settings.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A cluster that callouts can go to. To any other name `proxy_http_call` says `BadArgument`.
    #[must_use]
    pub fn cluster(mut self, name: &str) -> Self {
        self.settings.clusters.push(name.to_owned());
        self
    }

    /// The whole plugin entry.
    #[must_use]
    pub fn plugin(mut self, plugin: Plugin) -> Self {
        self.plugin = plugin;
        self
    }

    /// The plugin's configuration, buffer 7.
    #[must_use]
    pub fn configuration(mut self, configuration: impl Into<Vec<u8>>) -> Self {
        self.plugin.configuration = configuration.into();
        self
    }

    /// `allow_on_headers_stop_iteration`. Off unless set, as in Envoy.
    #[must_use]
    pub fn hold(mut self, hold: bool) -> Self {
        self.plugin.allow_on_headers_stop_iteration = hold;
        self
    }

    /// What happens to requests once the VM is dead. Closed unless set, as in Envoy.
    #[must_use]
    pub fn fail_policy(mut self, policy: FailPolicy) -> Self {
        self.plugin.fail_policy = policy;
        self
    }

    /// A property that every context can read.
    #[must_use]
    pub fn property<S: AsRef<[u8]>>(mut self, path: impl IntoIterator<Item = S>, value: impl AsRef<[u8]>) -> Self {
        self.settings.properties.insert(join_path(path), value.as_ref().to_vec());
        self
    }

    /// A foreign function; any other name but `clear_route_cache` is `NotFound`.
    #[must_use]
    pub fn foreign(
        mut self,
        name: &str,
        function: impl Fn(ForeignCall<'_>) -> Result<Vec<u8>, Status> + Send + Sync + 'static,
    ) -> Self {
        self.settings.foreign.insert(name.to_owned(), Arc::new(function));
        self
    }

    /// What `proxy_get_log_level` says. Lines of every level are captured all the same.
    #[must_use]
    pub fn log_level(mut self, level: Level) -> Self {
        self.settings.log_level = level;
        self
    }

    /// Most bytes of linear memory of a VM; 1 GiB unless set.
    #[must_use]
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.settings.memory_limit = bytes;
        self
    }

    /// `per_connection_buffer_limit_bytes`: a paused body over it is answered with 413; 1 MiB unless set.
    #[must_use]
    pub fn buffer_limit(mut self, bytes: usize) -> Self {
        self.settings.buffer_limit = bytes;
        self
    }

    /// Whether a map over [`MAX_PAIRS`](crate::MAX_PAIRS) or [`MAX_PAIRS_BYTES`](crate::MAX_PAIRS_BYTES) reaches the
    /// module as an empty one. Envoy 1.40 hands over every map and caps only what comes from the module; a filter must
    /// refuse an empty request map all the same, and this shows whether it does.
    #[must_use]
    pub fn capped_maps(mut self, capped: bool) -> Self {
        self.settings.capped_maps = capped;
        self
    }

    /// How long one call into the module may run before it counts as a trap; 60 s of real time unless set. Envoy has no
    /// such limit: there an endless loop hangs the worker for ever.
    #[must_use]
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.settings.call_timeout = timeout;
        self
    }

    /// Makes `random_get` repeatable: each VM of the process has its own sequence.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = Some(seed);
        self
    }

    /// Whether a canary VM tries each new configuration first, as Envoy does. On unless switched off.
    #[must_use]
    pub fn canary(mut self, canary: bool) -> Self {
        self.canary = canary;
        self
    }

    /// The host.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the module; nothing of it has run yet.
    pub fn build(self) -> Result<Host, Error> {
        let module = self.module.unwrap_or_else(|| Err(Error::Misuse("a host needs a module".to_owned())))?;
        Ok(Host(Arc::new(Inner {
            module,
            process: self.process,
            clock: self.clock,
            settings: Arc::new(self.settings),
            plugin: Arc::new(self.plugin),
            canary: self.canary,
            canaries: Mutex::default(),
        })))
    }
}
