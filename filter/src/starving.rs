//! Requests whose heads are held and whose bodies the host does not hand over: one that cannot hold heads
//! (`allow_on_headers_stop_iteration` is not set) keeps both back until somebody gives up. Nothing leaves, but an agent would
//! wait for minutes and an operator would see no reason. So they are refused, with the reason in the record and in the log.
//!
//! Slow agents are none of these: the host says how many bytes have come to it, and hands over what has come at once.

use crate::http::Http;
use crate::{host, vm};
use exeat_engine::facts::Timestamp;
use proxy_wasm::hostcalls;
use proxy_wasm::types::{LogLevel, MapType};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Milliseconds for which bytes may be there and not handed over: another filter before this one may keep them.
const PATIENCE: u64 = 1_000;

const WHY: &str = "exeat: the host holds heads and hands over no bodies: requests with a body are refused; set \
    allow_on_headers_stop_iteration: true on the filter, or write hold: false in the gateway document";

/// Requests that wait for a body of which nothing was handed over, by context, and since when it has been there.
#[derive(Default)]
pub(crate) struct Starving {
    requests: BTreeMap<u32, (Rc<RefCell<Http>>, Option<Timestamp>)>,
    /// Whether the operator was told.
    told: bool,
}

impl Starving {
    /// This one waits.
    pub(crate) fn enter(&mut self, context: u32, request: &Rc<RefCell<Http>>) {
        self.requests.insert(context, (Rc::clone(request), None));
    }

    /// It does so no longer.
    pub(crate) fn leave(&mut self, context: u32) {
        self.requests.remove(&context);
    }
}

/// Refuses those whose bodies have been there for too long. Changes the effective context.
pub(crate) fn refuse_starved(now: Timestamp) {
    let waiting: Vec<u32> = vm::with(|vm| vm.starving.requests.keys().copied().collect());
    for context in waiting {
        // A context that is gone has ended its exchange itself.
        if hostcalls::set_effective_context(context).is_err() {
            vm::with(|vm| vm.starving.leave(context));
            continue;
        }
        let there = has_body();
        let starved = vm::with(|vm| {
            let (request, since) = vm.starving.requests.get_mut(&context).filter(|_| there)?;
            let since = *since.get_or_insert(now);
            (now.millis_since(since) >= PATIENCE).then(|| Rc::clone(request))
        });
        let Some(request) = starved else { continue };
        vm::with(|vm| vm.starving.leave(context));
        // Nothing of it runs while a root context does.
        if let Ok(mut request) = request.try_borrow_mut() {
            request.starve();
        }
        if !vm::with(|vm| std::mem::replace(&mut vm.starving.told, true)) {
            host::log(LogLevel::Error, WHY);
        }
    }
}

/// Whether bytes beyond the head have come to the host.
fn has_body() -> bool {
    let Some(total) = host::number_property(&["request", "total_size"]) else { return false };
    let fields = hostcalls::get_map_bytes(MapType::HttpRequestHeaders).unwrap_or_default();
    let head: usize = fields.iter().map(|(name, value)| name.len().saturating_add(value.len())).sum();
    !fields.is_empty() && total > head as u64
}
