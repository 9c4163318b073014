//! What becomes of rendered objects where they are applied: what an API server would refuse, drop or read otherwise, and pods that
//! nobody would admit. Nearly all of it was found on kube-apiserver 1.35 (docs/kubernetes.md).

use crate::istio::{IMAGE, of_kind, rendered, run};
use crate::kubernetes::documents;
use crate::pods::{AGENT, POLICY, USUAL, containers, pods};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Output;

fn render(platform: &str, more: &[&str]) -> Output {
    let usual = match platform {
        "kubernetes" => &USUAL[..],
        _ => &["--image", IMAGE, "--collector", "127.0.0.1:9470"],
    };
    run(platform, &[&POLICY[..], usual, more].concat())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn taken(platform: &str, more: &[&str]) -> Vec<Value> {
    let output = render(platform, more);
    assert!(output.status.success(), "{platform} {more:?}: {}", said(&output));
    documents(&String::from_utf8(output.stdout).unwrap())
}

fn refused(platform: &str, more: &[&str], says: &str) {
    let output = render(platform, more);
    assert!(!output.status.success() && output.stdout.is_empty(), "{platform} {more:?} is taken");
    assert!(said(&output).contains(says), "{platform} {more:?}: {}", said(&output));
}

const PLATFORMS: [&str; 3] = ["kubernetes", "istio", "envoy-gateway"];

/// The label `controller-revision-hash` of a StatefulSet's pods is its name with 11 characters more: without this check the
/// objects are taken, and no pod of the collector is.
#[test]
fn a_name_leaves_room_for_what_is_made_of_it() {
    for (platform, longest) in [("kubernetes", 42), ("istio", 63), ("envoy-gateway", 63)] {
        for (length, fits) in [(longest, true), (longest + 1, false)] {
            let name = "a".repeat(length);
            let arguments = ["--agents", "agents", "--name", &name];
            match (fits, length) {
                (true, _) => drop(taken(platform, &arguments)),
                (false, 64) => refused(platform, &arguments, "write 1 to 63 of a-z"),
                (false, _) => refused(
                    platform,
                    &arguments,
                    "43 characters, and what has this name with an ending leaves room for 42",
                ),
            }
        }
        // Services begin with a letter, other objects need not.
        refused(platform, &["--agents", "agents", "--name", "0abc"], "begin it with a letter");
        taken(platform, &["--agents", "0abc"]);
    }
    for set in of_kind(&taken("kubernetes", &["--agents", "a", "--name", &"a".repeat(42)]), "StatefulSet") {
        assert!(set["metadata"]["name"].as_str().unwrap().len() <= 52);
    }
}

#[test]
fn a_port_that_something_else_in_the_pod_has_is_refused() {
    for (platform, ports) in [
        ("kubernetes", &["15000", "15090", "9470"][..]),
        ("istio", &["15000", "15001", "15006", "15008", "15020", "15021", "15053", "15090", "9470"]),
        ("envoy-gateway", &["19000", "19001", "19002", "19003", "9470"]),
    ] {
        for port in ports {
            refused(platform, &["--agents", "a", "--port", port], "something else in the gateway's pod listens there");
        }
        taken(platform, &["--agents", "a", "--port", "9471"]);
    }
}

#[test]
fn addresses_are_written_as_a_cluster_takes_them() {
    let at = |platform: &str, address: &str| taken(platform, &["--agents", "a", "--resolver", address]);
    for platform in PLATFORMS {
        refused(platform, &["--agents", "a", "--resolver", "192.0.2.53:0"], "nobody answers at port 0");
        refused(platform, &["--agents", "a", "--resolver", "192.0.2.53"], "not an address with a port");
        let all = serde_json::to_string(&at(platform, "[::ffff:192.0.2.53]:53")).unwrap();
        assert!(
            all.contains(r#""cidr":"192.0.2.53/32""#) && !all.contains("::ffff:192") && !all.contains("::ffff:c000")
        );
        assert!(
            serde_json::to_string(&at(platform, "[2001:db8::53]:53")).unwrap().contains(r#""cidr":"2001:db8::53/128""#)
        );
    }
    let mut usual = USUAL;
    usual[9] = "::ffff:10.96.31.28";
    let output = run("kubernetes", &[&POLICY[..], &usual, &["--agents", "a"]].concat());
    assert!(
        !output.status.success() && said(&output).contains("a cluster takes it as 10.96.31.28 alone"),
        "{}",
        said(&output)
    );
}

/// The NetworkPolicy of agents would take the place of the gateway's own, which has the same name.
#[test]
fn agents_are_apart_from_all_that_makes_or_runs_a_gateway() {
    for (platform, more) in [
        ("kubernetes", &["--agents", "exeat"][..]),
        ("istio", &["--agents", "exeat"]),
        ("istio", &["--agents", "istio-system"]),
        ("envoy-gateway", &["--agents", "exeat"]),
        ("envoy-gateway", &["--agents", "envoy-gateway-system"]),
        ("envoy-gateway", &["--agents", "p", "--proxies", "p"]),
        ("envoy-gateway", &["--agents", "c", "--controller", "c", "--proxies", "p"]),
    ] {
        refused(platform, more, "keep them apart");
    }
    for platform in PLATFORMS {
        refused(platform, &["--agents", "a", "--agents", "b", "--agents", "a"], "--agents a is named twice");
    }
}

/// Variants of all platforms.
fn variants() -> Vec<(String, Vec<Value>)> {
    let mut all = Vec::new();
    for more in [
        &["--agents", "agents"][..],
        &[&AGENT[..], &["--agents", "b", "--monitoring", "m", "--resolver", "192.0.2.53:53"]].concat(),
    ] {
        all.push((format!("kubernetes {more:?}"), taken("kubernetes", more)));
    }
    for (platform, more) in [
        ("istio", &[][..]),
        ("istio", &["--agents", "b", "--agents-outside-mesh", "--metrics-from", "m"]),
        ("istio", &["--plugin", "wasmplugin"]),
        ("envoy-gateway", &["--agents", "b"]),
        ("envoy-gateway", &["--plugin", "patch-policy", "--proxies", "exeat"]),
    ] {
        all.push((format!("{platform} {more:?}"), rendered(platform, more)));
    }
    all
}

#[test]
fn no_object_takes_the_place_of_another() {
    for (variant, all) in variants() {
        let mut seen = BTreeSet::new();
        for object in &all {
            let metadata = &object["metadata"];
            let key = [&object["apiVersion"], &object["kind"], &metadata["namespace"], &metadata["name"]]
                .map(Value::to_string);
            assert!(seen.insert(key.clone()), "{variant}: {key:?} is there twice");
        }
    }
}

/// A server drops a list without members from a built-in object, and finds it missing at the next apply.
#[test]
fn a_second_apply_changes_nothing() {
    fn empty(value: &Value, at: String, found: &mut Vec<String>) {
        match value {
            Value::Array(items) if items.is_empty() => found.push(at),
            Value::Array(items) => items.iter().for_each(|item| empty(item, format!("{at}/*"), found)),
            Value::Object(fields) => fields.iter().for_each(|(key, value)| empty(value, format!("{at}/{key}"), found)),
            Value::Null => found.push(at),
            _ => {}
        }
    }
    for (variant, all) in variants() {
        for object in &all {
            let mut found = Vec::new();
            match object["kind"].as_str().unwrap() {
                // What these hold is Envoy's, and kept as it is.
                "EnvoyFilter" | "EnvoyPatchPolicy" | "EnvoyExtensionPolicy" | "WasmPlugin" => {}
                kind => empty(object, kind.to_owned(), &mut found),
            }
            assert!(found.is_empty(), "{variant}: {found:?}");
        }
    }
}

/// Servers compare templates of claims whole, with what they fill in.
#[test]
fn templates_of_claims_are_whole() {
    let all = taken("kubernetes", &["--agents", "a", "--storage-class", "fast"]);
    let sets = of_kind(&all, "StatefulSet");
    for (set, name, size) in [(sets[0], "relay", "20Gi"), (sets[1], "evidence", "100Gi")] {
        let whole = json!([{
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": size}},
                "storageClassName": "fast",
                "volumeMode": "Filesystem",
            },
            "status": {"phase": "Pending"},
        }]);
        assert_eq!(set["spec"]["volumeClaimTemplates"], whole);
    }
}

/// kubectl applies in the order of the file, and goes on after what is refused.
#[test]
fn network_policies_come_before_any_pod() {
    for (variant, all) in variants() {
        let kinds: Vec<&str> = all.iter().map(|object| object["kind"].as_str().unwrap()).collect();
        let policies = kinds.iter().filter(|kind| **kind == "NetworkPolicy").count();
        assert!(policies >= 2 && kinds[..policies].iter().all(|kind| *kind == "NetworkPolicy"), "{variant}: {kinds:?}");
    }
}

/// What the standard `restricted` asks of pods; Istio and Envoy Gateway leave the rest of theirs as they are.
#[test]
fn pods_are_admitted_to_restricted_namespaces() {
    for (variant, all) in variants() {
        for (pod, _) in pods(&all) {
            for container in containers(pod) {
                let (own, whole) = (&container["securityContext"], &pod["securityContext"]);
                let either =
                    |pointer: &str| own.pointer(pointer).or(whole.pointer(pointer)).cloned().unwrap_or_default();
                assert_eq!(either("/runAsNonRoot"), true, "{variant}");
                assert_eq!(either("/seccompProfile/type"), "RuntimeDefault", "{variant}");
                assert_eq!(own["allowPrivilegeEscalation"], false, "{variant}");
                assert_eq!(own["capabilities"], json!({"drop": ["ALL"]}), "{variant}");
            }
        }
    }
}

#[test]
fn memory_that_is_asked_for_is_within_what_there_may_be() {
    for (memory, request) in
        [("100Mi", "100Mi"), ("511Mi", "511Mi"), ("512Mi", "512Mi"), ("1Gi", "512Mi"), ("2Ti", "512Mi")]
    {
        let all = taken("kubernetes", &["--agents", "a", "--memory", memory]);
        let (pod, _) = pods(&all)[0];
        let envoy = containers(pod).find(|container| container["name"] == "envoy").unwrap();
        assert_eq!(
            envoy["resources"],
            json!({"requests": {"cpu": "500m", "memory": request}, "limits": {"memory": memory}})
        );
    }
}

/// So that the key can change while the signer runs: the key's file says its id. One that no gateway knows is refused.
#[test]
fn a_signing_key_says_its_own_name() {
    let all = taken("kubernetes", &AGENT);
    let pod = &of_kind(&all, "Deployment")[0]["spec"]["template"]["spec"];
    let signer = containers(pod).find(|container| container["name"] == "signer").unwrap();
    let mut words = signer["command"].as_array().unwrap().iter();
    assert!(!words.any(|word| word == "--keyid"), "{signer}");
    let mut agent = AGENT;
    agent[7] = "signer-eu-3";
    refused("kubernetes", &agent, "--keyid signer-eu-3: no signer of the policy has a key of this id");
}

/// While a gateway's key changes, evidence of both is on its way. Relays and collector read the keys at their start.
#[test]
fn another_evidence_key_comes_with_new_pods() {
    let old = "Kd4hcRKJhXXGNTmRTnHQmf6nyCeTVwrs7XcQhBXSVoE=";
    let with = |more: &[&str]| taken("kubernetes", &[&AGENT[..], more].concat());
    let (before, after) = (with(&[]), with(&["--gateway-key", old]));
    let keys = |all: &[Value]| {
        let map = of_kind(all, "ConfigMap").into_iter().find(|map| map["data"]["keys.json"].is_string()).unwrap();
        serde_json::from_str::<Value>(map["data"]["keys.json"].as_str().unwrap()).unwrap()
    };
    let (one, both) = (keys(&before), keys(&after));
    let (gateway, key) = one.as_object().unwrap().iter().next().unwrap();
    assert_eq!(both, json!({gateway: [key, old]}));
    let says = |all: &[Value]| -> Vec<Value> {
        let pods = of_kind(all, "StatefulSet").into_iter();
        pods.map(|set| set["spec"]["template"]["metadata"]["annotations"]["exeat/keys-sha256"].clone()).collect()
    };
    let (before, after) = (says(&before), says(&after));
    assert_eq!(before.len(), 2);
    assert!(before.iter().zip(&after).all(|(before, after)| before.is_string() && before != after), "{after:?}");
}

/// A policy of its own, compiled, with what is made of it.
fn policy(folder: &Path, change: impl FnOnce(&mut Value)) -> String {
    let file = crate::large::policy(folder, 0, 0);
    let mut document: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    change(&mut document);
    std::fs::write(&file, serde_json::to_string_pretty(&document).unwrap()).unwrap();
    file
}

/// kubectl without `--server-side` keeps each object in an annotation, escaped; it fails on one, and goes on with the others.
#[test]
fn what_does_not_fit_an_annotation_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let of = |change: &dyn Fn(&mut Value)| {
        let config = policy(folder.path(), change);
        let output = run("kubernetes", &[&["--config", config.as_str(), "--agents", "a"][..], &USUAL].concat());
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    };
    let usual = of(&|_| {});
    assert!(!usual.contains("--server-side"), "{usual}");
    // Each `<` is six bytes there.
    let escaped = of(&|document| {
        for i in 0..60 {
            let one = json!({"hosts": [format!("h{i}.example")], "accepts": "public", "purpose": "<".repeat(1_000)});
            document["policy"]["destinations"][format!("pad-{i}")] = one;
        }
    });
    assert!(escaped.contains("--server-side") && escaped.contains("ConfigMap exeat-egress-listener"), "{escaped}");
    // Networks that are named stand in the NetworkPolicy, a rule each.
    let networks = of(&|document| {
        let addresses: Vec<String> = (0..4_000).map(|i| format!("10.1.{}.{}", i >> 8, i & 255)).collect();
        for (i, addresses) in addresses.chunks(200).enumerate() {
            let one = json!({"hosts": [format!("h{i}.example")], "accepts": "public", "addresses": addresses});
            document["policy"]["destinations"][format!("net-{i}")] = one;
        }
    });
    assert!(networks.contains("--server-side") && networks.contains("NetworkPolicy exeat-egress"), "{networks}");
}

/// A plugin's configuration stands as YAML in its object. kubectl reads 1.1, where `n` is false.
#[test]
fn a_policy_is_the_same_to_readers_of_every_version_of_yaml() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["y", "n", "Y", "0b1", "1_000", "2026-11-20"];
    let config = policy(folder.path(), |document| {
        for (i, name) in names.iter().enumerate() {
            let purpose = format!("one\u{2028}two {i}");
            let one =
                json!({"hosts": [format!("h{i}.example")], "accepts": "public", "owner": name, "purpose": purpose});
            document["policy"]["destinations"][name] = one;
        }
    });
    for (platform, more) in [("istio", &["--plugin", "wasmplugin"][..]), ("envoy-gateway", &[]), ("kubernetes", &[])] {
        let usual = match platform {
            "kubernetes" => &USUAL[..],
            _ => &["--image", IMAGE, "--collector", "127.0.0.1:9470"],
        };
        let output = run(platform, &[&["--config", config.as_str(), "--agents", "n"][..], usual, more].concat());
        assert!(output.status.success(), "{}", said(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.contains('\u{2028}'), "{platform}");
        assert!(text.contains("namespace: \"n\""), "{platform}");
        if platform != "kubernetes" {
            for name in names {
                let (key, value) = (format!("\"{name}\":\n"), format!("owner: \"{name}\"\n"));
                assert!(text.contains(&key) && text.contains(&value), "{platform}: {name}");
            }
        }
        let list =
            run(platform, &[&["--config", config.as_str(), "--agents", "n", "--json"][..], usual, more].concat());
        let list: Value = serde_json::from_slice(&list.stdout).unwrap();
        assert_eq!(json!(documents(&text)), list["items"]);
    }
}

/// Every text within a value.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(fields) => fields.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

/// Lines are for people; a policy that fits without them is not refused.
#[test]
fn a_large_policy_is_delivered_without_its_white_space() {
    let folder = tempfile::tempdir().unwrap();
    for (destinations, lines) in [(0, true), (2_000, false), (7_000, false)] {
        let config = policy(folder.path(), |document| {
            for i in 0..destinations {
                let one = json!({"hosts": [format!("host-{i}.example")], "accepts": "public", "ports": [443, 8443]});
                document["policy"]["destinations"][format!("pad-{i}")] = one;
            }
        });
        let written = std::fs::read(&config).unwrap();
        let output = run("kubernetes", &[&["--config", config.as_str(), "--agents", "a"][..], &USUAL].concat());
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(said(&output).contains("--server-side"), destinations == 7_000, "{}", said(&output));
        let all = documents(&String::from_utf8(output.stdout).unwrap());
        let maps = of_kind(&all, "ConfigMap");
        let listener = maps.iter().find_map(|map| map["data"]["listener.yaml"].as_str()).unwrap();
        let listener = &documents(listener)[0];
        let of_policy = |text: &&str| text.contains("destinations") && text.starts_with('{');
        let plugin = texts(listener).into_iter().find(of_policy).unwrap();
        assert_eq!(plugin.contains('\n'), lines, "{destinations}");
        assert_eq!(serde_json::from_str::<Value>(plugin).unwrap(), serde_json::from_slice::<Value>(&written).unwrap());
        if destinations == 7_000 {
            assert!(written.len() > 1 << 20, "{}", written.len());
        }
    }
}
