//! An agent on the open web, each session signed as it should be.

use exeat_cli::sign::UnsignedRequest;
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
    WireRequest::signed(&unsigned, &context, subject).unwrap()
}
