//! One worker thread of the gateway: its VM, the root contexts in it, timers and callouts.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::callout::{Answer, Callout};
use crate::error::Error;
use crate::exchange::Exchange;
use crate::host::Host;
use crate::message::{ForwardedRequest, Outcome, Request, Response, Upstream};
use crate::plugin::{FailPolicy, Plugin};
use crate::process::{LogEntry, lock};
use crate::state::Context;
use crate::vm::Vm;

/// A root context of a worker's VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RootId(pub(crate) u32);

impl RootId {
    /// The context id that the module knows.
    pub fn context_id(self) -> u32 {
        self.0
    }
}

type Responder = Box<dyn FnMut(&Callout) -> Answer + Send>;

/// A VM with what the test set up around it. Every exchange holds on to the cell in which it began.
pub(crate) struct Cell {
    vm: Mutex<Vm>,
    responder: Arc<Mutex<Option<Responder>>>,
    /// Callouts that the responder has seen.
    offered: Mutex<BTreeSet<u32>>,
}

/// A worker thread's view of the gateway. Methods take `&self`: exchanges and the worker are used side by side.
pub struct Worker {
    host: Host,
    cell: Mutex<Arc<Cell>>,
    responder: Arc<Mutex<Option<Responder>>>,
    roots: Mutex<Vec<(RootId, Arc<Plugin>)>>,
}

/// A filter that answers callouts and dispatches another at once, each time, would never come to rest.
const MAX_ROUNDS: usize = 1000;

/// With [`FailPolicy::Reload`] Envoy waits about this long between two loads.
const RELOAD_AFTER: Duration = Duration::from_secs(1);

impl Worker {
    pub(crate) fn new(host: Host) -> Result<Self, Error> {
        let plugin = Arc::clone(host.plugin());
        let mut vm = host.new_vm()?;
        let root = RootId(vm.start_root(&plugin)?);
        let responder = Arc::default();
        let cell = Cell { vm: Mutex::new(vm), responder: Arc::clone(&responder), offered: Mutex::default() };
        let roots = Mutex::new(vec![(root, plugin)]);
        Ok(Self { host, cell: Mutex::new(Arc::new(cell)), responder, roots })
    }

    fn cell(&self) -> Arc<Cell> {
        Arc::clone(&lock(&self.cell))
    }

    /// The host it belongs to.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Number of the VM in the process, as log entries carry it.
    pub fn vm(&self) -> u32 {
        self.cell().with(|vm| vm.state().vm)
    }

    /// Starts an exchange on the newest root context. Nothing is sent yet.
    pub fn request(&self, request: Request) -> Exchange {
        self.request_on(self.root(), request)
    }

    /// Starts an exchange on this root context: a connection keeps the one of the listener that accepted it.
    pub fn request_on(&self, root: RootId, request: Request) -> Exchange {
        let root = self.reload(root);
        Exchange::new(self.cell(), root.0, request)
    }

    /// Runs a whole exchange; the upstream answers what was forwarded. What keeps callouts open, or the filter paused,
    /// ends the run with [`Outcome::hung`].
    ///
    /// # Errors
    ///
    /// The first thing that went wrong inside the VM. [`Worker::serve`] gives the outcome of such a run as well.
    pub fn run<U: Into<Upstream>>(
        &self,
        request: Request,
        upstream: impl FnOnce(&ForwardedRequest) -> U,
    ) -> Result<Outcome, Error> {
        let outcome = self.serve(request, upstream);
        outcome.failure.clone().map_or(Ok(outcome), Err)
    }

    /// As [`Worker::run`], on the newest root context, with a failure inside the outcome.
    pub fn serve<U: Into<Upstream>>(&self, request: Request, upstream: impl FnOnce(&ForwardedRequest) -> U) -> Outcome {
        self.request(request).run(upstream)
    }

    /// Brings a plugin to this worker as a listener update does: a canary VM tries it first, then this VM, which stays
    /// the same, gets a root context for it. An entry that is installed already keeps its root context.
    ///
    /// # Errors
    ///
    /// Where the canary refuses, nothing has changed. Where only this VM refuses, it is dead, as in Envoy, and the new
    /// listener would have no filter at all there: `PluginConfig::createContext` adds none for a null handle. To a test
    /// this error is as bad as a bypass.
    pub fn install(&self, plugin: Plugin) -> Result<RootId, Error> {
        let plugin = Arc::new(plugin);
        if let Some((root, _)) = lock(&self.roots).iter().find(|(_, p)| *p == plugin) {
            return Ok(*root);
        }
        self.host.try_configuration(&plugin)?;
        let root = RootId(self.cell().with(|vm| vm.start_root(&plugin))?);
        lock(&self.roots).push((root, plugin));
        self.cell().pump();
        Ok(root)
    }

    /// [`Worker::install`] for the host's plugin with another configuration.
    ///
    /// # Errors
    ///
    /// As [`Worker::install`].
    pub fn reconfigure(&self, configuration: impl Into<Vec<u8>>) -> Result<RootId, Error> {
        self.install(self.host.plugin().reconfigured(configuration))
    }

    /// The newest root context of the host's plugin.
    pub fn root(&self) -> RootId {
        let name = &self.host.plugin().name;
        lock(&self.roots).iter().rev().find(|(_, p)| p.name == *name).map_or(RootId(0), |(root, _)| *root)
    }

    /// The oldest root context of the host's plugin: that of connections from before.
    pub fn oldest_root(&self) -> RootId {
        let name = &self.host.plugin().name;
        lock(&self.roots).iter().find(|(_, p)| p.name == *name).map_or(RootId(0), |(root, _)| *root)
    }

    /// All root contexts that were installed and not retired, oldest first.
    pub fn roots(&self) -> Vec<RootId> {
        lock(&self.roots).iter().map(|(root, _)| *root).collect()
    }

    /// Ends a root context whose listener has drained: `proxy_on_done` once its last stream is over, then
    /// `proxy_on_delete`, at once or after `proxy_done`.
    ///
    /// # Errors
    ///
    /// What went wrong inside the VM.
    pub fn retire(&self, root: RootId) -> Result<(), Error> {
        lock(&self.roots).retain(|(r, _)| *r != root);
        self.cell().act(|vm| vm.retire_root(root.0))
    }

    /// Shuts down every root context, as the end of the worker does. Returns those that wait for `proxy_done`.
    ///
    /// # Errors
    ///
    /// What went wrong inside the VM.
    pub fn shut_down(&self) -> Result<Vec<RootId>, Error> {
        lock(&self.roots).clear();
        let cell = self.cell();
        cell.act(|vm| {
            for root in vm.roots() {
                vm.shut_down_root(root);
            }
        })?;
        Ok(cell.with(|vm| vm.roots()).into_iter().map(RootId).collect())
    }

    /// Whether the module still has this root context, retired or not.
    pub fn has_root(&self, root: RootId) -> bool {
        self.cell().with(|vm| vm.state().root(root.0).is_some())
    }

    /// Calls `proxy_on_tick` now for every root context that asked for ticks.
    ///
    /// # Errors
    ///
    /// What went wrong inside the VM.
    pub fn tick(&self) -> Result<(), Error> {
        self.cell().act(|vm| {
            for root in vm.roots() {
                if vm.state().root(root).is_some_and(|r| r.tick.is_some()) {
                    vm.tick(root);
                }
            }
        })
    }

    /// The tick period that a root context asked for.
    pub fn tick_period(&self, root: RootId) -> Option<Duration> {
        self.cell().with(|vm| vm.state().root(root.0).and_then(|r| r.tick).map(|(period, _)| period))
    }

    /// Moves the clock forward, stopping at each tick and callout timeout of this worker on the way. Other workers
    /// share the clock and catch up with [`Worker::poll`].
    ///
    /// # Errors
    ///
    /// What went wrong inside the VM.
    pub fn advance(&self, by: Duration) -> Result<(), Error> {
        let clock = self.host.clock();
        let end = clock.monotonic().saturating_add(by);
        self.poll()?;
        while let Some(due) = self.cell().with(|vm| vm.next_due()).filter(|due| *due <= end) {
            let now = clock.monotonic();
            clock.advance(due.saturating_sub(now));
            self.poll()?;
            if clock.monotonic() < due {
                // The system clock does not move at will.
                break;
            }
        }
        clock.advance(end.saturating_sub(clock.monotonic()));
        Ok(())
    }

    /// Does what is due: ticks, callout timeouts (answered with Envoy's own 504), notices of filled queues.
    ///
    /// # Errors
    ///
    /// What went wrong inside the VM.
    pub fn poll(&self) -> Result<(), Error> {
        self.cell().act(Vm::run_due)
    }

    /// Callouts without an answer, oldest first.
    pub fn callouts(&self) -> Vec<Callout> {
        self.cell().with(|vm| vm.state().callouts.values().cloned().collect())
    }

    /// Answers a callout.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] for a token that is not open, else what went wrong inside the VM.
    pub fn answer(&self, token: u32, answer: impl Into<Answer>) -> Result<(), Error> {
        let cell = self.cell();
        let mut known = Ok(());
        cell.act(|vm| known = vm.answer(token, answer.into()))?;
        known
    }

    /// Answers every callout from now on, right after the module returned. It may use the worker, but is not asked
    /// about callouts that begin while it runs until it is done.
    pub fn on_callout<A: Into<Answer>>(&self, mut responder: impl FnMut(&Callout) -> A + Send + 'static) {
        *lock(&self.responder) = Some(Box::new(move |callout| responder(callout).into()));
        self.cell().pump();
    }

    /// Leaves callouts to [`Worker::answer`] again.
    pub fn no_responder(&self) {
        *lock(&self.responder) = None;
    }

    /// Bytes of linear memory. It never shrinks.
    pub fn memory_size(&self) -> usize {
        self.cell().with(Vm::memory_size)
    }

    /// Contexts that the VM holds, roots and streams.
    pub fn contexts(&self) -> usize {
        self.cell().with(|vm| vm.state().contexts.keys().filter(|id| vm.state().is_alive(**id)).count())
    }

    /// What killed the VM, if it is dead.
    pub fn dead(&self) -> Option<Error> {
        self.cell().with(|vm| vm.dead.clone())
    }

    /// What this VM logged.
    pub fn log(&self) -> Vec<LogEntry> {
        let vm = self.vm();
        self.host.process().log().into_iter().filter(|entry| entry.vm == vm).collect()
    }

    /// With [`FailPolicy::Reload`], a fresh VM in place of a dead one. Returns the root context to use.
    fn reload(&self, root: RootId) -> RootId {
        let mut roots = lock(&self.roots);
        let Some(at) = roots.iter().position(|(r, _)| *r == root) else { return root };
        let reloads = roots.iter().any(|(r, p)| *r == root && p.fail_policy == FailPolicy::Reload);
        let now = self.host.clock().monotonic();
        let due = self.cell().with(|vm| vm.dead.is_some() && now.saturating_sub(vm.loaded) >= RELOAD_AFTER);
        if !reloads || !due {
            return root;
        }
        let Ok(mut vm) = self.host.new_vm() else { return root };
        let mut fresh = Vec::new();
        for (_, plugin) in roots.iter() {
            let Ok(id) = vm.start_root(plugin) else { return root };
            fresh.push((RootId(id), Arc::clone(plugin)));
        }
        *roots = fresh;
        let cell = Cell { vm: Mutex::new(vm), responder: Arc::clone(&self.responder), offered: Mutex::default() };
        *lock(&self.cell) = Arc::new(cell);
        roots.get(at).map_or(root, |(r, _)| *r)
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("roots", &self.roots()).finish_non_exhaustive()
    }
}

impl Cell {
    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut Vm) -> T) -> T {
        f(&mut lock(&self.vm))
    }

    /// Acts on the VM, answers callouts, and reports the first failure.
    pub(crate) fn act(&self, f: impl FnOnce(&mut Vm)) -> Result<(), Error> {
        self.with(f);
        self.pump();
        let failures = self.with(|vm| std::mem::take(&mut vm.failures));
        failures.into_iter().next().map_or(Ok(()), Err)
    }

    /// Lets the responder answer what it has not seen, and delivers queue notices. The VM is free while it runs.
    pub(crate) fn pump(&self) {
        for _ in 0..MAX_ROUNDS {
            self.with(Vm::deliver_queues);
            let Some(mut responder) = lock(&self.responder).take() else { return };
            let new: Vec<Callout> = {
                let mut offered = lock(&self.offered);
                let open = self.with(|vm| vm.state().callouts.values().cloned().collect::<Vec<_>>());
                open.into_iter().filter(|c| offered.insert(c.token)).collect()
            };
            for callout in &new {
                let answer = responder(callout);
                // The responder may have answered it by hand.
                let _ = self.with(|vm| vm.answer(callout.token, answer));
            }
            lock(&self.responder).get_or_insert(responder);
            if new.is_empty() {
                return;
            }
        }
    }
}

impl Vm {
    fn roots(&self) -> Vec<u32> {
        let roots = self.state().contexts.iter().filter(|(_, c)| matches!(c, Context::Root(_)));
        roots.map(|(id, _)| *id).collect()
    }

    fn memory_size(&mut self) -> usize {
        self.state().memory.map_or(0, |memory| memory.data_size(&self.store))
    }

    /// The next tick or timeout, on the monotonic clock.
    fn next_due(&self) -> Option<Duration> {
        let state = self.state();
        let ticks = state.contexts.values().filter_map(|c| match c {
            Context::Root(root) => root.tick.map(|(_, due)| due),
            Context::Stream(_) => None,
        });
        // A dead VM does neither.
        ticks.chain(state.callouts.values().filter_map(|c| c.due)).min().filter(|_| self.dead.is_none())
    }

    fn run_due(&mut self) {
        let now = self.state().clock.monotonic();
        let late: Vec<u32> =
            self.state().callouts.values().filter(|c| c.due.is_some_and(|due| due <= now)).map(|c| c.token).collect();
        for token in late {
            let body = "upstream request timeout";
            let response = Response::new(504)
                .header("content-length", body.len().to_string())
                .header("content-type", "text/plain")
                .body(body);
            let _ = self.answer(token, Answer::Respond(response));
        }
        for root in self.roots() {
            if self.state().root(root).and_then(|r| r.tick).is_some_and(|(_, due)| due <= now) {
                self.tick(root);
                // Envoy sets the timer again after the call.
                if let Some((period, due)) = self.state_mut().root_mut(root).and_then(|r| r.tick.as_mut()) {
                    *due = now.saturating_add(*period);
                }
            }
        }
        self.deliver_queues();
    }

    fn deliver_queues(&mut self) {
        let (process, vm) = (self.state().process.clone(), self.state().vm);
        for (root, token) in process.take_ready(vm) {
            self.queue_ready(root, token);
        }
    }
}
