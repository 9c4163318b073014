//! The filter and its guards as platforms hand them to Envoy: a `google.protobuf.StringValue` with JSON, and nothing that only
//! Envoy's own configuration can say.

use exeat_e2e::scenario::gateway::Gateway;
use exeat_e2e::scenario::real::{Around, Edit, RealEnvoy};
use exeat_e2e::stage::artefacts;
use exeat_e2e::stage::upstream::{Reply, Upstream};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::path::Path;

const MANAGER: &str = "/resources/0/filter_chains/0/filters/0/typed_config";
const OPTIONS: &str =
    "/typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions/http_filters";
const ROUTE_SETTING: &str = "type.googleapis.com/envoy.config.route.v3.FilterConfig";

/// Who configures Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Platform {
    /// WasmPlugin: over ECDS, with no vm_id, named after namespace and resource.
    Istio,
    /// EnvoyExtensionPolicy: with a vm_id of its own and no root id, switched off but for the routes that it is meant for. The
    /// module lies where Envoy finds it.
    EnvoyGateway,
    /// The same, the module fetched by URL and digest.
    EnvoyGatewayFetching,
}

/// Those on which filter and guards share a VM.
pub(crate) const ALL: [Platform; 2] = [Platform::Istio, Platform::EnvoyGateway];

impl Platform {
    /// The VM as it is configured for filter and guards alike; `code` is where the module comes from.
    fn vm(self, code: &Value) -> Value {
        let vm = json!({
            "runtime": "envoy.wasm.runtime.v8",
            "code": code,
            "environment_variables": {"host_env_keys": ["EXEAT_GATEWAY_KEY"]},
        });
        match self {
            Self::Istio => vm,
            _ => with(vm, "vm_id", json!("envoyextensionpolicy/egress/exeat/wasm/0")),
        }
    }

    /// The plugin as it is configured with the text of `rendered`.
    fn plugin(self, rendered: &Value, code: &Value) -> Value {
        let text = rendered.pointer("/typed_config/config/configuration/value").unwrap().as_str().unwrap();
        // A `Struct` on its way to JSON has its keys sorted.
        let text = serde_json::from_str::<Value>(text).unwrap().to_string();
        let config = json!({
            "name": "egress.exeat",
            "vm_config": self.vm(code),
            "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": text},
        });
        let config = match self {
            Self::Istio => with(config, "root_id", json!("exeat")),
            _ => with(config, "fail_open", json!(false)),
        };
        json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm", "config": config})
    }

    /// The filter in the chain of an Envoy, in the place of the rendered one.
    fn filter(self, listener: &mut Value, discovery: &Path, code: &Value) {
        let place = format!("{MANAGER}/http_filters/0");
        let rendered = listener.pointer(&place).unwrap().clone();
        let plugin = self.plugin(&rendered, code);
        let filter = match self {
            Self::Istio => {
                let name = "extensions.istio.io/wasmplugin/egress.exeat";
                let resource = json!({
                    "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
                    "name": name,
                    "typed_config": plugin,
                });
                let unfinished = discovery.with_extension("new");
                std::fs::write(&unfinished, json!({"resources": [resource]}).to_string()).unwrap();
                std::fs::rename(unfinished, discovery).unwrap();
                json!({"name": name, "config_discovery": {
                    "config_source": {"resource_api_version": "V3", "path_config_source": {"path": discovery}},
                    "type_urls": ["type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"],
                }})
            }
            _ => {
                let name = "envoy.filters.http.wasm/envoyextensionpolicy/egress/exeat/wasm/0";
                let routes = format!("{MANAGER}/route_config/virtual_hosts/0/routes");
                for route in listener.pointer_mut(&routes).unwrap().as_array_mut().unwrap() {
                    route["typed_per_filter_config"] = json!({name: {"@type": ROUTE_SETTING, "config": {}}});
                }
                json!({"name": name, "disabled": true, "typed_config": plugin})
            }
        };
        *listener.pointer_mut(&place).unwrap() = filter;
    }

    /// The guards, as an EnvoyFilter or EnvoyPatchPolicy adds them: in the VM of the filter.
    fn guards(self, bootstrap: &mut Value) {
        let code = json!({"local": {"filename": artefacts::module().unwrap()}});
        for cluster in bootstrap.pointer_mut("/static_resources/clusters").unwrap().as_array_mut().unwrap() {
            for filter in cluster.pointer_mut(OPTIONS).and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(config) = filter.pointer_mut("/typed_config/config") {
                    config["vm_config"] = self.vm(&code);
                    config.as_object_mut().unwrap().remove("allow_on_headers_stop_iteration");
                }
            }
        }
    }

    /// An Envoy that this platform has configured, under a policy of tests/policies after replacing text in its documents.
    pub(crate) fn start(self, policy: &str, changes: &[(&str, &str)], workers: u32) -> Configured {
        let upstream = Upstream::start().unwrap();
        let gateway = Gateway::prepare_with(policy, upstream.address().port(), changes).unwrap();
        let bytes = std::fs::read(artefacts::module().unwrap()).unwrap();
        let sha256: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        // What Istio's agent or Envoy Gateway serves.
        let server = Upstream::start_with(move |_| Reply::new(200).body(bytes.clone())).unwrap();
        let code = match self {
            // Istio's agent has fetched it.
            Self::Istio | Self::EnvoyGateway => json!({"local": {"filename": artefacts::module().unwrap()}}),
            Self::EnvoyGatewayFetching => json!({"remote": {
                "http_uri": {"uri": "http://wasm.example/module", "cluster": "wasm_cluster", "timeout": "10s"},
                "sha256": sha256,
            }}),
        };
        let discovery = gateway.file("extension.json");
        let edit = Edit::new(move |listener: &mut Value| self.filter(listener, &discovery, &code));
        let around = Around { listener: Some(edit), ..Around::default() };
        let address = server.address();
        let real = RealEnvoy::start_amid(gateway, upstream, workers, around, |bootstrap| {
            self.guards(bootstrap);
            let endpoint = json!({"endpoint": {"address": {"socket_address":
                {"address": address.ip().to_string(), "port_value": address.port()}}}});
            let clusters = bootstrap.pointer_mut("/static_resources/clusters").unwrap().as_array_mut().unwrap();
            clusters.push(json!({
                "name": "wasm_cluster", "connect_timeout": "5s", "type": "STATIC",
                "load_assignment": {"cluster_name": "wasm_cluster", "endpoints": [{"lb_endpoints": [endpoint]}]},
            }));
        });
        Configured { real: real.unwrap(), server }
    }
}

/// An Envoy, and what else it needs.
pub(crate) struct Configured {
    pub(crate) real: RealEnvoy,
    /// Where the module comes from.
    pub(crate) server: Upstream,
}

fn with(mut value: Value, key: &str, member: Value) -> Value {
    value[key] = member;
    value
}
