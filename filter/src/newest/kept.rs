//! What is kept of configurations in shared data, and which of two is the newer one.

use crate::shared::{ONLY_IF_ABSENT, SharedData, SharedError};
use exeat_engine::facts::Timestamp;
use exeat_engine::hex::hex;
use proxy_wasm::hostcalls;
use proxy_wasm::types::Status;
use sha2::{Digest as _, Sha256};

/// Digests of configurations that were replaced.
const BEFORE: usize = 256;

/// Places for configurations of one plugin: the newest, the one that it replaced, and one to write the next to.
const SLOTS: u8 = 3;
const NOWHERE: u8 = u8::MAX;

/// Milliseconds after which nobody waits any more for a VM that writes.
const PATIENCE: u64 = 1_000;

/// SHA-256 of a configuration's bytes.
pub(crate) type Digest = [u8; 32];
type Short = [u8; 8];

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

fn short(digest: &Digest) -> Short {
    let [a, b, c, d, e, f, g, h, ..] = *digest;
    [a, b, c, d, e, f, g, h]
}

/// Where and how one configuration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stored {
    digest: Digest,
    slot: u8,
}

/// What stands under `newest/<plugin>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// When Envoy brought it last.
    pub(super) at: Timestamp,
    /// Since when it is the newest.
    since: Timestamp,
    /// How many VMs Envoy has brought it to since.
    bringers: u16,
    stored: Stored,
    /// What it replaced, as long as that can be put back.
    former: Option<Stored>,
    /// Since when a VM writes what is to be next; 0 where none does.
    writing: Timestamp,
    before: Vec<Short>,
}

impl Kept {
    fn to_bytes(&self) -> Vec<u8> {
        let former = self.former.unwrap_or(Stored { digest: [0; 32], slot: NOWHERE });
        let mut value = Vec::with_capacity(self.before.len().saturating_mul(8).saturating_add(94));
        value.extend_from_slice(&self.at.millis().to_le_bytes());
        value.extend_from_slice(&self.writing.millis().to_le_bytes());
        value.extend_from_slice(&self.since.millis().to_le_bytes());
        value.extend_from_slice(&self.bringers.to_le_bytes());
        for Stored { digest, slot } in [self.stored, former] {
            value.extend_from_slice(&digest);
            value.push(slot);
        }
        // INVARIANT: at most 256.
        value.extend_from_slice(&u16::try_from(self.before.len()).unwrap_or(0).to_le_bytes());
        value.extend_from_slice(self.before.as_flattened());
        value
    }

    fn read(value: &[u8]) -> Option<Self> {
        let (at, rest) = value.split_first_chunk::<8>()?;
        let (writing, rest) = rest.split_first_chunk::<8>()?;
        let (since, rest) = rest.split_first_chunk::<8>()?;
        let (bringers, rest) = rest.split_first_chunk::<2>()?;
        let (stored, rest) = rest.split_first_chunk::<33>()?;
        let (former, rest) = rest.split_first_chunk::<33>()?;
        let (count, rest) = rest.split_first_chunk::<2>()?;
        let (before, []) = rest.as_chunks::<8>() else { return None };
        let time = |bytes: &[u8; 8]| Timestamp(u64::from_le_bytes(*bytes));
        let read = |[digest @ .., slot]: &[u8; 33]| Stored { digest: *digest, slot: *slot };
        let kept = Self {
            at: time(at),
            since: time(since),
            bringers: u16::from_le_bytes(*bringers),
            stored: read(stored),
            former: Some(read(former)).filter(|former| former.slot != NOWHERE),
            writing: time(writing),
            before: before.to_vec(),
        };
        (before.len() == usize::from(u16::from_le_bytes(*count))).then_some(kept)
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { at: self.at, digest: self.stored.digest }
    }

    /// As who is brought it marks it: told apart by when it became the newest from the same before and after.
    fn reign(&self) -> Mark {
        Mark { at: self.since, digest: self.stored.digest }
    }

    /// Whether this came after what is marked so. What was replaced before is older than each time that Envoy brings this one;
    /// to one that is new a VM which is late, or built anew, takes nothing away by bringing the one before once more.
    pub(super) fn overtakes(&self, Mark { at, digest }: Mark) -> bool {
        let since = if self.before.contains(&short(&digest)) { self.at } else { self.since };
        digest != self.stored.digest && since >= at
    }

    /// A slot in which nothing stands that counts.
    fn free(&self) -> u8 {
        let taken = |slot: &u8| *slot == self.stored.slot || self.former.is_some_and(|former| former.slot == *slot);
        (0..SLOTS).find(|slot| !taken(slot)).unwrap_or(0)
    }
}

/// Which configuration, and when Envoy brought it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) at: Timestamp,
    pub(super) digest: Digest,
}

/// A configuration that Envoy brought.
pub(super) struct Offered {
    /// Its place in the order of all.
    pub(super) at: Timestamp,
    pub(super) digest: Digest,
    pub(super) bytes: Vec<u8>,
    /// What this VM judged by when it came.
    pub(super) before: Option<Digest>,
    /// Whether nothing newer came for a while.
    pub(super) alone: bool,
}

/// Where a VM comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// It does not stand in the place of another.
    First,
    /// It is too young to say.
    Unsure,
    /// Perhaps in the place of one that died: Envoy brings it what old listeners have.
    Rebuilt,
}

/// What comes of a configuration that Envoy brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Keeping {
    /// It is kept from now on, and replaces those whose digests begin so.
    Replace(Vec<Short>),
    /// What is kept is newer, or the same.
    Stays,
    /// It was replaced before: this VM has it from a listener that is on its way out.
    Past,
    /// It was replaced before, and perhaps comes again.
    Unclear,
}

fn keep(kept: Option<&Kept>, offered: &Offered, origin: Origin) -> Keeping {
    let Some(kept) = kept else { return Keeping::Replace(Vec::new()) };
    let (digest, before) = (kept.stored.digest, &kept.before);
    if digest == offered.digest || kept.overtakes(Mark { at: offered.at, digest: offered.digest }) {
        return Keeping::Stays;
    }
    if before.contains(&short(&offered.digest)) {
        match origin {
            Origin::Rebuilt => return Keeping::Past,
            Origin::First if offered.alone || offered.before == Some(digest) => {}
            Origin::First | Origin::Unsure => return Keeping::Unclear,
        }
    }
    Keeping::Replace(std::iter::once(short(&digest)).chain(before.iter().copied()).take(BEFORE).collect())
}

/// How far an offer has come.
enum Turn {
    Done(Keeping, Mark),
    /// It is to be written there.
    Write {
        slot: u8,
        /// What is marked as long as nobody else writes; `None` where nothing stands.
        turn: Option<Timestamp>,
    },
}

/// Where the newest configuration of a plugin stands.
pub(super) struct Place {
    newest: String,
    configuration: String,
}

impl Place {
    pub(super) fn of(shared: &SharedData, plugin: &str) -> Self {
        let (name, prefix) = (hex(&short(&digest(plugin.as_bytes()))), shared.prefix());
        Self { newest: format!("{prefix}newest/{name}"), configuration: format!("{prefix}configuration/{name}/") }
    }

    /// What stands there, which says by itself only whether it is something else. Nothing where it cannot be read.
    pub(super) fn glance(&self) -> Vec<u8> {
        hostcalls::get_shared_data(&self.newest).ok().and_then(|(value, _)| value).unwrap_or_default()
    }

    pub(super) fn kept(&self, shared: &SharedData) -> Result<Option<Kept>, SharedError> {
        shared.value(&self.newest)?.map(|content| Kept::read(&content).ok_or(SharedError::NotAuthentic)).transpose()
    }

    /// The configuration itself; `None` where something else stands in its place.
    pub(super) fn configuration(&self, kept: &Kept) -> Result<Option<Vec<u8>>, SharedError> {
        let name = format!("{}{}", self.configuration, kept.stored.slot);
        let bytes = match hostcalls::get_shared_data(&name) {
            Ok((bytes, _)) => bytes,
            Err(Status::NotFound) => None,
            Err(status) => return Err(SharedError::Host(status)),
        };
        Ok(bytes.filter(|bytes| digest(bytes) == kept.stored.digest))
    }

    fn change<T>(
        &self,
        shared: &SharedData,
        mut change: impl FnMut(Option<Kept>) -> Result<(Option<Kept>, T), SharedError>,
    ) -> Result<T, SharedError> {
        shared.update(&self.newest, |content| {
            let kept = content.map(|content| Kept::read(content).ok_or(SharedError::NotAuthentic)).transpose()?;
            change(kept).map(|(new, answer)| (new.map(|new| new.to_bytes()), answer))
        })
    }

    /// Keeps it for others, where it is the newest. `brought` is how this VM has marked it already; how it has afterwards.
    pub(super) fn offer(
        &self,
        shared: &SharedData,
        offered: &Offered,
        origin: Origin,
        brought: Option<Mark>,
        now: Timestamp,
    ) -> Result<(Keeping, Mark), SharedError> {
        // Most often another VM was quicker.
        if let Some(mark) = self.mark_again(shared, Mark { at: offered.at, digest: offered.digest }, brought)? {
            return Ok((Keeping::Stays, mark));
        }
        let turn = self.change(shared, |kept| {
            let Some(kept) = kept else { return Ok((None, Turn::Write { slot: 0, turn: None })) };
            match keep(Some(&kept), offered, origin) {
                // One writes at a time, so that each finds there what it wrote.
                Keeping::Replace(_) if now.millis().abs_diff(kept.writing.millis()) <= PATIENCE => {
                    Err(SharedError::Contended)
                }
                Keeping::Replace(_) => {
                    let turn = Turn::Write { slot: kept.free(), turn: Some(now) };
                    Ok((Some(Kept { writing: now, ..kept }), turn))
                }
                which => Ok((None, Turn::Done(which, kept.reign()))),
            }
        })?;
        let (slot, turn) = match turn {
            Turn::Done(keeping, mark) => return Ok((keeping, mark)),
            Turn::Write { slot, turn } => (slot, turn),
        };
        let is_over = |kept: Option<&Kept>| kept.map(|kept| kept.writing) != turn;
        // Who stood still for longer than others wait does not write over what they wrote: nobody would write that again.
        let name = format!("{}{slot}", self.configuration);
        let number = match hostcalls::get_shared_data(&name) {
            Ok((_, number)) => number.unwrap_or(ONLY_IF_ABSENT),
            Err(Status::NotFound) => ONLY_IF_ABSENT,
            Err(status) => return Err(SharedError::Host(status)),
        };
        if is_over(self.kept(shared)?.as_ref()) {
            return Err(SharedError::Contended);
        }
        hostcalls::set_shared_data(&name, Some(&offered.bytes), Some(number)).map_err(|status| match status {
            Status::CasMismatch => SharedError::Contended,
            status => SharedError::Host(status),
        })?;
        self.change(shared, |kept| {
            if is_over(kept.as_ref()) {
                return Err(SharedError::Contended);
            }
            let keeping = keep(kept.as_ref(), offered, origin);
            Ok(match (&keeping, kept) {
                (Keeping::Replace(before), kept) => {
                    let new = Kept {
                        at: offered.at,
                        since: offered.at,
                        bringers: 1,
                        stored: Stored { digest: offered.digest, slot },
                        former: kept.map(|kept| kept.stored),
                        writing: Timestamp::default(),
                        before: before.clone(),
                    };
                    let mark = new.reign();
                    (Some(new), (keeping, mark))
                }
                (_, Some(kept)) => {
                    let mark = kept.reign();
                    (Some(Kept { writing: Timestamp::default(), ..kept }), (keeping, mark))
                }
                // INVARIANT: where there is nothing, it is replaced.
                (_, None) => (None, (Keeping::Stays, Mark { at: offered.at, digest: offered.digest })),
            })
        })
    }

    /// Marks that Envoy has brought once more what is the newest: to a VM that has marked it so already, if at all.
    pub(super) fn mark_again(
        &self,
        shared: &SharedData,
        own: Mark,
        brought: Option<Mark>,
    ) -> Result<Option<Mark>, SharedError> {
        self.change(shared, |kept| {
            let Some(kept) = kept.filter(|kept| kept.stored.digest == own.digest) else { return Ok((None, None)) };
            let again = brought == Some(kept.reign());
            let bringers = kept.bringers.saturating_add(u16::from(!again));
            let new = Kept { at: own.at.max(kept.at.plus_millis(1)), bringers, ..kept };
            let mark = new.reign();
            Ok((Some(new), Some(mark)))
        })
    }

    /// The VM that has marked it so has it no longer, for its listener was refused. With the last of those that it was brought to
    /// what it replaced is put back: one that serves has it by another listener, too.
    pub(super) fn put_back(&self, shared: &SharedData, brought: Mark, now: Timestamp) -> Result<(), SharedError> {
        self.change(shared, |kept| {
            let back = kept.filter(|kept| kept.reign() == brought).map(|kept| {
                let bringers = kept.bringers.saturating_sub(1);
                let (0, Some(stored)) = (bringers, kept.former) else { return Kept { bringers, ..kept } };
                let at = now.max(kept.at.plus_millis(1));
                let before = kept.before.into_iter().skip(1).collect();
                Kept { at, since: at, bringers: 0, stored, former: None, writing: kept.writing, before }
            });
            Ok((back, ()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(at: u64, bytes: &[u8], before: Option<&[u8]>) -> Offered {
        let (at, bytes) = (Timestamp(at), bytes.to_vec());
        Offered { at, digest: digest(&bytes), bytes, before: before.map(digest), alone: false }
    }

    /// What is kept after it, where that is something else.
    fn after(kept: Option<&Kept>, offered: &Offered, origin: Origin) -> Result<Kept, Keeping> {
        match keep(kept, offered, origin) {
            Keeping::Replace(before) => {
                let stored = Stored { digest: offered.digest, slot: kept.map_or(0, Kept::free) };
                let former = kept.map(|kept| kept.stored);
                let (at, writing) = (offered.at, Timestamp::default());
                Ok(Kept { at, since: at, bringers: 1, stored, former, writing, before })
            }
            which => Err(which),
        }
    }

    #[test]
    fn the_last_one_is_kept_with_those_before() {
        let first = after(None, &offered(10, b"one", None), Origin::Unsure).unwrap();
        assert_eq!(after(Some(&first), &offered(20, b"one", None), Origin::First), Err(Keeping::Stays), "the same");
        assert_eq!(
            after(Some(&first), &offered(10, b"two", Some(b"one")), Origin::First),
            Err(Keeping::Stays),
            "as old"
        );
        // What was never there before is new, whoever brings it.
        let second = after(Some(&first), &offered(20, b"two", None), Origin::Rebuilt).unwrap();
        assert_eq!(after(Some(&second), &offered(15, b"one", None), Origin::First), Err(Keeping::Stays), "overtaken");
        assert_eq!(second.before, [short(&digest(b"one"))]);
        let mut kept = second;
        for n in 0..1_000_u64 {
            let next = after(Some(&kept), &offered(100 + n, format!("{n}").as_bytes(), None), Origin::Unsure).unwrap();
            // Neither the one before is written over, nor the one before that.
            assert_eq!(next.former, Some(kept.stored));
            assert!([Some(kept.stored), kept.former].iter().flatten().all(|other| other.slot != next.stored.slot));
            kept = next;
        }
        assert_eq!((kept.before.len(), kept.before[0]), (BEFORE, short(&digest(b"998"))));
    }

    /// The operator goes back. A worker that is late, or a VM that died and was built anew, does not.
    #[test]
    fn what_was_replaced_is_not_new() {
        let first = after(None, &offered(10, b"one", None), Origin::First).unwrap();
        let second = after(Some(&first), &offered(20, b"two", Some(b"one")), Origin::First).unwrap();
        let (back, late) = (offered(30, b"one", Some(b"two")), offered(30, b"one", Some(b"none")));
        assert!(after(Some(&second), &back, Origin::First).is_ok());
        for (offered, origin) in [(&back, Origin::Unsure), (&late, Origin::Unsure), (&late, Origin::First)] {
            assert_eq!(after(Some(&second), offered, origin), Err(Keeping::Unclear), "{origin:?}");
        }
        for offered in [&back, &late] {
            assert_eq!(after(Some(&second), offered, Origin::Rebuilt), Err(Keeping::Past));
        }
        // Nothing newer came.
        let alone = Offered { alone: true, ..late };
        assert!(after(Some(&second), &alone, Origin::First).is_ok());
        assert_eq!(after(Some(&second), &alone, Origin::Unsure), Err(Keeping::Unclear));
        assert_eq!(after(Some(&second), &alone, Origin::Rebuilt), Err(Keeping::Past));
    }

    /// A VM is late, or was built anew, and brings the one before once more while another waits for its first tick.
    #[test]
    fn what_is_brought_once_more_is_not_new() {
        let first = after(None, &offered(10, b"one", None), Origin::First).unwrap();
        let again = Kept { at: Timestamp(30), ..first };
        let second = after(Some(&again), &offered(20, b"two", None), Origin::Unsure).unwrap();
        // By those that have what replaced another, that one is older.
        let again = Kept { at: Timestamp(50), ..second };
        let late = Offered { alone: true, ..offered(40, b"one", None) };
        assert_eq!(after(Some(&again), &late, Origin::First), Err(Keeping::Stays));
    }

    #[test]
    fn nothing_else_is_read() {
        let stored = |n| Stored { digest: [n; 32], slot: n };
        let (at, since, bringers, writing) = (Timestamp(7), Timestamp(5), 3, Timestamp(9));
        let kept = |former, before| Kept { at, since, bringers, stored: stored(1), former, writing, before };
        for kept in [kept(Some(stored(2)), vec![[1; 8], [2; 8]]), kept(None, Vec::new())] {
            let value = kept.to_bytes();
            for end in 0..value.len() {
                assert_eq!(Kept::read(&value[..end]), None);
            }
            assert_eq!(Kept::read(&[&value[..], b"12345678"].concat()), None);
            assert_eq!(Kept::read(&value), Some(kept));
        }
    }
}
