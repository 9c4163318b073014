//! What is put into the Envoy that Istio configures, and where.

use crate::render::cluster::ClusterArgs;
use crate::render::cluster::delivery::Delivery;
use crate::render::cluster::names::Name;
use crate::render::common::Accepted;
use crate::render::envoy::bootstrap::{READ, Settings};
use serde_json::{Value, json};

/// The EnvoyFilter that brings everything, and how the policy gets there.
pub(super) fn whole(args: &ClusterArgs, accepted: &Accepted) -> anyhow::Result<(Value, Delivery)> {
    Delivery::choose(args, accepted, |settings| envoy_filter(args, whole_patches(args, settings)))
}

fn whole_patches(args: &ClusterArgs, settings: &Settings<'_>) -> Vec<Value> {
    let replaced = json!({
        "applyTo": "NETWORK_FILTER",
        "match": at_listener(args, json!({"filter": {"name": "envoy.filters.network.tcp_proxy"}})),
        "patch": {"operation": "REPLACE", "value": settings.manager()},
    });
    common(args, settings).into_iter().chain([replaced]).collect()
}

/// The WasmPlugin, and the EnvoyFilter with what it cannot bring: guarded ways out, routes that lead there only what was let go,
/// and a manager that leaves requests as they are.
pub(super) fn around_plugin(
    args: &ClusterArgs,
    accepted: &Accepted,
    pull_secret: Option<&Name>,
) -> anyhow::Result<Vec<Value>> {
    let Some(image) = &args.image else {
        anyhow::bail!("--plugin wasmplugin: Istio fetches the filter itself; name it by --image, not by --module");
    };
    if accepted.hold() != Some(false) {
        anyhow::bail!(
            "gateway.hold is true (it is unless hold: false says otherwise), and a WasmPlugin cannot hold the head of a request: those with a body would hang; use --plugin \
             envoyfilter, or write hold: false and have heads leave before their bodies are judged"
        );
    }
    let gateway = accepted.configuration.gateway();
    let names = std::iter::once(gateway.key_env()).chain(gateway.collector().token_env.as_deref());
    let mut spec = json!({
        "selector": {"matchLabels": args.labels()},
        "url": format!("oci://{image}"),
        "sha256": image.sha256(),
        "imagePullPolicy": "IfNotPresent",
        "pluginName": "exeat",
        // Before whatever Istio does itself.
        "phase": "AUTHN",
        "failStrategy": "FAIL_RELOAD",
        "vmConfig": {"env": names.map(|name| json!({"name": name, "valueFrom": "HOST"})).collect::<Vec<_>>()},
        "pluginConfig": accepted.plugin_document,
    });
    if let (Some(secret), Some(fields)) = (pull_secret, spec.as_object_mut()) {
        fields.insert("imagePullSecret".to_owned(), json!(secret));
    }
    let plugin = json!({
        "apiVersion": "extensions.istio.io/v1alpha1",
        "kind": "WasmPlugin",
        "metadata": args.metadata(args.name.as_str()),
        "spec": spec,
    });
    Delivery::must_fit(&plugin, "--plugin envoyfilter")?;
    let filter = args.with_settings(accepted, &accepted.plugin, None, |settings| {
        // Istio gives its plugins no id, and the guard must share theirs.
        let settings =
            Settings { vm_id: "", admin: settings.admin.clone(), collector: settings.collector.clone(), ..*settings };
        Ok(envoy_filter(args, patches_around_plugin(args, &settings)))
    })?;
    Ok(vec![plugin, filter])
}

fn patches_around_plugin(args: &ClusterArgs, settings: &Settings<'_>) -> Vec<Value> {
    let mut manager = settings.manager();
    let mut filters = Vec::new();
    if let Some(fields) = manager.get_mut("typed_config").and_then(Value::as_object_mut) {
        // Istio has put the filter there, and its own router.
        if let Some(Value::Array(all)) = fields.remove("http_filters") {
            let between = all.len().saturating_sub(1);
            filters = all.into_iter().take(between).skip(1).collect();
        }
        // A merge changes nothing to false: what is so by default stays, and what the mesh turned on, as paths that are brought
        // to a normal form before they are judged, stays too.
        fields.retain(|_, value| *value != false);
        // Istio has this one in every manager, and Envoy takes none twice.
        if let Some(Value::Array(upgrades)) = fields.get_mut("upgrade_configs") {
            upgrades.retain(|upgrade| upgrade.get("upgrade_type").and_then(Value::as_str) != Some("websocket"));
        }
    }
    let hcm = "envoy.filters.network.http_connection_manager";
    let merged = json!({
        "applyTo": "NETWORK_FILTER",
        "match": at_listener(args, json!({"filter": {"name": hcm}})),
        "patch": {"operation": "MERGE", "value": manager},
    });
    let inserted = filters.into_iter().map(|filter| {
        json!({
            "applyTo": "HTTP_FILTER",
            "match": at_listener(args, json!({"filter": {"name": hcm, "subFilter": {"name": "envoy.filters.http.router"}}})),
            "patch": {"operation": "INSERT_BEFORE", "value": filter},
        })
    });
    common(args, settings).into_iter().chain([merged]).chain(inserted).collect()
}

/// Ways out with their guards, the collector, and how much is read at a time.
fn common(args: &ClusterArgs, settings: &Settings<'_>) -> Vec<Value> {
    let cluster = |value| {
        json!({
            "applyTo": "CLUSTER",
            "match": {"context": "GATEWAY"},
            "patch": {"operation": "ADD", "value": value},
        })
    };
    let limits = json!({
        "applyTo": "LISTENER",
        "match": {"context": "GATEWAY", "listener": {"portNumber": args.port}},
        "patch": {"operation": "MERGE", "value": {"per_connection_buffer_limit_bytes": READ}},
    });
    settings.clusters().into_iter().map(cluster).chain([limits]).collect()
}

fn at_listener(args: &ClusterArgs, chain: Value) -> Value {
    json!({"context": "GATEWAY", "listener": {"portNumber": args.port, "filterChain": chain}})
}

fn envoy_filter(args: &ClusterArgs, patches: Vec<Value>) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": args.metadata(args.name.as_str()),
        "spec": {"workloadSelector": {"labels": args.labels()}, "configPatches": patches},
    })
}
