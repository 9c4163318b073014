//! Who issues tokens, and verification against them.

use super::MOST_BYTES;
use super::cache::{Proven, TokenCache};
use super::claims::{ClaimMap, Times, is_for, optional_text};
use super::error::TokenError;
use super::host::{HostAlgorithm, HostVerifier, prove};
use super::jws::Jws;
use super::key::{KeyMaterial, TokenKey, host_signature};
use crate::context::agent_context::AgentContext;
use crate::context::keyring::{KeyProblem, KeyRing, SignerKey};
use crate::context::spiffe::SpiffeId;
use crate::facts::Timestamp;
use crate::request::RequestHead;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Keys prepared for fast verification at most. A token is verified once in each worker, so few are worth their 225 KB.
const PREPARED_KEYS: usize = 4;

/// Fields whose value is `Bearer <token>` (RFC 6750 section 2.1); in any other the token stands alone.
const WITH_SCHEME: [&str; 2] = ["authorization", "proxy-authorization"];

/// A signer that issues tokens.
#[derive(Clone, Debug)]
pub struct TokenIssuer {
    /// Index of the signer in the compiled policy.
    pub signer: usize,
    /// Field that its tokens come in, lower case.
    pub header: String,
    /// `iss`, where it must have one.
    pub issuer: Option<String>,
    /// Trust domain of `sub`, where that must be a SPIFFE id (JWT-SVID).
    pub trust_domain: Option<String>,
    /// Of these `aud` must name one.
    pub audiences: Vec<String>,
    /// Longest age by `iat`, milliseconds.
    pub max_age: Option<u64>,
    /// What its claims mean.
    pub claims: ClaimMap,
    /// Its keys.
    pub keys: Vec<TokenKey>,
}

/// All of them. Of those that read the same field, each has an `issuer` of its own.
#[derive(Clone, Debug, Default)]
pub struct TokenIssuers {
    issuers: Vec<TokenIssuer>,
    headers: Vec<String>,
    ring: KeyRing,
    host: Option<Arc<dyn HostVerifier>>,
    pub(super) cache: TokenCache,
}

/// A token that verified. Made only by [`TokenIssuers::verify`].
#[derive(Clone, Debug)]
pub struct VerifiedToken {
    /// What the issuer states.
    pub context: Arc<AgentContext>,
    /// Index of the signer in the compiled policy.
    pub signer: usize,
    /// Id of the key.
    pub key: String,
    /// `iat`, seconds.
    pub issued: Option<i64>,
    /// SHA-256 of the token.
    pub digest: [u8; 32],
}

/// A key that the host cannot verify with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnusableKey {
    /// Where it stands in the policy: JSON pointer.
    pub place: String,
    /// What it is for.
    pub algorithm: HostAlgorithm,
    /// What the host says.
    pub problem: String,
}

impl TokenIssuers {
    /// Prepares the keys, `prepared_keys` of them or four for fast verification, whichever is less.
    pub fn new(issuers: Vec<TokenIssuer>, prepared_keys: usize) -> Self {
        let mut ring = KeyRing::with_prepared_keys(prepared_keys.min(PREPARED_KEYS));
        let mut headers = Vec::<String>::new();
        for (index, issuer) in issuers.iter().enumerate() {
            if !headers.contains(&issuer.header) {
                headers.push(issuer.header.clone());
            }
            for key in &issuer.keys {
                if let KeyMaterial::Ed25519(public) = &key.material {
                    let (signer, public) = (issuer.signer, public.clone());
                    let TokenKey { not_before, not_after, .. } = *key;
                    ring.insert(&ring_id(index, &key.kid), SignerKey { signer, public, not_before, not_after });
                }
            }
        }
        Self { issuers, headers, ring, host: None, cache: TokenCache::default() }
    }

    /// Fields that hold tokens, lower case. They go no further than the gateway.
    pub fn headers(&self) -> &[String] {
        &self.headers
    }

    /// Takes a host into use for the keys that need one, after it gave the right answers to known questions.
    ///
    /// # Errors
    /// The first key that it cannot verify with.
    pub fn with_host(mut self, host: Arc<dyn HostVerifier>) -> Result<Self, UnusableKey> {
        let mut proven: Vec<HostAlgorithm> = Vec::new();
        for key in self.issuers.iter().flat_map(|issuer| &issuer.keys) {
            let KeyMaterial::Host(algorithm, der) = &key.material else { continue };
            let unusable = |problem| UnusableKey { place: key.place.clone(), algorithm: *algorithm, problem };
            if !proven.contains(algorithm) {
                prove(host.as_ref(), *algorithm).map_err(|refusal| unusable(refusal.0))?;
                proven.push(*algorithm);
            }
            // A host that can read the key says no; one that cannot gives no answer.
            match host.verify(*algorithm, der, b"", &[0; 64]) {
                Ok(false) => {}
                Ok(true) => return Err(unusable("anything verifies with it".to_owned())),
                Err(refusal) => return Err(unusable(refusal.0)),
            }
        }
        self.host = Some(host);
        Ok(self)
    }

    /// Takes the fields that hold tokens out of a request: whoever gets one can use it.
    pub fn strip(&self, head: &mut RequestHead) {
        if !self.headers.is_empty() {
            head.fields.retain(|(name, _)| !self.headers.iter().any(|header| name == header));
        }
    }

    /// Verifies the token of a request; `None` where there is none. `skew` in milliseconds.
    ///
    /// # Errors
    /// Whatever is wrong with it.
    pub fn verify(&self, head: &RequestHead, now: Timestamp, skew: u64) -> Result<Option<VerifiedToken>, TokenError> {
        let Some((header, token)) = self.find(head)? else { return Ok(None) };
        let digest: [u8; 32] = Sha256::digest(token).into();
        let proven = match self.cache.get(&(header, digest)) {
            Some(proven) => proven,
            None => {
                let proven = self.prove(header, token, now, skew)?;
                self.cache.put((header, digest), proven.clone(), now.seconds());
                proven
            }
        };
        let known = self.issuers.get(proven.issuer).and_then(|issuer| Some((issuer, issuer.keys.get(proven.key)?)));
        let (issuer, key) = known.ok_or(TokenError::KeyUnnamed)?;
        key.check_time(now).map_err(|problem| TokenError::Key { kid: key.kid.clone(), problem })?;
        proven.times.check(now, skew, issuer.max_age)?;
        Ok(Some(VerifiedToken {
            context: proven.context,
            signer: issuer.signer,
            key: key.kid.clone(),
            issued: proven.times.iat.and_then(|iat| i64::try_from(iat).ok()),
            digest,
        }))
    }

    /// The one token of a request, and the place of its field among [`TokenIssuers::headers`].
    fn find<'h>(&self, head: &'h RequestHead) -> Result<Option<(usize, &'h [u8])>, TokenError> {
        let mut found = None;
        for (index, header) in self.headers.iter().enumerate() {
            for value in head.fields.iter().filter(|(name, _)| name == header).map(|(_, value)| value.as_ref()) {
                if found.replace((index, header, value)).is_some() {
                    return Err(TokenError::Several { header: header.clone() });
                }
            }
        }
        let Some((index, header, value)) = found else { return Ok(None) };
        let wrong = |problem| TokenError::Field { header: header.clone(), problem };
        let token = if WITH_SCHEME.contains(&header.as_str()) {
            let (scheme, token) = value.split_at_checked(7).ok_or_else(|| wrong("is not Bearer and a token"))?;
            if !scheme.eq_ignore_ascii_case(b"bearer ") {
                return Err(wrong("is not Bearer and a token"));
            }
            token
        } else {
            value
        };
        // Before it is hashed.
        if token.len() > MOST_BYTES { Err(wrong("is too long")) } else { Ok(Some((index, token))) }
    }

    /// Everything but the time of the key. What is cheap to refuse is refused before the signature is looked at.
    fn prove(&self, header: usize, token: &[u8], now: Timestamp, skew: u64) -> Result<Proven, TokenError> {
        let jws = Jws::parse(token)?;
        let header = self.headers.get(header).map(String::as_str).unwrap_or_default();
        let (index, issuer) = self.issuer_of(header, &jws.claims)?;
        let times = issuer.check_claims(&jws.claims)?;
        times.check(now, skew, issuer.max_age)?;
        let (at, key) = issuer.key_of(&jws, now)?;
        self.check_signature(index, key, &jws)?;
        let context = issuer.claims.context(&jws.claims, optional_text(&jws.claims, "iss")?)?;
        Ok(Proven { issuer: index, key: at, times, context: Arc::new(context) })
    }

    /// Whose token it claims to be, among those that read its field.
    fn issuer_of(&self, header: &str, claims: &Map<String, Value>) -> Result<(usize, &TokenIssuer), TokenError> {
        let got = optional_text(claims, "iss")?;
        let issues = |issuer: &TokenIssuer| {
            issuer.header == header && issuer.issuer.as_deref().is_none_or(|expected| Some(expected) == got)
        };
        let found = self.issuers.iter().enumerate().find(|(_, issuer)| issues(issuer));
        found.ok_or_else(|| TokenError::Issuer { got: got.map(str::to_owned) })
    }

    fn check_signature(&self, issuer: usize, key: &TokenKey, jws: &Jws<'_>) -> Result<(), TokenError> {
        let verifies = match &key.material {
            KeyMaterial::Ed25519(_) => <&[u8; 64]>::try_from(jws.signature.as_slice())
                .is_ok_and(|signature| self.ring.verify(&ring_id(issuer, &key.kid), jws.signed, signature)),
            KeyMaterial::Host(algorithm, der) => {
                let cannot = |problem: &str| TokenError::Host { algorithm: *algorithm, problem: problem.to_owned() };
                let host = self.host.as_ref().ok_or_else(|| cannot("no host was taken into use"))?;
                match host_signature(*algorithm, &jws.signature) {
                    Some(signature) => {
                        host.verify(*algorithm, der, jws.signed, &signature).map_err(|refusal| cannot(&refusal.0))?
                    }
                    None => false,
                }
            }
        };
        if verifies { Ok(()) } else { Err(TokenError::SignatureInvalid { kid: key.kid.clone() }) }
    }
}

impl TokenIssuer {
    /// Claims that have a meaning whatever the policy maps.
    fn check_claims(&self, claims: &Map<String, Value>) -> Result<Times, TokenError> {
        // RFC 7800: such a token counts only together with a key that the sender holds, and that is not checked here.
        if claims.contains_key("cnf") {
            return Err(TokenError::claim("cnf", "binds the token to a key of its sender, which is not checked here"));
        }
        let subject = optional_text(claims, "sub")?;
        if let Some(domain) = &self.trust_domain {
            let id = SpiffeId::parse(subject.ok_or_else(|| TokenError::claim("sub", "is missing"))?);
            let id = id.map_err(|_| TokenError::claim("sub", "is not a SPIFFE id"))?;
            if id.trust_domain() != domain {
                return Err(TokenError::claim("sub", "is of another trust domain"));
            }
        }
        let times = Times::read(claims)?;
        if is_for(claims, &self.audiences)? { Ok(times) } else { Err(TokenError::Audience) }
    }

    /// The key: that of the token's `kid`; without one, the only key that its algorithm leaves.
    fn key_of(&self, jws: &Jws<'_>, now: Timestamp) -> Result<(usize, &TokenKey), TokenError> {
        let (at, key) = match &jws.kid {
            Some(kid) => self
                .keys
                .iter()
                .enumerate()
                .find(|(_, key)| key.kid == *kid)
                .ok_or_else(|| TokenError::Key { kid: kid.clone(), problem: KeyProblem::Unknown })?,
            None => {
                let mut fitting = self.keys.iter().enumerate().filter(|(_, key)| key.algorithm() == jws.algorithm);
                match (fitting.next(), fitting.next()) {
                    (Some(only), None) => only,
                    _ => return Err(TokenError::KeyUnnamed),
                }
            }
        };
        let kid = || key.kid.clone();
        // RFC 8725 section 3.1: the key says what it is for, never the token.
        if key.algorithm() != jws.algorithm {
            return Err(TokenError::KeyAlgorithm { kid: kid(), got: jws.algorithm.word() });
        }
        key.check_time(now).map_err(|problem| TokenError::Key { kid: kid(), problem })?;
        Ok((at, key))
    }
}

/// Issuers do not know of each other, so their key ids may be the same.
fn ring_id(issuer: usize, kid: &str) -> String {
    format!("{issuer} {kid}")
}
