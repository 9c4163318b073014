//! Requests, made before they are sent: the generator has nothing to do but to write bytes.

use super::arms::{Arm, Made};
use anyhow::{Context, Result};
use exeat_cli::key::PrivateKey;
use exeat_cli::sign::{SignOptions, UnsignedRequest, sign_request};
use exeat_e2e::scenario::gateway::{Gateway, KEYID};
use exeat_e2e::scenario::real::framed;
use exeat_e2e::scenario::token::TokenText;
use exeat_e2e::scenario::wire::WireRequest;
use exeat_engine::context::sign::ContextFields;
use exeat_engine::context::{DataClass, Provenance, SessionType};
use std::time::SystemTime;

/// The host of all requests, under a wildcard of the policy.
pub(crate) const HOST: &str = "eu.crm.acme.example";

/// Makes requests of one arm.
pub(crate) struct Maker<'a> {
    arm: &'a Arm,
    gateway: &'a Gateway,
    port: u16,
    token: (String, String),
}

/// The field with the token of a run, which lives as long as it.
pub(crate) fn token(gateway: &Gateway) -> Result<(String, String)> {
    let claims = serde_json::json!({"exp": 6 * 3600});
    let text = TokenText { claims: claims.as_object().cloned().unwrap_or_default(), ..TokenText::default() };
    let lines = gateway.issuer.lines(&text, now()?)?;
    let (name, value) = lines.first().context("a token has a field")?;
    Ok((String::from_utf8(name.clone())?, String::from_utf8(value.clone())?))
}

impl<'a> Maker<'a> {
    /// For an upstream on this port.
    pub(crate) fn new(arm: &'a Arm, gateway: &'a Gateway, port: u16, token: &(String, String)) -> Self {
        Self { arm, gateway, port, token: token.clone() }
    }

    /// So many, signed now where they are signed.
    pub(crate) fn make(&self, count: usize) -> Result<Vec<Vec<u8>>> {
        let unsigned = self.unsigned()?;
        let created = i64::try_from(now()?)?;
        let context = context(match self.arm.made {
            Made::Signed { agent } => agent,
            Made::Plain | Made::Token | Made::Forged => "support/summarizer",
        });
        let signed = |key: &PrivateKey| -> Result<Vec<u8>> {
            let added = sign_request(&unsigned, &context, key, &SignOptions::new(KEYID, created))?.fields;
            Ok(bytes(&unsigned, &added))
        };
        match self.arm.made {
            Made::Plain => Ok(vec![bytes(&unsigned, &[]); count]),
            Made::Token => Ok(vec![bytes(&unsigned, std::slice::from_ref(&self.token)); count]),
            Made::Signed { .. } => (0..count).map(|_| signed(&self.gateway.signer)).collect(),
            Made::Forged => (0..count).map(|_| signed(&self.gateway.forger)).collect(),
        }
    }

    /// With the fields that any program sends.
    fn unsigned(&self) -> Result<UnsignedRequest> {
        let method = if self.arm.body > 0 { "POST" } else { "GET" };
        let url = format!("http://{HOST}:{}{}", self.port, self.arm.path);
        let request = UnsignedRequest::new(method, &url)?
            .field("accept", "application/json")
            .field("user-agent", "agent/1.0")
            .field("accept-encoding", "gzip");
        Ok(match self.arm.body {
            0 => request,
            length => request.field("content-type", "application/json").body(json_body(length)),
        })
    }
}

/// As many members as most contexts have.
fn context(agent: &str) -> ContextFields {
    let text = str::to_owned;
    ContextFields {
        agent: text(agent),
        session: text("s-8f2c"),
        gateway: Some(text("egress-demo")),
        tenant: Some(text("acme")),
        user: Some(text("u-1042")),
        region: Some(text("eu")),
        roles: vec![text("support")],
        tool: Some(text("crm.lookup")),
        session_type: Some(SessionType::Interactive),
        data_class: Some(DataClass::Internal),
        provenance: vec![Provenance::User],
        reason: Some(text("look up order")),
        ..ContextFields::default()
    }
}

/// Members of different kinds, among them the one that the policy looks at, to this length exactly.
fn json_body(length: usize) -> Vec<u8> {
    let mut body = String::from(r#"{"customer_id": "u-1042", "lines": ["#);
    let end = r#"], "note": ""}"#;
    let mut number = 0_u32;
    loop {
        let line = format!(r#"{{"sku": "A-{number:05}", "count": {}, "price": 12.50, "gift": false}}, "#, number % 9);
        if body.len() + line.len() + end.len() + 2 > length {
            break;
        }
        body.push_str(&line);
        number += 1;
    }
    // The list ends with a value, whatever went before.
    body.push('0');
    let note = length.saturating_sub(body.len() + end.len());
    body.push_str(&end.replace(r#""""#, &format!("\"{}\"", "x".repeat(note))));
    body.into_bytes()
}

fn bytes(request: &UnsignedRequest, added: &[(String, String)]) -> Vec<u8> {
    let wire = WireRequest::new(request, added);
    [framed(&wire).head_bytes(), wire.body].concat()
}

fn now() -> Result<u64> {
    Ok(SystemTime::UNIX_EPOCH.elapsed().context("the clock is before 1970")?.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_have_their_length_and_are_json() {
        for length in [2 << 10, 64 << 10, 3000] {
            let body = json_body(length);
            assert_eq!(body.len(), length);
            let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(read["customer_id"], "u-1042");
        }
    }
}
