//! Holds the module to its size, and says what grew when it is too large.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::module::Module;
use crate::workspace::Workspace;

/// Bytes that target/exeat.wasm may have. It goes down with the module, towards 900 KiB; to raise it takes a reason in
/// docs/performance.md.
pub(crate) const LIMIT: usize = 1_900 * 1024;

/// Fails when the module is larger than [`LIMIT`]. `named` is the module before its names were left out.
pub(crate) fn check(workspace: &Workspace, named: &Module<'_>, bytes: usize) -> Result<()> {
    if bytes <= LIMIT {
        return Ok(());
    }
    let noted = std::fs::read_to_string(note(workspace)).unwrap_or_default();
    let grown = growth(&parse(&noted), &named.sizes()?);
    bail!(
        "the module has {bytes} bytes, {} more than it may ({LIMIT}).\n  Against {NOTE}:\n{grown}\n  Sizes count for the \
         crate a function is written in; docs/performance.md says what makes a module small. What was noted is brought up \
         to date by `cargo xtask wasm --note-size`.",
        bytes - LIMIT
    )
}

/// Writes down what takes how much, for later builds to be compared with.
pub(crate) fn write_note(workspace: &Workspace, named: &Module<'_>) -> Result<()> {
    let lines: String = named.sizes()?.iter().map(|(of, bytes)| format!("{bytes:>8} {of}\n")).collect();
    std::fs::write(note(workspace), lines).with_context(|| format!("cannot write {NOTE}"))
}

const NOTE: &str = "xtask/module-size.txt";

fn note(workspace: &Workspace) -> PathBuf {
    workspace.root().join(NOTE)
}

fn parse(noted: &str) -> BTreeMap<String, usize> {
    let entry =
        |line: &str| line.trim().split_once(' ').and_then(|(bytes, of)| Some((of.to_owned(), bytes.parse().ok()?)));
    noted.lines().filter_map(entry).collect()
}

/// One line for each part that grew, the largest growth first.
fn growth(before: &BTreeMap<String, usize>, now: &BTreeMap<String, usize>) -> String {
    let grew = |(of, now): (&String, &usize)| {
        let before = before.get(of).copied().unwrap_or(0);
        (*now > before).then(|| (now - before, format!("    {of}: {before} -> {now} (+{})", now - before)))
    };
    let mut lines: Vec<(usize, String)> = now.iter().filter_map(grew).collect();
    lines.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    match lines.is_empty() {
        true => "    no part grew".to_owned(),
        false => lines.into_iter().map(|(_, line)| line).collect::<Vec<_>>().join("\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grew_is_named_the_largest_first() {
        let before = parse("  500000 exeat_engine\n   40000 sfv\n  400000 data\n");
        assert_eq!(before.len(), 3);
        let now = parse("500100 exeat_engine\n39000 sfv\n402000 data\n5 new\n");
        let lines = growth(&before, &now);
        let expected =
            "    data: 400000 -> 402000 (+2000)\n    exeat_engine: 500000 -> 500100 (+100)\n    new: 0 -> 5 (+5)";
        assert_eq!(lines, expected);
        assert_eq!(growth(&before, &before), "    no part grew");
    }
}
