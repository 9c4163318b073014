//! Who may reach whom, as network policies say it.

use crate::istio::{of_kind, rendered};
use serde_json::{Value, json};

fn policy<'a>(all: &'a [Value], namespace: &str) -> &'a Value {
    let found = of_kind(all, "NetworkPolicy").into_iter().find(|policy| policy["metadata"]["namespace"] == namespace);
    &found.unwrap_or_else(|| panic!("no policy in {namespace}"))["spec"]
}

/// A peer by namespace and label.
fn peer(namespace: &str, label: (&str, &str)) -> Value {
    json!([{
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "podSelector": {"matchLabels": {label.0: label.1}},
    }])
}

#[test]
fn agents_reach_the_gateway_and_nothing_else() {
    let gateway = json!({"to": peer("exeat", ("app.kubernetes.io/name", "exeat-egress")), "ports": [{"protocol": "TCP", "port": 3128}]});
    let dns = json!({
        "to": peer("kube-system", ("k8s-app", "kube-dns")),
        "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
    });
    let control = json!({"to": peer("istio-system", ("app", "istiod")), "ports": [{"protocol": "TCP", "port": 15012}]});
    let two = ["--agents", "others"];
    for (more, expected) in [
        (&two[..], json!([gateway, dns, control])),
        (&["--agents", "others", "--agents-outside-mesh"], json!([gateway])),
        (&["--agents", "others", "--agent-dns", "none"], json!([gateway, control])),
        (&["--agents", "others", "--agents-outside-mesh", "--agent-dns", "cluster"], json!([gateway, dns])),
    ] {
        let all = rendered("istio", more);
        for namespace in ["agents", "others"] {
            let policy = policy(&all, namespace);
            // Every pod of the namespace, whatever its labels.
            assert_eq!((&policy["podSelector"], &policy["policyTypes"]), (&json!({}), &json!(["Egress"])));
            assert_eq!(policy["egress"], expected, "{more:?}");
        }
    }
}

#[test]
fn the_gateway_itself_reaches_no_closed_network_that_the_policy_does_not_name() {
    let all = rendered("istio", &["--resolver", "192.0.2.53:5353"]);
    let policy = policy(&all, "exeat");
    assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
    assert_eq!(policy["podSelector"], json!({"matchLabels": {"app.kubernetes.io/name": "exeat-egress"}}));
    let ingress = json!([{
        "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "agents"}}}],
        "ports": [{"protocol": "TCP", "port": 3128}],
    }]);
    assert_eq!(policy["ingress"], ingress);
    let egress = policy["egress"].as_array().unwrap();
    let blocks = egress.iter().flat_map(|rule| {
        let blocks = rule["to"].as_array().unwrap().iter().filter_map(|to| to.get("ipBlock"));
        blocks.map(|block| (block, &rule["ports"])).collect::<Vec<_>>()
    });
    let mut wide = 0;
    let mut named = Vec::new();
    for (block, ports) in blocks {
        match block.get("except").and_then(Value::as_array) {
            Some(except) if !except.is_empty() => {
                wide += 1;
                assert_eq!(ports, &json!([{"protocol": "TCP", "port": 443}]));
                if block["cidr"] == "0.0.0.0/0" {
                    for closed in [
                        "10.0.0.0/8",
                        "127.0.0.0/8",
                        "169.254.0.0/16",
                        "172.16.0.0/12",
                        "192.168.0.0/16",
                        "100.64.0.0/10",
                    ] {
                        assert!(except.contains(&json!(closed)), "{closed}");
                    }
                }
            }
            _ => named.push((block["cidr"].as_str().unwrap(), ports.clone())),
        }
    }
    assert!(wide >= 2, "{wide} wide blocks");
    let tcp = |port: u16| json!({"protocol": "TCP", "port": port});
    // The resolver that was named, and the network of the policy's destination `crm`, at its port alone.
    let resolver = ("192.0.2.53/32", json!([{"protocol": "UDP", "port": 5353}, tcp(5353)]));
    assert_eq!(named, [resolver, ("10.20.0.0/16", json!([tcp(443)]))]);
    // Every rule says whereto and at which port: an empty member would mean all there is.
    for rule in egress {
        assert!(!rule["to"].as_array().unwrap().is_empty() && !rule["ports"].as_array().unwrap().is_empty(), "{rule}");
    }
}

/// Nobody reads metrics who is not named.
#[test]
fn metrics_are_read_from_namespaces_that_are_named() {
    for (platform, namespace, port) in [("istio", "exeat", 15_090), ("envoy-gateway", "envoy-gateway-system", 19_001)] {
        let ingress = |more: &[&str]| policy(&rendered(platform, more), namespace)["ingress"].clone();
        let from = |namespace: &str, port: u16| {
            let peer = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}});
            json!({"from": [peer], "ports": [{"protocol": "TCP", "port": port}]})
        };
        assert_eq!(ingress(&[]), json!([from("agents", 3128)]));
        let both = json!([from("agents", 3128), from("monitoring", port)]);
        assert_eq!(ingress(&["--metrics-from", "monitoring"]), both);
    }
}

#[test]
fn evidence_goes_to_the_collectors_pods_alone() {
    let collector = ["--collector", "evidence.exeat.svc:9470", "--collector-ca", "ca", "--collector-label", "evidence"];
    // The last of two options of one name would be refused.
    let mut arguments = vec!["--gateway", "envoy/gateway.yaml", "--policy", "policies/support-summarizer/policy"];
    arguments.extend(["--image", crate::istio::IMAGE, "--agents", "agents"]);
    arguments.extend(collector);
    let output = crate::istio::run("istio", &arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let all = crate::kubernetes::documents(&String::from_utf8(output.stdout).unwrap());
    let to = json!({
        "to": [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "evidence"}}}],
        "ports": [{"protocol": "TCP", "port": 9470}],
    });
    assert!(policy(&all, "exeat")["egress"].as_array().unwrap().contains(&to));
    let beside = rendered("istio", &[]);
    assert!(!policy(&beside, "exeat").to_string().contains("exeat-collector"));
}
