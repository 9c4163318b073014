//! The store: continuity, roots and durability. One connection writes; whatever it acknowledges was committed with
//! `synchronous=FULL` to a write-ahead log, so that neither a crash nor a power failure loses it.

use super::batch::{Leaf, Submission};
use super::problem::Problem;
use super::prune::{self, Step, range_of};
use super::schema::{self, Kind};
use crate::terminal::say;
use anyhow::{Context as _, bail};
use exeat_engine::evidence::{CompactRange, Hash, LastHeads, LogHead, Origin};
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};
use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What became of a batch.
pub type Verdict = Result<Stored, Problem>;

/// A batch that is on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// What is acknowledged.
    pub head: LogHead,
    /// How many of its records, from the end, were not there before.
    pub new: usize,
}

/// Most forks that are kept of one log. The first ones tell the story; a loop must not fill the disk.
const MAX_FORKS: i64 = 1_000;

/// The store.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    /// Right edges of the trees of logs that grew since the start.
    logs: HashMap<Origin, Log>,
    /// Logs with a hole, of which nothing is forgotten.
    damaged: Vec<i64>,
}

#[derive(Clone, Debug)]
struct Log {
    id: i64,
    range: CompactRange,
    /// The first leaf that retention left.
    kept_from: u64,
}

impl Store {
    /// Opens a store; makes it where there is none. Only the owner may read the file: openings name people.
    pub fn open(file: &Path) -> anyhow::Result<Self> {
        let place = || format!("the store {}", file.display());
        create_private(file).with_context(|| format!("cannot open {}: does its folder exist?", place()))?;
        let connection = Connection::open(file).with_context(place)?;
        connection.busy_timeout(Duration::from_secs(5)).with_context(place)?;
        match schema::kind(&connection).with_context(|| format!("{} is no SQLite database", file.display()))? {
            Kind::Empty => {}
            Kind::Store => schema::check(&connection, schema::VERSION).with_context(place)?,
            Kind::OtherVersion(1) => schema::check(&connection, 1).with_context(place)?,
            Kind::OtherVersion(version) => bail!(
                "{} has version {version}, this program writes version {}: use the program that made it, or a new file",
                place(),
                schema::VERSION
            ),
            Kind::Other => bail!("{} is a database of something else: name another file with --db", file.display()),
        }
        // The journal mode first: it cannot change within a transaction.
        connection.pragma_update(None, "journal_mode", "wal").with_context(place)?;
        connection.pragma_update(None, "synchronous", "full").with_context(place)?;
        connection.pragma_update(None, "foreign_keys", true).with_context(place)?;
        // Erased openings are overwritten, not only unlinked.
        connection.pragma_update(None, "secure_delete", true).with_context(place)?;
        let mut store = Self { connection, logs: HashMap::new(), damaged: Vec::new() };
        store.prepare().with_context(place)?;
        Ok(store)
    }

    fn prepare(&mut self) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let tables = match schema::kind(&transaction)? {
            Kind::Empty => schema::TABLES,
            Kind::OtherVersion(1) => schema::FROM_1,
            Kind::Store | Kind::OtherVersion(_) | Kind::Other => "",
        };
        if !tables.is_empty() {
            transaction.execute_batch(tables)?;
            transaction.pragma_update(None, "application_id", schema::APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", schema::VERSION)?;
        }
        transaction.commit()
    }

    /// Takes batches in one transaction, and answers for each once all of it is on the disk.
    pub fn write(&mut self, batches: &[Submission]) -> Vec<Verdict> {
        match self.try_write(batches) {
            Ok(verdicts) => verdicts,
            Err(error) => {
                // The edges in memory may be ahead of the disk now.
                self.logs.clear();
                say!("exeat collect: cannot write: {error}");
                let problem = Problem::unavailable("nothing of this batch was stored; send it again later");
                batches.iter().map(|_| Err(problem.clone())).collect()
            }
        }
    }

    fn try_write(&mut self, batches: &[Submission]) -> rusqlite::Result<Vec<Verdict>> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let received = now();
        let mut verdicts = Vec::with_capacity(batches.len());
        for batch in batches {
            let log = load(&transaction, &mut self.logs, &batch.head().origin)?;
            let verdict = match log {
                Ok(log) => take(&transaction, log, batch, received)?,
                Err(problem) => Err(problem),
            };
            verdicts.push(verdict.map(|(log, new)| {
                self.logs.insert(batch.head().origin.clone(), log);
                Stored { head: batch.head().clone(), new }
            }));
        }
        transaction.commit()?;
        Ok(verdicts)
    }

    /// Forgets what is older than `keep`, a piece at a time; whether there may be more to do. A relay forgets only what was
    /// forwarded.
    pub fn prune(&mut self, keep: Duration, relay: bool) -> rusqlite::Result<bool> {
        let keep = number(u64::try_from(keep.as_millis()).unwrap_or(u64::MAX));
        match prune::prune(&mut self.connection, keep, relay, &self.damaged)? {
            Step::Done => return Ok(false),
            Step::Cut => {}
            Step::Damaged(log) => {
                say!(
                    "exeat collect: log {log} has a hole, so nothing of it is forgotten; see what exeat audit verify says"
                );
                self.damaged.push(log);
            }
        }
        Ok(true)
    }

    /// The last checkpoints of the newest boot of a gateway, other than `except`.
    pub fn last(&self, gateway: &str, except: Option<&str>) -> rusqlite::Result<LastHeads> {
        let boot: Option<String> = self
            .connection
            .query_row(
                "SELECT boot FROM logs WHERE gateway = ?1 AND boot IS NOT ?2 ORDER BY
                   (SELECT time FROM checkpoints WHERE log = logs.id ORDER BY size DESC, time DESC LIMIT 1) DESC, boot
                 LIMIT 1",
                params![gateway, except],
                |row| row.get(0),
            )
            .optional()?;
        let Some(boot) = boot else { return Ok(LastHeads::default()) };
        let mut statement = self.connection.prepare_cached(
            "SELECT origin, size, root FROM logs JOIN checkpoints ON checkpoints.id =
               (SELECT id FROM checkpoints WHERE log = logs.id ORDER BY size DESC, time DESC LIMIT 1)
             WHERE gateway = ?1 AND boot = ?2 ORDER BY origin",
        )?;
        let rows = statement.query_map(params![gateway, boot], |row| {
            let (origin, size, root): (String, i64, [u8; 32]) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let head = Origin::parse(&origin).ok().zip(u64::try_from(size).ok());
            Ok(head.map(|(origin, size)| LogHead { origin, size, root: Hash(root) }))
        })?;
        let logs = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        Ok(LastHeads { boot: Some(boot), logs: logs.into_iter().flatten().collect() })
    }
}

/// The log as it is stored, with its right edge; `None` inside when there is none yet.
fn load(
    transaction: &Transaction<'_>,
    cache: &mut HashMap<Origin, Log>,
    origin: &Origin,
) -> rusqlite::Result<Result<Option<Log>, Problem>> {
    let id: Option<i64> = transaction
        .prepare_cached("SELECT id FROM logs WHERE origin = ?1")?
        .query_row([origin.as_str()], |row| row.get(0))
        .optional()?;
    let Some(id) = id else { return Ok(Ok(None)) };
    let stored: i64 = transaction
        .prepare_cached("SELECT coalesce(max(position) + 1, 0) FROM leaves WHERE log = ?1")?
        .query_row([id], |row| row.get(0))?;
    let kept_from = prune::pruned(transaction, id)?.size();
    let stored = u64::try_from(stored).unwrap_or(0).max(kept_from);
    if let Some(log) = cache.get(origin).filter(|log| log.id == id && log.range.size() == stored) {
        return Ok(Ok(Some(Log { kept_from, ..log.clone() })));
    }
    let range = range_of(transaction, id, stored)?;
    if range.size() != stored {
        let size = range.size();
        say!("exeat collect: {origin} is damaged: leaf {size} is missing of {stored}");
        let detail = format!("leaf {size} of {origin} is missing in the store; see what exeat audit verify says");
        return Ok(Err(Problem::damaged(detail)));
    }
    Ok(Ok(Some(Log { id, range, kept_from })))
}

/// Takes one batch, or says why not. Writes nothing where it refuses, but for the forks it keeps.
fn take(
    transaction: &Transaction<'_>,
    log: Option<Log>,
    batch: &Submission,
    received: i64,
) -> rusqlite::Result<Result<(Log, usize), Problem>> {
    let head = batch.head();
    let stored = log.as_ref().map_or(0, |log| log.range.size());
    if batch.first > stored {
        return Ok(Err(Problem::gap(stored, batch.first)));
    }
    let kept_from = log.as_ref().map_or(0, |log| log.kept_from);
    if batch.first < kept_from {
        return Ok(Err(Problem::pruned(kept_from)));
    }
    let overlap = usize::try_from(stored.saturating_sub(batch.first)).unwrap_or(usize::MAX);
    let (old, new) = batch.leaves.split_at_checked(overlap).unwrap_or((&batch.leaves, &[]));
    if stored == 0 && !new.first().is_some_and(|leaf| is_genesis(&leaf.line, &head.origin)) {
        return Ok(Err(Problem::not_genesis(&head.origin)));
    }
    if let Some(log) = &log
        && let Some(position) = first_difference(transaction, log.id, batch.first, old)?
    {
        // A root over the records that came proves that the gateway signed them: two histories. Otherwise they were
        // changed on the way.
        let mut range = range_of(transaction, log.id, batch.first)?;
        batch.leaves.iter().for_each(|leaf| range.append(leaf.hash));
        let signed = range.root() == head.root;
        keep_fork(transaction, batch, position, received)?;
        return Ok(Err(if signed { Problem::fork(position) } else { Problem::root_mismatch(head.size) }));
    }
    let (id, mut range) = match log {
        Some(log) => (Some(log.id), log.range),
        None => (None, CompactRange::new()),
    };
    new.iter().for_each(|leaf| range.append(leaf.hash));
    let root = match id {
        Some(id) if head.size < range.size() => range_of(transaction, id, head.size)?.root(),
        _ => range.root(),
    };
    if root != head.root {
        keep_fork(transaction, batch, head.size, received)?;
        let signed = new.is_empty();
        return Ok(Err(if signed { Problem::fork(head.size) } else { Problem::root_mismatch(head.size) }));
    }
    let id = match id {
        Some(id) => id,
        None => transaction.query_row(
            "INSERT INTO logs (origin, gateway, boot) VALUES (?1, ?2, ?3) RETURNING id",
            params![head.origin.as_str(), head.origin.gateway(), head.origin.boot()],
            |row| row.get(0),
        )?,
    };
    insert(transaction, id, batch, new, received)?;
    Ok(Ok((Log { id, range, kept_from }, new.len())))
}

fn insert(
    transaction: &Transaction<'_>,
    id: i64,
    batch: &Submission,
    new: &[Leaf],
    received: i64,
) -> rusqlite::Result<()> {
    let head = batch.head();
    let first_new = head.size.saturating_sub(new.len().try_into().unwrap_or(0));
    let mut leaf = transaction.prepare_cached("INSERT INTO leaves (log, position, line) VALUES (?1, ?2, ?3)")?;
    for (position, record) in (number(first_new)..).zip(new) {
        leaf.execute(params![id, position, record.line.as_bytes()])?;
    }
    // Openings of leaves that were there already are not written again: they may have been erased since.
    let mut opening = transaction
        .prepare_cached("INSERT OR REPLACE INTO openings (log, position, field, line) VALUES (?1, ?2, ?3, ?4)")?;
    for new in batch.openings.iter().filter(|opening| opening.leaf >= first_new) {
        opening.execute(params![id, number(new.leaf), new.field, new.line.as_bytes()])?;
    }
    let (note, time) = (batch.checkpoint.note().as_bytes(), number(batch.checkpoint.checkpoint().time.millis()));
    transaction
        .prepare_cached(
            "INSERT INTO checkpoints (log, size, root, time, note, received) SELECT ?1, ?2, ?3, ?4, ?5, ?6
             WHERE NOT EXISTS (SELECT 1 FROM checkpoints WHERE log = ?1 AND size = ?2 AND time = ?4 AND note = ?5)",
        )?
        .execute(params![id, number(head.size), head.root.0, time, note, received])?;
    Ok(())
}

/// Keeps what does not fit, and says so where the operator sees it.
fn keep_fork(transaction: &Transaction<'_>, batch: &Submission, position: u64, received: i64) -> rusqlite::Result<()> {
    let head = batch.head();
    say!(
        "exeat collect: ALARM: {} signed size {} with root {}, which does not fit what is stored (leaf {position})",
        head.origin,
        head.size,
        head.root
    );
    let mut records = Vec::new();
    for leaf in &batch.leaves {
        records.extend_from_slice(leaf.line.as_bytes());
        records.push(b'\n');
    }
    transaction
        .prepare_cached(
            "INSERT OR IGNORE INTO forks (origin, position, note, records, received) SELECT ?1, ?2, ?3, ?4, ?5
             WHERE (SELECT count(*) FROM forks WHERE origin = ?1) < ?6",
        )?
        .execute(params![
            head.origin.as_str(),
            number(position),
            batch.checkpoint.note().as_bytes(),
            records,
            received,
            MAX_FORKS
        ])?;
    Ok(())
}

/// Where records that came again differ from those stored.
fn first_difference(
    transaction: &Transaction<'_>,
    log: i64,
    first: u64,
    records: &[Leaf],
) -> rusqlite::Result<Option<u64>> {
    let mut statement = transaction.prepare_cached("SELECT line FROM leaves WHERE log = ?1 AND position = ?2")?;
    for (position, record) in (first..).zip(records) {
        let stored: Option<Vec<u8>> =
            statement.query_row(params![log, number(position)], |row| row.get(0)).optional()?;
        if stored.as_deref() != Some(record.line.as_bytes()) {
            return Ok(Some(position));
        }
    }
    Ok(None)
}

fn is_genesis(line: &str, origin: &Origin) -> bool {
    #[derive(serde::Deserialize)]
    struct First {
        kind: String,
        origin: String,
    }
    serde_json::from_str::<First>(line).is_ok_and(|first| first.kind == "genesis" && first.origin == origin.as_str())
}

/// SQLite's integers are signed; [`Submission::check`] refused what does not fit.
pub(super) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Makes the file for its owner alone, unless it is there. SQLite gives its side files the same mode.
fn create_private(file: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(file).map(drop)
}
