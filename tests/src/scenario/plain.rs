//! A plain request, signed now, for tests that look at everything but the request.

use super::subject::Subject;
use super::wire::WireRequest;
use crate::stage::client::Request;
use anyhow::Result;
use exeat_cli::sign::UnsignedRequest;
use exeat_engine::context::sign::ContextFields;
use exeat_engine::context::{DataClass, Provenance};

/// The host that requests go to; every name leads to the upstream.
pub const HOST: &str = "eu.crm.acme.example";

/// What `support/summarizer` says of content of the user's, of no tenant.
pub fn context() -> ContextFields {
    ContextFields {
        agent: "support/summarizer".to_owned(),
        session: "s-1".to_owned(),
        data_class: Some(DataClass::Internal),
        provenance: vec![Provenance::User],
        ..ContextFields::default()
    }
}

/// A GET of this path by `support/summarizer`, with content of the user's.
pub fn get(subject: &dyn Subject, path: &str) -> Result<Request> {
    let wire = wire(subject, "GET", path, b"")?;
    let request = Request::new("GET", path).header("host", &wire.authority);
    Ok(wire.fields.iter().fold(request, |request, (name, value)| request.header(name, value)))
}

/// The same with a method and a body, before it is framed.
pub fn wire(subject: &dyn Subject, method: &str, path: &str, body: &[u8]) -> Result<WireRequest> {
    let authority = format!("{HOST}:{}", subject.upstream_port());
    let unsigned = match method {
        "CONNECT" => UnsignedRequest::new(method, &format!("http://{authority}"))?,
        _ => UnsignedRequest::new(method, &format!("http://{authority}{path}"))?,
    };
    let unsigned = if body.is_empty() { unsigned } else { unsigned.body(body) };
    WireRequest::signed(&unsigned, &context(), subject)
}
