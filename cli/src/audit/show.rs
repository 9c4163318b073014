//! `exeat audit show`: all that is stored of one decision.

use super::StoreArgs;
use super::list::Row;
use super::prove::find;
use super::store::EvidenceStore;
use super::time;
use crate::terminal::Out;
use exeat_engine::decision::Reason;
use exeat_engine::evidence::UnverifiedCheckpoint;
use exeat_engine::evidence::line::{display, to_pretty};
use std::io::Write as _;

/// Arguments of `exeat audit show`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Id of the decision, or its first digits (8 at least).
    #[arg(value_name = "ID")]
    id: String,
}

/// Runs `exeat audit show`.
pub fn run(args: &ShowArgs) -> anyhow::Result<()> {
    let store = EvidenceStore::open(&args.store.db)?;
    let row = find(&store, &args.id, &args.store.db)?;
    print(&store, &row)
}

fn print(store: &EvidenceStore, row: &Row) -> anyhow::Result<()> {
    let mut out = Out::new();
    let pretty =
        |leaf: &[u8]| -> anyhow::Result<String> { Ok(to_pretty(&serde_json::from_slice::<serde_json::Value>(leaf)?)?) };
    writeln!(out, "log         {}", display(&row.origin))?;
    writeln!(out, "leaf        {}", row.index)?;
    writeln!(out, "checkpoint  {}", checkpoint(store, row)?)?;
    writeln!(out, "decision    {}", pretty(&row.leaf)?)?;
    let reason = Reason::ALL.iter().find(|reason| reason.code() == row.decision.reason);
    if let Some(hint) = reason.map(|reason| reason.look_at()).filter(|hint| !hint.is_empty()) {
        writeln!(out, "look at     {hint}")?;
    }
    match &row.completion_leaf {
        Some(leaf) => writeln!(out, "completion  {}", pretty(leaf)?)?,
        None if row.decision.let_go() => writeln!(out, "completion  none is stored: the exchange is open")?,
        None => writeln!(out, "completion  none: nothing was let go")?,
    }
    for stored in store.openings_of(row.log, row.index)? {
        match stored.read() {
            Some(opening) => {
                let opens = if opening.verify(&row.leaf).is_ok() { "" } else { "  (DOES NOT OPEN THE LEAF)" };
                writeln!(out, "opening     {} = {}{opens}", display(&opening.field), display(&opening.value))?;
            }
            None => writeln!(out, "opening     {} cannot be read", display(&stored.field))?,
        }
    }
    Ok(())
}

/// The first checkpoint that seals the leaf.
fn checkpoint(store: &EvidenceStore, row: &Row) -> anyhow::Result<String> {
    for stored in store.checkpoints(row.log)? {
        if let Ok(note) = UnverifiedCheckpoint::parse(&stored.note) {
            let claimed = note.claimed();
            if i64::try_from(claimed.head.size).is_ok_and(|size| size > row.index) {
                return Ok(format!("size {} of {}", claimed.head.size, time::show(claimed.time.millis())));
            }
        }
    }
    Ok("none: this leaf is not sealed".to_owned())
}
