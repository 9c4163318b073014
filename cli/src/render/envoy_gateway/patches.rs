//! What is put into the Envoy that Envoy Gateway configures, and where.
//!
//! Names are those of its scheme 2, the default since 1.5. A patch that finds nothing is reported in the status of the
//! EnvoyPatchPolicy, and nothing leads out then.

use super::EnvoyGatewayArgs;
use crate::render::cluster::ClusterArgs;
use crate::render::cluster::delivery::Delivery;
use crate::render::common::Accepted;
use crate::render::envoy::bootstrap::{READ, Settings};
use serde_json::{Value, json};

const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";

/// Filters of the one chain there is.
const FILTERS: &str = "/default_filter_chain/filters";

/// The policy that brings everything, and how Exeat's own gets there.
pub(super) fn whole(args: &ClusterArgs, accepted: &Accepted) -> anyhow::Result<(Value, Delivery)> {
    let patches = |settings: &Settings<'_>| {
        let replaced = patch(LISTENER, &listener(args), "replace", FILTERS, json!([settings.manager()]));
        policy(args, ways_out(args, settings).into_iter().chain([replaced]).collect())
    };
    Delivery::choose(args, accepted, patches)
}

/// The EnvoyExtensionPolicy, a route that it can be attached to, and the patches with what it cannot bring.
pub(super) fn around_policy(args: &EnvoyGatewayArgs, accepted: &Accepted) -> anyhow::Result<Vec<Value>> {
    let cluster = &args.cluster;
    let (name, namespace) = (&cluster.name, &cluster.namespace);
    let Some(image) = &cluster.image else {
        anyhow::bail!(
            "--plugin extension-policy: Envoy Gateway fetches the filter itself; name it by --image, or use --plugin patch-policy"
        );
    };
    let mut source = json!({"url": image, "sha256": image.sha256()});
    if let (Some(secret), Some(fields)) = (&args.pull_secret, source.as_object_mut()) {
        fields.insert("pullSecretRef".to_owned(), json!({"group": "", "kind": "Secret", "name": secret}));
    }
    let gateway = accepted.configuration.gateway();
    let variables: Vec<_> =
        std::iter::once(gateway.key_env()).chain(gateway.collector().token_env.as_deref()).collect();
    let to_gateway = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name});
    let extension = json!({
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "EnvoyExtensionPolicy",
        "metadata": cluster.metadata(name.as_str()),
        "spec": {
            "targetRefs": [to_gateway],
            "wasm": [{
                "name": "exeat",
                "rootID": "exeat",
                "code": {"type": "Image", "image": source},
                "config": accepted.plugin_document,
                "env": {"hostKeys": variables},
                "failOpen": false,
            }],
        },
    });
    Delivery::must_fit(&extension, "--plugin patch-policy")?;
    let redirect =
        json!({"type": "RequestRedirect", "requestRedirect": {"hostname": "nowhere.invalid", "statusCode": 302}});
    let route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": cluster.metadata(name.as_str()),
        "spec": {
            "parentRefs": [{"name": name}],
            // Envoy Gateway puts filters only where a route is. This one is never taken: the patches bring their own.
            "rules": [{"filters": [redirect]}],
        },
    });
    // The id that Envoy Gateway gives to the VM of this policy.
    let vm_id = format!("envoyextensionpolicy/{namespace}/{name}/wasm/0");
    let patches = cluster.with_settings(accepted, &accepted.plugin, None, |settings| {
        let (admin, collector) = (settings.admin.clone(), settings.collector.clone());
        let settings = Settings { vm_id: &vm_id, admin, collector, ..*settings };
        Ok(policy(cluster, around_filter(cluster, &settings, accepted.hold() != Some(false))))
    })?;
    Ok(vec![route, extension, patches])
}

fn around_filter(args: &ClusterArgs, settings: &Settings<'_>, hold: bool) -> Vec<Value> {
    let name = listener(args);
    let (manager, filters) = (format!("{FILTERS}/0/typed_config"), format!("{FILTERS}/0/typed_config/http_filters"));
    let at_listener = |op, path: String, value| patch(LISTENER, &name, op, &path, value);
    let mut patches = ways_out(args, settings);
    let mut own = settings.manager();
    let fields = own.get_mut("typed_config").and_then(Value::as_object_mut);
    for (key, mut value) in fields.map(std::mem::take).unwrap_or_default() {
        match key.as_str() {
            "@type" => {}
            // The first is there already, and so is a router.
            "http_filters" => {
                let all = value.as_array().map(Vec::as_slice).unwrap_or_default();
                let between = all.get(1..all.len().saturating_sub(1)).unwrap_or_default();
                let insert = |(i, filter): (usize, &Value)| {
                    at_listener("add", format!("{filters}/{}", i.saturating_add(1)), filter.clone())
                };
                patches.extend(between.iter().enumerate().map(insert));
            }
            "route_config" => {
                enable(&mut value, &format!("envoy.filters.http.wasm/{}", settings.vm_id));
                patches.push(remove(&name, &format!("{manager}/rds")));
                patches.push(at_listener("add", format!("{manager}/{key}"), value));
            }
            _ => patches.push(at_listener("add", format!("{manager}/{key}"), value)),
        }
    }
    let plugin = format!("{filters}/0/typed_config/config");
    if hold {
        // Without it the head could only go on before the body is judged.
        patches.push(at_listener("add", format!("{plugin}/allow_on_headers_stop_iteration"), json!(true)));
    }
    // A VM that died is built again on a later request; until then requests are refused.
    patches.push(at_listener("add", format!("{plugin}/failure_policy"), json!("FAIL_RELOAD")));
    patches
}

/// Envoy Gateway has its filters off but for routes that turn them on.
fn enable(routes: &mut Value, filter: &str) {
    let hosts = routes.get_mut("virtual_hosts").and_then(Value::as_array_mut);
    let on = json!({"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {}});
    for fields in hosts.into_iter().flatten().filter_map(Value::as_object_mut) {
        fields.insert("typed_per_filter_config".to_owned(), json!({filter: on}));
    }
}

/// Clusters with their guards, and how much is read at a time.
fn ways_out(args: &ClusterArgs, settings: &Settings<'_>) -> Vec<Value> {
    let cluster = |value: Value| {
        let name = value.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        json!({"type": CLUSTER, "name": name, "operation": {"op": "add", "path": "", "value": value}})
    };
    let limit = patch(LISTENER, &listener(args), "add", "/per_connection_buffer_limit_bytes", json!(READ));
    settings.clusters().into_iter().map(cluster).chain([limit]).collect()
}

fn listener(args: &ClusterArgs) -> String {
    format!("tcp-{}", args.port)
}

fn patch(of: &str, name: &str, op: &str, path: &str, value: Value) -> Value {
    json!({"type": of, "name": name, "operation": {"op": op, "path": path, "value": value}})
}

fn remove(name: &str, path: &str) -> Value {
    json!({"type": LISTENER, "name": name, "operation": {"op": "remove", "path": path}})
}

fn policy(args: &ClusterArgs, patches: Vec<Value>) -> Value {
    json!({
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "EnvoyPatchPolicy",
        "metadata": args.metadata(args.name.as_str()),
        "spec": {
            "targetRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": args.name},
            "type": "JSONPatch",
            "jsonPatches": patches,
        },
    })
}
