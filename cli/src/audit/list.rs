//! `exeat audit list`: decisions as a table or as lines of JSON.

use super::StoreArgs;
use super::filter::Filter;
use super::quarantined;
use super::store::EvidenceStore;
use super::time;
use super::view::{CompletionView, DecisionView, RecordView};
use crate::terminal::Out;
use anyhow::Context as _;
use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use exeat_engine::evidence::line::{display, to_line};
use std::collections::{HashMap, VecDeque};
use std::io::Write as _;

/// Arguments of `exeat audit list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Lines of JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// The newest so many; 0 for all.
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Instead the sessions that are quarantined now, each with the decision that began it.
    #[arg(long, conflicts_with_all = ["limit", "agent", "session", "outcome", "reason", "host"])]
    quarantined: bool,
    #[command(flatten)]
    filter: Filter,
}

/// A decision with what belongs to it.
#[derive(Clone, Debug)]
pub struct Row {
    /// The log.
    pub origin: String,
    /// Its row in the store.
    pub log: i64,
    /// Index of the decision.
    pub index: i64,
    /// The decision.
    pub decision: DecisionView,
    /// Its leaf.
    pub leaf: Vec<u8>,
    /// The completion.
    pub completion: Option<CompletionView>,
    /// Its leaf.
    pub completion_leaf: Option<Vec<u8>>,
}

/// Runs `exeat audit list`.
pub fn run(args: &ListArgs) -> anyhow::Result<()> {
    let store = EvidenceStore::open(&args.store.db)?;
    let rows = match args.quarantined {
        true => quarantined::sessions(&store, time::now()),
        false => args.filter.rows(&store, args.limit),
    }
    .context("the store cannot be read; is it damaged?")?;
    let mut out = Out::new();
    if args.json {
        for row in &rows {
            writeln!(out, "{}", json(&store, row)?)?;
        }
    } else if rows.is_empty() {
        writeln!(out, "{}", if args.quarantined { "no session is quarantined" } else { "no decision fits" })?;
    } else if args.quarantined {
        writeln!(out, "{}", quarantined::table(&rows))?;
    } else {
        writeln!(out, "{}", table(&store, &rows)?)?;
    }
    Ok(())
}

/// Decisions that fit, oldest first; of more than `limit` the newest. Memory: twice that many.
pub fn rows(store: &EvidenceStore, fits: impl Fn(&DecisionView) -> bool, limit: usize) -> rusqlite::Result<Vec<Row>> {
    let limit = if limit == 0 { usize::MAX } else { limit };
    let mut all: Vec<Row> = Vec::new();
    for log in store.logs()? {
        let mut kept = Newest::new(limit);
        store.leaves::<rusqlite::Error>(log.id, |index, line| {
            match RecordView::parse(line) {
                Some(RecordView::Decision(decision)) if fits(&decision) => kept.push(Row {
                    origin: log.origin.clone(),
                    log: log.id,
                    index,
                    decision: *decision,
                    leaf: line.to_vec(),
                    completion: None,
                    completion_leaf: None,
                }),
                Some(RecordView::Completion(completion)) => {
                    if let Some(row) = kept.decision(&completion.decision) {
                        (row.completion, row.completion_leaf) = (Some(completion), Some(line.to_vec()));
                    }
                }
                _ => {}
            }
            Ok(true)
        })?;
        all.extend(kept.rows);
        all.sort_by_key(|row| row.decision.time);
        all.drain(..all.len().saturating_sub(limit));
    }
    Ok(all)
}

/// The last rows of a log, found by the ids of their decisions.
struct Newest {
    rows: VecDeque<Row>,
    /// Decision to its number, counted from the first that was ever pushed.
    numbers: HashMap<String, usize>,
    dropped: usize,
    limit: usize,
}

impl Newest {
    fn new(limit: usize) -> Self {
        Self { rows: VecDeque::new(), numbers: HashMap::new(), dropped: 0, limit }
    }

    fn push(&mut self, row: Row) {
        if self.rows.len() >= self.limit
            && let Some(oldest) = self.rows.pop_front()
        {
            self.numbers.remove(&oldest.decision.id);
            self.dropped = self.dropped.saturating_add(1);
        }
        self.numbers.insert(row.decision.id.clone(), self.dropped.saturating_add(self.rows.len()));
        self.rows.push_back(row);
    }

    fn decision(&mut self, id: &str) -> Option<&mut Row> {
        let number = *self.numbers.get(id)?;
        self.rows.get_mut(number.checked_sub(self.dropped)?)
    }
}

/// The natural person, where an opening is stored and opens the leaf.
pub fn user(store: &EvidenceStore, row: &Row) -> rusqlite::Result<Option<String>> {
    let openings = store.openings_of(row.log, row.index)?;
    let mut opened = openings.iter().filter_map(|stored| stored.opening(&row.leaf));
    Ok(opened.find(|opening| opening.field == "user").map(|opening| opening.value))
}

/// A table of plain text, as wide as it is.
pub(super) fn text_table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(header);
    table
}

fn table(store: &EvidenceStore, rows: &[Row]) -> anyhow::Result<Table> {
    let mut table = text_table([
        "time", "outcome", "reason", "agent", "session", "user", "method", "host", "path", "status", "bytes", "id",
    ]);
    let text = |value: Option<&str>| value.map_or_else(|| "-".to_owned(), |value| shorten(&display(value)));
    for row in rows {
        let DecisionView { id, time, outcome, reason, agent, session, user: committed, destination, .. } =
            &row.decision;
        let person = match (committed, user(store, row)?) {
            (None, _) => "-".to_owned(),
            (Some(_), Some(person)) => text(Some(&person)),
            (Some(_), None) => "(sealed)".to_owned(),
        };
        let completion = row.completion.as_ref();
        table.add_row([
            time::show(*time),
            text(Some(outcome)),
            text(Some(reason)),
            text(agent.as_deref()),
            text(session.as_deref()),
            person,
            text(destination.method.as_deref()),
            text(destination.host.as_deref()),
            text(destination.path.as_deref()),
            completion.and_then(|c| c.status).map_or_else(|| "-".to_owned(), |status| status.to_string()),
            completion.map_or_else(|| "-".to_owned(), |completion| completion.forwarded_bytes.to_string()),
            text(Some(id)),
        ]);
    }
    Ok(table)
}

/// Cells have an end, whatever an agent chose. `audit show` has it all.
pub(super) fn shorten(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", text.split_at_checked(at).map_or(text, |(start, _)| start)),
        None => text.to_owned(),
    }
}

fn json(store: &EvidenceStore, row: &Row) -> anyhow::Result<String> {
    let value = |leaf: &[u8]| serde_json::from_slice::<serde_json::Value>(leaf);
    Ok(to_line(&serde_json::json!({
        "log": row.origin,
        "leaf": row.index,
        "user": user(store, row)?,
        "decision": value(&row.leaf)?,
        "completion": row.completion_leaf.as_deref().map(value).transpose()?,
    }))?)
}
