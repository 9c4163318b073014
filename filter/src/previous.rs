//! Where the boot before ended: asked of the collector when a VM starts, and stated in its log as reported.
//!
//! A log begins with it where the answer comes in time; a log that had to begin without says it in a leaf of its own.

use crate::delivery::{self, Outgoing};
use crate::vm::Vm;
use exeat_engine::evidence::checkpoint::MAX_OTHERS;
use exeat_engine::evidence::{LastHeads, Origin, PreviousRecord};
use exeat_engine::facts::Timestamp;

/// Milliseconds between two questions.
const AGAIN: u64 = 30_000;

/// Bytes of an answer that are read. A log takes some 150 in it.
const ANSWER: usize = 192 * 1024;

/// What is known of the boot before.
#[derive(Default)]
pub(crate) enum Previous {
    /// The collector was not asked.
    #[default]
    Unasked,
    /// It was, in the callout of this token.
    Asked { token: u32, until: Timestamp },
    /// It did not answer.
    Silent { again: Timestamp },
    /// It did, and the log has not begun.
    Reported(LastHeads),
    /// The log says so.
    Recorded,
}

impl Previous {
    /// Whether a log that nobody needs yet may begin.
    pub(crate) fn is_settled(&self, now: Timestamp) -> bool {
        match self {
            Self::Unasked => false,
            Self::Asked { until, .. } => now > *until || until.millis_since(now) > AGAIN.saturating_mul(4),
            Self::Silent { .. } | Self::Reported(_) | Self::Recorded => true,
        }
    }

    /// For the genesis.
    pub(crate) fn take(&mut self) -> Option<LastHeads> {
        match std::mem::take(self) {
            Self::Reported(heads) => {
                *self = Self::Recorded;
                Some(heads)
            }
            other => {
                *self = other;
                None
            }
        }
    }

    /// Whether this callout is the question.
    pub(crate) fn is(&self, of: u32) -> bool {
        matches!(self, Self::Asked { token, .. } if *token == of)
    }
}

/// Asks where that has not been done.
pub(crate) fn ask_first(vm: &mut Vm, now: Timestamp) {
    if matches!(vm.previous, Previous::Unasked) {
        ask(vm, now);
    }
}

/// Asks again where there was no answer: the collector was just heard of.
pub(crate) fn ask_again(vm: &mut Vm, now: Timestamp) {
    let due = match &vm.previous {
        Previous::Silent { again } => now >= *again || again.millis_since(now) > AGAIN,
        asked @ Previous::Asked { .. } => asked.is_settled(now),
        Previous::Unasked | Previous::Reported(_) | Previous::Recorded => false,
    };
    if due {
        ask(vm, now);
    }
}

fn ask(vm: &mut Vm, now: Timestamp) {
    let (Some(gateway), Some((id, boot))) = (vm.gateway(), vm.boot()) else { return };
    let collector = gateway.collector();
    let path = format!("{}?gateway={id}&boot={boot}", beside(&collector.path));
    let request = Outgoing { method: "GET", path: &path, token: vm.token.as_deref(), body: None };
    vm.previous = match delivery::dispatch(collector, &request) {
        Ok(token) => Previous::Asked { token, until: now.plus_millis(collector.timeout) },
        Err(_) => Previous::Silent { again: now.plus_millis(AGAIN) },
    };
}

/// The collector answered, or the host in its place.
pub(crate) fn answered(vm: &mut Vm, now: Timestamp, num_headers: usize, body_size: usize) {
    let heads = delivery::answer(num_headers, body_size, ANSWER)
        .and_then(|body| serde_json::from_slice::<LastHeads>(&body).map_err(|error| error.to_string()));
    let own = vm.boot();
    let credible = heads.ok().zip(own).filter(|(heads, (id, boot))| is_credible(heads, id, boot));
    vm.previous = match credible {
        Some((heads, _)) => Previous::Reported(heads),
        None => Previous::Silent { again: now.plus_millis(AGAIN) },
    };
    if vm.begun_log().is_none() {
        return;
    }
    if let Some(previous) = vm.previous.take() {
        let record = PreviousRecord { time: now, previous };
        match vm.begun_log().map(|log| log.journal.append_previous(&record)) {
            Some(Ok(_)) => {}
            // One that finds no room is asked for again.
            _ => vm.previous = Previous::Silent { again: now.plus_millis(AGAIN) },
        }
    }
}

/// Logs of one other boot of this gateway, no more than a checkpoint may name.
fn is_credible(heads: &LastHeads, gateway: &str, own: &str) -> bool {
    let boot = heads.boot.as_deref();
    let fits = |origin: &Origin| origin.gateway() == gateway && Some(origin.boot()) == boot;
    boot != Some(own)
        && (boot.is_some() || heads.logs.is_empty())
        && heads.logs.len() <= MAX_OTHERS
        && heads.logs.iter().all(|head| fits(&head.origin))
}

/// `/v1/last` beside `/v1/evidence`.
fn beside(path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    format!("{folder}/last")
}

#[cfg(test)]
mod tests {
    use super::*;
    use exeat_engine::evidence::{Hash, LogHead};

    #[test]
    fn the_question_goes_beside_the_evidence() {
        for (path, expected) in
            [("/v1/evidence", "/v1/last"), ("/evidence", "/last"), ("/a/b/c?x=/y", "/a/b/last"), ("/", "/last")]
        {
            assert_eq!(beside(path), expected);
        }
    }

    #[test]
    fn only_logs_of_one_other_boot_of_this_gateway_are_taken() {
        let heads = |boot: Option<&str>, origins: &[&str]| LastHeads {
            boot: boot.map(str::to_owned),
            logs: origins
                .iter()
                .map(|origin| LogHead { origin: Origin::parse(origin).unwrap(), size: 1, root: Hash([0; 32]) })
                .collect(),
        };
        let many: Vec<String> = (0..=MAX_OTHERS).map(|n| format!("g/b1/{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for (boot, origins, good) in [
            (None, &[][..], true),
            (Some("b1"), &["g/b1/1", "g/b1/2"], true),
            (Some("b1"), &[], true),
            (None, &["g/b1/1"], false),
            (Some("b1"), &["g/b1/1", "g/b2/1"], false),
            (Some("b1"), &["other/b1/1"], false),
            (Some("own"), &["g/own/1"], false),
            (Some("b1"), &many, false),
        ] {
            assert_eq!(is_credible(&heads(boot, origins), "g", "own"), good, "{boot:?} {origins:?}");
        }
    }
}
