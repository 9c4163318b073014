//! Why the control socket refuses: `application/problem+json` (RFC 9457).

use crate::keeper::table::RefusedSession;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: String,
}

impl Problem {
    fn new(code: &str, status: StatusCode, title: &'static str, detail: impl Into<String>) -> Self {
        let r#type = format!("urn:exeat:signer:{code}");
        Self { r#type, title, status: status.as_u16(), detail: detail.into() }
    }

    pub(crate) fn unreadable(detail: impl Into<String>) -> Self {
        Self::new("unreadable", StatusCode::BAD_REQUEST, "The body cannot be read.", detail)
    }

    pub(crate) fn body(status: StatusCode, detail: impl Into<String>) -> Self {
        Self::new("body", status, "The body was not read.", detail)
    }

    pub(crate) fn unknown_resource() -> Self {
        let detail = "GET /v1/openapi.json lists what there is";
        Self::new("resource-unknown", StatusCode::NOT_FOUND, "There is no such resource.", detail)
    }

    pub(crate) fn method() -> Self {
        let detail = "GET /v1/openapi.json lists what there is";
        Self::new("method", StatusCode::METHOD_NOT_ALLOWED, "The resource has no such method.", detail)
    }

    pub(crate) fn forbidden(uid: u32) -> Self {
        let detail = format!(
            "user {uid} is let in as a tool, and may report the tool in use and the provenance of results, nothing else; \
             --orchestrator-uid says who may open and close sessions"
        );
        Self::new("forbidden", StatusCode::FORBIDDEN, "A tool may not do this.", detail)
    }

    pub(crate) fn proxy(detail: impl Into<String>) -> Self {
        Self::new("proxy", StatusCode::SERVICE_UNAVAILABLE, "The session could not be served.", detail)
    }

    pub(crate) fn key(detail: impl Into<String>) -> Self {
        Self::new("key", StatusCode::CONFLICT, "The key was not changed.", detail)
    }

    pub(crate) fn stopping() -> Self {
        let detail = "no sessions are opened any more";
        Self::new("stopping", StatusCode::SERVICE_UNAVAILABLE, "The signer stops.", detail)
    }

    pub(crate) fn internal() -> Self {
        Self::new("internal", StatusCode::INTERNAL_SERVER_ERROR, "The signer failed.", "its log says why")
    }
}

impl From<RefusedSession> for Problem {
    fn from(refused: RefusedSession) -> Self {
        let (code, status, title) = match &refused {
            RefusedSession::Unfit { .. } => ("unfit", StatusCode::UNPROCESSABLE_ENTITY, "This makes no session."),
            RefusedSession::ClosedUid { .. } => {
                ("uid-closed", StatusCode::UNPROCESSABLE_ENTITY, "An agent may not run as this user.")
            }
            RefusedSession::Duplicate => ("duplicate", StatusCode::CONFLICT, "This session is open."),
            RefusedSession::TooMany(_) => ("too-many", StatusCode::TOO_MANY_REQUESTS, "Too many sessions are open."),
            RefusedSession::Unknown => ("session-unknown", StatusCode::NOT_FOUND, "There is no such session."),
            RefusedSession::Random => ("random", StatusCode::SERVICE_UNAVAILABLE, "The signer cannot make secrets."),
        };
        Self::new(code, status, title, refused.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // Not axum's Json: that sets another content type.
        match serde_json::to_vec(&self) {
            Ok(body) => (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response(),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}
