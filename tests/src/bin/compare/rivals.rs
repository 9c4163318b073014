//! What stands in Exeat's place: the same Envoy, listener, routes, clusters and access log as `exeat render envoy` writes, with
//! other filters. So arms differ in nothing but what judges the request.

use super::arms::Rival;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// What the rivals are told of the policy.
pub(crate) struct Policy<'a> {
    /// The issuer's Ed25519 key, base64url.
    pub(crate) key: &'a str,
    /// Port of the upstream.
    pub(crate) port: u16,
    /// A module of [`super::modules`], where one is needed.
    pub(crate) module: &'a str,
}

/// Takes Exeat out of a bootstrap that was rendered, filter and guards, and puts a rival in its place.
pub(crate) fn replace(bootstrap: &mut Value, rival: Option<Rival>, policy: &Policy<'_>) -> Result<()> {
    let manager = bootstrap
        .pointer_mut("/static_resources/listeners/0/filter_chains/0/filters/0/typed_config")
        .context("the bootstrap has no connection manager")?;
    let filters = manager.get_mut("http_filters").and_then(Value::as_array_mut).context("no filters")?;
    if filters.first().and_then(|filter| filter.get("name")) != Some(&json!("envoy.filters.http.wasm")) {
        bail!("the first filter of the bootstrap is not Exeat");
    }
    filters.remove(0);
    let own = rival.map(|rival| rival_filters(rival, policy)).unwrap_or_default();
    filters.splice(0..0, own);
    // The ways out are open only to what Exeat let go.
    let routes = manager
        .pointer_mut("/route_config/virtual_hosts/0/routes")
        .and_then(Value::as_array_mut)
        .context("no routes")?;
    let way_out = routes.iter().rev().find(|route| route.pointer("/route/cluster") == Some(&json!("egress-http")));
    let mut way_out = way_out.context("no route leads to egress-http")?.clone();
    if let Some(conditions) = way_out.get_mut("match") {
        *conditions = json!({"prefix": "/"});
    }
    *routes = vec![way_out];
    let clusters = bootstrap.pointer_mut("/static_resources/clusters").and_then(Value::as_array_mut);
    for cluster in clusters.context("no clusters")? {
        const OPTIONS: &str =
            "/typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
        if let Some(options) = cluster.pointer_mut(OPTIONS).and_then(Value::as_object_mut) {
            options.remove("http_filters");
        }
    }
    if bootstrap.to_string().contains("exeat-guard") {
        bail!("a guard is left in the bootstrap");
    }
    Ok(())
}

fn rival_filters(rival: Rival, policy: &Policy<'_>) -> Vec<Value> {
    match rival {
        Rival::EmptyWasm | Rival::HeadersWasm => vec![wasm(policy.module)],
        Rival::Lua => vec![lua(policy.port)],
        Rival::Jwt { cached } => vec![jwt(policy.key, cached), rbac(policy.port)],
    }
}

fn wasm(module: &str) -> Value {
    json!({
        "name": "envoy.filters.http.wasm",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": "rival",
                "root_id": "rival",
                "failure_policy": "FAIL_CLOSED",
                "vm_config": {
                    "vm_id": "rival", "runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": module}},
                },
            },
        },
    })
}

fn lua(port: u16) -> Value {
    let script = format!(
        r#"
local suffix = ".crm.acme.example:{port}"
function envoy_on_request(handle)
  local authority = handle:headers():get(":authority")
  if authority == nil or authority:sub(-#suffix) ~= suffix then
    handle:respond({{[":status"] = "403"}}, "host")
  end
end
"#
    );
    json!({
        "name": "envoy.filters.http.lua",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": script},
        },
    })
}

/// As the policy has its issuer.
fn jwt(key: &str, cached: bool) -> Value {
    let keys = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "ed", "alg": "EdDSA", "use": "sig", "x": key}]});
    let mut provider = json!({
        "issuer": "https://idp.acme.example",
        "audiences": ["egress-demo"],
        "local_jwks": {"inline_string": keys.to_string()},
        "payload_in_metadata": "claims",
    });
    if let Some(fields) = provider.as_object_mut().filter(|_| cached) {
        fields.insert("jwt_cache_config".to_owned(), json!({"jwt_cache_size": 100}));
    }
    json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": {"idp": provider},
            "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "idp"}}],
        },
    })
}

/// What the policy asks of the request of these arms: agent, tenant, host, method, path.
fn rbac(port: u16) -> Value {
    let header = |name: &str, how: &str, value: &str| json!({"header": {"name": name, "string_match": {how: value}}});
    let claim = |name: &str, value: &str| {
        json!({"metadata": {
            "filter": "envoy.filters.http.jwt_authn",
            "path": [{"key": "claims"}, {"key": name}],
            "value": {"string_match": {"exact": value}},
        }})
    };
    json!({
        "name": "envoy.filters.http.rbac",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
            "rules": {
                "action": "ALLOW",
                "policies": {
                    "read-orders": {
                        "permissions": [{"and_rules": {"rules": [
                            header(":authority", "suffix", &format!(".crm.acme.example:{port}")),
                            {"or_rules": {"rules": [header(":method", "exact", "GET"), header(":method", "exact", "HEAD")]}},
                            {"url_path": {"path": {"prefix": "/v1/orders/"}}},
                        ]}}],
                        "principals": [{"and_ids": {"ids": [claim("sub", "support/summarizer"), claim("tid", "acme")]}}],
                    },
                },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bootstrap() -> Value {
        json!({"static_resources": {
            "listeners": [{"filter_chains": [{"filters": [{"typed_config": {
                "http_filters": [{"name": "envoy.filters.http.wasm"}, {"name": "router"}],
                "route_config": {"virtual_hosts": [{"routes": [
                    {"match": {"prefix": "/", "filter_state": []}, "route": {"cluster": "egress-https"}},
                    {"match": {"prefix": "/", "filter_state": []}, "route": {"cluster": "egress-http", "timeout": "1s"}},
                    {"match": {"prefix": "/"}, "route": {"cluster": "nowhere"}},
                ]}]},
            }}]}]}],
            "clusters": [
                {"name": "egress-http", "typed_extension_protocol_options": {
                    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {"http_filters": ["exeat-guard-x"]}}},
                {"name": "exeat-collector"},
            ],
        }})
    }

    #[test]
    fn only_what_judges_is_replaced() {
        let policy = Policy { key: "k", port: 80, module: "m.wasm" };
        for (rival, count) in [(None, 1), (Some(Rival::Lua), 2), (Some(Rival::Jwt { cached: true }), 3)] {
            let mut document = bootstrap();
            replace(&mut document, rival, &policy).unwrap();
            let manager =
                &document["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
            assert_eq!(manager["http_filters"].as_array().unwrap().len(), count);
            let route = json!({"match": {"prefix": "/"}, "route": {"cluster": "egress-http", "timeout": "1s"}});
            assert_eq!(manager["route_config"]["virtual_hosts"][0]["routes"], json!([route]));
            let own = document.to_string();
            assert_eq!(own.contains("jwt_cache_size"), count == 3);
        }
    }

    #[test]
    fn a_bootstrap_that_is_not_as_it_was_is_an_error() {
        let policy = Policy { key: "k", port: 80, module: "m.wasm" };
        let mut other = bootstrap();
        other["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
            [0]["name"] = json!("something.else");
        assert!(replace(&mut other, None, &policy).is_err());
        let mut guarded = bootstrap();
        guarded["static_resources"]["clusters"][1]["name"] = json!("exeat-guard-left");
        assert!(replace(&mut guarded, None, &policy).is_err());
    }
}
