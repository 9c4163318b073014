//! Wrong documents and what is said of them, word by word.

use super::{TEST_KEY, accept, document, edited, gateway, policy};
use crate::policy::Configuration;
use serde_json::{Value, json};

fn refusal(json: &[u8]) -> String {
    Configuration::accept(json).map(|_| "accepted").map_err(|error| error.to_string()).unwrap_err()
}

const RULE: &str = "/agents/support~1summarizer/allow/0";

/// An edit of the policy: pointer (a leading `@` stands for [`RULE`]), value, what is said.
fn policy_table() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        // Shape.
        (
            "/destinatons",
            json!({}),
            r#"policy: /destinatons: unknown key "destinatons"; did you mean "destinations"? Known here: schema, revision, change, mode, signers, defaults, ceilings, tenants, destinations, profiles, agents, environments, exceptions (a key that nobody reads would be taken for one that holds)"#,
        ),
        (
            "@/limits/bdy",
            json!("1B"),
            r#"policy: @/limits/bdy: unknown key "bdy"; did you mean "body"? Known here: body, url, headers, total, provenance, requests, bytes, hosts (a key that nobody reads would be taken for one that holds)"#,
        ),
        (
            "@/zebra",
            json!(1),
            r#"policy: @/zebra: unknown key "zebra"; Known here: id, to, methods, paths, when, binding, limits, headers, expires, mode, parameters, redact, tokenize, exception (a key that nobody reads would be taken for one that holds)"#,
        ),
        ("/revision", Value::Null, r#"policy: the key "revision" is missing; add "revision""#),
        ("/revision", json!(7), "policy: /revision: expected text, found a number; put it in quotes"),
        (
            "/revision",
            json!(""),
            r#"policy: /revision: "" cannot be recorded; write 1 to 128 characters without controls"#,
        ),
        (
            "/change",
            json!("a\nb"),
            r#"policy: /change: "a\nb" cannot be recorded; write 1 to 128 characters without controls"#,
        ),
        ("/schema", json!("exeat/v2"), r#"policy: /schema: unknown schema "exeat/v2"; write exeat/v1"#),
        (
            "/mode",
            json!("monitr"),
            r#"policy: /mode: unknown value "monitr"; did you mean "monitor"? Known here: enforce, monitor"#,
        ),
        ("/signers", json!({}), "policy: /signers: expected a list, found a map; write a list"),
        ("/agents", json!([]), "policy: /agents: expected a map, found a list; write a map"),
        ("@/paths", Value::Null, r#"policy: @: the key "paths" is missing; add "paths""#),
        ("@/paths", json!([]), "policy: @/paths: an empty list fits nothing; name at least one, or leave the key out"),
        (
            "@/paths",
            json!({}),
            "policy: @/paths: expected text or a list of texts, found a map; write text or a list of texts",
        ),
        (
            "@/to",
            json!(3),
            "policy: @/to: expected a list of destinations such as [crm], or a map such as {category: crm}, found the number 3; write a list of destinations such as [crm], or a map such as {category: crm}",
        ),
        ("@/to", json!({}), "policy: @/to: an empty map names no destination; add id, category or kind"),
        (
            "@/mode",
            Value::Bool(true),
            "policy: @/mode: expected one of enforce, monitor, found true or false; write one of enforce, monitor",
        ),
        // Keys.
        (
            "/signers/0/id",
            json!("é"),
            r#"policy: /signers/0/id: "é" is not an id; write 1 to 128 printable ASCII characters"#,
        ),
        (
            "/signers/0/keys",
            json!([]),
            "policy: /signers/0/keys: a signer without keys can sign nothing; add a key or remove the signer",
        ),
        (
            "/signers/0/keys/0/public",
            json!("c2VjcmV0"),
            "policy: /signers/0/keys/0/public: not an Ed25519 public key; write base64 of the 32 bytes of the public half, or its JWK",
        ),
        (
            "/signers/0/keys/0/public",
            json!(5),
            "policy: /signers/0/keys/0/public: expected a public key, found a number; write base64 of 32 bytes in quotes, or a JWK",
        ),
        (
            "/signers/0/keys/0/public",
            json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
            "policy: /signers/0/keys/0/public: 32 bytes that are no safe Ed25519 public key; write base64 of the 32 bytes of the public half, or its JWK (anybody could sign for it)",
        ),
        (
            "/signers/0/keys/0/public",
            json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "d": "secret"}),
            "policy: /signers/0/keys/0/public: a private key; write base64 of the 32 bytes of the public half, or its JWK (whoever reads the policy could sign with it)",
        ),
        (
            "/signers/0/keys/-",
            json!({"id": "signer-eu-1", "public": TEST_KEY}),
            r#"policy: /signers/0/keys/1/id: another key has the id "signer-eu-1"; give each key an id of its own; a key without one has the id of its signer (a signature names its key by this id alone)"#,
        ),
        (
            "/signers/0/keys/0/not_before",
            json!("2028-01-01"),
            "policy: /signers/0/keys/0/not_after: it ends before it begins; put not_after behind not_before",
        ),
        (
            "/signers/-",
            json!({"id": "signer-eu", "keys": [{"id": "k2", "public": TEST_KEY}]}),
            r#"policy: /signers/1/id: another signer has the id "signer-eu"; give each signer an id of its own"#,
        ),
        (
            "/signers/0/agents/0",
            json!("*/summarizer"),
            r#"policy: /signers/0/agents/0: "*/summarizer" has a * before its end; write a value, or a beginning and one * such as support/*"#,
        ),
        (
            "/signers/0/provenance/0",
            json!("users"),
            r#"policy: /signers/0/provenance/0: unknown value "users"; did you mean "user"? Known here: user, system, internal, third-party, unknown"#,
        ),
        // Dates and sizes.
        (
            "/signers/0/keys/0/not_after",
            json!("2027-06-31"),
            r#"policy: /signers/0/keys/0/not_after: "2027-06-31" is not a date; write a day such as 2027-06-30 or a moment such as 2027-06-30T12:00:00Z, both UTC"#,
        ),
        (
            "@/expires",
            json!("soon"),
            r#"policy: @/expires: "soon" is not a date; write a day such as 2027-06-30 or a moment such as 2027-06-30T12:00:00Z, both UTC"#,
        ),
        (
            "@/limits/body",
            json!("64KB"),
            r#"policy: @/limits/body: "64KB" is not a size; write a whole number and B, KiB, MiB or GiB, such as 0B, 512B, 64KiB"#,
        ),
        ("@/limits/body", json!(65_536), "policy: @/limits/body: expected text, found a number; put it in quotes"),
        (
            "@/limits/provenance/3rd-party",
            json!({}),
            r#"policy: @/limits/provenance/3rd-party: unknown value "3rd-party"; did you mean "third-party"? Known here: user, system, internal, third-party, unknown"#,
        ),
        // Destinations.
        (
            "/destinations/bad id",
            json!({"hosts": "a.example"}),
            r#"policy: /destinations/bad id: "bad id" is not a name of a destination; write 1 to 128 letters, digits, dots, underscores, hyphens or inner slashes"#,
        ),
        (
            "/destinations/crm/hosts",
            json!(["https://crm.acme.example/"]),
            "policy: /destinations/crm/hosts/0: a URL; write the host alone, paths go to `paths` of a rule",
        ),
        (
            "/destinations/crm/hosts",
            json!(["crm.*.example"]),
            "policy: /destinations/crm/hosts/0: `*` can only be the whole first label, as in `*.example.com`; name the hosts one by one",
        ),
        (
            "/destinations/crm/hosts",
            json!(["CRM.example"]),
            "policy: /destinations/crm/hosts/0: not the canonical form; write `crm.example`",
        ),
        (
            "/destinations/crm/hosts",
            json!(["*"]),
            "policy: /destinations/crm/hosts/0: * is not supported yet; name the hosts",
        ),
        (
            "/destinations/crm/hosts",
            json!(["0x7f.1"]),
            "policy: /destinations/crm/hosts/0: not the canonical form; write `127.0.0.1`",
        ),
        ("/destinations/crm/ports", json!([0]), "policy: /destinations/crm/ports/0: 0 is not a port; write 1 to 65535"),
        (
            "/destinations/crm/ports",
            json!([70_000]),
            "policy: /destinations/crm/ports/0: expected a whole number from 0 to 65535, found a number; write a whole number from 0 to 65535",
        ),
        (
            "/destinations/crm/category",
            json!("c r m"),
            r#"policy: /destinations/crm/category: "c r m" is not one word; write a letter, then letters, digits or hyphens (scopes of a context name it as a token)"#,
        ),
        (
            "/destinations/crm/accepts",
            json!("secret"),
            r#"policy: /destinations/crm/accepts: unknown value "secret"; Known here: public, internal, confidential, restricted"#,
        ),
        (
            "/destinations/crm/tenants",
            json!(["acm"]),
            r#"policy: /destinations/crm/tenants/0: no tenant "acm"; did you mean "acme"?"#,
        ),
        (
            "/destinations/crm/addresses",
            json!(["10.0.0.0/8"]),
            "policy: /destinations/crm/addresses: not supported yet; remove this key, and with it whatever should only be allowed under it",
        ),
        (
            "/destinations/crm/open",
            json!(true),
            "policy: /destinations/crm/open: not supported yet; remove this key, and with it whatever should only be allowed under it",
        ),
        (
            "/destinations/crm/tunnel",
            json!("no"),
            "policy: /destinations/crm/tunnel: not supported yet; remove this key, and with it whatever should only be allowed under it",
        ),
        (
            "/destinations/openai/credentials/sha256",
            json!(["ABC"]),
            "policy: /destinations/openai/credentials/sha256/0: not a SHA-256; write 64 lower-case hex digits: the hash of the whole field value",
        ),
        (
            "/destinations/openai/credentials/keep",
            json!(["Authorization"]),
            r#"policy: /destinations/openai/credentials/keep/0: "Authorization" is not a header name; write it in lower case, such as x-api-version"#,
        ),
        (
            "/destinations/openai/credentials/keep",
            json!(["host"]),
            "policy: /destinations/openai/credentials/keep/0: host is reserved; remove it: it never goes on (it would change how the request is routed, framed or attributed)",
        ),
        // References.
        ("@/to", json!(["crn"]), r#"policy: @/to/0: no destination "crn"; did you mean "crm"?"#),
        (
            "@/to",
            json!({"id": "crn", "kind": "internal"}),
            r#"policy: @/to/id/0: no destination "crn"; did you mean "crm"?"#,
        ),
        (
            "@/to",
            json!({"category": ["crm", "modell"]}),
            r#"policy: @/to/category/1: no destination has the category "modell"; did you mean "model"?"#,
        ),
        (
            "@/to",
            json!({"kind": "zebra"}),
            r#"policy: @/to/kind/0: no destination has the kind "zebra"; give a destination this kind, or remove it here"#,
        ),
        (
            "/agents/support~1summarizer/use/0",
            json!("chatt"),
            r#"policy: /agents/support~1summarizer/use/0: no profile "chatt"; did you mean "chat"?"#,
        ),
        (
            "/tenants/acme/destinations",
            json!(["crmm"]),
            r#"policy: /tenants/acme/destinations/0: no destination "crmm"; did you mean "crm"?"#,
        ),
        (
            "/ceilings/deny/0/to",
            json!(["nowhere"]),
            r#"policy: /ceilings/deny/0/to/0: no destination "nowhere"; add it to destinations, or remove it here"#,
        ),
        // Teams.
        (
            "/destinations/crm/teams",
            json!(["billing"]),
            r#"policy: /agents/support~1planner/allow/0/to/0: the destination "crm" is not open to the team "support"; ask its owner to add the team to its teams"#,
        ),
        (
            "/destinations/openai/teams",
            json!(["billing"]),
            r#"policy: /agents/support~1summarizer/use/0: the destination "openai" is not open to the team "support"; ask its owner to add the team to its teams"#,
        ),
        (
            "/agents/ops/team",
            json!("support"),
            r#"policy: /agents/ops/team: "ops" is not of the team "support"; call it "support/ops" (a team defines only what is its own)"#,
        ),
        (
            "/agents/a*",
            json!({}),
            r#"policy: /agents/a*: "a*" is not a name of an agent; write 1 to 256 visible ASCII characters without * (an agent is one workload identity, never a family)"#,
        ),
        // Rules.
        (
            "@/id",
            json!("a/b"),
            r#"policy: @/id: "a/b" is not a name of a rule; write 1 to 64 letters, digits, dots, underscores or hyphens"#,
        ),
        (
            "@/id",
            json!("chat"),
            r#"policy: @/id: another rule has the id "chat"; give each rule of an agent an id of its own, those of its profiles included (records name a rule by agent and id)"#,
        ),
        (
            "/agents/support~1summarizer/deny/0/id",
            json!("read-orders"),
            r#"policy: /agents/support~1summarizer/deny/0/id: another rule has the id "read-orders"; give each rule of an agent an id of its own, those of its profiles included (records name a rule by agent and id)"#,
        ),
        (
            "/ceilings/deny/-",
            json!({"id": "relays", "to": ["paste"]}),
            r#"policy: /ceilings/deny/1/id: another ceiling has the id "relays"; give each ceiling an id of its own (records name a ceiling by its id)"#,
        ),
        (
            "/ceilings/deny/0/mode",
            json!("monitor"),
            r#"policy: /ceilings/deny/0/mode: unknown key "mode"; Known here: id, to, methods, paths, when (a key that nobody reads would be taken for one that holds)"#,
        ),
        ("@/methods", json!(["get"]), r#"policy: @/methods/0: "get" is not a method; write GET"#),
        ("@/methods", json!(["CONNECT"]), "policy: @/methods/0: tunnels are not supported yet; remove CONNECT"),
        (
            "@/paths",
            json!(["v1/orders"]),
            "policy: @/paths/0: does not start with `/`; write the whole path, or `/**` for every path",
        ),
        (
            "@/paths",
            json!(["/v1/**/x"]),
            "policy: @/paths/0: `**` can only be the last segment; write `*` for one segment",
        ),
        (
            "@/paths",
            json!(["/v1/a;b"]),
            "policy: @/paths/0: a semicolon in a path is not supported yet; write the path without it (requests with it are refused, so this would fit nothing)",
        ),
        ("@/binding", json!("session"), "policy: @/binding/0: not supported yet; use request, or remove this key"),
        (
            "@/parameters",
            json!([]),
            "policy: @/parameters: not supported yet; remove this key, and with it whatever should only be allowed under it",
        ),
        (
            "@/limits/requests",
            json!("600/session"),
            "policy: @/limits/requests: not supported yet; remove this key, and with it whatever should only be allowed under it",
        ),
        (
            "@/redact",
            json!(["/a"]),
            "policy: @/redact: not supported yet; remove this key, and with it whatever should only be allowed under it",
        ),
        (
            "/environments",
            json!({}),
            "policy: /environments: not supported yet; remove this key, and with it whatever should only be allowed under it",
        ),
        (
            "@/when/reason",
            json!(["x"]),
            "policy: @/when/reason: the stated reason is recorded, never matched; remove this key",
        ),
        (
            "@/when/rolez",
            json!(["x"]),
            r#"policy: @/when/rolez: "rolez" is no member of a context; did you mean "roles"? Known here: agent, session, tenant, user, region, tool, roles, delegated_by, session_type, data_class, provenance, and members of your own (a condition on a member that is never sent is never met)"#,
        ),
        (
            "@/when/data_class",
            json!(["secret"]),
            r#"policy: @/when/data_class/0: unknown value "secret"; Known here: public, internal, confidential, restricted"#,
        ),
        (
            "@/when/tool",
            json!(["*.lookup"]),
            r#"policy: @/when/tool/0: "*.lookup" has a * before its end; write a value, or a beginning and one * such as support/*"#,
        ),
        (
            "@/headers/keep",
            json!(["x-forwarded-for"]),
            "policy: @/headers/keep/0: x-forwarded-for is reserved; remove it: it never goes on (it would change how the request is routed, framed or attributed)",
        ),
        (
            "@/headers/keep",
            json!(["x-api-key"]),
            "policy: @/headers/keep/0: x-api-key carries credentials; name it in credentials.keep of the destination (credentials go only where the destination keeps them)",
        ),
        (
            "@/headers/set/authorization",
            json!("Bearer x"),
            "policy: @/headers/set/authorization: authorization carries credentials; let the destination keep the agent's own, with its hash (a policy is no place for secrets)",
        ),
        (
            "@/headers/set/x-agent",
            json!("$agnet"),
            r#"policy: @/headers/set/x-agent: no member of the context is called "$agnet"; did you mean "$agent"? Known here: $agent, $session, $tenant, $user, $region, $tool"#,
        ),
        (
            "@/headers/set/x-agent",
            json!("a\r\nhost: evil.example"),
            r#"policy: @/headers/set/x-agent: "a\r\nhost: evil.example" is not a header value; write 1 to 1024 printable ASCII characters without outer spaces"#,
        ),
        (
            "@/headers/set/te",
            json!("trailers"),
            "policy: @/headers/set/te: te says how the body is framed; remove it (the body goes on as it was sent)",
        ),
    ]
}

#[test]
fn wrong_policies_are_refused_with_place_and_remedy() {
    for (pointer, value, expected) in policy_table() {
        let pointer = pointer.replace('@', RULE);
        let wrong = edited(policy(), &pointer, value);
        assert_eq!(refusal(&document(&wrong)), expected.replace("policy: @", &format!("policy: {RULE}")), "{pointer}");
    }
}

#[test]
fn wrong_gateways_are_refused_with_place_and_remedy() {
    let table = [
        (
            "/id",
            json!("a b"),
            r#"gateway: /id: "a b" is not a gateway id; write 1 to 64 letters, digits, dots, underscores or hyphens (it is part of the names of logs and keys)"#,
        ),
        ("/id", Value::Null, r#"gateway: the key "id" is missing; add "id""#),
        (
            "/key/env",
            json!("c2VjcmV0IGtleSBtYXRlcmlhbA=="),
            "gateway: /key/env: this is not the name of an environment variable; name the variable that holds the key, such as EXEAT_GATEWAY_KEY (a key in a configuration file would be readable to all who read it)",
        ),
        (
            "/hold",
            json!(false),
            "gateway: /hold: not supported yet; remove it: heads are held until the body is judged",
        ),
        (
            "/collector/path",
            json!("v1"),
            r#"gateway: /collector/path: "v1" is not a path; write it as in /v1/evidence"#,
        ),
        (
            "/collector/timeout",
            json!("2"),
            r#"gateway: /collector/timeout: "2" is not a duration; write a whole number and ms, s, m, h or d, such as 500ms, 2s, 5m"#,
        ),
        ("/collector/timeout", json!("2m"), "gateway: /collector/timeout: out of range; write 1ms to 60s"),
        ("/audit", json!({"delivery": "write-ahead"}), "gateway: /audit/delivery: not supported yet; use async"),
        ("/audit", json!({"when_full": "drop"}), "gateway: /audit/when_full: not supported yet; use deny"),
        ("/audit", json!({"queue": 1}), "gateway: /audit/queue: out of range; write 16 to 1048576"),
        (
            "/upstream",
            json!({"scheme": "ftp"}),
            r#"gateway: /upstream/scheme: unknown value "ftp"; Known here: http, https"#,
        ),
        ("/context", json!({"max_age": "2h"}), "gateway: /context/max_age: out of range; write 1s to 1h"),
        (
            "/feedback",
            json!("ful"),
            r#"gateway: /feedback: unknown value "ful"; did you mean "full"? Known here: minimal, full"#,
        ),
        (
            "/colector",
            json!({}),
            r#"gateway: /colector: unknown key "colector"; did you mean "collector"? Known here: id, environment, deployment, mode, key, hold, collector, audit, upstream, context, feedback (a key that nobody reads would be taken for one that holds)"#,
        ),
    ];
    for (pointer, value, expected) in table {
        let wrong = json!({"role": "filter", "gateway": edited(gateway(), pointer, value), "policy": policy()});
        assert_eq!(refusal(&serde_json::to_vec(&wrong).unwrap()), expected);
    }
}

#[test]
fn wrong_envelopes_are_refused() {
    for (json, expected) in [
        (
            "",
            r#"configuration: not JSON: "EOF while parsing a value at line 1 column 0"; give one JSON object as `exeat policy compile` writes it"#,
        ),
        ("[]", "configuration: expected a map, found a list; write role, gateway and policy"),
        ("{}", r#"configuration: the key "role" is missing; write role, gateway and policy"#),
        (r#"{"role": "guard"}"#, "configuration: /role: not supported yet; leave the guard out of the configuration"),
        (r#"{"role": "sidecar"}"#, r#"configuration: /role: unknown role "sidecar"; write filter"#),
        (
            r#"{"role": "filter", "gatway": {}}"#,
            r#"configuration: /gatway: unknown key "gatway"; did you mean "gateway"? Known here: role, gateway, policy"#,
        ),
        (
            r#"{"role": "filter", "role": "filter"}"#,
            r#"configuration: /role: the key "role" occurs twice; keep one of the two (readers of JSON differ in which of them they take)"#,
        ),
        (
            r#"{"role": "filter", "policy": {"agents": {"a": {}, "a": {}}}}"#,
            r#"configuration: /policy/agents/a: the key "a" occurs twice; keep one of the two (readers of JSON differ in which of them they take)"#,
        ),
    ] {
        assert_eq!(refusal(json.as_bytes()), expected);
    }
}

#[test]
fn all_errors_are_told_in_the_order_of_the_document() {
    let wrong = edited(policy(), &format!("{RULE}/to"), json!(["crn"]));
    let wrong = edited(wrong, "/agents/support~1summarizer/deny/0/paths", json!(["x"]));
    let wrong = edited(wrong, "/ceilings/deny/0/methods", json!(["get"]));
    let errors = Configuration::examine(&document(&wrong)).unwrap_err();
    let places: Vec<&str> = errors.iter().map(|error| error.place.as_str()).collect();
    assert_eq!(
        places,
        [
            "/agents/support~1summarizer/allow/0/to/0",
            "/agents/support~1summarizer/deny/0/paths/0",
            "/ceilings/deny/0/methods/0"
        ]
    );
    assert_eq!(errors.into_first().place, "/agents/support~1summarizer/allow/0/to/0");
}

#[test]
fn what_is_accepted_is_what_was_written() {
    let configuration = accept(&policy());
    let (gateway, policy) = (configuration.gateway(), configuration.policy());
    assert_eq!((gateway.id(), gateway.key_env(), gateway.queue()), ("egress-test", "EXEAT_GATEWAY_KEY", 4096));
    assert_eq!((gateway.freshness().max_age, gateway.freshness().skew), (60_000, 5_000));
    assert_eq!((gateway.collector().path.as_str(), gateway.collector().timeout), ("/v1/evidence", 2_000));
    assert_eq!((policy.destinations(), policy.agents(), policy.rules()), (4, 3, 7));
    let key = policy.keys().get("signer-eu-1").unwrap();
    assert_eq!(policy.signer(key.signer).unwrap().id(), "signer-eu");
    // The end of 2027-06-30, UTC.
    assert_eq!(key.not_after.unwrap().millis(), 1_814_399_999_999);
    assert_eq!(policy.largest_body(), 1 << 20);
}

#[test]
fn the_digest_is_of_the_canonical_policy() {
    let digest = accept(&policy()).policy().digest().to_owned();
    assert!(digest.starts_with("sha256:") && digest.len() == 71);
    // Order and white space of the text count for nothing, content does.
    let mut reversed = String::from("{");
    for (key, value) in policy().as_object().unwrap().iter().rev() {
        reversed.push_str(&format!("\n {}:  {value:#},", json!(key)));
    }
    reversed.pop();
    reversed.push('}');
    let json = format!(r#"{{"policy": {reversed}, "gateway": {}, "role": "filter"}}"#, gateway());
    assert_eq!(Configuration::accept(json.as_bytes()).unwrap().policy().digest(), digest);
    let other = edited(policy(), "/revision", json!("r2"));
    assert_ne!(accept(&other).policy().digest(), digest);
    // The gateway is outside.
    let json = json!({"role": "filter", "gateway": edited(gateway(), "/id", json!("other")), "policy": policy()});
    assert_eq!(Configuration::accept(&serde_json::to_vec(&json).unwrap()).unwrap().policy().digest(), digest);
}

#[test]
fn dates_that_passed_are_warned_of() {
    use crate::policy::node::Node;
    let aged = edited(policy(), "/destinations/crm/review", json!("2026-11-19"));
    let aged = edited(aged, "/destinations/openai/review", json!("2026-11-20"));
    let aged = edited(aged, "/destinations/paste/expires", json!("2026-01-01"));
    let aged = edited(aged, &format!("{RULE}/expires"), json!("2026-11-20T11:59:59Z"));
    let aged = edited(aged, "/ceilings/deny/0/to/category", json!(["pastes"]));
    let node: Node = serde_json::from_value(aged).unwrap();
    let warnings: Vec<String> = crate::policy::warnings(&node, super::NOW).iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "policy: /agents/support~1summarizer/allow/0/expires: the rule has expired; remove it; it fits nothing any more",
            r#"policy: /ceilings/deny/0/to/category/0: no destination has the category "pastes"; check its spelling, or keep it for destinations to come"#,
            "policy: /destinations/crm/review: the review is overdue; name an owner, let them look at it and set a new date",
            "policy: /destinations/paste/expires: the destination has expired; remove the destination or set a new date; requests there are refused",
        ]
    );
}
