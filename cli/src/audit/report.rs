//! What an audit says: findings, one line each or for all that are alike, or one line that all is well.

use super::time;
use exeat_engine::evidence::line::display;
use std::collections::HashMap;
use std::fmt;
use std::mem::Discriminant;

/// What of a log a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The log, or the gateway, as a whole.
    Whole,
    /// The leaf of that index.
    Leaf(u64),
    /// The checkpoint whose row states that size.
    Checkpoint(i64),
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => Ok(()),
            Self::Leaf(leaf) => write!(f, " leaf {leaf}"),
            Self::Checkpoint(size) => write!(f, ": the checkpoint stored for size {size}"),
        }
    }
}

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The log, or the gateway.
    pub place: String,
    /// What of it.
    pub at: At,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Places come out of the store, where somebody may have written anything.
        write!(f, "{}{}: {}", display(&self.place), self.at, display(&self.what))
    }
}

/// Findings that are alike: where a key is wrong, every checkpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group<'f> {
    first: &'f Finding,
    last: &'f Finding,
    /// How many.
    pub count: usize,
}

impl<'f> Group<'f> {
    /// One of each finding that is alone.
    pub fn each(findings: &'f [Finding]) -> Vec<Self> {
        findings.iter().map(|finding| Self { first: finding, last: finding, count: 1 }).collect()
    }

    /// Findings with those that are like them, in the order of the first of each. Those that differ in anything but the leaf or the
    /// checkpoint stay apart.
    pub fn alike(findings: &'f [Finding]) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::new();
        let mut known: HashMap<(&str, Discriminant<At>, &str), usize> = HashMap::new();
        for finding in findings {
            let key = (finding.place.as_str(), std::mem::discriminant(&finding.at), finding.what.as_str());
            match known.get(&key).and_then(|at| groups.get_mut(*at)) {
                Some(group) => (group.last, group.count) = (finding, group.count.saturating_add(1)),
                None => {
                    known.insert(key, groups.len());
                    groups.push(Self { first: finding, last: finding, count: 1 });
                }
            }
        }
        groups
    }
}

impl fmt::Display for Group<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(f)?;
        match (self.count, self.last.at) {
            (0 | 1, _) => Ok(()),
            (count, At::Whole) => write!(f, " ({count} times)"),
            (count, At::Leaf(leaf)) => {
                write!(f, " (and so {} more, the last of them leaf {leaf})", count.saturating_sub(1))
            }
            (count, At::Checkpoint(size)) => {
                write!(f, " (and so {} more, the last of them that for size {size})", count.saturating_sub(1))
            }
        }
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
        let at = leaf.map_or(At::Whole, At::Leaf);
        self.notes.push(Finding { place: place.to_owned(), at, what: what.into() });
    }

    /// Adds a finding.
    pub fn add(&mut self, place: &str, leaf: Option<u64>, what: impl Into<String>) {
        self.find(place, leaf.map_or(At::Whole, At::Leaf), what.into());
    }

    /// Adds a finding about a checkpoint, by the size that its row states.
    pub fn add_checkpoint(&mut self, place: &str, size: i64, what: impl Into<String>) {
        self.find(place, At::Checkpoint(size), what.into());
    }

    fn find(&mut self, place: &str, at: At, what: String) {
        self.findings.push(Finding { place: place.to_owned(), at, what });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_alike_is_told_together() {
        let mut report = Report::default();
        for size in 1..=4 {
            report.add_checkpoint("g/b/w0", size, "no signature is by a known key");
        }
        report.add_checkpoint("g/b/w0", 5, "the signature does not verify");
        report.add("g/b/w0", None, "no signature is by a known key");
        report.add("g/b/w0", Some(6), "no signature is by a known key");
        report.add_checkpoint("g/b/w1", 7, "no signature is by a known key");
        report.add_checkpoint("g/b/w0", 8, "no signature is by a known key");
        report.add("g/b/w0", Some(9), "no signature is by a known key");
        report.add("g/b/w1", None, "twice");
        report.add("g/b/w1", None, "twice");
        let groups = Group::alike(&report.findings);
        let lines: Vec<String> = groups.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "g/b/w0: the checkpoint stored for size 1: no signature is by a known key (and so 4 more, the last of them that for \
                 size 8)",
                "g/b/w0: the checkpoint stored for size 5: the signature does not verify",
                "g/b/w0: no signature is by a known key",
                "g/b/w0 leaf 6: no signature is by a known key (and so 1 more, the last of them leaf 9)",
                "g/b/w1: the checkpoint stored for size 7: no signature is by a known key",
                "g/b/w1: twice (2 times)",
            ]
        );
        // None is lost.
        assert_eq!(groups.iter().map(|group| group.count).sum::<usize>(), report.findings.len());
        let each: Vec<String> = Group::each(&report.findings).iter().map(ToString::to_string).collect();
        assert_eq!(each, report.findings.iter().map(ToString::to_string).collect::<Vec<_>>());
    }
}
