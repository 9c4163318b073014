//! Envoy Gateway: patches are applied as it does, to what it makes of the Gateway, route and EnvoyExtensionPolicy that are
//! rendered with them.

use crate::scene::{ask, documents, judges, module, objects, start};
use exeat_e2e::scenario::gateway::Gateway;
use exeat_e2e::scenario::real::Places;
use exeat_e2e::stage::upstream::{Reply, Upstream};
use serde_json::{Value, json};
use std::sync::OnceLock;

const IMAGE: &str = "registry.example/exeat@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn of_kind<'a>(all: &'a [Value], kind: &str) -> Option<&'a Value> {
    all.iter().find(|object| object["kind"] == kind)
}

/// The filter of an EnvoyExtensionPolicy (internal/xds/translator/wasm.go): off but for routes that turn it on, the VM named
/// after the policy. Where it would fetch the module from Envoy Gateway, it lies in a file.
fn filter(policy: &Value) -> Value {
    let (wasm, of) = (&policy["spec"]["wasm"][0], &policy["metadata"]);
    assert_eq!(wasm["failOpen"], false);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let name = format!("envoyextensionpolicy/{}/{}/wasm/0", text(&of["namespace"]), text(&of["name"]));
    json!({
        "name": format!("envoy.filters.http.wasm/{name}"),
        "disabled": true,
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": wasm["name"],
                "root_id": wasm["rootID"],
                "vm_config": {
                    "vm_id": name,
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": module()}},
                    "environment_variables": {"host_env_keys": wasm["env"]["hostKeys"]},
                },
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": wasm["config"].to_string(),
                },
            },
        },
    })
}

/// Where Envoy Gateway serves modules (internal/wasm/httpserver.go).
fn served() -> &'static Upstream {
    static SERVED: OnceLock<Upstream> = OnceLock::new();
    SERVED.get_or_init(|| {
        let module = std::fs::read(module()).unwrap();
        Upstream::start_with(move |_| Reply::new(200).body(module.clone())).unwrap()
    })
}

/// The code as Envoy Gateway says it: Envoy itself fetches the module, from this cluster.
fn fetched() -> (Value, Value) {
    let stamp = exeat_stamp::read(&std::fs::read(module()).unwrap()).unwrap();
    let address = served().address();
    let code = json!({"remote": {
        "http_uri": {"uri": format!("http://{address}/exeat.wasm"), "cluster": "wasm_cluster", "timeout": "10s"},
        "sha256": stamp.file.trim_start_matches("sha256:"),
    }});
    let endpoint =
        json!({"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": address.port()}}}});
    let assignment = json!({"cluster_name": "wasm_cluster", "endpoints": [{"lb_endpoints": [endpoint]}]});
    (code, json!({"name": "wasm_cluster", "type": "STATIC", "load_assignment": assignment}))
}

/// The configuration of the filter's VM.
fn vm(listener: &mut Value) -> &mut Value {
    let manager = &mut listener["default_filter_chain"]["filters"][0]["typed_config"];
    let filters = manager["http_filters"].as_array_mut().unwrap();
    filters.iter_mut().find_map(|filter| filter.pointer_mut("/typed_config/config/vm_config")).unwrap()
}

fn listener(all: &[Value], places: &Places) -> Value {
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
            "suppress_envoy_headers": true,
        },
    });
    let filters: Vec<_> = of_kind(all, "EnvoyExtensionPolicy").map(filter).into_iter().chain([router]).collect();
    json!({
        "name": format!("tcp-{}", places.listener.port()),
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": places.listener.port()}},
        "per_connection_buffer_limit_bytes": 32_768,
        "default_filter_chain": {
            "name": format!("http-{}", places.listener.port()),
            "filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                    "stat_prefix": "http",
                    "use_remote_address": true,
                    "normalize_path": true,
                    "merge_slashes": true,
                    "path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT",
                    "common_http_protocol_options": {"headers_with_underscores_action": "REJECT_REQUEST"},
                    "http2_protocol_options": {"max_concurrent_streams": 100},
                    "rds": {"route_config_name": "http", "config_source": {"ads": {}}},
                    "http_filters": filters,
                },
            }],
        },
    })
}

/// Every patch must find what it changes (internal/xds/translator/jsonpatch.go).
fn apply(all: &[Value], listener: &mut Value) -> Vec<Value> {
    let mut clusters = Vec::new();
    for patch in of_kind(all, "EnvoyPatchPolicy").unwrap()["spec"]["jsonPatches"].as_array().unwrap() {
        let operation = &patch["operation"];
        match patch["type"].as_str().unwrap().rsplit_once('.').unwrap().1 {
            "Cluster" => {
                assert_eq!((&operation["op"], &operation["path"]), (&json!("add"), &json!("")));
                assert_eq!(patch["name"], operation["value"]["name"]);
                clusters.push(operation["value"].clone());
            }
            "Listener" => {
                assert_eq!(patch["name"], listener["name"]);
                let operations: json_patch::Patch = serde_json::from_value(json!([operation])).unwrap();
                json_patch::patch(listener, &operations).unwrap_or_else(|error| panic!("{error}: {operation}"));
            }
            other => panic!("{other}"),
        }
    }
    clusters
}

/// The guards' copy of the module comes with the pod.
fn mount(clusters: &mut [Value]) {
    let at = "/typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions/http_filters/0/typed_config/config/vm_config/code/local/filename";
    for file in clusters.iter_mut().filter_map(|cluster| cluster.pointer_mut(at)) {
        assert_eq!(*file, json!("/etc/exeat/module/plugin.wasm"));
        *file = json!(module());
    }
}

/// Listener and clusters, with the patches around the policy.
fn patched(gateway: &Gateway, places: &Places) -> anyhow::Result<(Value, Vec<Value>)> {
    let all = objects("envoy-gateway", gateway, places, &["--image", IMAGE])?;
    let mut listener = listener(&all, places);
    let mut clusters = apply(&all, &mut listener);
    mount(&mut clusters);
    Ok((listener, clusters))
}

fn around_policy(gateway: &Gateway, places: &Places) -> anyhow::Result<(String, String)> {
    let (listener, clusters) = patched(gateway, places)?;
    Ok(documents(&clusters, listener))
}

/// As it is there: the filter's module comes over the network, the guards' with the pod.
fn fetched_filter(gateway: &Gateway, places: &Places) -> anyhow::Result<(String, String)> {
    let (mut listener, mut clusters) = patched(gateway, places)?;
    let (code, cluster) = fetched();
    vm(&mut listener)["code"] = code;
    clusters.push(cluster);
    Ok(documents(&clusters, listener))
}

/// The filter's VM has a configuration of its own, which makes it another one.
fn configured_filter(gateway: &Gateway, places: &Places) -> anyhow::Result<(String, String)> {
    let (mut listener, clusters) = patched(gateway, places)?;
    vm(&mut listener)["configuration"] =
        json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "other"});
    Ok(documents(&clusters, listener))
}

fn whole(gateway: &Gateway, places: &Places) -> anyhow::Result<(String, String)> {
    let all = objects("envoy-gateway", gateway, places, &["--plugin", "patch-policy", "--module", &module()])?;
    assert!(of_kind(&all, "EnvoyExtensionPolicy").is_none());
    let mut listener = listener(&all, places);
    let clusters = apply(&all, &mut listener);
    Ok(documents(&clusters, listener))
}

fn holds_judges_and_guards(platform: exeat_e2e::scenario::real::Platform) {
    let mut real = start(platform);
    judges(&mut real);
    real.verify_settled(std::time::Duration::from_secs(60)).unwrap();
}

#[test]
fn an_extension_policy_with_patches_around_it_holds_judges_and_guards() {
    holds_judges_and_guards(around_policy);
}

/// Filter and guards are in two VMs, then: what is let go is handed over.
#[test]
fn a_filter_that_envoy_fetches_finds_its_guards() {
    holds_judges_and_guards(fetched_filter);
    assert!(!served().take().is_empty());
}

#[test]
fn a_filter_whose_vm_is_configured_otherwise_finds_its_guards() {
    holds_judges_and_guards(configured_filter);
}

#[test]
fn a_patch_policy_alone_holds_judges_and_guards() {
    holds_judges_and_guards(whole);
}

/// Whoever takes the patches away takes the ways out with them.
fn unpatched(gateway: &Gateway, places: &Places) -> anyhow::Result<(String, String)> {
    let all = objects("envoy-gateway", gateway, places, &["--image", IMAGE])?;
    let mut listener = listener(&all, places);
    let mut clusters = apply(&all, &mut listener.clone());
    mount(&mut clusters);
    // What Envoy Gateway makes of the route that is rendered: an answer of its own.
    let redirect = &of_kind(&all, "HTTPRoute").unwrap()["spec"]["rules"][0]["filters"][0]["requestRedirect"];
    let routes = json!([{"match": {"prefix": "/"}, "redirect": {"host_redirect": redirect["hostname"], "response_code": "FOUND"}}]);
    let manager = listener["default_filter_chain"]["filters"][0]["typed_config"].as_object_mut().unwrap();
    manager.remove("rds").unwrap();
    manager.insert(
        "route_config".to_owned(),
        json!({"name": "http", "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]}),
    );
    Ok(documents(&clusters, listener))
}

#[test]
fn without_the_patches_nothing_leaves() {
    let mut real = start(unpatched);
    assert_eq!(ask(&mut real, "GET", "/v1/orders/7", b""), (302, String::new(), 0));
}
