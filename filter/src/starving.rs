//! Requests whose heads are held and whose bodies the host does not hand over: one that cannot hold heads
//! (`allow_on_headers_stop_iteration` is not set) keeps both back until somebody gives up. Nothing leaves, but an agent would
//! wait for minutes and an operator would see no reason. So they are refused, with the reason in the record and in the log.
//!
//! Slow agents are none of these: the host says how many bytes have come to it, and hands over what has come at once.

use crate::http::Http;
use crate::{headers, host, vm};
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
    requests: BTreeMap<u32, Request>,
    /// Whether the operator was told.
    told: bool,
}

struct Request {
    http: Rc<RefCell<Http>>,
    /// Bytes of the head, once they were asked for: nobody changes it while it is held.
    head: Option<u64>,
    /// Since when its body has been there.
    since: Option<Timestamp>,
}

impl Starving {
    /// This one waits.
    pub(crate) fn enter(&mut self, context: u32, http: &Rc<RefCell<Http>>) {
        self.requests.insert(context, Request { http: Rc::clone(http), head: None, since: None });
    }

    /// It does so no longer.
    pub(crate) fn leave(&mut self, context: u32) {
        self.requests.remove(&context);
    }
}

/// Refuses those whose bodies have been there for too long. Changes the effective context.
pub(crate) fn refuse_starved(now: Timestamp) {
    let waiting: Vec<(u32, Option<u64>)> =
        vm::with(|vm| vm.starving.requests.iter().map(|(context, request)| (*context, request.head)).collect());
    for (context, head) in waiting {
        // A context that is gone has ended its exchange itself.
        if hostcalls::set_effective_context(context).is_err() {
            vm::with(|vm| vm.starving.leave(context));
            continue;
        }
        let head = head.or_else(head_size);
        let there = head.is_some_and(has_body);
        let starved = vm::with(|vm| {
            let request = vm.starving.requests.get_mut(&context)?;
            request.head = head;
            let since = *there.then(|| request.since.get_or_insert(now))?;
            (now.millis_since(since) >= PATIENCE).then(|| Rc::clone(&request.http))
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

/// Bytes of the head as the host counts them.
fn head_size() -> Option<u64> {
    let fields = headers::all(MapType::HttpRequestHeaders);
    let head: usize = fields.iter().map(|(name, value)| name.len().saturating_add(value.len())).sum();
    (!fields.is_empty()).then_some(head as u64)
}

/// Whether bytes beyond the head have come to the host.
fn has_body(head: u64) -> bool {
    host::number_property(&["request", "total_size"]).is_some_and(|total| total > head)
}
