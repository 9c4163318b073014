//! One pass over a body. Places are followed as a tree of names: of each open object and array it is known which nodes of
//! that tree stand for it, and of each name which nodes it leads to.

use super::lexer::Lexer;
use super::{DEEPEST, Fault, Found, MOST_NAMES, MOST_VALUES, Spot, Value};
use crate::order;
use crate::payload::place::{Places, variant};
use std::borrow::Cow;
use std::ops::Range;

/// An object or array that is open. The ranges and starts are those of the stacks beside it.
#[derive(Debug)]
struct Frame {
    object: bool,
    nodes: Range<usize>,
    names: usize,
    seen: usize,
    open: usize,
    /// Elements or members so far.
    count: usize,
}

#[derive(Debug)]
pub(super) struct Walk<'a, 'p> {
    lexer: Lexer<'a>,
    places: &'p Places,
    found: Vec<Found<'a>>,
    frames: Vec<Frame>,
    /// Nodes of the places' tree that stand for what is open, and for the value that comes next.
    nodes: Vec<usize>,
    /// Names of the objects that are open.
    names: Vec<Cow<'a, str>>,
    /// Nodes that were reached below what is open.
    seen: Vec<usize>,
    /// Wanted values that are open: place, and index among its values.
    open: Vec<(usize, usize)>,
    values: usize,
}

impl<'a, 'p> Walk<'a, 'p> {
    pub(super) fn new(text: &'a str, places: &'p Places) -> Self {
        Self {
            lexer: Lexer::new(text),
            places,
            found: vec![Found::default(); places.len()],
            frames: Vec::new(),
            nodes: vec![Places::ROOT],
            names: Vec::new(),
            seen: Vec::new(),
            open: Vec::new(),
            values: 0,
        }
    }

    pub(super) fn run(mut self) -> Result<Vec<Found<'a>>, Fault> {
        let mut from = 0;
        loop {
            self.value(from)?;
            match self.next_value()? {
                Some(next) => from = next,
                None => break,
            }
        }
        match self.lexer.next_token() {
            None => Ok(self.found),
            Some(_) => Err(self.lexer.fault()),
        }
    }

    /// Reads a value, or opens it. The nodes from `from` on stand for it.
    fn value(&mut self, from: usize) -> Result<(), Fault> {
        let first = self.lexer.next_token().ok_or_else(|| self.lexer.fault())?;
        let start = self.lexer.at();
        let value = match first {
            b'{' | b'[' => return self.begin(from, first == b'{'),
            b'"' => {
                let quoted = self.lexer.string()?;
                if self.is_wanted(from) { Value::Text(quoted.decode()?) } else { Value::Nested }
            }
            b't' => self.lexer.word("true").map(|()| Value::Bool(true))?,
            b'f' => self.lexer.word("false").map(|()| Value::Bool(false))?,
            b'n' => self.lexer.word("null").map(|()| Value::Null)?,
            _ => Value::Number(self.lexer.number()?),
        };
        self.keep(from, start, &value)?;
        for node in self.nodes.drain(from..) {
            for place in self.places.below(node) {
                mark(&mut self.found, *place, |found| found.missing = true);
            }
        }
        Ok(())
    }

    fn is_wanted(&self, from: usize) -> bool {
        self.nodes.iter().skip(from).any(|node| self.places.place(*node).is_some())
    }

    /// Keeps a value for every place that it is at. Its end is here; of one that was opened it is set when it closes.
    fn keep(&mut self, from: usize, start: usize, value: &Value<'a>) -> Result<(), Fault> {
        for place in self.nodes.iter().skip(from).filter_map(|node| self.places.place(*node)) {
            let Some(found) = self.found.get_mut(place) else { continue };
            self.values += 1;
            if self.values > MOST_VALUES {
                return Err(Fault::Many);
            }
            if *value == Value::Nested {
                self.open.push((place, found.spots.len()));
            }
            found.spots.push(Spot { span: start..self.lexer.at(), value: value.clone() });
        }
        Ok(())
    }

    fn begin(&mut self, from: usize, object: bool) -> Result<(), Fault> {
        if self.frames.len() >= DEEPEST {
            return Err(Fault::Deep);
        }
        let open = self.open.len();
        self.keep(from, self.lexer.at(), &Value::Nested)?;
        self.lexer.take();
        let nodes = from..self.nodes.len();
        for node in self.nodes.iter().skip(from) {
            for place in self.places.amiss(*node, object) {
                mark(&mut self.found, place, |found| found.doubtful = true);
            }
        }
        let (names, seen) = (self.names.len(), self.seen.len());
        self.frames.push(Frame { object, nodes, names, seen, open, count: 0 });
        Ok(())
    }

    /// Goes on to the next value: the start of its nodes. `None` after the last.
    fn next_value(&mut self) -> Result<Option<usize>, Fault> {
        loop {
            let Some(frame) = self.frames.last_mut() else { return Ok(None) };
            let (object, count) = (frame.object, frame.count);
            let close = if object { b'}' } else { b']' };
            let token = self.lexer.next_token();
            if token == Some(close) {
                self.lexer.take();
                self.end()?;
                continue;
            }
            frame.count += 1;
            let nodes = frame.nodes.clone();
            if count > 0 {
                if token != Some(b',') {
                    return Err(self.lexer.fault());
                }
                self.lexer.take();
                self.lexer.next_token();
            }
            let from = self.nodes.len();
            if object {
                self.member(nodes)?
            } else {
                self.element(nodes, count)
            }
            return Ok(Some(from));
        }
    }

    /// A name and its colon.
    fn member(&mut self, nodes: Range<usize>) -> Result<(), Fault> {
        let name = self.lexer.string()?.decode()?;
        if self.lexer.next_token() != Some(b':') {
            return Err(self.lexer.fault());
        }
        self.lexer.take();
        if self.names.len() >= MOST_NAMES {
            return Err(Fault::Many);
        }
        if name.contains('\0') {
            return Err(Fault::Nul);
        }
        if !nodes.is_empty() {
            let lenient = variant(&name);
            for index in nodes {
                let Some(node) = self.nodes.get(index).copied() else { continue };
                for (exact, child) in self.places.named(node, &lenient) {
                    if exact == name {
                        self.nodes.push(child);
                        self.seen.push(child);
                    } else {
                        for place in self.places.at_and_below(child) {
                            mark(&mut self.found, place, |found| found.doubtful = true);
                        }
                    }
                }
            }
        }
        self.names.push(name);
        Ok(())
    }

    fn element(&mut self, nodes: Range<usize>, count: usize) {
        for index in nodes {
            let Some(node) = self.nodes.get(index).copied() else { continue };
            self.nodes.extend(self.places.each(node));
            if let Some(child) = self.places.indexed(node, count) {
                self.nodes.push(child);
                self.seen.push(child);
            }
        }
    }

    fn end(&mut self) -> Result<(), Fault> {
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        if let Some(names) = self.names.get_mut(frame.names..) {
            order::sort(names);
            if names.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
                return Err(Fault::Duplicate);
            }
        }
        self.names.truncate(frame.names);
        let seen = self.seen.get(frame.seen..).unwrap_or_default();
        for node in self.nodes.iter().take(frame.nodes.end).skip(frame.nodes.start) {
            for child in self.places.children(*node).filter(|child| !seen.contains(child)) {
                for place in self.places.at_and_below(child) {
                    mark(&mut self.found, place, |found| found.missing = true);
                }
            }
        }
        self.seen.truncate(frame.seen);
        self.nodes.truncate(frame.nodes.start);
        let end = self.lexer.at();
        for (place, index) in self.open.drain(frame.open..) {
            if let Some(spot) = self.found.get_mut(place).and_then(|found| found.spots.get_mut(index)) {
                spot.span.end = end;
            }
        }
        Ok(())
    }
}

fn mark<'a>(found: &mut [Found<'a>], place: usize, set: impl FnOnce(&mut Found<'a>)) {
    if let Some(found) = found.get_mut(place) {
        set(found);
    }
}
