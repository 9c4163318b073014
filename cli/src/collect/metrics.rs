//! What the collector counts, for Prometheus.

use super::problem::Problem;
use exeat_engine::evidence::LogHead;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::sync::Arc;
use std::time::Duration;

type Label = [(&'static str, String); 1];

/// The counters. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    batches: Family<Label, Counter>,
    records: Family<Label, Counter>,
    newest: Family<Label, Gauge>,
    repeated: Counter,
    forwarded: Family<Label, Counter>,
    waiting: Gauge,
    seconds: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let (batches, records, newest) =
            <(Family<Label, Counter>, Family<Label, Counter>, Family<Label, Gauge>)>::default();
        let (repeated, seconds) = (Counter::default(), Histogram::new([0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0]));
        let mut registry = Registry::with_prefix("exeat_collector");
        registry.register("batches", "Batches by verdict: stored, or why not. Alarm on fork", batches.clone());
        registry.register("records", "Records that were stored, by gateway", records.clone());
        let help = "When the newest checkpoint of a gateway was signed. Alarm when it is 90 s old";
        registry.register_with_unit(
            "newest_checkpoint",
            help,
            Unit::Other("timestamp_seconds".to_owned()),
            newest.clone(),
        );
        let help = "Signatures that let something go in two logs: a signed request was sent to two gateways";
        registry.register("repeated_signatures", help, repeated.clone());
        let (forwarded, waiting) = <(Family<Label, Counter>, Gauge)>::default();
        let help = "Batches that a relay passed on, by verdict. Alarm on refused";
        registry.register("forwarded_batches", help, forwarded.clone());
        registry.register("forward_waiting_batches", "Batches that a relay has still to pass on", waiting.clone());
        let help = "Time from a batch that was read to its verdict";
        registry.register_with_unit("write", help, Unit::Seconds, seconds.clone());
        Self { registry: Arc::new(registry), batches, records, newest, repeated, forwarded, waiting, seconds }
    }
}

impl Metrics {
    /// A batch has its verdict.
    pub fn batch(&self, verdict: &Result<LogHead, Problem>, took: Duration) {
        let word = verdict.as_ref().map_or_else(Problem::code, |_| "stored");
        self.batches.get_or_create(&[("verdict", word.to_owned())]).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// A batch was not read at all. It took no time, and does not count in that.
    pub fn turned_away(&self, problem: &Problem) {
        self.batches.get_or_create(&[("verdict", problem.code().to_owned())]).inc();
    }

    /// New records of a gateway were stored, under a checkpoint of this time (ms).
    pub fn stored(&self, gateway: &str, records: u64, time: u64) {
        let label = [("gateway", gateway.to_owned())];
        self.records.get_or_create(&label).inc_by(records);
        let seconds = i64::try_from(time / 1000).unwrap_or(i64::MAX);
        let newest = self.newest.get_or_create(&label);
        newest.set(newest.get().max(seconds));
    }

    /// A signature let something go in two logs.
    pub fn repeated(&self) {
        self.repeated.inc();
    }

    /// The next collector took a batch.
    pub fn forwarded(&self) {
        self.forwarded.get_or_create(&[("verdict", "stored".to_owned())]).inc();
    }

    /// The next collector will never take a batch.
    pub fn refused(&self) {
        self.forwarded.get_or_create(&[("verdict", "refused".to_owned())]).inc();
    }

    /// So many batches have still to be passed on.
    pub fn waiting(&self, batches: i64) {
        self.waiting.set(batches);
    }

    /// The text that Prometheus reads.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
