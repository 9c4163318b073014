//! `exeat audit prove` writes the bundle of a decision; `exeat audit check` checks one offline, without a database.

use super::StoreArgs;
use super::bundle::{Bundle, CheckedBundle, FORMAT, ProvenLeaf, policy};
use super::list::{Row, rows};
use super::store::EvidenceStore;
use super::time;
use super::view::RecordView;
use crate::collect::keyring::KeyringArgs;
use crate::files::write_new;
use crate::terminal::{Out, print};
use anyhow::{Context as _, bail};
use exeat_engine::evidence::line::{display, to_line, to_pretty};
use exeat_engine::evidence::merkle::suffix::Suffix;
use exeat_engine::evidence::{Hash, Opening, TlogProof, UnverifiedCheckpoint};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

/// Arguments of `exeat audit prove`.
#[derive(Debug, clap::Args)]
pub struct ProveArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Id of the decision, or its first digits (8 at least).
    #[arg(value_name = "ID")]
    id: String,
    /// Where to write the bundle; standard output unless given. A file that is there is left alone.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Leave personal fields sealed: the bundle then proves that there was a person, not who.
    #[arg(long)]
    sealed: bool,
}

/// Arguments of `exeat audit check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// The bundle; `-` for standard input.
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
    #[command(flatten)]
    keys: KeyringArgs,
    /// What is proven, as JSON.
    #[arg(long)]
    json: bool,
}

/// A bundle is some kilobytes; whatever is larger is none.
const MAX_BUNDLE: u64 = 8 * 1024 * 1024;

/// The decision whose id begins so, when it is the only one.
pub fn find(store: &EvidenceStore, id: &str, file: &Path) -> anyhow::Result<Row> {
    if id.len() < 8 {
        bail!("{id:?} is too short for an id: give 8 digits at least");
    }
    let found =
        rows(store, |decision| decision.id.starts_with(id), 0).context("the store cannot be read; is it damaged?")?;
    match <[Row; 1]>::try_from(found) {
        Ok([row]) => Ok(row),
        Err(none) if none.is_empty() => bail!("no decision {id} in {}", file.display()),
        Err(several) => bail!("{} decisions begin with {id}: give more digits", several.len()),
    }
}

/// Runs `exeat audit prove`.
pub fn prove(args: &ProveArgs) -> anyhow::Result<()> {
    let store = EvidenceStore::open(&args.store.db)?;
    let row = find(&store, &args.id, &args.store.db)?;
    let bundle = bundle(&store, &row, args.sealed)?;
    let text = to_pretty(&bundle)?;
    match &args.output {
        None => print(&format!("{text}\n"))?,
        Some(file) => {
            write_new(file, &text, false)?;
        }
    }
    Ok(())
}

/// Makes the bundle of a decision: genesis, configuration, decision and completion under one checkpoint.
pub fn bundle(store: &EvidenceStore, row: &Row, sealed: bool) -> anyhow::Result<Bundle> {
    let decided = std::str::from_utf8(&row.leaf).context("the decision is not UTF-8")?;
    let (policy_digest, id) = (policy(decided), &row.decision.id);
    let (mut hashes, mut kept, mut config) = (Vec::new(), Vec::new(), None);
    let gone = store.pruned(row.log)?;
    store.leaves::<anyhow::Error>(row.log, |index, line| {
        let position = u64::try_from(index)?;
        let next = gone.size().saturating_add(hashes.len() as u64);
        if position != next {
            bail!("leaf {next} of {} is missing: run `exeat audit verify`", row.origin);
        }
        hashes.push(Hash::of_leaf(line));
        let keep = match RecordView::parse(line) {
            Some(RecordView::Genesis(_)) => position == 0,
            Some(RecordView::Config {}) if index < row.index => {
                let text = std::str::from_utf8(line).unwrap_or_default();
                if policy(text) == policy_digest {
                    config = Some((position, text.to_owned()));
                }
                false
            }
            Some(RecordView::Decision(_)) => index == row.index,
            Some(RecordView::Completion(completion)) => completion.decision == *id,
            _ => false,
        };
        if keep {
            kept.push((position, String::from_utf8(line.to_vec()).context("a record is not UTF-8")?));
        }
        Ok(true)
    })?;
    kept.extend(config);
    kept.sort_unstable_by_key(|(index, _)| *index);
    let last = kept.last().map_or(0, |(index, _)| *index);
    let tree = Suffix { beginning: &gone, leaves: &hashes };
    let (size, note) = checkpoint(store, row, last, tree)?;
    let leaves = kept.into_iter().map(|(index, line)| {
        let path = tree.inclusion(index, size).context("a leaf that is not in the tree")?;
        Ok(ProvenLeaf { line, proof: TlogProof { index, path, checkpoint: &note }.to_string() })
    });
    let leaves = leaves.collect::<anyhow::Result<_>>()?;
    Ok(Bundle { format: FORMAT.to_owned(), decision: id.clone(), leaves, openings: openings(store, row, sealed)? })
}

/// The first checkpoint that seals all of it, and whose root the leaves give.
fn checkpoint(store: &EvidenceStore, row: &Row, last: u64, tree: Suffix<'_>) -> anyhow::Result<(u64, String)> {
    for stored in store.checkpoints(row.log)? {
        let Ok(note) = UnverifiedCheckpoint::parse(&stored.note) else { continue };
        let head = &note.claimed().head;
        if head.size <= last || head.origin.as_str() != row.origin {
            continue;
        }
        if tree.root(head.size) == Some(head.root) {
            return Ok((head.size, String::from_utf8(stored.note.clone())?));
        }
        bail!(
            "the leaves of {} do not give the root of the checkpoint of size {}: the store was changed; run `exeat audit verify`",
            display(&row.origin),
            head.size
        );
    }
    bail!(
        "no checkpoint seals leaf {last} of {} yet: wait for the gateway's next one (30 s), or run `exeat audit verify`",
        display(&row.origin)
    )
}

fn openings(store: &EvidenceStore, row: &Row, sealed: bool) -> anyhow::Result<Vec<Opening>> {
    if sealed {
        return Ok(Vec::new());
    }
    let mut openings = Vec::new();
    for stored in store.openings_of(row.log, row.index)? {
        match stored.opening(&row.leaf) {
            Some(opening) => openings.push(opening),
            None => bail!(
                "the opening stored for {:?} does not open the decision: run `exeat audit verify`, or leave openings out with --sealed",
                stored.field
            ),
        }
    }
    Ok(openings)
}

/// Runs `exeat audit check`.
pub fn check(args: &CheckArgs) -> anyhow::Result<()> {
    let keys = args.keys.load()?;
    let place = args.bundle.display();
    let mut bytes = Vec::new();
    let read = if args.bundle == Path::new("-") {
        std::io::stdin().lock().take(MAX_BUNDLE).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(&args.bundle).and_then(|file| file.take(MAX_BUNDLE).read_to_end(&mut bytes))
    };
    read.with_context(|| format!("cannot read the bundle {place}"))?;
    let refused = || format!("{place} proves nothing");
    let bundle = Bundle::parse(&bytes).with_context(refused)?;
    let checked = bundle.check(keys.keys()).with_context(refused)?;
    let mut out = Out::new();
    if args.json {
        writeln!(out, "{}", json(&checked)?)?
    } else {
        write!(out, "{}", text(&checked)?)?
    }
    Ok(())
}

fn json(checked: &CheckedBundle) -> anyhow::Result<String> {
    let value = |line: &str| serde_json::from_str::<serde_json::Value>(line);
    Ok(to_line(&serde_json::json!({
        "log": checked.origin,
        "size": checked.sealed.0,
        "sealed": checked.sealed.1,
        "leaf": checked.decision.index,
        "genesis": checked.genesis.as_ref().map(|leaf| value(&leaf.line)).transpose()?,
        "config": checked.config.as_ref().map(|leaf| &leaf.record),
        "decision": value(&checked.decision.line)?,
        "completion": checked.completion.as_ref().map(|leaf| value(&leaf.line)).transpose()?,
        "openings": checked.openings.iter().map(|opening| (opening.field.clone(), opening.value.clone().into()))
            .collect::<serde_json::Map<_, _>>(),
    }))?)
}

/// What is proven, for a person. What an agent chose is escaped.
fn text(checked: &CheckedBundle) -> anyhow::Result<String> {
    use std::fmt::Write as _;
    let mut out = String::new();
    let (decision, gateway) = (&checked.decision, checked.origin.gateway());
    let (size, sealed) = checked.sealed;
    let pretty =
        |line: &str| -> anyhow::Result<String> { Ok(to_pretty(&serde_json::from_str::<serde_json::Value>(line)?)?) };
    writeln!(out, "proven      leaf {} of log {}", decision.index, display(checked.origin.as_str()))?;
    writeln!(out, "signed by   gateway {}, {} leaves, {}", display(gateway), size, time::show(sealed))?;
    match &checked.genesis {
        Some(genesis) => writeln!(out, "genesis     {}", pretty(&genesis.line)?)?,
        None => writeln!(out, "genesis     not in the bundle: which module ran is not shown")?,
    }
    match &checked.config {
        Some(config) => writeln!(out, "config      {}", pretty(&config.line)?)?,
        None => writeln!(out, "config      not in the bundle")?,
    }
    writeln!(out, "decision    {}", pretty(&decision.line)?)?;
    match &checked.completion {
        Some(completion) => writeln!(out, "completion  {}", pretty(&completion.line)?)?,
        None if decision.record.let_go() => {
            writeln!(out, "completion  not in the bundle: what of it left is not shown")?;
        }
        None => writeln!(out, "completion  none: nothing was let go")?,
    }
    for opening in &checked.openings {
        writeln!(out, "opening     {} = {}", display(&opening.field), display(&opening.value))?;
    }
    Ok(out)
}
