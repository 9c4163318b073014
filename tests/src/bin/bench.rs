//! `cargo xtask bench` runs this: the bench module in the real Envoy, and its lines as a table.

use anyhow::{Context, Result, bail};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use exeat_e2e::stage::envoy::Setup;
use serde::Deserialize;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What every line of the module starts with.
const PREFIX: &str = "exeat-bench ";

/// The policy of which loading and decisions are timed.
const DESTINATIONS: &str = "100000";

/// All rounds take some 20 s on an idle core.
const LIMIT: Duration = Duration::from_secs(300);

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Arm { group: String, name: String, median: f64, least: f64, greatest: f64 },
    Scale { destinations: u32, text: f64, load_ms: Vec<f64>, before: f64, after: f64, updated: f64 },
    End { debug: bool, rounds: u32 },
    Failed { failed: String },
}

fn main() -> ExitCode {
    match bench() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:?}");
            ExitCode::FAILURE
        }
    }
}

fn bench() -> Result<()> {
    run("")?;
    run(DESTINATIONS)
}

fn run(configuration: &str) -> Result<()> {
    let module = std::env::var("EXEAT_BENCH_WASM").context("EXEAT_BENCH_WASM is not set; run `cargo xtask bench`")?;
    let begun = Instant::now();
    let envoy = Setup::new(bootstrap(&module, configuration)).start()?;
    envoy.wait_for_log("\"end\":true", LIMIT)?;
    let log = envoy.log();
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["part", "", "median us", "least", "greatest"]);
    let (mut last, mut rounds) = (String::new(), 0);
    for line in lines(&log) {
        match line? {
            Line::Arm { group, name, median, least, greatest } => {
                let micros =
                    |nanos: f64| Cell::new(format!("{:.2}", nanos / 1000.0)).set_alignment(CellAlignment::Right);
                let shown = if group == last { String::new() } else { group.clone() };
                last = group;
                table.add_row([Cell::new(shown), Cell::new(name), micros(median), micros(least), micros(greatest)]);
            }
            Line::Scale { destinations, text, load_ms, before, after, updated } => {
                let times: Vec<String> = load_ms.iter().map(|time| format!("{time:.0}")).collect();
                let mib = |bytes: f64| bytes / f64::from(1 << 20);
                println!(
                    "{destinations} destinations, {:.1} MiB of JSON: accepted in {} ms; the VM's memory grew from {:.1} (with that text) to {:.1} MiB, and to {:.1} when the next came while it was in use",
                    mib(text),
                    times.join(", "),
                    mib(before),
                    mib(after),
                    mib(updated)
                );
            }
            Line::End { debug: true, .. } => bail!("this is a debug build of the module: its numbers mean nothing"),
            Line::End { rounds: counted, .. } => rounds = counted,
            Line::Failed { failed } => bail!("the module gave up: {failed}"),
        }
    }
    println!("{table}\n");
    println!("{}, --concurrency 1, {rounds} rounds, all arms in each, {:.0} s", cpu(), begun.elapsed().as_secs_f32());
    Ok(())
}

fn lines(log: &str) -> impl Iterator<Item = Result<Line>> {
    log.lines().filter_map(|line| line.split_once(PREFIX)).map(|(_, json)| {
        let json = json.rsplit_once('}').map_or(json, |(inner, _)| inner).to_owned() + "}";
        serde_json::from_str(&json).with_context(|| format!("not a line of the module: {json}"))
    })
}

fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(|| "unknown processor".to_owned(), |(_, name)| name.to_owned())
}

/// The module as a service of its own, without any listener.
fn bootstrap(module: &str, configuration: &str) -> String {
    format!(
        r#"
bootstrap_extensions:
- name: envoy.bootstrap.wasm
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.wasm.v3.WasmService
    singleton: true
    config:
      name: bench
      root_id: bench
      fail_open: false
      configuration: {{"@type": type.googleapis.com/google.protobuf.StringValue, value: "{configuration}"}}
      vm_config: {{vm_id: bench, runtime: envoy.wasm.runtime.v8, code: {{local: {{filename: "{module}"}}}}}}
"#
    )
}
