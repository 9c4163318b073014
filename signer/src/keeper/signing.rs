//! What the proxy asks to be signed, held against its syntax, and the signature.
//!
//! The proxy is taken for an attacker here: whatever could be read differently by somebody is refused, and nothing of what it says goes
//! into the context.

use super::destinations::HTTP;
use super::key::SigningKey;
use crate::protocol::{RequestToSign, SignRefusal, SignedFields};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use exeat_engine::context::agent_context;
use exeat_engine::context::sign::{SignatureInput, required_components};
use exeat_engine::destination::Authority;
use exeat_engine::payload::digest;
use exeat_engine::request::RequestHead;

/// Bytes of path and query.
const MAX_PATH: usize = 64 * 1024;
/// Bytes of `Content-Type` and `Content-Encoding`.
const MAX_VALUE: usize = 1024;

/// A request that is one, read from what the proxy asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CheckedRequest<'a> {
    request: &'a RequestToSign,
    /// Where it goes.
    pub(crate) authority: Authority,
    /// The port that the agent dials.
    pub(crate) port: u16,
}

/// When and by what a signature is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    /// Seconds since the Unix epoch.
    pub(crate) created: i64,
    /// Seconds that the signature lives.
    pub(crate) life: u32,
    /// Random bytes, used once.
    pub(crate) nonce: [u8; 16],
}

fn malformed<T>(why: impl Into<String>) -> Result<T, SignRefusal> {
    Err(SignRefusal::Malformed { why: why.into() })
}

impl<'a> CheckedRequest<'a> {
    /// Checks the syntax of every part. No text of the request stands in an error.
    pub(crate) fn new(request: &'a RequestToSign) -> Result<Self, SignRefusal> {
        check_method(&request.method)?;
        let connect = request.method == "CONNECT";
        if connect != request.path.is_none() {
            return malformed("CONNECT has no path, and every other method has one");
        }
        if let Some(path) = &request.path {
            check_path(path)?;
        }
        let authority = match Authority::parse(request.authority.as_bytes()) {
            Ok(authority) if authority.to_string() == request.authority => authority,
            Ok(_) => return malformed("the authority is not in canonical form"),
            Err(error) => return malformed(format!("the authority: {error}")),
        };
        let port = match (request.scheme.as_str(), connect, authority.port) {
            ("http", false, Some(HTTP)) => return malformed("port 80 of plain HTTP is left out"),
            ("http", false, None) => HTTP,
            ("http" | "https", _, Some(port)) => port,
            ("http" | "https", ..) => return malformed("the authority has no port"),
            _ => return malformed("the scheme is neither http nor https"),
        };
        let has_body = request.content_digest.is_some();
        if !has_body && (request.content_type.is_some() || request.content_encoding.is_some()) {
            return malformed("the type of a body, and no body");
        }
        if connect && has_body {
            return malformed("CONNECT has no body");
        }
        if let Some(digest) = &request.content_digest {
            check_digest(digest)?;
        }
        for value in [&request.content_type, &request.content_encoding].into_iter().flatten() {
            check_value(value)?;
        }
        Ok(Self { request, authority, port })
    }

    /// Whether it asks for a tunnel.
    pub(crate) fn is_connect(&self) -> bool {
        self.request.path.is_none()
    }

    /// Signs it with a context. `wire_scheme` is that of the gateway's listener, on which `@authority` depends.
    pub(crate) fn sign(
        &self,
        context: &str,
        wire_scheme: &str,
        key: &SigningKey,
        stamp: Stamp,
    ) -> Result<SignedFields, SignRefusal> {
        let request = self.request;
        let fields = [
            (agent_context::FIELD, Some(context)),
            (digest::FIELD, request.content_digest.as_deref()),
            ("content-type", request.content_type.as_deref()),
            ("content-encoding", request.content_encoding.as_deref()),
        ];
        let field = |(name, value): (&str, Option<&str>)| value.map(|value| (name.into(), value.to_owned().into()));
        let head = RequestHead {
            method: request.method.clone().into(),
            scheme: Some(wire_scheme.to_owned().into()),
            authority: request.authority.clone().into(),
            path: request.path.clone().map(Into::into),
            fields: fields.into_iter().filter_map(field).collect(),
        };
        let components = required_components(&head, request.content_digest.is_some());
        let nonce = URL_SAFE_NO_PAD.encode(stamp.nonce);
        let mut input = SignatureInput::new(components, key.keyid(), stamp.created, &nonce);
        input.expires = Some(stamp.created.saturating_add(i64::from(stamp.life)));
        let unfit = |error: &dyn std::fmt::Display| SignRefusal::Malformed { why: error.to_string() };
        let base = input.base(&head).map_err(|error| unfit(&error))?;
        let [(_, signature_input), (_, signature)] = input.lines(&key.sign(&base)).map_err(|error| unfit(&error))?;
        Ok(SignedFields { agent_context: context.to_owned(), signature_input, signature })
    }
}

/// A token (RFC 9110 section 5.6.2). Methods are case-sensitive; some servers do not know that about CONNECT.
fn check_method(method: &str) -> Result<(), SignRefusal> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if method.is_empty() || method.len() > 32 || !method.bytes().all(token) {
        return malformed("the method is not a token of at most 32 characters");
    }
    if method != "CONNECT" && method.eq_ignore_ascii_case("connect") {
        return malformed("the method is CONNECT in another spelling");
    }
    Ok(())
}

/// Origin form. What servers read differently within it is the gateway's to judge.
fn check_path(path: &str) -> Result<(), SignRefusal> {
    if !path.starts_with('/') || path.len() > MAX_PATH {
        return malformed("the path does not begin with a slash, or is longer than 64 KiB");
    }
    if !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return malformed("the path has a character that is not visible ASCII, or a #");
    }
    Ok(())
}

/// Exactly one SHA-256 (RFC 9530), as the proxy makes it.
fn check_digest(digest: &str) -> Result<(), SignRefusal> {
    let encoded = digest.strip_prefix("sha-256=:").and_then(|rest| rest.strip_suffix(':'));
    match encoded.map(|encoded| STANDARD.decode(encoded)) {
        Some(Ok(bytes)) if bytes.len() == 32 => Ok(()),
        _ => malformed("the digest is not sha-256=:<base64 of 32 bytes>:"),
    }
}

/// A field value that reads the same with and without trimming (RFC 9110 section 5.5).
fn check_value(value: &str) -> Result<(), SignRefusal> {
    let inner = |byte: u8| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t');
    if value.is_empty() || value.len() > MAX_VALUE || !value.bytes().all(inner) || value.trim() != value {
        return malformed("the type or encoding of the body is not a field value of at most 1024 characters");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
