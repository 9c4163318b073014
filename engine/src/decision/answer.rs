//! What the agent gets back when a request is refused: `application/problem+json` (RFC 9457).

use super::reason::{Reason, Retry};
use serde::Serialize;

/// A refusal, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Header fields besides content-length.
    pub headers: Vec<(&'static str, String)>,
    /// The body, one line of JSON with a newline.
    pub body: Vec<u8>,
}

#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    reason: Reason,
    decision: &'a str,
    retry: Retry,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<&'a str>,
}

/// What a signer must cover, told to whoever failed to (RFC 9421 section 5).
const ACCEPT_SIGNATURE: &str = "exeat=(\"@method\" \"@authority\" \"@path\" \"@query\" \"agent-context\" \
     \"content-digest\" \"content-type\");created;nonce;keyid;tag=\"exeat\"";

/// Seconds after which a request refused with 503 may be tried again.
const RETRY_AFTER: &str = "5";

/// Builds the answer. `rule` and `condition` are for verified requests under [`crate::policy::Feedback::Full`] only; the caller sees to it.
pub fn answer(reason: Reason, decision: &str, rule: Option<&str>, condition: Option<&str>) -> Answer {
    let problem = Problem {
        r#type: format!("urn:exeat:reason:{}", reason.code()),
        title: reason.title(),
        status: reason.status(),
        detail: reason.detail(),
        reason,
        decision,
        retry: reason.retry(),
        rule,
        condition,
    };
    // Serialising strings and numbers into memory cannot fail; an empty body would still be a refusal.
    let mut body = serde_json::to_vec(&problem).unwrap_or_default();
    body.push(b'\n');
    let mut headers = vec![
        ("content-type", "application/problem+json".to_owned()),
        ("cache-control", "no-store".to_owned()),
        ("exeat-decision", decision.to_owned()),
        ("exeat-reason", reason.code().to_owned()),
    ];
    match reason.status() {
        401 => {
            // RFC 9110 section 15.5.2 wants a challenge beside every 401.
            headers.push(("www-authenticate", "Signature".to_owned()));
            headers.push(("accept-signature", ACCEPT_SIGNATURE.to_owned()));
        }
        503 => headers.push(("retry-after", RETRY_AFTER.to_owned())),
        _ => {}
    }
    Answer { status: reason.status(), headers, body }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_all_seven_members() {
        for reason in Reason::ALL {
            let answer = answer(*reason, "00ff", None, None);
            let value: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            let object = value.as_object().unwrap();
            assert_eq!(object.len(), 7, "{reason}");
            for member in ["type", "title", "status", "detail", "reason", "decision", "retry"] {
                assert!(object.contains_key(member), "{reason}: {member}");
            }
            assert_eq!(object["status"], answer.status);
        }
    }

    #[test]
    fn full_feedback_names_rule_and_condition() {
        let answer = answer(Reason::PathDenied, "00ff", Some("a/b"), Some("paths"));
        let value: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((&value["rule"], &value["condition"]), (&"a/b".into(), &"paths".into()));
    }
}
