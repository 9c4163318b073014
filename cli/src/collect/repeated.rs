//! Signed requests that went out by two logs. Each gateway process remembers nonces for itself alone, so that a request which
//! is sent to two of them passes twice: here both are seen.
//!
//! Kept for as long as a signature can be accepted anywhere; `exeat audit verify` looks over all time.

use super::batch::Leaf;
use exeat_engine::evidence::Origin;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::collections::{HashMap, VecDeque};

/// How long one is remembered by the time of decisions, ms: `max_age` is 60 s unless set, and an hour is more than anybody sets.
const REMEMBERED: u64 = 3_600_000;
/// Most that are remembered; the oldest go first. Some 80 bytes each.
const MOST: usize = 1 << 20;

type Digest = [u8; 16];

/// The decisions of late.
#[derive(Debug, Default)]
pub struct Repeated {
    /// Signature base to the log that let it go.
    seen: HashMap<Digest, u64>,
    order: VecDeque<(u64, Digest)>,
}

/// What matters of a leaf.
#[derive(Deserialize)]
struct Seen {
    kind: String,
    id: Option<String>,
    time: u64,
    released: Option<String>,
    signature_base: Option<String>,
    agent: Option<String>,
}

impl Repeated {
    /// Looks at records that were stored; one message for each signature that another log let go before.
    pub fn look(&mut self, origin: &Origin, leaves: &[Leaf]) -> Vec<String> {
        let log = short(origin.as_str());
        let log = u64::from_be_bytes(log.first_chunk().copied().unwrap_or_default());
        leaves.iter().filter_map(|leaf| self.one(origin, log, &leaf.line)).collect()
    }

    fn one(&mut self, origin: &Origin, log: u64, line: &str) -> Option<String> {
        // Cheaper than reading each completion.
        if !line.contains("\"signature_base\"") {
            return None;
        }
        let Seen { kind, id, time, released, signature_base, agent } = serde_json::from_str(line).ok()?;
        let (base, released) = (signature_base?, released?);
        if kind != "decision" || released == "none" {
            return None;
        }
        while self.order.len() >= MOST
            || self.order.front().is_some_and(|(seen, _)| seen.saturating_add(REMEMBERED) < time)
        {
            let (_, oldest) = self.order.pop_front()?;
            self.seen.remove(&oldest);
        }
        let digest = short(&base);
        match self.seen.get(&digest) {
            Some(other) if *other != log => Some(format!(
                "{origin} let a signed request go that another log let go before: decision {} of agent {:?}",
                id.unwrap_or_default(),
                agent.unwrap_or_default()
            )),
            Some(_) => None,
            None => {
                self.seen.insert(digest, log);
                self.order.push_back((time, digest));
                None
            }
        }
    }
}

fn short(text: &str) -> Digest {
    Sha256::digest(text).first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use exeat_engine::evidence::Hash;

    fn leaf(time: u64, base: &str, released: &str) -> Leaf {
        let line = serde_json::json!({
            "kind": "decision", "id": "d", "time": time, "released": released, "agent": "a\u{1b}", "signature_base": base
        });
        Leaf { line: line.to_string(), hash: Hash::of_leaf(b"") }
    }

    #[test]
    fn the_same_signature_in_two_logs_is_told_once_each() {
        let origin = |vm: &str| Origin::new("gw", "b", vm).unwrap();
        let mut repeated = Repeated::default();
        assert!(repeated.look(&origin("w0"), &[leaf(1, "x", "head"), leaf(2, "y", "none")]).is_empty());
        // Refused there, or the same log once more: nothing went out twice.
        assert!(repeated.look(&origin("w1"), &[leaf(3, "x", "none"), leaf(3, "y", "head+body")]).is_empty());
        assert!(repeated.look(&origin("w0"), &[leaf(4, "x", "head")]).is_empty());
        let told = repeated.look(&origin("w1"), &[leaf(5, "x", "head+body")]);
        assert_eq!(
            told,
            ["gw/b/w1 let a signed request go that another log let go before: decision d of agent \"a\\u{1b}\""]
        );
        // Long after, the signature could not have been accepted.
        assert!(repeated.look(&origin("w1"), &[leaf(REMEMBERED + 10, "z", "head")]).is_empty());
        assert_eq!((repeated.seen.len(), repeated.order.len()), (1, 1));
    }

    #[test]
    fn memory_is_bounded() {
        let origin = Origin::new("gw", "b", "w").unwrap();
        let mut repeated = Repeated::default();
        for n in 0..MOST + 10 {
            repeated.look(&origin, &[leaf(1, &n.to_string(), "head")]);
        }
        assert_eq!((repeated.seen.len(), repeated.order.len()), (MOST, MOST));
    }
}
