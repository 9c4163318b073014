//! The gateway: Envoy, and the relay beside it.

use super::KubernetesArgs;
use super::pod::{self, Mount, User};
use crate::render::common::Accepted;
use serde_json::{Value, json};

/// Where the listener is mounted, which Envoy reads again whenever it changes.
pub(super) const LISTENER: &str = "/etc/exeat/listener";

/// Its name there.
pub(super) const LISTENER_FILE: &str = "listener.yaml";

/// Where the bootstrap is mounted.
const BOOTSTRAP: &str = "/etc/exeat/bootstrap";

/// Where the image of the filter is mounted.
const MODULE: &str = "/etc/exeat/module";

/// The filter in it, as Istio and Envoy Gateway look for it.
pub(super) const MODULE_FILE: &str = "/etc/exeat/module/plugin.wasm";

/// Where the certificate of the listener is mounted.
pub(super) const TLS: &str = "/etc/exeat/tls";

/// Where secrets are mounted that are put into requests.
pub(super) const SECRETS: &str = "/etc/exeat/secrets";

/// Port of the administration, on the pod's loopback: the relay is the only other process there.
pub(super) const ADMIN: u16 = 15_000;

/// Port of metrics.
pub(super) const METRICS: u16 = 15_090;

/// Seconds in which connections that are open may end.
const DRAIN: u32 = 10;

/// Takes traffic away before Envoy is told to end, for it ends at once, and leaves time for the last records. Bash is in Envoy's
/// image, a client is not.
const LEAVE: &str = r#"exec 3<>/dev/tcp/127.0.0.1/15000 && printf 'POST /drain_listeners?graceful HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\nconnection: close\r\n\r\n' >&3 && cat <&3 && sleep 15"#;

/// Configuration, pods, and their address.
pub(super) fn objects(
    args: &KubernetesArgs,
    accepted: &Accepted,
    bootstrap: &str,
    listener: &str,
    keys: &str,
) -> Vec<Value> {
    let map = |ending: &str, file: &str, text: &str| map(args, ending, file, text);
    let metadata = args.metadata(args.name.as_str(), None);
    let mut objects = vec![map("keys", "keys.json", keys), map("bootstrap", "envoy.yaml", bootstrap)];
    if args.policy_image.is_none() {
        objects.push(map("listener", LISTENER_FILE, listener));
    }
    objects.extend([
        pod::account(&metadata),
        stateful_set(args, accepted, [bootstrap, keys]),
        service(args),
        headless(args),
    ]);
    objects.push(json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata,
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": args.labels(None)}},
    }));
    objects
}

/// A ConfigMap with one file.
pub(super) fn map(args: &KubernetesArgs, ending: &str, file: &str, text: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": args.metadata(&args.named(ending), None),
        "data": {file: text},
    })
}

fn stateful_set(args: &KubernetesArgs, accepted: &Accepted, [bootstrap, keys]: [&str; 2]) -> Value {
    let digest = pod::digest(bootstrap);
    let (volumes, mounts) = pod::split(mounts(args));
    let (more, relay_mounts) = pod::split(vec![
        Mount::config_map("keys", pod::KEYS, args.named("keys")),
        Mount::secret("collector-token", pod::TOKEN, &args.collector_token),
    ]);
    let labels = args.labels(None);
    json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": args.metadata(args.name.as_str(), None),
        "spec": {
            "replicas": args.replicas,
            "serviceName": args.named("pods"),
            // No gateway waits for another.
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "RollingUpdate"},
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": {"exeat/bootstrap-sha256": digest, pod::KEYS_DIGEST: pod::digest(keys)}},
                "spec": {
                    "serviceAccountName": args.name,
                    "automountServiceAccountToken": false,
                    "enableServiceLinks": false,
                    "terminationGracePeriodSeconds": DRAIN + 20,
                    "securityContext": pod::pod_security(User::Gateway),
                    "topologySpreadConstraints": [{
                        "maxSkew": 1,
                        "topologyKey": "kubernetes.io/hostname",
                        "whenUnsatisfiable": "ScheduleAnyway",
                        "labelSelector": {"matchLabels": labels},
                    }],
                    // It begins before Envoy and ends after it, so that the last batch has somewhere to go.
                    "initContainers": [relay(args, relay_mounts)],
                    "containers": [envoy(args, accepted, mounts)],
                    "volumes": volumes.into_iter().chain(more).collect::<Vec<_>>(),
                },
            },
            "volumeClaimTemplates": [pod::claim(args, "relay", &args.relay_disk)],
        },
    })
}

fn mounts(args: &KubernetesArgs) -> Vec<Mount> {
    let listener = match &args.policy_image {
        Some(image) => Mount::image("listener", LISTENER, image),
        None => Mount::config_map("listener", LISTENER, args.named("listener")),
    };
    let mut mounts = vec![
        Mount::config_map("bootstrap", BOOTSTRAP, args.named("bootstrap")),
        listener,
        Mount::image("module", MODULE, &args.image),
        Mount::secret("tls", TLS, &args.tls_secret),
        Mount::config_map("ca", pod::CA, &args.ca_map),
    ];
    mounts.extend(args.secrets.as_ref().map(|secret| Mount::secret("secrets", SECRETS, secret)));
    mounts
}

fn envoy(args: &KubernetesArgs, accepted: &Accepted, mounts: Vec<Value>) -> Value {
    let gateway = accepted.configuration.gateway();
    let names = std::iter::once(gateway.key_env()).chain(gateway.collector().token_env.as_deref());
    let variables: Vec<Value> = names
        .map(|name| json!({"name": name, "valueFrom": {"secretKeyRef": {"name": args.secret, "key": name}}}))
        .collect();
    json!({
        "name": "envoy",
        "image": args.envoy_image,
        "command": [
            "envoy", "-c", format!("{BOOTSTRAP}/envoy.yaml"), "--concurrency", args.workers.to_string(), "--log-level", "warning",
            // What the module says of its configuration and of evidence.
            "--component-log-level", "wasm:info",
            // Needs shared memory, and is of no use in a pod.
            "--disable-hot-restart", "--drain-time-s", DRAIN.to_string(), "--drain-strategy", "immediate",
        ],
        "env": variables,
        "ports": [
            {"name": "egress", "containerPort": args.port, "protocol": "TCP"},
            {"name": "metrics", "containerPort": METRICS, "protocol": "TCP"},
        ],
        // An Envoy whose policy was refused at its start runs, and does not listen.
        "readinessProbe": {"tcpSocket": {"port": "egress"}, "periodSeconds": 5, "failureThreshold": 2},
        "startupProbe": {"httpGet": {"path": "/ready", "port": "metrics"}, "periodSeconds": 2, "failureThreshold": 60},
        "livenessProbe": {"tcpSocket": {"port": "metrics"}, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
        "lifecycle": {"preStop": {"exec": {"command": ["bash", "-c", LEAVE]}}},
        "resources": pod::resources("500m", request(&args.memory), &args.memory),
        "securityContext": pod::container_security(),
        "volumeMounts": mounts,
    })
}

/// Memory that is asked for: never more than there may be.
fn request(memory: &str) -> &str {
    match super::heap(memory) {
        Ok(half) if half < 256 << 20 => memory,
        _ => "512Mi",
    }
}

fn relay(args: &KubernetesArgs, mut mounts: Vec<Value>) -> Value {
    let listen = format!("127.0.0.1:{}", pod::COLLECTOR);
    mounts.push(json!({"name": "ca", "mountPath": pod::CA, "readOnly": true}));
    mounts.push(json!({"name": "relay", "mountPath": pod::DATA}));
    json!({
        "name": "relay",
        "image": args.cli_image,
        "restartPolicy": "Always",
        "command": [
            "exeat", "collect", "--listen", listen, "--db", format!("{}/relay.db", pod::DATA),
            "--keys", format!("{}/keys.json", pod::KEYS),
            "--forward", format!("https://{}:{}", args.host(&args.named("collector")), pod::COLLECTOR),
            "--forward-ca", format!("{}/ca.crt", pod::CA), "--forward-token", format!("{}/token", pod::TOKEN),
        ],
        "startupProbe": pod::probe(&["exeat", "probe", &listen], 2, 60),
        "livenessProbe": pod::probe(&["exeat", "probe", &listen], 10, 6),
        "resources": pod::resources("50m", "64Mi", "256Mi"),
        "securityContext": pod::container_security(),
        "volumeMounts": mounts,
    })
}

fn service(args: &KubernetesArgs) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": args.metadata(args.name.as_str(), None),
        "spec": {
            "type": "ClusterIP",
            "clusterIP": args.address.to_string(),
            "selector": args.labels(None),
            // A signer stays with one gateway, so that budgets and nonces of its sessions are counted in one place.
            "sessionAffinity": "ClientIP",
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86_400}},
            "ports": [{"name": "egress", "port": args.port, "targetPort": "egress", "protocol": "TCP", "appProtocol": "https"}],
        },
    })
}

/// Each pod by its own address: for Prometheus.
fn headless(args: &KubernetesArgs) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": args.metadata(&args.named("pods"), None),
        "spec": {
            "clusterIP": "None",
            "selector": args.labels(None),
            "ports": [{"name": "metrics", "port": METRICS, "targetPort": "metrics", "protocol": "TCP"}],
        },
    })
}
