//! A policy too large for the object that configures Envoy: it comes as a file of a ConfigMap, which changes as the kubelet
//! changes it, and Envoy reads it without a restart.

use crate::istio::{apply, listener, of_kind, tcp_proxy};
use crate::scene::{ask, documents, module, objects, start_with};
use exeat_e2e::scenario::gateway::Gateway;
use exeat_e2e::scenario::real::{Places, RealEnvoy};
use exeat_e2e::scenario::subject::Subject as _;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

/// Where the pod has it.
const MOUNTED: &str = "/etc/exeat/policy";

fn folder(gateway: &Gateway) -> PathBuf {
    gateway.file("mounted")
}

/// A volume of a ConfigMap: the file is a link through `..data`, which is replaced as a whole.
fn mount(folder: &Path, version: &str, text: &str) {
    std::fs::create_dir_all(folder.join(version)).unwrap();
    std::fs::write(folder.join(version).join("filter.json"), text).unwrap();
    let fresh = folder.join("..data_tmp");
    std::os::unix::fs::symlink(version, &fresh).unwrap();
    std::fs::rename(&fresh, folder.join("..data")).unwrap();
    if !folder.join("filter.json").exists() {
        std::os::unix::fs::symlink("..data/filter.json", folder.join("filter.json")).unwrap();
    }
}

fn rendered(gateway: &Gateway, places: &Places) -> anyhow::Result<(Vec<Value>, String)> {
    let all = objects("istio", gateway, places, &["--agents-outside-mesh", "--module", &module()])?;
    let file = of_kind(&all, "ConfigMap")["data"]["filter.json"].as_str().unwrap().to_owned();
    Ok((all, file))
}

fn platform(gateway: &Gateway, places: &Places) -> anyhow::Result<(String, String)> {
    let (all, file) = rendered(gateway, places)?;
    mount(&folder(gateway), "..1", &file);
    let mut listener = listener(places, &tcp_proxy(&all));
    let clusters = apply(&all, places, &mut listener);
    let text = listener.to_string();
    assert!(text.contains(MOUNTED) && !text.contains("pads.example"));
    let listener = serde_json::from_str(&text.replace(MOUNTED, folder(gateway).to_str().unwrap()))?;
    Ok(documents(&clusters, listener))
}

/// Asks until the answer is another.
fn until(real: &mut RealEnvoy, expected: (u16, &str)) {
    let start = Instant::now();
    loop {
        let (status, reason, _) = ask(real, "GET", "/v1/orders/7", b"");
        if (status, reason.as_str()) == expected {
            return;
        }
        assert!(start.elapsed() < LIMIT, "{status} {reason} after {LIMIT:?}: {}", real.envoy.log());
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_mounted_policy_is_enforced_and_replaced_without_a_restart() {
    let pads: String = (0..3_500)
        .map(|i| {
            format!(
                "  pad-{i}: {{hosts: [host-{i}.pads.example], category: pad, accepts: public, owner: a, purpose: b}}\n"
            )
        })
        .collect();
    let destinations = "destinations:\n  crm:\n";
    let mut real = start_with(platform, &[(destinations, &format!("destinations:\n{pads}  crm:\n"))]);
    assert_eq!(ask(&mut real, "GET", "/v1/orders/7", b""), (200, String::new(), 1));
    let places = Places { listener: real.listener, collector: real.collector_address(), resolver: real.dns.address() };
    let team = real.gateway().policy().join("teams/support.yaml");
    let before = std::fs::read_to_string(&team).unwrap();
    std::fs::write(&team, before.replace("/v1/orders/export", "/v1/orders/*")).unwrap();
    let (_, closed) = rendered(real.gateway(), &places).unwrap();
    mount(&folder(real.gateway()), "..2", &closed);
    until(&mut real, (403, "rule-denied"));
    // What the module refuses changes nothing.
    mount(&folder(real.gateway()), "..3", &closed.replace("exeat/v1", "exeat/v9"));
    real.envoy.wait_for_log("configuration refused", LIMIT).unwrap();
    until(&mut real, (403, "rule-denied"));
    std::fs::write(&team, before).unwrap();
    let (_, open) = rendered(real.gateway(), &places).unwrap();
    mount(&folder(real.gateway()), "..4", &open);
    until(&mut real, (200, ""));
}
