//! How often a session may ask.

use std::time::Instant;

/// A bucket of tokens that fills at a steady rate up to its size.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    per_second: f64,
    size: f64,
    tokens: f64,
    filled: Instant,
}

impl TokenBucket {
    /// A full bucket.
    pub(crate) fn new(per_second: u32, size: u32, now: Instant) -> Self {
        let size = f64::from(size.max(1));
        Self { per_second: f64::from(per_second), size, tokens: size, filled: now }
    }

    /// Takes one token, if there is one. A clock that stands still gives none.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled);
        self.filled = self.filled.max(now);
        self.tokens = (self.tokens + passed.as_secs_f64() * self.per_second).min(self.size);
        let granted = self.tokens >= 1.0;
        if granted {
            self.tokens -= 1.0;
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_is_bounded_and_the_rate_holds() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(10, 5, start);
        let taken = |bucket: &mut TokenBucket, now| (0..100).filter(|_| bucket.take(now)).count();
        assert_eq!(taken(&mut bucket, start), 5);
        assert_eq!(taken(&mut bucket, start + Duration::from_millis(99)), 0);
        assert_eq!(taken(&mut bucket, start + Duration::from_millis(301)), 3);
        assert_eq!(taken(&mut bucket, start), 0, "a time before gives nothing");
        assert_eq!(taken(&mut bucket, start + Duration::from_secs(3600)), 5);
        let mut none = TokenBucket::new(0, 0, start);
        assert_eq!(taken(&mut none, start + Duration::from_secs(3600)), 1);
    }
}
