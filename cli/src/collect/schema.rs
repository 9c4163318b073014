//! The tables of an evidence store. They hold the exact bytes that gateways signed: leaves and notes as blobs, so that an
//! auditor checks bytes and not a rendering of them.

use rusqlite::Connection;

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
