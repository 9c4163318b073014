//! Signed requests under the policy `budgets`.

use exeat_cli::sign::UnsignedRequest;
use exeat_e2e::scenario::gateway::Gateway;
use exeat_e2e::scenario::subject::Subject;
use exeat_e2e::scenario::wire::WireRequest;
use exeat_engine::context::sign::ContextFields;
use exeat_engine::context::{DataClass, Provenance};

/// Nothing expires on a slow machine, and no record waits for room.
pub(crate) const PATIENT: [(&str, &str); 2] =
    [("queue: 4096", "queue: 262144"), ("  hold: true", "  hold: true\n  context: {max_age: 30m}")];

/// The policy with patience.
pub(crate) fn prepare(port: u16) -> Gateway {
    Gateway::prepare_with("budgets", port, &PATIENT).unwrap()
}

/// A GET of the agent with the large budgets.
pub(crate) fn get(subject: &dyn Subject, host: &str, path: &str, session: &str) -> WireRequest {
    let url = format!("http://{host}:{}{path}", subject.upstream_port());
    let context = ContextFields {
        agent: "ops/many".to_owned(),
        session: session.to_owned(),
        tenant: Some("acme".to_owned()),
        data_class: Some(DataClass::Internal),
        provenance: vec![Provenance::User],
        ..ContextFields::default()
    };
    WireRequest::signed(&UnsignedRequest::new("GET", &url).unwrap(), &context, subject).unwrap()
}
