//! Signers: their keys, and what each may speak for.

use super::document::policy::{PublicText, SignerDocument, SignerKeyDocument};
use super::error::{Place, PolicyError, Problems, quoted};
use super::pattern::{ValuePattern, any_fits};
use super::token;
use crate::context::jwk::{Jwk, JwkError};
use crate::context::keyring::{PublicKeyError, SignerKey};
use crate::context::token::{KeyMaterial, TokenIssuers, TokenKey};
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

/// All signers, by the index that keys carry, the keys that sign requests, the first of them prepared for fast
/// verification, and those who issue tokens.
pub(super) fn compile(
    documents: &[SignerDocument],
    prepared_keys: u16,
    place: &Place<'_>,
    problems: &mut Problems,
) -> (Vec<Signer>, KeyRing, TokenIssuers) {
    let (mut signers, mut issuers, mut ids) = (Vec::new(), Vec::new(), HashSet::new());
    let mut ring = KeyRing::with_prepared_keys(prepared_keys.into());
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
        let compiled = document.keys.iter().enumerate().filter_map(|(i, key)| {
            let place = keys.index(i);
            Some((i, problems.take(compile_key(key, &document.id, &place))?))
        });
        let compiled: Vec<(usize, TokenKey)> = compiled.collect();
        let repeated = |i: usize, id: &str, why: &str| {
            keys.index(i).key("id").error(
                format!("another key has the id {}", quoted(id)),
                "give each key an id of its own; a key without one has the id of its signer",
                why,
            )
        };
        match &document.jwt {
            None => {
                for (i, key) in compiled {
                    let Some(request) = problems.take(request_key(&key, index, &keys.index(i))) else { continue };
                    if !ring.insert(&key.kid, request) {
                        problems.note(repeated(i, &key.kid, "a signature names its key by this id alone"));
                    }
                }
            }
            Some(jwt) => {
                let Some(mut issuer) = token::compile(document, jwt, index, &place, problems) else { continue };
                for (i, key) in compiled {
                    if issuer.keys.iter().any(|other| other.kid == key.kid) {
                        problems.note(repeated(i, &key.kid, "a token names its key by this id"));
                    }
                    issuer.keys.push(key);
                }
                issuers.push(issuer);
            }
        }
    }
    (signers, ring, TokenIssuers::new(issuers, prepared_keys.into()))
}

/// Signatures of requests are Ed25519, verified here: they are checked with every request.
fn request_key(key: &TokenKey, signer: usize, place: &Place<'_>) -> Result<SignerKey, PolicyError> {
    match &key.material {
        KeyMaterial::Ed25519(public) => {
            let TokenKey { not_before, not_after, .. } = *key;
            Ok(SignerKey { signer, public: public.clone(), not_before, not_after })
        }
        KeyMaterial::Host(algorithm, _) => Err(place.key("public").error(
            format!("a key for {algorithm}"),
            "give an Ed25519 key, or jwt if the signer issues tokens",
            "signatures of requests are Ed25519",
        )),
    }
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

/// A key, under the id that it goes by.
fn compile_key(document: &SignerKeyDocument, signer_id: &str, place: &Place<'_>) -> Result<TokenKey, PolicyError> {
    if let Some(id) = &document.id {
        key_id(id, &place.key("id"))?;
    }
    let (material, kid) = public_key(&document.public, &place.key("public"))?;
    if let Some(kid) = &kid {
        key_id(kid, &place.key("public").key("kid"))?;
    }
    let kid = match (&document.id, kid) {
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
    Ok(TokenKey { kid, material, not_before, not_after, place: place.key("public").pointer() })
}

/// The key, and the `kid` of a JWK. The text is not repeated in errors: people put a private key here.
fn public_key(text: &PublicText, place: &Place<'_>) -> Result<(KeyMaterial, Option<String>), PolicyError> {
    let refused = |problem: String, why: &str| {
        place.error(problem, "write base64 of the 32 bytes of the public half, or its JWK", why)
    };
    const PRIVATE: &str = "whoever reads the policy could sign with it";
    const UNSAFE: &str = "anybody could sign for it";
    match text {
        PublicText::Base64(text) => match PublicKey::parse(text) {
            Ok(key) => Ok((KeyMaterial::Ed25519(key), None)),
            Err(PublicKeyError::Form) => Err(refused("not an Ed25519 public key".to_owned(), "")),
            Err(PublicKeyError::Private) => Err(refused("a private key".to_owned(), PRIVATE)),
            Err(PublicKeyError::Point) => {
                Err(refused("32 bytes that are no safe Ed25519 public key".to_owned(), UNSAFE))
            }
        },
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
