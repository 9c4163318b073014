//! The tables of an evidence store. They hold the exact bytes that gateways signed: leaves and notes as blobs, so that an
//! auditor checks bytes and not a rendering of them.

use anyhow::Context as _;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// `PRAGMA application_id` of a store: "exea".
pub const APPLICATION_ID: i32 = 0x6578_6561;
/// `PRAGMA user_version`: the version of the tables below.
pub const VERSION: i32 = 2;

/// Makes the tables in an empty database.
pub const TABLES: &str = "
CREATE TABLE logs (
    id       INTEGER PRIMARY KEY,
    origin   TEXT NOT NULL UNIQUE,
    gateway  TEXT NOT NULL,
    boot     TEXT NOT NULL
) STRICT;
-- A leaf: the record's line without its newline.
CREATE TABLE leaves (
    log      INTEGER NOT NULL REFERENCES logs (id),
    position INTEGER NOT NULL,
    line     BLOB NOT NULL,
    PRIMARY KEY (log, position)
) STRICT;
-- A checkpoint: the signed note. Size, root and time repeat what it says.
CREATE TABLE checkpoints (
    id       INTEGER PRIMARY KEY,
    log      INTEGER NOT NULL REFERENCES logs (id),
    size     INTEGER NOT NULL,
    root     BLOB NOT NULL,
    time     INTEGER NOT NULL,
    note     BLOB NOT NULL,
    received INTEGER NOT NULL
) STRICT;
CREATE INDEX checkpoints_in_order ON checkpoints (log, size, time);
-- An opening: its line. Delete a row, and the person it names is forgotten while every proof still holds.
CREATE TABLE openings (
    log      INTEGER NOT NULL REFERENCES logs (id),
    position INTEGER NOT NULL,
    field    TEXT NOT NULL,
    line     BLOB NOT NULL,
    PRIMARY KEY (log, position, field)
) STRICT;
-- A signed checkpoint that does not fit what is stored, with the records that came with it.
CREATE TABLE forks (
    id       INTEGER PRIMARY KEY,
    origin   TEXT NOT NULL,
    position INTEGER NOT NULL,
    note     BLOB NOT NULL,
    records  BLOB NOT NULL,
    received INTEGER NOT NULL,
    UNIQUE (origin, note)
) STRICT;
-- The leaves before `size` are gone, as retention wants: what is left of them are the roots of the complete subtrees that they
-- made, 32 bytes each, largest first (RFC 6962 section 2.1). Later roots that are signed tell whether these are right.
CREATE TABLE pruned (
    log      INTEGER PRIMARY KEY REFERENCES logs (id),
    size     INTEGER NOT NULL,
    nodes    BLOB NOT NULL
) STRICT;
-- A relay: the last checkpoint of a log that the next collector has acknowledged, and the leaves it has.
CREATE TABLE forwarded (
    log        INTEGER PRIMARY KEY REFERENCES logs (id),
    checkpoint INTEGER NOT NULL,
    size       INTEGER NOT NULL
) STRICT;
";

/// From version 1 to 2: what is added.
pub const FROM_1: &str = "
CREATE TABLE pruned (log INTEGER PRIMARY KEY REFERENCES logs (id), size INTEGER NOT NULL, nodes BLOB NOT NULL) STRICT;
CREATE TABLE forwarded (
    log INTEGER PRIMARY KEY REFERENCES logs (id), checkpoint INTEGER NOT NULL, size INTEGER NOT NULL) STRICT;
";

/// What a database file turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It has no tables.
    Empty,
    /// A store of this version.
    Store,
    /// A store of another version.
    OtherVersion(i32),
    /// Something else.
    Other,
}

/// Looks at a database.
pub fn kind(connection: &Connection) -> rusqlite::Result<Kind> {
    let pragma = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i32>(0));
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(match (pragma("application_id")?, pragma("user_version")?, tables) {
        (0, 0, 0) => Kind::Empty,
        (APPLICATION_ID, VERSION, _) => Kind::Store,
        (APPLICATION_ID, version, _) => Kind::OtherVersion(version),
        _ => Kind::Other,
    })
}

/// Makes sure that a store of a version is made of the tables above and of nothing else. A view or a trigger is a program of whoever wrote the
/// file: it could give other rows each time it is asked, change what is written, or never end.
///
/// # Errors
/// The first thing that is other, with its name.
pub fn check(connection: &Connection, version: i32) -> anyhow::Result<()> {
    let expected = own()?;
    let expected: BTreeMap<&str, &Object> = expected
        .iter()
        .filter(|(_, object)| version >= VERSION || !matches!(object.table.as_str(), "pruned" | "forwarded"))
        .map(|(name, object)| (name.as_str(), object))
        .collect();
    let found = objects(connection).context("its tables cannot be read; is it damaged?")?;
    let other = found.iter().find(|(name, object)| expected.get(name.as_str()) != Some(object));
    let missing = || expected.keys().copied().find(|name| !found.contains_key(*name));
    if let Some(name) = other.map(|(name, _)| name.as_str()).or_else(missing) {
        anyhow::bail!(
            "no collector makes a store with {name:?} as it is there, or without it: somebody altered it. Take the store from a backup, or \
             leave there what `exeat collect` made"
        );
    }
    Ok(())
}

/// A table, an index, or whatever else a database may have.
#[derive(Debug, PartialEq)]
struct Object {
    kind: String,
    table: String,
    /// How it was made, less blanks and comments. None of what SQLite makes for itself.
    sql: Option<String>,
}

/// What a collector makes. Made once.
fn own() -> rusqlite::Result<&'static BTreeMap<String, Object>> {
    static OWN: OnceLock<BTreeMap<String, Object>> = OnceLock::new();
    if let Some(own) = OWN.get() {
        return Ok(own);
    }
    let template = Connection::open_in_memory()?;
    template.execute_batch(TABLES)?;
    let own = objects(&template)?;
    Ok(OWN.get_or_init(|| own))
}

/// All of a database, by name, but for what `ANALYZE` writes: it only changes which way is the shortest.
fn objects(connection: &Connection) -> rusqlite::Result<BTreeMap<String, Object>> {
    let mut statement = connection.prepare("SELECT name, type, tbl_name, sql FROM sqlite_schema")?;
    let rows = statement.query_map([], |row| {
        let sql: Option<String> = row.get(3)?;
        Ok((row.get::<_, String>(0)?, Object { kind: row.get(1)?, table: row.get(2)?, sql: sql.map(|sql| bare(&sql)) }))
    })?;
    let own = |row: &rusqlite::Result<(String, Object)>| {
        !row.as_ref().is_ok_and(|(name, object)| object.kind == "table" && name.starts_with("sqlite_stat"))
    };
    rows.filter(own).collect()
}

fn bare(sql: &str) -> String {
    let lines = sql.lines().map(|line| line.split_once("--").map_or(line, |(before, _)| before));
    lines.flat_map(str::chars).filter(|char| !char.is_whitespace()).collect()
}
