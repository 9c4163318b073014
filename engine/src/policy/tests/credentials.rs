//! Credentials that the gateway adds: what may be said of them.

use super::{Request, accept, document, edited, policy};
use crate::policy::Configuration;
use serde_json::json;

const PLACE: &str = "/destinations/openai/credentials";

#[test]
fn wrong_injections_are_refused_with_place_and_remedy() {
    for (credentials, said) in [
        (json!({}), "policy: @: neither keep nor inject names a header; add one of them, or remove this key"),
        (
            json!({"inject": {"Authorization": "k"}}),
            r#"policy: @/inject/Authorization: "Authorization" is not a header name; write it in lower case, such as x-api-version"#,
        ),
        (
            json!({"inject": {"x-envoy-key": "k"}}),
            "policy: @/inject/x-envoy-key: x-envoy-key is reserved; remove it: it never goes on (it would change how the request is routed, framed or attributed)",
        ),
        (json!({"inject": {"accept": "k"}}), "policy: @/inject/accept: accept carries no credentials; remove it"),
        (
            json!({"inject": {"authorization": "Bearer sk-secret"}}),
            "policy: @/inject/authorization: not the name of a secret; write 1 to 64 lower-case letters, digits, dots, hyphens or underscores, such as openai-key; the value stands in a file of that name (a policy is no place for secrets)",
        ),
        (
            json!({"inject": {"authorization": "../key"}}),
            "policy: @/inject/authorization: not the name of a secret; write 1 to 64 lower-case letters, digits, dots, hyphens or underscores, such as openai-key; the value stands in a file of that name (a policy is no place for secrets)",
        ),
        (
            json!({"keep": ["authorization"], "inject": {"authorization": "k"}}),
            "policy: @/inject/authorization: authorization is kept and injected; keep the agent's own, or let the gateway add its own, not both",
        ),
        (
            json!({"inject": {"authorization": "k"}, "sha256": "00"}),
            "policy: @/sha256: nothing is kept that it could pin; add keep, or remove it",
        ),
    ] {
        let refused = Configuration::accept(&document(&edited(policy(), PLACE, credentials))).unwrap_err();
        assert_eq!(refused.to_string(), said.replace('@', PLACE));
    }
    let open = json!({
        "hosts": ["*"], "open": true, "credentials": {"inject": {"x-key": "k"}},
        "limits": {"provenance": {"third-party": {"body": "0B", "url": "1B"}, "unknown": {"body": "0B", "url": "0B"}}},
    });
    let refused = Configuration::accept(&document(&edited(policy(), "/destinations/web", open))).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "policy: /destinations/web/credentials/inject/x-key: an open destination would get the secret whoever has the host; name the host in a destination of its own"
    );
}

#[test]
fn an_injected_header_is_never_the_agents() {
    let inject = json!({"keep": ["x-own-api-key"], "inject": {"authorization": "openai-key", "x-account": "account"}});
    let policy =
        edited(edited(policy(), PLACE, inject), "/profiles/chat/allow/0/headers", json!({"keep": ["x-account"]}));
    let configuration = accept(&policy);
    let injected: Vec<_> = configuration.policy().injected().collect();
    assert_eq!(injected, [("openai", "authorization", "openai-key"), ("openai", "x-account", "account")]);
    let context = r#"agent="support/summarizer", session="s", tenant="acme", data_class=internal, provenance=(user)"#;
    let mut request = Request::get("api.openai.com", "/v1/responses", context);
    request.method = "POST";
    let crate::policy::Verdict::Allowed(grant) = request.judge(&configuration) else { panic!("refused") };
    assert_eq!(grant.injects(), Some("openai"));
    for (name, kept) in [("authorization", false), ("x-account", false), ("x-own-api-key", true), ("accept", true)] {
        assert_eq!(grant.keeps(name), kept, "{name}");
    }
}
