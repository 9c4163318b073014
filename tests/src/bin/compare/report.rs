//! Results as text: tables for a terminal and for docs/performance.md, whose generated part stands between two marks.

use super::memory::Memory;
use super::results::{Measured, Results};
use super::statistics::Summary;
use super::verdict::Verdict;
use anyhow::{Context, Result, ensure};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use std::fmt::Write as _;

/// All arms, for a terminal.
pub(crate) fn arms_for_terminal(results: &Results) -> String {
    let mut table = table();
    table.set_header(["arm", "CPU us", "", "adds us", "requests/s", "p50 us", "p99 us", "p99.9 us"]);
    for arm in &results.arms {
        let added = results.added(arm).map_or_else(String::new, |added| format!("{added:+.1}"));
        table.add_row([
            arm.name.clone(),
            format!("{:.1}", arm.cpu.median),
            format!("{:.1} to {:.1}", arm.cpu.low, arm.cpu.high),
            added,
            format!("{:.0}", arm.throughput.median),
            format!("{:.0}", arm.p50.median),
            format!("{:.0}", arm.p99.median),
            format!("{:.0}", arm.p999.median),
        ]);
    }
    right(&mut table);
    table.to_string()
}

/// All ratios, for a terminal; those that are missed say so.
pub(crate) fn verdicts_for_terminal(verdicts: &[Verdict]) -> String {
    let mut table = table();
    table.set_header(["ratio", "found", "", "at most", ""]);
    for verdict in verdicts {
        table.add_row([
            verdict.name.clone(),
            format!("{:.2}", verdict.ratio.median),
            format!("{:.2} to {:.2}", verdict.ratio.low, verdict.ratio.high),
            format!("{:.1}", verdict.most),
            met(verdict).to_owned(),
        ]);
    }
    right(&mut table);
    table.to_string()
}

fn met(verdict: &Verdict) -> &'static str {
    if verdict.is_met() { "met" } else { "MISSED" }
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn right(table: &mut Table) {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

/// The generated part of docs/performance.md.
pub(crate) fn markdown(results: &Results) -> Result<String> {
    let (machine, settings) = (&results.machine, &results.settings);
    let mut text = String::new();
    let kind = if machine.is_virtual { "virtual cores" } else { "cores" };
    writeln!(
        text,
        "{} {kind} of {}, Linux {}, Envoy {}, {}. Medians of {} rounds, quartiles in brackets. {} requests of each arm in each round as \
         fast as answers came, over {} connections, for CPU time and rate (a quarter of them with 64 kB); {} at {} a second for latency. Noise: {}.\n",
        machine.cores,
        machine.processor,
        machine.kernel,
        machine.envoy,
        results.module,
        settings.rounds,
        settings.closed,
        settings.connections,
        settings.open,
        settings.rate,
        results.noise.told(),
    )?;
    writeln!(text, "| arm | CPU us a request | adds | requests a second | p50 us | p99 us | p99.9 us |")?;
    writeln!(text, "|---|---|---|---|---|---|---|")?;
    for arm in &results.arms {
        writeln!(text, "{}", row(results, arm))?;
    }
    text.push_str("\n![CPU time a request](bench/cpu.svg)\n\n![Latency at a fixed rate](bench/latency.svg)\n\n");
    writeln!(text, "| ratio | found | at most | |")?;
    writeln!(text, "|---|---|---|---|")?;
    for verdict in &results.verdicts {
        writeln!(
            text,
            "| {} | {} | {:.1} | {} |",
            verdict.name,
            bracketed(&verdict.ratio, 2),
            verdict.most,
            if verdict.is_met() { "met" } else { "**missed**" }
        )?;
    }
    Ok(text)
}

fn row(results: &Results, arm: &Measured) -> String {
    let added = results.added(arm).map_or_else(String::new, |added| format!("{added:.1}"));
    format!(
        "| {} | {} | {added} | {:.0} | {:.0} | {:.0} | {:.0} |",
        arm.name,
        bracketed(&arm.cpu, 1),
        arm.throughput.median,
        arm.p50.median,
        arm.p99.median,
        arm.p999.median
    )
}

/// The other generated part.
pub(crate) fn memory_markdown(memory: &Memory) -> Result<String> {
    let mib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
    let kib = |bytes: f64| format!("{:.1}", bytes / 1024.0);
    let last = memory.curve.last().context("a curve without points")?;
    let first = memory.curve.first().context("a curve without points")?;
    let (vm_grew, process_grew) = memory.growth().context("a curve without points")?;
    let (held_vm, held_process) = memory.each_held().context("nothing was held")?;
    let mut text = String::new();
    writeln!(
        text,
        "{}, Envoy {}, one worker, MiB. The process is resident memory.\n",
        memory.machine.processor, memory.machine.envoy
    )?;
    writeln!(text, "| | VM of the worker | process |")?;
    writeln!(text, "|---|---|---|")?;
    writeln!(text, "| without the filter | | {} |", mib(memory.without))?;
    for policy in &memory.policies {
        let row = (policy.destinations, mib(policy.vm), mib(policy.process));
        writeln!(text, "| {} destinations | {} | {} |", row.0, row.1, row.2)?;
    }
    writeln!(
        text,
        "\nEach known key beyond the first takes {} KiB of the VM. Each request that is held, with 2 kB of body, takes {} KiB of the VM and {} KiB of \
         the process, its connection included ({} at most were held).\n",
        kib(memory.key),
        kib(held_vm),
        kib(held_process),
        memory.held.iter().map(|held| held.requests).max().unwrap_or(0),
    )?;
    writeln!(
        text,
        "Over {} requests the VM went from {} to {} MiB and the process from {} to {} MiB; over the second half of them by {:+.2} % and {:+.2} % (straight line \
         of least squares): {}.\n\n![Memory over requests](bench/memory.svg)",
        last.requests,
        mib(first.vm),
        mib(last.vm),
        mib(first.process),
        mib(last.process),
        vm_grew * 100.0,
        process_grew * 100.0,
        if memory.is_flat() { "flat" } else { "**not flat**" },
    )?;
    Ok(text)
}

fn bracketed(summary: &Summary, digits: usize) -> String {
    let Summary { median, low, high } = summary;
    format!("{median:.digits$} ({low:.digits$} to {high:.digits$})")
}

/// Puts text between the two marks of a section, in place of what stands there.
pub(crate) fn replace_section(document: &str, section: &str, text: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- {section}: begin -->\n"), format!("<!-- {section}: end -->"));
    let marks = || format!("the document has not exactly one pair of marks {begin:?} and {end:?}");
    let (before, rest) = document.split_once(&begin).with_context(marks)?;
    let (_, after) = rest.split_once(&end).with_context(marks)?;
    ensure!(!after.contains(&begin), marks());
    Ok(format!("{before}{begin}\n{}\n\n{end}{after}", text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{memory, results};

    #[test]
    fn the_section_between_the_marks_is_replaced_and_nothing_else() {
        let document = "# a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n";
        let new = replace_section(document, "x", "new\n").unwrap();
        assert_eq!(new, "# a\n<!-- x: begin -->\n\nnew\n\n<!-- x: end -->\nb\n");
        assert_eq!(replace_section(&new, "x", "new").unwrap(), new);
        for broken in ["", "<!-- x: begin -->\n", "<!-- x: end --><!-- x: begin -->\n"] {
            assert!(replace_section(broken, "x", "new").is_err(), "{broken:?}");
        }
        assert!(replace_section(&format!("{document}{document}"), "x", "new").is_err());
    }

    #[test]
    fn every_arm_and_every_ratio_is_told() {
        let results = results();
        let (terminal, text) = (arms_for_terminal(&results), markdown(&results).unwrap());
        for arm in &results.arms {
            assert!(terminal.contains(&arm.name) && text.contains(&format!("| {} |", arm.name)), "{text}");
        }
        assert!(text.contains("| exeat | 80.0 (79.0 to 81.0) | 60.0 | 9000 | 150 | 300 | 900 |"), "{text}");
        assert!(text.contains("| one | 0.60 (0.59 to 0.61) | 0.7 | met |"), "{text}");
        assert!(text.contains("| two | 1.60 (1.59 to 1.61) | 1.5 | **missed** |"), "{text}");
        let verdicts = verdicts_for_terminal(&results.verdicts);
        assert!(verdicts.contains("MISSED") && verdicts.contains("met"), "{verdicts}");
        for word in ["an EPYC", "Linux 6.18.0", "Envoy 1.40.0", "stolen 0.1 %"] {
            assert!(text.contains(word), "{word}: {text}");
        }
    }

    #[test]
    fn memory_is_told_in_units_that_people_know() {
        let text = memory_markdown(&memory()).unwrap();
        for words in
            ["| 100000 destinations | 44.0 | 200.0 |", "takes 214.8 KiB of the VM", "Over 1000000 requests", ": flat."]
        {
            assert!(text.contains(words), "{words}: {text}");
        }
        let mut empty = memory();
        empty.curve.clear();
        assert!(memory_markdown(&empty).is_err());
    }

    #[test]
    fn the_page_has_the_place_for_it() {
        let page = std::fs::read_to_string(exeat_e2e::workspace().join("docs/performance.md")).unwrap();
        for section in crate::SECTIONS {
            replace_section(&page, section, "text").unwrap();
        }
    }
}
