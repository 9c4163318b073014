//! One request: what the host calls is handed to the engine's exchange, and what that asks for is done.
//!
//! The head is held until the exchange has decided. To hold it until the body was judged takes `allow_on_headers_stop_iteration:
//! true` in the host's configuration; without it the host never hands over a body, and the request is refused after a while
//! (`starving.rs`). With `hold: false` the head goes first, and only the body is kept back.

use crate::elsewhere::{self, Standing};
use crate::guard::DECISION;
use crate::nonces::SharedLedger;
use crate::vm::{self, Plugin};
use crate::{headers, host, newest, wasi};
use exeat_engine::decision::Reason;
use exeat_engine::decision::answer::{Answer, answer};
use exeat_engine::evidence::record::{Ending, GuardVerdict};
use exeat_engine::exchange::{Clearance, End, Exchange, Step, Surroundings, Verdict, Wait};
use exeat_engine::facts::{Facts, Timestamp};
use exeat_engine::request::{Field, RequestHead};
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, BufferType, LogLevel, MapType};

/// Fields by which the gateway speaks to the agent; an upstream must not.
const OWN_FIELDS: &str = "exeat-";

/// Those that the gateway sends. Removed by name where the map seems empty, for the host hands over one that is too large so.
const SENT_FIELDS: [&str; 2] = ["exeat-decision", "exeat-reason"];

/// The id in answers to requests for which not even an id could be drawn.
pub(crate) const NO_ID: &str = "00000000000000000000000000000000";

/// One request and its response.
pub(crate) struct Http {
    context: u32,
    plugin: Option<Plugin>,
    exchange: Option<Exchange>,
    /// Bytes of the held body that the exchange has seen.
    seen: usize,
    /// Whether the host holds head and body back.
    held: bool,
    /// Whether the host has handed over anything after the head.
    handed: bool,
    /// Whether a decision was made and recorded.
    decided: bool,
    /// Whether it was handed over to a guard of another VM.
    handed_over: bool,
    /// What that guard decided, once it was asked for.
    told: Option<GuardVerdict>,
    /// Whether the response is our own.
    answered: bool,
    /// Whether bytes without a known end follow the head.
    stream: bool,
    response_ended: bool,
    /// Its status, and the bytes of its body that went by.
    status: Option<u16>,
    response_bytes: u64,
    /// The size of the log that must be stored before it goes on.
    waits_for: Option<u64>,
    /// What came after the head had gone and may not go yet. It is kept here, for what the host keeps goes with the head as soon
    /// as a filter behind this one lets go of that (Envoy's `commonContinue`), whoever holds it back.
    kept: Vec<u8>,
    /// Size and end of a body of which some came while it waited.
    behind: Option<(usize, bool)>,
}

impl Http {
    pub(crate) fn new(context: u32, plugin: Option<Plugin>) -> Self {
        Self {
            context,
            plugin,
            exchange: None,
            seen: 0,
            held: true,
            handed: false,
            decided: false,
            handed_over: false,
            told: None,
            answered: false,
            stream: false,
            response_ended: false,
            status: None,
            response_bytes: 0,
            waits_for: None,
            kept: Vec::new(),
            behind: None,
        }
    }

    /// Its number in the VM.
    pub(crate) fn context(&self) -> u32 {
        self.context
    }

    /// The size of the log that must be stored before it goes on, where it waits for that.
    pub(crate) fn waits_for(&self) -> Option<u64> {
        self.waits_for
    }

    /// Goes on, or is refused, where what it waited for has happened or takes too long. Called in its context, but not by
    /// a callback of its own. Whether it waits no longer.
    pub(crate) fn resume(&mut self) -> bool {
        let step = self.advance(|exchange, around| exchange.resume(around));
        if matches!(step, Ok(Step::Wait(_))) {
            return false;
        }
        self.waits_for = None;
        let mut action = self.carry_out(step);
        if action == Action::Continue
            && let Some((size, end)) = self.behind.take()
        {
            // What came meanwhile was held, and is judged before any of it goes on.
            self.held = true;
            action = self.piece(size, end);
        }
        if action == Action::Continue && hostcalls::resume_http_request().is_err() {
            let _ = hostcalls::reset_http_request();
        }
        true
    }

    /// Whether it waits for a body of which nothing was handed over yet.
    pub(crate) fn awaits_body(&self) -> bool {
        self.held && !self.handed && !self.decided && !self.answered && self.exchange.is_some()
    }

    /// Refuses it, for its body has come and is not handed over. Called in its context, but not by a callback of its own.
    pub(crate) fn starve(&mut self) {
        let step = self.advance(|exchange, around| exchange.starve(around).unwrap_or(Step::Abort));
        self.carry_out(step);
    }

    /// The next piece of the body.
    fn piece(&mut self, body_size: usize, end_of_stream: bool) -> Action {
        let chunk = self.next_chunk(body_size);
        let step = match &chunk {
            Some(chunk) => self.advance(|exchange, around| exchange.body(around, chunk, end_of_stream)),
            None => Err(Reason::InternalError),
        };
        if self.decided {
            return self.follow_head(step, &chunk.unwrap_or_default());
        }
        let action = self.carry_out(step);
        self.seen = if self.held { body_size } else { 0 };
        action
    }

    /// What becomes of a piece that comes after the head has gone.
    fn follow_head(&mut self, step: Result<Step, Reason>, chunk: &[u8]) -> Action {
        (self.held, self.seen) = (false, 0);
        let step = match step {
            Ok(Step::Pass) if self.kept.is_empty() => return Action::Continue,
            Ok(Step::Pass) => {
                self.kept.extend_from_slice(chunk);
                let body = std::mem::take(&mut self.kept);
                vm::with(|vm| vm.kept = vm.kept.saturating_sub(body.len().saturating_sub(chunk.len())));
                return self.put(&body);
            }
            Ok(Step::NeedBody { .. }) if vm::with(|vm| vm.keep(chunk.len())) => {
                self.kept.extend_from_slice(chunk);
                return if chunk.is_empty() { Action::Continue } else { self.put(&[]) };
            }
            Ok(Step::NeedBody { .. }) => {
                host::log(LogLevel::Error, "exeat: too many bodies are kept back at once; one of them is refused");
                Err(Reason::InternalError)
            }
            step => step,
        };
        self.forget_kept();
        // Neither must this piece go, whatever becomes of the request.
        if !chunk.is_empty() && self.put(&[]) == Action::Pause {
            return Action::Pause;
        }
        self.carry_out(step)
    }

    /// Puts these bytes in the place of the piece at hand. Where the host does not do that, nothing goes on.
    fn put(&mut self, bytes: &[u8]) -> Action {
        match host::replace_request_body(bytes) {
            Ok(()) => Action::Continue,
            Err(why) => {
                host::log(LogLevel::Error, &format!("exeat: a body cannot be kept back: {why}"));
                let _ = hostcalls::reset_http_request();
                Action::Pause
            }
        }
    }

    fn forget_kept(&mut self) {
        let kept = std::mem::take(&mut self.kept).len();
        vm::with(|vm| vm.kept = vm.kept.saturating_sub(kept));
    }

    /// Judges the head; an error is a refusal that no record can be made of.
    fn begin(&mut self, end: bool) -> Result<Step, Reason> {
        let now = host::now().ok_or(Reason::InternalError)?;
        let random = wasi::random().ok_or(Reason::InternalError)?;
        let head = RequestHead::from_pairs(headers::all(MapType::HttpRequestHeaders));
        let peer = host::text_property(&["connection", "uri_san_peer_certificate"])
            .filter(|_| host::property(&["connection", "mtls"]).is_some_and(|value| value == [1]));
        let source = host::text_property(&["source", "address"]);
        let request_id = head.as_ref().ok().and_then(|head| head.single("x-request-id")).map(|id| {
            // A client may have chosen it; short, and escaped where it is not plain.
            id.get(..id.len().min(128)).unwrap_or_default().escape_ascii().to_string()
        });
        let plugin = self.plugin.as_ref().ok_or(Reason::PolicyUnavailable)?;
        vm::with(|vm| {
            newest::look(vm, plugin, now);
            let configuration = vm.configuration(plugin).ok_or(Reason::PolicyUnavailable)?;
            let outdated = vm.is_outdated(plugin);
            let log = vm.log(now).ok_or(Reason::AuditUnavailable)?;
            let facts = Facts { now, started: log.started, random, peer, source, request_id };
            let mut exchange = Exchange::new(configuration, facts);
            let mut ledger = SharedLedger(&log.shared, &mut log.known);
            let mut around = Surroundings { now, ledger: &mut ledger, journal: &mut log.journal };
            let step = match outdated {
                true => exchange.outdated(&mut around, &head),
                false => exchange.head(&mut around, head, end),
            };
            log.publish();
            self.exchange = Some(exchange);
            Ok(step)
        })
    }

    /// Drives the exchange one step; an error is a refusal that no record can be made of.
    fn advance(&mut self, step: impl FnOnce(&mut Exchange, &mut Surroundings<'_>) -> Step) -> Result<Step, Reason> {
        let now = host::now().ok_or(Reason::InternalError)?;
        let exchange = self.exchange.as_mut().ok_or(Reason::InternalError)?;
        vm::with(|vm| {
            let log = vm.log(now).ok_or(Reason::AuditUnavailable)?;
            let mut ledger = SharedLedger(&log.shared, &mut log.known);
            let mut around = Surroundings { now, ledger: &mut ledger, journal: &mut log.journal };
            let step = step(exchange, &mut around);
            log.publish();
            Ok(step)
        })
    }

    /// Does what a step asks for.
    fn carry_out(&mut self, step: Result<Step, Reason>) -> Action {
        match step {
            Ok(Step::NeedBody { .. }) => {
                self.held = true;
                Action::Pause
            }
            Ok(Step::Pass) => {
                self.held = false;
                Action::Continue
            }
            Ok(Step::Decided(decision)) => {
                self.decided = true;
                vm::with(|vm| vm.counts.decided(decision.outcome));
                // For the host's access log: joins its line with the decision record.
                // And for the guard, as the key to what was let go.
                let _ = hostcalls::set_property(vec![DECISION], Some(decision.id.as_bytes()));
                if decision.first_seen {
                    vm::with(vm::Vm::count_first_seen);
                }
                let checkpoint = vm::with(|vm| vm.begun_log().and_then(crate::log::Log::unwitnessed_checkpoint));
                if let Some(checkpoint) = checkpoint {
                    let _ = hostcalls::set_property(vec!["exeat.checkpoint"], Some(checkpoint.as_bytes()));
                }
                match decision.verdict {
                    Verdict::Refuse(answer) => self.refuse(&answer),
                    Verdict::Forward(map) => match release(&decision.id, map, decision.body, decision.clearance) {
                        Ok(standing) => {
                            self.held = false;
                            self.handed_over = standing == Standing::Elsewhere;
                            let until = self.exchange.as_ref().and_then(Exchange::stream_until);
                            self.stream = until.is_some();
                            if let Some(until) = until {
                                vm::with(|vm| vm.streams.insert(self.context, until));
                            }
                            Action::Continue
                        }
                        Err(why) => {
                            host::log(LogLevel::Error, &format!("exeat: a request cannot be let go: {why}"));
                            self.refuse(&answer(Reason::InternalError, &decision.id, None, None))
                        }
                    },
                }
            }
            Ok(Step::Abort) => {
                let _ = hostcalls::reset_http_request();
                Action::Pause
            }
            Ok(Step::Wait(Wait::Acknowledged { size })) => {
                self.held = true;
                self.waits_for = Some(size);
                Action::Pause
            }
            // A wait that nobody would end is refused.
            Ok(Step::Wait(_)) => self.refuse(&answer(Reason::InternalError, NO_ID, None, None)),
            Err(reason) => {
                let id = self.exchange.as_ref().map_or(NO_ID, Exchange::id).to_owned();
                self.refuse(&answer(reason, &id, None, None))
            }
        }
    }

    fn refuse(&mut self, answer: &Answer) -> Action {
        self.answered = true;
        send(answer);
        Action::Pause
    }

    /// What the guard decided of the request; where it never saw an answer's, that went out by a way that has none.
    fn guarded(&mut self) -> Option<GuardVerdict> {
        let exchange = self.exchange.as_ref().filter(|_| self.decided)?;
        match self.handed_over {
            true => {
                self.told = elsewhere::verdict(exchange.id());
                self.told.clone()
            }
            false => vm::with(|vm| vm.passes.verdict(exchange.id()).cloned()),
        }
    }

    /// The bytes of the body that the exchange has not seen.
    fn next_chunk(&self, body_size: usize) -> Option<Vec<u8>> {
        // Held, the host counts all it has buffered; released, only the piece at hand.
        let offset = if self.held { self.seen } else { 0 };
        let length = body_size.checked_sub(offset)?;
        if length == 0 {
            return Some(Vec::new());
        }
        let chunk = hostcalls::get_buffer(BufferType::HttpRequestBody, offset, length).ok().flatten()?;
        (chunk.len() == length).then_some(chunk)
    }

    /// Takes what was let go out of the VM's memory; what the guard had decided of it.
    fn forget(&mut self) -> Option<GuardVerdict> {
        let exchange = self.exchange.as_ref()?;
        let verdict = vm::with(|vm| {
            vm.streams.remove(&self.context);
            vm.passes.close(exchange.id())
        });
        match self.handed_over {
            true => self.told.take().or_else(|| elsewhere::verdict(exchange.id())),
            false => verdict,
        }
    }

    fn end(&mut self, now: Timestamp) {
        self.forget_kept();
        let guard = self.forget();
        let Some(mut exchange) = self.exchange.take() else { return };
        let via_upstream = host::property(&["response", "code_details"]).is_some_and(|d| d == b"via_upstream");
        let ending = match (self.response_ended, via_upstream) {
            (true, true) => Ending::Complete,
            (true, false) => Ending::Gateway,
            (false, _) => Ending::Reset,
        };
        // What was seen on the way need not be asked for: each question to the host costs as much as a hash.
        let upstream = match &guard {
            Some(GuardVerdict::Passed { address, .. }) => Some(address.clone()),
            Some(GuardVerdict::Refused { .. }) | None => host::text_property(&["upstream", "address"]),
        };
        let code = || host::number_property(&["response", "code"]).and_then(|code| u16::try_from(code).ok());
        let end = End {
            status: self.status.or_else(code),
            response_bytes: self.response_bytes,
            attempts: host::number_property(&["upstream", "request_attempt_count"]),
            upstream,
            // An address is chosen before there is a connection to it; our end of one tells that there was.
            sent: via_upstream || host::property(&["upstream", "local_address"]).is_some(),
            guard,
            ending,
        };
        vm::with(|vm| {
            let Some(log) = vm.begun_log() else { return };
            let mut ledger = SharedLedger(&log.shared, &mut log.known);
            let mut around = Surroundings { now, ledger: &mut ledger, journal: &mut log.journal };
            exchange.end(&mut around, end);
            log.publish();
        });
    }
}

/// Lets a request go: the pass for the guard, the way out for the host's routes, and nothing but the headers judged, with
/// the body that takes the place of the one received, where there is one.
fn release(
    decision: &str,
    map: Vec<Field>,
    body: Option<Vec<u8>>,
    clearance: Option<Box<Clearance>>,
) -> Result<Standing, String> {
    let clearance = clearance.ok_or("there is no pass for it")?;
    let exit = clearance.pass.exit;
    let spelling = clearance.host().map(|host| (host, clearance.pass.port));
    let credentials = clearance.credentials().map(str::to_owned);
    let now = host::now().ok_or("the host has no clock")?;
    let standing = vm::with(|vm| vm.guard_of(exit, now));
    match standing {
        Standing::Here => vm::with(|vm| vm.passes.issue(clearance)),
        Standing::Elsewhere => elsewhere::hand_over(&clearance)?,
        Standing::Nowhere => return Err(format!("no guard of this vm_id stands in the way out {:?}", exit.word())),
    }
    let released = || {
        // Names are dialled in another spelling where the host would mix up two ways to one of them.
        if let Some((host, port)) = &spelling {
            host::set_filter_state("envoy.upstream.dynamic_host", host)?;
            host::set_filter_state("envoy.upstream.dynamic_port", &port.to_string())?;
        }
        // The host's injectors ask for it: the secret is never in this VM.
        if let Some(destination) = &credentials {
            hostcalls::set_property(vec!["exeat.credentials"], Some(destination.as_bytes()))
                .map_err(|status| format!("whose credentials it gets cannot be named: {status:?}"))?;
        }
        // Routes of the host ask for it, so that nothing leaves but by this line.
        hostcalls::set_property(vec!["exeat.released"], Some(exit.word().as_bytes()))
            .map_err(|status| format!("the way out cannot be named: {status:?}"))?;
        if let Some(body) = &body {
            host::replace_request_body(body)?;
        }
        let map: Vec<_> = map.iter().map(|(name, value)| (&**name, value.as_ref())).collect();
        hostcalls::set_map_bytes(MapType::HttpRequestHeaders, map)
            .map_err(|status| format!("the headers cannot be set: {status:?}"))
    };
    released().map(|()| standing).inspect_err(|_| vm::with(|vm| drop(vm.passes.close(decision))))
}

/// Answers in the upstream's place.
pub(crate) fn send(answer: &Answer) {
    let headers = answer.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    if hostcalls::send_http_response(u32::from(answer.status), headers, Some(&answer.body)).is_err() {
        let _ = hostcalls::reset_http_request();
    }
}

/// Removes what only the gateway may say. The fields that there were.
fn remove_own_fields(map: MapType) -> Vec<Field> {
    let fields = headers::all(map);
    let unseen: &[&str] = if fields.is_empty() { &SENT_FIELDS } else { &[] };
    let named = fields.iter().map(|(name, _)| &**name).filter(|name| name.starts_with(OWN_FIELDS));
    for name in named.chain(unseen.iter().copied()) {
        let _ = hostcalls::remove_map_value(map, name);
    }
    fields
}

impl Context for Http {}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, _num_headers: usize, end_of_stream: bool) -> Action {
        let step = self.begin(end_of_stream);
        self.carry_out(step)
    }

    fn on_http_request_body(&mut self, body_size: usize, end_of_stream: bool) -> Action {
        self.handed = true;
        if self.answered {
            return Action::Pause;
        }
        if self.waits_for.is_some() {
            self.behind = Some((body_size, end_of_stream));
            return Action::Pause;
        }
        self.piece(body_size, end_of_stream)
    }

    fn on_http_request_trailers(&mut self, _num_trailers: usize) -> Action {
        self.handed = true;
        if self.answered {
            return Action::Pause;
        }
        let step = self.advance(|exchange, around| exchange.trailers(around));
        self.carry_out(step)
    }

    fn on_http_response_headers(&mut self, _num_headers: usize, end_of_stream: bool) -> Action {
        self.response_ended |= end_of_stream;
        if self.answered {
            return Action::Continue;
        }
        let fields = remove_own_fields(MapType::HttpResponseHeaders);
        let status = fields.iter().find(|(name, _)| name == ":status");
        self.status = status.and_then(|(_, status)| std::str::from_utf8(status).ok()?.parse().ok());
        if let Some(exchange) = self.exchange.as_mut().filter(|_| self.stream) {
            exchange.response_head(self.status.unwrap_or(0));
        }
        let verdict = self.guarded();
        // The host's own answer to a request that was still being received has no record to point to.
        let Some(exchange) = self.exchange.as_ref().filter(|_| self.decided) else { return Action::Continue };
        let (decision, refused) = match verdict {
            // The guard's own answer. Nothing of an upstream can be in it.
            Some(GuardVerdict::Refused { decision }) => (decision, true),
            None if host::property(&["response", "code_details"]).is_some_and(|d| d == b"via_upstream") => {
                let why = "no guard stands in the way out; render the configuration again, or give filter and guard one vm_id";
                host::log(LogLevel::Error, &format!("exeat: a request left unguarded: {why}"));
                vm::with(|vm| vm.unguarded = true);
                let id = exchange.id().to_owned();
                return self.refuse(&answer(Reason::InternalError, &id, None, None));
            }
            None | Some(GuardVerdict::Passed { .. }) => (exchange.id().to_owned(), false),
        };
        let _ = hostcalls::set_map_value(MapType::HttpResponseHeaders, "exeat-decision", Some(&decision));
        if refused {
            let reason = Reason::DestinationResolvedForbidden.code();
            let _ = hostcalls::set_map_value(MapType::HttpResponseHeaders, "exeat-reason", Some(reason));
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, body_size: usize, end_of_stream: bool) -> Action {
        self.response_ended |= end_of_stream;
        self.response_bytes = self.response_bytes.saturating_add(body_size as u64);
        if self.stream {
            let step = self.advance(|exchange, around| exchange.response_piece(around));
            if !matches!(step, Ok(Step::Pass)) {
                let _ = hostcalls::reset_http_response();
                return Action::Pause;
            }
        }
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _num_trailers: usize) -> Action {
        self.response_ended = true;
        // Clients merge trailers with headers.
        remove_own_fields(MapType::HttpResponseTrailers);
        Action::Continue
    }

    fn on_log(&mut self) {
        match host::now() {
            Some(now) => self.end(now),
            // Nothing can be recorded without a clock; what it left in the VM goes all the same.
            None => {
                self.forget_kept();
                _ = self.forget();
            }
        }
    }
}
