//! Nonces that were spent, over shared data: each counts once in all workers of the process, in bounded memory.
//!
//! The nonces of a key id lie in [`SHARDS`] values, chosen by fingerprint, of at most [`CAPACITY`] live entries of
//! [`ENTRY`] bytes: 25.3 MB a key id at most, names apart. A key id gets its values when a signature of it first
//! verifies, so their number is bounded by the policies that the process has accepted, and nobody without a key can make
//! one. A live entry is never evicted; where there is no room, the new nonce is refused. Entries that expired go when
//! their shard is next written.
//!
//! **How much that is.** Shards fill unevenly, so the first is full long before all are. A fresh nonce meets a full shard
//! with the probability that Erlang's loss formula gives for `live / SHARDS` and the capacity, whatever the life of a
//! nonce; tests below repeat the numbers. Rates are for a life of 60 s (`max_age` unless set):
//!
//! | live nonces of a key | requests a second | refused |
//! |---|---|---|
//! | 592,000 | 9,800 | one in 10^9 |
//! | 679,000 | 11,300 | one in 10^6 |
//! | 762,000 | 12,700 | one in 10^4 |
//! | 1,048,576 | (17,400) | the bound; 7 of 100 |
//!
//! **Tenants.** A tenant gets in while it holds less than three times the free room of a shard. Alone it comes to 96 of
//! 128 (472,000 live nonces, 7,800 requests a second, for one in 10^6); whatever it sends, the others keep the rest,
//! and several that press at once meet at equal parts.
//!
//! **What it costs.** One read and one write of a shard, each with a MAC over it: 0.2 us for each live entry in it as measured on
//! wasmtime, so 1.5 us at 1,000 requests a second, and 11 us at 7,800.

use crate::budgets;
use crate::sessions::{self, Known};
use crate::shared::SharedData;
use exeat_engine::facts::Timestamp;
use exeat_engine::hex::hex;
use exeat_engine::ledger::budgets as spending;
use exeat_engine::ledger::names::{Charge, Charged, Mark};
use exeat_engine::ledger::{Ledger, NonceFingerprint, SessionName, Share, Spend, Unavailable, ended, seconds_up};
use sha2::{Digest, Sha256};

/// Values over which the nonces of one key id are spread.
const SHARDS: u16 = 8192;

/// Live nonces in one shard.
const CAPACITY: usize = 128;

/// Fingerprint (16), tag of the tenant (4), and the second after which it is forgotten (4).
const ENTRY: usize = 24;

/// So many times the free room of a shard a tenant may hold.
const TENANT_SHARE: usize = 3;

/// The ledger over shared data.
pub(crate) struct SharedLedger<'a>(pub(crate) &'a SharedData, pub(crate) &'a mut Known);

impl Ledger for SharedLedger<'_> {
    fn spend_nonce(&mut self, share: Share<'_>, nonce: NonceFingerprint, now: Timestamp, until: Timestamp) -> Spend {
        let name = name(self.0.prefix(), share.key, nonce);
        let entry = Entry { nonce, tenant: tag(share.tenant), until: seconds_up(until) };
        self.0
            .update(&name, |content| Ok(spend(content.unwrap_or_default(), &entry, now)))
            .unwrap_or(Spend::Unavailable)
    }

    fn charge_names(&mut self, charge: &Charge<'_>, now: Timestamp) -> Charged {
        sessions::charge_names(self.0, self.1, charge, now)
    }

    fn charge_budgets(&mut self, charge: &spending::Charge<'_>, now: Timestamp) -> spending::Charged {
        budgets::charge(self.0, self.1, charge, now)
    }

    fn quarantined(&mut self, session: &SessionName<'_>, now: Timestamp) -> Result<Option<Timestamp>, Unavailable> {
        sessions::quarantined(self.0, session, now)
    }

    fn quarantine(&mut self, session: &SessionName<'_>, until: Timestamp, now: Timestamp) -> Result<(), Unavailable> {
        sessions::quarantine(self.0, session, until, now)
    }

    fn meet(&mut self, share: Share<'_>, meeting: Mark) -> Option<bool> {
        sessions::meet(self.0, self.1, share, meeting)
    }
}

/// The name of a shard. The key id, which may be long, stands in it as 64 bits of its SHA-256: two that collided would share
/// their room, nothing else.
fn name(prefix: &str, key: &str, nonce: NonceFingerprint) -> String {
    let digest: [u8; 32] = Sha256::digest(key).into();
    let [a, b, ..] = nonce.0;
    let shard = u16::from_le_bytes([a, b]) % SHARDS;
    let key = hex(digest.split_at(8).0);
    format!("{prefix}nonce/{key}/{shard}")
}

struct Entry {
    nonce: NonceFingerprint,
    tenant: [u8; 4],
    until: u32,
}

/// Tells tenants apart; two that collided would share their part.
fn tag(tenant: Option<&str>) -> [u8; 4] {
    let Some(tenant) = tenant else { return [0; 4] };
    let digest: [u8; 32] = Sha256::digest(tenant).into();
    let [a, b, c, d, ..] = digest;
    [a, b, c, d]
}

/// One shard: the live entries, and a new one added where its nonce is new and there is room.
fn spend(content: &[u8], new: &Entry, now: Timestamp) -> (Option<Vec<u8>>, Spend) {
    let mut live = Vec::with_capacity(content.len().saturating_add(ENTRY));
    let (mut count, mut own) = (0usize, 0usize);
    // INVARIANT: the content authenticated, so it is whole entries written below.
    for bytes in content.chunks_exact(ENTRY) {
        let Some((nonce, rest)) = bytes.split_first_chunk::<16>() else { continue };
        let Some((tenant, until)) = rest.split_first_chunk::<4>() else { continue };
        let until = until.try_into().map_or(u32::MAX, u32::from_le_bytes);
        if ended(until).is_some_and(|end| end < now) {
            continue;
        }
        if *nonce == new.nonce.0 {
            return (None, Spend::Replayed);
        }
        count = count.saturating_add(1);
        own = own.saturating_add(usize::from(*tenant == new.tenant));
        live.extend_from_slice(bytes);
    }
    // Without free room this refuses everybody.
    if own >= CAPACITY.saturating_sub(count).saturating_mul(TENANT_SHARE) {
        return (None, Spend::Full);
    }
    live.extend_from_slice(&new.nonce.0);
    live.extend_from_slice(&new.tenant);
    live.extend_from_slice(&new.until.to_le_bytes());
    (Some(live), Spend::Fresh)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u32, tenant: &str, until: u64) -> Entry {
        let mut nonce = [0; 16];
        nonce[..4].copy_from_slice(&number.to_le_bytes());
        Entry { nonce: NonceFingerprint(nonce), tenant: tag(Some(tenant)), until: seconds_up(Timestamp(until)) }
    }

    /// Spends so many new nonces of a tenant; how many were taken.
    fn press(content: &mut Vec<u8>, numbers: std::ops::Range<u32>, tenant: &str, now: u64, until: u64) -> usize {
        let mut taken = 0;
        for number in numbers {
            match spend(content, &entry(number, tenant, until), Timestamp(now)) {
                (Some(new), Spend::Fresh) => (*content, taken) = (new, taken + 1),
                (None, Spend::Full) => {}
                other => panic!("{number}: {other:?}"),
            }
        }
        taken
    }

    #[test]
    fn a_shard_is_bounded_and_forgets_only_what_expired() {
        let mut content = Vec::new();
        for tenant in 0..200 {
            press(&mut content, tenant * 10..tenant * 10 + 10, &tenant.to_string(), 0, 5_000);
        }
        assert_eq!(content.len(), CAPACITY * ENTRY);
        let full = content.clone();
        assert_eq!(spend(&content, &entry(9_999, "new", 9_000), Timestamp(5_000)), (None, Spend::Full));
        // Every entry that was taken still counts, to the last moment of its life.
        for bytes in full.chunks(ENTRY) {
            let again = Entry { nonce: NonceFingerprint(bytes[..16].try_into().unwrap()), ..entry(0, "x", 9_000) };
            assert_eq!(spend(&content, &again, Timestamp(5_000)), (None, Spend::Replayed));
        }
        let (new, answer) = spend(&content, &entry(0, "0", 9_000), Timestamp(5_001));
        assert_eq!((new.map(|new| new.len()), answer), (Some(ENTRY), Spend::Fresh));
    }

    #[test]
    fn one_tenant_leaves_a_quarter_to_the_others() {
        let mut content = Vec::new();
        assert_eq!(press(&mut content, 0..1_000, "loud", 0, 5_000), 96);
        assert_eq!(press(&mut content, 1_000..1_024, "quiet", 0, 5_000), 24);
        assert_eq!(press(&mut content, 2_000..2_010, "loud", 0, 5_000), 0);
        assert_eq!(press(&mut content, 3_000..3_010, "third", 0, 5_000), 6);
    }

    #[test]
    fn fractions_of_seconds_are_never_forgotten_early() {
        let (content, _) = spend(&[], &entry(1, "t", 5_001), Timestamp(0));
        let content = content.unwrap();
        assert_eq!(spend(&content, &entry(1, "t", 9_000), Timestamp(5_001)).1, Spend::Replayed);
        let far = Entry { until: seconds_up(Timestamp(u64::MAX)), ..entry(1, "t", 0) };
        let (content, _) = spend(&[], &far, Timestamp(0));
        assert_eq!(spend(&content.unwrap(), &far, Timestamp(u64::MAX)).1, Spend::Replayed);
    }

    #[test]
    fn keys_have_shards_of_their_own_and_names_of_fixed_size() {
        let nonce = NonceFingerprint([255; 16]);
        let names = ["a", "b", &"long".repeat(32)].map(|key| name("p/", key, nonce));
        assert_ne!(names[0], names[1]);
        assert!(names.iter().all(|name| name.len() == "p/nonce/0123456789abcdef/8191".len()), "{names:?}");
    }

    /// Probability that an arrival finds `places` taken, at so much offered load (Erlang B).
    fn loss(load: f64, places: usize) -> f64 {
        (1..=places).fold(1.0, |loss, place| load * loss / (place as f64 + load * loss))
    }

    #[test]
    fn the_table_above_is_what_erlang_says() {
        let per_shard = |live: f64| live / f64::from(SHARDS);
        for (live, refused) in [(592_000.0, 1e-9), (679_000.0, 1e-6), (762_000.0, 1e-4), (1_048_576.0, 0.07)] {
            let computed = loss(per_shard(live), CAPACITY);
            assert!((0.6..1.1).contains(&(computed / refused)), "{live}: {computed:e}");
        }
        let alone = loss(per_shard(472_000.0), CAPACITY * TENANT_SHARE / (TENANT_SHARE + 1));
        assert!((0.6..1.1).contains(&(alone / 1e-6)), "{alone:e}");
    }

    #[test]
    fn shards_fill_as_erlang_says() {
        // Fingerprints as SHA-256 gives them, each living for `LIVE` arrivals: a load at which one in a hundred is refused.
        const LIVE: u32 = 906_000;
        let mut shards: Vec<std::collections::VecDeque<u32>> = vec![Default::default(); SHARDS.into()];
        let mut refused = 0;
        for number in 0..3 * LIVE {
            let digest: [u8; 32] = Sha256::digest(number.to_le_bytes()).into();
            let shard = &mut shards[usize::from(u16::from_le_bytes([digest[0], digest[1]]) % SHARDS)];
            while shard.front().is_some_and(|born| number - born > LIVE) {
                shard.pop_front();
            }
            if shard.len() < CAPACITY { shard.push_back(number) } else { refused += u32::from(number > LIVE) }
        }
        let share = f64::from(refused) / f64::from(2 * LIVE);
        let expected = loss(f64::from(LIVE) / f64::from(SHARDS), CAPACITY);
        assert!((share / expected - 1.0).abs() < 0.15, "{share} where Erlang says {expected}");
    }
}
