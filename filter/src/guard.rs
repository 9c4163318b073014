//! A request where it leaves, as upstream HTTP filter: the address is chosen, no byte of the request is on its way.
//!
//! What may leave is what the filter of this process let go, once, by the way out that was chosen, to an address that is open
//! to it. Everything else is refused here, whatever led it here.

use crate::vm::{self, Plugin};
use crate::{elsewhere, host, wasi};
use exeat_engine::decision::Reason;
use exeat_engine::decision::answer::{Answer, answer};
use exeat_engine::destination::{Leaving, Objection};
use exeat_engine::evidence::record::GuardVerdict;
use exeat_engine::exchange::{Clearance, Verdict, guard};
use exeat_engine::policy::GuardConfiguration;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, LogLevel, MapType};
use std::sync::Arc;

/// The filter state in which the filter leaves the id of its decision.
pub(crate) const DECISION: &str = "exeat.decision";

/// One request on its way out.
pub(crate) struct Guard {
    plugin: Option<Plugin>,
    refused: bool,
}

impl Guard {
    pub(crate) fn new(plugin: Option<Plugin>) -> Self {
        Self { plugin, refused: false }
    }

    /// `Err` with the answer where it must not leave.
    fn judge(&self) -> Result<(), Answer> {
        let unavailable = |reason| answer(reason, crate::http::NO_ID, None, None);
        let configuration = self.plugin.as_ref().and_then(|plugin| vm::with(|vm| vm.guard(plugin)));
        let configuration = configuration.ok_or_else(|| unavailable(Reason::PolicyUnavailable))?;
        let header = |name| hostcalls::get_map_value_bytes(MapType::HttpRequestHeaders, name).ok().flatten();
        let (method, authority, path) = (header(":method"), header(":authority"), header(":path"));
        let upstream = host::text_property(&["upstream", "address"]);
        let leaving = Leaving {
            exits: configuration.exits(),
            method: method.as_deref(),
            authority: authority.as_deref(),
            // Envoy gives a CONNECT no path, or an empty one.
            path: path.as_deref().filter(|path| !path.is_empty()),
            upstream: upstream.as_deref(),
        };
        let decision = host::text_property(&[DECISION]).unwrap_or_default();
        let mut taken = Taken { decision: &decision, clearance: None, handed_over: false };
        let mut clearance = vm::with(|vm| vm.passes.take(&decision));
        if matches!(clearance, Err(Objection::Undecided)) && !decision.is_empty() {
            clearance = elsewhere::take(&decision);
            taken.handed_over = true;
        }
        let objection = match clearance {
            Err(objection) => objection,
            Ok(clearance) => match clearance.admit(&leaving) {
                Ok(class) => {
                    let address = upstream.clone().unwrap_or_default();
                    // A filter that is not told would not pass the answer on.
                    if taken.judged(GuardVerdict::Passed { address, class }) {
                        return Ok(());
                    }
                    Objection::Undecided
                }
                Err(objection) => {
                    taken.clearance = Some(clearance);
                    objection
                }
            },
        };
        Err(self.refuse(&configuration, &taken, &leaving, objection))
    }

    fn refuse(
        &self,
        configuration: &Arc<GuardConfiguration>,
        taken: &Taken<'_>,
        leaving: &Leaving<'_>,
        objection: Objection,
    ) -> Answer {
        let clearance = taken.clearance.as_deref();
        // Without a clock or randomness, or a log, it is refused all the same; nothing then vouches for it.
        let facts = host::now().zip(wasi::random());
        let refusal = facts.and_then(|(now, random)| {
            vm::with(|vm| {
                let log = vm.log(now)?;
                let gateway = configuration.gateway();
                let refusal = guard::refuse(gateway, &mut log.journal, now, &random, clearance, leaving, objection);
                log.publish();
                vm.counts.guard_refusals = vm.counts.guard_refusals.saturating_add(1);
                Some(refusal)
            })
        });
        // A second use takes nothing from the first one, which may be on its way.
        if let (Some(refusal), true) = (&refusal, clearance.is_some()) {
            taken.judged(GuardVerdict::Refused { decision: refusal.id.clone() });
        }
        if clearance.is_none() {
            host::log(LogLevel::Error, &format!("exeat: a request was kept from leaving: {objection}"));
        }
        match refusal.map(|refusal| refusal.verdict) {
            Some(Verdict::Refuse(answer)) => answer,
            _ => answer(Reason::DestinationResolvedForbidden, crate::http::NO_ID, None, None),
        }
    }
}

/// A decision that was taken, from where it was.
struct Taken<'a> {
    decision: &'a str,
    /// Where the request must not leave.
    clearance: Option<Box<Clearance>>,
    handed_over: bool,
}

impl Taken<'_> {
    /// Tells the filter; whether it can know.
    fn judged(&self, verdict: GuardVerdict) -> bool {
        if !self.handed_over {
            vm::with(|vm| vm.passes.judged(self.decision, verdict));
            return true;
        }
        let told = elsewhere::judged(self.decision, &verdict);
        if let Err(why) = &told {
            host::log(LogLevel::Error, &format!("exeat: what the guard decided cannot be told: {why}"));
        }
        told.is_ok()
    }
}

impl Context for Guard {}

impl HttpContext for Guard {
    fn on_http_request_headers(&mut self, _num_headers: usize, _end_of_stream: bool) -> Action {
        match self.judge() {
            Ok(()) => Action::Continue,
            Err(answer) => {
                self.refused = true;
                crate::http::send(&answer);
                Action::Pause
            }
        }
    }

    fn on_http_request_body(&mut self, _body_size: usize, _end_of_stream: bool) -> Action {
        if self.refused { Action::Pause } else { Action::Continue }
    }

    fn on_http_request_trailers(&mut self, _num_trailers: usize) -> Action {
        if self.refused { Action::Pause } else { Action::Continue }
    }
}
