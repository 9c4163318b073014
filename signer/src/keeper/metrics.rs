//! What the keeper counts, and the text in which Prometheus reads it (exposition format 0.0.4).

use super::session::Ending;
use crate::protocol::SignRefusal;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Counters since the start.
#[derive(Debug, Default)]
pub struct Counters(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    opened: u64,
    ended: BTreeMap<&'static str, u64>,
    signed: u64,
    refused: BTreeMap<&'static str, u64>,
    rotations: u64,
    turned_away: u64,
}

impl Counters {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count_opened(&self) {
        self.counts().opened += 1;
    }

    pub(crate) fn count_ended(&self, ending: Ending) {
        *self.counts().ended.entry(ending.word()).or_default() += 1;
    }

    pub(crate) fn count_signed(&self) {
        self.counts().signed += 1;
    }

    pub(crate) fn count_refused(&self, refusal: &SignRefusal) {
        *self.counts().refused.entry(reason(refusal)).or_default() += 1;
    }

    pub(crate) fn count_rotation(&self) {
        self.counts().rotations += 1;
    }

    /// A peer of the control socket that is none of those who may use it.
    pub(crate) fn count_turned_away(&self) {
        self.counts().turned_away += 1;
    }

    /// The text. Samples of the proxy come after those of the keeper; what is not one is left out.
    pub(crate) fn text(&self, sessions: usize, proxy: &[(String, f64)]) -> String {
        let counts = self.counts();
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, samples: &[(String, u64)]| {
            let _ = writeln!(text, "# HELP exeat_signer_{name} {help}\n# TYPE exeat_signer_{name} {kind}");
            for (labels, value) in samples {
                let _ = writeln!(text, "exeat_signer_{name}{labels} {value}");
            }
        };
        let one = |value: u64| vec![(String::new(), value)];
        let by = |label: &str, counts: &BTreeMap<&'static str, u64>| {
            counts.iter().map(|(word, count)| (format!("{{{label}=\"{word}\"}}"), *count)).collect::<Vec<_>>()
        };
        family("sessions", "gauge", "Sessions that are open.", &one(u64::try_from(sessions).unwrap_or(u64::MAX)));
        family("sessions_opened_total", "counter", "Sessions opened.", &one(counts.opened));
        family("sessions_ended_total", "counter", "Sessions that ended, and why.", &by("ending", &counts.ended));
        family("signatures_total", "counter", "Signatures made.", &one(counts.signed));
        family("signatures_refused_total", "counter", "Signatures refused, and why.", &by("reason", &counts.refused));
        family("key_rotations_total", "counter", "Changes of the signing key.", &one(counts.rotations));
        family("control_peers_refused_total", "counter", "Connections by users who may not.", &one(counts.turned_away));
        drop(counts);
        for (name, value) in proxy {
            if is_sample(name) && value.is_finite() {
                let _ = writeln!(text, "{name} {value}");
            }
        }
        text
    }
}

fn reason(refusal: &SignRefusal) -> &'static str {
    match refusal {
        SignRefusal::SessionOver => "session-over",
        SignRefusal::Destination { .. } => "destination",
        SignRefusal::Tunnel { .. } => "tunnel",
        SignRefusal::Malformed { .. } => "malformed",
        SignRefusal::TooMany => "too-many",
        SignRefusal::Unavailable => "unavailable",
    }
}

/// Whether a name with labels is that of a sample of the proxy: a proxy in the wrong hands must write nothing else into the
/// answer. `exeat_proxy_name{label="value",...}`.
fn is_sample(text: &str) -> bool {
    let (name, labels) = match text.split_once('{') {
        Some((name, rest)) => (name, rest.strip_suffix('}')),
        None => (text, Some("")),
    };
    let word =
        |text: &str| !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    let label = |text: &str| {
        text.split_once("=\"").is_some_and(|(name, value)| {
            let value = value.strip_suffix('"');
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/ +".contains(&byte);
            word(name) && value.is_some_and(|value| value.bytes().all(plain))
        })
    };
    text.len() <= 256
        && name.starts_with("exeat_proxy_")
        && word(name)
        && labels.is_some_and(|labels| labels.is_empty() || labels.split(',').all(label))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_can_add_samples_and_nothing_else() {
        for good in [
            "exeat_proxy_connections",
            "exeat_proxy_requests_total{status=\"2xx\"}",
            "exeat_proxy_x{a=\"b\",le=\"+Inf\"}",
        ] {
            assert!(is_sample(good), "{good}");
        }
        for bad in [
            "",
            "exeat_signer_sessions",
            "up",
            "exeat_proxy_x 1\nup",
            "exeat_proxy_x{a=\"b\nup 1\"}",
            "exeat_proxy_x{a=\"b\"",
            "exeat_proxy_x{a=b}",
            "exeat_proxy_x{a=\"\\\"\"}",
            "exeat_proxy_x{=\"b\"}",
            "exeat_proxy_X",
        ] {
            assert!(!is_sample(bad), "{bad}");
        }
        let counters = Counters::default();
        counters.count_refused(&SignRefusal::TooMany);
        let samples =
            [("exeat_proxy_a".to_owned(), 1.5), ("up".to_owned(), 1.0), ("exeat_proxy_b".to_owned(), f64::NAN)];
        let text = counters.text(3, &samples);
        assert!(text.contains("exeat_signer_sessions 3\n"));
        assert!(text.contains("exeat_signer_signatures_refused_total{reason=\"too-many\"} 1\n"));
        assert!(text.ends_with("\nexeat_proxy_a 1.5\n"));
    }
}
