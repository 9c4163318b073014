//! How policies of different sizes get to a gateway.

use crate::istio::{IMAGE, of_kind, run};
use crate::kubernetes::{Definitions, documents};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Output;

/// Bytes that kubectl's copy of an object may have, with room for names.
const INLINE: usize = 255 * 1024;

/// Bytes of a ConfigMap.
const CONFIG_MAP: usize = 1 << 20;

/// A compiled policy with so many destinations that no rule names, and `pad` letters more; for what may hold heads, and what
/// cannot.
pub(crate) fn policy(folder: &Path, destinations: usize, mut pad: usize) -> String {
    let compiled = run_compile();
    let mut document: Value = serde_json::from_slice(&compiled.stdout).unwrap();
    document["gateway"]["hold"] = json!(false);
    let chat = document["policy"]["profiles"]["model-chat"]["allow"][0].as_object_mut().unwrap();
    chat.remove("redact").expect("what nobody can do whose heads have gone");
    let all = document["policy"]["destinations"].as_object_mut().unwrap();
    for i in 0..destinations {
        let more = pad.min(1_000);
        pad -= more;
        let (host, purpose) = (format!("host-{i:05}.pads.example"), "x".repeat(1 + more));
        all.insert(format!("pad-{i:05}"), json!({"hosts": [host], "accepts": "public", "purpose": purpose}));
    }
    let file = folder.join("exeat.json");
    std::fs::write(&file, document.to_string()).unwrap();
    file.into_os_string().into_string().unwrap()
}

fn run_compile() -> Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_exeat"));
    command.args(["policy", "compile", "policies/support-summarizer/policy", "--gateway", "envoy/gateway.yaml"]);
    command.current_dir(crate::root()).output().unwrap()
}

fn render(platform: &str, config: &str, more: &[&str]) -> Output {
    let usual = ["--config", config, "--image", IMAGE, "--agents", "agents", "--collector", "127.0.0.1:9470"];
    run(platform, &[&usual[..], more].concat())
}

fn objects(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    documents(std::str::from_utf8(&output.stdout).unwrap())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The platforms, with the kind that configures their Envoy.
const PLATFORMS: [(&str, &[&str], &str); 2] =
    [("istio", &[], "EnvoyFilter"), ("envoy-gateway", &["--plugin", "patch-policy"], "EnvoyPatchPolicy")];

/// The configuration of the filter, wherever it stands.
fn plugin_of(filter: &Value) -> Value {
    let text = filter.pointer("/typed_config/config/configuration/value").and_then(Value::as_str).unwrap();
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_policy_beyond_the_object_is_a_file_in_a_config_map() {
    let (folder, definitions) = (tempfile::tempdir().unwrap(), Definitions::read());
    let config = policy(folder.path(), 4_000, 0);
    for (platform, more, kind) in PLATFORMS {
        let output = render(platform, &config, more);
        let all = objects(&output);
        for object in &all {
            definitions.check(object).unwrap();
        }
        let map = of_kind(&all, "ConfigMap")[0];
        let file = map["data"]["filter.json"].as_str().unwrap();
        assert!((INLINE..=CONFIG_MAP).contains(&file.len()), "{} bytes", file.len());
        assert!(said(&output).contains(&format!("a file of {} bytes", file.len())), "{}", said(&output));
        assert!(said(&output).contains("kubectl apply --server-side"), "{}", said(&output));
        // What is said stands in the output, too.
        assert!(String::from_utf8_lossy(&output.stdout).starts_with("# The policy is a file of "));
        let resource: Value = serde_json::from_str(file).unwrap();
        let accepted: Value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
        assert_eq!(plugin_of(&resource["resources"][0]), accepted);
        // The proxy mounts it, and Envoy reads the filter from there.
        let pods = serde_json::to_string(&all).unwrap();
        let name = map["metadata"]["name"].as_str().unwrap();
        assert!(pods.contains(&format!(r#""configMap":{{"name":"{name}"}}"#)));
        let configured = of_kind(&all, kind)[0].to_string();
        assert!(configured.contains(r#""path_config_source":{"path":"/etc/exeat/policy/filter.json""#));
        assert!(!configured.contains("pads.example") && configured.len() < INLINE);
    }
}

#[test]
fn a_policy_beyond_a_config_map_is_a_file_in_an_image() {
    let folder = tempfile::tempdir().unwrap();
    let config = policy(folder.path(), 14_000, 0);
    let file = folder.path().join("filter.json");
    for (platform, more, kind) in PLATFORMS {
        let output = render(platform, &config, more);
        assert!(!output.status.success() && output.stdout.is_empty());
        assert!(said(&output).contains("give --policy-file FILE"), "{}", said(&output));
        let image = ["--policy-file", file.to_str().unwrap(), "--policy-image", IMAGE];
        let output = render(platform, &config, &[more, &image].concat());
        let all = objects(&output);
        assert!(of_kind(&all, "ConfigMap").is_empty());
        let resource: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert!(resource.to_string().len() > CONFIG_MAP);
        assert_eq!(plugin_of(&resource["resources"][0])["policy"]["destinations"]["pad-13999"]["accepts"], "public");
        assert_eq!(serde_json::to_string(&all).unwrap().matches("\"pullPolicy\":\"IfNotPresent\"").count(), 2);
        assert!(of_kind(&all, kind)[0].to_string().contains("path_config_source"));
    }
}

/// One byte more than fits, and the way is another.
#[test]
fn the_border_is_where_kubectl_has_no_more_room() {
    let folder = tempfile::tempdir().unwrap();
    for (platform, more, kind) in PLATFORMS {
        let inline = |pad: usize| {
            let all = objects(&render(platform, &policy(folder.path(), 2_000, pad), more));
            (of_kind(&all, "ConfigMap").is_empty(), of_kind(&all, kind)[0].to_string().len())
        };
        let (fits, bytes) = inline(0);
        assert!(fits && bytes < INLINE, "{bytes}");
        assert_eq!(inline(INLINE - bytes), (true, INLINE), "{platform}");
        assert!(!inline(INLINE - bytes + 1).0, "{platform}");
    }
}

/// A plugin of the platform has no other way than its object.
#[test]
fn a_plugin_that_is_too_large_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let config = policy(folder.path(), 5_000, 0);
    for (platform, more, instead) in [
        ("istio", &["--plugin", "wasmplugin"][..], "use --plugin envoyfilter"),
        ("envoy-gateway", &[], "use --plugin patch-policy"),
    ] {
        let output = render(platform, &config, more);
        assert!(!output.status.success() && output.stdout.is_empty());
        assert!(said(&output).contains(instead), "{}", said(&output));
    }
}
