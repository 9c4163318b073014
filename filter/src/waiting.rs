//! Requests that wait for the record of their decision to be stored (write-ahead delivery).
//!
//! The answer to a callout comes to the context that dispatched it, and only if that is still there. So the root context
//! dispatches, on a tick that is brought forward, and its answer resumes the requests that wait: each is held here as well
//! as by the SDK. While one batch is on its way the next collects.

use crate::http::Http;
use crate::vm;
use exeat_engine::facts::Timestamp;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

/// How soon a batch is sent once a request waits: the shortest time that a host's timers know.
const SOON: Duration = Duration::from_millis(1);

/// Brings the next tick of a root context forward.
pub(crate) fn hurry(root: u32) {
    // Without it the ordinary tick comes.
    if vm::with(|vm| vm.waiting.hurried.insert(root)) && hostcalls::set_tick_period(SOON).is_err() {
        vm::with(|vm| vm.waiting.calm(root));
    }
}

type Shared = Rc<RefCell<Http>>;

/// The requests of a VM that wait, by the size of the log that must be stored.
#[derive(Default)]
pub(crate) struct Waiting {
    requests: BTreeMap<(u64, u32), Shared>,
    /// Root contexts whose next tick was brought forward.
    hurried: BTreeSet<u32>,
}

impl Waiting {
    /// How many wait.
    pub(crate) fn len(&self) -> u64 {
        self.requests.len().try_into().unwrap_or(u64::MAX)
    }

    /// Whether the tick of this root context was brought forward; from now on it is not.
    pub(crate) fn calm(&mut self, root: u32) -> bool {
        self.hurried.remove(&root)
    }

    fn stored(&mut self, size: u64) -> Vec<Shared> {
        let rest = self.requests.split_off(&(size.saturating_add(1), 0));
        std::mem::replace(&mut self.requests, rest).into_values().collect()
    }

    fn first(&self) -> Option<((u64, u32), Shared)> {
        self.requests.first_key_value().map(|(key, request)| (*key, Rc::clone(request)))
    }
}

/// Lets those go whose records are stored up to this size. Changes the effective context.
pub(crate) fn resume_stored(size: u64) {
    for request in vm::with(|vm| vm.waiting.stored(size)) {
        resume(&request);
    }
}

/// Refuses those that have waited too long. Changes the effective context.
pub(crate) fn resume_overdue() {
    // Those that came first are the first to have waited too long.
    while let Some((key, request)) = vm::with(|vm| vm.waiting.first()) {
        if !resume(&request) {
            return;
        }
        vm::with(|vm| vm.waiting.requests.remove(&key));
    }
}

/// Whether it waits no longer.
fn resume(request: &Shared) -> bool {
    // Nothing of it runs while a root context does; if it did, it would be looked at again on the next tick.
    let Ok(mut request) = request.try_borrow_mut() else { return false };
    // A context that is gone has ended its exchange itself.
    hostcalls::set_effective_context(request.context()).is_err() || request.resume()
}

/// A request as the SDK holds it.
pub(crate) struct Held {
    root: u32,
    context: u32,
    http: Shared,
    parked: Option<u64>,
    /// Whether it waits for a body of which nothing was handed over.
    starving: bool,
}

impl Held {
    pub(crate) fn new(root: u32, http: Http) -> Self {
        let context = http.context();
        Self { root, context, http: Rc::new(RefCell::new(http)), parked: None, starving: false }
    }

    /// Calls the request; where it waits afterwards, it can be found by who resumes it.
    fn call(&mut self, call: impl FnOnce(&mut Http) -> Action) -> Action {
        let (action, waits, starving) = {
            let Ok(mut http) = self.http.try_borrow_mut() else { return Action::Pause };
            (call(&mut http), http.waits_for(), http.awaits_body())
        };
        if starving != self.starving {
            self.starving = starving;
            vm::with(|vm| match starving {
                true => vm.starving.enter(self.context, &self.http),
                false => vm.starving.leave(self.context),
            });
        }
        if let Some(size) = waits.filter(|_| self.parked.is_none()) {
            self.parked = Some(size);
            let (key, http) = ((size, self.context), Rc::clone(&self.http));
            let alone = vm::with(|vm| {
                vm.waiting.requests.insert(key, http);
                // What is on its way is followed by the next batch at once.
                !vm.delivery.is_under_way()
            });
            if alone {
                hurry(self.root);
            }
        }
        action
    }

    fn leave(&mut self) {
        if std::mem::take(&mut self.starving) {
            vm::with(|vm| vm.starving.leave(self.context));
        }
        if let Some(size) = self.parked.take() {
            vm::with(|vm| vm.waiting.requests.remove(&(size, self.context)));
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Context for Held {}

impl HttpContext for Held {
    fn on_http_request_headers(&mut self, num_headers: usize, end_of_stream: bool) -> Action {
        self.call(|http| http.on_http_request_headers(num_headers, end_of_stream))
    }

    fn on_http_request_body(&mut self, body_size: usize, end_of_stream: bool) -> Action {
        self.call(|http| http.on_http_request_body(body_size, end_of_stream))
    }

    fn on_http_request_trailers(&mut self, num_trailers: usize) -> Action {
        self.call(|http| http.on_http_request_trailers(num_trailers))
    }

    fn on_http_response_headers(&mut self, num_headers: usize, end_of_stream: bool) -> Action {
        self.call(|http| http.on_http_response_headers(num_headers, end_of_stream))
    }

    fn on_http_response_body(&mut self, body_size: usize, end_of_stream: bool) -> Action {
        self.call(|http| http.on_http_response_body(body_size, end_of_stream))
    }

    fn on_http_response_trailers(&mut self, num_trailers: usize) -> Action {
        self.call(|http| http.on_http_response_trailers(num_trailers))
    }

    fn on_log(&mut self) {
        self.leave();
        if let Ok(mut http) = self.http.try_borrow_mut() {
            http.on_log();
        }
    }
}

/// Somebody waits: what failed goes again soon.
pub(crate) fn hasten(vm: &mut vm::Vm, now: Timestamp) {
    if vm.waiting.len() > 0
        && let Some(log) = vm.begun_log()
    {
        log.journal.hasten(now);
    }
}
