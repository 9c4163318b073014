//! Agents: a pod whose signer stands between the agent and the gateway.
//!
//! Three users. The signer has the key; the runtime, which the platform trusts, opens sessions on the signer's control socket and
//! tells the agent its proxy; the agent has neither key nor socket. They share the pod's loopback, and nothing else but what the
//! runtime writes for the agent.

use super::KubernetesArgs;
use super::pod::{self, Mount, User};
use crate::render::cluster::APP;
use crate::render::cluster::names::{Image, Name, Namespace};
use crate::render::common::Accepted;
use clap::Args;
use serde_json::{Value, json};

/// Ending of their name.
const ENDING: &str = "agent";

/// Where the control socket is, and in the signer's folder whatever it puts beside.
const RUN: &str = "/run/exeat";

/// The signer's folder in the volume.
const FOLDER: &str = "signer";

/// Where that volume is mounted to make the folder.
const VOLUME: &str = "/run/volume";

/// Where the signing key is mounted.
const KEY: &str = "/etc/exeat/key";

/// Where the certificate is mounted that the signer shows to the gateway.
const TLS: &str = "/etc/exeat/tls";

/// Where bodies wait that are too large for memory.
const SPOOL: &str = "/var/spool/exeat";

/// What the runtime tells the agent: its proxy and the certificate to trust.
const SESSION: &str = "/run/session";

/// Arguments of agents.
#[derive(Debug, Args)]
#[command(next_help_heading = "Agents")]
pub(super) struct AgentArgs {
    /// A namespace of agents, whose only way out becomes the gateway; repeat it for more. The agent is in the first.
    #[arg(long, value_name = "NAMESPACE", required = true)]
    agents: Vec<Namespace>,
    /// The image of the agent, by digest. Without it no agent is rendered.
    #[arg(long, value_name = "IMAGE@sha256:HEX", requires_all = ["runtime_image", "keyid"])]
    agent_image: Option<Image>,
    /// The image of what opens its sessions, by digest. It needs the command `mkdir`.
    #[arg(long, value_name = "IMAGE@sha256:HEX", requires = "agent_image")]
    runtime_image: Option<Image>,
    /// Id of the signing key, as the policy has it; the key file says it itself (`exeat key new --keyid`).
    #[arg(long, value_name = "ID", requires = "agent_image")]
    keyid: Option<String>,
    /// The Secret whose `signer.key` is the signing key.
    #[arg(long, value_name = "SECRET", default_value = "exeat-signer")]
    signer_secret: Name,
    /// The Secret of type kubernetes.io/tls that the signer shows to the gateway.
    #[arg(long, value_name = "SECRET", default_value = "exeat-signer-tls")]
    signer_tls: Name,
}

impl AgentArgs {
    /// Where agents are.
    pub(super) fn namespaces(&self) -> impl Iterator<Item = &Namespace> {
        self.agents.iter()
    }

    /// The signer is rendered for a key that gateways know. Its command names none, so that the key can change while it runs.
    pub(super) fn check(&self, accepted: &Accepted) -> anyhow::Result<()> {
        self.keyid.iter().try_for_each(|keyid| accepted.knows(keyid))
    }
}

/// Account and pod.
pub(super) fn objects(args: &KubernetesArgs, accepted: &Accepted) -> Vec<Value> {
    let agents = &args.agents;
    let (Some(agent), Some(runtime), Some(namespace)) =
        (&agents.agent_image, &agents.runtime_image, agents.agents.first())
    else {
        return Vec::new();
    };
    let name = args.named(ENDING);
    let labels = json!({APP: name});
    let metadata = json!({"name": name, "namespace": namespace, "labels": labels});
    let (volumes, mut mounts) = pod::split(vec![
        Mount::secret("key", KEY, &agents.signer_secret),
        Mount::secret("tls", TLS, &agents.signer_tls),
        Mount::config_map("ca", pod::CA, &args.ca_map),
    ]);
    mounts.push(json!({"name": "run", "mountPath": RUN, "subPath": FOLDER}));
    mounts.push(json!({"name": "spool", "mountPath": SPOOL}));
    let empty = [
        json!({"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}}),
        json!({"name": "spool", "emptyDir": {"sizeLimit": "1280Mi"}}),
        json!({"name": "session", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}),
    ];
    let id = accepted.configuration.gateway().id();
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "serviceAccountName": name,
                    "automountServiceAccountToken": false,
                    "enableServiceLinks": false,
                    "terminationGracePeriodSeconds": 40,
                    "securityContext": pod::pod_security(User::Signer),
                    // Names are a way out. The one that the signer needs stands in /etc/hosts.
                    "dnsPolicy": "None",
                    "dnsConfig": {"nameservers": ["127.0.0.1"]},
                    "hostAliases": [{"ip": args.address.to_string(), "hostnames": [args.host(args.name.as_str())]}],
                    "initContainers": [folder(runtime), signer(args, id, mounts)],
                    "containers": [
                        own("runtime", runtime, User::Runtime, vec![
                            json!({"name": "run", "mountPath": RUN, "subPath": FOLDER, "readOnly": true}),
                            json!({"name": "session", "mountPath": SESSION}),
                        ]),
                        own("agent", agent, User::Agent, vec![
                            json!({"name": "session", "mountPath": SESSION, "readOnly": true}),
                        ]),
                    ],
                    "volumes": volumes.into_iter().chain(empty).collect::<Vec<_>>(),
                },
            },
        },
    });
    vec![pod::account(&metadata), deployment]
}

/// The signer takes no folder that others could write in, and everybody may write in an empty volume. So it gets one of its own
/// in it, made by its own user.
fn folder(image: &Image) -> Value {
    json!({
        "name": "folder",
        "image": image,
        // A pod that is set up anew may have it already.
        "command": ["mkdir", "-p", "-m", "0755", format!("{VOLUME}/{FOLDER}")],
        "resources": pod::resources("10m", "16Mi", "64Mi"),
        "securityContext": pod::container_security(),
        "volumeMounts": [{"name": "run", "mountPath": VOLUME}],
    })
}

fn signer(args: &KubernetesArgs, gateway: &str, mounts: Vec<Value>) -> Value {
    let control = format!("unix:{RUN}/control.sock");
    let users = [User::Signer, User::Runtime].map(|user| user.id().to_string());
    let mut command: Vec<String> = [
        "exeat",
        "signer",
        "--key",
        &format!("{KEY}/signer.key"),
        "--gateway",
        &format!("https://{}:{}", args.host(args.name.as_str()), args.port),
        "--gateway-id",
        gateway,
        "--gateway-ca",
        &format!("{}/ca.crt", pod::CA),
        "--client-cert",
        &format!("{TLS}/tls.crt"),
        "--client-key",
        &format!("{TLS}/tls.key"),
        "--runtime-dir",
        RUN,
        "--spool-dir",
        SPOOL,
    ]
    .map(str::to_owned)
    .to_vec();
    // Its own user too: the probe asks as that.
    command.extend(users.iter().flat_map(|user| ["--orchestrator-uid".to_owned(), user.clone()]));
    let asks = ["exeat", "probe", control.as_str()];
    json!({
        "name": "signer",
        "image": args.cli_image,
        "restartPolicy": "Always",
        "command": pod::words(&command),
        "startupProbe": pod::probe(&asks, 2, 60),
        "livenessProbe": pod::probe(&asks, 10, 6),
        "resources": pod::resources("100m", "64Mi", "256Mi"),
        "securityContext": pod::container_security(),
        "volumeMounts": mounts,
    })
}

/// Containers of whoever runs agents.
fn own(name: &str, image: &Image, user: User, mounts: Vec<Value>) -> Value {
    json!({
        "name": name,
        "image": image,
        "resources": pod::resources("250m", "256Mi", "1Gi"),
        "securityContext": pod::security_as(user),
        "volumeMounts": mounts,
    })
}
