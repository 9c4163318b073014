//! What an audit says: findings, one line each, or one line that all is well.

use super::time;
use exeat_engine::evidence::line::display;
use std::fmt;

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The log, or the gateway.
    pub place: String,
    /// Index of the leaf, where there is one.
    pub leaf: Option<u64>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Places come out of the store, where somebody may have written anything.
        write!(f, "{}", display(&self.place))?;
        if let Some(leaf) = self.leaf {
            write!(f, " leaf {leaf}")?;
        }
        write!(f, ": {}", display(&self.what))
    }
}

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Gateways.
    pub gateways: u64,
    /// Logs.
    pub logs: u64,
    /// Logs that go on, or ended without a word.
    pub not_closed: u64,
    /// Leaves.
    pub records: u64,
    /// Leaves that retention took.
    pub pruned: u64,
    /// Checkpoints.
    pub checkpoints: u64,
    /// Decisions: allow, deny, would-deny.
    pub allow: u64,
    /// Denials.
    pub deny: u64,
    /// Denials that were not enforced.
    pub would_deny: u64,
    /// Denials in summaries.
    pub summarised: u64,
    /// Decisions that let something go and have no record, by the operator's choice.
    pub dropped: u64,
    /// Decisions that let something go, without completion.
    pub open: u64,
    /// Openings.
    pub openings: u64,
    /// From the first genesis to the last checkpoint.
    pub span: Option<(u64, u64)>,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |n: u64, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let decisions = self.allow.saturating_add(self.deny).saturating_add(self.would_deny);
        write!(
            f,
            "ok: {}, {}, {}, {}, {} ({} allow, {} deny, {} would-deny), {} in summaries, {}, {}, {}, no gaps",
            count(self.gateways, "gateway"),
            count(self.logs, "log"),
            count(self.records, "record"),
            count(self.checkpoints, "checkpoint"),
            count(decisions, "decision"),
            self.allow,
            self.deny,
            self.would_deny,
            count(self.summarised, "more denial"),
            count(self.openings, "opening"),
            count(self.open, "exchange") + " open",
            count(self.not_closed, "log") + " not closed",
        )?;
        if self.dropped > 0 {
            write!(f, ", {} let go unrecorded (when_full: drop)", count(self.dropped, "request"))?;
        }
        if self.pruned > 0 {
            write!(f, ", {} older and no longer kept", count(self.pruned, "record"))?;
        }
        match self.span {
            Some((from, to)) => write!(f, ", {} to {}", time::show(from), time::show(to)),
            None => Ok(()),
        }
    }
}

/// The result of an audit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Findings. None: all is well.
    pub findings: Vec<Finding>,
    /// What is as it must be, and worth to know all the same.
    pub notes: Vec<Finding>,
    /// Counts.
    pub totals: Totals,
}

impl Report {
    /// Adds a note.
    pub fn note(&mut self, place: &str, leaf: Option<u64>, what: impl Into<String>) {
        self.notes.push(Finding { place: place.to_owned(), leaf, what: what.into() });
    }

    /// Adds a finding.
    pub fn add(&mut self, place: &str, leaf: Option<u64>, what: impl Into<String>) {
        self.findings.push(Finding { place: place.to_owned(), leaf, what: what.into() });
    }
}
