//! Signers: their keys, and what each may speak for.

use super::document::policy::{PublicText, SignerDocument, SignerKeyDocument};
use super::error::{Place, PolicyError, Problems, quoted};
use super::pattern::{ValuePattern, any_fits};
use crate::context::jwk::{Jwk, JwkError};
use crate::context::keyring::{PublicKeyError, SignerKey};
use crate::context::{AgentContext, KeyRing, Provenance, PublicKey, SpiffeId};
use std::collections::HashSet;

/// Somebody who may state facts about requests.
#[derive(Clone, Debug)]
pub struct Signer {
    id: String,
    agents: Vec<ValuePattern>,
    tenants: Vec<ValuePattern>,
    users: Vec<ValuePattern>,
    tools: Vec<ValuePattern>,
    provenance: Vec<Provenance>,
    spiffe: Option<SpiffeId>,
}

impl Signer {
    /// Name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The SPIFFE id that the certificate of its connection must name.
    pub fn spiffe(&self) -> Option<&SpiffeId> {
        self.spiffe.as_ref()
    }

    /// What is expected of the connection, where it is not from `peer`: the SPIFFE id of its verified certificate. The
    /// signer's keys count on no other.
    pub(crate) fn refuses_peer(&self, peer: Option<&str>) -> Option<String> {
        let expected = self.spiffe.as_ref().filter(|expected| peer != Some(expected.as_str()))?;
        let got = peer.map_or_else(|| "no SPIFFE id".to_owned(), quoted);
        Some(format!("expected a certificate for {expected}, the connection has {got}"))
    }

    /// The first member of `context` that the grant does not cover. A member that is absent needs no grant; provenance
    /// is never absent, it is `unknown` then.
    pub(crate) fn uncovered(&self, context: &AgentContext) -> Option<&'static str> {
        let open = |patterns: &[ValuePattern], value: &Option<String>| {
            value.as_deref().is_some_and(|value| !any_fits(patterns, value))
        };
        if !any_fits(&self.agents, &context.agent) {
            Some("agent")
        } else if open(&self.tenants, &context.tenant) {
            Some("tenant")
        } else if open(&self.users, &context.user) {
            Some("user")
        } else if open(&self.tools, &context.tool) {
            Some("tool")
        } else if context.provenance.is_empty() || !context.provenance.iter().all(|p| self.provenance.contains(p)) {
            Some("provenance")
        } else {
            None
        }
    }
}

/// All signers, by the index that keys carry, and all keys, the first of them prepared for fast verification.
pub(super) fn compile(
    documents: &[SignerDocument],
    prepared_keys: u16,
    place: &Place<'_>,
    problems: &mut Problems,
) -> (Vec<Signer>, KeyRing) {
    let (mut signers, mut ring, mut ids) =
        (Vec::new(), KeyRing::with_prepared_keys(prepared_keys.into()), HashSet::new());
    for (i, document) in documents.iter().enumerate() {
        let place = place.index(i);
        if !ids.insert(document.id.as_str()) {
            problems.note(place.key("id").error(
                format!("another signer has the id {}", quoted(&document.id)),
                "give each signer an id of its own",
                "",
            ));
        }
        let Some(signer) = problems.take(compile_one(document, &place)) else { continue };
        let index = signers.len();
        signers.push(signer);
        let keys = place.key("keys");
        if document.keys.is_empty() {
            problems.note(keys.error("a signer without keys can sign nothing", "add a key or remove the signer", ""));
        }
        for (i, key) in document.keys.iter().enumerate() {
            let place = keys.index(i);
            let Some((keyid, compiled)) = problems.take(compile_key(key, &document.id, index, &place)) else {
                continue;
            };
            if !ring.insert(&keyid, compiled) {
                problems.note(place.key("id").error(
                    format!("another key has the id {}", quoted(&keyid)),
                    "give each key an id of its own; a key without one has the id of its signer",
                    "a signature names its key by this id alone",
                ));
            }
        }
    }
    (signers, ring)
}

fn compile_one(document: &SignerDocument, place: &Place<'_>) -> Result<Signer, PolicyError> {
    key_id(&document.id, &place.key("id"))?;
    Ok(Signer {
        id: document.id.clone(),
        agents: ValuePattern::parse_all(&document.agents, &place.key("agents"))?,
        tenants: ValuePattern::parse_all(&document.tenants, &place.key("tenants"))?,
        users: ValuePattern::parse_all(&document.users, &place.key("users"))?,
        tools: ValuePattern::parse_all(&document.tools, &place.key("tools"))?,
        provenance: document.provenance.clone(),
        spiffe: document.spiffe.as_deref().map(|text| spiffe(text, &place.key("spiffe"))).transpose()?,
    })
}

fn spiffe(text: &str, place: &Place<'_>) -> Result<SpiffeId, PolicyError> {
    SpiffeId::parse(text).map_err(|error| {
        let problem = format!("{} is not a SPIFFE id: {error}", quoted(text));
        place.error(problem, "write it whole, as in spiffe://acme.example/ns/agents/sa/signer", "")
    })
}

/// A key and the id it goes under.
fn compile_key(
    document: &SignerKeyDocument,
    signer_id: &str,
    signer: usize,
    place: &Place<'_>,
) -> Result<(String, SignerKey), PolicyError> {
    if let Some(id) = &document.id {
        key_id(id, &place.key("id"))?;
    }
    let (public, kid) = public_key(&document.public, &place.key("public"))?;
    if let Some(kid) = &kid {
        key_id(kid, &place.key("public").key("kid"))?;
    }
    let keyid = match (&document.id, kid) {
        (Some(id), Some(kid)) if *id != kid => {
            let problem = format!("the JWK calls itself {}", quoted(&kid));
            return Err(place.key("id").error(problem, "leave id out, or write the same", "a key has one id"));
        }
        (Some(id), _) => id.clone(),
        (None, Some(kid)) => kid,
        (None, None) => signer_id.to_owned(),
    };
    let (not_before, not_after) = (document.not_before.map(|m| m.start()), document.not_after.map(|m| m.end()));
    if let (Some(from), Some(to)) = (not_before, not_after)
        && from > to
    {
        return Err(place.key("not_after").error("it ends before it begins", "put not_after behind not_before", ""));
    }
    Ok((keyid, SignerKey { signer, public, not_before, not_after }))
}

/// The key, and the `kid` of a JWK. The text is not repeated in errors: people put a private key here.
fn public_key(text: &PublicText, place: &Place<'_>) -> Result<(PublicKey, Option<String>), PolicyError> {
    let refused = |problem: String, why: &str| {
        place.error(problem, "write base64 of the 32 bytes of the public half, or its JWK", why)
    };
    const PRIVATE: &str = "whoever reads the policy could sign with it";
    const UNSAFE: &str = "anybody could sign for it";
    match text {
        PublicText::Base64(text) => PublicKey::parse(text).map(|key| (key, None)).map_err(|error| match error {
            PublicKeyError::Form => refused("not an Ed25519 public key".to_owned(), ""),
            PublicKeyError::Private => refused("a private key".to_owned(), PRIVATE),
            PublicKeyError::Point => refused("32 bytes that are no safe Ed25519 public key".to_owned(), UNSAFE),
        }),
        PublicText::Jwk(jwk) => Jwk::parse(jwk).map(|jwk| (jwk.key, jwk.kid)).map_err(|error| match error {
            JwkError::Private => refused(error.to_string(), PRIVATE),
            JwkError::Point => refused(error.to_string(), UNSAFE),
            _ => refused(error.to_string(), ""),
        }),
    }
}

/// A `keyid` is a structured-field string: printable ASCII.
fn key_id(text: &str, place: &Place<'_>) -> Result<(), PolicyError> {
    if (1..=128).contains(&text.len()) && text.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        return Ok(());
    }
    Err(place.error(format!("{} is not an id", quoted(text)), "write 1 to 128 printable ASCII characters", ""))
}
