//! An agent whose signer signs whatever it is asked to, within its grant.

use exeat_cli::sign::UnsignedRequest;
use exeat_e2e::scenario::subject::Subject;
use exeat_e2e::scenario::wire::WireRequest;
use exeat_engine::context::sign::ContextFields;
use exeat_engine::context::{DataClass, Provenance};

/// Known to the policy `main`, enforced.
pub(crate) const WORKER: &str = "support/summarizer";

/// Known to the policy `main`, in monitor mode.
pub(crate) const WATCHED: &str = "support/observer";

/// A host of the destination `crm`, with the port of the upstream.
pub(crate) fn crm(subject: &dyn Subject) -> String {
    format!("eu.crm.acme.example:{}", subject.upstream_port())
}

/// A signed `GET`.
pub(crate) fn get(subject: &dyn Subject, agent: &str, path: &str) -> WireRequest {
    signed(subject, agent, "GET", path, &[], b"")
}

/// A signed `POST` of plain text.
pub(crate) fn post(subject: &dyn Subject, agent: &str, path: &str, body: &[u8]) -> WireRequest {
    signed(subject, agent, "POST", path, &[("content-type", "text/plain")], body)
}

/// A request to `crm`, signed now with the policy's key.
pub(crate) fn signed(
    subject: &dyn Subject,
    agent: &str,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: &[u8],
) -> WireRequest {
    signed_to(&crm(subject), subject, agent, method, path, fields, body)
}

/// A request to a host and port, signed now with the policy's key.
pub(crate) fn signed_to(
    authority: &str,
    subject: &dyn Subject,
    agent: &str,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: &[u8],
) -> WireRequest {
    let mut unsigned = UnsignedRequest::new(method, &format!("http://{authority}{path}")).unwrap();
    for (name, value) in fields {
        unsigned = unsigned.field(name, value);
    }
    if !body.is_empty() {
        unsigned = unsigned.body(body);
    }
    let context = ContextFields {
        agent: agent.to_owned(),
        session: "s-1".to_owned(),
        tenant: Some("acme".to_owned()),
        tool: Some("crm.lookup".to_owned()),
        data_class: Some(DataClass::Internal),
        provenance: vec![Provenance::User],
        ..ContextFields::default()
    };
    WireRequest::signed(&unsigned, &context, subject).unwrap()
}

/// The same without anything signed.
pub(crate) fn unsigned(mut request: WireRequest) -> WireRequest {
    request.fields.retain(|(name, _)| !matches!(name.as_slice(), b"agent-context" | b"signature" | b"signature-input"));
    request
}

/// The head of a request for HTTP/2. The scheme on the wire is plain HTTP.
pub(crate) fn http2(request: &WireRequest) -> http::Request<()> {
    let uri = format!("http://{}{}", request.authority, request.target);
    let head = http::Request::builder().method(request.method.as_str()).uri(uri);
    let fields = request.fields.iter();
    fields.fold(head, |head, (name, value)| head.header(name.as_slice(), value.as_slice())).body(()).unwrap()
}
