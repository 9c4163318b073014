//! The collector: one pod, one disk.

use super::KubernetesArgs;
use super::pod::{self, Mount, User};
use serde_json::{Value, json};

/// Ending of its name.
pub(super) const ENDING: &str = "collector";

/// Where its certificate is mounted.
const TLS: &str = "/etc/exeat/tls";

/// Account, pod and address.
pub(super) fn objects(args: &KubernetesArgs, keys: &str) -> Vec<Value> {
    let (name, labels) = (args.named(ENDING), args.labels(Some(ENDING)));
    let metadata = args.metadata(&name, Some(ENDING));
    let (volumes, mut mounts) = pod::split(vec![
        Mount::config_map("keys", pod::KEYS, args.named("keys")),
        Mount::secret("token", pod::TOKEN, &args.collector_token),
        Mount::secret("tls", TLS, &args.collector_tls),
    ]);
    mounts.push(json!({"name": "evidence", "mountPath": pod::DATA}));
    let stateful_set = json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata,
        "spec": {
            // One store, one writer.
            "replicas": 1,
            "serviceName": name,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": {pod::KEYS_DIGEST: pod::digest(keys)}},
                "spec": {
                    "serviceAccountName": name,
                    "automountServiceAccountToken": false,
                    "enableServiceLinks": false,
                    "terminationGracePeriodSeconds": 30,
                    "securityContext": pod::pod_security(User::Collector),
                    "containers": [container(args, mounts)],
                    "volumes": volumes,
                },
            },
            "volumeClaimTemplates": [pod::claim(args, "evidence", &args.collector_disk)],
        },
    });
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "selector": labels,
            "ports": [{"name": "evidence", "port": pod::COLLECTOR, "targetPort": "evidence", "protocol": "TCP", "appProtocol": "https"}],
        },
    });
    vec![pod::account(&metadata), stateful_set, service]
}

fn container(args: &KubernetesArgs, mounts: Vec<Value>) -> Value {
    let mut command = vec![
        "exeat".to_owned(),
        "collect".to_owned(),
        "--listen".to_owned(),
        args.everywhere(pod::COLLECTOR).to_string(),
        "--db".to_owned(),
        format!("{}/evidence.db", pod::DATA),
        "--keys".to_owned(),
        format!("{}/keys.json", pod::KEYS),
        "--tls-cert".to_owned(),
        format!("{TLS}/tls.crt"),
        "--tls-key".to_owned(),
        format!("{TLS}/tls.key"),
        "--token".to_owned(),
        format!("{}/token", pod::TOKEN),
    ];
    command.extend(args.keep.iter().flat_map(|keep| ["--keep".to_owned(), keep.clone()]));
    let health = json!({"path": "/healthz", "port": "evidence", "scheme": "HTTPS"});
    json!({
        "name": "collector",
        "image": args.cli_image,
        "command": command,
        "ports": [{"name": "evidence", "containerPort": pod::COLLECTOR, "protocol": "TCP"}],
        // A large store takes its time to open.
        "startupProbe": {"httpGet": health, "periodSeconds": 2, "failureThreshold": 150},
        "readinessProbe": {"httpGet": health, "periodSeconds": 5},
        "livenessProbe": {"httpGet": health, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
        "resources": pod::resources("100m", "128Mi", "512Mi"),
        "securityContext": pod::container_security(),
        "volumeMounts": mounts,
    })
}
