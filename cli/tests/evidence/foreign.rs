//! Stores with more in them than a collector makes. Views and triggers are programs of whoever wrote the file: they can give other rows each
//! time they are asked, change what is written, or never end.

use crate::stores::two_boots;
use exeat_cli::audit::erase::erase;
use exeat_cli::audit::store::EvidenceStore;
use exeat_cli::collect::store::Store;
use rusqlite::Connection;

/// Name and statements; the first line of what is said of it.
const CASES: [(&str, &str, &str); 7] = [
    (
        "rows that change from one reading to the next",
        "ALTER TABLE leaves RENAME TO hidden;
         CREATE VIEW leaves AS SELECT log, position, iif(random() % 2, line, CAST('{}' AS BLOB)) AS line FROM hidden",
        "hidden",
    ),
    (
        "rows without end",
        "DROP TABLE forks;
         CREATE VIEW forks AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n)
           SELECT id, '' AS origin, CAST('' AS BLOB) AS note FROM n",
        "forks",
    ),
    (
        "a trigger that forgets",
        "CREATE TRIGGER forget AFTER INSERT ON leaves BEGIN DELETE FROM openings; END",
        "forget",
    ),
    (
        "columns that are computed",
        "DROP TABLE forwarded;
         CREATE TABLE forwarded (log INTEGER PRIMARY KEY, checkpoint INTEGER AS (log + 1), size INTEGER NOT NULL) STRICT",
        "forwarded",
    ),
    ("a constraint that was taken away", "DROP TABLE pruned; CREATE TABLE pruned (log, size, nodes)", "pruned"),
    ("an index that another orders", "DROP INDEX checkpoints_in_order; CREATE INDEX checkpoints_in_order ON checkpoints (log, time)", "checkpoints_in_order"),
    ("a table that is missing", "DROP TABLE openings", "openings"),
];

#[test]
fn a_store_is_made_of_its_tables_and_nothing_else() {
    let base = two_boots();
    let whole = base.dir.path().join("evidence.db");
    for (name, statements, object) in CASES {
        let file = base.dir.path().join("foreign.db");
        std::fs::copy(&whole, &file).unwrap();
        let db = Connection::open(&file).unwrap();
        db.execute_batch("PRAGMA foreign_keys = off").unwrap();
        db.execute_batch(statements).unwrap();
        drop(db);
        let refused = [
            EvidenceStore::open(&file).map(drop),
            Store::open(&file).map(drop),
            erase(&file, "u-7", None, true).map(drop),
        ];
        for refused in refused {
            let said = format!("{:#}", refused.expect_err(name));
            assert!(said.contains(&format!("{object:?}")) && said.contains("no collector makes"), "{name}: {said}");
        }
    }
}

/// What SQLite keeps for itself, and what tools write otherwise, is no reason to refuse a store.
#[test]
fn what_sqlite_itself_adds_does_no_harm() {
    let base = two_boots();
    let file = base.dir.path().join("evidence.db");
    let db = Connection::open(&file).unwrap();
    db.execute_batch("ANALYZE; VACUUM").unwrap();
    // As `sqlite3 .dump` and an upgrade from version 1 leave it: the same tables in other words.
    let sql: String =
        db.query_row("SELECT sql FROM sqlite_schema WHERE name = 'pruned'", [], |row| row.get(0)).unwrap();
    db.execute_batch(&format!("DROP TABLE pruned; {}", sql.replace('\n', " ").replace("  ", "\t"))).unwrap();
    drop(db);
    EvidenceStore::open(&file).unwrap();
    Store::open(&file).unwrap();
}
