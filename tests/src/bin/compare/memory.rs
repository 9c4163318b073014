//! Memory: of a worker's VM by the size of the policy, by known key and by request that is held; and over many requests, which must
//! not make it grow.

use super::arms::{ARMS, Arm, Stand};
use super::load::{self, closed};
use super::machine::{Cores, Machine, resident};
use super::requests::{Maker, token};
use super::stands::Running;
use super::statistics::slope;
use super::upstream::Upstream;
use anyhow::{Context, Result, bail};
use exeat_e2e::stage::artefacts;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// What was found (docs/bench/memory.json).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// Where.
    pub(crate) machine: Machine,
    /// Envoy without the filter, after as many requests as the others.
    pub(crate) without: u64,
    /// By the size of the policy.
    pub(crate) policies: Vec<Policy>,
    /// Bytes of a VM for each key that is known besides the first.
    pub(crate) key: f64,
    /// Requests that are held, and what they take.
    pub(crate) held: Vec<Held>,
    /// Over requests.
    pub(crate) curve: Vec<Point>,
}

/// A policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Policy {
    /// In it.
    pub(crate) destinations: u32,
    /// Bytes of a worker's VM.
    pub(crate) vm: u64,
    /// Bytes of Envoy's process.
    pub(crate) process: u64,
}

/// Requests whose body is not all there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    /// At a time.
    pub(crate) requests: usize,
    /// Bytes of a worker's VM.
    pub(crate) vm: u64,
    /// Bytes of Envoy's process.
    pub(crate) process: u64,
}

/// After so many requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Point {
    /// Sent and answered.
    pub(crate) requests: u64,
    /// Bytes of a worker's VM.
    pub(crate) vm: u64,
    /// Bytes of Envoy's process.
    pub(crate) process: u64,
}

/// What a run may grow by from its second half on, and still be called flat: what an allocator does in pages.
const MOST_GROWTH: f64 = 0.01;

impl Memory {
    /// By what share VM and process grew over the second half of the curve.
    pub(crate) fn growth(&self) -> Option<(f64, f64)> {
        let second = self.curve.get(self.curve.len() / 2..)?;
        let grown = |pick: fn(&Point) -> u64| {
            let points: Vec<_> = second.iter().map(|point| (point.requests as f64, pick(point) as f64)).collect();
            let (first, last) = (points.first()?, points.last()?);
            Some(slope(&points)? * (last.0 - first.0) / first.1)
        };
        Some((grown(|point| point.vm)?, grown(|point| point.process)?))
    }

    /// Whether it stays as it is however many requests come.
    pub(crate) fn is_flat(&self) -> bool {
        self.growth().is_some_and(|(vm, process)| vm <= MOST_GROWTH && process <= MOST_GROWTH)
    }

    /// Bytes of a VM, and of the process, for each request that is held.
    pub(crate) fn each_held(&self) -> Option<(f64, f64)> {
        let points = |pick: fn(&Held) -> u64| {
            let all: Vec<_> = self.held.iter().map(|held| (held.requests as f64, pick(held) as f64)).collect();
            slope(&all)
        };
        Some((points(|held| held.vm)?, points(|held| held.process)?))
    }
}

/// Requests before a size is taken.
const WARM: usize = 2_000;

/// Connections of the load.
const CONNECTIONS: usize = 32;

/// Measures all of it. `requests` is the length of the curve.
pub(crate) async fn run(requests: u64, cores: Cores) -> Result<Memory> {
    let machine = Machine::describe(&artefacts::envoy()?)?;
    let upstream = Upstream::start().await?;
    let port = upstream.address().port();
    let plain = Running::start(Stand::Plain, port, cores)?;
    serve(&plain, arm("none")?, WARM, port).await?;
    let without = resident(plain.pid())?;
    drop(plain);
    let mut policies = Vec::new();
    for destinations in [10, 1_000, 100_000] {
        eprintln!("{destinations} destinations");
        let running = Running::start(Stand::Exeat { destinations, write_ahead: false, beside: false }, port, cores)?;
        serve(&running, arm("exeat")?, WARM, port).await?;
        policies.push(Policy { destinations, vm: vm(&running).await?, process: resident(running.pid())? });
    }
    eprintln!("keys");
    let key = keys(port, cores).await?;
    eprintln!("requests that are held");
    let held = held(port, cores).await?;
    eprintln!("{requests} requests");
    let curve = curve(requests, port, cores).await?;
    Ok(Memory { machine, without, policies, key, held, curve })
}

fn arm(id: &str) -> Result<&'static Arm> {
    ARMS.iter().find(|arm| arm.id == id).with_context(|| format!("there is no arm {id}"))
}

async fn serve(running: &Running, arm: &Arm, count: usize, port: u16) -> Result<()> {
    running.go_on()?;
    let token = token(running.gateway())?;
    let requests = Maker::new(arm, running.gateway(), port, &token).make(count)?;
    let connections = load::connect(running.listener, CONNECTIONS).await?;
    closed(connections, requests, arm.expected).await.map(drop)
}

/// Bytes of the largest VM as the filter says it once a second; that of the worker, for the others never serve.
async fn vm(running: &Running) -> Result<u64> {
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    match running.envoy().stats()?.value("wasmcustom.exeat.largest_vm_bytes") {
        0 => bail!("the module does not say how large its VM is"),
        bytes => Ok(bytes),
    }
}

/// Signers besides those of the policy: with these too, all of their keys are prepared (`gateway.context.prepared_keys`).
const SIGNERS: [usize; 2] = [0, 28];

async fn keys(port: u16, cores: Cores) -> Result<f64> {
    let mut points = Vec::new();
    for signers in SIGNERS {
        let running = Running::start_with_signers(signers, port, cores)?;
        serve(&running, arm("exeat")?, WARM, port).await?;
        points.push((signers as f64, vm(&running).await? as f64));
    }
    slope(&points).context("no keys")
}

async fn held(port: u16, cores: Cores) -> Result<Vec<Held>> {
    let arm = arm("exeat-2k")?;
    let mut all = Vec::new();
    // A VM that once was larger stays so: each number has one of its own.
    for requests in [0, 500, 1_000, 2_000] {
        let running = Running::start(arm.stand, port, cores)?;
        serve(&running, arm, WARM, port).await?;
        let token = token(running.gateway())?;
        let mut open = Vec::new();
        for request in Maker::new(arm, running.gateway(), port, &token).make(requests)? {
            let mut stream = TcpStream::connect(running.listener).await?;
            // All but the last byte: the filter has the head and waits for the rest of the body.
            stream.write_all(request.split_last().map_or(&[][..], |(_, rest)| rest)).await?;
            open.push(stream);
        }
        all.push(Held { requests, vm: vm(&running).await?, process: resident(running.pid())? });
    }
    Ok(all)
}

async fn curve(requests: u64, port: u16, cores: Cores) -> Result<Vec<Point>> {
    const STEPS: u64 = 40;
    let arm = arm("exeat")?;
    let running = Running::start(arm.stand, port, cores)?;
    let mut points = Vec::new();
    let each = requests.div_ceil(STEPS);
    for step in 1..=STEPS {
        serve(&running, arm, usize::try_from(each)?, port).await?;
        points.push(Point { requests: each * step, vm: vm(&running).await?, process: resident(running.pid())? });
    }
    Ok(points)
}

#[cfg(test)]
mod tests {
    use crate::sample::memory;

    #[test]
    fn a_curve_that_stays_is_flat_and_one_that_climbs_is_not() {
        let mut memory = memory();
        assert!(memory.is_flat(), "{:?}", memory.growth());
        for (point, more) in memory.curve.iter_mut().zip(0_u64..) {
            point.process += more << 20;
        }
        assert!(!memory.is_flat());
        memory.curve.clear();
        assert!(!memory.is_flat());
    }

    #[test]
    fn the_start_of_a_curve_does_not_count() {
        let mut memory = memory();
        memory.curve[0].vm /= 10;
        assert!(memory.is_flat());
    }

    #[test]
    fn held_requests_take_what_the_line_says() {
        let (vm, process) = memory().each_held().unwrap();
        assert!((vm - 10_000.0).abs() < 1.0 && (process - 30_000.0).abs() < 1.0, "{vm} {process}");
    }
}
