//! New policies for a gateway under load: how long from the file to enforcement, and what 1,000 of them in a row do to memory
//! (`cargo xtask updates`). docs/performance.md says what the numbers mean.
//!
//! Built with `std` threads and no timers but the clock: it measures, and fails where anything was answered but by 200.

use anyhow::{Context, Result, ensure};
use exeat_e2e::scenario::gateway::Gateway;
use exeat_e2e::scenario::real::{Around, Edit, RealEnvoy};
use exeat_e2e::scenario::steady::{Agents, Answered, steadily};
use exeat_e2e::scenario::updating::{Update, Updating, recorded, resident};
use exeat_e2e::stage::upstream::Upstream;
use serde_json::{Map, Value, json};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const WORKERS: u32 = 2;
const IN_A_ROW: usize = 1_000;
const SAMPLES: usize = 20;

/// Updates whose time is taken.
const TIMED: usize = 20;

fn main() -> ExitCode {
    for (what, measure) in [("time", time as fn() -> Result<()>), ("memory", memory), ("control", control)] {
        if let Err(error) = measure() {
            eprintln!("updates: {what}: {error:?}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// From the moment when the file is in its place.
fn time() -> Result<()> {
    println!("from the file to enforcement, {WORKERS} workers, {TIMED} updates, ms");
    println!(
        "policy                          | accepted by all: median, worst | last request judged by the one before: median, worst | longest request"
    );
    for (name, rules, destinations) in
        [("2 rules, 1 destination", 0, 0), ("2,000 rules, 10,000 destinations", 2_000, 10_000)]
    {
        let real = start(&[], None, |gateway| enlarge(gateway, rules, destinations))?;
        let agents = Agents { http1: 2, http2: 2, pause: Duration::from_millis(1) };
        let (updates, answered) = steadily(&real, agents, |floor| {
            let mut updating = Updating::new(&real, WORKERS as usize)?;
            let mut updates = Vec::new();
            for _ in 0..TIMED {
                // Requests under the one before.
                std::thread::sleep(Duration::from_millis(200));
                updates.push((updating.improve()?, updating.revision()));
                floor.rise(updating.revision());
            }
            Ok(updates)
        })?;
        let mut accepted: Vec<Duration> = updates.iter().map(|(update, _)| update.accepted).collect();
        let mut judged: Vec<Duration> =
            updates.iter().map(|(update, new)| last_before(update, *new, &answered)).collect();
        let longest = answered.iter().map(|each| each.took).max().unwrap_or_default();
        let (a, j) = (median_and_worst(&mut accepted), median_and_worst(&mut judged));
        println!("{name:<32}| {:.0}, {:.0} | {:.0}, {:.0} | {:.0}", a.0, a.1, j.0, j.1, ms(longest));
        finish(&real, &answered)?;
    }
    Ok(())
}

/// When the last request was sent that an older policy judged, after the file was in its place.
fn last_before(update: &Update, revision: usize, answered: &[Answered]) -> Duration {
    let old = answered.iter().filter(|each| each.revision < revision && each.sent >= update.at);
    old.map(|each| each.sent.duration_since(update.at)).max().unwrap_or_default()
}

fn median_and_worst(times: &mut [Duration]) -> (f64, f64) {
    times.sort();
    let at = |index: usize| times.get(index).copied().map_or(0.0, ms);
    (at(times.len() / 2), at(times.len().saturating_sub(1)))
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// With agents that send.
fn memory() -> Result<()> {
    let real = start(&DRAINING, None, |_| Ok(()))?;
    let agents = Agents { http1: 2, http2: 2, pause: Duration::from_millis(20) };
    let began = Instant::now();
    let (curve, answered) = steadily(&real, agents, |floor| {
        let mut updating = Updating::new(&real, WORKERS as usize)?;
        let mut curve = Curve::default();
        for n in 0..IN_A_ROW {
            if n % 20 == 19 {
                updating.worsen()?;
            }
            updating.improve()?;
            floor.rise(updating.revision());
            curve.sample(&real, n)?;
            if n.is_multiple_of(20) {
                real.upstream.take();
            }
        }
        Ok(curve)
    })?;
    println!(
        "\n{IN_A_ROW} updates in {:.0} s, {} requests, none failed",
        began.elapsed().as_secs_f64(),
        answered.len()
    );
    curve.print();
    finish(&real, &answered)
}

/// As many updates of a listener without the module, and without agents: what Envoy itself does to memory.
fn control() -> Result<()> {
    let without = Edit::new(|listener| {
        let filters = "/resources/0/filter_chains/0/filters/0/typed_config/http_filters";
        if let Some(filters) = listener.pointer_mut(filters).and_then(Value::as_array_mut) {
            filters.retain(|filter| filter["name"] != "envoy.filters.http.wasm");
        }
    });
    let real = start(&DRAINING, Some(without), |_| Ok(()))?;
    let listener: Value = serde_saphyr::from_str(&real.rendered_listener()?)?;
    let mut curve = Curve::default();
    for n in 0..IN_A_ROW {
        let mut next = listener.clone();
        let manager = "/resources/0/filter_chains/0/filters/0/typed_config";
        let manager = next.pointer_mut(manager).context("a listener without connection manager")?;
        manager["server_name"] = json!(format!("revision-{n}"));
        real.envoy.update_listeners(&next.to_string())?;
        curve.sample(&real, n)?;
    }
    println!("\nthe same number of updates without the module and without agents");
    curve.print();
    Ok(())
}

const DRAINING: [&str; 4] = ["--drain-time-s", "2", "--drain-strategy", "immediate"];

#[derive(Default)]
struct Curve(Vec<(usize, u64, u64)>);

impl Curve {
    fn sample(&mut self, real: &RealEnvoy, n: usize) -> Result<()> {
        if n.is_multiple_of(IN_A_ROW / SAMPLES) || n + 1 == IN_A_ROW {
            let modules = real.envoy.stats()?.value("wasmcustom.exeat.memory_bytes");
            self.0.push((n, resident(real.envoy.process().pid())?, modules));
        }
        Ok(())
    }

    fn print(&self) {
        println!("update | resident, KiB | memories of the modules, KiB");
        for (n, resident, modules) in &self.0 {
            println!("{n:>6} | {:>13} | {:>8}", resident >> 10, modules >> 10);
        }
    }
}

fn start(arguments: &[&str], listener: Option<Edit>, prepare: impl Fn(&Gateway) -> Result<()>) -> Result<RealEnvoy> {
    let upstream = Upstream::start()?;
    let gateway = Gateway::prepare("configuration", upstream.address().port())?;
    prepare(&gateway)?;
    let envoy = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    RealEnvoy::start_amid(gateway, upstream, WORKERS, Around { envoy, listener, ..Around::default() }, |_| ())
}

/// Adds agents with ten rules each, and destinations.
fn enlarge(gateway: &Gateway, rules: usize, destinations: usize) -> Result<()> {
    if rules == 0 {
        return Ok(());
    }
    let destinations: Map<String, Value> = (0..destinations)
        .map(|n| {
            let host = match n % 4 {
                0 => format!("*.tenant-{n}.service.example"),
                _ => format!("api-{n}.region-{}.cloud-{}.example.com", n % 31, n % 977),
            };
            (format!("d-{n}"), json!({"hosts": [host], "category": format!("c-{}", n % 40), "accepts": "restricted"}))
        })
        .collect();
    let rule = |n: usize| json!({"id": format!("r-{n}"), "to": {"category": format!("c-{}", n % 40)}, "paths": [format!("/v{n}/*")]});
    let agents: Map<String, Value> = (0..rules / 10)
        .map(|n| (format!("many/a-{n}"), json!({"allow": (0..10).map(|m| rule(n * 10 + m)).collect::<Vec<_>>()})))
        .collect();
    let text = json!({"destinations": destinations, "agents": agents}).to_string();
    std::fs::write(gateway.policy().join("many.json"), text)?;
    Ok(())
}

/// Nothing failed, and everything is recorded.
fn finish(real: &RealEnvoy, answered: &[Answered]) -> Result<()> {
    ensure!(!answered.is_empty(), "nothing was sent");
    let decisions: Vec<String> = answered.iter().map(|each| each.decision.clone()).collect();
    recorded(real, &decisions)
}
