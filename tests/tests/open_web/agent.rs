//! An agent on the open web, each session signed as it should be.

use exeat_cli::sign::{SignOptions, UnsignedRequest, sign_request};
use exeat_e2e::scenario::document::Protocol;
use exeat_e2e::scenario::gateway::KEYID;
use exeat_e2e::scenario::subject::Subject;
use exeat_e2e::scenario::wire::WireRequest;
use exeat_engine::context::sign::ContextFields;
use exeat_engine::context::{DataClass, Provenance};

/// The agent that the policy `open-web` lets go anywhere.
pub(crate) const READER: &str = "research/reader";

/// A signed `GET` of an absolute URL with the scheme http.
pub(crate) fn get(subject: &dyn Subject, session: &str, url: &str) -> WireRequest {
    let unsigned = UnsignedRequest::new("GET", url).unwrap();
    let context = ContextFields {
        agent: READER.to_owned(),
        session: session.to_owned(),
        tenant: Some("acme".to_owned()),
        data_class: Some(DataClass::Internal),
        provenance: vec![Provenance::User],
        ..ContextFields::default()
    };
    let options = SignOptions::new(KEYID, i64::try_from(subject.now()).unwrap());
    let fields = sign_request(&unsigned, &context, &subject.gateway().signer, &options).unwrap().fields;
    WireRequest {
        method: "GET".to_owned(),
        target: unsigned.path.clone().unwrap(),
        authority: unsigned.authority.clone(),
        fields: fields.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect(),
        body: Vec::new(),
        chunked: None,
        trailers: Vec::new(),
        announce: None,
        protocol: Protocol::Http1,
    }
}
