//! What signed statements say of logs other than their own: `vm` lines of checkpoints, the previous boot in a genesis
//! record, and checkpoints that a collector refused. A log must have come at least so far, with that root.

use super::coverage::Window;
use super::time;
use exeat_engine::evidence::{Hash, LogHead};
use std::collections::BTreeMap;

/// How a statement was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// By a VM of the same process.
    Vm,
    /// By the next boot, as a collector had told it.
    Previous,
    /// By the gateway itself; the collector refused the batch.
    Refused,
}

/// A statement that a log had a root at a size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Citation {
    /// The root.
    pub root: Hash,
    /// How it was made.
    pub kind: Kind,
    /// The log that makes it.
    pub by: String,
    /// When.
    pub time: u64,
}

impl Citation {
    /// Who says so, in words.
    pub fn source(&self) -> String {
        match self.kind {
            Kind::Vm => format!("a checkpoint of {}", self.by),
            Kind::Previous => format!("the next boot's log {}", self.by),
            Kind::Refused => "a signed checkpoint that the collector refused".to_owned(),
        }
    }

    /// Whether the log must have come that far. A refused checkpoint always asks to be explained.
    pub fn obliges(&self, window: &Window) -> bool {
        self.kind == Kind::Refused || window.obliges(self.time)
    }

    /// What is wrong when the log has `stored` leaves of the `size` it speaks of.
    pub fn beyond(&self, size: u64, stored: u64) -> String {
        let (source, time) = (self.source(), time::show(self.time));
        match self.kind {
            Kind::Refused => format!(
                "{source} is of {time} and size {size}, and the log, of which {stored} leaves are stored, never came there: \
                 it was forked, or damaged on the way and not sent again"
            ),
            _ => format!(
                "{source} of {time} knows {size} leaves, but {stored} are stored: the rest is missing, or was not delivered yet"
            ),
        }
    }
}

/// Statements by size.
pub type BySize = BTreeMap<u64, Vec<Citation>>;

/// The statement that asks for most, beyond the leaves that are stored.
pub fn furthest<'a>(sizes: &'a BySize, stored: u64, window: &Window) -> Option<(u64, &'a Citation)> {
    sizes.range(stored.saturating_add(1)..).rev().find_map(|(size, cited)| {
        cited.iter().find(|citation| citation.obliges(window)).map(|citation| (*size, citation))
    })
}

/// All statements, by the log that they are of.
#[derive(Clone, Debug, Default)]
pub struct Citations {
    logs: BTreeMap<String, BySize>,
}

impl Citations {
    /// Adds a statement. Of several that say the same in the same way the earliest stays.
    pub fn add(&mut self, head: &LogHead, kind: Kind, by: &str, time: u64) {
        let same = self.logs.entry(head.origin.as_str().to_owned()).or_default().entry(head.size).or_default();
        match same.iter_mut().find(|other| other.root == head.root && other.kind == kind) {
            Some(other) if other.time <= time => {}
            Some(other) => (other.by, other.time) = (by.to_owned(), time),
            None => same.push(Citation { root: head.root, kind, by: by.to_owned(), time }),
        }
    }

    /// Statements of a log.
    pub fn of(&self, origin: &str) -> Option<&BySize> {
        self.logs.get(origin)
    }

    /// Logs that somebody speaks of.
    pub fn origins(&self) -> impl Iterator<Item = (&str, &BySize)> {
        self.logs.iter().map(|(origin, sizes)| (origin.as_str(), sizes))
    }
}
