//! A plain request, signed now, for tests that look at everything but the request.

use super::gateway::KEYID;
use super::subject::Subject;
use crate::stage::client::Request;
use anyhow::Result;
use exeat_cli::sign::{SignOptions, UnsignedRequest, sign_request};
use exeat_engine::context::sign::ContextFields;
use exeat_engine::context::{DataClass, Provenance};

/// The host that requests go to; every name leads to the upstream.
pub const HOST: &str = "eu.crm.acme.example";

/// A GET of this path by `support/summarizer`, with content of the user's.
pub fn get(subject: &dyn Subject, path: &str) -> Result<Request> {
    let authority = format!("{HOST}:{}", subject.upstream_port());
    let unsigned = UnsignedRequest::new("GET", &format!("http://{authority}{path}"))?;
    let context = ContextFields {
        agent: "support/summarizer".to_owned(),
        session: "s-1".to_owned(),
        data_class: Some(DataClass::Internal),
        provenance: vec![Provenance::User],
        ..ContextFields::default()
    };
    let options = SignOptions::new(KEYID, i64::try_from(subject.now())?);
    let signed = sign_request(&unsigned, &context, &subject.gateway().signer, &options)?;
    let request = Request::new("GET", path).header("host", &authority);
    Ok(signed.fields.iter().fold(request, |request, (name, value)| request.header(name, value)))
}
