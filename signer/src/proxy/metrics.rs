//! What the proxy counts. The keeper asks for it and publishes it.

use super::problem::Refusal;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the buckets of signing times, seconds.
const BUCKETS: [f64; 7] = [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.025, 0.25];

/// Counters of one process.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Requests by what became of them: a class of status of the gateway's answer, or the code of a refusal.
    outcomes: Mutex<BTreeMap<&'static str, u64>>,
    connections: AtomicI64,
    accepted: AtomicU64,
    turned_away: AtomicU64,
    requests: AtomicI64,
    tunnels: AtomicI64,
    handshakes_failed: AtomicU64,
    leaves_made: AtomicU64,
    leaves_found: AtomicU64,
    gateway_connections: AtomicI64,
    gateway_connects_failed: AtomicU64,
    /// What became of the last attempt to connect; 0 before the first.
    gateway_up: AtomicI64,
    resent: AtomicU64,
    signed: AtomicU64,
    signing_micros: AtomicU64,
    signing_buckets: [AtomicU64; BUCKETS.len()],
}

/// One more of something, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Gauge(std::sync::Arc<Metrics>, fn(&Metrics) -> &AtomicI64);

impl Drop for Gauge {
    fn drop(&mut self) {
        (self.1)(&self.0).fetch_sub(1, Ordering::Relaxed);
    }
}

fn gauge(metrics: &std::sync::Arc<Metrics>, which: fn(&Metrics) -> &AtomicI64) -> Gauge {
    which(metrics).fetch_add(1, Ordering::Relaxed);
    Gauge(std::sync::Arc::clone(metrics), which)
}

impl Metrics {
    /// A connection of an agent.
    pub(crate) fn connection(self: &std::sync::Arc<Self>) -> Gauge {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        gauge(self, |metrics| &metrics.connections)
    }

    /// A request at work.
    pub(crate) fn request(self: &std::sync::Arc<Self>) -> Gauge {
        gauge(self, |metrics| &metrics.requests)
    }

    /// A tunnel or an upgraded connection.
    pub(crate) fn tunnel(self: &std::sync::Arc<Self>) -> Gauge {
        gauge(self, |metrics| &metrics.tunnels)
    }

    /// A connection to the gateway.
    pub(crate) fn gateway_connection(self: &std::sync::Arc<Self>) -> Gauge {
        gauge(self, |metrics| &metrics.gateway_connections)
    }

    /// A connection that came when there were as many as there may be.
    pub(crate) fn turned_away(&self) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
    }

    /// What followed CONNECT was no TLS handshake with this name.
    pub(crate) fn handshake_failed(&self) {
        self.handshakes_failed.fetch_add(1, Ordering::Relaxed);
    }

    /// A leaf certificate was wanted.
    pub(crate) fn leaf(&self, found: bool) {
        if found { &self.leaves_found } else { &self.leaves_made }.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the gateway took the last connection.
    pub(crate) fn gateway_up(&self, up: bool) {
        self.gateway_up.store(i64::from(up), Ordering::Relaxed);
    }

    /// The gateway could not be reached.
    pub(crate) fn gateway_connect_failed(&self) {
        self.gateway_connects_failed.fetch_add(1, Ordering::Relaxed);
    }

    /// A request was sent again, under a signature of its own.
    pub(crate) fn resent(&self) {
        self.resent.fetch_add(1, Ordering::Relaxed);
    }

    /// The gateway answered.
    pub(crate) fn answered(&self, status: http::StatusCode) {
        self.outcome(match status.as_u16() {
            100..=199 => "1xx",
            200..=299 => "2xx",
            300..=399 => "3xx",
            400..=499 => "4xx",
            _ => "5xx",
        });
    }

    /// The proxy refused.
    pub(crate) fn refused(&self, refusal: Refusal) {
        self.outcome(refusal.code());
    }

    /// The agent went away before it was answered.
    pub(crate) fn abandoned(&self) {
        self.outcome("abandoned");
    }

    fn outcome(&self, outcome: &'static str) {
        let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        let count = outcomes.entry(outcome).or_default();
        *count = count.saturating_add(1);
    }

    /// The keeper answered in this time.
    pub(crate) fn signed(&self, took: Duration) {
        self.signed.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.signing_micros.fetch_add(micros, Ordering::Relaxed);
        for (bucket, bound) in self.signing_buckets.iter().zip(BUCKETS) {
            if took.as_secs_f64() <= bound {
                bucket.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// All of it, for Prometheus.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
    pub(crate) fn samples(&self) -> Vec<(String, f64)> {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        let level = |gauge: &AtomicI64| gauge.load(Ordering::Relaxed) as f64;
        let mut samples: Vec<(String, f64)> = self
            .outcomes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .map(|(outcome, total)| (format!("exeat_proxy_requests_total{{outcome=\"{outcome}\"}}"), *total as f64))
            .collect();
        let named = [
            ("exeat_proxy_connections", level(&self.connections)),
            ("exeat_proxy_connections_total", count(&self.accepted)),
            ("exeat_proxy_connections_turned_away_total", count(&self.turned_away)),
            ("exeat_proxy_requests_at_work", level(&self.requests)),
            ("exeat_proxy_tunnels", level(&self.tunnels)),
            ("exeat_proxy_tls_failures_total", count(&self.handshakes_failed)),
            ("exeat_proxy_leaf_certificates_total{cached=\"no\"}", count(&self.leaves_made)),
            ("exeat_proxy_leaf_certificates_total{cached=\"yes\"}", count(&self.leaves_found)),
            ("exeat_proxy_gateway_connections", level(&self.gateway_connections)),
            ("exeat_proxy_gateway_up", level(&self.gateway_up)),
            ("exeat_proxy_gateway_connect_failures_total", count(&self.gateway_connects_failed)),
            ("exeat_proxy_requests_resent_total", count(&self.resent)),
            ("exeat_proxy_signing_seconds_bucket{le=\"+Inf\"}", count(&self.signed)),
            ("exeat_proxy_signing_seconds_count", count(&self.signed)),
            ("exeat_proxy_signing_seconds_sum", count(&self.signing_micros) / 1e6),
        ];
        samples.extend(named.map(|(name, value)| (name.to_owned(), value)));
        samples.extend(
            self.signing_buckets.iter().zip(BUCKETS).map(|(bucket, bound)| {
                (format!("exeat_proxy_signing_seconds_bucket{{le=\"{bound}\"}}"), count(bucket))
            }),
        );
        samples
    }
}
