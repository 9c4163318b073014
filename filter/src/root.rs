//! The root context: takes configurations into use, and looks after the log of the VM.
//!
//! Everything to the collector is sent from here, on the tick: a callout that a request dispatches is answered to that
//! request's context, which may be gone by then.

use crate::guard::Guard;
use crate::http::Http;
use crate::newest::Digest;
use crate::secrets::Secrets;
use crate::verify::ForeignVerifier;
use crate::vm::{self, Part, Plugin, Vm};
use crate::waiting::{self, Held};
use crate::{delivery, host, left, metrics, newest, previous, starving};
use exeat_engine::facts::Timestamp;
use exeat_engine::policy::{PluginConfiguration, Role};
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{BufferType, ContextType, LogLevel};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

/// How often the log is looked after. Under `async` a decision reaches the collector this much later at most, if that is well.
const TICK: Duration = Duration::from_millis(100);

/// Milliseconds within which a root context that no request has met is to go again if its listener was refused: as long as Envoy may take
/// for the rest of it.
const REFUSED: u64 = 30_000;

/// A root context: one plugin of one listener, in one worker VM.
pub(crate) struct Root {
    context: u32,
    brought: Option<Brought>,
    /// Whether a request has met it.
    met: Cell<bool>,
    /// It is to go, and stays until a callout of its own is answered.
    draining: bool,
}

/// What a root context was configured with.
struct Brought {
    plugin: Plugin,
    digest: Digest,
    at: Option<Timestamp>,
}

impl Root {
    pub(crate) fn new(context: u32) -> Self {
        vm::with(Vm::root_created);
        Self { context, brought: None, met: Cell::new(false), draining: false }
    }

    /// Refuses only by what is the same in every VM: the configuration's bytes and the environment. The host tries a
    /// configuration in a VM of its own first; what is refused there changes nothing. A worker's VM that refuses what
    /// passed there is left out of the chain, whatever `failure_policy` says, and requests go by unjudged (Envoy's
    /// `PluginConfig::createContext` with a null handle). So what depends on the state of a VM is settled later, closed.
    fn configure(&mut self) -> Result<(), String> {
        let bytes = hostcalls::get_buffer(BufferType::PluginConfiguration, 0, usize::MAX)
            .map_err(|status| format!("the host does not hand it over: {status:?}"))?
            .unwrap_or_default();
        let digest = newest::digest(&bytes);
        let name = host::text_property(&["plugin_name"]).unwrap_or_default();
        let filter = (name.clone(), Role::Filter);
        let known = vm::with(|vm| vm.confirm(&filter, &digest));
        let (plugin, offer) = match known {
            true => (filter, None),
            false => {
                let (role, part, secrets) = read(&bytes)?;
                ((name, role), Some((part, secrets)))
            }
        };
        hostcalls::set_tick_period(TICK).map_err(|status| format!("the host gives no ticks: {status:?}"))?;
        let now = host::now();
        let before = self.brought.replace(Brought { plugin: plugin.clone(), digest, at: now });
        let news = vm::with(|vm| {
            vm.plugin_came(&plugin, digest);
            before.iter().for_each(|before| vm.plugin_went(&before.plugin, &before.digest, None));
            if let Some((part, secrets)) = offer {
                vm.offer(plugin, (digest, bytes), part, secrets);
            }
            let Some(now) = now else { return false };
            let news = vm.settle(now);
            if vm.serves {
                newest::exchange(vm, now);
            }
            news && !vm.serves
        });
        if news {
            waiting::hurry(self.context);
        }
        Ok(())
    }

    /// Sends what is due, as this root context.
    fn deliver(&self, now: Timestamp) -> bool {
        vm::with(|vm| delivery::deliver(vm, self.context, now))
    }

    fn finish_draining(&mut self) {
        if self.draining {
            self.draining = false;
            let _ = hostcalls::done();
        }
    }
}

/// What a plugin is configured with; an error that is the same in every VM of this module.
pub(crate) fn read(bytes: &[u8]) -> Result<(Role, Part, Secrets), String> {
    let accepted = PluginConfiguration::accept(bytes).map_err(|error| error.to_string())?;
    let (role, secrets) = (accepted.role(), Secrets::load(accepted.gateway())?);
    let part = match accepted {
        PluginConfiguration::Filter(configuration) => {
            let verified = configuration.with_host(Arc::new(ForeignVerifier)).map_err(|error| error.to_string())?;
            Part::Filter(Arc::new(verified))
        }
        PluginConfiguration::Guard(configuration) => Part::Guard(Arc::from(configuration)),
    };
    Ok((role, part, secrets))
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, num_headers: usize, body_size: usize, _num_trailers: usize) {
        let Some(now) = host::now() else { return };
        let stored = vm::with(|vm| {
            if vm.previous.is(token) {
                previous::answered(vm, now, num_headers, body_size);
                vm.log(now);
                return None;
            }
            if vm.left.is(token) {
                left::answered(vm, num_headers, body_size);
                return None;
            }
            let stored = delivery::answered(vm, now, num_headers, body_size);
            if stored.is_some() {
                previous::ask_again(vm, now);
            }
            stored
        });
        let last = vm::with(|vm| vm.is_ending());
        let done = self.draining && (!last || delivery::is_drained());
        if !done {
            self.deliver(now);
        }
        if let Some(size) = stored {
            waiting::resume_stored(size);
            let _ = hostcalls::set_effective_context(self.context);
        }
        if done && !vm::with(|vm| vm.delivery.is_of(self.context)) {
            self.finish_draining();
        }
    }

    fn on_done(&mut self) -> bool {
        let now = host::now();
        if let Some(Brought { plugin, digest, at }) = &self.brought {
            let refused = |now: &Timestamp| !self.met.get() && at.is_some_and(|at| now.millis_since(at) <= REFUSED);
            vm::with(|vm| vm.plugin_went(plugin, digest, now.filter(refused)));
        }
        let Some(now) = now else { return true };
        let waiting = vm::with(|vm| {
            if !vm.root_done() {
                // The answer would be lost with this context, and everybody would wait for it in vain.
                return vm.delivery.is_of(self.context);
            }
            let Some(log) = vm.begun_log() else { return false };
            log.leave();
            // Refused only when the log was closed before. The others are not told: when the process ends, workers cannot
            // deliver any more, and a leaf that others cite would be missed for ever.
            let _ = log.journal.close(now, "shutdown");
            // Where the process goes on, this VM may be gone before the collector answers it.
            left::leave(vm, now);
            vm.begun_log().is_some_and(|log| !log.journal.is_drained())
        });
        self.draining = waiting && self.deliver(now);
        !self.draining
    }
}

impl RootContext for Root {
    fn on_vm_start(&mut self, _vm_configuration_size: usize) -> bool {
        true
    }

    fn on_configure(&mut self, _plugin_configuration_size: usize) -> bool {
        let refused = self.configure().err();
        if let Some(why) = &refused {
            host::log(LogLevel::Error, &format!("exeat: configuration refused, nothing changes: {why}"));
        }
        refused.is_none()
    }

    fn on_tick(&mut self) {
        let Some(now) = host::now() else { return };
        if vm::with(|vm| vm.waiting.calm(self.context)) {
            let _ = hostcalls::set_tick_period(TICK);
        }
        vm::with(|vm| {
            vm.serves = true;
            vm.settle(now);
            previous::ask_first(vm, now);
            if vm.previous.is_settled(now) {
                vm.log(now);
            }
            delivery::give_up_lost(vm, now);
            metrics::update(vm, now);
            vm.listen(now);
            newest::exchange(vm, now);
        });
        if !self.draining {
            self.deliver(now);
            vm::with(|vm| left::deliver(vm, now));
        }
        // What is done here is done to other contexts than this one.
        waiting::resume_overdue();
        starving::refuse_starved(now);
        for context in vm::with(|vm| vm.overdue(now)) {
            if hostcalls::set_effective_context(context).is_ok() {
                let _ = hostcalls::reset_http_request();
            }
        }
        let _ = hostcalls::set_effective_context(self.context);
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        // What has no configuration refuses, and it is better refused before anything is resolved for it.
        self.met.set(true);
        let plugin = self.brought.as_ref().map(|brought| brought.plugin.clone());
        match plugin {
            Some((_, Role::Guard)) => Some(Box::new(Guard::new(plugin))),
            _ => Some(Box::new(Held::new(self.context, Http::new(context_id, plugin)))),
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
