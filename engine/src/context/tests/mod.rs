//! What the signed context accepts and refuses, by kind of attack. [`Scene`] is a good request; tests break it.

mod agent_context;
mod attacks;
mod body;
mod coverage;
mod ed25519;
mod keys;
mod properties;
mod rfc9421;
mod structured;
mod time;

use super::keyring::SignerKey;
use super::sign::{self, ContextFields, SignatureInput};
use super::signature::Component;
use super::*;
use crate::facts::Timestamp;
use crate::request::{Bytes, Field, RequestHead};
use ed25519_compact::{KeyPair, Seed};
use std::ops::{Deref, DerefMut};

pub(crate) const NOW: i64 = 1_763_600_000;
pub(crate) const GATEWAY: &str = "egress-eu-1";

/// A request, who signs it, and who verifies it.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) method: &'static str,
    pub(crate) scheme: Option<&'static str>,
    pub(crate) authority: String,
    pub(crate) path: Option<String>,
    pub(crate) fields: Vec<Field>,
    pub(crate) context: ContextFields,
    pub(crate) body: bool,
    pub(crate) keys: KeyRing,
    pub(crate) now: Timestamp,
    pub(crate) started: Timestamp,
    pub(crate) freshness: Freshness,
}

pub(crate) fn key_pair(number: u8) -> KeyPair {
    KeyPair::from_seed(Seed::new([number; 32]))
}

pub(crate) fn public(number: u8) -> PublicKey {
    PublicKey::from_bytes(*key_pair(number).pk).unwrap()
}

pub(crate) fn signer_key(number: u8) -> SignerKey {
    SignerKey { signer: usize::from(number), public: public(number), not_before: None, not_after: None }
}

/// A GET with a query, signed by key 1, known as `signer-1`; the policy knows `signer-2`, too.
pub(crate) fn scene() -> Scene {
    let mut keys = KeyRing::default();
    assert!(keys.insert("signer-1", signer_key(1)));
    assert!(keys.insert("signer-2", signer_key(2)));
    Scene {
        method: "GET",
        scheme: Some("http"),
        authority: "api.crm.acme.example".to_owned(),
        path: Some("/v1/orders?id=7".to_owned()),
        fields: vec![("accept".into(), "application/json".into())],
        context: ContextFields {
            agent: "support/summarizer".to_owned(),
            session: "s-8f2c".to_owned(),
            gateway: Some(GATEWAY.to_owned()),
            provenance: vec![Provenance::User],
            ..ContextFields::default()
        },
        body: false,
        keys,
        now: Timestamp(NOW as u64 * 1000 + 250),
        started: Timestamp(NOW as u64 * 1000 - 3_600_000),
        freshness: Freshness::default(),
    }
}

/// The same with a body and the fields that speak of it.
pub(crate) fn scene_with_body(body: &[u8]) -> Scene {
    let mut scene = scene();
    scene.method = "POST";
    scene.body = true;
    scene.set("content-type", "application/json");
    scene.set("content-digest", &sign::content_digest(body));
    scene
}

impl Scene {
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.fields.push((name.into(), value.to_owned().into()));
    }

    /// The head as it is before the signature, with `Agent-Context`.
    pub(crate) fn unsigned(&self) -> RequestHead {
        let mut fields = self.fields.clone();
        fields.push(("agent-context".into(), self.context.to_field().unwrap().into()));
        RequestHead {
            method: self.method.to_owned().into(),
            scheme: self.scheme.map(Into::into),
            authority: self.authority.clone().into(),
            path: self.path.clone().map(Into::into),
            fields,
        }
    }

    pub(crate) fn input(&self) -> SignatureInput {
        SignatureInput::new(sign::required_components(&self.unsigned(), self.body), "signer-1", NOW, "n-1")
    }

    pub(crate) fn signed(&self) -> RequestHead {
        self.signed_with(&self.input(), 1)
    }

    pub(crate) fn signed_with(&self, input: &SignatureInput, key: u8) -> RequestHead {
        add_signature(self.unsigned(), input, key)
    }

    pub(crate) fn verify(&self, head: &RequestHead) -> Result<VerifiedContext, ContextError> {
        let Self { keys, now, started, freshness, .. } = self;
        let (now, started, freshness) = (*now, *started, *freshness);
        verify(head, &Expectations { keys, gateway: GATEWAY, freshness, now, started })
    }

    /// The code of the reason, or `permitted`.
    pub(crate) fn verdict(&self, head: &RequestHead) -> &'static str {
        match self.verify(head) {
            Ok(_) => "permitted",
            Err(error) => {
                assert!(!error.to_string().is_empty());
                error.reason().code()
            }
        }
    }
}

/// Signs a head as it stands.
pub(crate) fn add_signature(mut head: RequestHead, input: &SignatureInput, key: u8) -> RequestHead {
    let base = input.base(&head).unwrap();
    let signature = key_pair(key).sk.sign(base, None);
    for (name, value) in input.lines(signature.as_ref()).unwrap() {
        head.fields.push((name.to_owned().into(), value.into()));
    }
    head
}

pub(crate) fn components(names: &[&str]) -> Vec<Component> {
    names.iter().map(|name| Component::parse(name).unwrap()).collect()
}

/// The value of the one line of a field, for changing.
pub(crate) fn line<'a>(head: &'a mut RequestHead, name: &str) -> Line<'a> {
    Line::of(&mut head.fields.iter_mut().find(|(other, _)| other == name).unwrap().1)
}

/// A value that can be changed. What became of it is in the head when this goes.
pub(crate) struct Line<'a> {
    value: &'a mut Bytes,
    bytes: Vec<u8>,
}

impl<'a> Line<'a> {
    pub(crate) fn of(value: &'a mut Bytes) -> Self {
        let bytes = value.to_vec();
        Self { value, bytes }
    }
}

impl Deref for Line<'_> {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Line<'_> {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        *self.value = std::mem::take(&mut self.bytes).into();
    }
}

pub(crate) fn replace(head: &mut RequestHead, name: &str, from: &str, to: &str) {
    let value = String::from_utf8(line(head, name).clone()).unwrap();
    assert!(value.contains(from), "{value} has no {from}");
    *line(head, name) = value.replace(from, to).into_bytes();
}
