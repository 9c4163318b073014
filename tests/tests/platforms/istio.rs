//! Istio: patches are applied as its control plane does, to what it makes of the Gateway that is rendered with them.

use crate::scene::{documents, judges, module, objects, start, start_with};
use exeat_e2e::scenario::gateway::Gateway;
use exeat_e2e::scenario::real::Places;
use serde_json::{Value, json};

const MANAGER: &str = "envoy.filters.network.http_connection_manager";
const IMAGE: &str = "registry.example/exeat@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// What Istio makes of a Gateway: for bytes, a proxy to the host of the VirtualService, which nobody has.
pub(crate) fn listener(places: &Places, filter: &Value) -> Value {
    json!({
        "name": format!("0.0.0.0_{}", places.listener.port()),
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": places.listener.port()}},
        "traffic_direction": "OUTBOUND",
        "filter_chains": [{"filters": [filter]}],
    })
}

pub(crate) fn tcp_proxy(all: &[Value]) -> Value {
    let route = &of_kind(all, "VirtualService")["spec"]["tcp"][0];
    let (host, port) = (&route["route"][0]["destination"]["host"], &route["match"][0]["port"]);
    json!({
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "istio",
            "cluster": format!("outbound|{port}||{}", host.as_str().unwrap()),
        },
    })
}

pub(crate) fn of_kind<'a>(all: &'a [Value], kind: &str) -> &'a Value {
    all.iter().find(|object| object["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

/// As pilot/pkg/networking/core/envoyfilter does, for the operations that are rendered; any other is an error here.
pub(crate) fn apply(all: &[Value], places: &Places, listener: &mut Value) -> Vec<Value> {
    let mut clusters = Vec::new();
    for patch in of_kind(all, "EnvoyFilter")["spec"]["configPatches"].as_array().unwrap() {
        let (at, value) = (&patch["match"], patch["patch"]["value"].clone());
        assert_eq!(at["context"], "GATEWAY");
        let port = &at["listener"]["portNumber"];
        assert!(port.is_null() || *port == places.listener.port(), "{patch}");
        let filters = listener["filter_chains"][0]["filters"].as_array_mut().unwrap();
        let named = |filter: &Value| filter["name"] == at["listener"]["filterChain"]["filter"]["name"];
        let words = (patch["applyTo"].as_str().unwrap(), patch["patch"]["operation"].as_str().unwrap());
        match words {
            ("CLUSTER", "ADD") => clusters.push(value),
            ("LISTENER", "MERGE") => merge(listener, &value),
            ("NETWORK_FILTER", "REPLACE") => *filters.iter_mut().find(|filter| named(filter)).unwrap() = value,
            ("NETWORK_FILTER", "MERGE") => {
                let filter = filters.iter_mut().find(|filter| named(filter)).unwrap();
                // One of a `oneof` takes the place of another.
                filter["typed_config"].as_object_mut().unwrap().remove("rds");
                merge(filter, &value);
            }
            ("HTTP_FILTER", "INSERT_BEFORE") => {
                let filter = filters.iter_mut().find(|filter| named(filter)).unwrap();
                let all = filter["typed_config"]["http_filters"].as_array_mut().unwrap();
                let name = &at["listener"]["filterChain"]["filter"]["subFilter"]["name"];
                let before = all.iter().position(|filter| filter["name"] == *name).unwrap();
                all.insert(before, value);
            }
            other => panic!("{other:?}"),
        }
    }
    clusters
}

/// Messages are merged, lists added to, as protobuf does (pkg/proto/merge).
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(from)) => into.extend(from.iter().cloned()),
        // Protobuf takes what is false, or nothing, for what is not set.
        (into, from) if !into.is_null() && (*from == false || *from == 0 || *from == "") => {}
        (into, from) => *into = from.clone(),
    }
}

fn whole(gateway: &Gateway, places: &Places) -> anyhow::Result<(String, String)> {
    let all = objects("istio", gateway, places, &["--agents-outside-mesh", "--module", &module()])?;
    let mut listener = listener(places, &tcp_proxy(&all));
    let clusters = apply(&all, places, &mut listener);
    Ok(documents(&clusters, listener))
}

#[test]
fn an_envoy_filter_holds_judges_and_guards() {
    let mut real = start(whole);
    judges(&mut real);
    let records = real.wait_for_records("all decisions", |records| {
        records.iter().filter(|record| record["kind"] == "decision").count() == 5
    });
    let guards =
        records.unwrap().iter().filter(|record| record["guard"].is_object() || record["guard"].is_string()).count();
    assert!(guards >= 2, "{guards} completions say what the guard saw");
    real.verify_settled(std::time::Duration::from_secs(60)).unwrap();
}

/// Where nobody applied the patch, nothing leads anywhere.
fn bare(gateway: &Gateway, places: &Places) -> anyhow::Result<(String, String)> {
    let all = objects("istio", gateway, places, &["--agents-outside-mesh", "--module", &module()])?;
    let mut listener = listener(places, &tcp_proxy(&all));
    let clusters = apply(&all, places, &mut listener.clone());
    listener["name"] = json!("bare");
    Ok(documents(&clusters, listener))
}

#[test]
fn without_the_envoy_filter_connections_end() {
    use exeat_e2e::scenario::subject::Subject as _;
    let mut real = start(bare);
    let url = format!("http://crm.acme.example:{}/", real.upstream_port());
    let unsigned = exeat_cli::sign::UnsignedRequest::new("GET", &url).unwrap();
    let request = exeat_e2e::scenario::wire::WireRequest::new(&unsigned, &[]);
    assert!(real.send(&request).is_err());
    assert!(real.arrived().unwrap().is_empty());
}

/// As Istio makes it of a Gateway for HTTP, with the plugin in the chain.
fn plugin(gateway: &Gateway, places: &Places) -> anyhow::Result<(String, String)> {
    let all =
        objects("istio", gateway, places, &["--agents-outside-mesh", "--plugin", "wasmplugin", "--image", IMAGE])?;
    let spec = &of_kind(&all, "WasmPlugin")["spec"];
    let variables: Vec<_> = spec["vmConfig"]["env"].as_array().unwrap().iter().map(|env| &env["name"]).collect();
    let filter = json!({
        "name": "exeat.exeat-egress",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": "exeat.exeat-egress",
                "root_id": spec["pluginName"],
                "failure_policy": spec["failStrategy"],
                "vm_config": {
                    "runtime": "envoy.wasm.runtime.v8",
                    // Where its agent puts what it fetched.
                    "code": {"local": {"filename": module()}},
                    "environment_variables": {"host_env_keys": variables},
                },
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": spec["pluginConfig"].to_string(),
                },
            },
        },
    });
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
    });
    let manager = json!({
        "name": MANAGER,
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "outbound",
            "normalize_path": true,
            "upgrade_configs": [{"upgrade_type": "websocket"}],
            "rds": {"route_config_name": "http", "config_source": {"ads": {}}},
            "http_filters": [filter, router],
        },
    });
    let mut listener = listener(places, &manager);
    let mut clusters = apply(&all, places, &mut listener);
    // The guards' copy of the module comes with the pod.
    let mounted = clusters.iter_mut().filter_map(|cluster| {
        cluster.pointer_mut("/typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions/http_filters/0/typed_config/config/vm_config/code/local/filename")
    });
    for file in mounted {
        assert_eq!(*file, json!("/etc/exeat/module/plugin.wasm"));
        *file = json!(module());
    }
    Ok(documents(&clusters, listener))
}

#[test]
fn a_wasm_plugin_finds_its_guards() {
    let mut real = start_with(plugin, &[("  hold: true\n", "  hold: false\n")]);
    judges(&mut real);
    real.verify_settled(std::time::Duration::from_secs(60)).unwrap();
}
