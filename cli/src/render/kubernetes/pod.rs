//! What pods have in common: no privilege, no token of the cluster, files that are mounted.

use super::KubernetesArgs;
use exeat_engine::hex::hex;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Port of collector and relay.
pub(super) const COLLECTOR: u16 = 9470;

/// Where the authorities are mounted, in `ca.crt`.
pub(super) const CA: &str = "/etc/exeat/ca";

/// Where the collector's token is mounted, in `token`.
pub(super) const TOKEN: &str = "/etc/exeat/token";

/// Says which keys a pod has read: other ones are read by new pods.
pub(super) const KEYS_DIGEST: &str = "exeat/keys-sha256";

pub(super) fn digest(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// Where the gateways' public keys are mounted, in `keys.json`.
pub(super) const KEYS: &str = "/etc/exeat/keys";

/// Where stores are mounted.
pub(super) const DATA: &str = "/var/lib/exeat";

/// Users of pods; each owns what its pod writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum User {
    Gateway = 10_001,
    Collector = 10_002,
    Signer = 10_003,
    Runtime = 10_004,
    Agent = 10_005,
}

impl User {
    pub(super) fn id(self) -> u32 {
        self as u32
    }
}

/// Of a pod whose volumes this user reads.
pub(super) fn pod_security(user: User) -> Value {
    json!({
        "runAsNonRoot": true,
        "runAsUser": user.id(),
        "runAsGroup": user.id(),
        "fsGroup": user.id(),
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    })
}

/// Of every container.
pub(super) fn container_security() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
        "privileged": false,
        "readOnlyRootFilesystem": true,
    })
}

/// Of a container that is another user than its pod.
pub(super) fn security_as(user: User) -> Value {
    let mut security = container_security();
    if let Some(fields) = security.as_object_mut() {
        fields.insert("runAsUser".to_owned(), json!(user.id()));
        fields.insert("runAsGroup".to_owned(), json!(user.id()));
    }
    security
}

/// Processors are asked for and not bounded: a bound stops all workers at once, in the middle of requests.
pub(super) fn resources(cpu: &str, request: &str, limit: &str) -> Value {
    json!({"requests": {"cpu": cpu, "memory": request}, "limits": {"memory": limit}})
}

/// Words of a command as they are: the kubelet puts variables in place of `$(NAME)`, and takes `$$` for one `$`.
pub(super) fn words(command: &[String]) -> Value {
    command.iter().map(|word| word.replace('$', "$$")).collect()
}

/// A volume, and where a container has it.
pub(super) struct Mount {
    pub(super) volume: Value,
    pub(super) mount: Value,
}

impl Mount {
    fn new(name: &str, path: &str, kind: &str, source: Value) -> Self {
        Self {
            volume: json!({"name": name, kind: source}),
            mount: json!({"name": name, "mountPath": path, "readOnly": true}),
        }
    }

    /// Of a Secret: for the pod's group alone.
    pub(super) fn secret(name: &str, path: &str, secret: impl serde::Serialize) -> Self {
        // 0440: the cluster gives files of secrets to root and to fsGroup.
        Self::new(name, path, "secret", json!({"secretName": secret, "defaultMode": 0o440}))
    }

    /// Of a ConfigMap, whole: a single file of one would not follow its changes.
    pub(super) fn config_map(name: &str, path: &str, map: impl serde::Serialize) -> Self {
        Self::new(name, path, "configMap", json!({"name": map}))
    }

    /// Of an image.
    pub(super) fn image(name: &str, path: &str, image: impl serde::Serialize) -> Self {
        Self::new(name, path, "image", json!({"reference": image, "pullPolicy": "IfNotPresent"}))
    }
}

/// `volumes` of a pod and `volumeMounts` of its container.
pub(super) fn split(mounts: Vec<Mount>) -> (Vec<Value>, Vec<Value>) {
    mounts.into_iter().map(|mount| (mount.volume, mount.mount)).unzip()
}

/// A probe by a command, every so many seconds.
pub(super) fn probe(command: &[&str], period: u32, failures: u32) -> Value {
    json!({"exec": {"command": command}, "periodSeconds": period, "timeoutSeconds": 6, "failureThreshold": failures})
}

/// A disk that outlives its pod.
pub(super) fn claim(args: &KubernetesArgs, name: &str, size: &str) -> Value {
    let mut spec = json!({
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": size}},
        "volumeMode": "Filesystem",
    });
    if let (Some(class), Some(fields)) = (&args.storage_class, spec.as_object_mut()) {
        fields.insert("storageClassName".to_owned(), json!(class));
    }
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": spec,
        // As servers fill it in, the mode too: templates are compared whole, so that an apply would otherwise be a change each
        // time, and the first on the server after one without it a conflict.
        "status": {"phase": "Pending"},
    })
}

/// An account that may do nothing, and whose token nobody gets.
pub(super) fn account(metadata: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata, "automountServiceAccountToken": false})
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn words_are_what_the_program_gets() {
        let words = super::words(&["a$$b$(EXEAT)".to_owned(), "plain".to_owned()]);
        assert_eq!(words, json!(["a$$$$b$$(EXEAT)", "plain"]));
    }
}
