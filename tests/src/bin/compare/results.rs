//! What a run found, as it is kept (docs/bench/results.json).

use super::machine::Machine;
use super::noise::Noise;
use super::statistics::Summary;
use super::verdict::Verdict;
use serde::{Deserialize, Serialize};

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    /// Where.
    pub(crate) machine: Machine,
    /// What was measured: the module as it names itself.
    pub(crate) module: String,
    /// How.
    pub(crate) settings: Settings,
    /// How quiet it was.
    pub(crate) noise: Noise,
    /// Arms, in order.
    pub(crate) arms: Vec<Measured>,
    /// Ratios.
    pub(crate) verdicts: Vec<Verdict>,
}

/// How much of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// Rounds that count. One before them does not.
    pub(crate) rounds: usize,
    /// Rounds that are measured at most, to have as many that count.
    pub(crate) most_rounds: usize,
    /// Requests of an arm in a round before those that count.
    pub(crate) warm: usize,
    /// Requests of an arm in a round, as fast as answers come.
    pub(crate) closed: usize,
    /// Requests of an arm in a round, at the rate.
    pub(crate) open: usize,
    /// Requests a second.
    pub(crate) rate: u32,
    /// Connections.
    pub(crate) connections: usize,
}

impl Settings {
    /// For results.
    pub(crate) const WHOLE: Self =
        Self { rounds: 5, most_rounds: 10, warm: 500, closed: 4_000, open: 4_000, rate: 2_000, connections: 32 };

    /// For whoever changes something and wants to see what came of it.
    pub(crate) const QUICK: Self =
        Self { rounds: 5, most_rounds: 5, warm: 100, closed: 600, open: 300, rate: 1_000, connections: 32 };
}

/// One arm. Times in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Of the arm.
    pub(crate) id: String,
    /// Of the arm, for people.
    pub(crate) name: String,
    /// Its arm without a filter.
    pub(crate) baseline: String,
    /// CPU time of Envoy's process a request.
    pub(crate) cpu: Summary,
    /// Requests a second.
    pub(crate) throughput: Summary,
    /// Latencies at the fixed rate.
    pub(crate) p50: Summary,
    /// As `p50`.
    pub(crate) p99: Summary,
    /// As `p50`.
    pub(crate) p999: Summary,
    /// `cpu` of each round.
    pub(crate) cpu_rounds: Vec<f64>,
}

impl Results {
    /// An arm by its id.
    pub(crate) fn arm(&self, id: &str) -> Option<&Measured> {
        self.arms.iter().find(|arm| arm.id == id)
    }

    /// CPU time over the arm without a filter, of medians.
    pub(crate) fn added(&self, arm: &Measured) -> Option<f64> {
        let baseline = self.arm(&arm.baseline)?;
        (baseline.id != arm.id).then_some(arm.cpu.median - baseline.cpu.median)
    }
}
