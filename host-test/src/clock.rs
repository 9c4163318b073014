//! The time that the module sees. Virtual: it moves when the test moves it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A clock that several hosts and the test can share; clones show the same time.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
enum Inner {
    Virtual { wall: AtomicU64, monotonic: AtomicU64 },
    System,
}

impl Clock {
    /// A virtual clock that stands at this number of seconds since 1970.
    pub fn at(unix_seconds: u64) -> Self {
        let wall = AtomicU64::new(unix_seconds.saturating_mul(1_000_000_000));
        Self(Arc::new(Inner::Virtual { wall, monotonic: AtomicU64::new(0) }))
    }

    /// The machine's own clock; `advance` and `set` have no effect on it.
    pub fn system() -> Self {
        Self(Arc::new(Inner::System))
    }

    /// Moves a virtual clock forward.
    pub fn advance(&self, by: Duration) {
        if let Inner::Virtual { wall, monotonic } = &*self.0 {
            wall.fetch_add(nanos(by), Ordering::SeqCst);
            monotonic.fetch_add(nanos(by), Ordering::SeqCst);
        }
    }

    /// Sets the wall clock alone, also backwards, as NTP may; timers follow the monotonic clock and do not notice.
    pub fn set(&self, unix_seconds: u64) {
        if let Inner::Virtual { wall, .. } = &*self.0 {
            wall.store(unix_seconds.saturating_mul(1_000_000_000), Ordering::SeqCst);
        }
    }

    /// Nanoseconds since 1970.
    pub fn unix_nanos(&self) -> u64 {
        match &*self.0 {
            Inner::Virtual { wall, .. } => wall.load(Ordering::SeqCst),
            Inner::System => nanos(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()),
        }
    }

    /// Whole seconds since 1970.
    pub fn unix_seconds(&self) -> u64 {
        self.unix_nanos() / 1_000_000_000
    }

    /// Time since some fixed point, never going back.
    pub fn monotonic(&self) -> Duration {
        static START: OnceLock<Instant> = OnceLock::new();
        match &*self.0 {
            Inner::Virtual { monotonic, .. } => Duration::from_nanos(monotonic.load(Ordering::SeqCst)),
            Inner::System => START.get_or_init(Instant::now).elapsed(),
        }
    }
}

impl Default for Clock {
    /// A virtual clock at a fixed point, 2025-11-20T00:00:00Z.
    fn default() -> Self {
        Self::at(1_763_596_800)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
