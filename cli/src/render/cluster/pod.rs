//! What the gateway's pod has besides its proxy: variables out of a Secret, and files out of volumes.

use super::ClusterArgs;
use super::delivery::Delivery;
use super::names::Namespace;
use crate::render::common::Accepted;
use exeat_engine::policy::Configuration;
use serde_json::{Value, json};

/// Where the filter is mounted.
pub const MODULE: &str = "/etc/exeat/module";

/// Its name there: Istio and Envoy Gateway look for the same in an image.
pub const MODULE_FILE: &str = "plugin.wasm";

/// Where a policy is mounted that is too large to stand in the gateway's configuration.
pub const POLICY: &str = "/etc/exeat/policy";

/// Its name there.
pub const POLICY_FILE: &str = "filter.json";

/// Where the collector's certificate authorities are mounted.
pub const COLLECTOR_CA: &str = "/etc/exeat/collector-ca";

/// Where the certificate is mounted that is shown to the collector.
pub const COLLECTOR_CERT: &str = "/etc/exeat/collector-cert";

/// Where the values of headers are mounted that the gateway adds.
pub const CREDENTIALS: &str = "/etc/exeat/credentials";

/// Where files are mounted that say so to Envoy.
pub const CREDENTIAL_SOURCES: &str = "/etc/exeat/credential-sources";

/// A volume and where it is mounted.
struct Mount {
    name: &'static str,
    path: &'static str,
    source: (&'static str, Value),
}

/// Volumes of the pod, and mounts of its proxy.
pub fn volumes(args: &ClusterArgs, accepted: &Accepted, delivery: &Delivery) -> (Vec<Value>, Vec<Value>) {
    let image =
        |reference: &super::names::Image| ("image", json!({"reference": reference, "pullPolicy": "IfNotPresent"}));
    let module =
        args.image.as_ref().map(|reference| Mount { name: "exeat-module", path: MODULE, source: image(reference) });
    let policy = match delivery {
        Delivery::Inline => None,
        Delivery::ConfigMap { .. } => Some(("configMap", json!({"name": delivery.config_map(args)}))),
        Delivery::Image { .. } => args.policy_image.as_ref().map(image),
    };
    let policy = policy.map(|source| Mount { name: "exeat-policy", path: POLICY, source });
    let ca = args.collector_ca.as_ref().map(|name| Mount {
        name: "exeat-collector-ca",
        path: COLLECTOR_CA,
        source: ("configMap", json!({"name": name})),
    });
    let certificate = args.collector_cert.as_ref().map(|name| Mount {
        name: "exeat-collector-cert",
        path: COLLECTOR_CERT,
        source: ("secret", json!({"secretName": name})),
    });
    let injects = accepted.configuration.policy().injected().next().is_some();
    let credentials = args.credentials.as_ref().filter(|_| injects);
    let values = credentials.map(|name| Mount {
        name: "exeat-credentials",
        path: CREDENTIALS,
        source: ("secret", json!({"secretName": name})),
    });
    let sources = credentials.map(|_| Mount {
        name: "exeat-credential-sources",
        path: CREDENTIAL_SOURCES,
        source: ("configMap", json!({"name": sources_name(args)})),
    });
    let mounts: Vec<Mount> = [module, policy, ca, certificate, values, sources].into_iter().flatten().collect();
    let volume = |mount: &Mount| {
        let (kind, source) = &mount.source;
        json!({"name": mount.name, *kind: source})
    };
    let mounted = |mount: &Mount| json!({"name": mount.name, "mountPath": mount.path, "readOnly": true});
    (mounts.iter().map(volume).collect(), mounts.iter().map(mounted).collect())
}

fn sources_name(args: &ClusterArgs) -> String {
    format!("{}-credentials", args.name)
}

/// The files that say to Envoy where the values are, where the policy has any.
///
/// # Errors
/// As [`ClusterArgs::with_settings`].
pub fn credential_sources(
    args: &ClusterArgs,
    accepted: &Accepted,
    namespace: &Namespace,
) -> anyhow::Result<Option<Value>> {
    let files = args.with_settings(accepted, &accepted.plugin, None, |settings| Ok(settings.secret_sources()))?;
    Ok((!files.is_empty()).then(|| {
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": sources_name(args), "namespace": namespace, "labels": args.labels()},
            "data": files,
        })
    }))
}

/// Variables that the module reads, each out of the Secret under its own name.
pub fn variables(args: &ClusterArgs, configuration: &Configuration) -> Vec<Value> {
    let gateway = configuration.gateway();
    let names = std::iter::once(gateway.key_env()).chain(gateway.collector().token_env.as_deref());
    names.map(|name| json!({"name": name, "valueFrom": {"secretKeyRef": {"name": args.secret, "key": name}}})).collect()
}
