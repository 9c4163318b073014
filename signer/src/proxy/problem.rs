//! What the agent gets when the proxy itself refuses: `application/problem+json` (RFC 9457), as from the gateway, but that no
//! decision was made and so none is named.

use super::AgentBody;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, PROXY_AUTHENTICATE, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde::Serialize;
use std::borrow::Cow;

/// As the gateway names reasons.
const REASON: HeaderName = HeaderName::from_static("exeat-reason");

macro_rules! refusals {
    ($($variant:ident $code:literal $status:ident $retry:literal $title:literal $detail:literal;)+) => {
        /// Why the proxy does not pass a request on. The whole vocabulary.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Refusal {
            $(
                #[doc = $title]
                $variant,
            )+
        }

        impl Refusal {
            /// Every refusal there is.
            #[cfg(test)]
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its word in answers, logs and metrics.
            pub(crate) const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }

            /// The HTTP status.
            pub(crate) const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status),+ }
            }

            const fn retry(self) -> &'static str {
                match self { $(Self::$variant => $retry),+ }
            }

            const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),+ }
            }

            const fn detail(self) -> &'static str {
                match self { $(Self::$variant => $detail),+ }
            }
        }
    };
}

refusals! {
    CredentialsMissing "proxy-authentication-required" PROXY_AUTHENTICATION_REQUIRED "never" "The proxy address carries no password of this session." "Use the proxy address that the session was given, with its user name and password.";
    PeerForbidden "peer-forbidden" FORBIDDEN "never" "This user may not use this session." "Only the user that the session was opened for may connect.";
    RequestMalformed "request-malformed" BAD_REQUEST "never" "The request cannot be read safely." "The request has a form that servers read differently, or that a proxy does not take.";
    HeadTooLarge "head-too-large" REQUEST_HEADER_FIELDS_TOO_LARGE "never" "The head of the request is too large." "Send fewer and smaller headers.";
    ExpectationUnknown "expectation-unknown" EXPECTATION_FAILED "never" "The request expects what is not known." "Only 100-continue can be expected.";
    DestinationMalformed "destination-malformed" BAD_REQUEST "never" "The destination cannot be read in one way only." "Use a plain host name and port.";
    AuthorityMismatch "authority-mismatch" MISDIRECTED_REQUEST "never" "The request is for another authority than the tunnel." "Open a tunnel to each authority, port included, that requests are sent to.";
    ConnectNested "connect-nested" FORBIDDEN "never" "A tunnel cannot be opened inside a tunnel." "Send CONNECT to the proxy address.";
    PayloadTooLarge "payload-too-large" PAYLOAD_TOO_LARGE "never" "The body is larger than the signer takes." "Send less, or in several requests.";
    BodySlow "body-slow" REQUEST_TIMEOUT "later" "The body did not arrive in time." "Send the body at once.";
    BodyBroken "body-broken" BAD_REQUEST "never" "The body could not be read to its end." "Send as many bytes as announced.";
    SpoolFull "spool-full" SERVICE_UNAVAILABLE "later" "The signer holds as many bodies as it may." "Try again later.";
    Busy "signer-busy" SERVICE_UNAVAILABLE "later" "The session has as many requests at work as it may." "Wait for answers before sending more.";
    SessionOver "session-over" FORBIDDEN "never" "The session is over." "The orchestrator must open another session.";
    DestinationDenied "session-destination-denied" FORBIDDEN "after-approval" "The session may not use this destination." "The orchestrator opens sessions for certain destinations.";
    TunnelDenied "tunnel-denied" FORBIDDEN "after-approval" "The session may open no tunnel there." "Send requests that the signer can read.";
    SignaturesExhausted "signatures-exhausted" TOO_MANY_REQUESTS "later" "The session asks for more signatures than it may." "Send fewer requests in the same time.";
    Unsignable "request-unsignable" BAD_REQUEST "never" "The request cannot be signed." "Method, path and headers must be of visible ASCII.";
    SignerUnavailable "signer-unavailable" SERVICE_UNAVAILABLE "later" "The signer cannot sign at this time." "Try again later.";
    GatewayUnavailable "gateway-unavailable" SERVICE_UNAVAILABLE "later" "The gateway cannot be reached." "Nothing was sent. Try again later; the operator must restore the gateway.";
    GatewayFailed "gateway-failed" BAD_GATEWAY "later" "The gateway broke off before it answered." "It is not known whether the request was carried out.";
    GatewaySilent "gateway-silent" GATEWAY_TIMEOUT "later" "The gateway did not answer in time." "It is not known whether the request was carried out.";
}

/// Seconds after which a request refused with 503 may be tried again.
const LATER: HeaderValue = HeaderValue::from_static("5");

/// And with 429: signatures are counted by the second.
const SOON: HeaderValue = HeaderValue::from_static("1");

/// A refusal, and what in this request was wrong where that says more.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) refusal: Refusal,
    detail: Cow<'static, str>,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, detail: Cow::Borrowed(refusal.detail()) }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    reason: &'a str,
    retry: &'a str,
}

impl Problem {
    /// A refusal that says what is wrong here. The text must name nothing that the agent did not send itself.
    pub(crate) fn new(refusal: Refusal, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { refusal, detail: detail.into() }
    }

    /// The answer. `close` where the rest of the connection cannot be trusted to begin with a request.
    pub(crate) fn answer(&self, close: bool) -> Response<AgentBody> {
        let document = Document {
            r#type: format!("urn:exeat:signer:{}", self.refusal.code()),
            title: self.refusal.title(),
            status: self.refusal.status().as_u16(),
            detail: &self.detail,
            reason: self.refusal.code(),
            retry: self.refusal.retry(),
        };
        // Strings and numbers always serialise; an empty body would still be a refusal.
        let mut text = serde_json::to_vec(&document).unwrap_or_default();
        text.push(b'\n');
        let mut response = Response::new(Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync());
        *response.status_mut() = self.refusal.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(REASON, HeaderValue::from_static(self.refusal.code()));
        match self.refusal.status() {
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                headers.insert(PROXY_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"exeat\""));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, LATER);
            }
            StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(RETRY_AFTER, SOON);
            }
            _ => {}
        }
        if close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct() {
        let codes: std::collections::BTreeSet<_> = Refusal::ALL.iter().map(|refusal| refusal.code()).collect();
        assert_eq!(codes.len(), Refusal::ALL.len());
    }

    #[test]
    fn titles_and_details_are_sentences() {
        for refusal in Refusal::ALL {
            assert!(refusal.title().ends_with('.') && refusal.detail().ends_with('.'), "{}", refusal.code());
            assert!(refusal.status().is_client_error() || refusal.status().is_server_error());
        }
    }
}
