//! What is known of the body when a request is judged.

use super::json::{self, Fault, Found};
use super::media;
use super::place::{Places, Pointer};
use crate::request::Field;
use std::fmt;

/// Why a body is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Its type is not JSON.
    Type,
    /// It states a charset that is not UTF-8.
    Charset,
    /// It has a content coding.
    Coding,
    /// It is not JSON that all readers read alike.
    Json(Fault),
    /// It is larger than any rule allows, and was not kept.
    Large,
    /// It comes through a tunnel or a WebSocket.
    Stream,
    /// Its head goes before it came.
    Unheld,
    /// Nobody asked for it.
    Unread,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type => f.write_str("its type is not JSON"),
            Self::Charset => f.write_str("its charset is not UTF-8"),
            Self::Coding => f.write_str("it has a content coding"),
            Self::Json(fault) => fault.fmt(f),
            Self::Large => f.write_str("it is larger than any rule allows"),
            Self::Stream => f.write_str("it comes through a tunnel or a WebSocket"),
            Self::Unheld => f.write_str("the gateway lets heads go before bodies (hold: false)"),
            Self::Unread => f.write_str("it was not kept"),
        }
    }
}

impl std::error::Error for Unreadable {}

/// A body that came to its end, or will never be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading<'a> {
    /// There is none.
    Empty,
    /// It cannot be told what is in it.
    Unreadable(Unreadable),
    /// What it has at each place, by the number of the place.
    Read(Vec<Found<'a>>),
}

impl<'a> Reading<'a> {
    /// Reads a whole body for these places.
    pub fn new(fields: &[Field], body: &'a [u8], places: &Places) -> Self {
        if body.is_empty() {
            return Self::Empty;
        }
        let read = media::check(fields).and_then(|()| json::read(body, places).map_err(Unreadable::Json));
        read.map_or_else(Self::Unreadable, Self::Read)
    }

    /// What it has at a place; an error where that cannot be told. `None`: there is no body.
    pub fn at(&self, places: &Places, pointer: &Pointer) -> Result<Option<&Found<'a>>, Unreadable> {
        match self {
            Self::Empty => Ok(None),
            Self::Unreadable(why) => Err(*why),
            Self::Read(found) => {
                let place = places.find(pointer).and_then(|place| found.get(place));
                place.map(Some).ok_or(Unreadable::Unread)
            }
        }
    }
}

/// The body, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// It is still coming: what it says does not count yet.
    Pending,
    /// All of it is known that ever will be.
    Known(&'a Reading<'a>),
}
