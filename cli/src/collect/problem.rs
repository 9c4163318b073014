//! Why a collector refuses a batch: `application/problem+json` (RFC 9457).

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
    /// With a gap: the index of the first record that would follow what is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<u64>,
}

impl Problem {
    fn new(code: &str, status: StatusCode, title: &'static str, detail: String) -> Self {
        let r#type = format!("urn:exeat:collector:{code}");
        Self { r#type, title, status: status.as_u16(), detail, expected: None }
    }

    /// The body is not a batch.
    pub fn unreadable(error: &dyn std::fmt::Display) -> Self {
        Self::new("unreadable", StatusCode::BAD_REQUEST, "This is not a batch of evidence.", error.to_string())
    }

    /// The query is not what the resource takes.
    pub fn query(detail: String) -> Self {
        Self::new("query", StatusCode::BAD_REQUEST, "The query cannot be read.", detail)
    }

    /// The first record of a new log is not its genesis.
    pub fn not_genesis(origin: &dyn std::fmt::Display) -> Self {
        let detail = format!("the first record of {origin} must be of kind genesis and name that origin");
        Self::new("not-genesis", StatusCode::BAD_REQUEST, "A log begins with its genesis record.", detail)
    }

    /// The body is larger than is read, or came too slowly.
    pub fn body(status: StatusCode, detail: String) -> Self {
        Self::new("body", status, "The body was not read.", detail)
    }

    /// No key that is known signed the checkpoint.
    pub fn key_unknown(gateway: &str, other_key: bool) -> Self {
        let detail = if other_key {
            format!(
                "the checkpoint is not signed by the key known for gateway {gateway}; start the collector with its new key too"
            )
        } else {
            format!("no key of gateway {gateway} is known; start the collector with --key {gateway}=<public key>")
        };
        Self::new("key-unknown", StatusCode::FORBIDDEN, "The gateway's key is not known here.", detail)
    }

    /// The signature is bad.
    pub fn signature_invalid(gateway: &str) -> Self {
        let detail = format!("the checkpoint claims to be of gateway {gateway}, whose signature does not verify");
        Self::new("signature-invalid", StatusCode::UNAUTHORIZED, "The signature does not verify.", detail)
    }

    /// Records are missing between what is stored and what came.
    pub fn gap(expected: u64, first: u64) -> Self {
        let detail = format!(
            "the batch begins with leaf {first}, but {expected} leaves are stored: send from leaf {expected} on"
        );
        let problem = Self::new("gap", StatusCode::CONFLICT, "Records are missing before these.", detail);
        Self { expected: Some(expected), ..problem }
    }

    /// The gateway signed something else than it did before.
    pub fn fork(position: u64) -> Self {
        let detail = format!(
            "at leaf {position} the log differs from what the same gateway signed before. Both are kept. Find out which is \
             true: exeat audit verify"
        );
        Self::new("fork", StatusCode::CONFLICT, "The log was forked.", detail)
    }

    /// The records do not give the root.
    pub fn root_mismatch(size: u64) -> Self {
        let detail = format!(
            "what is stored and the records of this batch do not give the root that is signed for size {size}: they were \
             changed on the way, or the log was forked"
        );
        Self::new("root-mismatch", StatusCode::CONFLICT, "The records do not give the signed root.", detail)
    }

    /// The records are older than what is kept.
    pub fn pruned(kept_from: u64) -> Self {
        let detail =
            format!("leaves before {kept_from} were stored, and are gone: they are older than this collector keeps");
        Self::new("pruned", StatusCode::CONFLICT, "These records are no longer kept.", detail)
    }

    /// The request carries no token, or another.
    pub fn token() -> Self {
        let detail = "send the collector's token in `Authorization: Bearer`".to_owned();
        Self::new("token", StatusCode::UNAUTHORIZED, "The token is missing or wrong.", detail)
    }

    /// The last part of the type.
    pub fn code(&self) -> &str {
        self.r#type.rsplit(':').next().unwrap_or_default()
    }

    /// Nothing could be stored.
    pub fn unavailable(detail: &str) -> Self {
        let title = "The store cannot be written now.";
        Self::new("unavailable", StatusCode::SERVICE_UNAVAILABLE, title, detail.to_owned())
    }

    /// The stored log is damaged.
    pub fn damaged(detail: String) -> Self {
        Self::new("damaged", StatusCode::SERVICE_UNAVAILABLE, "The stored log is damaged.", detail)
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
