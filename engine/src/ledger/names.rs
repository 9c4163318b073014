//! Names that a session used, and how much they may have carried: one value of the ledger, read, judged and written back.
//!
//! Every name is new to a session once. New, it costs what [`crate::destination::score`] says, on each meter it stands
//! under: the names under one parent, all names of an open destination, the paths under one parent. What would lead
//! a meter over its budget is refused and costs nothing, for then it does not leave.
//!
//! This is pure: the same code judges over shared data in the filter and in memory elsewhere.

use super::{Share, ended, seconds_up};
use crate::destination::score;
use crate::facts::Timestamp;
use sha2::{Digest, Sha256};

/// Milliseconds after its last new name for which a session's names are remembered.
pub const REMEMBERED: u64 = 24 * 60 * 60 * 1000;

/// Distinct names and path segments that one session can have at a time.
pub const MOST_NAMES: usize = 1024;

/// Meters that one session can have at a time.
pub const MOST_METERS: usize = 256;

/// So many times the free room of a value one key and tenant may hold together.
const SHARE: usize = 3;

/// A session: the first 16 bytes of SHA-256 over tenant, agent and session, never over the session's name alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionFingerprint(pub [u8; 16]);

impl SessionFingerprint {
    /// Of the session of that name that this agent has for this tenant.
    pub fn new(tenant: Option<&str>, agent: &str, session: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [tenant, Some(agent), Some(session)] {
            // Absent and empty differ; lengths keep parts apart.
            let length = part.map_or(u64::MAX, |part| part.len() as u64);
            hash.update(length.to_le_bytes());
            hash.update(part.unwrap_or_default());
        }
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = <[u8; 32]>::from(hash.finalize());
        Self([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
    }
}

/// Eight bytes of SHA-256 that stand for a text of some kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mark(pub [u8; 8]);

impl Mark {
    /// Of texts of a kind; their lengths keep them apart.
    pub fn new(kind: u8, texts: &[&str]) -> Self {
        let mut hash = Sha256::new_with_prefix([kind]);
        for text in texts {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(hash.finalize());
        Self([a, b, c, d, e, f, g, h])
    }
}

/// What counts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meter {
    /// Which.
    pub mark: Mark,
    /// The most it may come to, in sixteenths of a bit.
    pub budget: u32,
}

/// How a new name is scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scored {
    /// As a label of a host: all it can say.
    Label,
    /// As a registered label with its suffix, which adds a byte.
    Registered,
    /// As a segment of a path: what of it looks encoded.
    Segment,
}

/// A name that the session may have used before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name<'a> {
    /// Which: of the whole name to the right end, not of the label alone.
    pub mark: Mark,
    /// The text that is scored.
    pub text: &'a str,
    /// How.
    pub scored: Scored,
    /// Indices of the meters it counts on.
    pub meters: &'static [usize],
}

/// The names of one request.
#[derive(Clone, Debug)]
pub struct Charge<'a> {
    /// Whose.
    pub session: SessionFingerprint,
    /// In whose share they are remembered.
    pub share: Share<'a>,
    /// What they count on.
    pub meters: Vec<Meter>,
    /// The names.
    pub names: Vec<Name<'a>>,
}

/// What became of a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charged {
    /// All names are known now.
    Within,
    /// A meter would come over its budget: its index, and what it would come to. Nothing was remembered.
    Above {
        /// Index of the meter.
        meter: usize,
        /// Sixteenths of a bit.
        bits: u32,
    },
    /// The session has as many names as can be remembered of one.
    TooMany,
    /// There is no room for more; refuse.
    Full,
    /// The state cannot be read or does not authenticate; refuse.
    Unavailable,
}

/// The names of one session.
struct Session {
    fingerprint: [u8; 16],
    holder: [u8; 4],
    until: u32,
    meters: Vec<([u8; 8], u32)>,
    names: Vec<[u8; 8]>,
}

/// Fingerprint, holder, until, number of meters, number of names.
const HEAD: usize = 16 + 4 + 4 + 2 + 2;

impl Session {
    fn size(&self) -> usize {
        HEAD.saturating_add(self.meters.len().saturating_mul(12)).saturating_add(self.names.len().saturating_mul(8))
    }

    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (fingerprint, rest) = bytes.split_first_chunk::<16>()?;
        let (holder, rest) = rest.split_first_chunk::<4>()?;
        let (until, rest) = rest.split_first_chunk::<4>()?;
        let (meters, rest) = rest.split_first_chunk::<2>()?;
        let (names, rest) = rest.split_first_chunk::<2>()?;
        let (meters, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*meters)).checked_mul(12)?)?;
        let (names, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*names)).checked_mul(8)?)?;
        let meters = meters.as_chunks::<12>().0.iter();
        let meters = meters
            .map(|[a, b, c, d, e, f, g, h, spent @ ..]| ([*a, *b, *c, *d, *e, *f, *g, *h], u32::from_le_bytes(*spent)));
        let session = Self {
            fingerprint: *fingerprint,
            holder: *holder,
            until: u32::from_le_bytes(*until),
            meters: meters.collect(),
            names: names.as_chunks::<8>().0.to_vec(),
        };
        Some((session, rest))
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.fingerprint);
        out.extend_from_slice(&self.holder);
        out.extend_from_slice(&self.until.to_le_bytes());
        // INVARIANT: both are bounded by MOST_METERS and MOST_NAMES.
        out.extend_from_slice(&u16::try_from(self.meters.len()).unwrap_or(u16::MAX).to_le_bytes());
        out.extend_from_slice(&u16::try_from(self.names.len()).unwrap_or(u16::MAX).to_le_bytes());
        for (mark, spent) in &self.meters {
            out.extend_from_slice(mark);
            out.extend_from_slice(&spent.to_le_bytes());
        }
        self.names.iter().for_each(|name| out.extend_from_slice(name));
    }

    /// Adds the names that are new, or says why not.
    fn charge(&mut self, charge: &Charge<'_>) -> Result<bool, Charged> {
        let mut grown = false;
        for name in &charge.names {
            if self.names.contains(&name.mark.0) {
                continue;
            }
            let bits = name.bits();
            for index in name.meters {
                let Some(meter) = charge.meters.get(*index) else { continue };
                let slot = match self.meters.iter().position(|(mark, _)| *mark == meter.mark.0) {
                    Some(at) => self.meters.get_mut(at),
                    None if self.meters.len() >= MOST_METERS => return Err(Charged::TooMany),
                    None => {
                        self.meters.push((meter.mark.0, 0));
                        self.meters.last_mut()
                    }
                };
                let Some((_, spent)) = slot else { continue };
                *spent = spent.saturating_add(bits);
                if *spent > meter.budget {
                    return Err(Charged::Above { meter: *index, bits: *spent });
                }
            }
            if self.names.len() >= MOST_NAMES {
                return Err(Charged::TooMany);
            }
            self.names.push(name.mark.0);
            grown = true;
        }
        Ok(grown)
    }
}

impl Name<'_> {
    fn bits(&self) -> u32 {
        match self.scored {
            Scored::Label => score::label(self.text).bits,
            Scored::Registered => score::label(self.text).bits.saturating_add(8 * score::BIT),
            Scored::Segment => score::segment(self.text).encoded,
        }
    }
}

/// Judges a charge against the sessions that `content` holds, and gives back the content that is to stand there instead, of
/// at most `room` bytes. Sessions whose time is over are left out of it; a live one never is.
///
/// INVARIANT: `content` is empty or was written here; what cannot be read of it counts as unavailable.
pub fn charge(content: &[u8], charge: &Charge<'_>, now: Timestamp, room: usize) -> (Option<Vec<u8>>, Charged) {
    let holder = holder(charge.share);
    let (mut others, mut own) = (Vec::with_capacity(content.len()), None);
    let mut held = 0_usize;
    let mut rest = content;
    while !rest.is_empty() {
        let Some((session, after)) = Session::read(rest) else { return (None, Charged::Unavailable) };
        rest = after;
        if ended(session.until).is_some_and(|end| end < now) {
            continue;
        }
        if session.fingerprint == charge.session.0 {
            own = Some(session);
            continue;
        }
        if session.holder == holder {
            held = held.saturating_add(session.size());
        }
        session.write(&mut others);
    }
    let fresh = || Session { fingerprint: charge.session.0, holder, until: 0, meters: Vec::new(), names: Vec::new() };
    let mut own = own.unwrap_or_else(fresh);
    match own.charge(charge) {
        Ok(false) => return (None, Charged::Within),
        Ok(true) => {}
        Err(refused) => return (None, refused),
    }
    own.until = seconds_up(now.plus_millis(REMEMBERED));
    let size = own.size();
    let free = room.saturating_sub(others.len());
    // A key and tenant may hold three times what is then left, so that others get in. A session that is as large as can be
    // needs a room of 15 KiB.
    let left = free.saturating_sub(size).saturating_mul(SHARE);
    if size > free || held.saturating_add(size) > left {
        return (None, Charged::Full);
    }
    own.write(&mut others);
    (Some(others), Charged::Within)
}

/// Tells key and tenant apart; two that collided would share their part.
pub fn holder(share: Share<'_>) -> [u8; 4] {
    let Mark([a, b, c, d, ..]) = Mark::new(b'h', &[share.key, share.tenant.unwrap_or("\0")]);
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 16 * 1024;
    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn session(n: u32) -> SessionFingerprint {
        SessionFingerprint::new(Some("acme"), "a", &n.to_string())
    }

    fn names(texts: &[String]) -> Vec<Name<'_>> {
        let name = |text: &'_ String| Mark::new(b'n', &[text]);
        texts.iter().map(|text| Name { mark: name(text), text, scored: Scored::Label, meters: &[0] }).collect()
    }

    fn request<'a>(n: u32, share: Share<'a>, budget: u32, texts: &'a [String]) -> Charge<'a> {
        let meters = vec![Meter { mark: Mark::new(b'w', &["base"]), budget }];
        Charge { session: session(n), share, meters, names: names(texts) }
    }

    const ACME: Share<'_> = Share { key: "k", tenant: Some("acme") };

    #[test]
    fn a_name_counts_once_and_what_goes_over_changes_nothing() {
        let (one, two) = (["first".to_owned()], ["first".to_owned(), "second".to_owned()]);
        let both = score::label("first").bits + score::label("second").bits;
        let (content, charged) = charge(&[], &request(1, ACME, both, &one), NOW, ROOM);
        assert_eq!(charged, Charged::Within);
        let content = content.unwrap();
        assert_eq!(charge(&content, &request(1, ACME, 0, &one), NOW, ROOM), (None, Charged::Within));
        let above = Charged::Above { meter: 0, bits: both };
        assert_eq!(charge(&content, &request(1, ACME, both - 1, &two), NOW, ROOM), (None, above));
        let (content, charged) = charge(&content, &request(1, ACME, both, &two), NOW, ROOM);
        assert_eq!((content.unwrap().len(), charged), (HEAD + 12 + 16, Charged::Within));
        // A name of no length still costs.
        assert!(matches!(
            charge(&[], &request(1, ACME, 0, &[String::new()]), NOW, ROOM),
            (None, Charged::Above { meter: 0, bits: 1.. })
        ));
    }

    #[test]
    fn beyond_what_the_seconds_of_a_session_count_it_is_never_forgotten() {
        let texts = ["a".to_owned()];
        for now in [Timestamp(u64::MAX), Timestamp::from_seconds(u64::from(u32::MAX) + 1)] {
            let (content, _) = charge(&[], &request(1, ACME, u32::MAX, &texts), now, ROOM);
            let content = content.unwrap();
            assert_eq!(charge(&content, &request(1, ACME, 0, &texts), now, ROOM), (None, Charged::Within));
            let (content, _) = charge(&content, &request(2, ACME, u32::MAX, &texts), now, ROOM);
            assert_eq!(content.unwrap().len(), 2 * (HEAD + 12 + 8), "somebody else's write leaves it in");
        }
    }

    #[test]
    fn a_session_is_forgotten_a_day_after_its_last_new_name() {
        let texts: Vec<String> = ["a", "b"].map(str::to_owned).to_vec();
        let (content, _) = charge(&[], &request(1, ACME, u32::MAX, &texts), NOW, ROOM);
        let content = content.unwrap();
        let day = NOW.plus_millis(REMEMBERED);
        assert_eq!(charge(&content, &request(1, ACME, 0, &texts), day, ROOM), (None, Charged::Within));
        let after = day.plus_millis(1_000);
        assert!(matches!(charge(&content, &request(1, ACME, 0, &texts), after, ROOM), (None, Charged::Above { .. })));
        // Somebody else's write leaves it out.
        let (content, _) = charge(&content, &request(2, ACME, u32::MAX, &texts), after, ROOM);
        assert_eq!(content.unwrap().len(), HEAD + 12 + 16);
    }

    #[test]
    fn a_value_is_bounded_and_leaves_room_for_others() {
        let texts: Vec<String> = (0..20).map(|n| format!("name-{n}")).collect();
        let mut content = Vec::new();
        let mut press = |share: Share<'_>, from: u32| {
            (from..from + 200)
                .filter(|n| match charge(&content, &request(*n, share, u32::MAX, &texts), NOW, ROOM) {
                    (Some(new), Charged::Within) => {
                        content = new;
                        true
                    }
                    (None, Charged::Full) => false,
                    other => panic!("{other:?}"),
                })
                .count()
        };
        // 200 bytes each: three quarters of the value, then three quarters of what is left.
        assert_eq!(press(ACME, 0), 61);
        assert_eq!(press(Share { key: "k", tenant: Some("globex") }, 1_000), 15);
        assert_eq!(press(ACME, 2_000), 0);
        // Who is in goes on to be judged.
        assert_eq!(charge(&content, &request(0, ACME, 0, &texts), NOW, ROOM), (None, Charged::Within));
    }

    #[test]
    fn the_largest_session_fits_alone_and_one_name_more_does_not() {
        let texts: Vec<String> = (0..MOST_NAMES).map(|n| format!("n{n}")).collect();
        let mut largest = request(1, ACME, u32::MAX, &texts);
        let mark = |n: usize| Mark::new(b'w', &[&n.to_string()]);
        largest.meters = (0..MOST_METERS).map(|n| Meter { mark: mark(n), budget: u32::MAX }).collect();
        for (n, name) in largest.names.iter_mut().enumerate() {
            name.meters = Box::leak(Box::new([n % MOST_METERS]));
        }
        let (content, charged) = charge(&[], &largest, NOW, ROOM);
        assert_eq!(charged, Charged::Within);
        let content = content.unwrap();
        assert!(content.len() <= ROOM);
        let more = ["more".to_owned()];
        assert_eq!(charge(&content, &request(1, ACME, u32::MAX, &more), NOW, ROOM), (None, Charged::TooMany));
    }

    #[test]
    fn what_cannot_be_read_is_not_overwritten() {
        let texts = ["a".to_owned()];
        let (content, _) = charge(&[], &request(1, ACME, u32::MAX, &texts), NOW, ROOM);
        let content = content.unwrap();
        for cut in 1..content.len() {
            let torn = charge(&content[..cut], &request(1, ACME, u32::MAX, &texts), NOW, ROOM);
            assert_eq!(torn, (None, Charged::Unavailable), "{cut}");
        }
    }
}
