//! What went wrong with a registry, in words that say what to do.

use super::target::Target;
use anyhow::anyhow;
use oci_client::errors::{OciDistributionError, OciErrorCode};
use std::error::Error;
use std::fmt::Write as _;

/// Characters of a registry's answer that are shown.
const SHOWN: usize = 300;

/// The error for people. `what` was being done, `origin` says with which credentials.
pub fn explain(error: OciDistributionError, what: &str, target: &Target, origin: &str) -> anyhow::Error {
    let registry = target.registry();
    match Kind::of(&error) {
        Kind::Refused(code) => anyhow!(
            "{what}: {registry} refuses us {origin} ({code}). Check that this user may push there, and give the right \
             credentials: --username and --password-stdin, EXEAT_REGISTRY_USERNAME and EXEAT_REGISTRY_PASSWORD, or `docker login \
             {registry}`"
        ),
        Kind::Untrusted(why) => anyhow!(
            "{what}: the certificate of {registry} is not trusted: {why}. Where it is of an authority of your own, name that with \
             --registry-ca FILE"
        ),
        Kind::NoTls(why) => anyhow!(
            "{what}: {registry} does not speak TLS ({why}). A registry on this machine may do without: --plain-http"
        ),
        Kind::Unreachable(why) => anyhow!("{what}: {registry} cannot be reached: {why}. Check name, port and network"),
        Kind::Other(why) if target.is_plain() => anyhow!(
            "{what}: {registry} answers: {why}. It was spoken to without TLS; if it speaks TLS, leave --plain-http out"
        ),
        Kind::Other(why) => anyhow!("{what}: {registry} answers: {why}"),
    }
}

enum Kind {
    Refused(String),
    Untrusted(String),
    NoTls(String),
    Unreachable(String),
    Other(String),
}

impl Kind {
    fn of(error: &OciDistributionError) -> Self {
        match error {
            OciDistributionError::UnauthorizedError { .. } => Self::Refused("401".to_owned()),
            OciDistributionError::AuthenticationFailure(message) => {
                Self::Refused(format!("by its token service: {}", shown(message)))
            }
            OciDistributionError::ServerError { code: code @ (401 | 403), message, .. } => {
                Self::Refused(format!("{code}: {}", shown(message)))
            }
            OciDistributionError::RegistryError { envelope, .. }
                if envelope
                    .errors
                    .iter()
                    .any(|e| matches!(e.code, OciErrorCode::Unauthorized | OciErrorCode::Denied)) =>
            {
                Self::Refused(shown(&envelope.to_string()))
            }
            OciDistributionError::RequestError(request) => {
                if let Some(status) = request.status() {
                    let code = status.as_u16();
                    return match code {
                        401 | 403 => Self::Refused(code.to_string()),
                        _ => Self::Other(format!("status {code}")),
                    };
                }
                Self::of_connection(&causes(request))
            }
            other => Self::Other(shown(&other.to_string())),
        }
    }

    /// TLS libraries put their errors into words only; what is not known by these is told as it is.
    fn of_connection(causes: &str) -> Self {
        let any = |words: &[&str]| words.iter().any(|word| causes.contains(word));
        if any(&["invalid peer certificate", "UnknownIssuer", "CA certificates", "certificate"]) {
            Self::Untrusted(causes.to_owned())
        } else if any(&["InvalidContentType", "corrupt message"]) {
            Self::NoTls(causes.to_owned())
        } else {
            Self::Unreachable(causes.to_owned())
        }
    }
}

/// An error with all that led to it, outermost first.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let separator = if text.is_empty() { "" } else { ": " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{separator}{cause}");
        next = cause.source();
    }
    shown(if text.is_empty() { "no answer" } else { &text })
}

/// Text that a registry chose, so that a terminal can show it.
fn shown(text: &str) -> String {
    let short: String = text.trim().chars().take(SHOWN).collect();
    let dots = if text.trim().chars().count() > SHOWN { "..." } else { "" };
    format!("{}{dots}", short.escape_debug())
}
