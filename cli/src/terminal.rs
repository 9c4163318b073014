//! Where the command line speaks: results to standard output, everything else to standard error.
//!
//! `print!` and `eprintln!` panic when nobody takes what they write: a pager that was closed, a log on a full disk. Neither may end
//! a collector in the middle of a batch, or leave a session open, so that nothing else here writes to the two (clippy holds that).

use std::fmt;
use std::io::{self, Write};

/// Status of a command whose reader went away, as in `exeat audit list | head`: what a shell says of a program that SIGPIPE ended.
pub const READER_GONE: u8 = 141;

/// Says a line on standard error: [`line()`] with the arguments of `format!`.
macro_rules! say {
    ($($arg:tt)*) => { $crate::terminal::line(format_args!($($arg)*)) };
}
pub(crate) use say;

/// Writes a line to standard error, if anybody takes it. Nothing that is said there is worth ending for.
pub fn line(text: fmt::Arguments<'_>) {
    // One write a line: several processes may share a log.
    let _ = io::stderr().lock().write_all(format!("{text}\n").as_bytes());
}

/// Prints a result. Whether it ends in a newline is for the caller to say.
///
/// # Errors
/// Those of [`Out`].
pub fn print(text: &str) -> io::Result<()> {
    let mut out = Out::new();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Standard output, whose errors say so.
#[derive(Debug)]
pub struct Out(io::StdoutLock<'static>);

impl Out {
    /// Standard output, for this thread alone.
    pub fn new() -> Self {
        Self(io::stdout().lock())
    }
}

impl Default for Out {
    fn default() -> Self {
        Self::new()
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(unwritable)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(unwritable)
    }
}

/// Standard output cannot be written.
#[derive(Debug)]
struct Unwritable(io::Error);

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot write to standard output: {}; what was printed is not whole", self.0)
    }
}

impl std::error::Error for Unwritable {}

fn unwritable(error: io::Error) -> io::Error {
    match error.kind() {
        // Of these `write_all` has an understanding of its own.
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => error,
        kind => io::Error::new(kind, Unwritable(error)),
    }
}

/// Whether a command failed because whoever read its standard output went away. Then there is nobody to complain to.
pub fn reader_gone(error: &anyhow::Error) -> bool {
    let ours = |error: &io::Error| error.get_ref().is_some_and(|inner| inner.is::<Unwritable>());
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::BrokenPipe && ours(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_reader_of_standard_output_is_the_reader() {
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(!reader_gone(&anyhow::Error::new(broken()).context("the registry closed the connection")));
        assert!(reader_gone(&anyhow::Error::new(unwritable(broken())).context("cannot print the policy")));
        let full = unwritable(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        assert_eq!(
            full.to_string(),
            "cannot write to standard output: no storage space; what was printed is not whole"
        );
        assert!(!reader_gone(&anyhow::Error::new(full)));
    }
}
