//! What is rendered for Envoy Gateway, and what is refused.

use crate::istio::{IMAGE, of_kind, rendered, run};
use crate::kubernetes::Definitions;
use serde_json::json;

const PATCHES: [&str; 2] = ["--plugin", "patch-policy"];

#[test]
fn every_variant_is_one_that_a_cluster_takes() {
    let definitions = Definitions::read();
    for more in [
        &[][..],
        &["--agents", "others", "--pull-secret", "registry", "--agent-dns", "cluster"],
        &PATCHES,
        &["--plugin", "patch-policy", "--proxies", "exeat", "--controller", "gateways", "--replicas", "2"],
        &["--collector-ca", "ca", "--collector-cert", "own"],
    ] {
        for object in rendered("envoy-gateway", more) {
            definitions.check(&object).unwrap_or_else(|error| panic!("{more:?}: {error}"));
        }
    }
}

#[test]
fn an_extension_policy_fails_closed_and_is_named_by_digest() {
    let all = rendered("envoy-gateway", &["--pull-secret", "registry"]);
    let wasm = &of_kind(&all, "EnvoyExtensionPolicy")[0]["spec"]["wasm"][0];
    assert_eq!(wasm["failOpen"], false);
    let image = json!({
        "url": IMAGE,
        "sha256": IMAGE.rsplit_once(':').unwrap().1,
        "pullSecretRef": {"group": "", "kind": "Secret", "name": "registry"},
    });
    assert_eq!(wasm["code"], json!({"type": "Image", "image": image}));
    assert_eq!(wasm["env"]["hostKeys"], json!(["EXEAT_GATEWAY_KEY"]));
    assert_eq!(wasm["config"]["gateway"]["id"], "egress-eu-1");
    // The guards are in the VM that Envoy Gateway makes for this policy.
    let patches = of_kind(&all, "EnvoyPatchPolicy")[0].to_string();
    assert!(patches.contains(r#""vm_id":"envoyextensionpolicy/exeat/exeat-egress/wasm/0""#));
    assert!(!patches.contains(r#""vm_id":"exeat""#));
    assert!(patches.contains("allow_on_headers_stop_iteration"));
    assert!(!patches.contains("retry_policy") && !patches.contains("FAIL_OPEN"));
}

/// Pods are where Envoy Gateway has them, and so must be what speaks of them.
#[test]
fn network_policies_select_the_proxies_of_this_gateway() {
    for (more, namespace) in [(&[][..], "envoy-gateway-system"), (&["--proxies", "exeat"], "exeat")] {
        let all = rendered("envoy-gateway", more);
        let policies = of_kind(&all, "NetworkPolicy");
        let of = |namespace: &str| {
            &policies.iter().find(|policy| policy["metadata"]["namespace"] == namespace).unwrap()["spec"]
        };
        let labels = json!({
            "gateway.envoyproxy.io/owning-gateway-name": "exeat-egress",
            "gateway.envoyproxy.io/owning-gateway-namespace": "exeat",
        });
        assert_eq!(of(namespace)["podSelector"]["matchLabels"], labels);
        let control = json!({
            "to": [{
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "envoy-gateway-system"}},
                "podSelector": {"matchLabels": {"control-plane": "envoy-gateway"}},
            }],
            "ports": [{"protocol": "TCP", "port": 18000}, {"protocol": "TCP", "port": 18002}],
        });
        assert!(of(namespace)["egress"].as_array().unwrap().contains(&control));
        let gateway = json!([{
            "to": [{
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "podSelector": {"matchLabels": labels},
            }],
            "ports": [{"protocol": "TCP", "port": 3128}],
        }]);
        assert_eq!(of("agents")["egress"], gateway);
    }
}

#[test]
fn a_policy_for_a_module_in_the_image_needs_patches_alone() {
    let output = run(
        "envoy-gateway",
        &[
            "--gateway",
            "envoy/gateway.yaml",
            "--policy",
            "policies/support-summarizer/policy",
            "--agents",
            "a",
            "--collector",
            "127.0.0.1:9470",
            "--module",
            "/etc/exeat.wasm",
        ],
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("name it by --image, or use --plugin patch-policy"), "{said}");
}
