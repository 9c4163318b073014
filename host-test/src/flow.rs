//! How frames pass the filter: Envoy's filter manager for a chain of one filter.
//!
//! Follows `source/common/http/filter_manager.cc` (`commonHandleAfterHeadersCallback`, `commonHandleAfterDataCallback`,
//! `commonContinue`) and `source/extensions/common/wasm/context.cc` (`decodeData` and its relatives) of Envoy 1.40.

use crate::error::Error;
use crate::headers::{Headers, Kind};
use crate::message::{Event, LocalReply, status};
use crate::plugin::FailPolicy;
use crate::reply;
use crate::state::After;
use crate::stream::{Direction, Iteration, Stream};
use crate::vm::{Vm, size};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Headers,
    Data,
    Trailers,
}

/// What a callback may return, as the ABI numbers it; the numbers depend on the phase.
const CONTINUE: u32 = 0;
const STOP_ITERATION: u32 = 1;
const HEADERS_STOP_ALL_AND_BUFFER: u32 = 3;
const HEADERS_STOP_ALL_AND_WATERMARK: u32 = 4;
const DATA_STOP_AND_BUFFER: u32 = 1;
const DATA_STOP_AND_WATERMARK: u32 = 2;
const DATA_STOP_NO_BUFFER: u32 = 3;

impl Vm {
    /// The head of one direction arrives.
    pub(crate) fn on_headers(&mut self, id: u32, direction: Direction, headers: Headers, end: bool) {
        let Some(stream) = self.open(id, direction) else { return };
        stream.end_of_stream = end;
        let count = headers.len();
        let half = stream.half_mut(direction);
        half.ended |= end;
        half.headers = Some(headers);
        half.show_headers = true;
        let code = self.callback(id, direction, Phase::Headers, count, end);
        let later = self.run_after(Some(id));
        if let Some(stream) = self.open(id, direction) {
            let hold = stream.plugin.allow_on_headers_stop_iteration;
            let half = stream.half_mut(direction);
            match code {
                // Without the plugin's leave a stop in headers stops everything (proxy-wasm-cpp-host #143).
                STOP_ITERATION if hold => half.iteration = Iteration::StopSingle,
                STOP_ITERATION | HEADERS_STOP_ALL_AND_BUFFER | HEADERS_STOP_ALL_AND_WATERMARK => {
                    half.iteration = Iteration::StopAll;
                }
                _ => {
                    half.show_headers = false;
                    half.headers_continued = true;
                    self.release_headers(id, direction, end);
                }
            }
        }
        self.send_replies(later);
    }

    /// A data frame of one direction arrives.
    pub(crate) fn on_data(&mut self, id: u32, direction: Direction, data: Vec<u8>, end: bool) {
        let Some(stream) = self.open(id, direction) else { return };
        let half = stream.half_mut(direction);
        half.ended |= end;
        if half.iteration == Iteration::StopAll {
            half.buffer.get_or_insert_default().extend(data);
        } else {
            self.deliver_data(id, direction, data, end);
        }
    }

    fn deliver_data(&mut self, id: u32, direction: Direction, data: Vec<u8>, end: bool) {
        let limit = self.state().settings.buffer_limit;
        let Some(stream) = self.open(id, direction) else { return };
        stream.end_of_stream = end;
        let half = stream.half_mut(direction);
        half.data = data;
        half.show_data = true;
        // Envoy notices the overflow here, but still lets the filter see it before it answers.
        let over = half.buffering && half.keep_data() > limit;
        let total = half.body().map_or(0, Vec::len);
        let code = self.callback(id, direction, Phase::Data, total, end);
        let later = self.run_after(Some(id));
        if over {
            self.over_limit(id, direction);
        }
        if let Some(stream) = self.state_mut().stream_mut(id) {
            stream.half_mut(direction).buffering = false;
        }
        if let Some(stream) = self.open(id, direction) {
            let half = stream.half_mut(direction);
            match code {
                CONTINUE => {
                    half.show_data = false;
                    if half.iteration == Iteration::StopSingle {
                        half.keep_data();
                        self.common_continue(id, direction);
                    } else {
                        let data = std::mem::take(&mut half.data);
                        let end = end && half.trailers.is_none();
                        self.release_data(id, direction, data, end);
                        self.release_added_trailers(id, direction);
                    }
                }
                DATA_STOP_AND_BUFFER => {
                    half.buffering = true;
                    half.iteration = Iteration::StopSingle;
                    if half.keep_data() > limit {
                        self.over_limit(id, direction);
                    }
                }
                DATA_STOP_AND_WATERMARK => {
                    half.iteration = Iteration::StopSingle;
                    half.keep_data();
                }
                _ => {
                    // The frame goes nowhere, but stays readable until the next one.
                    half.iteration = Iteration::StopSingle;
                    if half.ended && half.trailers.is_none() {
                        // So that continuing later still ends the stream.
                        half.buffer.get_or_insert_default();
                    }
                }
            }
        }
        self.send_replies(later);
    }

    /// The trailers of one direction arrive.
    pub(crate) fn on_trailers(&mut self, id: u32, direction: Direction, trailers: Headers) {
        let Some(stream) = self.open(id, direction) else { return };
        let half = stream.half_mut(direction);
        half.ended = true;
        half.trailers = Some(trailers);
        if half.iteration != Iteration::StopAll {
            self.deliver_trailers(id, direction);
        }
    }

    fn deliver_trailers(&mut self, id: u32, direction: Direction) {
        let Some(stream) = self.open(id, direction) else { return };
        let half = stream.half_mut(direction);
        half.show_trailers = true;
        let count = half.trailers.as_ref().map_or(0, Headers::len);
        let code = self.callback(id, direction, Phase::Trailers, count, false);
        let later = self.run_after(Some(id));
        if let Some(stream) = self.open(id, direction) {
            let half = stream.half_mut(direction);
            if code != CONTINUE {
                half.iteration = Iteration::StopSingle;
            } else {
                half.show_trailers = false;
                if half.iteration == Iteration::StopSingle {
                    self.common_continue(id, direction);
                } else {
                    self.release_trailers(id, direction);
                }
            }
        }
        self.send_replies(later);
    }

    /// Sends on what a pause held back; `proxy_continue_stream` does so once the module returned, even where the filter
    /// called it inside its own callback and what that returned is looked at only later.
    pub(crate) fn common_continue(&mut self, id: u32, direction: Direction) {
        let Some(stream) = self.open(id, direction) else { return };
        let half = stream.half_mut(direction);
        // After a stop for everything the filter has not seen the later frames yet.
        let again = half.iteration == Iteration::StopAll;
        half.iteration = Iteration::Continue;
        let had_trailers = half.trailers.is_some();
        let ended = half.ended;
        if !half.headers_continued {
            half.headers_continued = true;
            let end = ended && half.buffer.is_none() && !had_trailers;
            self.release_headers(id, direction, end);
        }
        let Some(stream) = self.open(id, direction) else { return };
        if let Some(data) = stream.half_mut(direction).buffer.take() {
            let end = ended && !had_trailers;
            if again {
                self.deliver_data(id, direction, data, end);
            } else {
                self.release_data(id, direction, data, end);
            }
        }
        if had_trailers {
            if again {
                self.deliver_trailers(id, direction);
            } else {
                self.release_trailers(id, direction);
            }
        }
    }

    /// Calls the filter for a frame and maps what it returned, or what a dead VM means.
    fn callback(&mut self, id: u32, direction: Direction, phase: Phase, count: usize, end: bool) -> u32 {
        if self.state().stream(id).is_none_or(|s| direction == Direction::Response && s.failed) {
            return CONTINUE;
        }
        let stop = match phase {
            Phase::Headers => HEADERS_STOP_ALL_AND_WATERMARK,
            Phase::Data => DATA_STOP_NO_BUFFER,
            Phase::Trailers => STOP_ITERATION,
        };
        let all = (id, size(count), u32::from(end));
        let two = (id, size(count));
        let x = &self.exports;
        let (name, result) = match (direction, phase) {
            (Direction::Request, Phase::Headers) => {
                let (name, f) = ("proxy_on_request_headers", x.request_headers.clone());
                (name, self.enter(name, &f, id, all))
            }
            (Direction::Request, Phase::Data) => {
                let (name, f) = ("proxy_on_request_body", x.request_body.clone());
                (name, self.enter(name, &f, id, all))
            }
            (Direction::Request, Phase::Trailers) => {
                let (name, f) = ("proxy_on_request_trailers", x.request_trailers.clone());
                (name, self.enter(name, &f, id, two))
            }
            (Direction::Response, Phase::Headers) => {
                let (name, f) = ("proxy_on_response_headers", x.response_headers.clone());
                (name, self.enter(name, &f, id, all))
            }
            (Direction::Response, Phase::Data) => {
                let (name, f) = ("proxy_on_response_body", x.response_body.clone());
                (name, self.enter(name, &f, id, all))
            }
            (Direction::Response, Phase::Trailers) => {
                let (name, f) = ("proxy_on_response_trailers", x.response_trailers.clone());
                (name, self.enter(name, &f, id, two))
            }
        };
        let stopped = std::mem::take(&mut self.state_mut().stop);
        if let (Some(stream), Ok(Some(returned))) = (self.state_mut().stream_mut(id), &result) {
            stream.events.push(Event::Callback { name, returned: *returned });
        }
        match result {
            Ok(None) => CONTINUE,
            Ok(Some(_)) if stopped => stop,
            Ok(Some(code)) if code > stop => stop,
            Ok(Some(code)) => code,
            Err(error) => self.fail_stream(id, &error, stop),
        }
    }

    /// What the failure policy says about a stream whose VM is dead.
    pub(crate) fn fail_stream(&mut self, id: u32, error: &Error, stop: u32) -> u32 {
        if !self.failures.contains(error) {
            self.failures.push(error.clone());
        }
        let Some(stream) = self.state_mut().stream_mut(id) else { return stop };
        if stream.plugin.fail_policy == FailPolicy::Open {
            return CONTINUE;
        }
        if !stream.failed {
            stream.failed = true;
            let reply = reply::gateway(503, "", "wasm_fail_stream");
            self.state_mut().after.push(After::Reply(id, Box::new(reply), None));
        }
        stop
    }

    fn over_limit(&mut self, id: u32, direction: Direction) {
        let reply = match direction {
            Direction::Request => reply::gateway(413, "Payload Too Large", "request_payload_too_large"),
            Direction::Response => reply::gateway(500, "Internal Server Error", "response_payload_too_large"),
        };
        self.reply(id, reply, None);
    }

    pub(crate) fn send_replies(&mut self, replies: Vec<After>) {
        for reply in replies {
            if let After::Reply(id, reply, grpc) = reply {
                self.reply(id, *reply, grpc);
            }
        }
    }

    fn release_headers(&mut self, id: u32, direction: Direction, end: bool) {
        let Some(stream) = self.open(id, direction) else { return };
        let Some(mut headers) = stream.half(direction).headers.clone() else { return };
        if direction == Direction::Request {
            if let Some(reply) = unroutable(stream, &headers) {
                return self.reply(id, reply, None);
            }
            // The router names the scheme of its cluster where the filter took it away.
            if !headers.contains(":scheme") && headers.contains(":path") {
                headers.add(Kind::Request, ":scheme", b"http");
            }
        }
        if stream.half(direction).out.headers.is_some() {
            return self
                .violation("it continued inside its headers callback, then returned Continue: the head goes twice");
        }
        stream.events.push(match direction {
            Direction::Request => Event::HeadForwarded,
            Direction::Response => Event::ResponseStarted(status(&headers)),
        });
        let out = &mut stream.half_mut(direction).out;
        out.headers = Some(headers);
        out.complete |= end;
    }

    fn release_data(&mut self, id: u32, direction: Direction, data: Vec<u8>, end: bool) {
        let Some(stream) = self.open(id, direction) else { return };
        if !data.is_empty() {
            if stream.half(direction).out.complete {
                return self.violation("it continued inside its last data callback: the data follows the end");
            }
            stream.events.push(match direction {
                Direction::Request => Event::BodyForwarded(data.len()),
                Direction::Response => Event::ResponseBody(data.len()),
            });
        }
        let out = &mut stream.half_mut(direction).out;
        if !data.is_empty() {
            out.chunks.push(data);
        }
        out.complete |= end;
    }

    fn release_trailers(&mut self, id: u32, direction: Direction) {
        let Some(stream) = self.open(id, direction) else { return };
        if direction == Direction::Request {
            stream.events.push(Event::TrailersForwarded);
        }
        let half = stream.half_mut(direction);
        half.out.trailers = half.trailers.clone();
        half.out.complete = true;
    }

    /// Trailers that the filter itself added in the last data callback follow that data.
    fn release_added_trailers(&mut self, id: u32, direction: Direction) {
        let added = |s: &mut Stream| s.half(direction).ended && s.half(direction).trailers.is_some();
        if self.open(id, direction).is_some_and(added) {
            self.release_trailers(id, direction);
        }
    }

    fn violation(&mut self, what: &str) {
        self.failures.push(Error::Abi(what.to_owned()));
    }

    pub(crate) fn open(&mut self, id: u32, direction: Direction) -> Option<&mut Stream> {
        self.state_mut().stream_mut(id).filter(|s| s.is_open(direction))
    }
}

impl crate::stream::Half {
    /// Moves the current frame to what waits, and says how much waits.
    fn keep_data(&mut self) -> usize {
        let data = std::mem::take(&mut self.data);
        let buffer = self.buffer.get_or_insert_default();
        buffer.extend(data);
        buffer.len()
    }
}

/// Why the router cannot send this head on.
fn unroutable(stream: &Stream, headers: &Headers) -> Option<LocalReply> {
    let connect = headers.get(":method") == Some(b"CONNECT") && !headers.contains(":protocol");
    // Routes match on the path, and their selection needs the scheme of the downstream connection.
    let lost = stream.had_forwarded_proto && !headers.contains("x-forwarded-proto");
    if lost || !(connect || headers.contains(":path")) {
        return Some(reply::gateway(404, "", "route_not_found"));
    }
    let details = "filter_removed_required_request_headers{missing_required_header:_:method}";
    (!headers.contains(":method")).then(|| reply::gateway(503, "missing required header: :method", details))
}
