//! Verification of a request's signature (RFC 9421) against the keys of the policy.
//!
//! What is cheap to refuse is refused first; the group operations come last, so that a flood of junk costs parsing only.

use super::agent_context::{self, AgentContext};
use super::error::ContextError;
use super::keyring::{KeyProblem, KeyRing};
use super::signature::base::{signature_base, unfold};
use super::signature::input::{TaggedSignature, join_lines, tagged_signature};
use super::signature::joined;
use super::signature::{Component, coverage};
use crate::facts::Timestamp;
use crate::ledger::NonceFingerprint;
use crate::payload::digest::{self, ContentDigests};
use crate::request::RequestHead;
use sha2::{Digest, Sha256};

/// How old a signature may be. Milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// Longest age of `created`; 60,000 unless set.
    pub max_age: u64,
    /// Tolerance for `created` in the future and for `expires`; 5,000 unless set.
    pub skew: u64,
}

impl Default for Freshness {
    fn default() -> Self {
        Self { max_age: 60_000, skew: 5_000 }
    }
}

/// What a request is verified against.
#[derive(Clone, Copy, Debug)]
pub struct Expectations<'a> {
    /// Keys of the policy.
    pub keys: &'a KeyRing,
    /// This gateway's id, for the audience.
    pub gateway: &'a str,
    /// Freshness.
    pub freshness: Freshness,
    /// Now.
    pub now: Timestamp,
    /// Start of the gateway process.
    pub started: Timestamp,
}

/// A context whose signature verified for exactly this request. Made only by [`verify()`].
#[derive(Clone, Debug)]
pub struct VerifiedContext {
    /// What the signer states.
    pub context: AgentContext,
    /// Index of the signer in the compiled policy.
    pub signer: usize,
    /// `keyid` of the key.
    pub key: String,
    /// `created`, seconds.
    pub created: i64,
    /// The nonce under its key, to be spent at once.
    pub nonce: NonceFingerprint,
    /// Last moment at which this signature can be accepted: until then the nonce must be remembered.
    pub nonce_until: Timestamp,
    /// SHA-256 of the signature base.
    pub base_digest: [u8; 32],
    body: BodyCoverage,
}

impl VerifiedContext {
    /// What the body must hash to. Call this for a request that has at least one byte of body: it refuses what does not
    /// cover `Content-Digest`, and `Content-Type` and `Content-Encoding` where they are present.
    pub fn require_body_coverage(&self) -> Result<ContentDigests, ContextError> {
        match (self.body.missing, &self.body.content_digest) {
            (None, Some(field)) => ContentDigests::parse(field),
            (missing, _) => Err(ContextError::SignatureIncomplete { missing: missing.unwrap_or("\"content-digest\"") }),
        }
    }

    /// What the body must hash to where the signature says so, even if it turns out empty: who cuts a signed body off
    /// must not get through. Call this for a request that has no body; `None` when the signature does not say.
    pub fn covered_digests(&self) -> Result<Option<ContentDigests>, ContextError> {
        self.body.content_digest.as_deref().map(ContentDigests::parse).transpose()
    }
}

/// What the signature says of the body.
#[derive(Clone, Debug)]
struct BodyCoverage {
    /// Value of `Content-Digest`, where it is covered.
    content_digest: Option<Vec<u8>>,
    /// The first thing a body would need covered that is not.
    missing: Option<&'static str>,
}

impl BodyCoverage {
    fn of(head: &RequestHead, components: &[Component]) -> Result<Self, ContextError> {
        let content_digest = if coverage::covers_content_digest(components) {
            join_lines(head, digest::FIELD, digest::BOUNDS.bytes)?
        } else {
            None
        };
        Ok(Self { content_digest, missing: coverage::missing_for_body(head, components) })
    }
}

/// Verifies. Spends nothing: the caller spends the nonce, at once.
pub fn verify(head: &RequestHead, expect: &Expectations<'_>) -> Result<VerifiedContext, ContextError> {
    let context = agent_context(head)?;
    let signature = tagged_signature(head)?;
    if let Some(missing) = coverage::missing_in_head(head, &signature.components) {
        return Err(ContextError::SignatureIncomplete { missing });
    }
    let nonce_until = check_freshness(signature.created, signature.expires, expect)?;
    let keyid = &signature.keyid;
    let refused = |problem| ContextError::Key { keyid: keyid.clone(), problem };
    let key = expect.keys.get(keyid).ok_or_else(|| refused(KeyProblem::Unknown))?;
    key.check_time(expect.now).map_err(refused)?;
    let body = BodyCoverage::of(head, &signature.components)?;
    let base = verified_base(head, &signature, expect.keys)?;
    match &context.gateway {
        Some(got) if got != expect.gateway => {
            Err(ContextError::Audience { expected: expect.gateway.to_owned(), got: got.clone() })
        }
        _ => Ok(VerifiedContext {
            context,
            signer: key.signer,
            nonce: fingerprint(&signature),
            nonce_until,
            base_digest: Sha256::digest(&base).into(),
            created: signature.created,
            key: signature.keyid,
            body,
        }),
    }
}

/// The bytes that the signature is over.
fn verified_base(head: &RequestHead, signature: &TaggedSignature, keys: &KeyRing) -> Result<Vec<u8>, ContextError> {
    let base = |head: &RequestHead| {
        signature_base(head, &signature.components, &signature.parameters)
            .map_err(|(component, problem)| ContextError::Component { component, problem })
    };
    let verifies = |base: &[u8]| keys.verify(&signature.keyid, base, &signature.signature);
    let received = base(head)?;
    if verifies(&received) {
        return Ok(received);
    }
    if let Some(sent) = joined::as_sent(head, &signature.components) {
        let sent = base(&sent)?;
        if verifies(&sent) {
            return Ok(sent);
        }
    }
    Err(ContextError::SignatureInvalid { keyid: signature.keyid.clone() })
}

fn agent_context(head: &RequestHead) -> Result<AgentContext, ContextError> {
    let mut lines = head.values(agent_context::FIELD);
    match (lines.next(), lines.next()) {
        (None, _) => Err(ContextError::ContextMissing),
        (Some(line), None) => AgentContext::parse(&unfold(line)),
        (Some(_), Some(_)) => Err(ContextError::Malformed {
            field: agent_context::FIELD,
            member: None,
            problem: "occurs more than once".to_owned(),
        }),
    }
}

/// Checks `created` and `expires`; the last moment at which they would still pass.
///
/// `created` counts whole seconds, rounded down. A signature made in the second in which the process started may have
/// been spent in the process before, whose nonces nobody remembers: so `created` must not be before the start to the
/// millisecond, and for less than a second after it signers are refused (`retry: later`). No skew is granted here.
fn check_freshness(created: i64, expires: Option<i64>, expect: &Expectations<'_>) -> Result<Timestamp, ContextError> {
    let Expectations { freshness: Freshness { max_age, skew }, now, started, .. } = *expect;
    // In 128 bits nothing overflows: structured-field integers have 15 digits.
    let millis = |seconds: i64| i128::from(seconds).saturating_mul(1000);
    let (now_millis, skew_millis) = (i128::from(now.millis()), i128::from(skew));
    let until = millis(created).saturating_add(i128::from(max_age));
    if millis(created) > now_millis.saturating_add(skew_millis) {
        return Err(ContextError::NotYetValid { created, now, skew });
    }
    if until < now_millis {
        return Err(ContextError::TooOld { created, now, max_age });
    }
    if millis(created) < i128::from(started.millis()) {
        return Err(ContextError::BeforeStart { created, started });
    }
    let until = match expires {
        None => until,
        Some(expires) if expires < created => return Err(ContextError::ExpiresBeforeCreated { created, expires }),
        Some(expires) => {
            let last = millis(expires).saturating_add(skew_millis);
            if last < now_millis {
                return Err(ContextError::Expired { expires, now, skew });
            }
            until.min(last)
        }
    };
    // Not before now, hence not negative.
    Ok(Timestamp(u64::try_from(until).unwrap_or(u64::MAX)))
}

/// Key id and nonce in a form of fixed size; the length keeps `a` + `bc` and `ab` + `c` apart.
fn fingerprint(signature: &TaggedSignature) -> NonceFingerprint {
    let digest: [u8; 32] = Sha256::new()
        .chain_update((signature.keyid.len() as u64).to_be_bytes())
        .chain_update(&signature.keyid)
        .chain_update(&signature.nonce)
        .finalize()
        .into();
    let mut fingerprint = [0; 16];
    fingerprint.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    NonceFingerprint(fingerprint)
}
