//! All sessions, and the key: what the keeper does, without a socket.

use super::facts::{ProvenanceReport, SessionRequest};
use super::key::{KeyError, KeyHolder, SigningKey};
use super::metrics::Counters;
use super::session::{Ending, Session, SessionState};
use super::signing::{CheckedRequest, Stamp};
use crate::protocol::{Opening, RequestToSign, SessionNumber, SignRefusal, SignedFields};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Both clocks, read once.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For lives.
    pub monotonic: Instant,
    /// For signatures: seconds since the Unix epoch; `None` where the clock of the machine is before it.
    pub unix: Option<i64>,
}

impl Now {
    /// Reads the clocks.
    pub fn read() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).ok();
        Self { monotonic: Instant::now(), unix: unix.and_then(|time| i64::try_from(time.as_secs()).ok()) }
    }
}

/// What bounds sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sessions at once.
    pub sessions: usize,
    /// Life of a session that asks for none.
    pub default_life: Duration,
    /// Longest life, extensions included.
    pub longest_life: Duration,
    /// Time without a signature after which a session ends that asks for no other.
    pub default_idle: Duration,
    /// Signatures a session may ask for, each second.
    pub signatures_per_second: u32,
    /// And at once.
    pub signature_burst: u32,
    /// Connections of a session at once.
    pub connections: u32,
    /// Seconds without traffic after which a connection of an agent is closed.
    pub connection_idle: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 256,
            default_life: Duration::from_secs(3600),
            longest_life: Duration::from_secs(86_400),
            default_idle: Duration::from_secs(1800),
            signatures_per_second: 2000,
            signature_burst: 4000,
            connections: 256,
            connection_idle: 300,
        }
    }
}

/// What holds for all sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeeperSettings {
    /// Bounds.
    pub limits: Limits,
    /// `gateway` of all contexts: the only gateway that takes them.
    pub audience: Option<String>,
    /// `http` or `https`: how the gateway's listener is spoken to.
    pub wire_scheme: &'static str,
    /// Seconds that a signature lives.
    pub signature_life: u32,
    /// User ids that no agent may have, and why, for messages.
    pub closed_uids: BTreeMap<u32, &'static str>,
}

/// Why a session is not opened, or not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedSession {
    /// What is asked for makes no session.
    #[error("{why}")]
    Unfit {
        /// What, and what to do.
        why: String,
    },
    /// A session with these names is open.
    #[error("a session of this tenant, agent and session name is open; close it first, or give another name")]
    Duplicate,
    /// An agent's user is one of the signer's own.
    #[error(
        "uids: {uid} is {whose}; an agent of that user could reach the key or choose its own facts. Run it as another user"
    )]
    ClosedUid {
        /// Which.
        uid: u32,
        /// Whose it is.
        whose: &'static str,
    },
    /// There are too many.
    #[error("{0} sessions are open, which is as many as this signer holds (--sessions)")]
    TooMany(usize),
    /// There is no such session.
    #[error("no session has this id; it may be over")]
    Unknown,
    /// No randomness.
    #[error("the operating system gives no randomness")]
    Random,
}

#[derive(Debug, Default)]
struct Table {
    by_id: BTreeMap<String, SessionNumber>,
    sessions: BTreeMap<SessionNumber, Session>,
    last_number: u64,
}

impl Table {
    fn remove(&mut self, number: SessionNumber) -> Option<Session> {
        let session = self.sessions.remove(&number)?;
        self.by_id.remove(&session.id);
        Some(session)
    }
}

/// Key and sessions.
#[derive(Debug)]
pub struct Keeper {
    settings: KeeperSettings,
    keys: KeyHolder,
    table: Mutex<Table>,
    /// What was counted.
    pub counters: Counters,
}

impl Keeper {
    /// A keeper without sessions.
    pub fn new(settings: KeeperSettings, key: SigningKey) -> Self {
        Self { settings, keys: KeyHolder::new(key), table: Mutex::default(), counters: Counters::default() }
    }

    /// The name of the key in use.
    pub fn keyid(&self) -> String {
        self.keys.current().keyid().to_owned()
    }

    /// Signs with another key from now on; says whether it is another than before. What is being signed keeps its key.
    ///
    /// # Errors
    /// Another key under the same name.
    pub fn change_key(&self, key: SigningKey) -> Result<bool, KeyError> {
        let changed = self.keys.change(key)?;
        if changed {
            self.counters.count_rotation();
        }
        Ok(changed)
    }

    /// Opens a session, and says what the proxy is to know of it. `password_sha256` is absent for Unix sockets.
    ///
    /// # Errors
    /// See [`RefusedSession`].
    pub fn open(
        &self,
        request: SessionRequest,
        password_sha256: Option<String>,
        now: Now,
    ) -> Result<(SessionState, Opening), RefusedSession> {
        for uid in &request.uids {
            if let Some(whose) = self.settings.closed_uids.get(uid) {
                return Err(RefusedSession::ClosedUid { uid: *uid, whose });
            }
        }
        let (id, name) = (random_text::<16>()?, format!("s-{}", random_text::<12>()?));
        let limits = &self.settings.limits;
        let mut table = self.table();
        if table.sessions.len() >= limits.sessions {
            return Err(RefusedSession::TooMany(limits.sessions));
        }
        table.last_number = table.last_number.saturating_add(1);
        let number = SessionNumber(table.last_number);
        let audience = self.settings.audience.clone();
        let session = Session::new(request, (id, number), name, audience, limits, now)?;
        if table.sessions.values().any(|other| other.is_same_run(&session)) {
            return Err(RefusedSession::Duplicate);
        }
        let opening = Opening {
            session: number,
            name: session.name().to_owned(),
            password_sha256,
            uids: session.request.uids.clone(),
            tunnels: session.tunnels.iter().map(ToString::to_string).collect(),
            connections: limits.connections,
            idle_seconds: limits.connection_idle,
        };
        let state = session.state(now.monotonic);
        table.by_id.insert(session.id.clone(), number);
        table.sessions.insert(number, session);
        self.counters.count_opened();
        Ok((state, opening))
    }

    /// Signs for a session, if everything that the proxy says fits it.
    ///
    /// # Errors
    /// Why not; see [`SignRefusal`].
    pub fn sign(&self, number: SessionNumber, request: &RequestToSign, now: Now) -> Result<SignedFields, SignRefusal> {
        let result = self.sign_for(number, request, now);
        match &result {
            Ok(_) => self.counters.count_signed(),
            Err(refusal) => self.note_refusal(number, refusal),
        }
        result
    }

    fn sign_for(&self, number: SessionNumber, request: &RequestToSign, now: Now) -> Result<SignedFields, SignRefusal> {
        let created = now.unix.ok_or(SignRefusal::Unavailable)?;
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(|_| SignRefusal::Unavailable)?;
        let key = self.keys.current();
        let mut table = self.table();
        let session = table.sessions.get_mut(&number).ok_or(SignRefusal::SessionOver)?;
        if session.ending(now.monotonic).is_some() {
            return Err(SignRefusal::SessionOver);
        }
        if !session.bucket.take(now.monotonic) {
            return Err(SignRefusal::TooMany);
        }
        let checked = CheckedRequest::new(request)?;
        // The canonical form of an authority, so that it is safe to repeat.
        let authority = || checked.authority.to_string();
        if !session.destinations.allow(&checked.authority.host, checked.port) {
            return Err(SignRefusal::Destination { authority: authority() });
        }
        if checked.is_connect() && !session.tunnels.contains(&checked.authority) {
            return Err(SignRefusal::Tunnel { authority: authority() });
        }
        session.touch(now.monotonic);
        let context = session.context().to_owned();
        drop(table);
        let stamp = Stamp { created, life: self.settings.signature_life, nonce };
        checked.sign(&context, self.settings.wire_scheme, &key, stamp)
    }

    /// Counts a refusal, and logs the first, second, fourth, eighth... of a session: an agent must not fill the log.
    fn note_refusal(&self, number: SessionNumber, refusal: &SignRefusal) {
        self.counters.count_refused(refusal);
        let mut table = self.table();
        let Some(session) = table.sessions.get_mut(&number) else { return };
        session.refused = session.refused.saturating_add(1);
        if session.refused.is_power_of_two() {
            let (session, refused) = (session.name().to_owned(), session.refused);
            drop(table);
            tracing::warn!(session, refused, why = %refusal, "not signed");
        }
    }

    /// All sessions, those that are over but not yet ended left out.
    pub fn sessions(&self, now: Now) -> Vec<SessionState> {
        let table = self.table();
        let live = table.sessions.values().filter(|session| session.ending(now.monotonic).is_none());
        live.map(|session| session.state(now.monotonic)).collect()
    }

    /// One session.
    ///
    /// # Errors
    /// There is none.
    pub fn session(&self, id: &str, now: Now) -> Result<SessionState, RefusedSession> {
        self.with(id, now, |_| Ok(()))
    }

    /// The agent behind a tool, as the tool says it changes.
    ///
    /// # Errors
    /// No such session, or a name that no context can carry.
    pub fn report_tool(&self, id: &str, tool: Option<String>, now: Now) -> Result<SessionState, RefusedSession> {
        self.with(id, now, |session| session.set_tool(tool))
    }

    /// What a tool returned. Class and provenance of the session grow by it.
    ///
    /// # Errors
    /// No such session.
    pub fn report_provenance(
        &self,
        id: &str,
        report: &ProvenanceReport,
        now: Now,
    ) -> Result<SessionState, RefusedSession> {
        self.with(id, now, |session| session.grow(report).map(drop))
    }

    /// Lets a session end so many seconds from now, never earlier than it would have.
    ///
    /// # Errors
    /// No such session, or a time beyond the longest life.
    pub fn extend(&self, id: &str, seconds: u32, now: Now) -> Result<SessionState, RefusedSession> {
        self.with(id, now, |session| {
            session.extend(seconds, &self.settings.limits, now.monotonic).map_err(|why| format!("life: {why}"))
        })
    }

    fn with(
        &self,
        id: &str,
        now: Now,
        act: impl FnOnce(&mut Session) -> Result<(), String>,
    ) -> Result<SessionState, RefusedSession> {
        let mut table = self.table();
        let number = table.by_id.get(id).copied().ok_or(RefusedSession::Unknown)?;
        let session = table.sessions.get_mut(&number).ok_or(RefusedSession::Unknown)?;
        if session.ending(now.monotonic).is_some() {
            return Err(RefusedSession::Unknown);
        }
        act(session).map_err(|why| RefusedSession::Unfit { why })?;
        Ok(session.state(now.monotonic))
    }

    /// Ends a session. From here on nothing is signed for it.
    ///
    /// # Errors
    /// There is none.
    pub fn close(&self, id: &str, ending: Ending, now: Now) -> Result<(SessionNumber, SessionState), RefusedSession> {
        let number = self.table().by_id.get(id).copied().ok_or(RefusedSession::Unknown)?;
        self.close_number(number, ending, now).map(|state| (number, state)).ok_or(RefusedSession::Unknown)
    }

    /// Ends a session by its number.
    pub fn close_number(&self, number: SessionNumber, ending: Ending, now: Now) -> Option<SessionState> {
        let session = self.table().remove(number)?;
        Some(self.note_ending(&session, ending, now))
    }

    /// Ends what is over by now.
    pub fn expire(&self, now: Now) -> Vec<(SessionNumber, SessionState)> {
        let mut over = Vec::new();
        {
            let mut table = self.table();
            let endings = table.sessions.iter().map(|(number, session)| (*number, session.ending(now.monotonic)));
            let endings: Vec<_> = endings.filter_map(|(number, ending)| Some((number, ending?))).collect();
            for (number, ending) in endings {
                over.extend(table.remove(number).map(|session| (session, ending)));
            }
        }
        over.iter().map(|(session, ending)| (session.number, self.note_ending(session, *ending, now))).collect()
    }

    fn note_ending(&self, session: &Session, ending: Ending, now: Now) -> SessionState {
        self.counters.count_ended(ending);
        let (name, agent) = (session.name(), &session.request.agent);
        let (signed, refused) = (session.signed, session.refused);
        tracing::info!(session = name, agent, ending = ending.word(), signed, refused, "session over");
        session.state(now.monotonic)
    }

    /// Ends all.
    pub fn close_all(&self, ending: Ending, now: Now) -> Vec<(SessionNumber, SessionState)> {
        let numbers: Vec<SessionNumber> = self.table().sessions.keys().copied().collect();
        numbers.into_iter().filter_map(|number| Some((number, self.close_number(number, ending, now)?))).collect()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// So many random bytes, in base64url.
pub(crate) fn random_text<const N: usize>() -> Result<String, RefusedSession> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| RefusedSession::Random)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests;
