//! `exeat audit top`: decisions counted by what they have in common.

use super::StoreArgs;
use super::filter::Filter;
use super::list::{Row, user};
use super::store::EvidenceStore;
use crate::terminal::Out;
use anyhow::{Context as _, bail};
use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use exeat_engine::evidence::line::{display, to_line};
use exeat_engine::policy::node::Node;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Arguments of `exeat audit top`.
#[derive(Debug, clap::Args)]
pub struct TopArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// What to count by.
    #[arg(long, value_enum, default_value_t = By::Agent)]
    by: By,
    /// Folder of the policy, which names the owners of destinations. Needed with --by owner.
    #[arg(long, value_name = "FOLDER")]
    policy: Option<PathBuf>,
    /// The first so many; 0 for all.
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Lines of JSON instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    filter: Filter,
}

/// What decisions are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// The agent.
    Agent,
    /// The session.
    Session,
    /// The tenant.
    Tenant,
    /// The natural person, where the opening is stored.
    User,
    /// The destination's id in the policy.
    Destination,
    /// The host.
    Host,
    /// Whom the policy names as owner of the destination.
    Owner,
    /// The reason.
    Reason,
    /// The rule.
    Rule,
}

/// Counts of one value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Denials, those of monitor mode included.
    pub denied: u64,
    /// Decisions that allowed.
    pub allowed: u64,
    /// Bytes of bodies that left.
    pub bytes: u64,
    /// The newest.
    pub last: u64,
}

/// Runs `exeat audit top`.
pub fn run(args: &TopArgs) -> anyhow::Result<()> {
    let owners = match (&args.policy, args.by) {
        (Some(folder), _) => owners(folder)?,
        (None, By::Owner) => {
            bail!("records do not name owners: give the folder of the policy that does, with --policy")
        }
        (None, _) => BTreeMap::new(),
    };
    let store = EvidenceStore::open(&args.store.db)?;
    let unreadable = "the store cannot be read; is it damaged?";
    let mut counts: BTreeMap<String, Count> = BTreeMap::new();
    for row in args.filter.rows(&store, 0).context(unreadable)? {
        let value = value(args.by, &store, &row, &owners).context(unreadable)?;
        let count = counts.entry(value.unwrap_or_else(|| "-".to_owned())).or_default();
        let which = if row.decision.outcome == "allow" { &mut count.allowed } else { &mut count.denied };
        *which = which.saturating_add(1);
        count.last = count.last.max(row.decision.time);
        count.bytes = count.bytes.saturating_add(row.completion.map_or(0, |completion| completion.forwarded_bytes));
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| (std::cmp::Reverse((count.denied, count.allowed)), count.last));
    counts.truncate(if args.limit == 0 { usize::MAX } else { args.limit });
    let mut out = Out::new();
    let by = args.by.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
    if args.json {
        for (value, Count { denied, allowed, bytes, last }) in &counts {
            let line = serde_json::json!({
                "by": by, "value": value, "denied": denied, "allowed": allowed, "bytes": bytes, "last": last
            });
            writeln!(out, "{}", to_line(&line)?)?;
        }
    } else if counts.is_empty() {
        writeln!(out, "no decision fits")?;
    } else {
        let mut table = Table::new();
        let heads = [by.as_str(), "denied", "allowed", "bytes", "last"];
        table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(heads);
        for (value, Count { denied, allowed, bytes, last }) in &counts {
            let [denied, allowed, bytes] = [denied, allowed, bytes].map(u64::to_string);
            table.add_row([display(value).into_owned(), denied, allowed, bytes, super::time::show(*last)]);
        }
        writeln!(out, "{table}")?;
    }
    Ok(())
}

fn value(
    by: By,
    store: &EvidenceStore,
    row: &Row,
    owners: &BTreeMap<String, String>,
) -> rusqlite::Result<Option<String>> {
    let decision = &row.decision;
    Ok(match by {
        By::Agent => decision.agent.clone(),
        By::Session => decision.session.clone(),
        By::Tenant => decision.tenant.clone(),
        By::User => user(store, row)?,
        By::Destination => decision.destination.id.clone(),
        By::Host => decision.destination.host.clone(),
        By::Owner => decision.destination.id.as_ref().and_then(|id| owners.get(id)).cloned(),
        By::Reason => Some(decision.reason.clone()),
        By::Rule => decision.rule.clone(),
    })
}

/// Whom a policy names as owners, by destination.
fn owners(folder: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let loaded = crate::policy::load::load_all(folder, None).map_err(|diagnostics| {
        let first = diagnostics.first().map(ToString::to_string).unwrap_or_default();
        anyhow::anyhow!("the policy {} cannot be read; `exeat policy check` says more: {first}", folder.display())
    })?;
    // Of any environment: all have the same destinations.
    let destinations = loaded.first().and_then(|loaded| loaded.policy.get("destinations"));
    let Some(Node::Map(destinations)) = destinations else { return Ok(BTreeMap::new()) };
    let owner = |(id, destination): &(String, Node)| match destination.get("owner") {
        Some(Node::Text(owner)) => Some((id.clone(), owner.clone())),
        _ => None,
    };
    Ok(destinations.iter().filter_map(owner).collect())
}
