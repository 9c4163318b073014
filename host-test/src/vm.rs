//! One VM: an instance with its exports, entered one call at a time, dead after the first trap.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::{Func, Instance, Store, StoreLimitsBuilder, TypedFunc, WasmBacktrace, WasmParams, WasmResults};

use crate::callout::{Answer, Delivered};
use crate::clock::Clock;
use crate::error::{Error, Trap};
use crate::message::{Event, Response};
use crate::module::{Module, WATCHDOG_PERIOD};
use crate::plugin::Plugin;
use crate::process::Process;
use crate::state::{After, Context, Root, Settings, State};
use crate::stream::Direction;

/// A VM with everything that it holds.
pub(crate) struct Vm {
    pub(crate) store: Store<State>,
    pub(crate) exports: Exports,
    /// What killed it.
    pub(crate) dead: Option<Error>,
    /// What went wrong since the last look, first things first.
    pub(crate) failures: Vec<Error>,
    pub(crate) loaded: Duration,
}

type Call<P, R> = Option<TypedFunc<P, R>>;

/// The module's callbacks, each absent or of the right type.
pub(crate) struct Exports {
    pub(crate) context_create: Call<(u32, u32), ()>,
    pub(crate) vm_start: Call<(u32, u32), u32>,
    pub(crate) configure: Call<(u32, u32), u32>,
    pub(crate) tick: Call<u32, ()>,
    pub(crate) queue_ready: Call<(u32, u32), ()>,
    pub(crate) request_headers: Call<(u32, u32, u32), u32>,
    pub(crate) request_body: Call<(u32, u32, u32), u32>,
    pub(crate) request_trailers: Call<(u32, u32), u32>,
    pub(crate) response_headers: Call<(u32, u32, u32), u32>,
    pub(crate) response_body: Call<(u32, u32, u32), u32>,
    pub(crate) response_trailers: Call<(u32, u32), u32>,
    pub(crate) http_call_response: Call<(u32, u32, u32, u32, u32), ()>,
    pub(crate) done: Call<u32, u32>,
    pub(crate) log: Call<u32, ()>,
    pub(crate) delete: Call<u32, ()>,
}

impl Exports {
    fn new(instance: &Instance, store: &mut Store<State>) -> Result<Self, Error> {
        Ok(Self {
            context_create: export(instance, store, "proxy_on_context_create")?,
            vm_start: export(instance, store, "proxy_on_vm_start")?,
            configure: export(instance, store, "proxy_on_configure")?,
            tick: export(instance, store, "proxy_on_tick")?,
            queue_ready: export(instance, store, "proxy_on_queue_ready")?,
            request_headers: export(instance, store, "proxy_on_request_headers")?,
            request_body: export(instance, store, "proxy_on_request_body")?,
            request_trailers: export(instance, store, "proxy_on_request_trailers")?,
            response_headers: export(instance, store, "proxy_on_response_headers")?,
            response_body: export(instance, store, "proxy_on_response_body")?,
            response_trailers: export(instance, store, "proxy_on_response_trailers")?,
            http_call_response: export(instance, store, "proxy_on_http_call_response")?,
            done: export(instance, store, "proxy_on_done")?,
            log: export(instance, store, "proxy_on_log")?,
            delete: export(instance, store, "proxy_on_delete")?,
        })
    }
}

fn export<P: WasmParams, R: WasmResults>(
    instance: &Instance,
    store: &mut Store<State>,
    name: &str,
) -> Result<Call<P, R>, Error> {
    let Some(func) = instance.get_func(&mut *store, name) else { return Ok(None) };
    typed(&func, store, name).map(Some)
}

fn typed<P: WasmParams, R: WasmResults>(
    func: &Func,
    store: &Store<State>,
    name: &str,
) -> Result<TypedFunc<P, R>, Error> {
    func.typed(store).map_err(|e| Error::Signature { name: name.to_owned(), detail: format!("{e:#}") })
}

impl Vm {
    /// Instantiates the module and runs its `_initialize` or `_start`.
    pub(crate) fn new(
        module: &Module,
        process: &Process,
        clock: &Clock,
        settings: &Arc<Settings>,
    ) -> Result<Self, Error> {
        let limits = StoreLimitsBuilder::new().memory_size(settings.memory_limit).build();
        let mut state = State::new(process.clone(), clock.clone(), Arc::clone(settings), limits);
        state.restricted = true;
        let loaded = clock.monotonic();
        let mut store = Store::new(module.pre().module().engine(), state);
        store.limiter(|state| &mut state.limits);
        store.set_epoch_deadline(ticks(settings.call_timeout));
        let instance = match module.pre().instantiate(&mut store) {
            Ok(instance) => instance,
            Err(error) if error.is::<wasmtime::Trap>() => return Err(Error::Trap(trap("start", &error, &mut store))),
            Err(error) => return Err(Error::Instantiate(format!("{error:#}"))),
        };
        let memory = instance.get_memory(&mut store, "memory").ok_or(Error::MissingExport("memory"))?;
        let malloc = match export(&instance, &mut store, "malloc")? {
            Some(malloc) => Some(malloc),
            None => export(&instance, &mut store, "proxy_on_memory_allocate")?,
        };
        if malloc.is_none() {
            return Err(Error::MissingExport("malloc or proxy_on_memory_allocate"));
        }
        store.data_mut().memory = Some(memory);
        store.data_mut().malloc = malloc;
        let exports = Exports::new(&instance, &mut store)?;
        let mut vm = Self { store, exports, dead: None, failures: Vec::new(), loaded };
        vm.initialize(&instance)?;
        vm.store.data_mut().restricted = false;
        Ok(vm)
    }

    /// A reactor's `_initialize` (then its `main`), else a command's `_start`.
    fn initialize(&mut self, instance: &Instance) -> Result<(), Error> {
        let store = &mut self.store;
        if let Some(initialize) = export::<(), ()>(instance, store, "_initialize")? {
            let main = export::<(u32, u32), u32>(instance, store, "main")?;
            let main_void = export::<(), u32>(instance, store, "__main_void")?;
            self.enter("_initialize", &Some(initialize), 0, ())?;
            if main.is_some() {
                self.enter("main", &main, 0, (0, 0))?;
            } else {
                self.enter("__main_void", &main_void, 0, ())?;
            }
        } else {
            let start = export::<(), ()>(instance, store, "_start")?;
            self.enter("_start", &start, 0, ())?;
        }
        Ok(())
    }

    pub(crate) fn state(&self) -> &State {
        self.store.data()
    }

    pub(crate) fn state_mut(&mut self) -> &mut State {
        self.store.data_mut()
    }

    /// Calls an export on behalf of a context. `Ok(None)`: the module does not export it.
    pub(crate) fn enter<P: WasmParams, R: WasmResults>(
        &mut self,
        name: &'static str,
        func: &Call<P, R>,
        context: u32,
        params: P,
    ) -> Result<Option<R>, Error> {
        if let Some(cause) = &self.dead {
            return Err(Error::VmDead(Box::new(cause.clone())));
        }
        let Some(func) = func.clone() else { return Ok(None) };
        let state = self.store.data_mut();
        let outer = (state.current, state.effective);
        state.current = context;
        state.effective = 0;
        state.stop = false;
        state.panic = None;
        let timeout = state.settings.call_timeout;
        self.store.set_epoch_deadline(ticks(timeout));
        let result = func.call(&mut self.store, params);
        let state = self.store.data_mut();
        (state.current, state.effective) = outer;
        if let Some(violation) = state.violation.take() {
            self.failures.push(Error::Abi(violation));
        }
        match result {
            Ok(returned) => Ok(Some(returned)),
            Err(error) => {
                let error = Error::Trap(trap(name, &error, &mut self.store));
                self.dead = Some(error.clone());
                self.failures.push(error.clone());
                Err(error)
            }
        }
    }

    /// Makes a root context for a plugin, starts and configures it.
    pub(crate) fn start_root(&mut self, plugin: &Arc<Plugin>) -> Result<u32, Error> {
        if let Some(cause) = &self.dead {
            return Err(Error::VmDead(Box::new(cause.clone())));
        }
        let root = Root { plugin: Arc::clone(plugin), pending: false, retired: false, tick: None };
        let state = self.state_mut();
        let id = state.new_context(Context::Root(root));
        state.configuring = Some(Arc::clone(plugin));
        let result = self.run_start(id, plugin);
        self.state_mut().configuring = None;
        self.run_after(None);
        match result {
            Ok(()) => Ok(id),
            // Envoy marks the whole VM as failed when a worker's own start or configuration is refused.
            Err(error) => {
                self.dead.get_or_insert_with(|| error.clone());
                Err(error)
            }
        }
    }

    fn run_start(&mut self, id: u32, plugin: &Arc<Plugin>) -> Result<(), Error> {
        let create = self.exports.context_create.clone();
        self.enter("proxy_on_context_create", &create, id, (id, 0))?;
        let configuring = self.state_mut().configuring.take();
        let size = size(self.state().settings.vm_configuration.len());
        let start = self.exports.vm_start.clone();
        if self.enter("proxy_on_vm_start", &start, id, (id, size))? == Some(0) {
            return Err(Error::StartRefused);
        }
        self.run_after(None);
        self.state_mut().configuring = configuring;
        let size = self::size(plugin.configuration.len());
        let configure = self.exports.configure.clone();
        if self.enter("proxy_on_configure", &configure, id, (id, size))? == Some(0) {
            return Err(Error::ConfigureRefused { plugin: plugin.name.clone() });
        }
        Ok(())
    }

    /// Does what host calls asked for, in order. Replies to the stream `defer` are returned instead: Envoy sends them
    /// once the filter's callback is over.
    pub(crate) fn run_after(&mut self, defer: Option<u32>) -> Vec<After> {
        let mut later = Vec::new();
        loop {
            let actions = std::mem::take(&mut self.state_mut().after);
            if actions.is_empty() {
                return later;
            }
            for action in actions {
                match action {
                    After::Reply(id, ..) if Some(id) == defer => {
                        // Already now the request goes no further.
                        if let Some(stream) = self.state_mut().stream_mut(id) {
                            stream.aborted = true;
                        }
                        later.push(action);
                    }
                    After::Reply(stream, reply, grpc) => self.reply(stream, *reply, grpc),
                    After::Continue(stream, direction) => self.common_continue(stream, direction),
                    After::Close(stream) => self.reset_stream(stream),
                    After::DeleteRoot(root) => self.delete_root(root),
                }
            }
        }
    }

    pub(crate) fn reset_stream(&mut self, id: u32) {
        if let Some(stream) = self.state_mut().stream_mut(id)
            && stream.is_open(Direction::Response)
        {
            stream.reset = true;
            stream.events.push(Event::Reset);
        }
    }

    pub(crate) fn tick(&mut self, root: u32) {
        let tick = self.exports.tick.clone();
        if self.dead.is_none() && self.state().root(root).is_some() {
            let _ = self.enter("proxy_on_tick", &tick, root, root);
            self.run_after(None);
        }
    }

    pub(crate) fn queue_ready(&mut self, root: u32, token: u32) {
        let ready = self.exports.queue_ready.clone();
        if self.dead.is_none() && self.state().root(root).is_some() {
            let _ = self.enter("proxy_on_queue_ready", &ready, root, (root, token));
            self.run_after(None);
        }
    }

    /// Delivers the answer to a callout. Unknown tokens and dead VMs change nothing: the stream behind stays paused.
    pub(crate) fn answer(&mut self, token: u32, answer: Answer) -> Result<(), Error> {
        if answer == Answer::LeaveOpen {
            return Ok(());
        }
        let Some(callout) = self.state_mut().callouts.remove(&token) else {
            return Err(Error::Misuse(format!("callout {token} is not open")));
        };
        let (root, call) = (callout.root, self.exports.http_call_response.clone());
        if self.dead.is_some() || self.state().root(root).is_none() {
            return Ok(());
        }
        let sizes = match answer {
            Answer::Respond(Response { headers, chunks, trailers }) => {
                let delivered =
                    Delivered { root, headers, body: chunks.concat(), trailers: trailers.unwrap_or_default() };
                let sizes = (delivered.headers.len(), delivered.body.len(), delivered.trailers.len());
                self.state_mut().delivered = Some(delivered);
                sizes
            }
            _ => {
                self.state_mut().status = (crate::error::Status::BrokenConnection as u32, b"reset".to_vec());
                (0, 0, 0)
            }
        };
        let params = (root, token, size(sizes.0), size(sizes.1), size(sizes.2));
        let _ = self.enter("proxy_on_http_call_response", &call, root, params);
        // The response is gone before a stream that it released goes on.
        self.state_mut().delivered = None;
        self.state_mut().status.1.clear();
        self.run_after(None);
        Ok(())
    }

    /// Marks a root context as replaced; it is shut down once its last stream is over.
    pub(crate) fn retire_root(&mut self, id: u32) {
        if let Some(root) = self.state_mut().root_mut(id) {
            root.retired = true;
        }
        self.shut_down_if_idle(id);
    }

    pub(crate) fn shut_down_if_idle(&mut self, id: u32) {
        let retired = self.state().root(id).is_some_and(|r| r.retired && !r.pending);
        let busy = self
            .state()
            .contexts
            .values()
            .any(|c| matches!(c, Context::Stream(stream) if stream.root == id && !stream.destroyed));
        if retired && !busy {
            self.shut_down_root(id);
        }
    }

    /// `proxy_on_done`; where it returns true `proxy_on_delete` follows, else that waits for `proxy_done`.
    pub(crate) fn shut_down_root(&mut self, id: u32) {
        if self.state().root(id).is_none_or(|r| r.pending) {
            return;
        }
        let done = self.exports.done.clone();
        let finished = match self.enter("proxy_on_done", &done, id, id) {
            Ok(Some(finished)) => finished != 0,
            Ok(None) | Err(_) => true,
        };
        if finished {
            self.run_after(None);
            self.delete_root(id);
        } else {
            if let Some(root) = self.state_mut().root_mut(id) {
                root.pending = true;
            }
            self.run_after(None);
        }
    }

    fn delete_root(&mut self, id: u32) {
        let delete = self.exports.delete.clone();
        let _ = self.enter("proxy_on_delete", &delete, id, id);
        let state = self.state_mut();
        state.contexts.remove(&id);
        state.callouts.retain(|_, c| c.root != id);
        self.run_after(None);
    }
}

pub(crate) fn size(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn ticks(timeout: Duration) -> u64 {
    let ticks = timeout.as_nanos() / WATCHDOG_PERIOD.as_nanos();
    // One more, since the current period may be about to end.
    u64::try_from(ticks).unwrap_or(u64::MAX / 2).min(u64::MAX / 2) + 1
}

fn trap(callback: &str, error: &wasmtime::Error, store: &mut Store<State>) -> Trap {
    let message = match error.downcast_ref::<wasmtime::Trap>() {
        Some(wasmtime::Trap::Interrupt) => "it ran longer than the host's call timeout".to_owned(),
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    };
    let backtrace = error
        .downcast_ref::<WasmBacktrace>()
        .map(|b| {
            b.frames()
                .iter()
                .filter_map(|f| f.func_name())
                .map(|name| format!("{:#}", rustc_demangle::demangle(name)))
                .collect()
        })
        .unwrap_or_default();
    Trap { callback: callback.to_owned(), message, panic: store.data_mut().panic.take(), backtrace }
}
