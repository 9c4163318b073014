//! One run: all arms in each round, one after the other, so that what changes on the machine changes for all.

use super::arms::{Arm, Stand};
use super::load::{self, closed, open};
use super::machine::{CoreTime, Cores, Machine, cpu_time};
use super::noise::{MOST_SPREAD, Noise};
use super::requests::{Maker, token};
use super::results::{Measured, Results, Settings};
use super::stands::Running;
use super::statistics::{Summary, closest};
use super::upstream::{self, Received, Upstream};
use anyhow::{Context, Result, ensure};
use exeat_e2e::stage::artefacts;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// After the last answer of a segment: in this time the last records are delivered, and that counts too.
const SETTLE: Duration = Duration::from_millis(300);

/// One segment of one arm.
#[derive(Clone, Copy, Debug)]
struct Segment {
    cpu: f64,
    throughput: f64,
    p50: f64,
    p99: f64,
    p999: f64,
}

/// Measures these arms, without a verdict on them. Says what it does on standard error.
pub(crate) async fn run(settings: Settings, cores: Cores, arms: &[Arm]) -> Result<Results> {
    let machine = Machine::describe(&artefacts::envoy()?)?;
    let upstream = Upstream::start().await?;
    let running = start(upstream.address().port(), cores, arms)?;
    let module = running.iter().find_map(module_of).unwrap_or_default();
    let tokens = running.iter().map(|stand| token(stand.gateway())).collect::<Result<Vec<_>>>()?;
    let mut segments: BTreeMap<&str, Vec<Segment>> = BTreeMap::new();
    let mut decided: Vec<u64> = vec![0; running.len()];
    let (mut begun, mut core, mut envoys) = (Instant::now(), CoreTime::default(), Duration::ZERO);
    // The one before the first counts for nothing: V8 compiles in it what is hot.
    let mut counted = Vec::new();
    // What happens on the machine meanwhile shows in the arm without a filter: rounds in which it took another time than in the
    // others are measured again, up to as many as there should be.
    for round in 0..=settings.most_rounds {
        if round == 1 {
            (begun, core, envoys) = (Instant::now(), CoreTime::now(cores.gateway)?, all_cpu(&running)?);
        }
        for arm in arms {
            let (at, stand) =
                (0_usize..).zip(&running).find(|(_, running)| running.stand == arm.stand).context("no stand")?;
            let token = tokens.get(at).context("no token")?;
            let maker = Maker::new(arm, stand.gateway(), upstream.address().port(), token);
            let segment = segment(arm, stand, &maker, settings, &upstream).await;
            let segment = segment.with_context(|| format!("{}: not measured", arm.name))?;
            let all = settings.warm + count(settings.closed, arm) + count(settings.open, arm);
            if let Some(decided) = decided.get_mut(at) {
                *decided += arm.records().unwrap_or(0) * all as u64;
            }
            if round > 0 {
                segments.entry(arm.id).or_default().push(segment);
            }
        }
        let baseline: Vec<f64> =
            arms.first().and_then(|arm| segments.get(arm.id)).into_iter().flatten().map(|s| s.cpu).collect();
        counted = closest(&baseline, settings.rounds).unwrap_or_default();
        let kept: Vec<f64> = counted.iter().filter_map(|at| baseline.get(*at).copied()).collect();
        let quiet = Summary::of(&kept).is_some_and(|kept| kept.spread() <= MOST_SPREAD);
        eprintln!("round {round} of {} after {:.0} s", settings.rounds, begun.elapsed().as_secs_f32());
        if quiet {
            break;
        }
    }
    let (elapsed, core) = (begun.elapsed(), CoreTime::now(cores.gateway)?.since(core));
    let envoys = all_cpu(&running)?.saturating_sub(envoys);
    for (stand, least) in running.iter().zip(decided) {
        has_evidence(stand, least)?;
    }
    let left_out = segments.values().map(Vec::len).max().unwrap_or(0).saturating_sub(counted.len());
    for rounds in segments.values_mut() {
        *rounds = counted.iter().filter_map(|at| rounds.get(*at).copied()).collect();
    }
    let arms = arms.iter().map(|arm| measured(arm, segments.get(arm.id))).collect::<Result<Vec<_>>>()?;
    let baseline = arms.first().context("no arm")?.cpu;
    let noise = Noise::of(elapsed, core, envoys, &baseline, left_out);
    Ok(Results { machine, module, settings, noise, verdicts: Vec::new(), arms })
}

/// One Envoy for each kind of gateway that an arm needs.
pub(crate) fn start(port: u16, cores: Cores, arms: &[Arm]) -> Result<Vec<Running>> {
    let mut running: Vec<Running> = Vec::new();
    for arm in arms {
        if running.iter().all(|other| other.stand != arm.stand) {
            eprintln!("starting {:?}", arm.stand);
            running.push(Running::start(arm.stand, port, cores).with_context(|| format!("{:?}", arm.stand))?);
        }
    }
    Ok(running)
}

/// `exeat 0.1.0 (commit)`, as the module says it of itself.
fn module_of(running: &Running) -> Option<String> {
    let log = running.process().log();
    let line = log.lines().find(|line| line.contains("configuration accepted"))?;
    let (_, after) = line.split_once("exeat: ")?;
    Some(after.split_once("): ")?.0.to_owned() + ")")
}

fn all_cpu(running: &[Running]) -> Result<Duration> {
    running.iter().map(|running| cpu_time(running.pid())).sum()
}

/// Large bodies take memory before they are sent.
fn count(count: usize, arm: &Arm) -> usize {
    if arm.body > 10_000 { count.div_ceil(4) } else { count }
}

async fn segment(
    arm: &Arm,
    stand: &Running,
    maker: &Maker<'_>,
    settings: Settings,
    upstream: &Upstream,
) -> Result<Segment> {
    let expected = arm.expected;
    let (warm, shots) = (maker.make(settings.warm)?, maker.make(count(settings.closed, arm))?);
    let (warm_count, count_closed, count_open) = (warm.len(), shots.len(), count(settings.open, arm));
    stand.go_on()?;
    let connections = load::connect(stand.listener, settings.connections).await?;
    let (connections, _) = closed(connections, warm, expected).await?;
    tokio::time::sleep(SETTLE).await;
    let before = cpu_time(stand.pid())?;
    let (connections, took) = closed(connections, shots, expected).await?;
    tokio::time::sleep(SETTLE).await;
    let cpu = cpu_time(stand.pid())?.saturating_sub(before);
    let latencies = open(connections, maker.make(count_open)?, settings.rate, expected).await?;
    tokio::time::sleep(SETTLE).await;
    stand.pause()?;
    let all = (warm_count + count_closed + count_open) as u64;
    let requests = if arm.goes_on() { all } else { 0 };
    upstream::check(upstream.take(), Received { requests, bytes: requests * arm.body as u64 }, arm.name)?;
    ensure!(latencies.len() == count_open as u64, "{} of {count_open} were answered", latencies.len());
    let micros = |share: f64| latencies.value_at_quantile(share) as f64 / 1000.0;
    Ok(Segment {
        cpu: cpu.as_secs_f64() * 1e6 / count_closed as f64,
        throughput: count_closed as f64 / took.as_secs_f64().max(f64::EPSILON),
        p50: micros(0.5),
        p99: micros(0.99),
        p999: micros(0.999),
    })
}

fn measured(arm: &Arm, segments: Option<&Vec<Segment>>) -> Result<Measured> {
    let segments = segments.with_context(|| format!("{} has no round", arm.name))?;
    let rounds = |pick: fn(&Segment) -> f64| segments.iter().map(pick).collect::<Vec<_>>();
    let summary = |pick: fn(&Segment) -> f64| Summary::of(&rounds(pick)).context("no round");
    Ok(Measured {
        id: arm.id.to_owned(),
        name: arm.name.to_owned(),
        baseline: arm.baseline().to_owned(),
        cpu: summary(|segment| segment.cpu)?,
        throughput: summary(|segment| segment.throughput)?,
        p50: summary(|segment| segment.p50)?,
        p99: summary(|segment| segment.p99)?,
        p999: summary(|segment| segment.p999)?,
        cpu_rounds: rounds(|segment| segment.cpu),
    })
}

/// Evidence that never arrived cost nothing to deliver: each decision must have been stored.
fn has_evidence(running: &Running, least: u64) -> Result<()> {
    if !matches!(running.stand, Stand::Exeat { .. }) {
        return Ok(());
    }
    running.go_on()?;
    let limit = Duration::from_secs(30);
    let stored = || running.decisions().ok().flatten().filter(|stored| *stored >= least);
    let stored = running.process().wait_until(&format!("{least} decisions at the collector"), limit, stored);
    running.pause()?;
    stored.map(drop).with_context(|| format!("{:?}: evidence is missing", running.stand))
}
