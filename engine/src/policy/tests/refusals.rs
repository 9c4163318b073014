//! Wrong policies, each by one edit of a good one, and what is said of them, word by word.

use super::TEST_KEY;
use serde_json::{Value, json};

/// An edit of the policy: pointer (a leading `@` stands for the rule `read-orders`), value, what is said.
pub(super) fn table() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        // Shape.
        (
            "/destinatons",
            json!({}),
            r#"policy: /destinatons: unknown key "destinatons"; did you mean "destinations"? Known here: schema, revision, change, mode, signers, defaults, ceilings, tenants, destinations, profiles, agents, quarantine, environments (a key that nobody reads would be taken for one that holds)"#,
        ),
        (
            "@/limits/bdy",
            json!("1B"),
            r#"policy: @/limits/bdy: unknown key "bdy"; did you mean "body"? Known here: body, url, header, headers, total, provenance, requests, bytes, hosts (a key that nobody reads would be taken for one that holds)"#,
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
        (
            "/signers",
            json!({}),
            "policy: /signers: expected a list, found a map; begin each entry with `- `, or put brackets around it",
        ),
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
        (
            "@/limits/body",
            json!(65_536),
            "policy: @/limits/body: expected a size such as 64KiB, found the number 65536; write a size such as 64KiB",
        ),
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
            "policy: /destinations/crm/hosts/0: `*` stands for every host there is; add `open: true` with limits for third-party and unknown content, or name the hosts",
        ),
        (
            "/destinations/crm/open",
            json!(true),
            r#"policy: /destinations/crm/open: no host is `*`, so nothing is open; write `hosts: ["*"]`, or leave `open` out"#,
        ),
        (
            "/destinations/web",
            json!({"hosts": "*", "open": true}),
            "policy: /destinations/web/limits: an open destination says nothing of how much third-party content may go there; add body and url under limits/provenance/third-party, such as {body: 0B, url: 128B} (whoever wrote that content may own the host)",
        ),
        (
            "/destinations/web",
            json!({"hosts": "*", "open": true, "limits": {"provenance": {"third-party": {"body": "0B", "url": "1B"}, "unknown": {"body": "0B"}}}}),
            "policy: /destinations/web/limits: an open destination says nothing of how much unknown content may go there; add body and url under limits/provenance/unknown, such as {body: 0B, url: 128B} (whoever wrote that content may own the host)",
        ),
        (
            "/destinations/crm/hosts",
            json!(["*."]),
            "policy: /destinations/crm/hosts/0: no name after `*.`; write `*` alone for every host, with `open: true`",
        ),
        (
            "/destinations/crm/hosts",
            json!(["a..example"]),
            "policy: /destinations/crm/hosts/0: an empty label in the host name; write a host name like api.example.com",
        ),
        (
            "/destinations/crm/hosts",
            json!(["*.a..example"]),
            "policy: /destinations/crm/hosts/0: an empty label in the host name; write a host name like api.example.com",
        ),
        (
            "/destinations/crm/hosts",
            json!([format!("{}example", "a.".repeat(124))]),
            "policy: /destinations/crm/hosts/0: a host name of 255 bytes, 253 are the most; write a host name like api.example.com",
        ),
        (
            "/destinations/crm/hosts",
            json!([format!("{}.example", "a".repeat(64))]),
            "policy: /destinations/crm/hosts/0: a label of 64 bytes in the host name, 63 are the most; write a host name like api.example.com",
        ),
        (
            "/destinations/crm/hosts",
            json!(["xn--a.example"]),
            "policy: /destinations/crm/hosts/0: the host is not a valid internationalised name; write a host name like api.example.com",
        ),
        (
            "/destinations/crm/hosts",
            json!(["bücher.example"]),
            "policy: /destinations/crm/hosts/0: not the canonical form; write `xn--bcher-kva.example`",
        ),
        (
            "/destinations/crm/hosts",
            json!(["10.20.0.1/16"]),
            "policy: /destinations/crm/hosts/0: bits are set after the prefix; write 10.20.0.0/16",
        ),
        (
            "/destinations/crm/hosts",
            json!(["0.0.0.0/0"]),
            "policy: /destinations/crm/hosts/0: a range of all addresses; name the networks that are meant",
        ),
        (
            "/destinations/crm/hosts",
            json!(["crm.example:443"]),
            "policy: /destinations/crm/hosts/0: a port after the host; write the host alone, ports go to `ports`",
        ),
        (
            "/destinations/crm/names",
            json!({"budgt": "1B"}),
            r#"policy: /destinations/crm/names/budgt: unknown key "budgt"; did you mean "budget"? Known here: budget, total, encoded_labels, segment, paths, quarantine (a key that nobody reads would be taken for one that holds)"#,
        ),
        (
            "/destinations/crm/names",
            json!({"total": "1MiB"}),
            "policy: /destinations/crm/names/total: more than can be counted; write at most 64KiB; where names need not be watched, name the hosts",
        ),
        (
            "/defaults/names",
            json!({"quarantine": "31d"}),
            "policy: /defaults/names/quarantine: out of range; write 0s to 30d; what must stay closed for longer is better closed by a rule",
        ),
        (
            "/quarantine",
            json!({"release": [{"agent": "a", "session": ""}]}),
            "policy: /quarantine/release/0/session: names nothing; write it as `exeat audit list --quarantined` shows it",
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
            "policy: /destinations/crm/ports/0: expected a whole number from 0 to 65535, found 70000; write a whole number from 0 to 65535",
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
            json!(["10.0.0.0/8", "10.1.2.3/8"]),
            "policy: /destinations/crm/addresses/1: bits are set after the prefix; write 10.0.0.0/8",
        ),
        (
            "/destinations/crm/addresses",
            json!("db.internal"),
            "policy: /destinations/crm/addresses/0: not an IP address; write a range like 10.20.0.0/16 or fd00:1::/32",
        ),
        (
            "/destinations/crm/addresses",
            json!(["fd00:0::1"]),
            r#"policy: /destinations/crm/addresses/0: "fd00:0::1" is not the canonical form; write fd00::1"#,
        ),
        (
            "/destinations/crm/addresses",
            json!(["0.0.0.0/0"]),
            "policy: /destinations/crm/addresses/0: a range of all addresses; name the networks that are meant (names would then resolve to loopback and metadata services, too)",
        ),
        (
            "/destinations/crm/scheme",
            json!("wss"),
            r#"policy: /destinations/crm/scheme: unknown value "wss"; Known here: http, https"#,
        ),
        (
            "/destinations/crm2",
            json!({"hosts": ["*.crm.acme.example"], "scheme": "http", "ports": [80, 443]}),
            r#"policy: /destinations/crm2/hosts/0: port 443 of *.crm.acme.example has the scheme https in "crm"; let both say http or https, or give them different ports (a connection is either TLS or plain)"#,
        ),
        (
            "/destinations/crm/paths_allow",
            json!(["encoded-slashes"]),
            "policy: /destinations/crm/paths_allow/0: unknown value \"encoded-slashes\"; did you mean \"encoded-slash\"? Known here: empty-segment, semicolon, dot-segment, encoded-slash, encoded-backslash, encoded-percent, encoded-control, bad-escape, invalid-utf8, lookalike, raw-backslash, raw-character, raw-byte",
        ),
        (
            "/destinations/crm/upgrade",
            json!(["h2c"]),
            r#"policy: /destinations/crm/upgrade/0: unknown value "h2c"; Known here: websocket"#,
        ),
        (
            "/destinations/crm/life",
            json!("5m"),
            "policy: /destinations/crm/life: there is no tunnel and no upgrade whose life this could bound; add `tunnel: true` or `upgrade: [websocket]`, or remove this key",
        ),
        (
            "/destinations/crm/tunnel",
            json!("no"),
            "policy: /destinations/crm/tunnel: expected true or false, found the text \"no\"; write true or false",
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
            r#"policy: /ceilings/deny/0/mode: unknown key "mode"; Known here: id, to, methods, paths, when, parameters (a key that nobody reads would be taken for one that holds)"#,
        ),
        ("@/methods", json!(["get"]), r#"policy: @/methods/0: "get" is not a method; write GET"#),
        (
            "@/methods",
            json!(["CONNECT"]),
            "policy: @/methods/0: a tunnel reaches every path, and the rule allows only some; write /** in paths, or remove CONNECT",
        ),
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
            "policy: @/paths/0: a semicolon in a path is closed; add `paths_allow: [semicolon]` to a destination of this rule, or write the path without it (requests with it are refused, so this would fit nothing)",
        ),
        (
            "@/binding",
            json!(["session", "tunnel"]),
            "policy: @/binding/1: not supported yet; use request or session, or remove this key",
        ),
        (
            "@/binding",
            json!([]),
            "policy: @/binding: an empty list fits nothing; name at least one, or leave the key out",
        ),
        (
            "@/when/binding",
            json!(["session"]),
            "policy: @/when/binding: how a context is bound is said beside when, not in it; remove this key",
        ),
        (
            "@/parameters",
            json!([]),
            "policy: @/parameters: an empty list demands nothing; write 1 to 32 conditions, or leave the key out",
        ),
        // Budgets.
        (
            "@/limits/requests",
            json!(600),
            "policy: @/limits/requests: expected a budget of requests such as 600/session, or a list of them, found the number 600; write a budget of requests such as 600/session, or a list of them",
        ),
        (
            "@/limits/requests",
            json!("600"),
            r#"policy: @/limits/requests: "600" is not a budget; write how much, for whom and for how long, such as 600/session or 600/tenant/1d"#,
        ),
        (
            "@/limits/requests",
            json!(["600/session", "10k/tenant/1d"]),
            r#"policy: @/limits/requests/1: "10k" is not a number of requests; write a whole number before the first slash, such as 600/session"#,
        ),
        (
            "@/limits/requests",
            json!([]),
            "policy: @/limits/requests: an empty list is no budget; write one, or leave the key out",
        ),
        (
            "@/limits/requests",
            json!("600/sesion"),
            r#"policy: @/limits/requests: a budget cannot count for "sesion"; did you mean "session"? Known here: session, agent, tenant"#,
        ),
        (
            "@/limits/requests",
            json!("0/session"),
            "policy: @/limits/requests: a budget of nothing lets nothing go; write 1 or more, or remove the rule",
        ),
        (
            "@/limits/requests",
            json!("600/agent"),
            "policy: @/limits/requests: a budget of an agent needs a window, for it has no end; write for how long it holds, such as 600/agent/1d",
        ),
        (
            "@/limits/bytes",
            json!(["1MiB/session", "1GiB/tenant"]),
            "policy: @/limits/bytes/1: a budget of a tenant needs a window, for it has no end; write for how long it holds, such as 1GiB/tenant/1d",
        ),
        (
            "@/limits/bytes",
            json!("1MB/session"),
            r#"policy: @/limits/bytes: "1MB" is not a size; write a whole number and B, KiB, MiB or GiB, such as 0B, 512B, 64KiB"#,
        ),
        (
            "@/limits/bytes",
            json!("1MiB/agent/90d"),
            "policy: @/limits/bytes: a window of 90d is out of range; write 1s to 30d",
        ),
        (
            "@/limits/bytes",
            json!("1MiB/agent/1w"),
            r#"policy: @/limits/bytes: "1w" is not a duration; write a whole number and ms, s, m, h or d, such as 500ms, 2s, 5m"#,
        ),
        (
            "@/limits/hosts",
            json!("1000/session"),
            r#"policy: @/limits/hosts: "1000" hosts are more than are remembered of one budget; write at most 256"#,
        ),
        (
            "@/limits/hosts",
            json!(["20/session", "5/session/1h"]),
            r#"policy: @/limits/hosts/1: "20/session" and "5/session/1h" count the same; keep one of the two (hosts are remembered one by one, once for each of session, agent and tenant)"#,
        ),
        (
            "@/limits/requests",
            json!(["20/agent/60m", "5/agent/1h"]),
            r#"policy: @/limits/requests/1: "20/agent/60m" and "5/agent/1h" count the same; keep the smaller of the two"#,
        ),
        (
            "@/limits/requests",
            json!([
                "1/session/1s",
                "1/session/2s",
                "1/session/3s",
                "1/session/4s",
                "1/session/5s",
                "1/session/6s",
                "1/session/7s",
                "1/session/8s",
                "1/session"
            ]),
            "policy: @/limits/requests: more budgets than are counted at once; write at most 8",
        ),
        (
            "/defaults/limits",
            json!({"requests": "600/tenant"}),
            "policy: /defaults/limits/requests: a budget of a tenant needs a window, for it has no end; write for how long it holds, such as 600/tenant/1d",
        ),
        (
            "/defaults/limits",
            json!({"hosts": ["1/session", "2/session"]}),
            r#"policy: /defaults/limits/hosts/1: "1/session" and "2/session" count the same; keep one of the two (hosts are remembered one by one, once for each of session, agent and tenant)"#,
        ),
        (
            "/destinations/crm/limits",
            json!({"bytes": "1MiB/session"}),
            "policy: /destinations/crm/limits/bytes: a budget belongs to an allow rule; write it under limits of the rules, or once under defaults/limits (a request is charged to the one rule that lets it go)",
        ),
        (
            "/ceilings/limits",
            json!({"hosts": "20/session"}),
            "policy: /ceilings/limits/hosts: a budget belongs to an allow rule; write it under limits of the rules, or once under defaults/limits (a request is charged to the one rule that lets it go)",
        ),
        (
            "/environments",
            json!({}),
            "policy: /environments: a gateway reads the policy of one environment; give it what `exeat policy compile --env NAME` writes, which has these overlays in their places",
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
            "policy: @/headers/set/authorization: authorization carries credentials; let the destination keep the agent's own, with its hash, or inject one (a policy is no place for secrets)",
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
