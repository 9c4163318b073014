//! Birth and death of stream contexts, and what a stream shows to the test.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::headers::Headers;
use crate::message::{ClientResponse, Event, ForwardedRequest, Outcome, Request};
use crate::state::Context;
use crate::stream::{Direction, Iteration, Stream};
use crate::vm::Vm;

impl Vm {
    /// A stream on a root context. The module hears of it with its headers.
    pub(crate) fn new_stream(&mut self, root: u32, request: &Request) -> Result<u32, Error> {
        let now = self.state().clock.unix_nanos();
        let Some(plugin) = self.state().root(root).map(|r| r.plugin.clone()) else {
            return Err(Error::Misuse(format!("root context {root} does not exist")));
        };
        let mut stream = Stream::new(root, plugin, now);
        stream.properties = request.properties.clone();
        stream.filter_state = request.filter_state.clone();
        Ok(self.state_mut().new_context(Context::Stream(Box::new(stream))))
    }

    /// The request's head: `proxy_on_context_create`, then `proxy_on_request_headers`.
    pub(crate) fn begin(&mut self, id: u32, headers: &Headers, end: bool) {
        let headers = headers.canonical(Direction::Request.kind());
        let Some(stream) = self.state_mut().stream_mut(id) else { return };
        stream.had_forwarded_proto = headers.contains("x-forwarded-proto");
        stream.created = true;
        let root = stream.root;
        let create = self.exports.context_create.clone();
        if self.dead.is_none() {
            let _ = self.enter("proxy_on_context_create", &create, id, (id, root));
            self.run_after(None);
        }
        self.on_headers(id, Direction::Request, headers, end);
    }

    /// The end of a stream, however it came: `proxy_on_log`, `proxy_on_done`, `proxy_on_delete`. What a stream's
    /// `proxy_on_done` returns changes nothing in Envoy; only root contexts can delay their end.
    pub(crate) fn finish(&mut self, id: u32) {
        let Some(stream) = self.state_mut().stream_mut(id).filter(|s| !s.destroyed) else { return };
        let (created, root) = (stream.created, stream.root);
        if created && self.dead.is_none() {
            if let Some(stream) = self.state_mut().stream_mut(id) {
                stream.logging = true;
            }
            let log = self.exports.log.clone();
            let logged = self.enter("proxy_on_log", &log, id, id);
            self.note(id, "proxy_on_log", logged.map(|r| r.map(|()| 0)));
            self.run_after(None);
            if let Some(stream) = self.state_mut().stream_mut(id) {
                stream.logging = false;
            }
            let done = self.exports.done.clone();
            let returned = self.enter("proxy_on_done", &done, id, id);
            self.note(id, "proxy_on_done", returned);
            self.run_after(None);
            let delete = self.exports.delete.clone();
            let deleted = self.enter("proxy_on_delete", &delete, id, id);
            self.note(id, "proxy_on_delete", deleted.map(|r| r.map(|()| 0)));
            self.run_after(None);
        }
        if let Some(stream) = self.state_mut().stream_mut(id) {
            stream.destroyed = true;
        }
        self.shut_down_if_idle(root);
    }

    fn note(&mut self, id: u32, name: &'static str, result: Result<Option<u32>, Error>) {
        if let (Ok(Some(returned)), Some(stream)) = (result, self.state_mut().stream_mut(id)) {
            stream.events.push(Event::Callback { name, returned });
        }
    }

    /// The exchange as it stands.
    pub(crate) fn outcome(&self, id: u32) -> Outcome {
        let Some(stream) = self.state().stream(id) else { return Outcome::default() };
        Outcome {
            upstream: forwarded(stream),
            local_reply: stream.local_reply.clone(),
            response: response(stream),
            reset: stream.reset,
            hung: None,
            filter_state: stream.filter_state.clone(),
            events: stream.events.clone(),
            failure: None,
        }
    }

    /// Why a stream does not move, if it does not.
    pub(crate) fn hang(&self, id: u32) -> Option<String> {
        let stream = self.state().stream(id)?;
        if stream.reset || stream.response.out.complete {
            return None;
        }
        let (what, half) = if stream.response.headers.is_some() {
            ("response", &stream.response)
        } else if !stream.request.out.complete {
            ("request", &stream.request)
        } else {
            return Some("the upstream did not answer".to_owned());
        };
        let callouts = self.state().callouts.len();
        let why = match (half.iteration, half.ended) {
            (Iteration::StopAll, _) if !stream.plugin.allow_on_headers_stop_iteration => {
                "it paused in headers without allow_on_headers_stop_iteration, so no body callback will come"
            }
            (Iteration::StopAll, _) => "it stopped all iteration and did not continue",
            (Iteration::StopSingle, true) => "it paused and the stream has ended, so no callback will come",
            (Iteration::StopSingle, false) => "it paused and the stream has not ended",
            (Iteration::Continue, _) => return Some(format!("the {what} has not ended")),
        };
        Some(format!("the filter holds the {what}: {why}; {callouts} callouts are open"))
    }
}

fn forwarded(stream: &Stream) -> Option<ForwardedRequest> {
    let out = &stream.request.out;
    Some(ForwardedRequest {
        headers: out.headers.clone()?,
        chunks: out.chunks.clone(),
        trailers: out.trailers.clone(),
        complete: out.complete,
        filter_state: filter_state(stream),
    })
}

fn filter_state(stream: &Stream) -> BTreeMap<String, Vec<u8>> {
    stream.filter_state.clone()
}

fn response(stream: &Stream) -> Option<ClientResponse> {
    let out = &stream.response.out;
    Some(ClientResponse {
        headers: out.headers.clone()?,
        chunks: out.chunks.clone(),
        trailers: out.trailers.clone(),
        complete: out.complete,
    })
}
