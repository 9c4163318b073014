//! Times the parts of a decision where they run: in Envoy's V8. `cargo xtask bench` builds and runs it.
//!
//! One round on each tick: every arm in turn, so that whatever slows the machine for a while slows all of them. Each arm
//! logs one line of JSON at the end.

mod arms;
mod bodies;
mod budgets;
mod bytes;
mod curve;
mod request;
mod scale;
mod stopwatch;

mod entry {
    proxy_wasm::main! {{
        proxy_wasm::set_log_level(proxy_wasm::types::LogLevel::Info);
        proxy_wasm::set_root_context(|_| Box::new(crate::Bench::default()));
    }}
}

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, RootContext};
use proxy_wasm::types::{BufferType, LogLevel};
use std::time::Duration;
use stopwatch::Arm;

/// What every line for the runner starts with.
const PREFIX: &str = "exeat-bench ";

/// Rounds before those that count: V8 compiles what is hot with its better compiler meanwhile.
const WARM_UP: u32 = 3;

const ROUNDS: u32 = 15;

/// Between rounds the host does its own work.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Default)]
struct Bench {
    arms: Vec<Arm>,
    rounds: u32,
    destinations: Option<u32>,
}

impl Context for Bench {}

impl RootContext for Bench {
    fn on_configure(&mut self, _size: usize) -> bool {
        // A number: so many destinations, and nothing else.
        let text = hostcalls::get_buffer(BufferType::PluginConfiguration, 0, usize::MAX).ok().flatten();
        self.destinations = text.and_then(|text| std::str::from_utf8(&text).ok()?.parse().ok());
        hostcalls::set_tick_period(PAUSE).is_ok()
    }

    fn on_tick(&mut self) {
        if self.rounds > WARM_UP.saturating_add(ROUNDS) {
            return;
        }
        match self.round() {
            Ok(()) => {}
            Err(problem) => {
                self.rounds = u32::MAX;
                say(&serde_json::json!({ "failed": problem }));
                say(&serde_json::json!({ "end": true, "debug": cfg!(debug_assertions), "rounds": 0 }));
            }
        }
    }
}

impl Bench {
    fn round(&mut self) -> Result<(), String> {
        if self.rounds == 0 {
            self.arms = match self.destinations {
                Some(count) => {
                    let (line, many) = scale::load(count)?;
                    say(&line);
                    scale::arms(&many, count)?
                }
                None => arms::all()?,
            };
        }
        let counts = self.rounds >= WARM_UP;
        for arm in &mut self.arms {
            arm.round(counts)?;
        }
        self.rounds = self.rounds.saturating_add(1);
        if self.rounds == WARM_UP.saturating_add(ROUNDS) {
            self.arms.iter().for_each(|arm| say(&arm.report()));
            say(&serde_json::json!({ "end": true, "debug": cfg!(debug_assertions), "rounds": ROUNDS }));
            self.rounds = u32::MAX;
        }
        Ok(())
    }
}

fn say(line: &serde_json::Value) {
    let _ = hostcalls::log(LogLevel::Warn, &format!("{PREFIX}{line}"));
}
