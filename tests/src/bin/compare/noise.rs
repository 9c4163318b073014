//! Whether the machine was quiet enough for a verdict. Three things show that it was not; each is held against a bound, and all
//! are told, whatever the verdict.

use super::machine::CoreTime;
use super::statistics::Summary;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Of the time of Envoy's core, what the hypervisor may have given to others.
const MOST_STOLEN: f64 = 0.01;

/// Of the time of Envoy's core, what others than Envoy may have used. Interrupts and the kernel's own work are some of it.
const MOST_OTHERS: f64 = 0.05;

/// How far the middle half of the rounds of the arm without a filter may reach, as a share of its median CPU time.
pub(crate) const MOST_SPREAD: f64 = 0.05;

/// How noisy it was, in shares.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Noise {
    /// Of Envoy's core, by the hypervisor.
    pub(crate) stolen: f64,
    /// Of Envoy's core, by other processes.
    pub(crate) others: f64,
    /// Of the arm without a filter.
    pub(crate) spread: f64,
    /// Rounds that do not count: what the arm without a filter took in them lies apart from the others.
    pub(crate) left_out: usize,
}

impl Noise {
    /// Of a run that took so long, in which the core did this and Envoy used that much.
    pub(crate) fn of(elapsed: Duration, core: CoreTime, envoy: Duration, baseline: &Summary, left_out: usize) -> Self {
        let share = |time: Duration| time.as_secs_f64() / elapsed.as_secs_f64().max(f64::EPSILON);
        Self {
            stolen: share(core.stolen),
            others: share(core.busy.saturating_sub(envoy)),
            spread: baseline.spread(),
            left_out,
        }
    }

    /// What is beyond its bound, in words.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let all = [
            (self.stolen, MOST_STOLEN, "of the time of Envoy's core went to other machines of the host"),
            (self.others, MOST_OTHERS, "of the time of Envoy's core was used by other processes"),
            (self.spread, MOST_SPREAD, "of its median is the spread of the arm without a filter (quartiles)"),
        ];
        let beyond = all.iter().filter(|(found, most, _)| found.is_nan() || found > most);
        beyond
            .map(|(found, most, what)| format!("{} {what}; at most {} may be", percent(*found), percent(*most)))
            .collect()
    }

    /// In one line.
    pub(crate) fn told(&self) -> String {
        format!(
            "stolen {}, others on Envoy's core {}, spread of no filter {}, {} rounds left out",
            percent(self.stolen),
            percent(self.others),
            percent(self.spread),
            self.left_out
        )
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(stolen: u64, busy: u64, spread: f64) -> Noise {
        let core = CoreTime { busy: Duration::from_millis(busy), stolen: Duration::from_millis(stolen) };
        let baseline = Summary { median: 100.0, low: 100.0, high: 100.0 + spread };
        Noise::of(Duration::from_secs(10), core, Duration::from_secs(5), &baseline, 0)
    }

    #[test]
    fn a_quiet_machine_gives_a_verdict() {
        assert!(noise(90, 5400, 4.9).complaints().is_empty());
        // Time of the process may be counted where that of the core is not yet.
        assert_eq!(noise(0, 4000, 0.0).others, 0.0);
    }

    #[test]
    fn each_kind_of_noise_is_named_with_its_size() {
        for (noise, words) in [
            (noise(200, 5000, 0.0), "2.0 % of the time of Envoy's core went to other machines"),
            (noise(0, 6000, 0.0), "10.0 % of the time of Envoy's core was used by other"),
            (noise(0, 5000, 7.0), "7.0 % of its median"),
        ] {
            let complaints = noise.complaints();
            assert!(complaints.len() == 1 && complaints[0].starts_with(words), "{complaints:?}");
        }
        assert_eq!(noise(200, 6000, 7.0).complaints().len(), 3);
    }

    #[test]
    fn no_measurement_is_no_quiet() {
        let none = Noise::of(Duration::from_secs(1), CoreTime::default(), Duration::ZERO, &Summary::default(), 0);
        assert_eq!(none.complaints().len(), 1);
        let broken = Noise { stolen: f64::NAN, others: 0.0, spread: 0.0, left_out: 0 };
        assert_eq!(broken.complaints().len(), 1);
    }
}
