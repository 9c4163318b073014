//! From a step to the request on the wire, signed as it says.

use super::document::{Edit, Protocol, RequestText, ScenarioStep, SignText};
use super::gateway::{Gateway, KEYID};
use super::subject::Subject;
use anyhow::{Context, Result, bail};
use exeat_cli::sign::{SignOptions, UnsignedRequest, sign_request};
use exeat_engine::context::sign::ContextFields;
use exeat_engine::context::signature::Component;
use serde::de::DeserializeOwned;

/// Name and value of a field line.
pub type FieldLine = (Vec<u8>, Vec<u8>);

/// A request, byte for byte, before it is framed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireRequest {
    /// Method.
    pub method: String,
    /// Request target.
    pub target: String,
    /// `Host`.
    pub authority: String,
    /// Field lines, in order, `Host` and framing apart.
    pub fields: Vec<FieldLine>,
    /// Body.
    pub body: Vec<u8>,
    /// Size of the chunks it is sent in, instead of a content-length.
    pub chunked: Option<usize>,
    /// Fields after the body.
    pub trailers: Vec<(String, String)>,
    /// The content-length to announce in place of the body's own; the body may then fall short of it.
    pub announce: Option<u64>,
    /// How it is sent.
    pub protocol: Protocol,
}

impl WireRequest {
    /// A request with what signing added to it, over HTTP/1.1.
    pub fn new(request: &UnsignedRequest, added: &[(String, String)]) -> Self {
        let fields = request.fields.iter().chain(added);
        Self {
            method: request.method.clone(),
            // CONNECT has no path: its target is the authority.
            target: request.path.clone().unwrap_or_else(|| request.authority.clone()),
            authority: request.authority.clone(),
            fields: fields.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect(),
            body: request.body.clone().unwrap_or_default(),
            chunked: None,
            trailers: Vec::new(),
            announce: None,
            protocol: Protocol::Http1,
        }
    }

    /// A request signed now with the key that the policy of the subject knows.
    pub fn signed(request: &UnsignedRequest, context: &ContextFields, subject: &dyn Subject) -> Result<Self> {
        let options = SignOptions::new(KEYID, i64::try_from(subject.now())?);
        let added = sign_request(request, context, &subject.gateway().signer, &options)?.fields;
        Ok(Self::new(request, &added))
    }
}

/// Builds the request of a step, signed now.
pub fn build(step: &ScenarioStep, gateway: &Gateway, now: u64) -> Result<WireRequest> {
    let text = step.request.as_ref().with_context(|| format!("step {:?} has no request", step.name))?;
    let body = body(text)?;
    let unsigned = unsigned(text, &text.url, &body)?;
    let mut fields: Vec<FieldLine> = Vec::new();
    let mut put = |name: &str, value: &str| fields.push((name.as_bytes().to_vec(), value.as_bytes().to_vec()));
    unsigned.fields.iter().for_each(|(name, value)| put(name, value));
    if let Some(sign) = &step.sign {
        signed_fields(text, sign, &body, gateway, now)?.iter().for_each(|(name, value)| put(name, value));
        sign.with.edit.iter().try_for_each(|change| edit(&mut fields, change))?;
    }
    if let Some(token) = &step.jwt {
        fields.extend(gateway.issuer.lines(token, now)?);
    }
    let added = step.sign.iter().flat_map(|sign| &sign.with.add);
    for line in text.lines.iter().chain(added) {
        let (name, value) = line.split_once(": ").with_context(|| format!("{line:?} is no `name: value`"))?;
        fields.push((unescape(name)?, unescape(value)?));
    }
    fields.extend((1..=text.filler).map(|number| (format!("x-{number}").into_bytes(), b"1".to_vec())));
    Ok(WireRequest {
        // CONNECT has no path: its target is the authority.
        target: text.target.clone().or(unsigned.path).unwrap_or_else(|| unsigned.authority.clone()),
        method: unsigned.method,
        authority: unsigned.authority,
        fields,
        body,
        chunked: text.chunked,
        trailers: text.trailers.clone().into_iter().collect(),
        announce: text.announce,
        protocol: text.protocol,
    })
}

fn edit(fields: &mut Vec<FieldLine>, edit: &Edit) -> Result<()> {
    let at = fields.iter().position(|(name, _)| *name == edit.field.as_bytes());
    let at = at.with_context(|| format!("there is no field {:?} to edit", edit.field))?;
    if edit.drop {
        fields.remove(at);
        return Ok(());
    }
    let (name, value) = fields.get_mut(at).context("it is there")?;
    if let Some(new) = &edit.value {
        *value = unescape(new)?;
    }
    if let Some(length) = edit.cut {
        value.truncate(length);
    }
    let piece = |text: &Option<String>| text.as_deref().map_or(Ok(Vec::new()), unescape);
    *value = [piece(&edit.before)?, value.clone(), piece(&edit.after)?, vec![b'a'; edit.fill]].concat();
    if let Some(new) = &edit.name {
        *name = unescape(new)?;
    }
    if let Some(second) = &edit.again {
        let line = (unescape(second)?, value.clone());
        fields.insert(at + 1, line);
    }
    Ok(())
}

fn unsigned(text: &RequestText, url: &str, body: &[u8]) -> Result<UnsignedRequest> {
    let mut request = UnsignedRequest::new(&text.method, url)?;
    for (name, value) in &text.headers {
        request = request.field(name, value);
    }
    Ok(if body.is_empty() { request } else { request.body(body) })
}

fn signed_fields(
    text: &RequestText,
    sign: &SignText,
    body: &[u8],
    gateway: &Gateway,
    now: u64,
) -> Result<Vec<(String, String)>> {
    let with = &sign.with;
    let signed_body = with.body.as_ref().map_or(body, |body| body.as_bytes());
    let request = unsigned(text, with.url.as_deref().unwrap_or(&text.url), signed_body)?;
    let created = i64::try_from(now)?.saturating_add(with.created.unwrap_or(0));
    let mut options = SignOptions::new(with.keyid.as_deref().unwrap_or(KEYID), created);
    options.nonce.clone_from(&with.nonce);
    options.agent_context.clone_from(&with.context);
    if !with.uncover.is_empty() {
        let all = ["@method", "@authority", "@path", "@query", "agent-context", "content-digest", "content-type"];
        let has = |name: &str| match name {
            "@query" => text.url.contains('?'),
            "content-digest" => !signed_body.is_empty(),
            "content-type" => text.headers.contains_key(name),
            _ => true,
        };
        let kept = all.iter().filter(|name| has(name) && !with.uncover.iter().any(|u| u == *name));
        let parse = |name: &&str| Component::parse(name).map_err(|error| anyhow::anyhow!("{name}: {error:?}"));
        options.components = Some(kept.map(parse).collect::<Result<_>>()?);
    }
    let key = match with.key.as_deref() {
        None => &gateway.signer,
        Some("forger") => &gateway.forger,
        Some(other) => bail!("there is no key {other:?}"),
    };
    Ok(sign_request(&request, &context(sign)?, key, &options)?.fields)
}

/// The context that a step states.
pub fn context(sign: &SignText) -> Result<ContextFields> {
    Ok(ContextFields {
        agent: sign.agent.clone(),
        session: sign.session.clone(),
        gateway: sign.gateway.clone(),
        tenant: sign.tenant.clone(),
        user: sign.user.clone(),
        region: sign.region.clone(),
        roles: sign.roles.clone(),
        delegated_by: sign.delegated_by.clone(),
        scope: sign.scope.clone(),
        tool: sign.tool.clone(),
        session_type: sign.session_type.as_deref().map(word).transpose()?,
        data_class: sign.data_class.as_deref().map(word).transpose()?,
        provenance: sign.provenance.iter().flatten().map(|name| word(name)).collect::<Result<_>>()?,
        reason: sign.reason.clone(),
        attributes: Vec::new(),
    })
}

/// A word of one of the closed vocabularies.
fn word<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_value(text.into()).with_context(|| format!("{text:?} is no word of the signed context"))
}

fn body(text: &RequestText) -> Result<Vec<u8>> {
    match (&text.body, text.body_bytes) {
        (None, None) => Ok(Vec::new()),
        (Some(body), None) => unescape(body),
        // Letters that change, so that a piece in the wrong place shows in the digest.
        (None, Some(length)) => Ok((b'a'..=b'z').cycle().take(length).collect()),
        (Some(_), Some(_)) => bail!("a request has a body or body_bytes, not both"),
    }
}

/// `\xNN` stands for a byte, everything else for itself.
fn unescape(text: &str) -> Result<Vec<u8>> {
    let mut parts = text.split("\\x");
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).with_context(|| format!("{text:?}: \\x wants two digits"))?;
        bytes.push(u8::from_str_radix(digits, 16).with_context(|| format!("{text:?}: \\x wants two hex digits"))?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    Ok(bytes)
}
