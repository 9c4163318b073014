//! What is kept of configurations in shared data, and which of two is the newer one.

use crate::shared::{SharedData, SharedError};
use exeat_engine::facts::Timestamp;
use exeat_engine::hex::hex;
use proxy_wasm::hostcalls;
use sha2::{Digest as _, Sha256};

/// Digests of configurations that were replaced.
const BEFORE: usize = 256;

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

/// What stands under `configured/<plugin>`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kept<'a> {
    pub(super) mark: Mark,
    before: Vec<Short>,
    /// As it came.
    pub(super) bytes: &'a [u8],
}

impl<'a> Kept<'a> {
    fn to_value(&self) -> Vec<u8> {
        let before = self.before.as_flattened();
        let mut value = Vec::with_capacity(before.len().saturating_add(self.bytes.len()).saturating_add(42));
        value.extend_from_slice(&self.mark.to_bytes());
        // INVARIANT: at most 256.
        value.extend_from_slice(&u16::try_from(self.before.len()).unwrap_or(0).to_le_bytes());
        value.extend_from_slice(before);
        value.extend_from_slice(self.bytes);
        value
    }

    pub(super) fn read(value: &'a [u8]) -> Option<Self> {
        let (mark, rest) = value.split_first_chunk::<40>()?;
        let (count, rest) = rest.split_first_chunk::<2>()?;
        let (before, bytes) = rest.split_at_checked(usize::from(u16::from_le_bytes(*count)).checked_mul(8)?)?;
        let (before, []) = before.as_chunks::<8>() else { return None };
        Some(Self { mark: Mark::read(mark)?, before: before.to_vec(), bytes })
    }
}

/// What stands under `newest/<plugin>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) at: Timestamp,
    pub(super) digest: Digest,
}

impl Mark {
    fn to_bytes(self) -> Vec<u8> {
        [&self.at.millis().to_le_bytes()[..], &self.digest].concat()
    }

    fn read(content: &[u8]) -> Option<Self> {
        let (at, digest) = content.split_first_chunk::<8>()?;
        Some(Self { at: Timestamp(u64::from_le_bytes(*at)), digest: Digest::try_from(digest).ok()? })
    }
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

fn keep(kept: Option<&Kept<'_>>, offered: &Offered, origin: Origin) -> Keeping {
    let Some(Kept { mark, before, .. }) = kept else { return Keeping::Replace(Vec::new()) };
    if mark.digest == offered.digest || mark.at >= offered.at {
        return Keeping::Stays;
    }
    if before.contains(&short(&offered.digest)) {
        match origin {
            Origin::Rebuilt => return Keeping::Past,
            Origin::First if offered.alone || offered.before == Some(mark.digest) => {}
            Origin::First | Origin::Unsure => return Keeping::Unclear,
        }
    }
    Keeping::Replace(std::iter::once(short(&mark.digest)).chain(before.iter().copied()).take(BEFORE).collect())
}

/// Where the newest configuration of a plugin stands.
pub(super) struct Place {
    configured: String,
    replaced: String,
    newest: String,
}

impl Place {
    pub(super) fn of(shared: &SharedData, plugin: &str) -> Self {
        let (name, prefix) = (hex(&short(&digest(plugin.as_bytes()))), shared.prefix());
        let of = |kind: &str| format!("{prefix}{kind}/{name}");
        Self { configured: of("configured"), replaced: of("replaced"), newest: of("newest") }
    }

    /// The bytes of the mark, which say by themselves only whether it is another one. None where nothing can be read.
    pub(super) fn glance(&self) -> Vec<u8> {
        hostcalls::get_shared_data(&self.newest).ok().and_then(|(value, _)| value).unwrap_or_default()
    }

    pub(super) fn mark(&self, shared: &SharedData) -> Result<Option<Mark>, SharedError> {
        let Some(content) = shared.value(&self.newest)? else { return Ok(None) };
        Mark::read(&content).map(Some).ok_or(SharedError::NotAuthentic)
    }

    /// What is to be read by [`Kept::read`].
    pub(super) fn value(&self, shared: &SharedData) -> Result<Option<Vec<u8>>, SharedError> {
        shared.value(&self.configured)
    }

    /// Keeps it for others, where it is the newest. What is marked afterwards.
    pub(super) fn offer(
        &self,
        shared: &SharedData,
        offered: &Offered,
        origin: Origin,
    ) -> Result<(Keeping, Mark), SharedError> {
        let newest = self.mark(shared)?;
        let own = Mark { at: offered.at, digest: offered.digest };
        // Most often another VM was quicker.
        if let Some(mark) = self.mark_again(shared, own)? {
            return Ok((Keeping::Stays, mark));
        }
        let (keeping, mark) = shared.update(&self.configured, |content| {
            let mut kept = content.map(|content| Kept::read(content).ok_or(SharedError::NotAuthentic)).transpose()?;
            if let (Some(kept), Some(newest)) = (&mut kept, newest)
                && kept.mark.digest == newest.digest
            {
                kept.mark.at = kept.mark.at.max(newest.at);
            }
            let keeping = keep(kept.as_ref(), offered, origin);
            Ok(match (&keeping, kept) {
                (Keeping::Replace(before), _) => {
                    if let Some(content) = content {
                        shared.put(&self.replaced, content)?;
                    }
                    let new = Kept { mark: own, before: before.clone(), bytes: &offered.bytes };
                    (Some(new.to_value()), (keeping, own))
                }
                (_, kept) => (None, (keeping, kept.map_or(own, |kept| kept.mark))),
            })
        })?;
        self.put(shared, mark)?;
        Ok((keeping, mark))
    }

    /// Marks that Envoy has brought once more what is the newest.
    pub(super) fn mark_again(&self, shared: &SharedData, own: Mark) -> Result<Option<Mark>, SharedError> {
        shared.update(&self.newest, |content| {
            let mark = content.map(|content| Mark::read(content).ok_or(SharedError::NotAuthentic)).transpose()?;
            let again = mark.filter(|mark| mark.digest == own.digest);
            let later = again.map(|mark| Mark { at: own.at.max(mark.at.plus_millis(1)), ..own });
            Ok((later.map(Mark::to_bytes), later))
        })
    }

    fn put(&self, shared: &SharedData, new: Mark) -> Result<(), SharedError> {
        shared.update(&self.newest, |content| {
            let before = content.and_then(Mark::read).map_or(Timestamp::default(), |mark| mark.at);
            Ok(((new.at > before).then(|| new.to_bytes()), ()))
        })
    }

    /// Puts back what the one replaced that is marked so, where nobody has brought it since, and nothing newer.
    pub(super) fn put_back(&self, shared: &SharedData, brought: Mark, now: Timestamp) -> Result<(), SharedError> {
        let Some(value) = shared.value(&self.replaced)? else { return Ok(()) };
        let mut former = Kept::read(&value).ok_or(SharedError::NotAuthentic)?;
        former.mark.at = now.max(brought.at.plus_millis(1));
        let is_back = shared.update(&self.newest, |content| {
            let stands = content.and_then(Mark::read) == Some(brought);
            Ok((stands.then(|| former.mark.to_bytes()), stands))
        })?;
        if !is_back {
            return Ok(());
        }
        shared.update(&self.configured, |content| {
            let kept = content.map(|content| Kept::read(content).ok_or(SharedError::NotAuthentic)).transpose()?;
            let stands = kept.is_some_and(|kept| kept.mark.digest == brought.digest);
            Ok((stands.then(|| former.to_value()), ()))
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

    /// The value after it, where it is another one.
    fn after(value: &[u8], offered: &Offered, origin: Origin) -> Result<Vec<u8>, Keeping> {
        match keep(Kept::read(value).as_ref(), offered, origin) {
            Keeping::Replace(before) => {
                let mark = Mark { at: offered.at, digest: offered.digest };
                Ok(Kept { mark, before, bytes: &offered.bytes }.to_value())
            }
            which => Err(which),
        }
    }

    #[test]
    fn the_last_one_is_kept_with_those_before() {
        let first = after(b"", &offered(10, b"one", None), Origin::Unsure).unwrap();
        assert_eq!(after(&first, &offered(20, b"one", None), Origin::First), Err(Keeping::Stays), "the same");
        assert_eq!(after(&first, &offered(10, b"two", Some(b"one")), Origin::First), Err(Keeping::Stays), "as old");
        // What was never there before is new, whoever brings it.
        let second = after(&first, &offered(20, b"two", None), Origin::Rebuilt).unwrap();
        assert_eq!(after(&second, &offered(15, b"one", None), Origin::First), Err(Keeping::Stays), "overtaken");
        let kept = Kept::read(&second).unwrap();
        assert_eq!((kept.bytes, &kept.before[..]), (&b"two"[..], &[short(&digest(b"one"))][..]));
        let mut value = second;
        for n in 0..1_000_u64 {
            value = after(&value, &offered(100 + n, format!("{n}").as_bytes(), None), Origin::Unsure).unwrap();
        }
        let kept = Kept::read(&value).unwrap();
        assert_eq!((kept.before.len(), kept.before[0]), (BEFORE, short(&digest(b"998"))));
    }

    /// The operator goes back. A worker that is late, or a VM that died and was built anew, does not.
    #[test]
    fn what_was_replaced_is_not_new() {
        let first = after(b"", &offered(10, b"one", None), Origin::First).unwrap();
        let second = after(&first, &offered(20, b"two", Some(b"one")), Origin::First).unwrap();
        let (back, late) = (offered(30, b"one", Some(b"two")), offered(30, b"one", Some(b"none")));
        assert!(after(&second, &back, Origin::First).is_ok());
        for (offered, origin) in [(&back, Origin::Unsure), (&late, Origin::Unsure), (&late, Origin::First)] {
            assert_eq!(after(&second, offered, origin), Err(Keeping::Unclear), "{origin:?}");
        }
        for offered in [&back, &late] {
            assert_eq!(after(&second, offered, Origin::Rebuilt), Err(Keeping::Past));
        }
        // Nothing newer came.
        let alone = Offered { alone: true, ..late };
        assert!(after(&second, &alone, Origin::First).is_ok());
        assert_eq!(after(&second, &alone, Origin::Unsure), Err(Keeping::Unclear));
        assert_eq!(after(&second, &alone, Origin::Rebuilt), Err(Keeping::Past));
    }

    #[test]
    fn nothing_else_is_read() {
        let mark = Mark { at: Timestamp(7), digest: [3; 32] };
        let value = Kept { mark, before: vec![[1; 8], [2; 8]], bytes: b"" }.to_value();
        for end in 0..value.len() {
            assert_eq!(Kept::read(&value[..end]), None);
        }
        assert_eq!(Kept::read(&value).unwrap().to_value(), value);
        let mark = mark.to_bytes();
        for end in 0..mark.len() {
            assert_eq!(Mark::read(&mark[..end]), None);
        }
        assert_eq!(Mark::read(&[&mark[..], b"x"].concat()), None);
    }
}
