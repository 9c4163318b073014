//! `exeat audit erase`: forgets a person. Openings go; leaves, and so every proof, stay.

use super::StoreArgs;
use super::view::RecordView;
use crate::collect::schema::{self, Kind};
use crate::terminal::Out;
use anyhow::{Context as _, bail};
use exeat_engine::evidence::Opening;
use exeat_engine::evidence::line::display;
use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

/// Arguments of `exeat audit erase`.
#[derive(Debug, clap::Args)]
pub struct EraseArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// The natural person, exactly as contexts name them.
    #[arg(long, value_name = "USER", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    user: String,
    /// Only in records of this tenant: two tenants may give the same name to two persons.
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// Say what would go, and change nothing.
    #[arg(long)]
    dry_run: bool,
}

/// What went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Records that no longer tell who it was.
    pub records: u64,
    /// Openings of them, those of other personal fields included.
    pub openings: u64,
    /// Records that name that person under another tenant, and were left as they are.
    pub elsewhere: u64,
}

/// Runs `exeat audit erase`.
pub fn run(args: &EraseArgs) -> anyhow::Result<()> {
    let erased = erase(&args.store.db, &args.user, args.tenant.as_deref(), args.dry_run)?;
    let mut out = Out::new();
    let (verb, place) = (if args.dry_run { "would erase" } else { "erased" }, args.store.db.display());
    if erased.records == 0 && erased.elsewhere == 0 {
        // No failure: of several stores some never knew the person. But whoever misspelt a name must see it.
        writeln!(
            out,
            "no record of {place} has an opening that names {}: nothing {}erased. Names are compared exactly, case too",
            display(&args.user),
            if args.dry_run { "would be " } else { "was " }
        )?;
        return Ok(());
    }
    writeln!(
        out,
        "{verb} {} from {} records of {place} ({} openings); every proof still holds",
        display(&args.user),
        erased.records,
        erased.openings
    )?;
    if erased.elsewhere > 0 {
        // Where tenants are masked, nothing else tells that the person is still there.
        writeln!(
            out,
            "{} more records name {} without that tenant and stay: the tenant may be another, or masked; then give its hash, or \
             leave --tenant out",
            erased.elsewhere,
            display(&args.user)
        )?;
    }
    if !args.dry_run {
        writeln!(
            out,
            "not reached from here: backups of the store, bundles that were written, other collectors, relays"
        )?;
    }
    Ok(())
}

/// Deletes the openings of every record that names the person, also those of other fields: a stated reason may name them too.
/// What is deleted is overwritten in the file and in the write-ahead log.
pub fn erase(file: &Path, user: &str, tenant: Option<&str>, dry_run: bool) -> anyhow::Result<Erased> {
    let place = file.display();
    super::store::present(file)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let unwritable = || format!("cannot write {place}: may this user?");
    let mut connection = Connection::open_with_flags(file, flags).with_context(unwritable)?;
    connection.busy_timeout(Duration::from_secs(30))?;
    match schema::kind(&connection).with_context(|| format!("{place} cannot be read as a SQLite database"))? {
        Kind::Store => schema::check(&connection, schema::VERSION).with_context(|| format!("the store {place}"))?,
        Kind::Empty => bail!("{}", super::store::empty(file)),
        Kind::OtherVersion(_) | Kind::Other => bail!("{place} is no evidence store of this version"),
    }
    connection.pragma_update(None, "secure_delete", true)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).with_context(unwritable)?;
    let (mut named, mut elsewhere) = (Vec::new(), 0_u64);
    {
        let mut statement = transaction.prepare(
            "SELECT openings.log, openings.position, openings.line, leaves.line FROM openings
             LEFT JOIN leaves ON leaves.log = openings.log AND leaves.position = openings.position
             WHERE openings.field = 'user'",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let line: Vec<u8> = row.get(2)?;
            let opening = std::str::from_utf8(&line).ok().and_then(|line| Opening::parse(line).ok());
            if opening.is_none_or(|opening| opening.value != user) {
                continue;
            }
            let leaf: Option<Vec<u8>> = row.get(3)?;
            // A record that cannot be read does not keep a person in the store.
            let of_tenant = tenant.is_none_or(|wanted| match leaf.as_deref().and_then(RecordView::parse) {
                Some(RecordView::Decision(decision)) => decision.tenant.as_deref() == Some(wanted),
                _ => true,
            });
            if of_tenant {
                named.push((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
            } else {
                elsewhere = elsewhere.saturating_add(1);
            }
        }
    }
    let mut erased = Erased { records: named.len() as u64, openings: 0, elsewhere };
    for (log, position) in &named {
        let gone =
            transaction.execute("DELETE FROM openings WHERE log = ?1 AND position = ?2", params![log, position])?;
        erased.openings = erased.openings.saturating_add(gone as u64);
    }
    if dry_run {
        return Ok(erased);
    }
    transaction.commit().with_context(unwritable)?;
    // Until then the pages before the change lie in the write-ahead log. A reader may hold them: wait for it, or say so.
    let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy != 0 {
        bail!(
            "the openings are deleted, but another program reads the store, so that their bytes still lie in {place}-wal: \
             run this again when it has ended"
        );
    }
    Ok(erased)
}
