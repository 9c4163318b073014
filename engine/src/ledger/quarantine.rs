//! Sessions whose requests are all refused for a time: one value of the ledger.

use super::names::SessionFingerprint;
use super::{ended, seconds_up};
use crate::facts::Timestamp;

/// Fingerprint, and the second after which it is over.
const ENTRY: usize = 20;

/// Until when a session is quarantined, by what a value of the ledger holds.
pub fn quarantined(content: &[u8], session: SessionFingerprint, now: Timestamp) -> Option<Timestamp> {
    let until =
        content.chunks_exact(ENTRY).filter_map(read).find(|(of, _)| *of == session.0).map(|(_, until)| until)?;
    // One that never ends is told as the last end that can be written, or as one that has not come yet.
    let until = ended(until).unwrap_or_else(|| Timestamp::from_seconds(u64::from(until)).max(now));
    (until >= now).then_some(until)
}

/// The value with a session quarantined until then, or for longer where it already is; `None` where there is no room for one
/// more in so many bytes. What is over is left out; what is not never is.
pub fn with(
    content: &[u8],
    session: SessionFingerprint,
    until: Timestamp,
    now: Timestamp,
    room: usize,
) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(content.len().saturating_add(ENTRY));
    let mut until = seconds_up(until);
    for (of, end) in content.chunks_exact(ENTRY).filter_map(read) {
        if of == session.0 {
            until = until.max(end);
        } else if ended(end).is_none_or(|end| end >= now) {
            out.extend_from_slice(&of);
            out.extend_from_slice(&end.to_le_bytes());
        }
    }
    out.extend_from_slice(&session.0);
    out.extend_from_slice(&until.to_le_bytes());
    (out.len() <= room).then_some(out)
}

fn read(entry: &[u8]) -> Option<([u8; 16], u32)> {
    let (of, until) = entry.split_first_chunk::<16>()?;
    Some((*of, u32::from_le_bytes(until.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(name: &str) -> SessionFingerprint {
        SessionFingerprint::new(Some("acme"), "a", name)
    }

    #[test]
    fn a_quarantine_ends_and_never_shortens() {
        let (now, room) = (Timestamp(1_000), 2 * ENTRY);
        let content = with(&[], session("a"), Timestamp(5_500), now, room).unwrap();
        assert_eq!(quarantined(&content, session("a"), Timestamp(6_000)), Some(Timestamp(6_000)));
        assert_eq!(quarantined(&content, session("a"), Timestamp(6_001)), None);
        assert_eq!(quarantined(&content, session("b"), now), None);
        let content = with(&content, session("a"), Timestamp(2_000), now, room).unwrap();
        assert_eq!(quarantined(&content, session("a"), now), Some(Timestamp(6_000)));
    }

    #[test]
    fn beyond_what_its_seconds_count_a_quarantine_never_ends() {
        let (now, room) = (Timestamp::from_seconds(u64::from(u32::MAX) + 1), 2 * ENTRY);
        let content = with(&[], session("a"), now.plus_millis(1), now, room).unwrap();
        assert_eq!(quarantined(&content, session("a"), now), Some(now));
        let content = with(&content, session("b"), now.plus_millis(1), now, room).unwrap();
        assert_eq!(quarantined(&content, session("a"), Timestamp(u64::MAX)), Some(Timestamp(u64::MAX)));
        assert_eq!(with(&content, session("c"), now, now, room), None);
    }

    #[test]
    fn a_full_value_takes_no_more_until_one_is_over() {
        let (now, room) = (Timestamp(1_000), 2 * ENTRY);
        let content = with(&[], session("a"), Timestamp(5_000), now, room).unwrap();
        let content = with(&content, session("b"), Timestamp(9_000), now, room).unwrap();
        assert_eq!(with(&content, session("c"), Timestamp(9_000), now, room), None);
        let content = with(&content, session("c"), Timestamp(9_000), Timestamp(5_001), room).unwrap();
        assert!(
            quarantined(&content, session("b"), now).is_some() && quarantined(&content, session("a"), now).is_none()
        );
    }

    #[test]
    fn sessions_of_one_name_are_those_of_their_agent_and_tenant() {
        let all = [
            SessionFingerprint::new(Some("acme"), "a", "s"),
            SessionFingerprint::new(Some("acme"), "b", "s"),
            SessionFingerprint::new(Some(""), "a", "s"),
            SessionFingerprint::new(None, "a", "s"),
            SessionFingerprint::new(Some("acmea"), "", "s"),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
