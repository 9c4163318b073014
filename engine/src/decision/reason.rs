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
    ($($variant:ident $code:literal $status:literal $retry:ident $title:literal $detail:literal $look:literal;)+) => {
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

            /// What an operator should look at who finds it in a record. Never told to an agent.
            pub const fn look_at(self) -> &'static str {
                match self { $(Self::$variant => $look),+ }
            }
        }
    };
}

reasons! {
    Permitted "permitted" 200 Never "The request is permitted." "" "";
    ContextMissing "context-missing" 401 Never "The request carries no signed context." "Send it through the signer of your agent runtime, which adds Agent-Context and its signature." "Something sends requests past the signer: the source address in the record says from where.";
    ContextMalformed "context-malformed" 401 Never "The signed context cannot be read." "The agent runtime sent an Agent-Context that is not a valid dictionary of known members, which its maintainer can check with `exeat sign`, or a token that is no plain signed JWT with the claims the policy names." "`condition` says what cannot be read; update the library or the signer that wrote it.";
    SignatureMissing "signature-missing" 401 Never "The context is not signed." "The agent runtime must sign each request with tag \"exeat\" (RFC 9421)." "The runtime sends a context and signs nothing, or with another tag: its configuration.";
    SignatureIncomplete "signature-incomplete" 401 Never "The signature does not cover what it must." "The agent runtime must cover method, authority, path, query, context and, with a body, its digest and type, with created and nonce." "`condition` names the component that is not covered; the list in the configuration of the signing library.";
    SignatureInvalid "signature-invalid" 401 Never "The signature is not valid." "The request was changed after it was signed, or signed with another key." "A key that does not fit its `keyid`, or a proxy between signer and gateway that changes requests. Many at once from one source: somebody tries.";
    SignatureExpired "signature-expired" 401 Later "The signature is not valid at this time." "Sign again, or get a new token, and send at once; if that does not help, compare the clocks of signer and gateway." "The clocks of signer and gateway, `gateway.context.max_age`, and queues between the two.";
    SignatureReplayed "signature-replayed" 401 Later "The signature was used before." "Each request, a retry too, needs a signature with a nonce of its own." "A client that sends a signed request again, or somebody who listens: compare `source` of this record and of the first one.";
    KeyUnknown "key-unknown" 401 AfterApproval "The signing key is not known or not valid at this time." "The operator of the gateway must name this key in the policy." "`signers` of the policy: a key that was rotated there too early or here too late, `not_before`, `not_after`.";
    AudienceMismatch "audience-mismatch" 401 Never "The context was signed for another gateway." "Sign for the gateway that the request is sent to." "The address of the gateway in the runtime's configuration, and `gateway.id`.";
    DigestMismatch "digest-mismatch" 401 Never "The body is not the one that was signed." "The body was changed after it was signed, or Content-Digest was taken of another." "A proxy between signer and gateway that changes bodies; an agent that changes what was signed.";
    RequestMalformed "request-malformed" 403 Never "The request cannot be read safely." "The request has a form that servers read differently, or headers that a client must not send." "`condition` says which form; an agent that does this on purpose is trying to smuggle.";
    GrantDenied "grant-denied" 403 AfterApproval "The signer may not speak for this context." "The operator of the gateway must grant the signer this agent, tenant, user, tool or provenance." "`condition` names the signer and the member that it may not state: the grant of the signer in the policy, or a runtime that says too much.";
    AgentUnknown "agent-unknown" 403 AfterApproval "The policy does not know this agent." "The operator of the gateway must add the agent to the policy." "The name in the record against `agents` of the policy: a new agent, a typing error, or a policy that was not rolled out.";
    TenantDenied "tenant-denied" 403 AfterApproval "The tenant may not use this destination." "Ask the owner of the policy to open the destination for the tenant." "`tenants` of the policy and `tenants` of the destination.";
    DelegationDenied "delegation-denied" 403 AfterApproval "An agent that handed on this work may not use this destination." "Authority only narrows along a delegation: every agent in delegated_by needs the destination itself." "Rules of each agent in `delegated_by`: one has none to this destination.";
    ScopeDenied "scope-denied" 403 Never "The scope of this context does not name this kind of destination." "Ask for a context with the scope that the task needs." "`scope` in the record against `category` of the destination: the orchestrator opened the session for something else.";
    BindingDenied "binding-denied" 403 AfterApproval "No rule accepts this kind of credential." "Send the request through the signer, which signs each request." "`binding` of the rule: it accepts signed requests only, and a token came.";
    DestinationMalformed "destination-malformed" 403 Never "The destination cannot be read in one way only." "Use a plain host name, a port and a path without encodings that servers read differently." "`condition` says what cannot be read in one way; `paths_allow` of the destination where the service needs it.";
    DestinationForbidden "destination-forbidden" 403 AfterApproval "The destination is an address or a name that is closed." "Local, private, metadata and special-use addresses are closed unless the policy names them." "Host and port in the record. An agent that asks for loopback, metadata or private addresses was most likely told to: read its session.";
    DestinationUnlisted "destination-unlisted" 403 AfterApproval "No destination of the policy is open to this agent there." "Ask the owner of the policy to add the destination and a rule for the agent." "Whether the host belongs into the policy. One that nobody knows is where an injection wanted the data to go.";
    DestinationResolvedForbidden "destination-resolved-forbidden" 403 AfterApproval "The request would not have gone where it was allowed to go." "The name points to a local, private or metadata address that is not open, or the gateway is not set up as its policy says." "`condition`: where the name points, or what of the gateway's configuration is not as rendered. A public name that points inside is an attack or a split DNS.";
    SessionQuarantined "session-quarantined" 403 Later "The session is quarantined." "Its requests looked like data being smuggled out in names; a person must look at them." "`exeat audit list --quarantined`, then `exeat audit report` for the session; `quarantine.release` in the policy lets it go.";
    RuleDenied "rule-denied" 403 AfterApproval "A rule forbids this request." "Ask the owner of the policy." "`rule` names the deny rule or ceiling that fits.";
    MethodDenied "method-denied" 403 AfterApproval "No rule allows this method there." "Use a method that the rule allows, or ask the owner of the policy." "`rule` is the closest rule: its `methods`.";
    PathDenied "path-denied" 403 AfterApproval "No rule allows this path there." "Use a path that the rule allows, or ask the owner of the policy." "`rule` is the closest rule: its `paths`.";
    ConditionDenied "condition-denied" 403 AfterApproval "A condition of the rule is not met." "The role, region, tool, session type or another fact of the context does not fit the rule." "`condition` names the member of `when` that is not met, and the record what the context said.";
    ClassDenied "class-denied" 403 AfterApproval "The data is of a higher class than the destination accepts." "Send less sensitive data, or ask the owner of the destination." "`data_class` in the record (absent counts as restricted) against `accepts` of the destination.";
    ModelDenied "model-denied" 403 AfterApproval "The model is not allowed at this destination." "Use a model that the destination lists." "`models` of the destination.";
    ParameterDenied "parameter-denied" 403 AfterApproval "A parameter has a value that the rule does not allow." "Send the values that the rule allows." "`condition` names the parameter; its value stands in the record as a keyed hash only.";
    HeaderDenied "header-denied" 403 Never "A header is too large or not allowed." "Send fewer and smaller headers." "`condition` names the header or the limit.";
    CredentialDenied "credential-denied" 403 AfterApproval "The credential is not one that the destination accepts." "Only the credential that the policy pins may be sent there." "An agent that brings a key of its own to an allowed service sends data to somebody else's account: find out where it has the key from.";
    UpgradeDenied "upgrade-denied" 403 AfterApproval "The destination does not allow an upgrade." "Use plain requests, or ask the owner of the policy." "`upgrade` of the destination.";
    TunnelDenied "tunnel-denied" 403 AfterApproval "The destination does not allow a tunnel." "Send requests that the gateway can read, or ask the owner of the policy." "`tunnel` of the destination, and `methods: [CONNECT]` of the rule. `exeat signer` lets programs speak HTTPS without a tunnel.";
    PayloadTooLarge "payload-too-large" 413 Never "The request is larger than allowed." "Send less, or in several requests." "`condition` names the limit; the sizes are in the record.";
    PayloadProvenance "payload-provenance" 403 Never "Content from this source may not leave in this size." "Content that came from outside the organisation may leave only in small amounts; leave it out of the request." "`condition` names source and limit. Much content from outside in one request is what exfiltration looks like.";
    PayloadSecret "payload-secret" 403 Never "The request contains what looks like a secret." "Remove it. Credentials are added by the gateway." "`payload.findings` names detector and place, never the find. Rotate what was found.";
    PayloadUnreadable "payload-unreadable" 403 Never "The body cannot be inspected." "Send it as plain JSON in UTF-8, without a content coding." "`condition` says why the body cannot be inspected, which a rule with parameters, models or redaction needs.";
    BudgetRequests "budget-requests" 429 Later "The budget of requests is used up." "Wait for the window to pass, or start another session." "`rule` and `condition` name the budget; `exeat audit top` says who uses it up.";
    BudgetBytes "budget-bytes" 429 Later "The budget of bytes is used up." "Wait for the window to pass, or start another session." "`rule` and `condition` name the budget; `exeat audit report` says where the bytes went.";
    BudgetHosts "budget-hosts" 429 Later "The budget of distinct hosts is used up." "Wait for the window to pass, or start another session." "`rule` and `condition` name the budget; many hosts in one session is what scanning looks like.";
    AuditUnavailable "audit-unavailable" 503 Later "Decisions cannot be recorded at this time." "Try again later; the operator of the gateway must restore the evidence collector." "The collector, and Envoy's log for why batches do not arrive; docs/operations.md has the steps.";
    PolicyUnavailable "policy-unavailable" 503 Later "The gateway has no valid policy." "Try again later; the operator of the gateway must correct its configuration." "Envoy's log: why the configuration was refused.";
    InternalError "internal-error" 503 Later "The gateway could not decide." "Try again later; tell the operator of the gateway the decision id." "Envoy's log at the time of the record: a guard that is missing, shared state that cannot be read, a host without clock or randomness.";
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// docs/reasons.md has a row for each reason, in this order, that says what is said here.
    #[test]
    fn the_page_of_reasons_is_true() {
        let page = include_str!("../../../docs/reasons.md");
        let list = page.lines().skip_while(|line| *line != "## The list");
        let rows: Vec<&str> = list.filter(|line| line.starts_with("| `")).collect();
        let retry = |retry| match retry {
            Retry::Never => "never",
            Retry::Later => "later",
            Retry::AfterApproval => "after-approval",
        };
        let row = |reason: &Reason| {
            let (code, status) = (format!("`{reason}`"), reason.status().to_string());
            let texts = [reason.title(), reason.detail(), reason.look_at()];
            let cells = [code.as_str(), status.as_str(), retry(reason.retry())].into_iter().chain(texts);
            let cell = |text: &str| if text.is_empty() { " |".to_owned() } else { format!(" {text} |") };
            cells.fold("|".to_owned(), |row, text| row + &cell(text))
        };
        let expected: Vec<String> = Reason::ALL.iter().map(row).collect();
        assert_eq!(rows, expected, "docs/reasons.md should have\n{}", expected.join("\n"));
    }

    #[test]
    fn codes_are_distinct_and_serde_agrees() {
        let mut seen = std::collections::BTreeSet::new();
        for reason in Reason::ALL {
            assert!(seen.insert(reason.code()), "{reason} twice");
            assert_eq!(serde_json::to_string(reason).unwrap(), format!("\"{reason}\""));
            assert!(matches!(reason.status(), 200 | 401 | 403 | 413 | 429 | 503));
            assert!(reason.title().ends_with('.'));
            let refused = *reason != Reason::Permitted;
            assert_eq!(
                (reason.detail().ends_with('.'), reason.look_at().ends_with('.')),
                (refused, refused),
                "{reason}"
            );
        }
    }
}
