//! Keys that stand in for those of the policy, so that requests are really signed and verified though nobody who writes
//! tests holds a signer's key.

use crate::key::PrivateKey;
use anyhow::Context as _;
use exeat_engine::policy::document::token::JwtDocument;
use exeat_engine::policy::document::{OneOrMany, PolicyDocument};
use exeat_engine::policy::node::Node;
use exeat_engine::policy::{Document, read};

/// A key that signs in place of one of the policy's.
#[derive(Debug)]
pub struct StandIn {
    /// Id of its signer.
    pub signer: String,
    /// `keyid`.
    pub keyid: String,
    /// Both halves.
    pub key: PrivateKey,
    /// SPIFFE id that the signer's connection must name.
    pub spiffe: Option<String>,
    /// How its tokens look, where it signs tokens.
    pub(super) jwt: Option<Token>,
}

/// What tokens of a signer look like.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) header: String,
    pub(super) issuer: Option<String>,
    pub(super) trust_domain: Option<String>,
    pub(super) audience: Option<String>,
    /// Claim by member of the context.
    pub(super) claims: Vec<(&'static str, Option<String>)>,
}

/// The plugin configuration with a new public key in place of each of its signers' keys.
///
/// # Errors
/// The document is not one that was accepted, or the operating system gives no randomness.
pub fn stand_in(document: &Node) -> anyhow::Result<(Node, Vec<StandIn>)> {
    let policy = document.get("policy").context("the configuration has no policy")?;
    let policy: PolicyDocument = read(policy, Document::Policy)?;
    let mut keys = Vec::new();
    let mut publics = Vec::new();
    for signer in &policy.signers {
        for key in &signer.keys {
            let new = PrivateKey::generate()?;
            let kid = match &key.public {
                exeat_engine::policy::document::policy::PublicText::Jwk(jwk) => {
                    jwk.get("kid").and_then(|kid| kid.as_str())
                }
                exeat_engine::policy::document::policy::PublicText::Base64(_) => None,
            };
            let keyid = key.id.as_deref().or(kid).unwrap_or(&signer.id).to_owned();
            publics.push((keyid.clone(), new.public().to_base64()));
            keys.push(StandIn {
                signer: signer.id.clone(),
                keyid,
                key: new,
                spiffe: signer.spiffe.clone(),
                jwt: signer.jwt.as_ref().map(Token::of),
            });
        }
    }
    let mut document = document.clone();
    replace(&mut document, &mut publics.into_iter()).context("the signers of the configuration cannot be read")?;
    Ok((document, keys))
}

/// Puts the new keys in, in the order of the document.
fn replace(document: &mut Node, publics: &mut impl Iterator<Item = (String, String)>) -> Option<()> {
    let Some(Node::List(signers)) = entry(entry(document, "policy")?, "signers") else { return Some(()) };
    for signer in signers {
        let Some(Node::List(keys)) = entry(signer, "keys") else { return None };
        for key in keys {
            let (keyid, public) = publics.next()?;
            *entry(key, "public")? = Node::Text(public);
            let named = key.get("id").is_some();
            if let (false, Node::Map(entries)) = (named, key) {
                entries.push(("id".to_owned(), Node::Text(keyid)));
            }
        }
    }
    Some(())
}

/// The value of a key, to be changed.
pub(super) fn entry<'n>(node: &'n mut Node, name: &str) -> Option<&'n mut Node> {
    match node {
        Node::Map(entries) => entries.iter_mut().find(|(key, _)| key == name).map(|(_, value)| value),
        _ => None,
    }
}

impl Token {
    fn of(document: &JwtDocument) -> Self {
        let OneOrMany(audiences) = &document.audiences;
        let claims = &document.claims;
        Self {
            header: document.header.clone().unwrap_or_else(|| "authorization".to_owned()),
            issuer: document.issuer.clone(),
            trust_domain: document.trust_domain.clone(),
            audience: audiences.first().cloned(),
            claims: vec![
                ("agent", Some(claims.agent.clone().unwrap_or_else(|| "sub".to_owned()))),
                ("session", Some(claims.session.clone())),
                ("tenant", claims.tenant.clone()),
                ("user", claims.user.clone()),
                ("region", claims.region.clone()),
                ("roles", claims.roles.clone()),
                ("scope", claims.scope.clone()),
                ("session_type", claims.session_type.clone()),
            ],
        }
    }
}
