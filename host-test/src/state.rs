//! What the host keeps for one VM, reachable from host calls: contexts, timers, callouts, memory.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::{Memory, StoreLimits, TypedFunc};

use crate::callout::{Callout, Delivered};
use crate::clock::Clock;
use crate::error::Status;
use crate::headers::Headers;
use crate::message::LocalReply;
use crate::plugin::Plugin;
use crate::process::{Level, LogEntry, MetricKind, Process};
use crate::random::Random;
use crate::stream::{Direction, Stream};

/// A host function that a test offers under a name to `proxy_call_foreign_function`.
pub type ForeignFunction = Arc<dyn Fn(ForeignCall<'_>) -> Result<Vec<u8>, Status> + Send + Sync>;

/// What a foreign function gets. It runs inside the VM's call and must not touch the worker or its exchanges.
#[derive(Debug)]
pub struct ForeignCall<'a> {
    /// The arguments that the module gave.
    pub arguments: &'a [u8],
    /// Filter state of the stream that runs, by full name; `None` in a root context.
    pub filter_state: Option<&'a mut BTreeMap<String, Vec<u8>>>,
}

/// What the builder fixed for all VMs of a host.
pub(crate) struct Settings {
    pub(crate) vm_id: String,
    pub(crate) vm_configuration: Vec<u8>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) clusters: Vec<String>,
    pub(crate) foreign: HashMap<String, ForeignFunction>,
    pub(crate) properties: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) log_level: Level,
    pub(crate) memory_limit: usize,
    pub(crate) buffer_limit: usize,
    pub(crate) capped_maps: bool,
    pub(crate) call_timeout: Duration,
    pub(crate) seed: Option<u64>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("vm_id", &self.vm_id).field("clusters", &self.clusters).finish_non_exhaustive()
    }
}

/// A context of either sort.
#[derive(Debug)]
pub(crate) enum Context {
    Root(Root),
    Stream(Box<Stream>),
}

/// A root context: one plugin configuration in this VM.
#[derive(Debug)]
pub(crate) struct Root {
    pub(crate) plugin: Arc<Plugin>,
    /// `proxy_on_done` returned false and `proxy_done` has not come yet.
    pub(crate) pending: bool,
    /// Replaced by a newer one; goes once its last stream is over.
    pub(crate) retired: bool,
    /// The period of ticks and the next one, on the monotonic clock.
    pub(crate) tick: Option<(Duration, Duration)>,
}

/// What a host call asked for that Envoy does only after the module returned.
#[derive(Debug)]
pub(crate) enum After {
    Continue(u32, Direction),
    Close(u32),
    Reply(u32, Box<LocalReply>, Option<u32>),
    DeleteRoot(u32),
}

/// Data of a wasmtime store.
pub(crate) struct State {
    pub(crate) vm: u32,
    pub(crate) process: Process,
    pub(crate) clock: Clock,
    pub(crate) settings: Arc<Settings>,
    pub(crate) memory: Option<Memory>,
    pub(crate) malloc: Option<TypedFunc<u32, u32>>,
    pub(crate) limits: StoreLimits,
    pub(crate) random: Random,
    pub(crate) contexts: BTreeMap<u32, Context>,
    pub(crate) next_context: u32,
    pub(crate) current: u32,
    pub(crate) effective: u32,
    pub(crate) after: Vec<After>,
    /// A local reply was asked for: whatever the callback returns, the iteration stops.
    pub(crate) stop: bool,
    /// Only logging and WASI may be called, as during `_initialize`.
    pub(crate) restricted: bool,
    /// Plugin configuration while `proxy_on_configure` runs, or `proxy_on_vm_start` of its root.
    pub(crate) configuring: Option<Arc<Plugin>>,
    pub(crate) callouts: BTreeMap<u32, Callout>,
    pub(crate) next_callout: u32,
    pub(crate) delivered: Option<Delivered>,
    pub(crate) status: (u32, Vec<u8>),
    pub(crate) metrics: HashMap<u32, (MetricKind, String)>,
    pub(crate) next_metric: [u32; 3],
    /// The last line at level critical in the current call: the panic message.
    pub(crate) panic: Option<String>,
    pub(crate) violation: Option<String>,
}

impl State {
    pub(crate) fn new(process: Process, clock: Clock, settings: Arc<Settings>, limits: StoreLimits) -> Self {
        let vm = process.next_vm();
        Self {
            vm,
            random: Random::new(settings.seed.map(|s| s.wrapping_add(u64::from(vm)))),
            process,
            clock,
            settings,
            memory: None,
            malloc: None,
            limits,
            contexts: BTreeMap::new(),
            next_context: 1,
            current: 0,
            effective: 0,
            after: Vec::new(),
            stop: false,
            restricted: false,
            configuring: None,
            callouts: BTreeMap::new(),
            next_callout: 0,
            delivered: None,
            status: (0, Vec::new()),
            metrics: HashMap::new(),
            // Ids carry the kind in their two low bits, as in proxy-wasm-cpp-host.
            next_metric: [0, 1, 2],
            panic: None,
            violation: None,
        }
    }

    pub(crate) fn new_context(&mut self, context: Context) -> u32 {
        let id = self.next_context;
        self.next_context += 1;
        self.contexts.insert(id, context);
        id
    }

    /// The context that host calls act on: the effective one while it lives, else the one that was called.
    pub(crate) fn context(&self) -> u32 {
        if self.effective != 0 && self.is_alive(self.effective) { self.effective } else { self.current }
    }

    pub(crate) fn is_alive(&self, id: u32) -> bool {
        match self.contexts.get(&id) {
            Some(Context::Root(_)) => true,
            Some(Context::Stream(stream)) => !stream.destroyed,
            None => false,
        }
    }

    pub(crate) fn stream(&self, id: u32) -> Option<&Stream> {
        match self.contexts.get(&id) {
            Some(Context::Stream(stream)) => Some(stream),
            _ => None,
        }
    }

    pub(crate) fn stream_mut(&mut self, id: u32) -> Option<&mut Stream> {
        match self.contexts.get_mut(&id) {
            Some(Context::Stream(stream)) => Some(stream),
            _ => None,
        }
    }

    pub(crate) fn root(&self, id: u32) -> Option<&Root> {
        match self.contexts.get(&id) {
            Some(Context::Root(root)) => Some(root),
            _ => None,
        }
    }

    pub(crate) fn root_mut(&mut self, id: u32) -> Option<&mut Root> {
        match self.contexts.get_mut(&id) {
            Some(Context::Root(root)) => Some(root),
            _ => None,
        }
    }

    /// The root context of the current context.
    pub(crate) fn root_id(&self) -> u32 {
        let id = self.context();
        self.stream(id).map_or(id, |s| s.root)
    }

    pub(crate) fn plugin(&self) -> Option<&Arc<Plugin>> {
        let id = self.context();
        self.stream(id).map(|s| &s.plugin).or_else(|| self.root(id).map(|r| &r.plugin))
    }

    pub(crate) fn write_log(&mut self, level: Level, message: String) {
        if level == Level::Critical {
            self.panic = Some(message.clone());
        }
        self.process.write_log(LogEntry { vm: self.vm, context: self.context(), level, message });
    }

    /// The response of the callout that is being delivered, when it belongs to the current root context.
    pub(crate) fn callout_response(&self) -> Option<&Delivered> {
        self.delivered.as_ref().filter(|d| d.root == self.root_id())
    }

    /// Fields of the response of the callout that is being delivered.
    pub(crate) fn callout_headers(&self) -> Option<&Headers> {
        self.callout_response().map(|d| &d.headers)
    }
}
