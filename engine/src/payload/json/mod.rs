//! JSON of requests, read for what rules ask of it, and refused wherever two readers could see two things.
//!
//! One pass, no recursion, no tree: only names of the objects that are open and values that are wanted are kept, so that what
//! a body costs is bounded by its size and by fixed numbers. Refused: whatever RFC 8259 does not allow, a byte order mark,
//! bytes that are not UTF-8, halves of surrogate pairs, names that occur twice in an object once their escapes are read, and
//! names with a NUL, at which some readers stop.

mod lexer;
#[cfg(test)]
mod tests;
mod walk;

use super::place::Places;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// Objects and arrays inside one another.
pub const DEEPEST: usize = 64;

/// Names of all objects that are open at once.
pub const MOST_NAMES: usize = 65_536;

/// Values at all places that are wanted.
pub const MOST_VALUES: usize = 16_384;

/// Why a text is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not UTF-8.
    Utf8,
    /// It begins with a byte order mark (RFC 8259 section 8.1).
    ByteOrderMark,
    /// Not JSON from this byte on.
    Syntax {
        /// Bytes before it.
        at: usize,
    },
    /// An escape of a string that cannot be read.
    Escape,
    /// Half of a surrogate pair: readers replace it, or stop (RFC 8259 section 8.2).
    Surrogate,
    /// A name occurs twice in one object (RFC 8259 section 4).
    Duplicate,
    /// A name holds U+0000.
    Nul,
    /// Nested too deep.
    Deep,
    /// Too many names, or too many values that are wanted.
    Many,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Utf8 => f.write_str("it is not UTF-8"),
            Self::ByteOrderMark => f.write_str("it begins with a byte order mark"),
            Self::Syntax { at } => write!(f, "it is not JSON from byte {at} on"),
            Self::Escape => f.write_str("an escape in it cannot be read"),
            Self::Surrogate => f.write_str("it has half of a surrogate pair"),
            Self::Duplicate => f.write_str("a name occurs twice in one object"),
            Self::Nul => f.write_str("a name holds a NUL"),
            Self::Deep => write!(f, "it is nested more than {DEEPEST} deep"),
            Self::Many => write!(
                f,
                "it has objects of more than {MOST_NAMES} names, or more than {MOST_VALUES} values to inspect"
            ),
        }
    }
}

impl std::error::Error for Fault {}

/// One value that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot<'a> {
    /// Its bytes in the body.
    pub span: Range<usize>,
    /// What it is.
    pub value: Value<'a>,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A string, its escapes read.
    Text(Cow<'a, str>),
    /// A number, as it is written.
    Number(&'a str),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
    /// An object or an array.
    Nested,
}

/// What a body has at one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found<'a> {
    /// Values, in the order of the body.
    pub spots: Vec<Spot<'a>>,
    /// Somewhere on the way nothing is there: no such member, no such element, or a value that has none.
    pub missing: bool,
    /// What a server would find there cannot be told: a name that a lenient reader takes for the one that is wanted, or an
    /// array in the place of an object, or the other way round.
    pub doubtful: bool,
}

/// Reads a body. What it has at each place, in the order of the places.
pub fn read<'a>(body: &'a [u8], places: &Places) -> Result<Vec<Found<'a>>, Fault> {
    let text = std::str::from_utf8(body).map_err(|_| Fault::Utf8)?;
    if text.starts_with('\u{feff}') {
        return Err(Fault::ByteOrderMark);
    }
    walk::Walk::new(text, places).run()
}
