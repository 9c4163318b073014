//! One line about one place in a file.

use std::fmt;
use std::path::PathBuf;

/// A place in a file. Lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The file, as it was given.
    pub file: PathBuf,
    /// Line and column, where they are known.
    pub position: Option<(usize, usize)>,
}

impl Location {
    /// A file as a whole.
    pub fn file(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into(), position: None }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // File names may hold anything.
        write!(f, "{}", self.file.display().to_string().escape_debug())?;
        match self.position {
            Some((line, column)) => write!(f, ":{line}:{column}"),
            None => Ok(()),
        }
    }
}

/// What is wrong, where, why and what to do: `file:line:column: policy: /pointer: problem; remedy (why)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where.
    pub location: Location,
    /// The rest of the line.
    pub message: String,
}

impl Diagnostic {
    /// About a place in a file, by its JSON pointer.
    pub fn new(location: Location, pointer: &str, message: impl fmt::Display) -> Self {
        let message = match pointer {
            "" => message.to_string(),
            pointer => format!("{}: {message}", pointer.escape_debug()),
        };
        Self { location, message }
    }

    /// The same, of the gateway document.
    #[must_use]
    pub fn of_gateway(self) -> Self {
        Self { message: format!("gateway: {}", self.message), ..self }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.location, self.message)
    }
}
