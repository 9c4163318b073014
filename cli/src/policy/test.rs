//! `exeat policy test`: the cases beside a policy, and what differed.

use super::diagnostic::Diagnostic;
use super::load::Loaded;
use super::load_or_explain;
use super::rehearsal::{Case, Coverage, Observed, Rehearsal, coverage, read_cases};
use crate::terminal::{print, say};
use anyhow::{Context as _, bail};
use clap::Args;
use exeat_engine::facts::Timestamp;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Arguments of `exeat policy test`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  exeat policy test policies/support-summarizer/policy

reads policies/support-summarizer/gateway.yaml and policies/support-summarizer/tests.yaml.")]
pub(super) struct TestArgs {
    /// The policy folder.
    folder: PathBuf,
    /// The gateway document; gateway.yaml beside the folder unless given.
    #[arg(long)]
    gateway: Option<PathBuf>,
    /// The environment; without it, that which the gateway document names.
    #[arg(long, value_name = "NAME")]
    env: Option<String>,
    /// Test file; repeat for more. tests.yaml and *.test.yaml beside the folder unless given.
    #[arg(long, value_name = "FILE")]
    tests: Vec<PathBuf>,
    /// Only the cases whose name contains this.
    filter: Option<String>,
    /// Say which rules no case showed to hold.
    #[arg(long)]
    coverage: bool,
    /// Print every case.
    #[arg(short, long, conflicts_with = "json")]
    verbose: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Write the results as JUnit XML to this file, besides.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// A case that was played.
struct Played {
    case: Case,
    observed: Option<Observed>,
    differences: Vec<String>,
}

/// Runs `exeat policy test`; an error where a case does not come out as it says.
pub(super) fn run(args: &TestArgs) -> anyhow::Result<()> {
    let gateway = args.gateway.clone().or_else(|| beside(&args.folder, "gateway.yaml"));
    let loaded = load_or_explain(&args.folder, gateway.as_deref(), args.env.as_deref())?;
    let mut cases = read_all(&test_files(args)?)?;
    let all = cases.len();
    if let Some(filter) = &args.filter {
        cases.retain(|case| case.name.contains(filter));
    }
    if cases.is_empty() {
        match &args.filter {
            Some(filter) => bail!("none of the {all} cases has {filter:?} in its name"),
            None => bail!("the test files have no cases"),
        }
    }
    let rehearsal = Rehearsal::new(&loaded)?;
    let now = super::now();
    let mut covered = Coverage::default();
    let played: Vec<Played> = cases.into_iter().map(|case| play(&rehearsal, case, now, &mut covered)).collect();
    let failed = played.iter().filter(|played| !played.differences.is_empty()).count();
    let uncovered: Vec<_> = coverage::rules(&loaded).into_iter().filter(|rule| !covered.covers(rule)).collect();
    if let Some(file) = &args.junit {
        crate::files::write_whole(file, junit(&played).as_bytes())?;
    }
    if args.json {
        print(&format!("{:#}\n", report(&loaded, &played, &uncovered)))?;
    } else {
        for played in played.iter().filter(|played| args.verbose || !played.differences.is_empty()) {
            print(&lines(played))?;
        }
        if args.coverage {
            for rule in &uncovered {
                print(&format!("{}: no case shows {} to hold\n", rule.location, rule.name.escape_debug()))?;
            }
        }
        let rules = if args.coverage { format!("; {} rules not shown", uncovered.len()) } else { String::new() };
        print(&format!("{} cases, {failed} not as expected{rules}\n", played.len()))?;
    }
    match failed {
        0 => Ok(()),
        1 => bail!("1 case is not as expected"),
        failed => bail!("{failed} cases are not as expected"),
    }
}

fn play(rehearsal: &Rehearsal, case: Case, now: Timestamp, covered: &mut Coverage) -> Played {
    match rehearsal.play(&case, now) {
        Ok(observed) => {
            covered.add(&observed);
            let differences = case.expect.differences(&observed);
            Played { case, observed: Some(observed), differences }
        }
        Err(error) => Played { case, observed: None, differences: vec![format!("{error:#}")] },
    }
}

/// A file beside the policy folder, where there is one.
pub(crate) fn beside(folder: &Path, name: &str) -> Option<PathBuf> {
    // `policy/` and `.` have a parent only once they are whole paths.
    let whole = std::fs::canonicalize(folder).ok()?;
    let relative = match folder.file_name() {
        Some(_) => folder.parent().map(Path::to_owned),
        None => None,
    };
    let file = relative.or_else(|| whole.parent().map(Path::to_owned))?.join(name);
    file.exists().then_some(file)
}

fn test_files(args: &TestArgs) -> anyhow::Result<Vec<PathBuf>> {
    if !args.tests.is_empty() {
        return Ok(args.tests.clone());
    }
    let mut files: Vec<PathBuf> = beside(&args.folder, "tests.yaml").into_iter().collect();
    if let Some(folder) = beside(&args.folder, "") {
        let entries = std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let mut more: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        more.retain(|path| path.to_string_lossy().ends_with(".test.yaml"));
        more.sort();
        files.extend(more);
    }
    match files.is_empty() {
        true => {
            bail!("no test file beside {}; write tests.yaml there, or name one with --tests", args.folder.display())
        }
        false => Ok(files),
    }
}

fn read_all(files: &[PathBuf]) -> anyhow::Result<Vec<Case>> {
    let (mut cases, mut errors): (Vec<Case>, Vec<Diagnostic>) = (Vec::new(), Vec::new());
    for file in files {
        match read_cases(file) {
            Ok(read) => cases.extend(read),
            Err(wrong) => errors.extend(wrong),
        }
    }
    for error in &errors {
        say!("{error}");
    }
    match errors.len() {
        0 => Ok(cases),
        1 => bail!("the test files have an error"),
        count => bail!("the test files have {count} errors"),
    }
}

fn lines(played: &Played) -> String {
    let Played { case, observed, differences } = played;
    let name = case.name.escape_debug();
    if differences.is_empty() {
        let came = observed.as_ref().map(Observed::line).unwrap_or_default();
        return format!("ok: {name}: {came}\n");
    }
    let mut text = String::new();
    for difference in differences {
        let _ = writeln!(text, "{}: {name}: {difference}", case.location);
    }
    text
}

fn report(loaded: &Loaded, played: &[Played], uncovered: &[coverage::WrittenRule]) -> Value {
    let case = |played: &Played| {
        let observed = played.observed.as_ref();
        json!({
            "name": played.case.name,
            "at": played.case.location.to_string(),
            "passed": played.differences.is_empty(),
            "differences": played.differences,
            "outcome": observed.map(|o| &o.outcome),
            "reason": observed.map(|o| &o.reason),
            "rule": observed.and_then(|o| o.rule.as_ref()),
            "condition": observed.and_then(|o| o.condition.as_ref()),
            "destination": observed.and_then(|o| o.destination.as_ref()),
            "status": observed.and_then(|o| o.status),
        })
    };
    let rule = |rule: &coverage::WrittenRule| json!({"rule": rule.name, "at": rule.location.to_string()});
    json!({
        "policy": loaded.configuration.policy().digest(),
        "failed": played.iter().filter(|played| !played.differences.is_empty()).count(),
        "cases": played.iter().map(case).collect::<Vec<_>>(),
        "rules_not_shown": uncovered.iter().map(rule).collect::<Vec<_>>(),
    })
}

/// One suite, as build servers read it.
fn junit(played: &[Played]) -> String {
    let failed = played.iter().filter(|played| !played.differences.is_empty()).count();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"exeat policy test\" tests=\"{}\" failures=\"{failed}\">\n",
        played.len()
    );
    for Played { case, differences, .. } in played {
        let name = xml(&case.name);
        let file = xml(&case.location.file.display().to_string());
        let _ = write!(text, "  <testcase name=\"{name}\" classname=\"{file}\"");
        match differences.is_empty() {
            true => text.push_str("/>\n"),
            false => {
                let _ = writeln!(text, "><failure message=\"{}\"/></testcase>", xml(&differences.join("; ")));
            }
        }
    }
    text.push_str("</testsuite>\n");
    text
}

/// Text in an attribute. Controls, which XML cannot hold, are escaped as in a terminal.
fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            control if control.is_control() => escaped.extend(control.escape_debug()),
            other => escaped.push(other),
        }
    }
    escaped
}
