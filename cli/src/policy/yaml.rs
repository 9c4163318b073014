//! One file of YAML or JSON, with the position of everything in it.
//!
//! YAML 1.2 core schema, less what lets two readers of a policy see two things: anchors and aliases, merge keys, tags,
//! directives, several documents in a file, duplicate keys, keys that are not text. Profiles are there to share rules.

use super::diagnostic::{Diagnostic, Location};
use exeat_engine::policy::error::push_key;
use exeat_engine::policy::node::Node;
use saphyr::{Scalar, ScalarStyle};
use saphyr_parser::{Event, Marker, Parser};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// How deep a document may be nested; a policy needs some ten levels.
const MAX_DEPTH: usize = 64;

/// A file that was read.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file, as it was given.
    pub file: PathBuf,
    /// What stands in it.
    pub node: Node,
    positions: HashMap<String, (usize, usize)>,
}

impl Source {
    /// Reads a file.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn read(file: &Path) -> Result<Self, Diagnostic> {
        let refuse = |message: String| Diagnostic::new(Location::file(file), "", message);
        let bytes = std::fs::read(file).map_err(|error| refuse(format!("cannot be read: {error}")))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            refuse(format!("not UTF-8 from byte {} on; save it as UTF-8", error.utf8_error().valid_up_to()))
        })?;
        Self::parse(file, &text)
    }

    /// Reads text. JSON is read as the YAML that it is, after it was found to be JSON.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(file: &Path, text: &str) -> Result<Self, Diagnostic> {
        if file.extension().is_some_and(|ext| ext == "json")
            && let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text)
        {
            let position = (error.line() > 0).then(|| (error.line(), error.column().max(1)));
            let location = Location { file: file.to_owned(), position };
            // The position stands before the message already.
            let text = error.to_string();
            let problem = text.rsplit_once(" at line ").map_or(text.as_str(), |(problem, _)| problem);
            let message = format!("not JSON: {problem}; correct it here, or just before");
            return Err(Diagnostic::new(location, "", message));
        }
        let mut reader = Reader { file, open: Vec::new(), positions: HashMap::new(), root: None };
        let mut parser = Parser::new_from_str(text);
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|error| reader.refuse(*error.marker(), "", not_yaml(error.info())))?;
            reader.take(event, span.start)?;
        }
        let Some(node) = reader.root else {
            return Err(Diagnostic::new(Location::file(file), "", "an empty file; remove it, or write a map of keys"));
        };
        Ok(Self { file: file.to_owned(), node, positions: reader.positions })
    }

    /// Where the value at a JSON pointer is written: its key, or the item of a list. A place that is not there is that
    /// of the nearest thing around it.
    pub fn locate(&self, pointer: &str) -> Location {
        let mut pointer = pointer;
        loop {
            if let Some(position) = self.positions.get(pointer) {
                return Location { file: self.file.clone(), position: Some(*position) };
            }
            match pointer.rsplit_once('/') {
                Some((parent, _)) => pointer = parent,
                None => return Location::file(&self.file),
            }
        }
    }
}

/// What the parser says, and what people usually meant.
fn not_yaml(info: &str) -> String {
    const REMEDIES: [(&str, &str); 4] = [
        ("anchor", "text that begins with `*` stands in quotes, such as \"*.example.com\""),
        ("tab", "indent by spaces"),
        ("recursion", "no policy needs lists and maps that deep"),
        ("mapping values are not allowed", "put text with a colon in quotes, and look at the indentation"),
    ];
    let remedy = REMEDIES.iter().find(|(what, _)| info.contains(what)).map(|(_, remedy)| *remedy);
    let remedy = remedy.unwrap_or("look at quotes, brackets and indentation here and in the line before");
    format!("not YAML: {}; {remedy}", info.replace(char::is_control, " "))
}

/// Builds the tree from the events of the parser. No recursion: the depth of a file is its author's.
struct Reader<'f> {
    file: &'f Path,
    open: Vec<Open>,
    positions: HashMap<String, (usize, usize)>,
    root: Option<Node>,
}

/// A list or map that has not ended.
struct Open {
    pointer: String,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    /// Entries, and the key that waits for its value.
    Map(Vec<(String, Node)>, Option<String>),
}

impl Reader<'_> {
    fn refuse(&self, at: Marker, pointer: &str, message: impl std::fmt::Display) -> Diagnostic {
        let location = Location { file: self.file.to_owned(), position: Some(position(at)) };
        Diagnostic::new(location, pointer, message)
    }

    fn take(&mut self, event: Event<'_>, at: Marker) -> Result<(), Diagnostic> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.root.is_some() => {
                Err(self.refuse(at, "", "a second document in one file; put it into a file of its own"))
            }
            Event::DocumentStart(_) => Ok(()),
            Event::Alias(_) => Err(self.refuse(at, "", "an alias; write the value out, or share rules by a profile")),
            Event::Scalar(text, style, anchor, tag) => {
                self.plain(anchor, tag.is_some(), at)?;
                self.scalar(text.into_owned(), style, at)
            }
            Event::SequenceStart(anchor, tag) => {
                self.plain(anchor, tag.is_some(), at)?;
                self.begin(Content::List(Vec::new()), at)
            }
            Event::MappingStart(anchor, tag) => {
                self.plain(anchor, tag.is_some(), at)?;
                self.begin(Content::Map(Vec::new(), None), at)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop().map(|open| open.content) {
                Some(Content::List(items)) => self.place(Node::List(items), at),
                Some(Content::Map(entries, _)) => self.place(Node::Map(entries), at),
                None => Err(self.refuse(at, "", "not YAML: an end without a beginning")),
            },
        }
    }

    /// Neither anchor nor tag.
    fn plain(&self, anchor: usize, tag: bool, at: Marker) -> Result<(), Diagnostic> {
        if anchor > 0 {
            return Err(self.refuse(at, "", "an anchor; remove it, or share rules by a profile"));
        }
        if tag {
            return Err(self.refuse(at, "", "a tag; remove it, the schema knows the types"));
        }
        Ok(())
    }

    fn scalar(&mut self, text: String, style: ScalarStyle, at: Marker) -> Result<(), Diagnostic> {
        if let Some(Open { pointer, content: Content::Map(_, key @ None) }) = self.open.last_mut() {
            let mut here = pointer.clone();
            push_key(&mut here, &text);
            if text == "<<" && style == ScalarStyle::Plain {
                return Err(self.refuse(at, &here, "a merge key; write the keys out, or share rules by a profile"));
            }
            if style == ScalarStyle::Plain && !matches!(Scalar::parse_from_cow(text.as_str().into()), Scalar::String(_))
            {
                return Err(self.refuse(at, &here, "a key that is not text; put it in quotes"));
            }
            // A pointer has a position only once its key was read.
            if let Some((first, _)) = self.positions.get(&here) {
                let message = format!("the key {text:?} occurs twice, first in line {first}; keep one of the two");
                return Err(self.refuse(at, &here, message));
            }
            *key = Some(text);
            self.positions.insert(here, position(at));
            return Ok(());
        }
        let node = match style {
            ScalarStyle::Plain if text.is_empty() => Node::Null,
            ScalarStyle::Plain => match Scalar::parse_from_cow(text.as_str().into()) {
                Scalar::Null => Node::Null,
                Scalar::Boolean(value) => Node::Bool(value),
                Scalar::Integer(value) => Node::Number(value.into()),
                Scalar::FloatingPoint(value) => match serde_json::Number::from_f64(value.into_inner()) {
                    Some(number) => Node::Number(number),
                    None => return Err(self.refuse(at, "", "not a finite number; put it in quotes if it is text")),
                },
                Scalar::String(_) => Node::Text(text),
            },
            _ => Node::Text(text),
        };
        self.note(at);
        self.place(node, at)
    }

    fn begin(&mut self, content: Content, at: Marker) -> Result<(), Diagnostic> {
        if self.open.len() >= MAX_DEPTH {
            return Err(self.refuse(at, "", format!("nested deeper than {MAX_DEPTH} levels; no policy needs that")));
        }
        if let Some(Open { pointer, content: Content::Map(_, None) }) = self.open.last() {
            return Err(self.refuse(at, pointer, "a key that is not text; put it in quotes"));
        }
        let pointer = self.note(at);
        self.open.push(Open { pointer, content });
        Ok(())
    }

    /// The pointer of the value that begins here; notes its position, unless it has that of its key.
    fn note(&mut self, at: Marker) -> String {
        let pointer = match self.open.last() {
            None => String::new(),
            Some(Open { pointer, content: Content::List(items) }) => format!("{pointer}/{}", items.len()),
            Some(Open { pointer, content: Content::Map(_, key) }) => {
                let mut pointer = pointer.clone();
                push_key(&mut pointer, key.as_deref().unwrap_or_default());
                pointer
            }
        };
        self.positions.entry(pointer.clone()).or_insert(position(at));
        pointer
    }

    /// Puts a whole value where it belongs.
    fn place(&mut self, node: Node, at: Marker) -> Result<(), Diagnostic> {
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map(entries, key)) => match key.take() {
                Some(key) => entries.push((key, node)),
                None => return Err(self.refuse(at, "", "a key that is not text; put it in quotes")),
            },
        }
        Ok(())
    }
}

fn position(at: Marker) -> (usize, usize) {
    (at.line(), at.col().saturating_add(1))
}
