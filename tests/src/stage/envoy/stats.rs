//! Envoy's statistics at one moment.

use std::collections::BTreeMap;

use crate::stage::{Error, Result};

/// Counters and gauges by name. Histograms are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats(BTreeMap<String, u64>);

impl Stats {
    /// From `/stats?format=json`.
    pub(super) fn parse(json: &serde_json::Value) -> Result<Self> {
        let list = json.get("stats").and_then(serde_json::Value::as_array);
        let list = list.ok_or_else(|| Error::protocol("Envoy's admin interface", "statistics without a list"))?;
        let values = list.iter().filter_map(|stat| {
            let name = stat.get("name")?.as_str()?.to_owned();
            Some((name, stat.get("value")?.as_u64()?))
        });
        Ok(Self(values.collect()))
    }

    /// The value of a counter or gauge; 0 where Envoy does not know it, as many are made at first use.
    pub fn value(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// All whose names contain `part`, for a look around.
    pub fn containing(&self, part: &str) -> Vec<(&str, u64)> {
        self.0.iter().filter(|(name, _)| name.contains(part)).map(|(name, value)| (name.as_str(), *value)).collect()
    }

    /// The sum of those whose names contain `part`: counters that exist once a worker or cluster.
    pub fn sum(&self, part: &str) -> u64 {
        self.containing(part).iter().map(|(_, value)| value).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_kept_and_histograms_are_not() {
        let stats = Stats::parse(&serde_json::json!({"stats": [
            {"name": "wasm.a.created", "value": 2},
            {"name": "wasm.b.created", "value": 3},
            {"name": "server.uptime", "value": 7},
            {"name": "version", "type": "text", "value": "x"},
            {"histograms": {}},
        ]}))
        .unwrap();
        assert_eq!((stats.value("server.uptime"), stats.value("absent")), (7, 0));
        assert_eq!(stats.containing("wasm"), [("wasm.a.created", 2), ("wasm.b.created", 3)]);
        assert_eq!(stats.sum(".created"), 5);
        assert!(Stats::parse(&serde_json::json!({})).is_err());
    }
}
