//! What is rendered for Istio, and what is refused.

use crate::kubernetes::{Definitions, documents};
use serde_json::{Value, json};
use std::process::{Command, Output};

/// Arguments that name an image and a collector; `registry.example` is nobody's.
pub(crate) const IMAGE: &str =
    "registry.example/exeat@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

pub(crate) fn run(platform: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_exeat"));
    command.args(["render", platform]).args(arguments).current_dir(crate::root());
    command.output().unwrap()
}

/// What is printed, of the policy of envoy/; for a plugin resource, of one for what cannot hold heads.
pub(crate) fn rendered(platform: &str, more: &[&str]) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let usual = ["--image", IMAGE, "--agents", "agents", "--collector", "127.0.0.1:9470"];
    let output = if more.contains(&"wasmplugin") {
        let unheld = crate::large::policy(folder.path(), 0, 0);
        run(platform, &[&["--config", &unheld], &usual[..], more].concat())
    } else {
        let held = ["--gateway", "envoy/gateway.yaml", "--policy", "policies/support-summarizer/policy"];
        run(platform, &[&held[..], &usual[..], more].concat())
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    documents(&String::from_utf8(output.stdout).unwrap())
}

pub(crate) fn of_kind<'a>(all: &'a [Value], kind: &str) -> Vec<&'a Value> {
    all.iter().filter(|object| object["kind"] == kind).collect()
}

fn patches(all: &[Value]) -> &[Value] {
    of_kind(all, "EnvoyFilter")[0]["spec"]["configPatches"].as_array().unwrap()
}

#[test]
fn every_variant_is_one_that_a_cluster_takes() {
    let definitions = Definitions::read();
    let tls = ["--collector-ca", "ca", "--collector-cert", "own"];
    for more in [
        &[][..],
        &["--agents", "others", "--agents-outside-mesh"],
        &["--plugin", "wasmplugin", "--pull-secret", "registry"],
        &["--plugin", "wasmplugin", "--agents-outside-mesh", "--agent-dns", "cluster"],
        &[
            "--replicas",
            "3",
            "--port",
            "8443",
            "--name",
            "out",
            "--namespace",
            "gateways",
            "--resolver",
            "192.0.2.53:53",
        ],
        &tls,
    ] {
        for object in rendered("istio", more) {
            definitions.check(&object).unwrap_or_else(|error| panic!("{more:?}: {error}"));
        }
    }
}

/// A list in JSON says the same as documents of YAML.
#[test]
fn json_is_a_list_of_the_same_objects() {
    let yaml = rendered("istio", &[]);
    let list = rendered("istio", &["--json"]);
    assert_eq!((list.len(), &list[0]["kind"], &list[0]["items"]), (1, &json!("List"), &json!(yaml)));
}

/// The filter, its guards and the manager are those of `exeat render envoy`, with the hold and one VM.
#[test]
fn the_manager_and_the_ways_out_are_those_of_envoy() {
    let all = rendered("istio", &[]);
    let replaced = patches(&all).iter().find(|patch| patch["patch"]["operation"] == "REPLACE").unwrap();
    let chain = &replaced["match"]["listener"]["filterChain"];
    assert_eq!(chain["filter"]["name"], "envoy.filters.network.tcp_proxy");
    assert_eq!(
        (&replaced["match"]["listener"]["portNumber"], &replaced["match"]["context"]),
        (&json!(3128), &json!("GATEWAY"))
    );
    let envoy = run(
        "envoy",
        &[
            "--gateway",
            "envoy/gateway.yaml",
            "--policy",
            "policies/support-summarizer/policy",
            "--module",
            "/etc/exeat/module/plugin.wasm",
            "--collector",
            "127.0.0.1:9470",
            "--listen",
            "[::]:3128",
            "--admin",
            "127.0.0.1:1",
            "--json",
        ],
    );
    let envoy: Value = serde_json::from_slice(&envoy.stdout).unwrap();
    let resources = &envoy["static_resources"];
    assert_eq!(replaced["patch"]["value"], resources["listeners"][0]["filter_chains"][0]["filters"][0]);
    let added =
        patches(&all).iter().filter(|patch| patch["applyTo"] == "CLUSTER").map(|patch| &patch["patch"]["value"]);
    assert_eq!(json!(added.collect::<Vec<_>>()), resources["clusters"]);
    let text = json!(all).to_string();
    assert!(!text.contains("FAIL_OPEN") && !text.contains("retry_policy") && !text.contains("failOpen"));
    // Where nothing takes the connection over, it ends.
    let route = &of_kind(&all, "VirtualService")[0]["spec"]["tcp"][0]["route"][0]["destination"]["host"];
    assert_eq!(route, "nowhere.invalid");
}

#[test]
fn a_wasm_plugin_shares_the_vm_of_its_guards_and_is_named_by_digest() {
    let all = rendered("istio", &["--plugin", "wasmplugin"]);
    let plugin = &of_kind(&all, "WasmPlugin")[0]["spec"];
    assert_eq!(plugin["url"], format!("oci://{IMAGE}"));
    assert_eq!(plugin["sha256"], IMAGE.rsplit_once(':').unwrap().1);
    assert_eq!((&plugin["failStrategy"], &plugin["phase"]), (&json!("FAIL_RELOAD"), &json!("AUTHN")));
    assert_eq!(plugin["vmConfig"]["env"], json!([{"name": "EXEAT_GATEWAY_KEY", "valueFrom": "HOST"}]));
    assert_eq!(plugin["pluginConfig"]["gateway"]["id"], "egress-eu-1");
    let guards = json!(patches(&all)).to_string();
    // Istio gives its plugins no id.
    assert!(guards.contains(r#""vm_id":"""#) && !guards.contains(r#""vm_id":"exeat""#));
    // The filter itself is not there a second time.
    assert!(!guards.contains(r#""name":"exeat","root_id":"exeat""#));
    assert!(patches(&all).iter().all(|patch| patch["patch"]["operation"] != "REPLACE"));
    // What a merge could not do is not written as if it could.
    let merged = patches(&all).iter().find(|patch| patch["applyTo"] == "NETWORK_FILTER").unwrap();
    let manager = merged["patch"]["value"]["typed_config"].as_object().unwrap();
    assert!(
        !manager.contains_key("http_filters") && manager.values().all(|value| *value != json!(false)),
        "{manager:?}"
    );
}

/// Secrets are referred to, by the names of the variables that hold them.
#[test]
fn secrets_are_only_referred_to() {
    let all = rendered("istio", &["--secret", "vault", "--collector-ca", "ca", "--collector-cert", "own"]);
    assert!(of_kind(&all, "Secret").is_empty());
    let pod = &of_kind(&all, "Deployment")[0]["spec"]["template"]["spec"];
    let reference = json!({"secretKeyRef": {"name": "vault", "key": "EXEAT_GATEWAY_KEY"}});
    assert_eq!(pod["containers"][0]["env"], json!([{"name": "EXEAT_GATEWAY_KEY", "valueFrom": reference}]));
    assert!(pod["volumes"].as_array().unwrap().iter().any(|volume| volume["secret"]["secretName"] == "own"));
}

#[test]
fn wrong_arguments_are_refused_with_what_to_do() {
    let policy = ["--gateway", "envoy/gateway.yaml", "--policy", "policies/support-summarizer/policy"];
    let collector = ["--collector", "127.0.0.1:9470"];
    let tag = ["--image", "registry.example/exeat:v1"];
    let digest = ["--image", "registry.example/exeat@sha256:0123"];
    let image = ["--image", IMAGE];
    for (more, says) in [
        ([&["--agents", "a"][..], &collector, &tag].concat(), "no digest: a tag can point to other bytes tomorrow"),
        (
            [&["--agents", "a"][..], &collector, &digest].concat(),
            "the digest is not sha256: and 64 lower-case hex digits",
        ),
        ([&["--agents", "A_b"][..], &collector, &image].concat(), "a cluster takes no such name; write 1 to 63"),
        ([&["--agents", "kube-system"][..], &collector, &image].concat(), "the cluster's own"),
        ([&["--agents", "exeat"][..], &collector, &image].concat(), "keep them apart"),
        ([&["--agents", "a"][..], &["--collector", "collector.example:443"], &image].concat(), "give --collector-ca"),
        ([&["--agents", "a"][..], &collector, &["--module", "exeat.wasm"]].concat(), "not an absolute path"),
        ([&["--agents", "a"][..], &collector].concat(), "--image"),
        ([&collector[..], &image].concat(), "--agents"),
        ([&["--agents", "a", "--port", "443"][..], &collector, &image].concat(), "443 is not in 1024..=65535"),
        (
            [&["--agents", "a", "--plugin", "wasmplugin"][..], &collector, &image].concat(),
            "gateway.hold is true (it is unless hold: false says otherwise), and a WasmPlugin cannot hold the head of a request",
        ),
        (
            [&["--agents", "a", "--plugin", "wasmplugin", "--module", "/m.wasm"][..], &collector].concat(),
            "Istio fetches the filter itself; name it by --image",
        ),
    ] {
        let output = run("istio", &[&policy[..], &more].concat());
        let said = String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(!output.status.success() && said.contains(says), "{more:?}: {said}");
        assert!(output.stdout.is_empty(), "{more:?}");
    }
}

/// The one thing that a policy asks of the deployment besides its own variables.
#[test]
fn credentials_are_asked_for_and_only_referred_to() {
    let folder = tempfile::tempdir().unwrap();
    let compiled = folder.path().join("exeat.json");
    let policy = json!({
        "role": "filter",
        "gateway": {"id": "g", "key": {"env": "EXEAT_GATEWAY_KEY"}, "collector": {"cluster": "evidence"}},
        "policy": {
            "schema": "exeat/v1", "revision": "1",
            "signers": [{"id": "s", "keys": [{"public": "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="}], "agents": ["*"]}],
            "destinations": {"model": {"hosts": ["api.model.example"], "credentials": {"inject": {"authorization": "model-key"}}}},
            "agents": {"a": {"allow": [{"id": "r", "to": ["model"], "paths": ["/**"]}]}},
        },
    });
    std::fs::write(&compiled, policy.to_string()).unwrap();
    let usual = [
        "--config",
        compiled.to_str().unwrap(),
        "--image",
        IMAGE,
        "--agents",
        "agents",
        "--collector",
        "127.0.0.1:9470",
    ];
    for platform in ["istio", "envoy-gateway"] {
        let output = run(platform, &usual);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains("give --credentials SECRET, a Secret with a key model-key"),
            "{said}"
        );
        let output = run(platform, &[&usual[..], &["--credentials", "keys"]].concat());
        let all = documents(&String::from_utf8(output.stdout).unwrap());
        let definitions = Definitions::read();
        all.iter().for_each(|object| definitions.check(object).unwrap());
        let source: Value =
            serde_json::from_str(of_kind(&all, "ConfigMap")[0]["data"]["model-key.json"].as_str().unwrap()).unwrap();
        let secret = &source["resources"][0]["generic_secret"]["secret"];
        assert_eq!(secret, &json!({"filename": "/etc/exeat/credentials/model-key"}));
        let text = json!(all).to_string();
        assert!(text.contains(r#""secret":{"secretName":"keys"}"#) && of_kind(&all, "Secret").is_empty());
        assert!(text.contains("/etc/exeat/credential-sources/model-key.json"));
    }
}
