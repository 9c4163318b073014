//! What outlives a request and may refuse it: the names that its session used, quarantine, and first meetings.
//!
//! Names are charged when a request is about to leave, in every mode, for only what leaves can carry. What would go over is
//! refused before it leaves, so that a budget is never exceeded.

use super::examine::Examined;
use super::{Exchange, Surroundings};
use crate::context::Identity;
use crate::decision::Reason;
use crate::destination::registrable::registrable;
use crate::destination::score;
use crate::ledger::names::{Charge, Charged, Mark, Meter, Name, Scored};
use crate::ledger::{SessionName, Share};
use crate::policy::{Candidates, Mode, NameLimits, Refusal, Scrutiny};

/// Index of the meter of the names under one parent, of all names, and of paths.
const PARENT: usize = 0;
const TOTAL: usize = 1;
const PATHS: usize = 2;

/// What the session of a request is refused for.
struct Objection {
    reason: Reason,
    condition: String,
    /// Whether the session is to be quarantined for it.
    grave: bool,
}

impl Exchange {
    /// Where the session of a request is quarantined, what refuses it; else, or where that is only observed, its rules.
    pub(super) fn heed_quarantine(
        &mut self,
        around: &mut Surroundings<'_>,
        request: &Examined,
        candidates: Candidates,
    ) -> Result<Candidates, Refusal> {
        let session = session_name(&request.verified);
        let until = match around.ledger.quarantined(&session, around.now) {
            Ok(None) => return Ok(candidates),
            Ok(Some(_)) if self.configuration.policy().releases(&session) => return Ok(candidates),
            Ok(Some(until)) => until,
            Err(_) => return Err(unavailable(&candidates)),
        };
        self.quarantined_until = Some(until);
        let refusal = candidates.refuse_session(Reason::SessionQuarantined, "quarantine".to_owned());
        match refusal.mode {
            Mode::Enforce => Err(refusal),
            Mode::Monitor => Ok(candidates.observing(refusal)),
        }
    }

    /// Charges the names of a request that is about to leave. A refusal that is enforced quarantines the session.
    pub(super) fn charge_names(
        &mut self,
        around: &mut Surroundings<'_>,
        request: &Examined,
        candidates: &Candidates,
    ) -> Option<Refusal> {
        let scrutiny = candidates.scrutiny()?;
        let objection = object(around, request, scrutiny)?;
        let refusal = candidates.refuse_session(objection.reason, objection.condition);
        if objection.reason == Reason::InternalError {
            return Some(Refusal { mode: Mode::Enforce, ..refusal });
        }
        let session = session_name(&request.verified);
        let wanted = objection.grave && refusal.mode == Mode::Enforce && scrutiny.limits.quarantine > 0;
        if wanted && !self.configuration.policy().releases(&session) {
            let until = around.now.plus_millis(scrutiny.limits.quarantine);
            // Without room the session is held by its budget alone, which is spent.
            if around.ledger.quarantine(&session, until, around.now).is_ok() {
                self.quarantined_until = Some(until);
            }
        }
        Some(refusal)
    }

    /// Whether an agent meets a host for the first time in the life of the process.
    pub(super) fn meet(&mut self, around: &mut Surroundings<'_>, request: &Examined) {
        let context = request.verified.context();
        let (host, port) = (request.destination.host.to_string(), request.destination.port.to_string());
        // Absent and empty differ by the length of the list.
        let parts = [context.agent.as_str(), &host, &port, context.tenant.as_deref().unwrap_or_default()];
        let parts = if context.tenant.is_some() { &parts[..] } else { parts.split_last().map_or(&parts[..], |p| p.1) };
        self.first_seen = around.ledger.meet(share(&request.verified), Mark::new(b'm', parts));
    }
}

pub(super) fn session_name(identity: &Identity) -> SessionName<'_> {
    let context = identity.context();
    SessionName { tenant: context.tenant.as_deref(), agent: &context.agent, session: &context.session }
}

pub(super) fn share(identity: &Identity) -> Share<'_> {
    Share { key: identity.key(), tenant: identity.context().tenant.as_deref() }
}

fn unavailable(candidates: &Candidates) -> Refusal {
    let why = "the state that the workers share cannot be read or is not authentic".to_owned();
    Refusal { mode: Mode::Enforce, ..candidates.refuse_session(Reason::InternalError, why) }
}

fn object(around: &mut Surroundings<'_>, request: &Examined, scrutiny: &Scrutiny) -> Option<Objection> {
    let name = request.destination.host.name()?;
    let limits = &scrutiny.limits;
    let (parent, under, registered) = match scrutiny.base {
        Some(base) => {
            let text = name.as_str();
            // INVARIANT: the pattern fitted, so the name is longer than its base by a label and a dot.
            let (under, parent) = text.split_at_checked(text.len().checked_sub(base.into())?)?;
            (parent, under.strip_suffix('.').unwrap_or(under), None)
        }
        None => {
            let cut = registrable(name);
            (cut.name, cut.under, Some(cut.label))
        }
    };
    let place = format!("destinations/{}/names", scrutiny.destination.id());
    let told = |key: &str, what: String| {
        Some(Objection {
            reason: Reason::DestinationForbidden,
            condition: format!("{place}/{key}: {what}"),
            grave: true,
        })
    };
    let encoded = under.split('.').filter(|label| score::label(label).encoded >= score::ENCODED_LABEL).count();
    if encoded > usize::from(limits.encoded_labels) {
        return told("encoded_labels", format!("{encoded} labels of the name look encoded"));
    }
    let segments = match (scrutiny.base, &request.destination.path) {
        (None, Some(path)) => path.segments(),
        _ => &[],
    };
    let scored = segments.iter().map(|segment| (segment.as_str(), score::segment(segment).encoded));
    let telling: Vec<(&str, u32)> = scored.filter(|(_, encoded)| *encoded > 0).collect();
    let most = telling.iter().map(|(_, encoded)| *encoded).max().unwrap_or(0);
    if most > limits.segment {
        return told("segment", format!("{} bytes of one path segment look encoded", bytes(most)));
    }
    let charge = charge(request, limits, parent, under, registered, telling.iter().map(|(segment, _)| *segment));
    match around.ledger.charge_names(&charge, around.now) {
        Charged::Within => None,
        Charged::Above { meter, bits } => {
            let (key, what) = match meter {
                PARENT => ("budget", "the names under one parent"),
                TOTAL => ("total", "all names"),
                _ => ("paths", "the paths under one parent"),
            };
            told(key, format!("{what} would come to {} bytes in this session", bytes(bits)))
        }
        Charged::TooMany => told("total", "the session has more names than are remembered of one".to_owned()),
        Charged::Full | Charged::Unavailable => Some(Objection {
            reason: Reason::InternalError,
            condition: "the names of this session cannot be remembered".to_owned(),
            grave: false,
        }),
    }
}

/// The names of a request: each node of the host's name below its parent, the parent itself under an open destination, and
/// the path segments that look encoded, which are given.
fn charge<'a>(
    request: &'a Examined,
    limits: &NameLimits,
    parent: &'a str,
    under: &'a str,
    registered: Option<&'a str>,
    segments: impl Iterator<Item = &'a str>,
) -> Charge<'a> {
    let mut names = Vec::new();
    let of_host: &[usize] = if registered.is_some() { &[PARENT, TOTAL] } else { &[PARENT] };
    let mut rest = Some(under).filter(|under| !under.is_empty());
    while let Some(node) = rest {
        let (label, after) = node.split_once('.').map_or((node, None), |(label, after)| (label, Some(after)));
        names.push(Name {
            mark: Mark::new(b'n', &[parent, node]),
            text: label,
            scored: Scored::Label,
            meters: of_host,
        });
        rest = after;
    }
    if let Some(label) = registered {
        let mark = Mark::new(b'r', &[parent]);
        names.push(Name { mark, text: label, scored: Scored::Registered, meters: &[TOTAL] });
    }
    for segment in segments {
        let mark = Mark::new(b's', &[parent, segment]);
        names.push(Name { mark, text: segment, scored: Scored::Segment, meters: &[PATHS] });
    }
    let kind = if registered.is_some() { b'o' } else { b'w' };
    Charge {
        session: session_name(&request.verified).fingerprint(),
        share: share(&request.verified),
        // In the order of the indices above.
        meters: vec![
            Meter { mark: Mark::new(kind, &[parent]), budget: limits.budget },
            Meter { mark: Mark::new(b't', &[]), budget: limits.total },
            Meter { mark: Mark::new(b'p', &[parent]), budget: limits.paths },
        ],
        names,
    }
}

/// Whole bytes, rounded up.
fn bytes(sixteenths: u32) -> u32 {
    sixteenths.div_ceil(8 * score::BIT)
}
