//! The closed vocabulary of reasons. Everything that names a reason (records, answers, docs, schema) takes it from here.

use serde::{Deserialize, Serialize};

/// When the same request may be worth sending again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retry {
    /// Not as it stands.
    Never,
    /// The same request, freshly signed, may pass later.
    Later,
    /// After somebody changed the policy.
    AfterApproval,
}

macro_rules! reasons {
    ($($variant:ident $code:literal $status:literal $retry:ident $title:literal $detail:literal;)+) => {
        /// Why a request was decided as it was.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Reason {
            $(
                #[doc = $title]
                #[serde(rename = $code)]
                $variant,
            )+
        }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word that stands in records and answers.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }

            /// The HTTP status of the refusal; 200 for `permitted`.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status),+ }
            }

            /// Whether trying again can help.
            pub const fn retry(self) -> Retry {
                match self { $(Self::$variant => Retry::$retry),+ }
            }

            /// A short, fixed summary (RFC 9457 `title`).
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),+ }
            }

            /// What agent or person can do about it (RFC 9457 `detail`), naming nothing that is not public.
            pub const fn detail(self) -> &'static str {
                match self { $(Self::$variant => $detail),+ }
            }
        }
    };
}

reasons! {
    Permitted "permitted" 200 Never "The request is permitted." "";
    ContextMissing "context-missing" 401 Never "The request carries no signed context." "Send it through the signer of your agent runtime, which adds Agent-Context and its signature.";
    ContextMalformed "context-malformed" 401 Never "The signed context cannot be read." "The agent runtime sent an Agent-Context that is not a valid dictionary of known members, which its maintainer can check with `exeat sign`, or a token that is no plain signed JWT with the claims the policy names.";
    SignatureMissing "signature-missing" 401 Never "The context is not signed." "The agent runtime must sign each request with tag \"exeat\" (RFC 9421).";
    SignatureIncomplete "signature-incomplete" 401 Never "The signature does not cover what it must." "The agent runtime must cover method, authority, path, query, context and, with a body, its digest and type, with created and nonce.";
    SignatureInvalid "signature-invalid" 401 Never "The signature is not valid." "The request was changed after it was signed, or signed with another key.";
    SignatureExpired "signature-expired" 401 Later "The signature is not valid at this time." "Sign again, or get a new token, and send at once; if that does not help, compare the clocks of signer and gateway.";
    SignatureReplayed "signature-replayed" 401 Later "The signature was used before." "Each request, a retry too, needs a signature with a nonce of its own.";
    KeyUnknown "key-unknown" 401 AfterApproval "The signing key is not known or not valid at this time." "The operator of the gateway must name this key in the policy.";
    AudienceMismatch "audience-mismatch" 401 Never "The context was signed for another gateway." "Sign for the gateway that the request is sent to.";
    DigestMismatch "digest-mismatch" 401 Never "The body is not the one that was signed." "The body was changed after it was signed, or Content-Digest was taken of another.";
    RequestMalformed "request-malformed" 403 Never "The request cannot be read safely." "The request has a form that servers read differently, or headers that a client must not send.";
    GrantDenied "grant-denied" 403 AfterApproval "The signer may not speak for this context." "The operator of the gateway must grant the signer this agent, tenant, user, tool or provenance.";
    AgentUnknown "agent-unknown" 403 AfterApproval "The policy does not know this agent." "The operator of the gateway must add the agent to the policy.";
    TenantDenied "tenant-denied" 403 AfterApproval "The tenant may not use this destination." "Ask the owner of the policy to open the destination for the tenant.";
    DelegationDenied "delegation-denied" 403 AfterApproval "An agent that handed on this work may not use this destination." "Authority only narrows along a delegation: every agent in delegated_by needs the destination itself.";
    ScopeDenied "scope-denied" 403 Never "The scope of this context does not name this kind of destination." "Ask for a context with the scope that the task needs.";
    BindingDenied "binding-denied" 403 AfterApproval "No rule accepts this kind of credential." "Send the request through the signer, which signs each request.";
    DestinationMalformed "destination-malformed" 403 Never "The destination cannot be read in one way only." "Use a plain host name, a port and a path without encodings that servers read differently.";
    DestinationForbidden "destination-forbidden" 403 AfterApproval "The destination is an address or a name that is closed." "Local, private, metadata and special-use addresses are closed unless the policy names them.";
    DestinationUnlisted "destination-unlisted" 403 AfterApproval "No destination of the policy is open to this agent there." "Ask the owner of the policy to add the destination and a rule for the agent.";
    DestinationResolvedForbidden "destination-resolved-forbidden" 403 AfterApproval "The request would not have gone where it was allowed to go." "The name points to a local, private or metadata address that is not open, or the gateway is not set up as its policy says.";
    SessionQuarantined "session-quarantined" 403 Later "The session is quarantined." "Its requests looked like data being smuggled out in names; a person must look at them.";
    RuleDenied "rule-denied" 403 AfterApproval "A rule forbids this request." "Ask the owner of the policy.";
    MethodDenied "method-denied" 403 AfterApproval "No rule allows this method there." "Use a method that the rule allows, or ask the owner of the policy.";
    PathDenied "path-denied" 403 AfterApproval "No rule allows this path there." "Use a path that the rule allows, or ask the owner of the policy.";
    ConditionDenied "condition-denied" 403 AfterApproval "A condition of the rule is not met." "The role, region, tool, session type or another fact of the context does not fit the rule.";
    ClassDenied "class-denied" 403 AfterApproval "The data is of a higher class than the destination accepts." "Send less sensitive data, or ask the owner of the destination.";
    ModelDenied "model-denied" 403 AfterApproval "The model is not allowed at this destination." "Use a model that the destination lists.";
    ParameterDenied "parameter-denied" 403 AfterApproval "A parameter has a value that the rule does not allow." "Send the values that the rule allows.";
    HeaderDenied "header-denied" 403 Never "A header is too large or not allowed." "Send fewer and smaller headers.";
    CredentialDenied "credential-denied" 403 AfterApproval "The credential is not one that the destination accepts." "Only the credential that the policy pins may be sent there.";
    UpgradeDenied "upgrade-denied" 403 AfterApproval "The destination does not allow an upgrade." "Use plain requests, or ask the owner of the policy.";
    TunnelDenied "tunnel-denied" 403 AfterApproval "The destination does not allow a tunnel." "Send requests that the gateway can read, or ask the owner of the policy.";
    PayloadTooLarge "payload-too-large" 413 Never "The request is larger than allowed." "Send less, or in several requests.";
    PayloadProvenance "payload-provenance" 403 Never "Content from this source may not leave in this size." "Content that came from outside the organisation may leave only in small amounts; leave it out of the request.";
    PayloadSecret "payload-secret" 403 Never "The request contains what looks like a secret." "Remove it. Credentials are added by the gateway.";
    PayloadUnreadable "payload-unreadable" 403 Never "The body cannot be inspected." "Send it as plain JSON in UTF-8, without a content coding.";
    BudgetRequests "budget-requests" 429 Later "The budget of requests is used up." "Wait for the window to pass, or start another session.";
    BudgetBytes "budget-bytes" 429 Later "The budget of bytes is used up." "Wait for the window to pass, or start another session.";
    BudgetHosts "budget-hosts" 429 Later "The budget of distinct hosts is used up." "Wait for the window to pass, or start another session.";
    AuditUnavailable "audit-unavailable" 503 Later "Decisions cannot be recorded at this time." "Try again later; the operator of the gateway must restore the evidence collector.";
    PolicyUnavailable "policy-unavailable" 503 Later "The gateway has no valid policy." "Try again later; the operator of the gateway must correct its configuration.";
    InternalError "internal-error" 503 Later "The gateway could not decide." "Try again later; tell the operator of the gateway the decision id.";
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_serde_agrees() {
        let mut seen = std::collections::BTreeSet::new();
        for reason in Reason::ALL {
            assert!(seen.insert(reason.code()), "{reason} twice");
            assert_eq!(serde_json::to_string(reason).unwrap(), format!("\"{reason}\""));
            assert!(matches!(reason.status(), 200 | 401 | 403 | 413 | 429 | 503));
            assert!(reason.title().ends_with('.'));
        }
    }
}
