//! One HTTP stream as the host sees it: two directions, each with what came, what waits and what left.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::headers::{Headers, Kind};
use crate::message::{Event, LocalReply};
use crate::plugin::Plugin;

/// Which way data flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Request,
    Response,
}

impl Direction {
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Request => Kind::Request,
            Self::Response => Kind::Response,
        }
    }
}

/// Where a filter stopped the iteration (Envoy's `IterationState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Iteration {
    #[default]
    Continue,
    /// Stopped, but later frames still reach the filter.
    StopSingle,
    /// Stopped for everything: the filter sees no later frame until it continues.
    StopAll,
}

/// One direction of a stream at this filter.
#[derive(Debug, Default)]
pub(crate) struct Half {
    pub(crate) headers: Option<Headers>,
    pub(crate) trailers: Option<Headers>,
    pub(crate) iteration: Iteration,
    /// Whether the head went on to the next filter.
    pub(crate) headers_continued: bool,
    /// Whether the end of the stream was seen, by headers, data or trailers.
    pub(crate) ended: bool,
    /// What waits while the filter pauses (Envoy's `buffered_request_data_`).
    pub(crate) buffer: Option<Vec<u8>>,
    /// Whether the filter paused on data, so that it reads `buffer`.
    pub(crate) buffering: bool,
    /// The frame of the current callback.
    pub(crate) data: Vec<u8>,
    /// Which of the maps and buffers the filter can reach at this moment.
    pub(crate) show_headers: bool,
    pub(crate) show_data: bool,
    pub(crate) show_trailers: bool,
    pub(crate) out: Out,
}

impl Half {
    /// What the body buffer calls read and write, if there is something to read.
    pub(crate) fn body(&self) -> Option<&Vec<u8>> {
        if self.buffering {
            self.buffer.as_ref()
        } else if self.show_data {
            Some(&self.data)
        } else {
            None
        }
    }

    pub(crate) fn body_mut(&mut self) -> Option<&mut Vec<u8>> {
        if self.buffering {
            Some(self.buffer.get_or_insert_default())
        } else if self.show_data {
            Some(&mut self.data)
        } else {
            None
        }
    }
}

/// What went on to the other side.
#[derive(Debug, Default)]
pub(crate) struct Out {
    pub(crate) headers: Option<Headers>,
    pub(crate) chunks: Vec<Vec<u8>>,
    pub(crate) trailers: Option<Headers>,
    pub(crate) complete: bool,
}

/// State of one stream.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) root: u32,
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) request: Half,
    pub(crate) response: Half,
    pub(crate) properties: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) filter_state: BTreeMap<String, Vec<u8>>,
    /// `proxy_on_context_create` was called (or skipped because the VM was dead).
    pub(crate) created: bool,
    /// `proxy_on_delete` was called.
    pub(crate) destroyed: bool,
    /// Inside `proxy_on_log`, where other maps are visible.
    pub(crate) logging: bool,
    /// Envoy keeps one such flag for both directions; it allows adding trailers in the last data callback.
    pub(crate) end_of_stream: bool,
    /// The gateway answered 503 for a dead VM: the filter must not see that reply.
    pub(crate) failed: bool,
    /// A local reply ended the request's way.
    pub(crate) aborted: bool,
    pub(crate) reset: bool,
    pub(crate) local_reply: Option<LocalReply>,
    pub(crate) started: u64,
    pub(crate) had_forwarded_proto: bool,
    pub(crate) events: Vec<Event>,
}

impl Stream {
    pub(crate) fn new(root: u32, plugin: Arc<Plugin>, started: u64) -> Self {
        Self {
            root,
            plugin,
            request: Half::default(),
            response: Half::default(),
            properties: BTreeMap::new(),
            filter_state: BTreeMap::new(),
            created: false,
            destroyed: false,
            logging: false,
            end_of_stream: false,
            failed: false,
            aborted: false,
            reset: false,
            local_reply: None,
            started,
            had_forwarded_proto: false,
            events: Vec::new(),
        }
    }

    pub(crate) fn half(&self, direction: Direction) -> &Half {
        match direction {
            Direction::Request => &self.request,
            Direction::Response => &self.response,
        }
    }

    pub(crate) fn half_mut(&mut self, direction: Direction) -> &mut Half {
        match direction {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        }
    }

    /// Whether frames of this direction can still reach the filter.
    pub(crate) fn is_open(&self, direction: Direction) -> bool {
        let over = self.destroyed || self.reset || self.response.out.complete;
        !over && (direction == Direction::Response || !self.aborted)
    }

    pub(crate) fn is_head_request(&self) -> bool {
        self.request_field(":method") == Some(b"HEAD")
    }

    pub(crate) fn is_grpc(&self) -> bool {
        self.request_field("content-type").is_some_and(|t| t.starts_with(b"application/grpc"))
    }

    fn request_field(&self, name: &str) -> Option<&[u8]> {
        self.request.headers.as_ref().and_then(|h| h.get(name))
    }
}
