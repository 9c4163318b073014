//! What the head alone decides: identity, destination, form and the policy's answer to them.

use super::Surroundings;
use super::report::Denial;
use super::websocket;
use crate::context::{ContextError, Expectations, Identity, agent_context, verify};
use crate::decision::{Reason, headers};
use crate::destination::{Authority, CanonicalDestination, DestinationError, Exit, Pass};
use crate::facts::Facts;
use crate::ledger::{Share, Spend};
use crate::payload::digest::ContentDigests;
use crate::policy::{Candidates, Configuration, Grant, HeadVerdict, Outlet, Refusal, Subject};
use crate::request::{ByteString, Bytes, Field, RequestHead};

/// The longest method that is read at all: HTTP/2 takes any token, which could carry data out.
const METHOD_BYTES: usize = 20;

/// A request whose identity is proven and whose destination is read.
#[derive(Debug)]
pub(super) struct Examined {
    pub(super) head: RequestHead,
    pub(super) method: String,
    pub(super) verified: Identity,
    pub(super) destination: CanonicalDestination,
    pub(super) outlet: Outlet,
    pub(super) exit: Exit,
}

/// Why the head is refused, and how far it came.
#[derive(Debug)]
pub(super) enum Fault {
    /// Nothing about it is proven. What is told is general.
    Unverified { reason: Reason, why: String, head: Box<RequestHead> },
    /// Who sent it is proven, where it goes cannot be read.
    Unread { reason: Reason, why: String, head: Box<RequestHead>, verified: Box<Identity> },
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
            Self::Policy { refusal, request } => Denial::policy(refusal, request, None),
        }
    }
}

type Judgement = (Examined, Candidates, Option<ContentDigests>);

/// Takes the head through every check that needs no body. Boxed faults keep the good path's values small.
pub(super) fn examine(
    configuration: &Configuration,
    facts: &Facts,
    around: &mut Surroundings<'_>,
    mut head: RequestHead,
    end: bool,
) -> Result<Judgement, Box<Fault>> {
    let (verified, expected) = match identify(configuration, facts, around, &head, end) {
        Ok(identity) => identity,
        Err((reason, why)) => return Err(Box::new(Fault::Unverified { reason, why, head: Box::new(head) })),
    };
    configuration.policy().tokens().strip(&mut head);
    let request = locate(configuration, head, verified)?;
    if let Err((reason, why)) = check_form(&request) {
        return Err(Box::new(Fault::Form { reason, why, request: Box::new(request) }));
    }
    let subject = Subject {
        context: request.verified.context(),
        signer: request.verified.signer(),
        binding: request.verified.binding(),
        peer: facts.peer.as_deref(),
    };
    match configuration.policy().judge_head(&subject, &request.destination, &request.method, around.now) {
        HeadVerdict::Open(candidates) => Ok((request, candidates, expected)),
        HeadVerdict::Refused(refusal) => Err(Box::new(Fault::Policy { refusal, request: Box::new(request) })),
    }
}

/// A signed context, or, only where there is none, a token.
fn identify(
    configuration: &Configuration,
    facts: &Facts,
    around: &mut Surroundings<'_>,
    head: &RequestHead,
    end: bool,
) -> Result<(Identity, Option<ContentDigests>), (Reason, String)> {
    if !head.has(agent_context::FIELD) {
        let skew = configuration.gateway().freshness().skew;
        match configuration.policy().tokens().verify(head, around.now, skew) {
            Ok(Some(token)) => return Ok((Identity::Session(token), None)),
            Ok(None) => {}
            Err(error) => return Err((error.reason(), error.to_string())),
        }
    }
    identify_signed(configuration, facts, around, head, end)
}

/// Signature, freshness, audience, nonce, and what is signed of the body.
fn identify_signed(
    configuration: &Configuration,
    facts: &Facts,
    around: &mut Surroundings<'_>,
    head: &RequestHead,
    end: bool,
) -> Result<(Identity, Option<ContentDigests>), (Reason, String)> {
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
    let share = Share { key: &verified.key, tenant: verified.context.tenant.as_deref() };
    let spent = around.ledger.spend_nonce(share, verified.nonce, around.now, verified.nonce_until);
    let (reason, why) = match spent {
        Spend::Fresh => {
            // A length announces a body; without one its first byte tells.
            let announced = !end && head.single("content-length").is_some_and(|length| length != b"0");
            let expected =
                if announced { verified.require_body_coverage().map(Some) } else { verified.covered_digests() };
            return expected.map(|expected| (Identity::Request(Box::new(verified)), expected)).map_err(told);
        }
        Spend::Replayed => (Reason::SignatureReplayed, "the nonce was used before"),
        Spend::Full => {
            (Reason::InternalError, "there is no room for another nonce of this key and tenant until older ones expire")
        }
        Spend::Unavailable => {
            (Reason::InternalError, "the state that the workers share cannot be read or is not authentic")
        }
    };
    Err((reason, why.to_owned()))
}

/// Reads the destination; what the policy names and opens there comes first.
fn locate(configuration: &Configuration, head: RequestHead, verified: Identity) -> Result<Examined, Box<Fault>> {
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
    match read_destination(configuration, &head, &method) {
        Ok((destination, outlet)) => {
            let exit = match (method == "CONNECT", head.has("upgrade")) {
                (true, _) => Exit::Tunnel,
                (false, true) => Exit::of_upgrade(outlet.scheme),
                (false, false) => Exit::of(outlet.scheme),
            };
            Ok(Examined { head, method, verified, destination, outlet, exit })
        }
        Err(error) => Err(unread(error.reason(), error.to_string(), head, verified)),
    }
}

/// The host chooses scheme, port and what is open in the path; `:scheme` counts for nothing.
fn read_destination(
    configuration: &Configuration,
    head: &RequestHead,
    method: &str,
) -> Result<(CanonicalDestination, Outlet), DestinationError> {
    let mut authority = Authority::parse(&head.authority)?;
    let outlet = configuration.policy().outlet(&authority.host, authority.port);
    let target = if method == "CONNECT" { None } else { Some(head.path.as_deref().unwrap_or_default()) };
    if target.is_some() {
        authority.port = Some(outlet.port);
    }
    let destination = CanonicalDestination::new(authority, outlet.scheme, target, outlet.paths)?;
    destination.check_host(outlet.grant)?;
    Ok((destination, outlet))
}

fn is_method(method: &str) -> bool {
    (1..=METHOD_BYTES).contains(&method.len()) && method.bytes().all(|b| b.is_ascii_uppercase() || b == b'-')
}

/// Forms that are refused in every mode, because what follows the head could not be judged, or servers would differ.
fn check_form(request: &Examined) -> Result<(), (Reason, String)> {
    let (head, host) = (&request.head, &request.destination.host);
    // RFC 9113 section 8.5. Neither signature nor policy says anything of it. An empty one is how hosts say that there is none.
    if request.exit == Exit::Tunnel && head.path.as_ref().is_some_and(|path| !path.is_empty()) {
        return Err((Reason::RequestMalformed, "a CONNECT has no path".to_owned()));
    }
    match request.exit {
        Exit::Https | Exit::Http => {}
        Exit::Tunnel if request.outlet.tunnel.is_none() => {
            return Err((Reason::TunnelDenied, "a tunnel hides what is sent".to_owned()));
        }
        // The server's name in TLS is never an address.
        Exit::Tunnel if !request.exit.reaches(host) => {
            return Err((Reason::TunnelDenied, "a tunnel leads to a name".to_owned()));
        }
        Exit::HttpsUpgrade | Exit::HttpUpgrade if request.outlet.upgrade.is_none() => {
            return Err((Reason::UpgradeDenied, "an upgrade hides what is sent".to_owned()));
        }
        Exit::HttpsUpgrade if !request.exit.reaches(host) => {
            return Err((Reason::UpgradeDenied, "an upgrade over TLS leads to a name".to_owned()));
        }
        Exit::HttpsUpgrade | Exit::HttpUpgrade if !websocket::is_handshake(&request.method, head) => {
            return Err((Reason::UpgradeDenied, "this is not the handshake of a WebSocket".to_owned()));
        }
        Exit::Tunnel | Exit::HttpsUpgrade | Exit::HttpUpgrade => {}
    }
    if request.exit.is_stream() && (head.has("content-length") || head.has("transfer-encoding")) {
        return Err((Reason::RequestMalformed, "a tunnel or an upgrade has no body".to_owned()));
    }
    if let Err(fault) = headers::check_hygiene(&request.head) {
        return Err((Reason::RequestMalformed, fault.to_string()));
    }
    if request.port_is_hidden() && request.destination.port != request.outlet.unnamed {
        return Err((
            Reason::RequestMalformed,
            "a signature does not show the port that the authority names".to_owned(),
        ));
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

    /// Whether the authority names the default port of the scheme on the wire. `@authority` leaves it out (RFC 9421 section
    /// 2.2.3), so that a signature over a name without a port holds for it as well; and the client chooses that scheme.
    fn port_is_hidden(&self) -> bool {
        // That of a tunnel always has its port.
        if self.exit == Exit::Tunnel {
            return false;
        }
        let named = |port: &[u8]| self.head.authority.ends_with(port);
        match self.head.scheme.as_deref() {
            Some(scheme) if scheme.eq_ignore_ascii_case(b"https") => named(b":443"),
            Some(scheme) if scheme.eq_ignore_ascii_case(b"http") => named(b":80"),
            _ => false,
        }
    }

    /// The header map that goes on under a rule: nothing but what is listed, and what the gateway sets.
    pub(super) fn forward(&self, grant: &Grant) -> Vec<Field> {
        let mut map = self.pseudo_headers();
        let upgrade = matches!(self.exit, Exit::HttpsUpgrade | Exit::HttpUpgrade);
        if upgrade {
            map.extend(websocket::fields(&self.head));
        }
        map.extend(self.fields(|name| grant.keeps(name) && !(upgrade && websocket::is_own(name))));
        map.extend(grant.set().map(|(name, value)| (name.into(), Bytes::copy_from_slice(value.as_bytes()))));
        if !map.iter().any(|(name, _)| name == "user-agent") {
            map.push((ByteString::from_static("user-agent"), Bytes::from_static(headers::USER_AGENT.as_bytes())));
        }
        map
    }

    /// The header map that goes on in monitor mode: the request's own, less the reserved ones.
    pub(super) fn forward_own(&self) -> Vec<Field> {
        let mut map = self.pseudo_headers();
        map.extend(self.fields(|name| !headers::is_reserved(name)));
        map
    }

    /// Canonical authority, configured scheme, and the path exactly as it was judged.
    fn pseudo_headers(&self) -> Vec<Field> {
        let scheme = self.outlet.scheme;
        let mut map = Vec::with_capacity(self.head.fields.len().saturating_add(6));
        map.push((ByteString::from_static(":method"), self.head.method.clone()));
        map.push((ByteString::from_static(":scheme"), Bytes::from_static(scheme.as_str().as_bytes())));
        map.push((ByteString::from_static(":authority"), self.destination.authority(scheme).into()));
        map.extend(self.head.path.clone().map(|path| (ByteString::from_static(":path"), path)));
        // The host chooses no route without it; the client's own is reserved and never kept.
        map.push((ByteString::from_static("x-forwarded-proto"), Bytes::from_static(scheme.as_str().as_bytes())));
        map
    }

    /// What the guard must find where the request leaves.
    pub(super) fn pass(&self) -> Pass {
        Pass {
            exit: self.exit,
            method: self.method.clone(),
            authority: self.destination.authority(self.outlet.scheme),
            path: self.head.path.clone(),
            port: self.destination.port,
            literal: self.destination.host.address(),
            addresses: self.outlet.addresses.clone(),
            metadata: self.outlet.grant.metadata,
        }
    }

    fn fields(&self, keep: impl Fn(&str) -> bool) -> impl Iterator<Item = Field> {
        // RFC 9110 section 10.1.4: of TE, only this much means the same to every hop.
        let goes_on = move |name: &str, value: &[u8]| keep(name) && (name != "te" || value == b"trailers");
        self.head.fields.iter().filter(move |(name, value)| goes_on(name, value)).cloned()
    }
}
