//! Retention: the oldest leaves of a log go, and the roots of the subtrees that they made stay. What remains is still proven
//! against every later checkpoint; what is gone can still be proven by a bundle that was written in time.
//!
//! A log is cut only where a checkpoint was signed, so that an auditor meets a signed root at the cut.

use super::store::{now, number};
use exeat_engine::evidence::{CompactRange, Hash};
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

/// Leaves that one step takes at most, unless one batch had more: the store writes nothing else meanwhile.
const STEP: i64 = 50_000;

/// What is gone of a log: the tree of its first leaves.
pub fn pruned(connection: &Connection, log: i64) -> rusqlite::Result<CompactRange> {
    let row: Option<(i64, Vec<u8>)> = connection
        .prepare_cached("SELECT size, nodes FROM pruned WHERE log = ?1")?
        .query_row([log], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((size, nodes)) = row else { return Ok(CompactRange::new()) };
    let nodes = nodes.as_chunks().0.iter().map(|node| Hash(*node)).collect();
    // What does not fit gives an empty tree, and so a log whose first leaf is missing.
    Ok(u64::try_from(size).ok().and_then(|size| CompactRange::from_nodes(size, nodes)).unwrap_or_default())
}

/// The tree of the first leaves of a log; of fewer when one is missing. `size` is not less than what was pruned.
pub fn range_of(connection: &Connection, log: i64, size: u64) -> rusqlite::Result<CompactRange> {
    let mut range = pruned(connection, log)?;
    let mut statement = connection.prepare_cached(
        "SELECT position, line FROM leaves WHERE log = ?1 AND position >= ?2 AND position < ?3 ORDER BY position",
    )?;
    let mut rows = statement.query(params![log, number(range.size()), number(size)])?;
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>(0)? != number(range.size()) {
            break;
        }
        range.append(Hash::of_leaf(row.get_ref(1)?.as_bytes()?));
    }
    Ok(range)
}

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Something went.
    Cut,
    /// There is nothing to do.
    Done,
    /// This log has a hole, which the audit has to find: nothing of it goes.
    Damaged(i64),
}

/// Takes one step of forgetting what was signed more than `keep` milliseconds ago, passing over some logs.
pub fn prune(connection: &mut Connection, keep: i64, relay: bool, pass_over: &[i64]) -> rusqlite::Result<Step> {
    let before = now().saturating_sub(keep);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let step = match next(&transaction, before, relay, pass_over)? {
        Some((log, size)) => take(&transaction, log, size)?,
        None => Step::Done,
    };
    heartbeats(&transaction, before, relay)?;
    transaction.commit()?;
    Ok(step)
}

/// A log of which something can go, and up to which leaf.
fn next(
    transaction: &Transaction<'_>,
    before: i64,
    relay: bool,
    pass_over: &[i64],
) -> rusqlite::Result<Option<(i64, i64)>> {
    // The largest old checkpoint within a step, else the smallest beyond it.
    let mut statement = transaction.prepare_cached(
        "SELECT log, size FROM (
           SELECT checkpoints.log, checkpoints.size, coalesce(pruned.size, 0) AS gone
           FROM checkpoints
           LEFT JOIN pruned ON pruned.log = checkpoints.log
           LEFT JOIN forwarded ON forwarded.log = checkpoints.log
           WHERE checkpoints.time < ?1 AND checkpoints.size > gone
             AND (?2 = 0 OR checkpoints.id <= coalesce(forwarded.checkpoint, 0)))
         ORDER BY log, size - gone > ?3, CASE WHEN size - gone > ?3 THEN size ELSE -size END",
    )?;
    let mut rows = statement.query(params![before, relay, STEP])?;
    while let Some(row) = rows.next()? {
        let log = row.get(0)?;
        if !pass_over.contains(&log) {
            return Ok(Some((log, row.get(1)?)));
        }
    }
    Ok(None)
}

fn take(transaction: &Transaction<'_>, log: i64, size: i64) -> rusqlite::Result<Step> {
    let range = range_of(transaction, log, u64::try_from(size).unwrap_or(0))?;
    if number(range.size()) != size {
        return Ok(Step::Damaged(log));
    }
    let nodes: Vec<u8> = range.nodes().iter().flat_map(|node| node.0).collect();
    transaction
        .prepare_cached("INSERT OR REPLACE INTO pruned (log, size, nodes) VALUES (?1, ?2, ?3)")?
        .execute(params![log, size, nodes])?;
    for delete in [
        "DELETE FROM leaves WHERE log = ?1 AND position < ?2",
        "DELETE FROM openings WHERE log = ?1 AND position < ?2",
        "DELETE FROM checkpoints WHERE log = ?1 AND size < ?2",
    ] {
        transaction.prepare_cached(delete)?.execute(params![log, size])?;
    }
    Ok(Step::Cut)
}

/// Old checkpoints of the size at which a log was cut, of which one has to stay, go when there is a newer one.
fn heartbeats(transaction: &Transaction<'_>, before: i64, relay: bool) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "DELETE FROM checkpoints WHERE id IN (
               SELECT old.id FROM checkpoints AS old
               JOIN pruned ON pruned.log = old.log AND pruned.size = old.size
               LEFT JOIN forwarded ON forwarded.log = old.log
               WHERE old.time < ?1 AND (?2 = 0 OR old.id <= coalesce(forwarded.checkpoint, 0)) AND EXISTS (
                 SELECT 1 FROM checkpoints AS newer
                 WHERE newer.log = old.log AND newer.size = old.size AND newer.time > old.time)
               LIMIT 10000)",
        )?
        .execute(params![before, relay])
        .map(drop)
}
