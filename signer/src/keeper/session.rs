//! One session: its facts, what it may use, how long it lives.

use super::destinations::{Destinations, tunnel};
use super::facts::{self, ProvenanceReport, SessionRequest};
use super::rate::TokenBucket;
use super::table::{Limits, Now, RefusedSession};
use crate::protocol::SessionNumber;
use exeat_engine::context::sign::ContextFields;
use exeat_engine::context::{DataClass, Provenance};
use exeat_engine::destination::Authority;
use serde::Serialize;
use std::time::{Duration, Instant};

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// The orchestrator closed it.
    Closed,
    /// Its life is over.
    Expired,
    /// It was idle for too long.
    Idle,
    /// The proxy could not serve it.
    Failed,
    /// The signer stops.
    Stopped,
}

impl Ending {
    /// The word in logs and metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Expired => "expired",
            Self::Idle => "idle",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

/// A session as the keeper holds it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) number: SessionNumber,
    pub(crate) request: SessionRequest,
    fields: ContextFields,
    /// `fields` as a header line.
    context: String,
    pub(crate) destinations: Destinations,
    pub(crate) tunnels: Vec<Authority>,
    opened: Instant,
    expires: Instant,
    idle: Duration,
    last_used: Instant,
    pub(crate) bucket: TokenBucket,
    pub(crate) signed: u64,
    pub(crate) refused: u64,
}

/// A session as the control socket shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SessionState {
    /// Names it on the control socket.
    pub id: String,
    /// `session` of its contexts.
    pub session: String,
    /// `agent` of its contexts.
    pub agent: String,
    /// `tenant` of its contexts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// `user` of its contexts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Tool in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// Class as it is signed; absent counts as restricted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_class: Option<DataClass>,
    /// Provenance as it is signed; empty counts as unknown.
    pub provenance: Vec<Provenance>,
    /// Seconds until it ends.
    pub expires_in: u64,
    /// Seconds without a signature after which it ends.
    pub idle: u64,
    /// Signatures made.
    pub signed: u64,
    /// Signatures refused.
    pub refused: u64,
}

impl Session {
    /// Checks what is asked for. `id` and `name` are used where the request gives none.
    pub(crate) fn new(
        request: SessionRequest,
        (id, number): (String, SessionNumber),
        name: String,
        audience: Option<String>,
        limits: &Limits,
        now: Now,
    ) -> Result<Self, RefusedSession> {
        let unfit = |member: &str, why: String| RefusedSession::Unfit { why: format!("{member}: {why}") };
        let name = request.session.clone().unwrap_or(name);
        let fields = request.context(name, audience).map_err(|why| RefusedSession::Unfit { why })?;
        let context = fields.to_field().map_err(|error| RefusedSession::Unfit { why: error.to_string() })?;
        let destinations = Destinations::parse(request.destinations.as_deref())
            .map_err(|error| unfit("destinations", error.to_string()))?;
        let tunnels: Vec<Authority> = request
            .tunnels
            .iter()
            .map(|text| tunnel(text).map_err(|error| unfit("tunnels", error.to_string())))
            .collect::<Result<_, _>>()?;
        for authority in &tunnels {
            if !authority.port.is_some_and(|port| destinations.allow(&authority.host, port)) {
                return Err(unfit("tunnels", format!("{authority} is not among `destinations`; name it there too")));
            }
        }
        let life = bounded(request.life, limits.default_life, limits.longest_life).map_err(|why| unfit("life", why))?;
        let idle = bounded(request.idle, limits.default_idle, limits.longest_life).map_err(|why| unfit("idle", why))?;
        Ok(Self {
            id,
            number,
            fields,
            context,
            destinations,
            tunnels,
            opened: now.monotonic,
            expires: now.monotonic + life,
            idle,
            last_used: now.monotonic,
            bucket: TokenBucket::new(limits.signatures_per_second, limits.signature_burst, now.monotonic),
            signed: 0,
            refused: 0,
            request,
        })
    }

    /// The line to be signed.
    pub(crate) fn context(&self) -> &str {
        &self.context
    }

    /// `session` of its contexts.
    pub(crate) fn name(&self) -> &str {
        &self.fields.session
    }

    /// Whether another session may be open beside this one: a gateway would take both for one, and provenance could shrink.
    pub(crate) fn is_same_run(&self, other: &Self) -> bool {
        let identity = |session: &Self| {
            (session.fields.tenant.clone(), session.fields.agent.clone(), session.fields.session.clone())
        };
        identity(self) == identity(other)
    }

    /// Why it is over, if it is.
    pub(crate) fn ending(&self, now: Instant) -> Option<Ending> {
        if now >= self.expires {
            Some(Ending::Expired)
        } else if now.saturating_duration_since(self.last_used) >= self.idle {
            Some(Ending::Idle)
        } else {
            None
        }
    }

    /// It was used.
    pub(crate) fn touch(&mut self, now: Instant) {
        self.last_used = self.last_used.max(now);
        self.signed = self.signed.saturating_add(1);
    }

    /// Lets it end so many seconds from now, but not before it would have, and not after the longest life.
    pub(crate) fn extend(&mut self, seconds: u32, limits: &Limits, now: Instant) -> Result<(), String> {
        let until = now + bounded(Some(seconds), limits.default_life, limits.longest_life)?;
        let last = self.opened + limits.longest_life;
        if until > last {
            let left = last.saturating_duration_since(now).as_secs();
            return Err(format!(
                "{seconds} s from now is beyond the longest life of a session; {left} s are left of it"
            ));
        }
        self.expires = self.expires.max(until);
        Ok(())
    }

    /// Changes the tool in use.
    pub(crate) fn set_tool(&mut self, tool: Option<String>) -> Result<(), String> {
        self.change(|fields| fields.tool = tool)
    }

    /// Lets class and provenance grow; says whether they did.
    pub(crate) fn grow(&mut self, report: &ProvenanceReport) -> Result<bool, String> {
        let mut grew = false;
        self.change(|fields| grew = facts::grow(fields, report))?;
        if grew {
            let context = &self.fields;
            tracing::info!(
                session = context.session,
                provenance = ?context.provenance,
                data_class = ?context.data_class,
                "a tool reported: provenance or data class grew"
            );
        }
        Ok(grew)
    }

    fn change(&mut self, change: impl FnOnce(&mut ContextFields)) -> Result<(), String> {
        let mut fields = self.fields.clone();
        change(&mut fields);
        self.context = fields.to_field().map_err(|error| error.to_string())?;
        self.fields = fields;
        Ok(())
    }

    /// What the control socket shows.
    pub(crate) fn state(&self, now: Instant) -> SessionState {
        SessionState {
            id: self.id.clone(),
            session: self.fields.session.clone(),
            agent: self.fields.agent.clone(),
            tenant: self.fields.tenant.clone(),
            user: self.fields.user.clone(),
            tool: self.fields.tool.clone(),
            data_class: self.fields.data_class,
            provenance: self.fields.provenance.clone(),
            expires_in: self.expires.saturating_duration_since(now).as_secs(),
            idle: self.idle.as_secs(),
            signed: self.signed,
            refused: self.refused,
        }
    }
}

fn bounded(asked: Option<u32>, default: Duration, longest: Duration) -> Result<Duration, String> {
    match asked.map(|seconds| Duration::from_secs(seconds.into())) {
        None => Ok(default.min(longest)),
        Some(Duration::ZERO) => Err("0 s is no time; write at least 1".to_owned()),
        Some(time) if time > longest => {
            Err(format!("{} s is longer than this signer allows; at most {}", time.as_secs(), longest.as_secs()))
        }
        Some(time) => Ok(time),
    }
}
