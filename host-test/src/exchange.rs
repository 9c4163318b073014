//! One HTTP exchange, frame by frame or all at once.

use std::sync::Arc;

use crate::error::Error;
use crate::headers::Headers;
use crate::message::{
    ClientResponse, Event, ForwardedRequest, Framing, LocalReply, Outcome, Request, Response, Upstream,
};
use crate::reply;
use crate::stream::Direction;
use crate::vm::Vm;
use crate::worker::Cell;

/// An exchange. Each step returns once the filter and everything that followed from its verdict is done; the first
/// failure inside the VM is the step's error, and stays readable in the outcome. Dropping it ends it as a client does
/// that goes away.
pub struct Exchange {
    cell: Arc<Cell>,
    /// `Err` when the root context does not exist.
    id: Result<u32, Error>,
    request: Request,
    failure: Option<Error>,
    sent: Sent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sent {
    Nothing,
    Head,
    All,
}

impl Exchange {
    pub(crate) fn new(cell: Arc<Cell>, root: u32, request: Request) -> Self {
        let id = cell.with(|vm| vm.new_stream(root, &request));
        let failure = id.clone().err();
        Self { cell, id, request, failure, sent: Sent::Nothing }
    }

    /// The context id that the module knows, 0 if there is none.
    pub fn context_id(&self) -> u32 {
        self.id.clone().unwrap_or(0)
    }

    /// Sends the head of the request that the exchange was made with.
    ///
    /// # Errors
    ///
    /// The first failure inside the VM; [`Error::Misuse`] for a second head.
    pub fn send_head(&mut self) -> Result<(), Error> {
        let headers = self.request.headers.clone();
        let end = self.request.chunks.is_empty() && self.request.trailers.is_none() && !self.request.open;
        self.headers(headers, end)
    }

    /// Sends the whole request that the exchange was made with. Frames after a local reply are dropped, as by Envoy.
    ///
    /// # Errors
    ///
    /// The first failure inside the VM; [`Error::Misuse`] when something was sent already.
    pub fn send(&mut self) -> Result<(), Error> {
        let mut first = self.send_head();
        let Request { chunks, trailers, framing, open, .. } = self.request.clone();
        let last = chunks.len().saturating_sub(1);
        let end_on_last = framing == Framing::Http2 && trailers.is_none() && !open;
        for (at, chunk) in chunks.iter().enumerate() {
            first = first.and(self.body(chunk, end_on_last && at == last));
        }
        if let Some(trailers) = trailers {
            first = first.and(self.trailers(trailers));
        } else if !open && self.sent == Sent::Head {
            first = first.and(self.body([], true));
        }
        first
    }

    /// The head of the request.
    ///
    /// # Errors
    ///
    /// The first failure inside the VM; [`Error::Misuse`] for a second head.
    pub fn headers(&mut self, headers: impl Into<Headers>, end: bool) -> Result<(), Error> {
        self.order(self.sent == Sent::Nothing, "a second head")?;
        self.sent = if end { Sent::All } else { Sent::Head };
        let headers = headers.into();
        self.step(|vm, id| vm.begin(id, &headers, end))
    }

    /// A frame of the request's body.
    ///
    /// # Errors
    ///
    /// The first failure inside the VM; [`Error::Misuse`] before the head and after the end.
    pub fn body(&mut self, chunk: impl AsRef<[u8]>, end: bool) -> Result<(), Error> {
        self.order(self.sent == Sent::Head, "request data before the head or after the end")?;
        if end {
            self.sent = Sent::All;
        }
        self.step(|vm, id| vm.on_data(id, Direction::Request, chunk.as_ref().to_vec(), end))
    }

    /// The request's trailers, which end it.
    ///
    /// # Errors
    ///
    /// The first failure inside the VM; [`Error::Misuse`] before the head and after the end.
    pub fn trailers(&mut self, trailers: impl Into<Headers>) -> Result<(), Error> {
        self.order(self.sent == Sent::Head, "request trailers before the head or after the end")?;
        self.sent = Sent::All;
        let trailers = trailers.into();
        self.step(|vm, id| vm.on_trailers(id, Direction::Request, trailers))
    }

    /// The head of the upstream's response.
    ///
    /// # Errors
    ///
    /// The first failure inside the VM; [`Error::Misuse`] while no head was forwarded, after a local reply, twice.
    pub fn response_headers(&mut self, headers: impl Into<Headers>, end: bool) -> Result<(), Error> {
        let fits = self.look(|vm, id| {
            vm.state().stream(id).is_some_and(|s| s.request.out.headers.is_some() && s.response.headers.is_none())
        });
        self.order(fits, "a response to a request that did not leave or has one")?;
        let headers = headers.into().canonical(Direction::Response.kind());
        self.step(|vm, id| vm.on_headers(id, Direction::Response, headers, end))
    }

    /// A frame of the upstream's response body. Dropped when a local reply took the response's place.
    ///
    /// # Errors
    ///
    /// The first failure inside the VM; [`Error::Misuse`] before the response's head and after its end.
    pub fn response_body(&mut self, chunk: impl AsRef<[u8]>, end: bool) -> Result<(), Error> {
        self.order(self.response_is_open(), "response data before the head or after the end")?;
        self.response_step(|vm, id| vm.on_data(id, Direction::Response, chunk.as_ref().to_vec(), end))
    }

    /// The upstream's trailers, which end the response.
    ///
    /// # Errors
    ///
    /// The first failure inside the VM; [`Error::Misuse`] before the response's head and after its end.
    pub fn response_trailers(&mut self, trailers: impl Into<Headers>) -> Result<(), Error> {
        self.order(self.response_is_open(), "response trailers before the head or after the end")?;
        let trailers = trailers.into();
        self.response_step(|vm, id| vm.on_trailers(id, Direction::Response, trailers))
    }

    /// The whole response of the upstream. Frames that a local reply made void are dropped.
    ///
    /// # Errors
    ///
    /// As [`Exchange::response_headers`].
    pub fn respond(&mut self, response: Response) -> Result<(), Error> {
        let Response { headers, chunks, trailers } = response;
        let mut first = self.response_headers(headers, chunks.is_empty() && trailers.is_none());
        let last = chunks.len().saturating_sub(1);
        for (at, chunk) in chunks.iter().enumerate() {
            first = first.and(self.response_body(chunk, trailers.is_none() && at == last));
        }
        if let Some(trailers) = trailers {
            first = first.and(self.response_trailers(trailers));
        }
        first
    }

    /// The upstream breaks the connection: Envoy's own 503, or a reset once the client has a response head.
    ///
    /// # Errors
    ///
    /// The first failure inside the VM; [`Error::Misuse`] while nothing was forwarded.
    pub fn upstream_reset(&mut self) -> Result<(), Error> {
        self.order(self.forwarded().is_some(), "a reset of a request that did not leave")?;
        let body = "upstream connect error or disconnect/reset before headers. reset reason: connection termination";
        let reply = reply::gateway(503, body, "upstream_reset_before_response_started{connection_termination}");
        self.step(|vm, id| vm.reply(id, reply, None))
    }

    /// What left for the upstream so far.
    pub fn forwarded(&self) -> Option<ForwardedRequest> {
        self.look(|vm, id| vm.outcome(id)).upstream
    }

    /// What the client got so far.
    pub fn response(&self) -> Option<ClientResponse> {
        self.look(|vm, id| vm.outcome(id)).response
    }

    /// The local reply, if there was one.
    pub fn local_reply(&self) -> Option<LocalReply> {
        self.look(|vm, id| vm.outcome(id)).local_reply
    }

    /// What happened so far.
    pub fn events(&self) -> Vec<Event> {
        self.look(|vm, id| vm.outcome(id)).events
    }

    /// A value of the stream's filter state by its full name (`wasm.x`).
    pub fn filter_state(&self, name: &str) -> Option<Vec<u8>> {
        self.look(|vm, id| vm.outcome(id)).filter_state.remove(name)
    }

    /// Sets a value of the stream's filter state by its full name, as another filter of the stream does.
    pub fn set_filter_state(&self, name: &str, value: impl AsRef<[u8]>) {
        if let Ok(id) = self.id {
            self.cell.with(|vm| {
                if let Some(stream) = vm.state_mut().stream_mut(id) {
                    stream.filter_state.insert(name.to_owned(), value.as_ref().to_vec());
                }
            });
        }
    }

    /// Why the exchange does not move, if it does not: the filter holds it, or somebody else's turn is due.
    pub fn waiting(&self) -> Option<String> {
        self.look(|vm, id| vm.hang(id))
    }

    /// The exchange as it stands.
    pub fn outcome(&self) -> Outcome {
        let mut outcome = self.look(|vm, id| vm.outcome(id));
        outcome.failure = self.failure.clone();
        outcome
    }

    /// Ends the exchange: `proxy_on_log`, `proxy_on_done`, `proxy_on_delete`.
    ///
    /// # Errors
    ///
    /// The first failure inside the VM, in this step or before.
    pub fn finish(mut self) -> Result<Outcome, Error> {
        let _ = self.step(Vm::finish);
        let outcome = self.outcome();
        outcome.failure.clone().map_or(Ok(outcome), Err)
    }

    /// Sends everything, lets the upstream answer, and ends.
    pub(crate) fn run<U: Into<Upstream>>(mut self, upstream: impl FnOnce(&ForwardedRequest) -> U) -> Outcome {
        let open = self.request.open;
        let _ = self.send();
        let answerable = |o: &Outcome| o.local_reply.is_none() && !o.reset;
        if let Some(forwarded) = self.forwarded().filter(|f| f.complete || open)
            && answerable(&self.outcome())
        {
            let _ = match upstream(&forwarded).into() {
                Upstream::Respond(response) => self.respond(response),
                Upstream::Reset => self.upstream_reset(),
                Upstream::Silent => Ok(()),
            };
        }
        let hung = self.waiting();
        let _ = self.step(Vm::finish);
        Outcome { hung, ..self.outcome() }
    }

    fn response_is_open(&self) -> bool {
        self.look(|vm, id| vm.state().stream(id).is_some_and(|s| s.response.headers.is_some() && !s.response.ended))
    }

    /// A frame from the upstream does nothing once a local reply answered.
    fn response_step(&mut self, f: impl FnOnce(&mut Vm, u32)) -> Result<(), Error> {
        if self.local_reply().is_some() { Ok(()) } else { self.step(f) }
    }

    fn look<T: Default>(&self, f: impl FnOnce(&Vm, u32) -> T) -> T {
        match &self.id {
            Ok(id) => self.cell.with(|vm| f(vm, *id)),
            Err(_) => T::default(),
        }
    }

    fn step(&mut self, f: impl FnOnce(&mut Vm, u32)) -> Result<(), Error> {
        let id = self.id.clone()?;
        let result = self.cell.act(|vm| f(vm, id));
        if let Err(error) = &result {
            self.failure.get_or_insert_with(|| error.clone());
        }
        result
    }

    fn order(&self, fits: bool, what: &str) -> Result<(), Error> {
        if fits { Ok(()) } else { Err(Error::Misuse(what.to_owned())) }
    }
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").field("context", &self.id).field("events", &self.events()).finish_non_exhaustive()
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Ok(id) = self.id {
            let _ = self.cell.act(|vm| vm.finish(id));
            self.cell.with(|vm| vm.state_mut().contexts.remove(&id));
        }
    }
}
