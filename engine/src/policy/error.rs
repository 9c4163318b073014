//! What is wrong with a configuration, where, why that matters and what to write instead.
//!
//! One error type serves gateway and command line alike: the same document is refused with the same words by both.

use crate::order;
use std::fmt;

/// Which of the two documents an error speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Document {
    /// The plugin configuration that wraps both: role, gateway, policy.
    Configuration,
    /// `gateway.yaml`, below its `gateway` key.
    Gateway,
    /// The merged policy.
    Policy,
    /// Cases that a policy is tried with.
    Tests,
}

impl Document {
    /// The word that opens an error message.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Gateway => "gateway",
            Self::Policy => "policy",
            Self::Tests => "tests",
        }
    }
}

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    /// The document at fault.
    pub document: Document,
    /// JSON pointer (RFC 6901) into that document; empty for the whole of it.
    pub place: String,
    /// What is wrong.
    pub problem: String,
    /// Why it cannot be accepted; empty where the problem says it.
    pub why: String,
    /// What to do.
    pub remedy: String,
}

impl PolicyError {
    /// The pointer as seen from the plugin configuration: `/policy/agents/...`.
    pub fn configuration_pointer(&self) -> String {
        match self.document {
            Document::Configuration | Document::Tests => self.place.clone(),
            Document::Gateway | Document::Policy => format!("/{}{}", self.document.as_str(), self.place),
        }
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.document.as_str())?;
        if !self.place.is_empty() {
            // Keys of a document may hold anything; a log line stays one line.
            write!(f, ": {}", self.place.escape_debug())?;
        }
        write!(f, ": {}; {}", self.problem, self.remedy)?;
        if !self.why.is_empty() {
            write!(f, " ({})", self.why)?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyError {}

/// One or more errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyErrors {
    first: Box<PolicyError>,
    rest: Vec<PolicyError>,
}

impl PolicyErrors {
    /// The first, in the order of the document.
    pub fn into_first(self) -> PolicyError {
        *self.first
    }

    /// All of them, in the order of the document.
    pub fn iter(&self) -> impl Iterator<Item = &PolicyError> {
        std::iter::once(self.first.as_ref()).chain(&self.rest)
    }

    pub(crate) fn sorted_by_key<K: Ord>(self, key: impl Fn(&PolicyError) -> K) -> Self {
        let Self { first, mut rest } = self;
        rest.insert(0, *first);
        let mut keyed: Vec<(K, PolicyError)> = rest.into_iter().map(|error| (key(&error), error)).collect();
        order::sort_by(&mut keyed, |a, b| a.0.cmp(&b.0));
        let mut rest: Vec<PolicyError> = keyed.into_iter().map(|(_, error)| error).collect();
        let first = Box::new(rest.remove(0));
        Self { first, rest }
    }
}

impl From<PolicyError> for PolicyErrors {
    fn from(first: PolicyError) -> Self {
        Self { first: Box::new(first), rest: Vec::new() }
    }
}

/// Collects errors, so that one wrong rule does not hide the next.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<PolicyError>);

impl Problems {
    pub(crate) fn note(&mut self, error: PolicyError) {
        self.0.push(error);
    }

    /// The value, or `None` after its error was noted.
    pub(crate) fn take<T>(&mut self, result: Result<T, PolicyError>) -> Option<T> {
        result.map_err(|error| self.note(error)).ok()
    }

    pub(crate) fn finish<T>(self, value: T) -> Result<T, PolicyErrors> {
        let mut errors = self.0.into_iter();
        match errors.next() {
            None => Ok(value),
            Some(first) => Err(PolicyErrors { first: Box::new(first), rest: errors.collect() }),
        }
    }
}

/// Text in quotes, escaped so that it cannot break a line or a terminal.
pub(crate) fn quoted(text: &str) -> String {
    format!("{text:?}")
}

/// The question `did you mean "x"?` for the nearest of `known`, where one is near.
pub fn did_you_mean<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    nearest(given, known).map(|name| format!("did you mean {}?", quoted(name)))
}

/// The nearest of `known` by Jaro-Winkler distance, where one is near; ties go to the first.
pub(crate) fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    /// Below this, names look alike by accident: `to` and `total` stay apart, `bdy` and `body` do not.
    const NEAR: f64 = 0.8;
    let mut best: Option<(f64, &str)> = None;
    for name in known {
        let score = strsim::jaro_winkler(given, name);
        if score >= NEAR && best.is_none_or(|(other, _)| score > other) {
            best = Some((score, name));
        }
    }
    best.map(|(_, name)| name)
}

/// A place in a document while it is walked: a linked list, so that walking a correct document allocates nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    document: Document,
    parent: Option<&'a Place<'a>>,
    segment: Segment<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Segment<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

impl<'a> Place<'a> {
    pub(crate) const fn root(document: Document) -> Self {
        Self { document, parent: None, segment: Segment::Root }
    }

    pub(crate) fn key<'b>(&'b self, key: &'b str) -> Place<'b> {
        Place { document: self.document, parent: Some(self), segment: Segment::Key(key) }
    }

    pub(crate) fn index(&self, index: usize) -> Place<'_> {
        Place { document: self.document, parent: Some(self), segment: Segment::Index(index) }
    }

    /// RFC 6901.
    pub(crate) fn pointer(&self) -> String {
        let mut pointer = self.parent.map(Place::pointer).unwrap_or_default();
        match self.segment {
            Segment::Root => {}
            Segment::Key(key) => push_key(&mut pointer, key),
            Segment::Index(index) => pointer.push_str(&format!("/{index}")),
        }
        pointer
    }

    /// An error at this place.
    pub(crate) fn error(&self, problem: impl Into<String>, remedy: impl Into<String>, why: &str) -> PolicyError {
        self.stated(problem.into(), remedy.into(), why)
    }

    #[inline(never)]
    fn stated(&self, problem: String, remedy: String, why: &str) -> PolicyError {
        PolicyError { document: self.document, place: self.pointer(), problem, why: why.to_owned(), remedy }
    }
}

/// Appends one reference token to a JSON pointer (RFC 6901 section 3).
pub fn push_key(pointer: &mut String, key: &str) {
    pointer.push('/');
    for character in key.chars() {
        match character {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            other => pointer.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_whatever_its_place_holds() {
        let root = Place::root(Document::Policy);
        let (agents, agent) = (root.key("agents"), "a/b~c\n");
        let agent = agents.key(agent);
        let error = agent.index(3).error("it is wrong", "write it right", "reasons");
        assert_eq!(error.place, "/agents/a~1b~0c\n/3");
        assert_eq!(error.configuration_pointer(), "/policy/agents/a~1b~0c\n/3");
        assert_eq!(error.to_string(), "policy: /agents/a~1b~0c\\n/3: it is wrong; write it right (reasons)");
    }

    #[test]
    fn only_what_is_near_is_suggested() {
        let known = ["body", "url", "headers", "total"];
        assert_eq!(nearest("bdy", known.into_iter()), Some("body"));
        assert_eq!(nearest("header", known.into_iter()), Some("headers"));
        assert_eq!(nearest("zebra", known.into_iter()), None);
    }
}
