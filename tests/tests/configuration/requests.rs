//! A good request, and which revision of the policy judged it.

use exeat_cli::sign::{SignOptions, UnsignedRequest, sign_request};
use exeat_e2e::scenario::gateway::KEYID;
use exeat_e2e::scenario::real::RealEnvoy;
use exeat_e2e::scenario::subject::Subject;
use exeat_e2e::stage::client::{Connection, Request};
use exeat_engine::context::sign::ContextFields;
use exeat_engine::context::{DataClass, Provenance};

/// What became of a good request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    /// It went on as this revision of the policy says.
    By(String),
    /// It went on, and nobody had judged it.
    ByNobody,
    /// It was refused.
    Refused(u16, String),
    /// It came twice, or never, or was not answered.
    Broken(String),
}

pub(crate) fn signed(real: &RealEnvoy) -> Request {
    let authority = format!("eu.crm.acme.example:{}", real.upstream_port());
    let unsigned = UnsignedRequest::new("GET", &format!("http://{authority}/v1/orders/7")).unwrap();
    let context = ContextFields {
        agent: "support/summarizer".to_owned(),
        session: "s-1".to_owned(),
        data_class: Some(DataClass::Internal),
        provenance: vec![Provenance::User],
        ..ContextFields::default()
    };
    let options = SignOptions::new(KEYID, i64::try_from(real.now()).unwrap());
    let signed = sign_request(&unsigned, &context, &real.gateway().signer, &options).unwrap();
    let request = Request::new("GET", "/v1/orders/7").header("host", &authority);
    signed.fields.iter().fold(request, |request, (name, value)| request.header(name, value))
}

/// Sends a good request.
pub(crate) fn judged(real: &RealEnvoy, connection: &mut Connection) -> Judged {
    let answer = match connection.send(&signed(real)) {
        Ok(answer) => answer,
        Err(error) => return Judged::Broken(error.to_string()),
    };
    let arrived = real.upstream.take();
    match (answer.status, arrived.as_slice()) {
        (200, [request]) => match request.header("x-judged-by") {
            Some(revision) => Judged::By(String::from_utf8_lossy(revision).into_owned()),
            None => Judged::ByNobody,
        },
        (status, []) if status >= 400 => Judged::Refused(status, answer.text()),
        (status, arrived) => Judged::Broken(format!("{status} and {} arrived", arrived.len())),
    }
}
