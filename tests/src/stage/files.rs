//! How many files the stage may open: a thousand connections are more than the 1,024 that many systems start with.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Beyond what any scenario needs; programs that walk all descriptors take long where the limit is in the millions.
const ENOUGH: u64 = 65_536;

/// Lets this process, and those it starts from now on, open as many as the system allows; how many those are.
pub fn raise_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(ENOUGH, |hard| hard.min(ENOUGH));
    let held = limit.current.unwrap_or(u64::MAX);
    if held >= wanted {
        return held;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum }) {
        Ok(()) => wanted,
        Err(_) => held,
    }
}
