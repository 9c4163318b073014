//! Results for tests of what is made of them.

use super::machine::Machine;
use super::memory::{Held, Memory, Point, Policy};
use super::noise::Noise;
use super::results::{Measured, Results, Settings};
use super::statistics::Summary;
use super::verdict::Verdict;

pub(crate) fn results() -> Results {
    let around = |median: f64, by: f64| Summary { median, low: median - by, high: median + by };
    let arm = |id: &str, cpu: f64| Measured {
        id: id.to_owned(),
        name: id.to_owned(),
        baseline: "none".to_owned(),
        cpu: around(cpu, 1.0),
        throughput: around(9000.0, 10.0),
        p50: around(150.0, 2.0),
        p99: around(300.0, 5.0),
        p999: around(900.0, 50.0),
        cpu_rounds: vec![cpu - 1.0, cpu, cpu + 1.0],
    };
    let verdict = |name: &str, ratio, most| Verdict { name: name.to_owned(), ratio: around(ratio, 0.01), most };
    Results {
        machine: Machine {
            processor: "an EPYC".to_owned(),
            cores: 2,
            is_virtual: true,
            kernel: "6.18.0".to_owned(),
            envoy: "1.40.0".to_owned(),
        },
        module: "exeat 0.1.0 (0123)".to_owned(),
        settings: Settings::WHOLE,
        noise: Noise { stolen: 0.001, others: 0.01, spread: 0.02, left_out: 0 },
        arms: vec![arm("none", 20.0), arm("lua", 25.0), arm("exeat", 80.0)],
        verdicts: vec![verdict("one", 0.6, 0.7), verdict("two", 1.6, 1.5)],
    }
}

pub(crate) fn memory() -> Memory {
    let policy = |destinations, vm| Policy { destinations, vm, process: 200 << 20 };
    Memory {
        machine: results().machine,
        without: 80 << 20,
        policies: vec![policy(10, 5 << 20), policy(1_000, 6 << 20), policy(100_000, 44 << 20)],
        key: 220_000.0,
        held: [0, 500, 1_000]
            .map(|n| Held { requests: n, vm: 5_000_000 + n as u64 * 10_000, process: 100_000_000 + n as u64 * 30_000 })
            .to_vec(),
        curve: (1..=40).map(|step| Point { requests: step * 25_000, vm: 9 << 20, process: 150 << 20 }).collect(),
    }
}
