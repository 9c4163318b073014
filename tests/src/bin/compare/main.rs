//! `cargo xtask bench` runs this: Exeat beside other filters and no filter, on the real Envoy, in one run. docs/performance.md
//! says what the numbers mean; this writes its tables and pictures.
//!
//! - [`arms`]: what is measured
//! - [`stands`], [`rivals`], [`modules`]: the gateways
//! - [`requests`], [`load`], [`http1`], [`upstream`]: what goes through them
//! - [`run`], [`memory`], [`machine`]: the measurements
//! - [`statistics`], [`noise`], [`verdict`]: what it shows
//! - [`results`], [`report`], [`plot`]: what is kept of it

mod arms;
mod http1;
mod load;
mod machine;
mod memory;
mod modules;
mod noise;
mod plot;
mod report;
mod requests;
mod results;
mod rivals;
mod run;
#[cfg(test)]
mod sample;
mod stands;
mod statistics;
mod upstream;
mod verdict;

use anyhow::{Context, Result, bail, ensure};
use memory::Memory;
use results::{Results, Settings};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use std::process::ExitCode;

/// Sections of docs/performance.md that are written here.
const SECTIONS: [&str; 2] = ["side by side", "memory"];

const USAGE: &str = "usage: compare [--check] [--quick] | --arms ID,... | --memory | --render
  (nothing)  measures, and writes docs/bench/results.json, its pictures, and the tables of docs/performance.md
  --check    measures, writes nothing, and fails where a ratio is missed
  --quick    measures less, writes nothing, and does not mind noise
  --arms     measures these beside those without a filter, writes nothing, and minds no noise; with EXEAT_WASM_BESIDE=FILE,
             each of Exeat's with that module as well
  --memory   measures memory instead, and writes docs/bench/memory.json and what belongs to it; with --quick less, writing nothing
  --render   writes pictures and tables anew from what docs/bench has";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, ids] = arguments.as_slice()
        && flag == "--arms"
    {
        return ended(try_arms(ids));
    }
    let known = ["--check", "--quick", "--memory", "--render"];
    if arguments.iter().any(|argument| !known.contains(&argument.as_str())) {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    ended(match (has("--render"), has("--memory")) {
        (true, _) => render(),
        (false, true) => measure_memory(has("--quick")),
        (false, false) => compare(has("--check"), has("--quick")),
    })
}

fn ended(done: Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error:?}");
            ExitCode::FAILURE
        }
    }
}

/// A few arms, for whoever changes what one of them does.
fn try_arms(ids: &str) -> Result<()> {
    let arms = arms::chosen(&ids.split(',').collect::<Vec<_>>())?;
    let arms = if std::env::var_os(stands::BESIDE).is_some() { arms::doubled(arms) } else { arms };
    let settings = Settings { open: 600, most_rounds: Settings::WHOLE.rounds, ..Settings::WHOLE };
    let results = alone(|cores| run::run(settings, cores, &arms))?;
    println!("{}\nnoise: {}", report::arms_for_terminal(&results), results.noise.told());
    Ok(())
}

fn compare(check: bool, quick: bool) -> Result<()> {
    let settings = if quick { Settings::QUICK } else { Settings::WHOLE };
    let mut results = alone(|cores| run::run(settings, cores, &arms::ARMS))?;
    results.verdicts = verdict::judge(&results.arms)?;
    let complaints = results.noise.complaints();
    if !quick && !complaints.is_empty() {
        eprintln!("not to be relied on:\n{}", report::arms_for_terminal(&results));
        bail!("the machine was too noisy for a verdict: {}", complaints.join("; "));
    }
    println!("{}\n\n{}\n", report::arms_for_terminal(&results), report::verdicts_for_terminal(&results.verdicts));
    println!("noise: {}", results.noise.told());
    for complaint in &complaints {
        println!("too noisy for a verdict: {complaint}");
    }
    if !check && !quick {
        write_results(&results)?;
    }
    let missed = results.verdicts.iter().filter(|verdict| !verdict.is_met()).count();
    if check && missed > 0 {
        bail!("{missed} of {} ratios are missed", results.verdicts.len());
    }
    Ok(())
}

fn measure_memory(quick: bool) -> Result<()> {
    let requests = if quick { 40_000 } else { 1_000_000 };
    let memory = alone(|cores| memory::run(requests, cores))?;
    println!("{}", report::memory_markdown(&memory)?);
    if !quick {
        write_memory(&memory)?;
        ensure!(memory.is_flat(), "memory grows with requests: {:?}", memory.growth());
    }
    Ok(())
}

/// Runs on one core, and leaves the other to Envoy.
fn alone<T, F: Future<Output = Result<T>>>(work: impl FnOnce(machine::Cores) -> F) -> Result<T> {
    ensure!(!cfg!(debug_assertions), "the load generator is a debug build; `cargo xtask bench` builds what it needs");
    exeat_e2e::stage::files::raise_limit();
    let cores = machine::Cores::choose()?;
    // What is started from here on stays there as well, until it is moved.
    machine::stay_on(cores.rest)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, work(cores))
}

/// Writes everything that is made of what was kept.
fn render() -> Result<()> {
    write_results(&stored("results.json")?)?;
    write_memory(&stored("memory.json")?)
}

fn write_results(results: &Results) -> Result<()> {
    let pictures = [("cpu.svg", plot::cpu(results).to_string()), ("latency.svg", plot::latency(results).to_string())];
    let [section, _] = SECTIONS;
    write("results.json", results, &pictures, section, &report::markdown(results)?)
}

fn write_memory(memory: &Memory) -> Result<()> {
    let pictures = [("memory.svg", plot::memory(memory).to_string())];
    let [_, section] = SECTIONS;
    write("memory.json", memory, &pictures, section, &report::memory_markdown(memory)?)
}

/// Where results are kept.
fn file(name: &str) -> PathBuf {
    exeat_e2e::workspace().join("docs/bench").join(name)
}

fn stored<T: DeserializeOwned>(name: &str) -> Result<T> {
    let path = file(name);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not what this program writes", path.display()))
}

fn write(name: &str, kept: &impl Serialize, pictures: &[(&str, String)], section: &str, text: &str) -> Result<()> {
    let page = exeat_e2e::workspace().join("docs/performance.md");
    let old = std::fs::read_to_string(&page).with_context(|| format!("cannot read {}", page.display()))?;
    let mut files = vec![
        (file(name), format!("{}\n", serde_json::to_string_pretty(kept)?)),
        (page, report::replace_section(&old, section, text)?),
    ];
    files.extend(pictures.iter().map(|(name, picture)| (file(name), format!("{picture}\n"))));
    std::fs::create_dir_all(file("")).context("cannot make docs/bench")?;
    for (path, text) in files {
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("wrote {}", path.display());
    }
    Ok(())
}
