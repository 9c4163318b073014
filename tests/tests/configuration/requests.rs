//! A good request, and which revision of the policy judged it.

use exeat_e2e::scenario::plain;
use exeat_e2e::scenario::real::RealEnvoy;
use exeat_e2e::stage::client::Connection;

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

/// Sends a good request.
pub(crate) fn judged(real: &RealEnvoy, connection: &mut Connection) -> Judged {
    let answer = match connection.send(&plain::get(real, "/v1/orders/7").unwrap()) {
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
