//! Signing a request: what `exeat sign` does, as a function that tests and examples share.

use crate::key::PrivateKey;
use anyhow::{Context as _, bail};
use base64::Engine as _;
use exeat_engine::context::sign::{ContextFields, SignatureInput, content_digest, required_components};
use exeat_engine::context::signature::Component;
use exeat_engine::request::{Field, RequestHead};

/// A request before it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsignedRequest {
    /// Method.
    pub method: String,
    /// Scheme on the wire to the gateway, which need not be that of the destination.
    pub scheme: String,
    /// `Host` or `:authority`.
    pub authority: String,
    /// Path and query; `None` for CONNECT.
    pub path: Option<String>,
    /// Fields that the request carries besides, in order.
    pub fields: Vec<(String, String)>,
    /// The body, where there is one.
    pub body: Option<Vec<u8>>,
}

impl UnsignedRequest {
    /// A request to a URL. The URL is taken as it stands: what is signed is what goes over the wire.
    pub fn new(method: &str, url: &str) -> anyhow::Result<Self> {
        let bad = |why: &str, remedy: &str| anyhow::anyhow!("cannot sign a request to {url:?}: {why}; {remedy}");
        if let Some(character) = url.chars().find(|c| !c.is_ascii_graphic()) {
            let why = format!("it contains {character:?}");
            return Err(bad(&why, "percent-encode it in path and query, write a host in punycode"));
        }
        let (scheme, rest) = match url.split_once("://") {
            Some((scheme @ ("http" | "https"), rest)) => (scheme, rest),
            _ => return Err(bad("it does not start with http:// or https://", "write the whole URL")),
        };
        if rest.contains('#') {
            return Err(bad("it has a fragment", "leave out # and what follows, which never goes over the wire"));
        }
        let (authority, target) = match rest.find(['/', '?']).and_then(|at| rest.split_at_checked(at)) {
            Some((authority, target)) => (authority, target),
            None => (rest, ""),
        };
        if authority.is_empty() || authority.contains('@') {
            return Err(bad("its authority is no plain host and port", "leave out user and password"));
        }
        let path = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        let (authority, path) = match method {
            "CONNECT" if path != "/" => return Err(bad("a CONNECT has no path", "name host and port only")),
            // The target of CONNECT always has a port (RFC 9110 section 9.3.6).
            "CONNECT" if !has_port(authority) => {
                (format!("{authority}:{}", if scheme == "https" { 443 } else { 80 }), None)
            }
            "CONNECT" => (authority.to_owned(), None),
            _ => (authority.to_owned(), Some(path)),
        };
        Ok(Self {
            method: method.to_owned(),
            scheme: scheme.to_owned(),
            authority,
            path,
            fields: Vec::new(),
            body: None,
        })
    }

    /// Adds a field.
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_ascii_lowercase(), value.to_owned()));
        self
    }

    /// Gives it a body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    fn has_body(&self) -> bool {
        self.body.as_ref().is_some_and(|body| !body.is_empty())
    }

    /// The head with further fields, as a gateway sees it: a body announces its length.
    ///
    /// # Errors
    /// It is not the head of a request.
    pub fn head_with(&self, fields: &[(String, String)]) -> anyhow::Result<RequestHead> {
        let mut head = self.head()?;
        head.fields.extend(fields.iter().map(|(name, value)| (name.to_ascii_lowercase().into(), value.clone().into())));
        if let Some(body) = self.body.as_ref().filter(|_| self.has_body() && !head.has("content-length")) {
            head.fields.push(("content-length".into(), body.len().to_string().into()));
        }
        Ok(head)
    }

    /// The head as a gateway sees it, pseudo-headers as HTTP/2 names them.
    fn head(&self) -> anyhow::Result<RequestHead> {
        let mut pairs: Vec<Field> = vec![
            (":method".into(), self.method.clone().into()),
            (":scheme".into(), self.scheme.clone().into()),
            (":authority".into(), self.authority.clone().into()),
        ];
        pairs.extend(self.path.iter().map(|path| (":path".into(), path.clone().into())));
        pairs.extend(self.fields.iter().map(|(name, value)| (name.to_ascii_lowercase().into(), value.clone().into())));
        Ok(RequestHead::from_pairs(pairs)?)
    }
}

fn has_port(authority: &str) -> bool {
    authority.rsplit_once(':').is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

/// How a signature is made. [`SignOptions::new`] gives one that a gateway accepts; tests bend the rest.
#[derive(Clone, Debug, PartialEq)]
pub struct SignOptions {
    /// Key id.
    pub keyid: Option<String>,
    /// When the signature is made: seconds since the Unix epoch.
    pub created: Option<i64>,
    /// When it ends, likewise.
    pub expires: Option<i64>,
    /// Nonce; a new one when absent.
    pub nonce: Option<String>,
    /// Algorithm named.
    pub alg: Option<String>,
    /// Tag.
    pub tag: Option<String>,
    /// Label.
    pub label: String,
    /// Components covered besides those required.
    pub cover: Vec<Component>,
    /// Components covered instead of those required.
    pub components: Option<Vec<Component>>,
    /// The value of `Agent-Context`, instead of one made from the context.
    pub agent_context: Option<String>,
}

impl SignOptions {
    /// A signature made at `created`, by the key that the policy knows as `keyid`.
    pub fn new(keyid: &str, created: i64) -> Self {
        let SignatureInput { label, alg, tag, .. } = SignatureInput::new(Vec::new(), keyid, created, "");
        Self {
            keyid: Some(keyid.to_owned()),
            created: Some(created),
            expires: None,
            nonce: None,
            alg,
            tag,
            label,
            cover: Vec::new(),
            components: None,
            agent_context: None,
        }
    }
}

/// What signing added to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRequest {
    /// The fields to add, in order, names in lower case.
    pub fields: Vec<(String, String)>,
    /// The bytes that were signed.
    pub signature_base: Vec<u8>,
    /// The nonce.
    pub nonce: String,
}

/// Adds context, digest and signature to a request.
pub fn sign_request(
    request: &UnsignedRequest,
    context: &ContextFields,
    key: &PrivateKey,
    options: &SignOptions,
) -> anyhow::Result<SignedRequest> {
    let mut head = request.head()?;
    let mut fields = Vec::new();
    let mut add = |head: &mut RequestHead, name: &str, value: String| {
        head.fields.push((name.into(), value.clone().into()));
        fields.push((name.to_owned(), value));
    };
    for name in ["agent-context", "signature", "signature-input"] {
        if head.has(name) {
            bail!("the request has a field {name} already; leave it out, it is made here");
        }
    }
    if let Some(body) = request.body.as_deref().filter(|_| request.has_body() && !head.has("content-digest")) {
        add(&mut head, "content-digest", content_digest(body));
    }
    let agent_context = match &options.agent_context {
        Some(text) => text.clone(),
        None => context.to_field().context("a gateway would refuse this context")?,
    };
    add(&mut head, "agent-context", agent_context);
    let required = || {
        let mut components = required_components(&head, request.has_body());
        components
            .extend(options.cover.iter().filter(|extra| !components.contains(extra)).cloned().collect::<Vec<_>>());
        components
    };
    let nonce = match &options.nonce {
        Some(nonce) => nonce.clone(),
        None => new_nonce()?,
    };
    let input = SignatureInput {
        label: options.label.clone(),
        components: options.components.clone().unwrap_or_else(required),
        created: options.created,
        expires: options.expires,
        nonce: Some(nonce.clone()),
        keyid: options.keyid.clone(),
        alg: options.alg.clone(),
        tag: options.tag.clone(),
    };
    let signature_base = input.base(&head)?;
    for (name, value) in input.lines(&key.sign(&signature_base))? {
        add(&mut head, name, value);
    }
    Ok(SignedRequest { fields, signature_base, nonce })
}

/// 16 random bytes in base64url.
fn new_nonce() -> anyhow::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).context("the operating system gives no randomness")?;
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
}
