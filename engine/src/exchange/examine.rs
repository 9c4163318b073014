//! What the head alone decides: identity, destination, form and the policy's answer to them.

use super::report::Denial;
use super::{Judged, Surroundings};
use crate::context::{ContextError, Expectations, VerifiedContext, verify};
use crate::decision::{Reason, headers};
use crate::destination::{Authority, CanonicalDestination, DestinationError, Scheme};
use crate::evidence::record::Binding;
use crate::facts::Facts;
use crate::ledger::Spend;
use crate::payload::digest::ContentDigests;
use crate::policy::{Candidates, CompiledPolicy, Configuration, HeadVerdict, Mode, PayloadSizes, Refusal, Subject};
use crate::request::RequestHead;

/// The longest method that is read at all: HTTP/2 takes any token, which could carry data out.
const METHOD_BYTES: usize = 20;

/// A request whose identity is proven and whose destination is read.
#[derive(Debug)]
pub(super) struct Examined {
    pub(super) head: RequestHead,
    pub(super) method: String,
    pub(super) verified: VerifiedContext,
    pub(super) destination: CanonicalDestination,
    /// Id, kind and category of the closest destination of the policy.
    pub(super) named: Option<(String, String, String)>,
}

/// Why the head is refused, and how far it came.
#[derive(Debug)]
pub(super) enum Fault {
    /// Nothing about it is proven. What is told is general.
    Unverified { reason: Reason, why: String, head: Box<RequestHead> },
    /// Who sent it is proven, where it goes cannot be read.
    Unread { reason: Reason, why: String, head: Box<RequestHead>, verified: Box<VerifiedContext> },
    /// It has a form that is refused in every mode.
    Form { reason: Reason, why: String, request: Box<Examined> },
    /// The policy refuses it.
    Policy { refusal: Refusal, request: Box<Examined> },
}

impl Fault {
    pub(super) fn denial(&self) -> Denial<'_> {
        match self {
            Self::Unverified { reason, why, head } => Denial::unverified(*reason, why.clone(), Some(head)),
            Self::Unread { reason, why, head, verified } => Denial::unread(*reason, why.clone(), head, verified),
            Self::Form { reason, why, request } => Denial::floor(*reason, why.clone(), request, None),
            Self::Policy { refusal, request } => Denial::policy(refusal.clone(), request, None),
        }
    }
}

type Judgement = (Examined, Judged, Option<ContentDigests>);

/// Takes the head through every check that needs no body. Boxed faults keep the good path's values small.
pub(super) fn examine(
    configuration: &Configuration,
    facts: &Facts,
    around: &mut Surroundings<'_>,
    head: RequestHead,
    end: bool,
) -> Result<Judgement, Box<Fault>> {
    let (verified, expected) = match identify(configuration, facts, around, &head, end) {
        Ok(identity) => identity,
        Err((reason, why)) => return Err(Box::new(Fault::Unverified { reason, why, head: Box::new(head) })),
    };
    let request = locate(configuration, head, verified)?;
    if let Err((reason, why)) = check_form(&request, configuration.gateway().scheme()) {
        return Err(Box::new(Fault::Form { reason, why, request: Box::new(request) }));
    }
    let subject = Subject {
        context: &request.verified.context,
        signer: request.verified.signer,
        binding: Binding::Request,
    };
    match configuration.policy().judge_head(&subject, &request.destination, &request.method, around.now) {
        HeadVerdict::Open(candidates) => Ok((request, Judged::Open(candidates), expected)),
        HeadVerdict::Refused(refusal) if refusal.mode == Mode::Monitor => {
            Ok((request, Judged::WouldDeny(refusal), expected))
        }
        HeadVerdict::Refused(refusal) => Err(Box::new(Fault::Policy { refusal, request: Box::new(request) })),
    }
}

/// Signature, freshness, audience, nonce, and what is signed of the body.
fn identify(
    configuration: &Configuration,
    facts: &Facts,
    around: &mut Surroundings<'_>,
    head: &RequestHead,
    end: bool,
) -> Result<(VerifiedContext, Option<ContentDigests>), (Reason, String)> {
    let gateway = configuration.gateway();
    let expect = Expectations {
        keys: configuration.policy().keys(),
        gateway: gateway.id(),
        freshness: gateway.freshness(),
        now: around.now,
        started: facts.started,
    };
    let told = |error: ContextError| (error.reason(), error.to_string());
    let verified = verify(head, &expect).map_err(told)?;
    // Burnt once the signature verified, whatever comes of the request.
    let spent = around.ledger.spend_nonce(verified.nonce, around.now, verified.nonce_until);
    let (reason, why) = match spent {
        Spend::Fresh => {
            // A length announces a body; without one its first byte tells.
            let announced = !end && head.single("content-length").is_some_and(|length| length != b"0");
            let expected = if announced {
                verified.require_body_coverage().map(Some)
            } else {
                verified.covered_digests()
            };
            return expected.map(|expected| (verified, expected)).map_err(told);
        }
        Spend::Replayed => (Reason::SignatureReplayed, "the nonce was used before"),
        Spend::Full => (Reason::InternalError, "there is no room for another nonce until older ones expire"),
        Spend::Unavailable => (Reason::InternalError, "the state that the workers share cannot be read or is not authentic"),
    };
    Err((reason, why.to_owned()))
}

/// Reads the destination; what the policy names and opens there comes first.
fn locate(
    configuration: &Configuration,
    head: RequestHead,
    verified: VerifiedContext,
) -> Result<Examined, Box<Fault>> {
    let unread = |reason, why, head, verified| {
        Box::new(Fault::Unread { reason, why, head: Box::new(head), verified: Box::new(verified) })
    };
    let method = match std::str::from_utf8(&head.method) {
        Ok(method) if is_method(method) => method.to_owned(),
        _ => {
            let why = format!("a method is at most {METHOD_BYTES} upper-case letters and hyphens");
            return Err(unread(Reason::RequestMalformed, why, head, verified));
        }
    };
    let read = read_destination(configuration, &head, &method);
    match read {
        Ok((destination, named)) => Ok(Examined { head, method, verified, destination, named }),
        Err(error) => Err(unread(error.reason(), error.to_string(), head, verified)),
    }
}

type Named = Option<(String, String, String)>;

fn read_destination(
    configuration: &Configuration,
    head: &RequestHead,
    method: &str,
) -> Result<(CanonicalDestination, Named), DestinationError> {
    let authority = Authority::parse(&head.authority)?;
    let policy = configuration.policy();
    let (grant, openings) = policy.host_grant(&authority.host);
    let target = if method == "CONNECT" { None } else { Some(head.path.as_deref().unwrap_or_default()) };
    let scheme = configuration.gateway().scheme();
    let destination = CanonicalDestination::new(authority, scheme, target, openings)?;
    destination.check_host(grant)?;
    let named = policy.describe(&destination).map(|d| (d.id().to_owned(), d.kind().to_owned(), d.category().to_owned()));
    Ok((destination, named))
}

fn is_method(method: &str) -> bool {
    (1..=METHOD_BYTES).contains(&method.len()) && method.bytes().all(|b| b.is_ascii_uppercase() || b == b'-')
}

/// Forms that are refused in every mode, because what follows the head could not be judged, or servers would differ.
fn check_form(request: &Examined, _scheme: Scheme) -> Result<(), (Reason, String)> {
    if request.method == "CONNECT" {
        return Err((Reason::TunnelDenied, "a tunnel hides what is sent".to_owned()));
    }
    if request.head.has("upgrade") {
        return Err((Reason::UpgradeDenied, "an upgrade hides what is sent".to_owned()));
    }
    if let Err(fault) = headers::check_hygiene(&request.head) {
        return Err((Reason::RequestMalformed, fault.to_string()));
    }
    if request.head.has("content-length") && request.content_length().is_none() {
        return Err((Reason::RequestMalformed, "content-length is not a number".to_owned()));
    }
    Ok(())
}

impl Examined {
    /// The announced length of the body.
    pub(super) fn content_length(&self) -> Option<u64> {
        let text = std::str::from_utf8(self.head.single("content-length")?).ok()?;
        text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
    }

    /// The sizes that limits speak of.
    pub(super) fn sizes(&self, _policy: &CompiledPolicy, _candidates: &Candidates, body: u64) -> PayloadSizes {
        let url = self.head.path.as_ref().map_or(0, Vec::len) as u64;
        PayloadSizes { body, url }
    }

    /// The header map that goes on: canonical authority, configured scheme, the path as it was judged, then `fields`
    /// and what the rule sets.
    pub(super) fn forward(
        &self,
        scheme: Scheme,
        fields: Vec<(&str, &[u8])>,
        set: &[(String, String)],
        own_agent: bool,
    ) -> Vec<(String, Vec<u8>)> {
        let mut map = Vec::with_capacity(fields.len() + set.len() + 6);
        let mut put = |name: &str, value: &[u8]| map.push((name.to_owned(), value.to_vec()));
        put(":method", self.method.as_bytes());
        put(":scheme", scheme.as_str().as_bytes());
        put(":authority", self.destination.authority(scheme).as_bytes());
        if let Some(path) = &self.head.path {
            put(":path", path);
        }
        let mut named_agent = false;
        for (name, value) in fields {
            named_agent |= name == "user-agent";
            put(name, value);
        }
        for (name, value) in set {
            named_agent |= name == "user-agent";
            put(name, value.as_bytes());
        }
        if own_agent && !named_agent {
            put("user-agent", headers::USER_AGENT.as_bytes());
        }
        // The host chooses no route without it; the client's own was removed with the other reserved fields.
        put("x-forwarded-proto", scheme.as_str().as_bytes());
        map
    }
}
