//! What went wrong with a registry, in words that say what to do.

use super::credentials::{Credentials, Secret};
use super::target::Target;
use anyhow::anyhow;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci_client::errors::{OciDistributionError, OciErrorCode};
use std::error::Error;
use std::fmt::Write as _;

/// Characters of a registry's answer that are shown.
const SHOWN: usize = 300;

/// How a registry that refuses knew us.
#[derive(Debug)]
pub enum Refused {
    /// By what we are, or not at all.
    Credentials,
    /// By a token.
    Token {
        /// The service that gave it.
        place: String,
        /// What the token says to grant, where that can be read.
        granted: Option<Vec<String>>,
    },
}

/// Secrets that others may repeat to us, and that are shown to nobody.
#[derive(Default)]
pub struct Mask {
    words: Vec<String>,
}

impl Mask {
    /// Those of credentials, as they stand and as they are sent.
    pub fn of(credentials: &Credentials) -> Self {
        let mut mask = Self::default();
        match &credentials.secret {
            Secret::Nobody => (),
            Secret::Password { user, password } => {
                mask.add(&STANDARD.encode(format!("{user}:{password}")));
                mask.add(password);
            }
            Secret::Identity(token) => mask.add(token),
        }
        mask
    }

    /// One more.
    pub fn add(&mut self, word: &str) {
        if !word.is_empty() {
            self.words.push(word.to_owned());
        }
    }

    /// Text without them.
    pub fn hide(&self, text: &str) -> String {
        self.words.iter().fold(text.to_owned(), |text, word| text.replace(word, "(secret)"))
    }
}

/// What who is refused can do.
pub fn advice(target: &Target) -> String {
    format!(
        "Check that this user may push there, and give the right credentials: --username and --password-stdin, \
         EXEAT_REGISTRY_USERNAME and EXEAT_REGISTRY_PASSWORD, or `docker login {}`",
        target.registry()
    )
}

/// The status that a registry answered, where the error is one.
pub fn status(error: &OciDistributionError) -> Option<u16> {
    match error {
        OciDistributionError::UnauthorizedError { .. } => Some(401),
        OciDistributionError::ServerError { code, .. } => Some(*code),
        OciDistributionError::RequestError(request) => request.status().map(|status| status.as_u16()),
        _ => None,
    }
}

/// The error for people. `what` was being done, `origin` says with which credentials.
pub fn explain(
    error: &OciDistributionError,
    what: &str,
    target: &Target,
    origin: &str,
    refused: &Refused,
    mask: &Mask,
) -> anyhow::Error {
    let registry = target.registry();
    match Kind::of(error, mask) {
        Kind::Refused(code) => {
            let why = match refused {
                Refused::Credentials => String::new(),
                Refused::Token { place, granted } => {
                    let (place, repository) = (shown(&mask.hide(place)), target.repository());
                    match granted.as_deref() {
                        Some(actions) if !actions.iter().any(|action| action == "push" || action == "*") => {
                            let actions = if actions.is_empty() { "nothing".to_owned() } else { actions.join(", ") };
                            let actions = shown(&mask.hide(&actions));
                            format!(
                                ": its token service {place} let us in, and granted {actions} on {repository}, not push"
                            )
                        }
                        _ => format!(", with a token of its token service {place}"),
                    }
                }
            };
            anyhow!("{what}: {registry} refuses us {origin} ({code}){why}. {}", advice(target))
        }
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
    fn of(error: &OciDistributionError, mask: &Mask) -> Self {
        let shown = |text: &str| shown(&mask.hide(text));
        match error {
            OciDistributionError::UnauthorizedError { .. } => Self::Refused("401".to_owned()),
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
                Self::of_connection(&shown(&causes(request)))
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
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let separator = if text.is_empty() { "" } else { ": " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{separator}{cause}");
        next = cause.source();
    }
    if text.is_empty() { "no answer".to_owned() } else { text }
}

/// Text that a registry chose, so that a terminal can show it.
pub fn shown(text: &str) -> String {
    let short: String = text.trim().chars().take(SHOWN).collect();
    let dots = if text.trim().chars().count() > SHOWN { "..." } else { "" };
    format!("{}{dots}", short.escape_debug())
}
