//! The root context: takes configurations into use, and delivers the log to the collector.
//!
//! Everything to the collector is sent from here, on the tick: a callout that a request dispatches is answered to that
//! request's context, which may be gone by then.

use crate::guard::Guard;
use crate::http::Http;
use crate::verify::ForeignVerifier;
use crate::vm::{self, Part, Plugin, Vm};
use crate::{host, wasi};
use exeat_engine::evidence::LogHead;
use exeat_engine::facts::Timestamp;
use exeat_engine::policy::{Collector, PluginConfiguration, Role};
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{BufferType, ContextType, LogLevel, MapType};
use std::sync::Arc;
use std::time::Duration;

/// How often the log is looked after. A decision reaches the collector this much later at most, if that is well.
const TICK: Duration = Duration::from_millis(100);

/// Records in a batch, and bytes.
const BATCH: (usize, usize) = (1024, 1024 * 1024);

/// Bytes of an acknowledgement that are read; one has some 150. Memory that an answer once took is never given back.
const ACKNOWLEDGEMENT: usize = 4096;

/// Milliseconds beyond the callout's own timeout after which its answer is given up: it was lost with the root context
/// that had dispatched it.
const GRACE: u64 = 2_000;

/// What is known of the batch that is on its way.
#[derive(Default)]
pub(crate) struct Delivery {
    lost_at: Option<Timestamp>,
    failing: bool,
}

/// A root context: one plugin of one listener, in one worker VM.
pub(crate) struct Root {
    context: u32,
    plugin: Option<Plugin>,
    draining: bool,
}

impl Root {
    pub(crate) fn new(context: u32) -> Self {
        vm::with(Vm::root_created);
        Self { context, plugin: None, draining: false }
    }

    /// Refuses only by what is the same in every VM: the configuration's bytes and the environment. The host tries a
    /// configuration in a VM of its own first; what is refused there changes nothing. A worker's VM that refuses what
    /// passed there is left out of the chain, whatever `failure_policy` says, and requests go by unjudged (Envoy's
    /// `PluginConfig::createContext` with a null handle). So what depends on the state of a VM is settled later, closed.
    fn configure(&mut self) -> Result<(), String> {
        let bytes = hostcalls::get_buffer(BufferType::PluginConfiguration, 0, usize::MAX)
            .map_err(|status| format!("the host does not hand it over: {status:?}"))?
            .unwrap_or_default();
        let accepted = PluginConfiguration::accept(&bytes).map_err(|error| error.to_string())?;
        let (role, key) = (accepted.role(), vm::gateway_key(accepted.gateway())?);
        let part = match accepted {
            PluginConfiguration::Filter(configuration) => {
                let verified = configuration.with_host(Arc::new(ForeignVerifier)).map_err(|error| error.to_string())?;
                Part::Filter(Arc::new(verified))
            }
            PluginConfiguration::Guard(configuration) => Part::Guard(Arc::new(configuration)),
        };
        hostcalls::set_tick_period(TICK).map_err(|status| format!("the host gives no ticks: {status:?}"))?;
        let plugin = (host::text_property(&["plugin_name"]).unwrap_or_default(), role);
        self.plugin = Some(plugin.clone());
        vm::with(|vm| vm.offer(plugin, part, key));
        if let Some(now) = host::now() {
            vm::with(|vm| vm.settle(now));
        }
        Ok(())
    }

    fn finish_draining(&mut self) {
        if self.draining {
            self.draining = false;
            let _ = hostcalls::done();
        }
    }
}

impl Context for Root {
    fn on_http_call_response(&mut self, _token: u32, num_headers: usize, body_size: usize, _num_trailers: usize) {
        let Some(now) = host::now() else { return };
        let answer = acknowledgement(num_headers, body_size);
        let drained = vm::with(|vm| {
            vm.delivery.lost_at = None;
            let failing = &mut vm.delivery.failing;
            let was_failing = *failing;
            let random = random_u64();
            let mut outcome = Ok(());
            if let Some(log) = vm.begun_log() {
                outcome = answer.and_then(|head| log.journal.acknowledged(&head).map_err(|error| error.to_string()));
                if outcome.is_err() {
                    log.journal.failed(now, random);
                }
            }
            report_delivery(was_failing, &outcome);
            vm.delivery.failing = outcome.is_err();
            outcome.is_err() || vm.begun_log().is_none_or(|log| log.journal.is_drained())
        });
        if drained {
            self.finish_draining();
        } else {
            deliver(now);
        }
    }

    fn on_done(&mut self) -> bool {
        let Some(now) = host::now() else { return true };
        let waiting = vm::with(|vm| {
            if !vm.root_done() {
                return false;
            }
            let Some(log) = vm.begun_log() else { return false };
            // Refused only when the log was closed before. The others are not told: when the process ends, workers cannot
            // deliver any more, and a leaf that others cite would be missed for ever.
            let _ = log.journal.close(now, "shutdown");
            !log.journal.is_drained()
        });
        if waiting {
            self.draining = deliver(now);
        }
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
        vm::with(|vm| {
            vm.settle(now);
            vm.log(now);
            if vm.delivery.lost_at.is_some_and(|lost_at| now > lost_at) {
                vm.delivery.lost_at = None;
                let random = random_u64();
                if let Some(log) = vm.begun_log() {
                    log.journal.failed(now, random);
                }
            }
        });
        // What is done here is done to other contexts than this one.
        for context in vm::with(|vm| vm.overdue(now)) {
            if hostcalls::set_effective_context(context).is_ok() {
                let _ = hostcalls::reset_http_request();
            }
        }
        let _ = hostcalls::set_effective_context(self.context);
        deliver(now);
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        // What has no configuration refuses, and it is better refused before anything is resolved for it.
        match &self.plugin {
            Some((_, Role::Guard)) => Some(Box::new(Guard::new(self.plugin.clone()))),
            _ => Some(Box::new(Http::new(context_id, self.plugin.clone()))),
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// Sends the next batch where one is due and none is on its way. Says whether one is on its way now.
fn deliver(now: Timestamp) -> bool {
    vm::with(|vm| {
        if vm.delivery.lost_at.is_some() {
            return true;
        }
        let Some(gateway) = vm.gateway() else { return false };
        let collector = gateway.collector();
        let Some(log) = vm.begun_log() else { return false };
        if log.journal.is_drained() && !log.journal.heartbeat_due(now) {
            return false;
        }
        let others = log.others();
        let (records, bytes) = BATCH;
        let Some(batch) = log.journal.next_batch(now, records, bytes, &others) else { return false };
        log.sealed();
        match dispatch(collector, batch.bytes()) {
            Ok(()) => {
                vm.delivery.lost_at = Some(now.plus_millis(collector.timeout.saturating_add(GRACE)));
                true
            }
            Err(why) => {
                let was_failing = vm.delivery.failing;
                let random = random_u64();
                if let Some(log) = vm.begun_log() {
                    log.journal.failed(now, random);
                }
                report_delivery(was_failing, &Err(why));
                vm.delivery.failing = true;
                false
            }
        }
    })
}

fn dispatch(collector: &Collector, body: &[u8]) -> Result<(), String> {
    let headers = vec![
        (":method", "POST"),
        (":path", collector.path.as_str()),
        (":authority", collector.cluster.as_str()),
        ("content-type", "application/vnd.exeat.evidence"),
    ];
    hostcalls::dispatch_http_call(
        &collector.cluster,
        headers,
        Some(body),
        Vec::new(),
        Duration::from_millis(collector.timeout),
    )
    .map(|_token| ())
    .map_err(|status| format!("the host cannot send to cluster {:?}: {status:?}", collector.cluster))
}

/// What the collector says it made durable.
fn acknowledgement(num_headers: usize, body_size: usize) -> Result<LogHead, String> {
    if num_headers == 0 {
        return Err("the connection broke".to_owned());
    }
    let status = hostcalls::get_map_value_bytes(MapType::HttpCallResponseHeaders, ":status").ok().flatten();
    let size = body_size.min(ACKNOWLEDGEMENT);
    let body = hostcalls::get_buffer(BufferType::HttpCallResponseBody, 0, size).ok().flatten().unwrap_or_default();
    if status.as_deref() != Some(b"200") {
        let status = status.unwrap_or_default();
        let body = body.get(..body.len().min(300)).unwrap_or_default();
        return Err(format!("the collector answered {}: {}", status.escape_ascii(), body.escape_ascii()));
    }
    serde_json::from_slice(&body).map_err(|error| format!("the acknowledgement cannot be read: {error}"))
}

/// One line when delivery stops, one when it works again: an outage must not flood the log.
fn report_delivery(was_failing: bool, outcome: &Result<(), String>) {
    match outcome {
        Err(why) if !was_failing => {
            let rest = "records wait in the queue; when it is full, requests are refused with audit-unavailable";
            host::log(LogLevel::Warn, &format!("exeat: evidence is not delivered: {why}; {rest}"));
        }
        Ok(()) if was_failing => host::log(LogLevel::Info, "exeat: evidence is delivered again"),
        _ => {}
    }
}

/// Spreads retries; a host without randomness spreads nothing.
fn random_u64() -> u64 {
    wasi::random().and_then(|bytes| bytes.first_chunk::<8>().map(|chunk| u64::from_le_bytes(*chunk))).unwrap_or(0)
}
