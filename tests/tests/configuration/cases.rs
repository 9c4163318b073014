//! Wrong configurations, and what is said of each, word by word.

/// An edit of one of the documents in tests/policies/configuration.
pub(crate) struct Edit {
    pub(crate) name: &'static str,
    pub(crate) file: &'static str,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
    /// What is said, in the same words by gateway and command line.
    pub(crate) says: &'static str,
    /// The text at which the command line points.
    pub(crate) at: &'static str,
}

const GATEWAY: &str = "gateway.yaml";
const PLATFORM: &str = "policy/platform.yaml";
const TEAM: &str = "policy/teams/support.yaml";

/// Everything that both the gateway and the command line refuse.
pub(crate) const EDITS: [Edit; 19] = [
    Edit {
        name: "an unknown key",
        file: TEAM,
        from: "paths: [/v1/orders/*]",
        to: "paths: [/v1/orders/*]\n        onlyif: {tool: [x]}",
        says: r#"policy: /agents/support~1summarizer/allow/0/onlyif: unknown key "onlyif"; Known here: id, to, methods, paths, when, binding, limits, headers, expires, mode, parameters, redact, tokenize, exception (a key that nobody reads would be taken for one that holds)"#,
        at: "onlyif",
    },
    Edit {
        name: "a key that is nearly right",
        file: PLATFORM,
        from: "    accepts: confidential",
        to: "    acepts: confidential",
        says: r#"policy: /destinations/crm/acepts: unknown key "acepts"; did you mean "accepts"?"#,
        at: "acepts",
    },
    Edit {
        name: "a key that is missing",
        file: TEAM,
        from: "        paths: [/v1/orders/*]\n",
        to: "",
        says: r#"policy: /agents/support~1summarizer/allow/0: the key "paths" is missing; add "paths""#,
        at: "id: read-orders",
    },
    Edit {
        name: "a wrong type",
        file: TEAM,
        from: "body: 64KiB",
        to: "body: 65536",
        says: "policy: /agents/support~1summarizer/allow/0/limits/body: expected a size such as 64KiB, found the number 65536; write a size such as 64KiB",
        at: "body: 65536",
    },
    Edit {
        name: "a size that is none",
        file: TEAM,
        from: "body: 64KiB",
        to: "body: 64KB",
        says: r#"policy: /agents/support~1summarizer/allow/0/limits/body: "64KB" is not a size; write a whole number and B, KiB, MiB or GiB, such as 0B, 512B, 64KiB"#,
        at: "body: 64KB",
    },
    Edit {
        name: "a key that is no key",
        file: PLATFORM,
        from: "public: \"",
        to: "public: \"AAAA",
        says: "policy: /signers/0/keys/0/public: not an Ed25519 public key; write base64 of the 32 bytes of the public half, or its JWK",
        at: "public: \"AAAA",
    },
    Edit {
        name: "a host that is a URL",
        file: PLATFORM,
        from: "\"*.crm.acme.example\"",
        to: "\"https://crm.acme.example/\"",
        says: "policy: /destinations/crm/hosts/0: a URL; write the host alone, paths go to `paths` of a rule",
        at: "\"https://crm.acme.example/\"",
    },
    Edit {
        name: "a host with a star in it",
        file: PLATFORM,
        from: "\"*.crm.acme.example\"",
        to: "\"crm.*.example\"",
        says: "policy: /destinations/crm/hosts/0: `*` can only be the whole first label, as in `*.example.com`; name the hosts one by one",
        at: "\"crm.*.example\"",
    },
    Edit {
        name: "two keys of one id",
        file: PLATFORM,
        from: "    agents: [\"support/*\"]",
        to: "      - {id: signer-eu-1, public: \"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"}\n    agents: [\"support/*\"]",
        says: r#"policy: /signers/0/keys/1/id: another key has the id "signer-eu-1"; give each key an id of its own; a key without one has the id of its signer (a signature names its key by this id alone)"#,
        at: "id: signer-eu-1, public: \"11qY",
    },
    Edit {
        name: "two rules of one id",
        file: TEAM,
        from: "    allow:\n",
        to: "    deny: [{id: read-orders, to: [crm]}]\n    allow:\n",
        says: r#"policy: /agents/support~1summarizer/deny/0/id: another rule has the id "read-orders"; give each rule of an agent an id of its own, those of its profiles included (records name a rule by agent and id)"#,
        at: "id: read-orders, to",
    },
    Edit {
        name: "a destination that is not there",
        file: TEAM,
        from: "to: [crm]",
        to: "to: [crn]",
        says: r#"policy: /agents/support~1summarizer/allow/0/to/0: no destination "crn"; did you mean "crm"?"#,
        at: "crn",
    },
    Edit {
        name: "a profile that is not there",
        file: TEAM,
        from: "    allow:\n",
        to: "    use: [reading]\n    allow:\n",
        says: r#"policy: /agents/support~1summarizer/use/0: no profile "reading"; add it to profiles, or remove it here"#,
        at: "reading",
    },
    Edit {
        name: "a destination of another team",
        file: PLATFORM,
        from: "teams: [support]",
        to: "teams: [finance]",
        says: r#"policy: /agents/support~1summarizer/allow/0/to/0: the destination "crm" is not open to the team "support"; ask its owner to add the team to its teams"#,
        at: "",
    },
    Edit {
        name: "a day that never comes",
        file: PLATFORM,
        from: "    accepts: confidential",
        to: "    accepts: confidential\n    expires: 2027-02-30",
        says: r#"policy: /destinations/crm/expires: "2027-02-30" is not a date; write a day such as 2027-06-30 or a moment such as 2027-06-30T12:00:00Z, both UTC"#,
        at: "expires: 2027-02-30",
    },
    Edit {
        name: "models that a tunnel would hide",
        file: PLATFORM,
        from: "    accepts: confidential",
        to: "    accepts: confidential\n    models: [a]\n    tunnel: true",
        says: "policy: /destinations/crm/tunnel: nobody can tell which model is named in there; remove tunnel, or models (what a tunnel or a WebSocket carries cannot be read)",
        at: "tunnel: true",
    },
    Edit {
        name: "a redaction that nobody would do",
        file: TEAM,
        from: "paths: [/v1/orders/*]",
        to: "paths: [/v1/orders/*]\n        redact: [email]",
        says: r#"policy: /agents/support~1summarizer/allow/0/redact/0: "email" is not a place: it does not begin with /; write a JSON pointer such as /customer/id or /items/*/id"#,
        at: "email",
    },
    Edit {
        name: "evidence before release, and without it when the queue is full",
        file: GATEWAY,
        from: "delivery: async, queue: 4096, when_full: deny",
        to: "delivery: write-ahead, queue: 4096, when_full: drop",
        says: "gateway: /audit/when_full: drop contradicts delivery: write-ahead; write when_full: deny, or delivery: async (write-ahead lets nothing go whose record is not stored)",
        at: "when_full: drop",
    },
    Edit {
        name: "a queue of nothing",
        file: GATEWAY,
        from: "queue: 4096",
        to: "queue: 0",
        says: "gateway: /audit/queue: out of range; write 16 to 1048576",
        at: "queue: 0",
    },
    Edit {
        name: "the key itself in place of its variable",
        file: GATEWAY,
        from: "EXEAT_GATEWAY_KEY",
        to: "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlYw==",
        says: "gateway: /key/env: this is not the name of an environment variable; name the variable that holds the key, such as EXEAT_GATEWAY_KEY (a key in a configuration file would be readable to all who read it)",
        at: "env: c2VjcmV0",
    },
];

/// Plugin configurations that come from no policy folder.
pub(crate) const RAW: [(&str, &str, &str); 7] = [
    ("nothing", "", "configuration: "),
    ("no JSON", "gateway: {}", "configuration: "),
    ("JSON that ends early", "{\"role\": \"filter\"", "configuration: "),
    ("a list", "[]", "configuration: expected a map, found a list; write role, gateway and policy"),
    (
        "no role",
        "{\"gateway\": {}, \"policy\": {}}",
        "configuration: the key \"role\" is missing; write role, gateway and policy",
    ),
    (
        "an unknown role",
        "{\"role\": \"observer\", \"gateway\": {}, \"policy\": {}}",
        "configuration: /role: unknown role \"observer\"; write filter",
    ),
    (
        "two roles",
        "{\"role\": \"observer\", \"role\": \"filter\", \"gateway\": {}, \"policy\": {}}",
        "configuration: /role: ",
    ),
];

/// What may be in the variable of the key, and what is said of it.
pub(crate) const KEYS: [(&str, Option<&str>, &str); 4] = [
    (
        "no variable",
        None,
        "gateway: /gateway/key/env: the environment variable EXEAT_GATEWAY_KEY is not set in the VM; set it for the gateway process",
    ),
    ("an empty variable", Some(""), "gateway: /gateway/key/env: EXEAT_GATEWAY_KEY does not hold a key: "),
    (
        "junk",
        Some("correct horse battery staple"),
        "gateway: /gateway/key/env: EXEAT_GATEWAY_KEY does not hold a key: ",
    ),
    (
        "a key of 31 bytes",
        Some("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="),
        "gateway: /gateway/key/env: EXEAT_GATEWAY_KEY does not hold a key: ",
    ),
];
