//! Signers: their keys, and what each may speak for.

use super::document::policy::{SignerDocument, SignerKeyDocument};
use super::error::{Place, PolicyError, Problems, quoted};
use super::pattern::{ValuePattern, any_fits};
use crate::context::keyring::{PublicKeyError, SignerKey};
use crate::context::{AgentContext, KeyRing, Provenance, PublicKey};
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
}

impl Signer {
    /// Name.
    pub fn id(&self) -> &str {
        &self.id
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
            let Some(compiled) = problems.take(compile_key(key, index, &place)) else { continue };
            let keyid = key.id.as_deref().unwrap_or(&document.id);
            if !ring.insert(keyid, compiled) {
                problems.note(place.key("id").error(
                    format!("another key has the id {}", quoted(keyid)),
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
    })
}

fn compile_key(document: &SignerKeyDocument, signer: usize, place: &Place<'_>) -> Result<SignerKey, PolicyError> {
    if let Some(id) = &document.id {
        key_id(id, &place.key("id"))?;
    }
    let public = PublicKey::parse(&document.public.0).map_err(|error| {
        // The text is not repeated: people put a private key here.
        let (problem, why) = match error {
            PublicKeyError::Form => ("not an Ed25519 public key", ""),
            PublicKeyError::Private => ("a private key", "whoever reads the policy could sign with it"),
            PublicKeyError::Point => ("32 bytes that are no safe Ed25519 public key", "anybody could sign for it"),
        };
        place.key("public").error(problem, "write base64 of the 32 bytes of the public half, or its JWK", why)
    })?;
    let (not_before, not_after) = (document.not_before.map(|m| m.start()), document.not_after.map(|m| m.end()));
    if let (Some(from), Some(to)) = (not_before, not_after)
        && from > to
    {
        return Err(place.key("not_after").error("it ends before it begins", "put not_after behind not_before", ""));
    }
    Ok(SignerKey { signer, public, not_before, not_after })
}

/// A `keyid` is a structured-field string: printable ASCII.
fn key_id(text: &str, place: &Place<'_>) -> Result<(), PolicyError> {
    if (1..=128).contains(&text.len()) && text.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        return Ok(());
    }
    Err(place.error(format!("{} is not an id", quoted(text)), "write 1 to 128 printable ASCII characters", ""))
}
