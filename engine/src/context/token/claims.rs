//! What a token says, and the context that it makes.

use super::error::TokenError;
use crate::context::agent_context::{AgentContext, Provenance, SessionType};
use crate::facts::Timestamp;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;

/// Names in a list (roles, scope), and agents in a chain of delegation.
const MOST_ITEMS: usize = 64;
const MOST_ACTORS: usize = 16;

/// Where a claim stands: a name at the top, or with a `/` in front a JSON pointer (RFC 6901) into nested ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPath(String);

impl ClaimPath {
    /// From the text of a policy: 1 to 256 characters; a pointer whose escapes are in order.
    pub fn parse(text: &str) -> Option<Self> {
        let escaped = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        let fits = (1..=256).contains(&text.len()) && !text.chars().any(char::is_control);
        (fits && (!text.starts_with('/') || escaped)).then(|| Self(text.to_owned()))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn find<'c>(&self, claims: &'c Map<String, Value>) -> Option<&'c Value> {
        if !self.0.starts_with('/') {
            return claims.get(&self.0);
        }
        let mut steps = self.0.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~"));
        let first = claims.get(&steps.next()?)?;
        steps.try_fold(first, |value, step| value.as_object()?.get(&step))
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where the agent stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentClaim {
    /// A claim names an agent. Where the token has `act`, that agent handed the work on to the actor.
    Claim(ClaimPath),
    /// The actor (`act`) is the agent; who it acts for is none.
    Actor,
}

/// Which claims make which members of the context. What is named must be there, but for roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimMap {
    /// `agent`.
    pub agent: AgentClaim,
    /// `session`.
    pub session: ClaimPath,
    /// `tenant`.
    pub tenant: Option<ClaimPath>,
    /// `user`.
    pub user: Option<ClaimPath>,
    /// `region`.
    pub region: Option<ClaimPath>,
    /// `roles`.
    pub roles: Option<ClaimPath>,
    /// `scope`.
    pub scope: Option<ClaimPath>,
    /// `session_type`.
    pub session_type: Option<ClaimPath>,
}

impl ClaimMap {
    /// The context. `issuer` is the token's own.
    pub(super) fn context(
        &self,
        claims: &Map<String, Value>,
        issuer: Option<&str>,
    ) -> Result<AgentContext, TokenError> {
        let mut chain = match &self.agent {
            AgentClaim::Claim(path) => vec![text(claims, path)?],
            AgentClaim::Actor => Vec::new(),
        };
        chain.extend(actors(claims, issuer)?);
        let agent = chain.pop().ok_or_else(|| TokenError::claim("act", "is missing"))?;
        let optional = |path: &Option<ClaimPath>| path.as_ref().map(|path| text(claims, path)).transpose();
        let roles = self.roles.as_ref().map(|path| list(claims, path, roles_of)).transpose()?;
        Ok(AgentContext {
            agent,
            session: text(claims, &self.session)?,
            // The audience was checked as `aud`.
            gateway: None,
            tenant: optional(&self.tenant)?,
            user: optional(&self.user)?,
            region: optional(&self.region)?,
            roles: roles.flatten().unwrap_or_default(),
            delegated_by: chain,
            scope: match &self.scope {
                // Without it there would be no restriction at all.
                Some(path) => Some(list(claims, path, words_of)?.ok_or_else(|| missing(path))?),
                None => None,
            },
            session_type: self.session_type.as_ref().map(|path| session_type(claims, path)).transpose()?,
            tool: None,
            data_class: None,
            provenance: vec![Provenance::Unknown],
            reason: None,
            attributes: BTreeMap::new(),
        })
    }
}

/// Those who act, originator first. RFC 8693 section 4.1: the outermost `act` is who acts now, those inside acted before.
fn actors(claims: &Map<String, Value>, issuer: Option<&str>) -> Result<Vec<String>, TokenError> {
    let wrong = |problem| TokenError::claim("act", problem);
    let (mut chain, mut next) = (Vec::new(), claims.get("act"));
    while let Some(value) = next {
        let actor = value.as_object().ok_or_else(|| wrong("is not an object"))?;
        // An actor of another issuer has a name in another space.
        match actor.get("iss") {
            None => {}
            Some(Value::String(other)) if issuer == Some(other) => {}
            Some(_) => return Err(wrong("has an actor of another issuer")),
        }
        let name = actor.get("sub").ok_or_else(|| wrong("has an actor without sub"))?;
        chain.push(name_of(name).ok_or_else(|| wrong("has an actor whose sub is not printable ASCII"))?);
        if chain.len() > MOST_ACTORS {
            return Err(wrong("has too many actors"));
        }
        next = actor.get("act");
    }
    chain.reverse();
    Ok(chain)
}

fn missing(path: &ClaimPath) -> TokenError {
    TokenError::claim(path.as_str(), "is missing")
}

fn text(claims: &Map<String, Value>, path: &ClaimPath) -> Result<String, TokenError> {
    let value = path.find(claims).ok_or_else(|| missing(path))?;
    name_of(value).ok_or_else(|| TokenError::claim(path.as_str(), "is not text of printable ASCII"))
}

/// Text as a structured field could hold it: it goes into headers and records like that of a signed context.
fn name_of(value: &Value) -> Option<String> {
    let text = value.as_str()?;
    let fits = !text.is_empty() && text.bytes().all(|b| (0x20..0x7f).contains(&b));
    fits.then(|| text.to_owned())
}

type Items = Option<Vec<String>>;

fn list(claims: &Map<String, Value>, path: &ClaimPath, of: fn(&Value) -> Items) -> Result<Items, TokenError> {
    let Some(value) = path.find(claims) else { return Ok(None) };
    match of(value) {
        Some(items) if items.len() <= MOST_ITEMS => Ok(Some(items)),
        Some(_) => Err(TokenError::claim(path.as_str(), "has more than 64 items")),
        None => Err(TokenError::claim(path.as_str(), "is no list of texts of printable ASCII")),
    }
}

/// A list, or one text that stands for a list of one.
fn roles_of(value: &Value) -> Items {
    match value {
        Value::Array(items) => items.iter().map(name_of).collect(),
        one => Some(vec![name_of(one)?]),
    }
}

/// A list, or one text of words with spaces between them (RFC 8693 section 4.2). No text at all: no word.
fn words_of(value: &Value) -> Items {
    match value {
        Value::String(text) if text.is_empty() => Some(Vec::new()),
        Value::String(text) => text.split(' ').map(|word| name_of(&Value::from(word))).collect(),
        Value::Array(items) => items.iter().map(name_of).collect(),
        _ => None,
    }
}

fn session_type(claims: &Map<String, Value>, path: &ClaimPath) -> Result<SessionType, TokenError> {
    let text = text(claims, path)?;
    SessionType::WORDS
        .iter()
        .find(|(_, word)| *word == text)
        .map(|(value, _)| *value)
        .ok_or_else(|| TokenError::claim(path.as_str(), "is none of interactive, batch, scheduled"))
}

/// When a token counts: seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) exp: u64,
    pub(super) nbf: Option<u64>,
    pub(super) iat: Option<u64>,
}

/// The latest second that is read: 9999-12-31T23:59:59Z.
const MOST_SECONDS: u64 = 253_402_300_799;

impl Times {
    /// Whole seconds only. A token without an end never ends, so there must be one.
    pub(super) fn read(claims: &Map<String, Value>) -> Result<Self, TokenError> {
        let seconds = |name: &str| match claims.get(name) {
            None => Ok(None),
            Some(value) => match value.as_u64().filter(|seconds| *seconds <= MOST_SECONDS) {
                Some(seconds) => Ok(Some(seconds)),
                None => Err(TokenError::claim(name, "is not a number of whole seconds")),
            },
        };
        let exp = seconds("exp")?.ok_or_else(|| TokenError::claim("exp", "is missing"))?;
        Ok(Self { exp, nbf: seconds("nbf")?, iat: seconds("iat")? })
    }

    /// Whether the token counts now. `skew` holds on every side, as it does for signatures; milliseconds.
    pub(super) fn check(&self, now: Timestamp, skew: u64, max_age: Option<u64>) -> Result<(), TokenError> {
        let at = |seconds: u64| Timestamp::from_seconds(seconds).millis();
        let (latest, now_millis) = (now.millis().saturating_add(skew), now.millis());
        if at(self.exp).saturating_add(skew) < now_millis {
            return Err(TokenError::Expired { exp: self.exp, now });
        }
        for (claim, value) in [("nbf", self.nbf), ("iat", self.iat)] {
            if let Some(value) = value.filter(|value| at(*value) > latest) {
                return Err(TokenError::NotYetValid { claim, at: value, now });
            }
        }
        if let Some(max_age) = max_age {
            let iat = self.iat.ok_or_else(|| TokenError::claim("iat", "is missing"))?;
            if at(iat).saturating_add(max_age) < now_millis {
                return Err(TokenError::TooOld { iat, now, max_age });
            }
        }
        Ok(())
    }
}

/// Whether `aud`, one text or a list, names one of the audiences that count (RFC 7519 section 4.1.3).
pub(super) fn is_for(claims: &Map<String, Value>, audiences: &[String]) -> Result<bool, TokenError> {
    let wrong = || TokenError::claim("aud", "is neither text nor a list of texts");
    let named = |text: &str| audiences.iter().any(|audience| audience == text);
    match claims.get("aud") {
        None => Err(TokenError::claim("aud", "is missing")),
        Some(Value::String(text)) => Ok(named(text)),
        Some(Value::Array(items)) => {
            let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            Ok(texts.ok_or_else(wrong)?.into_iter().any(named))
        }
        Some(_) => Err(wrong()),
    }
}

/// A claim that is text where it is there.
pub(super) fn optional_text<'c>(claims: &'c Map<String, Value>, name: &str) -> Result<Option<&'c str>, TokenError> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(TokenError::claim(name, "is not text")),
    }
}
