//! One log, from its bytes: leaves without a hole, roots as signed, records that fit each other, openings that open.

use super::citations::{BySize, furthest};
use super::coverage::{Timeline, Window};
use super::report::Report;
use super::store::EvidenceStore;
use super::time;
use super::view::{ClosedView, CompletionView, DecisionView, RecordView};
use exeat_engine::evidence::{CompactRange, Hash, Origin};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;

/// A checkpoint whose signature holds.
#[derive(Clone, Debug)]
pub struct SignedHead {
    /// Size.
    pub size: u64,
    /// Root.
    pub root: Hash,
    /// Time.
    pub time: u64,
}

/// What is known of a log before its leaves are read.
#[derive(Clone, Copy, Debug)]
pub struct Claims<'a> {
    /// Its origin.
    pub origin: &'a Origin,
    /// Its row.
    pub id: i64,
    /// Checkpoints, by size and then time.
    pub checkpoints: &'a [SignedHead],
    /// What others say of it.
    pub citations: Option<&'a BySize>,
    /// The window that is asked about.
    pub window: &'a Window,
}

/// Checks a log.
pub fn check(
    store: &EvidenceStore,
    claims: &Claims<'_>,
    signatures: &mut Signatures,
    report: &mut Report,
) -> rusqlite::Result<Timeline> {
    // What is gone is believed only because a checkpoint at the cut, or later, signs the root that comes of it.
    let tree = store.pruned(claims.id)?;
    let pruned = tree.size();
    report.totals.pruned = report.totals.pruned.saturating_add(pruned);
    let mut checker = Checker {
        claims,
        report,
        signatures,
        tree,
        pruned,
        next: 0,
        good: pruned,
        wrong: 0,
        missing: None,
        decisions: HashMap::new(),
        closed: None,
        dropped: 0,
        timeline: Timeline::new(claims.origin.clone()),
    };
    checker.before_the_cut();
    checker.roots();
    store.leaves(claims.id, |position, line| checker.leaf(position, line))?;
    checker.end();
    let Checker { timeline, .. } = checker;
    openings(store, claims, report)?;
    Ok(timeline)
}

/// What let something go, by the digest of what was signed: a signed request that went out by two logs was sent to two gateways.
/// Some 60 bytes for each.
#[derive(Debug, Default)]
pub struct Signatures {
    seen: HashMap<[u8; 16], (Origin, u64)>,
}

impl Signatures {
    /// Where the same request was let go before by another log.
    fn before(&mut self, base: &str, origin: &Origin, index: u64) -> Option<(Origin, u64)> {
        let digest = Sha256::digest(base).first_chunk().copied().unwrap_or_default();
        let first = self.seen.entry(digest).or_insert_with(|| (origin.clone(), index));
        (first.0 != *origin).then(|| first.clone())
    }
}

/// A decision, as far as its exchange has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exchange {
    /// Nothing was let go.
    Refused,
    /// It has not ended. Index of the decision.
    Open(u64),
    /// It has ended.
    Ended,
}

struct Checker<'a> {
    claims: &'a Claims<'a>,
    report: &'a mut Report,
    signatures: &'a mut Signatures,
    tree: CompactRange,
    /// Leaves at the start that retention took.
    pruned: u64,
    /// The next checkpoint.
    next: usize,
    /// Size of the last checkpoint whose root is right.
    good: u64,
    /// Checkpoints whose root is wrong.
    wrong: u64,
    /// The first leaf that is not there, though later ones are.
    missing: Option<u64>,
    decisions: HashMap<String, Exchange>,
    closed: Option<(u64, ClosedView)>,
    /// Decisions that let something go, counted and not recorded.
    dropped: u64,
    timeline: Timeline,
}

impl Checker<'_> {
    fn find(&mut self, leaf: Option<u64>, what: impl Into<String>) {
        self.report.add(self.claims.origin.as_str(), leaf, what);
    }

    fn leaf(&mut self, position: i64, line: &[u8]) -> rusqlite::Result<bool> {
        let index = self.tree.size();
        if u64::try_from(position) != Ok(index) {
            let what = match u64::try_from(position) {
                Ok(found) => format!("missing in the store; the next one there is leaf {found}"),
                Err(_) => format!("the store holds a leaf of index {position}"),
            };
            self.find(Some(index), what);
            self.missing = Some(index);
            return Ok(false);
        }
        self.tree.append(Hash::of_leaf(line));
        self.report.totals.records = self.report.totals.records.saturating_add(1);
        self.record(index, line);
        self.roots();
        Ok(true)
    }

    /// Checkpoints of sizes that are gone: retention takes them with the leaves.
    fn before_the_cut(&mut self) {
        while let Some(signed) = self.claims.checkpoints.get(self.next).filter(|signed| signed.size < self.pruned) {
            self.next = self.next.saturating_add(1);
            let what = format!(
                "the checkpoint stored for size {} lies before leaf {}, where the log begins",
                signed.size, self.pruned
            );
            self.find(None, what);
        }
    }

    /// Compares what is signed for the size that the tree has now.
    fn roots(&mut self) {
        let (size, mut root) = (self.tree.size(), None);
        let mut is = |tree: &CompactRange, signed: Hash| *root.get_or_insert_with(|| tree.root()) == signed;
        while let Some(signed) = self.claims.checkpoints.get(self.next).filter(|signed| signed.size == size) {
            self.next = self.next.saturating_add(1);
            if is(&self.tree, signed.root) {
                self.good = size;
                continue;
            }
            self.wrong = self.wrong.saturating_add(1);
            if self.wrong == 1 {
                let what = format!(
                    "leaves {} to {} do not give the root that the checkpoint of {} signs for size {size}: a leaf was \
                     altered, dropped, added or moved",
                    self.good,
                    size.saturating_sub(1),
                    time::show(signed.time)
                );
                self.find(None, what);
            }
        }
        let Some(cited) = self.claims.citations.and_then(|citations| citations.get(&size)) else { return };
        for citation in cited {
            if is(&self.tree, citation.root) {
                continue;
            }
            // Where the log's own checkpoints are wrong already, what others say adds nothing but noise.
            if self.wrong == 0 {
                let what = format!("{} states another root for size {size}: the log was forked", citation.source());
                self.find(None, what);
            }
        }
    }

    fn record(&mut self, index: u64, line: &[u8]) {
        if let Some((closed, _)) = &self.closed {
            let what = format!("comes after the log was closed at leaf {closed}");
            self.find(Some(index), what);
        }
        let Some(record) = RecordView::parse(line) else {
            return self.find(Some(index), "not a record of a known kind");
        };
        match record {
            RecordView::Genesis(genesis) if index == 0 && genesis.origin == self.claims.origin.as_str() => {
                self.timeline.begin(genesis.time, genesis.previous);
            }
            RecordView::Genesis(genesis) if index == 0 => {
                self.find(Some(0), format!("the genesis is of another log: {}", genesis.origin));
            }
            _ if index == 0 => self.find(Some(0), "the first leaf is not a genesis record"),
            RecordView::Genesis(_) => self.find(Some(index), "a genesis record that is not the first leaf"),
            RecordView::Decision(decision) => self.decision(index, &decision),
            RecordView::Completion(completion) => self.completion(index, &completion),
            RecordView::Summary(summary) => {
                let totals = &mut self.report.totals;
                totals.summarised = totals.summarised.saturating_add(summary.denials());
                self.dropped = self.dropped.saturating_add(summary.dropped());
            }
            RecordView::Previous(previous) => {
                if !self.timeline.follow(previous.previous) {
                    self.find(Some(index), "says a second time where the boot before ended");
                }
            }
            RecordView::Closed(closed) => {
                self.timeline.close(closed.time);
                self.closed = Some((index, closed));
            }
            RecordView::Config {} => {}
        }
    }

    fn decision(&mut self, index: u64, decision: &DecisionView) {
        let totals = &mut self.report.totals;
        let count = match decision.outcome.as_str() {
            "allow" => &mut totals.allow,
            "deny" => &mut totals.deny,
            "would-deny" => &mut totals.would_deny,
            other => {
                let what = format!("a decision with the unknown outcome {other:?}");
                return self.find(Some(index), what);
            }
        };
        *count = count.saturating_add(1);
        let base = decision.signature_base.as_deref().filter(|_| decision.let_go());
        if let Some((origin, first)) = base.and_then(|base| self.signatures.before(base, self.claims.origin, index)) {
            let what = format!(
                "lets the same signed request go as {origin} leaf {first}: it was sent to two gateways, and passed both"
            );
            self.report.note(self.claims.origin.as_str(), Some(index), what);
        }
        let exchange = if decision.let_go() { Exchange::Open(index) } else { Exchange::Refused };
        if self.decisions.insert(decision.id.clone(), exchange).is_some() {
            self.find(Some(index), format!("a second decision with the id {}", decision.id));
        }
    }

    fn completion(&mut self, index: u64, completion: &CompletionView) {
        let id = &completion.decision;
        let what = match self.decisions.insert(id.clone(), Exchange::Ended) {
            Some(Exchange::Open(_)) => return,
            Some(Exchange::Ended) => format!("a second completion of decision {id}"),
            Some(Exchange::Refused) => format!("a completion of decision {id}, which let nothing go"),
            // Its decision may be among those.
            None if self.pruned > 0 => return,
            None => format!("a completion of decision {id}, which is not in the log"),
        };
        self.find(Some(index), what);
    }

    fn end(&mut self) {
        let size = self.tree.size();
        if self.wrong > 1 {
            let what = format!("{} more checkpoints after that do not fit either", self.wrong.saturating_sub(1));
            self.find(None, what);
        }
        let last = self.claims.checkpoints.last();
        match last.filter(|last| last.size > size) {
            Some(last) if self.missing.is_none() => {
                let what = format!(
                    "the checkpoint of {} signs size {}, but {size} leaves are stored: leaves {size} to {} are missing",
                    time::show(last.time),
                    last.size,
                    last.size.saturating_sub(1)
                );
                self.find(None, what);
            }
            _ => {}
        }
        let sealed = last.map_or(0, |last| last.size);
        if sealed < size && self.missing.is_none() {
            let what = format!("leaves {sealed} to {} are under no checkpoint: one is missing", size.saturating_sub(1));
            self.find(None, what);
        }
        if size == 0 && self.missing.is_none() {
            self.find(None, "no leaf is stored");
        }
        self.cited_beyond(size);
        self.unfinished();
        if self.dropped > 0 {
            self.report.totals.dropped = self.report.totals.dropped.saturating_add(self.dropped);
            let what = format!(
                "{} requests were let go without a record, while the queue was full: the operator chose so (when_full: drop)",
                self.dropped
            );
            self.report.note(self.claims.origin.as_str(), None, what);
        }
        if size > 0 && size == self.pruned {
            self.timeline.gone();
        }
        self.timeline.checkpoints(self.claims.checkpoints.iter().map(|checkpoint| checkpoint.time));
        if let Some((a, b)) =
            self.claims.checkpoints.iter().zip(self.claims.checkpoints.iter().skip(1)).find(|(a, b)| a.time > b.time)
        {
            let what = format!("the checkpoint of size {} was signed before that of size {}", b.size, a.size);
            self.find(None, what);
        }
    }

    /// Others have seen more of the log than is stored.
    fn cited_beyond(&mut self, size: u64) {
        let Some(citations) = self.claims.citations else { return };
        if let Some((cited, citation)) = furthest(citations, size, self.claims.window) {
            self.find(None, citation.beyond(cited, size));
        }
    }

    /// Exchanges without an end: of a log that goes on they may still come; a closed one states how many there are.
    fn unfinished(&mut self) {
        let mut open: Vec<u64> = self
            .decisions
            .values()
            .filter_map(|exchange| match exchange {
                Exchange::Open(index) => Some(*index),
                _ => None,
            })
            .collect();
        open.sort_unstable();
        let count = u64::try_from(open.len()).unwrap_or(u64::MAX);
        self.report.totals.open = self.report.totals.open.saturating_add(count);
        if let Some((index, closed)) = &self.closed
            && (closed.open < count || (closed.open > count && self.pruned == 0))
        {
            let first = open.first().map(|leaf| format!(", the first of them leaf {leaf}")).unwrap_or_default();
            let what = format!(
                "the log was closed with {} exchanges open, but {count} decisions have no completion{first}",
                closed.open
            );
            self.find(Some(*index), what);
        }
    }
}

fn openings(store: &EvidenceStore, claims: &Claims<'_>, report: &mut Report) -> rusqlite::Result<()> {
    let place = claims.origin.as_str();
    store.openings(claims.id, |stored, leaf| {
        report.totals.openings = report.totals.openings.saturating_add(1);
        let index = u64::try_from(stored.position).ok();
        let what = match (stored.read(), leaf) {
            (None, _) => "is not an opening".to_owned(),
            (Some(opening), _) if Some(opening.leaf) != index || opening.field != stored.field => {
                format!("is of {:?} of leaf {}", opening.field, opening.leaf)
            }
            (Some(_), None) => "is of a leaf that is not stored".to_owned(),
            (Some(opening), Some(leaf)) => match opening.verify(&leaf) {
                Ok(()) => return,
                Err(error) => error.to_string(),
            },
        };
        report.add(place, index, format!("the opening stored for {:?}: {what}", stored.field));
    })
}
