//! `exeat audit report`: what an incident is told from: what left, to whom, in response to what, on whose authority, and
//! whether the evidence of it is whole. Markdown, in which nothing that an agent chose can become markup.

use super::StoreArgs;
use super::coverage::Window;
use super::filter::Filter;
use super::list::Row;
use super::report::Group;
use super::store::EvidenceStore;
use super::time;
use super::verify::verify;
use crate::collect::keyring::KeyringArgs;
use crate::terminal::Out;
use anyhow::Context as _;
use exeat_engine::evidence::line::display;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;

/// Arguments of `exeat audit report`.
#[derive(Debug, clap::Args)]
pub struct ReportArgs {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    keys: KeyringArgs,
    #[command(flatten)]
    filter: Filter,
}

/// Runs `exeat audit report`.
pub fn run(args: &ReportArgs) -> anyhow::Result<()> {
    let keys = args.keys.load()?;
    let store = EvidenceStore::open(&args.store.db)?;
    let window = Window::new(args.filter.from, args.filter.to)?;
    let verified = verify(&store, &keys, &window, &[])?;
    let findings = &verified.findings;
    let rows = args.filter.rows(&store, 0).context("the store cannot be read; is it damaged?")?;
    let report = Incident { store: &store, filter: &args.filter, rows: &rows };
    let mut text = String::new();
    report.write(&mut text)?;
    writeln!(text, "\n## Is it complete\n")?;
    if findings.is_empty() {
        let span = match (args.filter.from, args.filter.to) {
            (Some(from), Some(to)) => format!("From {} to {}", time::show(from), time::show(to)),
            (Some(from), None) => format!("From {} on", time::show(from)),
            (None, Some(to)) => format!("Up to {}", time::show(to)),
            (None, None) => "As far as the logs reach".to_owned(),
        };
        writeln!(
            text,
            "{span}, the evidence is whole: every leaf lies under a signed checkpoint, no log has a hole or a fork, and no interval \
             is uncovered, for the gateways whose keys were given ({}). What evidence cannot show stands in docs/evidence.md.",
            gateways(&keys)
        )?;
    } else {
        writeln!(
            text,
            "**No.** `exeat audit verify` finds {}; what is told above may be altered or lack a part:\n",
            findings.len()
        )?;
        for group in Group::alike(findings) {
            writeln!(text, "- {}", code(&group.to_string()))?;
        }
    }
    for group in Group::alike(&verified.notes) {
        writeln!(text, "\nNote: {}", code(&group.to_string()))?;
    }
    Ok(Out::new().write_all(text.as_bytes())?)
}

fn gateways(keys: &crate::collect::keyring::Keyring) -> String {
    let names: BTreeSet<&str> = keys.keys().iter().map(|key| key.name()).collect();
    names.into_iter().map(code).collect::<Vec<_>>().join(", ")
}

struct Incident<'a> {
    store: &'a EvidenceStore,
    filter: &'a Filter,
    rows: &'a [Row],
}

impl Incident<'_> {
    fn write(&self, out: &mut String) -> anyhow::Result<()> {
        writeln!(out, "# Incident report\n\nDecisions with {}.\n", self.asked())?;
        let (left, kept): (Vec<&Row>, Vec<&Row>) = self.rows.iter().partition(|row| row.decision.let_go());
        let open = left.iter().filter(|row| row.completion.is_none()).count();
        let bytes = left.iter().filter_map(|row| row.completion.as_ref());
        let bytes = bytes.fold(0_u64, |sum, completion| sum.saturating_add(completion.forwarded_bytes));
        writeln!(
            out,
            "{} requests left, with {bytes} bytes of body; {open} of them have no record of their end. {} were refused.\n",
            left.len(),
            kept.len()
        )?;
        destinations(out, &left)?;
        writeln!(out, "\n## What left\n")?;
        for row in &left {
            self.exchange(out, row)?;
        }
        if left.is_empty() {
            writeln!(out, "Nothing.\n")?;
        }
        writeln!(out, "## What was refused\n")?;
        let mut reasons: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for row in &kept {
            let host = row.decision.destination.host.as_deref().unwrap_or("-");
            let count = reasons.entry((&row.decision.reason, host)).or_default();
            *count = count.saturating_add(1);
        }
        if reasons.is_empty() {
            writeln!(out, "Nothing.")?;
        } else {
            writeln!(out, "| reason | host | requests |\n|---|---|---|")?;
            for ((reason, host), count) in reasons {
                writeln!(out, "| {} | {} | {count} |", code(reason), code(host))?;
            }
        }
        Ok(())
    }

    fn asked(&self) -> String {
        let Filter { from, to, agent, session, tenant, user, destination, host, outcome, reason } = self.filter;
        let mut asked: Vec<String> = Vec::new();
        asked.extend(from.map(|from| format!("time from {}", time::show(from))));
        asked.extend(to.map(|to| format!("time before {}", time::show(to))));
        for (name, value) in [
            ("agent", agent),
            ("session", session),
            ("tenant", tenant),
            ("user", user),
            ("destination", destination),
            ("host", host),
            ("outcome", outcome),
            ("reason", reason),
        ] {
            asked.extend(value.as_deref().map(|value| format!("{name} {}", code(value))));
        }
        if asked.is_empty() { "any property".to_owned() } else { asked.join(", ") }
    }

    fn exchange(&self, out: &mut String, row: &Row) -> anyhow::Result<()> {
        let decision: Value = serde_json::from_slice(&row.leaf)?;
        let completion: Option<Value> = row.completion_leaf.as_deref().map(serde_json::from_slice).transpose()?;
        let openings = self.openings(row)?;
        let text = |pointer: &str| field(&decision, pointer);
        let person = |name: &str| match (text(&format!("/{name}")), openings.get(name)) {
            (None, _) => None,
            (Some(_), Some(value)) => Some(code(value)),
            (Some(_), None) => Some("(sealed)".to_owned()),
        };
        writeln!(out, "### {} {}\n", time::show(row.decision.time), code(&row.decision.id))?;
        let mut line = |name: &str, value: Option<String>| match value {
            Some(value) => writeln!(out, "- {name}: {value}"),
            None => Ok(()),
        };
        let to = |pointer: &str| text(pointer).unwrap_or_else(|| "-".to_owned());
        line(
            "to",
            Some(format!(
                "{} {}, port {}, path {} (destination {})",
                to("/destination/method"),
                to("/destination/host"),
                to("/destination/port"),
                to("/destination/path"),
                to("/destination/id")
            )),
        )?;
        line("outcome", Some(format!("{} ({}), released {}", to("/outcome"), to("/reason"), to("/released"))))?;
        line("agent", text("/agent"))?;
        line("session", text("/session"))?;
        line("tenant", text("/tenant"))?;
        line("on behalf of", person("user"))?;
        line("handed on by", text("/delegated_by"))?;
        line("tool", text("/tool"))?;
        line("provenance of the content", text("/provenance"))?;
        line("class", text("/data_class"))?;
        line("stated reason", person("stated_reason"))?;
        let key = |pointer: &str| text(pointer).unwrap_or_else(|| "nobody".to_owned());
        line("vouched for by", Some(format!("{}, key {}", key("/signer"), key("/key"))))?;
        line("rule", text("/rule"))?;
        line("exception", text("/exception"))?;
        line("policy", text("/policy/digest").map(|digest| format!("{} {digest}", to("/policy/revision"))))?;
        line("findings", text("/payload/findings"))?;
        match completion {
            Some(completion) => {
                let of = |pointer: &str| field(&completion, pointer).unwrap_or_else(|| "-".to_owned());
                line("what left", Some(format!("{} bytes, {}", of("/forwarded_bytes"), of("/forwarded_digest"))))?;
                line("to the address", field(&completion, "/upstream"))?;
                line("answer", Some(format!("status {}, {} bytes", of("/status"), of("/response_bytes"))))?;
                line("end", field(&completion, "/ending"))?;
            }
            None => line("end", Some("**not recorded**: at most what was released left".to_owned()))?,
        }
        writeln!(out)?;
        Ok(())
    }

    /// Openings of a decision that open it.
    fn openings(&self, row: &Row) -> anyhow::Result<BTreeMap<String, String>> {
        let stored = self.store.openings_of(row.log, row.index)?;
        let opened = stored.iter().filter_map(|stored| stored.opening(&row.leaf));
        Ok(opened.map(|opening| (opening.field, opening.value)).collect())
    }
}

/// To whom: requests, bytes, agents and addresses of each host.
fn destinations(out: &mut String, left: &[&Row]) -> anyhow::Result<()> {
    #[derive(Default)]
    struct To<'a> {
        requests: u64,
        bytes: u64,
        agents: BTreeSet<&'a str>,
        addresses: BTreeSet<String>,
    }
    let mut hosts: BTreeMap<&str, To<'_>> = BTreeMap::new();
    for row in left {
        let to = hosts.entry(row.decision.destination.host.as_deref().unwrap_or("-")).or_default();
        to.requests = to.requests.saturating_add(1);
        to.bytes = to.bytes.saturating_add(row.completion.as_ref().map_or(0, |completion| completion.forwarded_bytes));
        to.agents.extend(row.decision.agent.as_deref());
        let completion = row.completion_leaf.as_deref().and_then(|leaf| serde_json::from_slice::<Value>(leaf).ok());
        to.addresses.extend(completion.and_then(|completion| Some(completion.get("upstream")?.as_str()?.to_owned())));
    }
    writeln!(out, "## To whom\n\n| host | requests | bytes | agents | addresses |\n|---|---|---|---|---|")?;
    for (host, to) in hosts {
        let list = |values: Vec<&str>| values.into_iter().map(code).collect::<Vec<_>>().join(" ");
        let agents = list(to.agents.into_iter().collect());
        let addresses = list(to.addresses.iter().map(String::as_str).collect());
        writeln!(out, "| {} | {} | {} | {agents} | {addresses} |", code(host), to.requests, to.bytes)?;
    }
    Ok(())
}

/// A member of a record for a reader; absent, empty and null are nothing to read.
fn field(record: &Value, pointer: &str) -> Option<String> {
    match record.pointer(pointer)? {
        Value::Null => None,
        Value::String(text) => Some(code(text)),
        Value::Array(list) if list.is_empty() => None,
        Value::Array(list) => {
            let item = |value: &Value| value.as_str().map_or_else(|| code(&value.to_string()), code);
            Some(list.iter().map(item).collect::<Vec<_>>().join(" "))
        }
        other => Some(other.to_string()),
    }
}

/// A code span that its content cannot leave: no backtick, no cell border, no control, nothing that reorders text.
fn code(text: &str) -> String {
    let text = display(text).replace('`', "\\u{0060}").replace('|', "\\u{007c}");
    if text.is_empty() { "` `".to_owned() } else { format!("`{text}`") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_agent_chose_stays_in_its_span() {
        for (text, expected) in [
            ("plain", "`plain`"),
            ("", "` `"),
            ("`[x](http://attacker.example)`", "`\\u{0060}[x](http://attacker.example)\\u{0060}`"),
            ("a|b\nc\u{202e}", "`a\\u{007c}b\\u{000a}c\\u{202e}`"),
        ] {
            assert_eq!(code(text), expected);
        }
    }
}
