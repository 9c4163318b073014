//! Times the stages of a long command and prints them as a table, also when one fails.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::process::say;

/// The stages so far. The table is printed when this is dropped.
#[derive(Default)]
pub(crate) struct Stages {
    finished: Vec<(&'static str, Duration, bool)>,
}

impl Stages {
    /// Runs one stage and notes its time.
    pub(crate) fn run<T>(&mut self, name: &'static str, stage: impl FnOnce() -> Result<T>) -> Result<T> {
        let start = Instant::now();
        let result = stage();
        self.finished.push((name, start.elapsed(), result.is_ok()));
        say(&format!("{name}: {} in {:.1} s", outcome(result.is_ok()), start.elapsed().as_secs_f64()));
        result
    }
}

impl Drop for Stages {
    fn drop(&mut self) {
        let total: Duration = self.finished.iter().map(|(_, time, _)| *time).sum();
        eprintln!("\n{:<28} {:>9}", "stage", "seconds");
        for (name, time, ok) in &self.finished {
            eprintln!("{name:<28} {:>9.1}  {}", time.as_secs_f64(), outcome(*ok));
        }
        eprintln!("{:<28} {:>9.1}", "total", total.as_secs_f64());
    }
}

fn outcome(ok: bool) -> &'static str {
    if ok { "ok" } else { "FAILED" }
}
