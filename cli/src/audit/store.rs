//! Reading an evidence store: one snapshot of it, row by row, with nothing believed.

use crate::collect::schema::{self, Kind};
use anyhow::{Context as _, bail};
use exeat_engine::evidence::{CompactRange, Opening};
use rusqlite::{Connection, OpenFlags, params};
use std::path::Path;

/// A log, as the store names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLog {
    /// Row.
    pub id: i64,
    /// Origin.
    pub origin: String,
    /// What the row says of it: gateway and boot. Absent where the row is.
    pub named: Option<(String, String)>,
}

/// A checkpoint, as it is stored.
#[derive(Clone, Debug)]
pub struct StoredCheckpoint {
    /// The signed note.
    pub note: Vec<u8>,
    /// What the row says of it.
    pub size: i64,
    /// What the row says of it.
    pub root: Vec<u8>,
    /// What the row says of it.
    pub time: i64,
}

/// An opening, as it is stored.
#[derive(Clone, Debug)]
pub struct StoredOpening {
    /// Row: index of the leaf.
    pub position: i64,
    /// Row: field.
    pub field: String,
    /// The line.
    pub line: Vec<u8>,
}

impl StoredOpening {
    /// The opening, where the line is one. Whether it opens its leaf is another question.
    pub fn read(&self) -> Option<Opening> {
        Opening::parse(std::str::from_utf8(&self.line).ok()?).ok()
    }

    /// The opening, where it opens the leaf.
    pub fn opening(&self, leaf: &[u8]) -> Option<Opening> {
        self.read().filter(|opening| opening.verify(leaf).is_ok())
    }
}

/// A checkpoint that did not fit.
#[derive(Clone, Debug)]
pub struct StoredFork {
    /// Row: origin.
    pub origin: String,
    /// The signed note.
    pub note: Vec<u8>,
}

/// A store, opened for reading. All that is read from it is of one moment, also while a collector writes.
#[derive(Debug)]
pub struct EvidenceStore {
    connection: Connection,
}

impl EvidenceStore {
    /// Opens a store that is there.
    pub fn open(file: &Path) -> anyhow::Result<Self> {
        let place = file.display();
        present(file)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(file, flags)
            .with_context(|| format!("cannot open {place}: may this user read it?"))?;
        match schema::kind(&connection).with_context(|| format!("{place} cannot be read as a SQLite database"))? {
            Kind::Store => {}
            Kind::OtherVersion(version @ ..schema::VERSION) => {
                bail!(
                    "{place} has version {version}: start `exeat collect` on it once, which brings it to version {}",
                    schema::VERSION
                )
            }
            Kind::OtherVersion(version) => {
                bail!("{place} has version {version}, this program reads version {}", schema::VERSION)
            }
            Kind::Empty => bail!("{}", empty(file)),
            Kind::Other => {
                bail!("{place} is a database of something else: name the file that `exeat collect --db` writes")
            }
        }
        // The first read begins the snapshot; it lasts as long as the connection.
        connection.execute_batch("BEGIN DEFERRED").with_context(|| format!("cannot read {place}"))?;
        schema::check(&connection, schema::VERSION).with_context(|| format!("the store {place}"))?;
        Ok(Self { connection })
    }

    /// All logs that anything is stored of, also of leaves and checkpoints whose log is gone.
    pub fn logs(&self) -> rusqlite::Result<Vec<StoredLog>> {
        let mut statement = self.connection.prepare(
            "SELECT id, origin, gateway, boot FROM logs
             UNION ALL SELECT DISTINCT log, '', NULL, NULL FROM (
               SELECT log FROM leaves UNION SELECT log FROM checkpoints UNION SELECT log FROM openings)
             WHERE log NOT IN (SELECT id FROM logs)
             ORDER BY 2, 1",
        )?;
        let rows = statement.query_map([], |row| {
            let named: (Option<String>, Option<String>) = (row.get(2)?, row.get(3)?);
            Ok(StoredLog { id: row.get(0)?, origin: row.get(1)?, named: named.0.zip(named.1) })
        })?;
        rows.collect()
    }

    /// What retention took of a log: the tree of its first leaves, as the store claims it.
    pub fn pruned(&self, log: i64) -> rusqlite::Result<CompactRange> {
        crate::collect::prune::pruned(&self.connection, log)
    }

    /// Leaves in order: what is given to `each` is the index and the exact bytes. It ends when `each` says so.
    pub fn leaves<E: From<rusqlite::Error>>(
        &self,
        log: i64,
        mut each: impl FnMut(i64, &[u8]) -> Result<bool, E>,
    ) -> Result<(), E> {
        let mut statement =
            self.connection.prepare_cached("SELECT position, line FROM leaves WHERE log = ?1 ORDER BY position")?;
        let mut rows = statement.query([log])?;
        while let Some(row) = rows.next()? {
            let line = row.get_ref(1)?.as_bytes().map_err(rusqlite::Error::from)?;
            if !each(row.get(0)?, line)? {
                break;
            }
        }
        Ok(())
    }

    /// The records of a log that say where the boot before ended: its genesis, and what may say it later.
    pub fn previous(&self, log: i64) -> rusqlite::Result<Vec<Vec<u8>>> {
        // The first member of every record is its kind.
        let mut statement = self.connection.prepare_cached(
            "SELECT line FROM leaves WHERE log = ?1
               AND (position = 0 OR substr(line, 1, 18) = CAST('{\"kind\":\"previous\"' AS BLOB)) ORDER BY position",
        )?;
        let rows = statement.query_map([log], |row| row.get(0))?;
        rows.collect()
    }

    /// Checkpoints, smallest size first, then oldest.
    pub fn checkpoints(&self, log: i64) -> rusqlite::Result<Vec<StoredCheckpoint>> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT note, size, root, time FROM checkpoints WHERE log = ?1 ORDER BY size, time, id")?;
        let rows = statement.query_map([log], |row| {
            Ok(StoredCheckpoint { note: row.get(0)?, size: row.get(1)?, root: row.get(2)?, time: row.get(3)? })
        })?;
        rows.collect()
    }

    /// Openings of a log in the order of their leaves, each with its leaf, where that is there.
    pub fn openings(&self, log: i64, mut each: impl FnMut(StoredOpening, Option<Vec<u8>>)) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare_cached(
            "SELECT openings.position, field, openings.line, leaves.line FROM openings
             LEFT JOIN leaves ON leaves.log = openings.log AND leaves.position = openings.position
             WHERE openings.log = ?1 ORDER BY openings.position, field",
        )?;
        let mut rows = statement.query([log])?;
        while let Some(row) = rows.next()? {
            each(StoredOpening { position: row.get(0)?, field: row.get(1)?, line: row.get(2)? }, row.get(3)?);
        }
        Ok(())
    }

    /// The openings of one leaf.
    pub fn openings_of(&self, log: i64, position: i64) -> rusqlite::Result<Vec<StoredOpening>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT position, field, line FROM openings WHERE log = ?1 AND position = ?2 ORDER BY field",
        )?;
        let rows = statement.query_map(params![log, position], |row| {
            Ok(StoredOpening { position: row.get(0)?, field: row.get(1)?, line: row.get(2)? })
        })?;
        rows.collect()
    }

    /// Where the database contradicts itself, 100 places at most: of a row that is in a table and not in its index one question finds
    /// an answer and another does not, so that what is verified is not what is shown. Cost: a reading of the whole file.
    pub fn contradictions(&self) -> rusqlite::Result<Vec<String>> {
        let mut statement = self.connection.prepare("PRAGMA integrity_check(100)")?;
        let rows = statement.query_map([], |row| row.get(0))?;
        let lines: Vec<String> = rows.collect::<rusqlite::Result<_>>()?;
        Ok(lines.into_iter().filter(|line| line != "ok").collect())
    }

    /// Checkpoints that did not fit.
    pub fn forks(&self) -> rusqlite::Result<Vec<StoredFork>> {
        let mut statement = self.connection.prepare("SELECT origin, note FROM forks ORDER BY id")?;
        let rows = statement.query_map([], |row| Ok(StoredFork { origin: row.get(0)?, note: row.get(1)? }))?;
        rows.collect()
    }
}

/// Whether a file can be a store at all.
///
/// # Errors
/// There is none, or it is a folder.
pub fn present(file: &Path) -> anyhow::Result<()> {
    let place = file.display();
    match std::fs::metadata(file) {
        Ok(there) if there.is_dir() => {
            bail!("{place} is a folder: name the file that `exeat collect --db` writes")
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!("there is no store {place}: name the file that `exeat collect --db` writes")
        }
        Err(error) => Err(error).with_context(|| format!("cannot look at {place}")),
    }
}

/// What is said of a database with nothing in it.
pub(super) fn empty(file: &Path) -> String {
    format!(
        "{0} is no evidence store: there is nothing in it. What a collector wrote last stands in {0}-wal: copy a store with \
         `sqlite3 {0} \".backup COPY\"`, or both files while no collector runs",
        file.display()
    )
}
