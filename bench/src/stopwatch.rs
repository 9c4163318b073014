//! One thing to time, and how long it took in each round.

use proxy_wasm::hostcalls;
use serde_json::{Value, json};
use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

/// What an arm runs for in one round. The host's clock is read twice a round, so its own cost does not count.
const SLICE: Duration = Duration::from_millis(8);

/// One thing to time.
pub(crate) struct Arm {
    group: &'static str,
    name: &'static str,
    /// Calls in one round; 0 until they were estimated.
    calls: u32,
    run: Box<dyn FnMut() -> bool>,
    /// Nanoseconds a call, by round.
    rounds: Vec<f64>,
}

impl Arm {
    /// `run` says whether it did what it should: a fast failure is no measurement.
    pub(crate) fn new(group: &'static str, name: &'static str, run: impl FnMut() -> bool + 'static) -> Self {
        Self { group, name, calls: 0, run: Box::new(run), rounds: Vec::new() }
    }

    /// Runs it once.
    pub(crate) fn call(&mut self) -> bool {
        (self.run)()
    }

    /// Runs it for [`SLICE`].
    pub(crate) fn round(&mut self, counts: bool) -> Result<(), String> {
        if self.calls == 0 {
            let once = self.time(8)?.max(1.0);
            self.calls = ((SLICE.as_nanos() as f64 / once) as u32).clamp(8, 200_000);
        }
        let nanos = self.time(self.calls)?;
        if counts {
            self.rounds.push(nanos);
        } else {
            // The compiler has changed since the estimate.
            self.calls = ((SLICE.as_nanos() as f64 / nanos.max(1.0)) as u32).clamp(8, 200_000);
        }
        Ok(())
    }

    fn time(&mut self, calls: u32) -> Result<f64, String> {
        let start = now()?;
        for _ in 0..calls {
            if !self.call() {
                return Err(format!("{self:?} did not do what it should"));
            }
        }
        Ok(now()?.saturating_sub(start).as_nanos() as f64 / f64::from(calls))
    }

    /// Median, least and greatest of the rounds, in nanoseconds a call.
    pub(crate) fn report(&self) -> Value {
        let mut sorted = self.rounds.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let median = sorted.get(sorted.len() / 2);
        json!({
            "group": self.group, "name": self.name, "calls": self.calls,
            "median": median, "least": sorted.first(), "greatest": sorted.last(),
        })
    }
}

impl fmt::Debug for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.group, self.name)
    }
}

/// The host's clock.
pub(crate) fn now() -> Result<Duration, String> {
    let time = hostcalls::get_current_time().map_err(|status| format!("the host has no clock: {status:?}"))?;
    time.duration_since(UNIX_EPOCH).map_err(|_| "the host's clock is before 1970".to_owned())
}
